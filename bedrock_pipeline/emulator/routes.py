"""The emulator's HTTP.

What belongs here: paths, headers, signatures, and the faults that strike an answer. What an operation does is
`service.py`'s and `runtime.py`'s. Our own routes lie beneath `/_emulator`.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bedrock_pipeline.emulator.behaviour import Quota
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.faults import FaultError, Faults, Kind, parse_faults
from bedrock_pipeline.emulator.runtime import Runtime
from bedrock_pipeline.emulator.service import Service
from bedrock_pipeline.emulator.signature import check_signature
from bedrock_pipeline.emulator.store import Store

Answered = tuple[dict[str, Any], dict[str, str]]
Endpoint = Callable[[Request], Any]


@dataclass(frozen=True)
class Parts:
    """What the routes lead to."""

    service: Service
    runtime: Runtime
    store: Store
    clock: Clock
    faults: Faults
    quota: Quota
    keys: tuple[str, str]


class _AnswerLostError(Exception):
    """The operation was done, and the client is not told."""


def application(parts: Parts) -> ASGIApp:
    """Every route."""
    job = "/model-invocation-job/{identifier:path}"
    model = "/model/{model:path}"
    service, runtime = parts.service, parts.runtime

    def route(
        path: str, method: str, operation: str, act: Callable[[Request, bytes], dict[str, Any]]
    ) -> Route:
        return Route(path, _signed(parts, operation, lambda r, b: (act(r, b), {})), methods=[method])

    def invoke(request: Request, body: bytes) -> Answered:
        reply = runtime.invoke(_model(request), _json(body))
        return reply.body, {
            "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
            "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
        }

    routes = [
        route(
            "/model-invocation-job", "POST", "CreateModelInvocationJob", lambda _, b: service.create(_json(b))
        ),
        route(
            f"{job}/stop",
            "POST",
            "StopModelInvocationJob",
            lambda r, _: service.stop(r.path_params["identifier"]),
        ),
        route(job, "GET", "GetModelInvocationJob", lambda r, _: service.get(r.path_params["identifier"])),
        route(
            "/model-invocation-jobs",
            "GET",
            "ListModelInvocationJobs",
            lambda r, _: service.list(dict(r.query_params)),
        ),
        Route(f"{model}/invoke", _signed(parts, "InvokeModel", invoke), methods=["POST"]),
        route(f"{model}/converse", "POST", "Converse", lambda r, b: runtime.converse(_model(r), _json(b))),
        *_own_routes(parts),
    ]
    return _Droppable(Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown}))


def _own_routes(parts: Parts) -> list[Route]:
    def jobs(_: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": parts.store.all(), "mostInFlight": parts.store.peaks()}

    def advance(body: dict[str, Any]) -> dict[str, Any]:
        parts.clock.advance(float(body["seconds"]))
        return {"now": parts.clock.now().isoformat()}

    def reset(_: dict[str, Any]) -> dict[str, Any]:
        parts.store.clear()
        parts.faults.clear()
        return {}

    def shown(_: dict[str, Any]) -> dict[str, Any]:
        return {"faults": parts.faults.shown()}

    def add(body: dict[str, Any]) -> dict[str, Any]:
        for fault in parse_faults(body):
            parts.faults.add(fault)
        return shown({})

    def clear(_: dict[str, Any]) -> dict[str, Any]:
        parts.faults.clear()
        return {}

    def quota(body: dict[str, Any]) -> dict[str, Any]:
        parts.quota.max_jobs = int(body["maxJobs"])
        return {"maxJobs": parts.quota.max_jobs}

    return [
        Route("/_emulator/jobs", _own(jobs), methods=["GET"]),
        Route("/_emulator/clock", _own(advance), methods=["POST"]),
        Route("/_emulator/quota", _own(quota), methods=["POST"]),
        Route("/_emulator/faults", _own(shown), methods=["GET"]),
        Route("/_emulator/faults", _own(add), methods=["POST"]),
        Route("/_emulator/faults", _own(clear), methods=["DELETE"]),
        Route("/_emulator", _own(reset), methods=["DELETE"]),
    ]


def _signed(parts: Parts, operation: str, act: Callable[[Request, bytes], Answered]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            check_signature(
                parts.keys, datetime.now(UTC), request.method, _url(request), request.headers, body
            )
            content, headers = await _with_faults(
                parts.faults, operation, _job_name(body), act, request, body
            )
        except ServiceError as error:
            return _answer({"message": error.message}, error.status, {"x-amzn-errortype": error.code})
        except _AnswerLostError:
            return _Nothing()
        return _answer(content, 200, headers)

    return endpoint


async def _with_faults(
    faults: Faults,
    operation: str,
    job_name: str,
    act: Callable[[Request, bytes], Answered],
    request: Request,
    body: bytes,
) -> Answered:
    if fault := faults.strike(Kind.DELAY, operation=operation, job_name=job_name):
        await asyncio.sleep(fault.delay)
    if fault := faults.strike(Kind.ERROR, operation=operation, job_name=job_name):
        raise ServiceError(fault.error, fault.message)
    answered = await asyncio.to_thread(act, request, body)
    if faults.strike(Kind.ANSWER_LOST, operation=operation, job_name=job_name):
        raise _AnswerLostError
    if fault := faults.strike(Kind.ERROR_AFTER, operation=operation, job_name=job_name):
        raise ServiceError(fault.error, fault.message)
    return answered


class _Droppable:
    """Lets an answer cut the connection. ASGI has no word for it; uvicorn's `send` is a method of what holds it.

    A connection of HTTP/2 brings its own (`http2.py`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "abort" not in scope:
            scope["abort"] = send.__self__.transport.abort  # type: ignore[attr-defined]
        await self._app(scope, receive, send)


class _Nothing(Response):
    """No answer: the connection is cut, as a broken network would."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the interface's
        scope["abort"]()
        await receive()  # until uvicorn knows that nobody is there


def _own(answer: Callable[[dict[str, Any]], Any]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            return JSONResponse(await asyncio.to_thread(answer, json.loads(body or b"{}")))
        except (KeyError, TypeError, ValueError, FaultError) as error:
            return JSONResponse({"message": str(error)}, 400)

    return endpoint


async def _unknown(_request: Request, _error: Exception) -> Response:
    return _answer({"message": "Unknown operation"}, 404, {"x-amzn-errortype": "UnknownOperationException"})


def _job_name(body: bytes) -> str:
    """The name in a Create's body, for faults of one job's."""
    try:
        return str(json.loads(body).get("jobName", "")) if body else ""
    except (ValueError, AttributeError):
        return ""


def _model(request: Request) -> str:
    return unquote(request.path_params["model"])


def _url(request: Request) -> str:
    query = request.scope["query_string"].decode()
    path = request.scope["raw_path"].decode()
    return f"http://{request.headers['host']}{path}" + (f"?{query}" if query else "")


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise invalid("The request body is not JSON") from None
    if not isinstance(value, dict):
        raise invalid("The request body is not a structure")
    return value


def _answer(content: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    own = {"x-amzn-requestid": str(uuid.uuid4()), "date": format_datetime(datetime.now(UTC), usegmt=True)}
    return JSONResponse(content, status, {**own, **headers})
