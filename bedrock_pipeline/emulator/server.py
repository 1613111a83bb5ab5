"""The emulator as an HTTP server.

What belongs here: routes, headers, the command line. What an operation does is `service.py`'s.
"""

import argparse
import asyncio
import json
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import uvicorn
from botocore.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.runner import Durations, Runner
from bedrock_pipeline.emulator.service import Service
from bedrock_pipeline.emulator.signature import check_signature
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline.emulator.work import JobLimits

Operation = Callable[[Request, bytes], dict[str, Any]]


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; prints `ready http://HOST:PORT` when it answers."""
    options = _parser().parse_args(argv)
    keys = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    store, clock = Store(options.data), Clock(options.speed)
    s3 = boto3.client(
        "s3",
        endpoint_url=options.s3_endpoint_url,
        aws_access_key_id=keys[0] or None,
        aws_secret_access_key=keys[1] or None,
        region_name=options.region,
        config=Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required"),
    )
    limits = JobLimits(min_records=options.min_records, max_records=options.max_records)
    runner = Runner(store, clock, s3, limits, Durations())
    service = Service(store, clock, region=options.region, account=options.account, max_jobs=options.max_jobs)
    app = application(service, store, clock, keys)
    listener = socket.create_server((options.host, options.port))
    runner.start()
    try:
        asyncio.run(_serve(app, listener, options.host))
    finally:
        runner.stop()
    return 0


def application(service: Service, store: Store, clock: Clock, keys: tuple[str, str]) -> Starlette:
    """The routes of the service, and our own beneath `/_emulator`."""

    def signed(operation: Operation) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            try:
                check_signature(keys, datetime.now(UTC), request.method, _url(request), request.headers, body)
                answer = await asyncio.to_thread(operation, request, body)
            except ServiceError as error:
                return _answer({"message": error.message}, error.status, {"x-amzn-errortype": error.code})
            return _answer(answer)

        return endpoint

    def own(answer: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            return JSONResponse(await asyncio.to_thread(answer, json.loads(body or b"{}")))

        return endpoint

    def jobs(_: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": store.all(), "mostInFlight": store.peaks()}

    def advance(body: dict[str, Any]) -> dict[str, Any]:
        clock.advance(float(body["seconds"]))
        return {"now": clock.now().isoformat()}

    def reset(_: dict[str, Any]) -> dict[str, Any]:
        store.clear()
        return {}

    job = "/model-invocation-job/{identifier:path}"
    return Starlette(
        routes=[
            Route(
                "/model-invocation-job", signed(lambda _, body: service.create(_json(body))), methods=["POST"]
            ),
            Route(
                f"{job}/stop",
                signed(lambda request, _: service.stop(request.path_params["identifier"])),
                methods=["POST"],
            ),
            Route(
                job,
                signed(lambda request, _: service.get(request.path_params["identifier"])),
                methods=["GET"],
            ),
            Route(
                "/model-invocation-jobs",
                signed(lambda request, _: service.list(dict(request.query_params))),
                methods=["GET"],
            ),
            Route("/_emulator/jobs", own(jobs), methods=["GET"]),
            Route("/_emulator/clock", own(advance), methods=["POST"]),
            Route("/_emulator", own(reset), methods=["DELETE"]),
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedrock-pipeline emulator", description="Bedrock batch inference on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=0, help="port; 0 for a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder for the jobs")
    parser.add_argument("--s3-endpoint-url", help="where S3 is")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--account", default="123456789012", help="account in the ARNs")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than the service jobs run")
    parser.add_argument("--min-records", type=int, default=100)
    parser.add_argument("--max-records", type=int, default=50_000)
    parser.add_argument("--max-jobs", type=int, default=20, help="jobs at once, per model")
    return parser


async def _serve(app: Starlette, listener: socket.socket, host: str) -> None:
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", date_header=False)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print(f"ready http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201  # the promise to who started it
    await serving


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


def _answer(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    own = {"x-amzn-requestid": str(uuid.uuid4()), "date": format_datetime(datetime.now(UTC), usegmt=True)}
    return JSONResponse(content, status, {**own, **(headers or {})})
