"""A process that does the whole work of a dataset, and dies or is suspended at a given point.

What belongs here: the loop that stands for the sensors, the points around the effects, and the process.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_pipeline.aws.errors import AwsError, classify
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.due_work import due_work
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account
from bedrock_pipeline.submit.submit_chunk import NeedsResolutionError, SubmissionRejectedError, submit_chunk
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.faults.points import READS
from bedrock_pipeline_tests.waiting import Progress

_ERRORS = {
    "throttled": "ThrottlingException",
    "refused": "AccessDeniedException",
    "conflict": "ConflictException",
}


def die() -> None:
    """SIGKILL, from which nothing can be saved."""
    os.kill(os.getpid(), signal.SIGKILL)


def fall_asleep() -> None:
    """SIGSTOP, until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


@dataclass
class Death:
    """Where to die.

    Attributes:
        effect: at this effect alone; None means at any.
        after: once it was acknowledged, rather than before it.
        passed: number of points that are passed before.
        strike: what happens there.
    """

    effect: str | None
    after: bool = False
    passed: int = 0
    strike: Callable[[], None] = die

    def reached(self, effect: str, *, after: bool) -> None:
        if self.effect not in (None, effect) or self.after != after:
            return
        if self.passed == 0:
            self.strike()
        self.passed -= 1


class _Watched:
    """An object whose effects are crash points."""

    def __init__(
        self, target: object, name: str, death: Death, methods: dict[str, Callable[..., Any]]
    ) -> None:
        self._target, self._name, self._death, self._methods = target, name, death, methods

    def __getattr__(self, attribute: str) -> Any:
        method = self._methods.get(f"{self._name}.{attribute}") or getattr(self._target, attribute)
        effect = f"{self._name}.{attribute}"

        def watched(*positional: Any, **named: Any) -> Any:
            self._death.reached(effect, after=False)
            result = method(*positional, **named)
            self._death.reached(effect, after=True)
            return result

        return method if attribute in READS[self._name] else watched


def watch(deployment: Deployment, death: Death, scenario: str | None) -> Deployment:
    changed = {"jobs.create": _failing_once(deployment.jobs.create, scenario)}
    ledger = deployment.ledger
    for part, name in PARTS.items():
        setattr(ledger, part, _Watched(getattr(ledger, part), name, death, changed))
    return Deployment(
        settings=deployment.settings,
        ledger=ledger,
        objects=cast("Any", _Watched(deployment.objects, "objects", death, changed)),
        jobs=cast("Any", _Watched(deployment.jobs, "jobs", death, changed)),
        runtime=cast("Any", _Watched(deployment.runtime, "runtime", death, changed)),
        system=deployment.system,
    )


#: The ledger's parts under the names of the points ("jobs" is Bedrock's).
PARTS = {
    "datasets": "datasets",
    "versions": "versions",
    "served_pipelines": "served_pipelines",
    "publications": "publications",
    "submissions": "submissions",
    "spending": "spending",
    "chunks": "chunks",
    "interventions": "interventions",
    "jobs": "observed",
    "quota_groups": "quota_groups",
    "incarnations": "incarnations",
    "retention": "retention",
    "retry_rounds": "retry_rounds",
    "calls": "calls",
    "tasks": "tasks",
    "queues": "queues",
    "token_buckets": "token_buckets",
}


def _failing_once(create: Callable[..., str], scenario: str | None) -> Callable[..., str]:
    """The first Create of this process, and that of the same chunk again, goes as the scenario says.

    Here rather than at the emulator, which all trials share: a fault there would strike whichever process comes
    first. What the service itself does wrong is tried in `test_service.py`.
    """
    # A chunk's Create is sent again after the consistency window, before an operator is needed.
    times = 2 if scenario == "conflict" else 1
    left = [scenario] * times if scenario in (*_ERRORS, "answer lost") else []
    struck: set[str] = set()

    def failing(*positional: Any, **named: Any) -> str:
        name = positional[0]["jobName"]
        if not left or name not in (struck or {name}):
            return create(*positional, **named)
        struck.add(name)
        fault = left.pop()
        if fault == "answer lost":
            create(*positional, **named)
            error: Exception = ReadTimeoutError(endpoint_url="http://127.0.0.1")
        else:
            error = ClientError(
                {"Error": {"Code": _ERRORS[fault], "Message": "as the scenario wants"}},
                "CreateModelInvocationJob",
            )
        raise AwsError("Create failed.", "", classify(error)) from error

    return failing


def work(deployment: Deployment, pipeline: Pipeline, scenario: str) -> None:
    """Everything that the sensors would request, until the dataset is published."""
    progress = Progress()
    while not tick(deployment, pipeline, scenario):
        progress.see(state_of(deployment, pipeline))
        time.sleep(0.05)
    sweep_account(deployment)


