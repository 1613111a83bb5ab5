"""A process that does the whole work of a dataset, and dies or is suspended at a given point.

What belongs here: the loop that stands for the sensors, the points around the effects, and the fork.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_pipeline.aws.errors import AwsError, classify
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.due_work import due_work
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account
from bedrock_pipeline.submit.submit_chunk import NeedsResolutionError, SubmissionRejectedError, submit_chunk
from bedrock_pipeline_tests.faults.points import READS

#: A worker that has not finished after this many seconds makes no progress.
_PATIENCE_S = 300.0
_ERRORS = {
    "throttled": "ThrottlingException",
    "refused": "AccessDeniedException",
    "conflict": "ConflictException",
}


@dataclass
class Death:
    """Where to die.

    Attributes:
        effect: at this effect alone; None means at any.
        after: once it was acknowledged, rather than before it.
        passed: number of points that are passed before.
        strike: what happens there; SIGKILL by default.
    """

    effect: str | None
    after: bool = False
    passed: int = 0
    strike: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL)

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
    )


#: The ledger's parts under the names of the points ("jobs" is Bedrock's).
PARTS = {
    "datasets": "datasets",
    "publications": "publications",
    "submissions": "submissions",
    "spending": "spending",
    "chunks": "chunks",
    "interventions": "interventions",
    "jobs": "observed",
    "quota_groups": "quota_groups",
    "retry_rounds": "retry_rounds",
    "calls": "calls",
    "tasks": "tasks",
    "queues": "queues",
    "token_buckets": "token_buckets",
}


def _failing_once(create: Callable[..., str], scenario: str | None) -> Callable[..., str]:
    """The first Create of this process goes as the scenario says.

    Here rather than at the emulator, which all trials share: a fault there would strike whichever process comes
    first. What the service itself does wrong is tried in `test_service.py`.
    """
    times = (
        2 if scenario == "conflict" else 1
    )  # List is called again after a consistency window, before an operator is needed
    left = [scenario] * times if scenario in (*_ERRORS, "answer lost") else []

    def failing(*positional: Any, **named: Any) -> str:
        if not left:
            return create(*positional, **named)
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
    ledger, name = deployment.ledger, pipeline.name
    deadline = time.monotonic() + _PATIENCE_S
    while not tick(deployment, pipeline, scenario):
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"no progress: {[(c.chunk_key, c.status) for c in ledger.chunks.of_dataset(name, 'd', 1)]}"
            )
        time.sleep(0.05)
    sweep_account(deployment)


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
    """Work in a forked process; True where it died by SIGKILL, False where it finished.

    Raises:
        AssertionError: it ended in any other way; with its traceback.
    """
    pid = fork(settings, pipeline, scenario, first=first, death=death, log=log)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, log.read_text()
    return False


_Clients = tuple[S3Objects, BedrockJobs, BedrockRuntime]
_WARM: dict[tuple[str | None, ...], _Clients] = {}


def _warm(settings: Settings) -> _Clients:
    """Clients that the parent makes, which takes half a second, and never uses: each child has its own connections."""
    key = settings.s3_endpoint_url, settings.bedrock_endpoint_url, str(settings.max_attempts)
    if key not in _WARM:
        with open_deployment(settings) as made:
            _WARM[key] = made.objects, made.jobs, made.runtime
    return _WARM[key]


def fork(
    settings: Settings, pipeline: Pipeline, scenario: str, *, first: bool, death: Death | None, log: Path
) -> int:
    """Begin to work in a forked process; its process id."""
    return fork_to(
        settings,
        lambda deployment: work(deployment, pipeline, scenario),
        scenario=scenario if first else None,
        death=death,
        log=log,
    )


def fork_to(
    settings: Settings,
    act: Callable[[Deployment], object],
    *,
    scenario: str | None = None,
    death: Death | None,
    log: Path,
) -> int:
    """Begin to act in a forked process; its process id."""
    clients = _warm(settings)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ledger = Ledger(settings.database_dsn.get_secret_value())
            with Deployment(settings, ledger, *clients) as deployment:
                act(watch(deployment, death or Death("none"), scenario))
            code = 0
        except BaseException:  # reported to the parent, whose copy of everything this process must not touch
            log.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return pid
