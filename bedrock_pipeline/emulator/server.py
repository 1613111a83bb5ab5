"""The emulator as a process.

What belongs here: the command line, and what an emulator gets of the real world: S3, time, randomness and threads.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import uvicorn
from botocore.config import Config
from starlette.types import ASGIApp

from bedrock_pipeline.emulator.behaviour import Behaviour, switches
from bedrock_pipeline.emulator.clients import session_by_value
from bedrock_pipeline.emulator.clock import Clock, utc_now
from bedrock_pipeline.emulator.emulator import Emulator, EmulatorConfig
from bedrock_pipeline.emulator.faults import Faults, parse_faults
from bedrock_pipeline.emulator.http2 import EitherVersion
from bedrock_pipeline.emulator.models import load_models
from bedrock_pipeline.emulator.objects import S3Objects
from bedrock_pipeline.emulator.routes import application
from bedrock_pipeline.emulator.runner import Durations
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline.emulator.work import JobLimits
from bedrock_pipeline.emulator.workers import Workers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; prints `ready http://HOST:PORT` when it answers."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        if options.model:
            sys.path.append(str(Path.cwd()))  # where the user's module is
        models, faults, roles = load_models(options.model), _faults(options), _roles(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    keys = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    emulator = Emulator(
        EmulatorConfig(
            region=options.region,
            account=options.account,
            keys=keys,
            max_jobs=options.max_jobs,
            limits=JobLimits(**{field.name: getattr(options, field.name) for field in fields(JobLimits)}),
            durations=Durations(**{field.name: getattr(options, field.name) for field in fields(Durations)}),
            behaviour=Behaviour(**{field.name: getattr(options, field.name) for field in fields(Behaviour)}),
            models=models,
        ),
        store=Store(options.data),
        objects=S3Objects(_s3(options, keys)),
        clock=Clock(utc_now, time.sleep, speed=options.speed),
        rng=random.SystemRandom(),
        faults=faults,
    )
    for arn, policy in roles:
        emulator.roles.set(arn, policy)
    workers = Workers(emulator.runner)
    listener = socket.create_server((options.host, options.port))
    # Connections inherit it. asyncio would set it itself if the socket named its protocol; without, each answer waits
    # 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    workers.start()
    try:
        asyncio.run(_serve(application(emulator), listener, options.host))
    finally:
        workers.stop()
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
    parser.add_argument("--max-jobs", type=int, help="jobs at once, per model; the model's own by default")
    limits = parser.add_argument_group("limits of a job")
    for limit in fields(JobLimits):
        note = "the model's own by default" if limit.default is None else None
        limits.add_argument(_flag(limit.name), type=int, default=limit.default, help=note)
    durations = parser.add_argument_group("seconds in each status, before the speed")
    for duration in fields(Durations):
        flag = f"--{duration.name.replace('_', '-')}-seconds"
        durations.add_argument(flag, dest=duration.name, type=float, default=duration.default)
    parser.add_argument(
        "--model", action="append", default=[], help="ID=module:function, a model of your own; repeatable"
    )
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ARN=FILE",
        help="a role's IAM policy, which its jobs are held to; repeatable",
    )
    parser.add_argument("--faults", type=Path, help='a file of faults: {"faults": [...]}')
    parser.add_argument("--fault", action="append", default=[], help="one fault as JSON; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults' rates")
    unknown = parser.add_argument_group("where the service's behaviour is not known")
    defaults = Behaviour()
    for name, switch in switches().items():
        given, about = getattr(defaults, name), (switch.__doc__ or "").rstrip(".")
        unknown.add_argument(_flag(name), choices=list(switch), default=given, type=switch, help=about)
    unknown.add_argument("--token-lifetime", type=float, help="seconds after which a token is forgotten")
    return parser


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _faults(options: argparse.Namespace) -> Faults:
    faults = Faults(options.seed)
    if options.faults:
        faults.load(options.faults)
    for one in options.fault:
        for fault in parse_faults(json.loads(one)):
            faults.add(fault)
    return faults


def _roles(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    given = [one.partition("=") for one in options.role]
    return [(arn, json.loads(Path(file).read_text())) for arn, _, file in given]


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
