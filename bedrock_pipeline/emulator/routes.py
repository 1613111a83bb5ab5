"""The emulator's HTTP server, as an ASGI application.

What belongs here: connections, and our own routes beneath `/_emulator`. What a request of Bedrock's gets is
`protocol.py`'s.
"""

import asyncio
import ipaddress
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from starlette import requests, responses
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bedrock_pipeline.emulator.emulator import Emulator
from bedrock_pipeline.emulator.faults import FaultError, parse_faults
from bedrock_pipeline.emulator.protocol import Request, ResponseLostError
from bedrock_pipeline.emulator.signature import shows_keys

#: More than any model takes; in bytes.
LONGEST_BODY: Final = 64 << 20
#: Bytes of the bodies of all requests that are read or worked on.
MOST_BYTES: Final = 4 * LONGEST_BODY
_Endpoint = Callable[[requests.Request], Any]


def application(emulator: Emulator) -> ASGIApp:
    """Every route."""
    anything = Route("/{path:path}", _bedrock(emulator), methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    return _Droppable(Starlette(routes=[*_own_routes(emulator), anything]))


def _own_routes(emulator: Emulator) -> list[Route]:
    def jobs(_: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": emulator.store.all(), "mostInFlight": emulator.store.peaks()}

    def advance(body: dict[str, Any]) -> dict[str, Any]:
        try:
            emulator.clock.advance(_number(body, "seconds", least=0))
        except OverflowError:
            raise ValueError("seconds is beyond what a date can hold") from None
        return {"now": emulator.clock.now().isoformat()}

    def reset(_: dict[str, Any]) -> dict[str, Any]:
        emulator.reset()
        return {}

    def shown(_: dict[str, Any]) -> dict[str, Any]:
        return {"faults": emulator.faults.shown()}

    def add(body: dict[str, Any]) -> dict[str, Any]:
        for fault in parse_faults(body):
            emulator.faults.add(fault)
        return shown({})

    def clear(_: dict[str, Any]) -> dict[str, Any]:
        emulator.faults.clear()
        return {}

    def quota(body: dict[str, Any]) -> dict[str, Any]:
        emulator.quota.max_jobs = int(_number(body, "maxJobs", least=0))
        return {"maxJobs": emulator.quota.max_jobs}

    def behaviour(body: dict[str, Any]) -> dict[str, Any]:
        emulator.behaviour.change(body)
        return emulator.behaviour.shown()

    def role(body: dict[str, Any]) -> dict[str, Any]:
        arn, policy = body.get("roleArn"), body.get("policy")
        if not isinstance(arn, str) or not arn:
            raise ValueError("roleArn is missing: give the ARN of a role")
        if policy is not None and not isinstance(policy, dict):
            raise ValueError("policy is not an object: give an IAM policy, or null")
        emulator.roles.set(arn, policy)
        return {}

    bodies = _Bodies()

    def own(answer: Callable[[dict[str, Any]], Any]) -> _Endpoint:
        return _own(answer, emulator.keys, bodies)

    return [
        Route("/_emulator/behaviour", own(behaviour), methods=["GET", "POST"]),
        Route("/_emulator/roles", own(role), methods=["POST"]),
        Route("/_emulator/jobs", own(jobs), methods=["GET"]),
        Route("/_emulator/clock", own(advance), methods=["POST"]),
        Route("/_emulator/quota", own(quota), methods=["POST"]),
        Route("/_emulator/faults", own(shown), methods=["GET"]),
        Route("/_emulator/faults", own(add), methods=["POST"]),
        Route("/_emulator/faults", own(clear), methods=["DELETE"]),
        Route("/_emulator", own(reset), methods=["DELETE"]),
    ]


def _bedrock(emulator: Emulator) -> _Endpoint:
    bodies = _Bodies()

    async def endpoint(request: requests.Request) -> responses.Response:
        head = Request(request.method, _url(request), dict(request.headers))
        if given := emulator.protocol.rejected(head):  # before a body is read that nobody has signed
            return responses.Response(given.body, given.status, dict(given.headers))
        try:
            async with bodies.read(request) as body:
                got = replace(head, body=body)
                if delay := emulator.protocol.delay(got):
                    await asyncio.sleep(delay)
                given = await asyncio.to_thread(emulator.protocol.respond, got)
        except _NotReadError as error:
            return error.response()
        except ResponseLostError:
            return _Nothing()
        return responses.Response(given.body, given.status, dict(given.headers))

    return endpoint


class _Droppable:
    """Lets a response cut the connection. ASGI has no word for it; uvicorn's `send` is a method of what holds it.

    A connection of HTTP/2 brings its own (`http2.py`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "abort" not in scope:
            scope["abort"] = send.__self__.transport.abort  # type: ignore[attr-defined]
        await self._app(scope, receive, send)


class _Nothing(responses.Response):
    """No response: the connection is cut, as a broken network would."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the interface's
        scope["abort"]()
        await receive()  # until uvicorn knows that the client is gone


def _own(
    answer: Callable[[dict[str, Any]], Any], keys: tuple[str, str] | None, bodies: "_Bodies"
) -> _Endpoint:
    async def endpoint(request: requests.Request) -> responses.Response:
        if "origin" in request.headers or not _is_own_name(request.headers.get("host", "")):
            return JSONResponse({"message": "Web pages do not control the emulator."}, 403)
        if not shows_keys(keys, request.headers.get("authorization", "")):
            return JSONResponse(
                {"message": "Show the key pair that the emulator was started with: curl --user KEY:SECRET."},
                401,
            )
        if request.method == "POST" and request.headers.get("content-type", "") != "application/json":
            return JSONResponse({"message": "Send JSON with the content type application/json."}, 415)
        try:
            async with bodies.read(request) as body:
                given = json.loads(body or b"{}")
        except _NotReadError as error:
            return error.response()
        except (ValueError, RecursionError):
            return JSONResponse({"message": "The body is not JSON."}, 400)
        if not isinstance(given, dict):
            return JSONResponse({"message": "The body is not a JSON object."}, 400)
        try:
            return JSONResponse(await asyncio.to_thread(answer, given))
        except (ValueError, FaultError) as error:
            return JSONResponse({"message": str(error)}, 400)

    return endpoint


def _is_own_name(host: str) -> bool:
    """Whether a request was sent to an address, or a name of a local network: a page can make any other lead here."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
    return True


def _number(body: dict[str, Any], name: str, *, least: float) -> float:
    """A number of a body.

    Raises:
        ValueError: it is missing, or is not a number from `least` on.
    """
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise ValueError(f"{name} is missing or not a number from {least} on")
    return value


class _NotReadError(Exception):
    """A body that is not read to its end."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self._status, self._name = status, name

    def response(self) -> responses.Response:
        return JSONResponse({"message": str(self)}, self._status, {"x-amzn-errortype": self._name})


class _Bodies:
    """The bodies of requests, in bounded memory: of each, since a signature covers it all, and of all together."""

    def __init__(self) -> None:
        self._bytes = 0

    @asynccontextmanager
    async def read(self, request: requests.Request) -> AsyncIterator[bytes]:
        """A body, which counts until the block ends.

        Raises:
            _NotReadError: it is longer than any of Bedrock's, or there is no room for it now.
        """
        pieces, size = [], 0
        try:
            async for piece in request.stream():
                pieces.append(piece)
                size, self._bytes = size + len(piece), self._bytes + len(piece)
                if size > LONGEST_BODY:
                    raise _NotReadError(413, "ValidationException", "The request body is too large.")
                if self._bytes > MOST_BYTES:
                    raise _NotReadError(
                        503,
                        "ServiceUnavailableException",
                        "The emulator has as many requests as it can hold.",
                    )
            yield b"".join(pieces)
        finally:
            self._bytes -= size


def _url(request: requests.Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["raw_path"].decode("latin-1")
    return f"http://{request.headers.get('host', '')}{path}" + (f"?{query}" if query else "")
