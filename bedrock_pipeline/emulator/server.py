"""The emulator as a process.

What belongs here: the command line, and putting the parts together.
"""

import argparse
import asyncio
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import uvicorn
from botocore.config import Config
from starlette.types import ASGIApp

from bedrock_pipeline.emulator import behaviour as switches
from bedrock_pipeline.emulator.behaviour import Behaviour, Quota
from bedrock_pipeline.emulator.clients import session_by_value
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.faults import Faults, parse_faults
from bedrock_pipeline.emulator.http2 import EitherVersion
from bedrock_pipeline.emulator.models import load_models
from bedrock_pipeline.emulator.routes import Parts, application
from bedrock_pipeline.emulator.runner import Durations, Runner
from bedrock_pipeline.emulator.runtime import Runtime
from bedrock_pipeline.emulator.service import Service
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline.emulator.work import JobLimits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SWITCHES: tuple[type[StrEnum], ...] = (
    *(switches.SameToken, switches.OtherRequest, switches.OverQuota),
    *(switches.DuplicateIds, switches.MissingIds, switches.StoppedOutput),
)


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; prints `ready http://HOST:PORT` when it answers."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        models, faults = load_models(options.model), _faults(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    keys = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    store, clock, quota = Store(options.data), Clock(options.speed), Quota(options.max_jobs)
    behaviour = _behaviour(options)
    runner = Runner(
        store,
        clock,
        _s3(options, keys),
        limits=JobLimits(**{field.name: getattr(options, field.name) for field in fields(JobLimits)}),
        durations=Durations(**{field.name: getattr(options, field.name) for field in fields(Durations)}),
        behaviour=behaviour,
        models=models,
        faults=faults,
        quota=quota,
    )
    service = Service(
        store,
        clock,
        region=options.region,
        account=options.account,
        quota=quota,
        behaviour=behaviour,
        models=models,
        faults=faults,
    )
    app = application(Parts(service, Runtime(models), store, clock, faults, quota, keys))
    listener = socket.create_server((options.host, options.port))
    # Connections inherit it. asyncio would set it itself if the socket told its protocol; without, each answer waits
    # 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    runner.start()
    try:
        asyncio.run(_serve(app, listener, options.host))
    finally:
        runner.stop()
    return 0


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
    parser.add_argument("--max-jobs", type=int, default=20, help="jobs at once, per model")
    limits = parser.add_argument_group("limits of a job")
    for limit in fields(JobLimits):
        limits.add_argument(f"--{limit.name.replace('_', '-')}", type=int, default=limit.default)
    durations = parser.add_argument_group("seconds in each status, before the speed")
    for duration in fields(Durations):
        flag = f"--{duration.name.replace('_', '-')}-seconds"
        durations.add_argument(flag, dest=duration.name, type=float, default=duration.default)
    parser.add_argument(
        "--model", action="append", default=[], help="ID=module:function, a model of your own; repeatable"
    )
    parser.add_argument("--faults", type=Path, help='a file of faults: {"faults": [...]}')
    parser.add_argument("--fault", action="append", default=[], help="one fault as JSON; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults' rates")
    unknown = parser.add_argument_group("where the service's behaviour is not known")
    for switch in _SWITCHES:
        choices = list(switch)
        unknown.add_argument(_flag(switch), choices=choices, default=choices[0], type=switch)
    unknown.add_argument("--token-lifetime", type=float, help="seconds after which a token is forgotten")
    return parser


def _flag(switch: type[StrEnum]) -> str:
    return "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in switch.__name__).lstrip("-")


def _behaviour(options: argparse.Namespace) -> Behaviour:
    return Behaviour(**{field.name: getattr(options, field.name) for field in fields(Behaviour)})


def _faults(options: argparse.Namespace) -> Faults:
    faults = Faults(options.seed)
    if options.faults:
        faults.load(options.faults)
    for one in options.fault:
        for fault in parse_faults(json.loads(one)):
            faults.add(fault)
    return faults


def _s3(options: argparse.Namespace, keys: tuple[str, str]) -> "S3Client":
    if options.s3_endpoint_url and all(keys):
        return session_by_value(keys, options.region, {"s3": options.s3_endpoint_url}).client("s3")
    return boto3.client(  # AWS's own S3, by boto3's own chain
        "s3",
        endpoint_url=options.s3_endpoint_url,
        region_name=options.region,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=50),
    )


async def _serve(app: ASGIApp, listener: socket.socket, host: str) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=EitherVersion,
            log_level="warning",
            access_log=False,
            lifespan="off",
            date_header=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print(f"ready http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201  # the promise to who started it
    await serving
