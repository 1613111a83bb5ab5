"""Other pages, other hosts and other users get nothing from Dagster's UI."""

import asyncio
from typing import Any

import pytest

from bedrock_pipeline.local.guarded_webserver import Guard

HOST = "127.0.0.1:3000"


def asked(path: str, *, kind: str = "http", method: str = "POST", query: str = "", **headers: str) -> object:
    """What is answered: the application's own answer, a status, or the code of a websocket's end.

    A header with several lines is sent as often.
    """
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # as ASGI has it
        sent.append("let through")

    async def send(message: Any) -> None:
        sent.append(message.get("status") or message.get("code") or "")

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.encode())
            for name, values in headers.items()
            for value in values.split("\n")
        ],
        **({"method": method} if kind == "http" else {}),
    }
    asyncio.run(Guard(app, 3000, "/ui-1")(scope, None, send))  # type: ignore[arg-type]  # nothing is received
    return sent[0]


@pytest.mark.parametrize(
    ("path", "more", "answer"),
    [
        ("/ui-1", {"method": "GET", "host": HOST}, "let through"),
        ("/ui-1/graphql", {"host": HOST}, "let through"),
        ("/ui-1/graphql", {"host": "localhost:3000", "origin": "http://localhost:3000"}, "let through"),
        ("/ui-1/graphql", {"kind": "websocket", "host": HOST, "origin": f"http://{HOST}"}, "let through"),
        ("/ui-1/graphql", {"method": "GET", "host": HOST}, "let through"),
        ("", {"kind": "lifespan"}, "let through"),
        ("/ui-1/graphql", {"method": "GET", "query": "query=mutation{x}", "host": HOST}, 403),
        ("/ui-1/graphql", {"method": "GET", "query": "%71uery=mutation{x}", "host": HOST}, 403),
        ("/ui-1/graphql/", {"method": "GET", "query": "a=1&query=mutation{x}", "host": HOST}, 403),
        ("/ui-1/assets", {"method": "GET", "query": "query=key", "host": HOST}, "let through"),
        ("/ui-1/graphql", {"host": "evil.example"}, 403),
        ("/ui-1/graphql", {"host": "127.0.0.1"}, 403),
        ("/ui-1/graphql", {}, 403),
        ("/ui-1/graphql", {"host": HOST, "origin": "http://evil.example"}, 403),
        ("/ui-1/graphql", {"host": HOST, "origin": "null"}, 403),
        ("/ui-1/graphql", {"kind": "websocket", "host": HOST, "origin": "http://evil.example"}, 1008),
        ("/ui-1/graphql", {"host": f"evil.example\n{HOST}"}, 403),
        ("/ui-1/graphql", {"host": HOST, "origin": f"http://evil.example\nhttp://{HOST}"}, 403),
        ("/ui-1/graphql", {"host": HOST, "origin": "http://localhost:3000"}, 403),
        ("/", {"method": "GET", "host": HOST}, 403),
        ("/graphql", {"host": HOST}, 403),
        ("/ui-12/graphql", {"host": HOST}, 403),
    ],
)
def test_who_is_let_through(path: str, more: dict[str, str], answer: object) -> None:
    assert asked(path, **more) == answer
