"""Dagster's webserver, behind a check of who asks: `python -P -m bedrock_pipeline.local.guarded_webserver -p PORT …`.

It listens on loopback, which every web page in the user's browser and every other user of the machine reaches, and it takes
mutations by GET, from any origin and under any name of its host. So only requests to this machine's own name, from no other
page, below a path that nobody can guess, are let through. The path is in `DAGSTER_WEBSERVER_PATH_PREFIX`, since command lines
are visible to all.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]
#: The close code of a websocket that is not permitted.
_POLICY_VIOLATION: Final = 1008


class Guard:
    """An ASGI application that lets through what is permitted, and answers 403 to everything else.

    Args:
        app: the application behind it.
        port: at which it listens.
        prefix: of the paths below which it is.
    """

    def __init__(self, app: _App, port: int, prefix: str) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._prefix = prefix

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan" or self._is_permitted(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await send(
                {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
            )
            await send({"type": "http.response.body", "body": b"Open the URL that the command printed.\n"})

    def _is_permitted(self, scope: _Message) -> bool:
        hosts, origins = (
            [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
            for wanted in (b"host", b"origin")
        )
        path: str = scope["path"]
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        by_get = scope.get("method") == "GET" and path.rstrip("/").endswith("/graphql") and "query" in asked
        return (
            len(hosts) == 1
            and hosts[0] in self._hosts
            and (not origins or origins == [f"http://{hosts[0]}"])
            and (path == self._prefix or path.startswith(f"{self._prefix}/"))
            and not by_get
        )


def main() -> None:
    """Run `dagster-webserver` with the same arguments."""
    import uvicorn
    from dagster_webserver import cli

    run = uvicorn.run

    def guarded(app: Any, **options: Any) -> None:
        run(Guard(app, options["port"], os.environ["DAGSTER_WEBSERVER_PATH_PREFIX"]), **options)

    uvicorn.run = guarded  # the webserver has no place for a middleware
    cli.main()  # type: ignore[no-untyped-call]  # Dagster's


if __name__ == "__main__":
    main()