def state_of(deployment: Deployment, pipeline: BasePipeline) -> object:
    """What changes as the dataset goes on, to be compared and shown."""
    row = deployment.ledger.datasets.get(pipeline.name, "d")
    chunks = deployment.ledger.chunks.of_dataset(pipeline.name, "d", row.version) if row else []
    return row and row.state, [
        (chunk.chunk_key, chunk.status, chunk.submissions, chunk.collected_at, chunk.status_message)
        for chunk in chunks
    ]


def tick(deployment: Deployment, pipeline: Pipeline, scenario: str = "plain") -> bool:
    """One look of every sensor; True once the dataset is published."""
    ledger, name = deployment.ledger, pipeline.name
    if ledger.datasets.ensure(name, "d").packed_at is None:
        take_snapshot(deployment, pipeline, "d")
        pack_dataset(deployment, pipeline, "d")
    _submit_due(deployment, pipeline)
    if scenario == "cancelled":
        _cancel(deployment, name)
    _as_an_operator(deployment, name)
    poll_jobs(deployment)
    for key in _due(deployment, pipeline, "collect"):
        with suppress(JobProblemError):
            collect_chunk(deployment, pipeline, key)
    for key in _due(deployment, pipeline, "retry"):
        start_retry_round(deployment, pipeline, key)
    for key in _due(deployment, pipeline, "publish"):
        publish_dataset(deployment, pipeline, key)
    now = ledger.datasets.get(name, "d")
    if now and now.results_uri and not _due(deployment, pipeline, "publish"):
        return True
    move_clock(deployment, 30)  # leases and waits end at once
    return False


def _due(deployment: Deployment, pipeline: BasePipeline, kind: Kind) -> list[str]:
    """What the sensors would request runs for."""
    return [item.key for item in due_work(deployment.ledger, [pipeline], limit=10, kinds=(kind,))]


def _submit_due(deployment: Deployment, pipeline: BasePipeline) -> None:
    reconcile_in_doubt(deployment)
    for key in _due(deployment, pipeline, "submit"):
        with suppress(SubmissionRejectedError, NeedsResolutionError):
            submit_chunk(deployment, pipeline.name, key)


def _cancel(deployment: Deployment, name: str) -> None:
    if not any(chunk.job_arn for chunk in deployment.ledger.chunks.of_dataset(name, "d", 1)):
        return
    for chunk in deployment.ledger.interventions.cancel(name, "d"):
        if chunk.job_arn:
            deployment.jobs.stop(chunk.job_arn)


def _as_an_operator(deployment: Deployment, name: str) -> None:
    """What an operator does about red chunks: the cause is fixed, no job exists."""
    chunks = deployment.ledger.chunks.of_dataset(name, "d", 1)
    if any(chunk.status == "failed" and not chunk.job_arn for chunk in chunks):
        deployment.ledger.interventions.retry_rejected(name, "d")
    if any(one.waits_for == "operator" for one in deployment.ledger.retry_rounds.open_of(name, "d", 1)):
        deployment.ledger.interventions.release(name, "d")
    for chunk in chunks:
        if chunk.status == "needs-resolution":
            deployment.ledger.interventions.resolve_without_job(chunk.chunk_id)


def move_clock(deployment: Deployment, seconds: float) -> None:
    """Move the ledger's clock forward."""
    deployment.ledger.database.execute(
        "UPDATE bedrock_pipeline.deployment SET clock_offset = clock_offset + make_interval(secs => %s)",
        (seconds,),
    )


def run(
    settings: Settings, pipeline: Pipeline, scenario: str, *, first: bool, death: Death | None, log: Path
) -> bool:
    """Work in a process of its own; True where it died by SIGKILL, False where it finished.

    Raises:
        AssertionError: it ended in any other way; with its traceback.
    """
    code = exit_code(start(settings, pipeline, scenario, first=first, death=death, log=log))
    assert code in (0, -signal.SIGKILL), log.read_text() if log.exists() else code
    return code != 0


def start(
    settings: Settings, pipeline: Pipeline, scenario: str, *, first: bool, death: Death | None, log: Path
) -> BaseProcess:
    """Begin to work in a process of its own."""
    act = partial(work, pipeline=pipeline, scenario=scenario)
    return start_to(settings, act, scenario=scenario if first else None, death=death, log=log)


def start_to(
    settings: Settings,
    act: Callable[[Deployment], object],
    *,
    scenario: str | None = None,
    death: Death | None,
    log: Path,
) -> BaseProcess:
    """Begin to act in a process of its own, on a deployment whose effects are watched."""
    return start_child(partial(_watched, settings, act, scenario, death or Death("none")), log)


def _watched(
    settings: Settings, act: Callable[[Deployment], object], scenario: str | None, death: Death
) -> None:
    with open_deployment(settings) as deployment:
        act(watch(deployment, death, scenario))
