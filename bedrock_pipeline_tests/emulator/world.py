"""An emulator in the test's own process, with a clock that stands still until it is moved."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import orjson
from botocore.exceptions import ClientError, ConnectionClosedError

from bedrock_pipeline.emulator.behaviour import Behaviour
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.emulator import Emulator, EmulatorConfig
from bedrock_pipeline.emulator.faults import Faults, parse_faults
from bedrock_pipeline.emulator.in_process import connect
from bedrock_pipeline.emulator.objects import MemoryObjects
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline_tests.emulator.client import BARE, BUCKET, lines, request

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """An emulator with a clock that stands still until it is moved, and its boto3 clients.

    Attributes:
        objects: what is in S3, by bucket and key.
        slept: seconds of each sleep.
        responses: what every request got.
    """

    def __init__(self, seed: int = 1, *faults: dict[str, Any], **switches: Any) -> None:
        self.wall, self.slept, self.responses = START, list[float](), list[Any]()
        self.objects = {(BUCKET, "in/a.jsonl"): lines(450)}
        behaviour = Behaviour()
        behaviour.change(switches)
        struck = Faults(seed, lambda: self.wall)
        for fault in faults:
            struck.add(parse_faults(fault)[0])
        self.emulator = Emulator(
            EmulatorConfig(behaviour=behaviour),
            store=Store(None),
            objects=MemoryObjects(self.objects, {BUCKET}),
            clock=Clock(lambda: self.wall, self.sleep),
            rng=random.Random(seed),
            faults=struck,
        )
        self.bedrock, self.runtime = self.client("bedrock"), self.client("bedrock-runtime")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.wall += timedelta(seconds=seconds)

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        client = boto3.client(service, config=BARE, **keys)  # type: ignore[call-overload]  # by its name
        connect(client, self.emulator.protocol)
        return client

    def call(self, act: Callable[..., Any], **given: Any) -> Any:
        try:
            response = act(**given)
        except (ClientError, ConnectionClosedError) as error:
            self.responses.append(repr(error))
            return None
        if "body" in response:
            response = {**response, "body": response["body"].read()}
        self.responses.append(response)
        return response

    def run(self, minutes: float = 1000) -> None:
        """What is due, then half a minute, and again; until every job has ended, or so long."""
        end = self.wall + timedelta(minutes=minutes)
        while self.emulator.store.active() and self.wall < end:
            while self.emulator.step():
                pass
            self.wall += timedelta(seconds=30)

    def job(self, **changes: Any) -> dict[str, Any]:
        """A job that was run to its end, as Get shows it."""
        created = self.bedrock.create_model_invocation_job(**request("in/a.jsonl", **changes))
        self.run()
        found: dict[str, Any] = self.bedrock.get_model_invocation_job(jobIdentifier=created["jobArn"])
        return found

    def records(self, job: dict[str, Any], name: str = "a.jsonl") -> dict[str, Any]:
        """The lines of a job's output, by record id."""
        content = self.objects[BUCKET, f"out/{job['jobArn'][-12:]}/{name}.out"]
        return {record["recordId"]: record for record in map(orjson.loads, content.splitlines())}
