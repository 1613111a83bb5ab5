"""AWS of one simulation: the emulator's own service code and S3 in memory, by one clock.

What belongs here: what a request does there, and how the history shows it.
"""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from bedrock_pipeline.emulator.behaviour import Behaviour
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.emulator import Emulator, EmulatorConfig
from bedrock_pipeline.emulator.faults import Faults, parse_faults
from bedrock_pipeline.emulator.in_process import respond
from bedrock_pipeline.emulator.objects import MemoryObjects
from bedrock_pipeline.emulator.runner import Durations
from bedrock_pipeline.emulator.store import Store
from bedrock_pipeline.emulator.work import JobLimits
from bedrock_pipeline_tests.simulation import storage
from bedrock_pipeline_tests.simulation.history import History

_TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Expired", "Stopped")


class Service:
    """Bedrock and S3.

    Args:
        seed: of ids and of faults' rates.
        history: gets a line when a job ends.
        bucket: the one that there is.
        quota: jobs at once, per model.
        min_records: fewest records of a job.
        job_s: how long a job runs.
        switches: its behaviour.

    Attributes:
        task: what the simulation itself does, for the history.
        objects: everything in S3.
    """

    def __init__(
        self,
        seed: str,
        history: History,
        *,
        bucket: str,
        quota: int,
        min_records: int,
        job_s: float,
        switches: dict[str, Any],
        sleep: Any,
    ) -> None:
        self.history, self.task = history, ""
        self.objects: dict[tuple[str, str], bytes] = {}
        behaviour = Behaviour()
        behaviour.change(switches)
        self.faults = Faults(random.Random(seed).getrandbits(32), self._wall)
        self.emulator = Emulator(
            EmulatorConfig(
                keys=("simulated", "simulated"),
                max_jobs=quota,
                limits=JobLimits(min_records=min_records),
                durations=Durations(5, 5, 10, job_s, 5),
                behaviour=behaviour,
            ),
            store=Store(None),
            objects=MemoryObjects(self.objects, {bucket}),
            clock=Clock(self._wall, sleep),
            rng=random.Random(f"{seed} emulator"),
            faults=self.faults,
        )
        self._jobs = 0
        self._ended: set[str] = set()

    def begin_faults(self, faults: Iterable[dict[str, Any]]) -> None:
        """From now on these things go wrong; as JSON of the emulator's."""
        for fault in faults:
            self.faults.add(parse_faults(fault)[0])

    def work(self) -> bool:
        """One unit of work of each job; whether there was one."""
        worked = self.emulator.step()
        for job in self.emulator.store.all():
            if job["status"] in _TERMINAL and job["id"] not in self._ended:
                self._ended.add(job["id"])
                self.history.add(
                    "Bedrock", f"{job['status']} {job['jobName']}", job=job["id"], status=job["status"]
                )
        return worked

    def bedrock(self, request: AWSPreparedRequest) -> AWSResponse:
        """What Bedrock responds.

        Raises:
            ConnectionClosedError: as a fault wants.
        """
        return respond(self.emulator.protocol, request)

    def made(self) -> dict[str, Any]:
        """The job that the last request has made, if it has."""
        jobs = self.emulator.store.all()
        new = jobs[self._jobs :]
        self._jobs = len(jobs)
        return {"made": new[0]["id"], "job_name": new[0]["jobName"]} if new else {}

    def described(self, operation: str, request: AWSPreparedRequest) -> str:
        """A request to Bedrock, as the history shows it."""
        short = operation.replace("ModelInvocation", "")
        if operation == "CreateModelInvocationJob":
            body: Any = request.body or b"{}"
            return f"{short} {json.loads(body)['jobName']}"
        path = unquote(urlsplit(request.url).path).removesuffix("/stop").rpartition("/")[2]
        return short if operation.startswith("List") else f"{short} {path}"

    def s3(self, request: AWSPreparedRequest) -> tuple[AWSResponse, dict[str, Any]]:
        """What S3 responds; and the object that was changed, with what is in it then."""
        response = storage.respond(self.objects, request)
        if request.method not in ("PUT", "DELETE") or response.status_code >= 300:
            return response, {}
        bucket, _, key = unquote(urlsplit(request.url).path).lstrip("/").partition("/")
        return response, self.facts_of(key, self.objects.get((bucket, key)))

    def facts_of(self, key: str, content: bytes | None) -> dict[str, Any]:
        """What the judge needs of a change of an object."""
        facts: dict[str, Any] = {"key": key, "content": None if content is None else storage.etag(content)}
        if content and key.endswith("/latest.json"):
            facts["names"] = json.loads(content)["uri"]
        return facts

    def described_object(self, request: AWSPreparedRequest) -> str:
        """A request to S3, as the history shows it."""
        url = urlsplit(request.url)
        _, _, key = unquote(url.path).lstrip("/").partition("/")
        if request.method == "GET" and not key:
            return "LIST"
        copied = request.method == "PUT" and request.headers.get("x-amz-copy-source")
        return f"{'COPY' if copied else request.method} {key}"

    def _wall(self) -> datetime:
        return datetime.fromtimestamp(self.history.at, UTC)
