"""A dataset is cancelled in every state that a chunk can be in: what was answered is kept, and the slot is free."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.aws.arrow_files import results_filesystem
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.ledger.versions import DatasetCancelledError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import NeedsResolutionError, Submitted, submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock

RECORDS = 150


@dataclass(frozen=True)
class Trial:
    """What the rules below work with."""

    deployment: Deployment
    control: Control
    chunk: ChunkRow

    def fault(self, kind: str, error: str = "InternalServerException") -> None:
        """The next Create of this chunk goes wrong."""
        name = self.chunk.request["jobName"]
        operation = "CreateModelInvocationJob"
        self.control.add_fault(kind, operation=operation, error=error, job_name=name, times=1)

    def leave(self) -> None:
        """As it was packed."""

    def submit(self) -> None:
        with suppress(NeedsResolutionError):
            submit_chunk(self.deployment, "p", self.chunk.chunk_key)

    def intend(self) -> None:
        taken = self.deployment.ledger.submissions.intend(
            self.chunk.chunk_id, uuid4(), request=self.chunk.request, lease=timedelta(seconds=60)
        )
        assert isinstance(taken, Intent)

    def in_doubt(self, kind: str) -> None:
        self.fault(kind)
        self.submit()

    def requeue(self) -> None:
        self.fault("error", "ThrottlingException")
        self.submit()

    def need_resolution(self) -> None:
        """A conflict that a complete List does not explain, at first nor after the consistency window."""
        self.fault("error", "ConflictException")
        self.submit()
        move_clock(self.deployment, 3600)
        self.fault("error", "ConflictException")
        reconcile_in_doubt(self.deployment)

    def end(self) -> None:
        self.submit()
        while poll_jobs(self.deployment).in_flight:
            pass


@dataclass(frozen=True)
class State:
    """A state, how it is reached, and what happens to a chunk that is cancelled in it.

    Attributes:
        jobs: how many jobs Bedrock ever has for it.
        answered: whether all, none or some of the records (where that is random) have an answer.
    """

    status: str
    reach: Callable[[Trial], None]
    jobs: int
    answered: str = "none"


STATES = {
    "waiting": State("pending", Trial.leave, jobs=0),
    "requeued": State("pending", Trial.requeue, jobs=0),
    "submitting, and its process died": State("submitting", Trial.intend, jobs=0),
    "in_doubt, and there is no job": State("in-doubt", lambda trial: trial.in_doubt("error"), jobs=0),
    "in_doubt, and there is a job": State(
        "in-doubt", lambda t: t.in_doubt("answer_lost"), jobs=1, answered="some"
    ),
    "needs-resolution": State("needs-resolution", Trial.need_resolution, jobs=0),
    "in flight": State("queued", Trial.submit, jobs=1, answered="some"),
    "collecting": State("completed", Trial.end, jobs=1, answered="all"),
}


@pytest.fixture
def one(work: Path) -> Pipeline:
    path = work / "rows.csv"
    path.write_text("id,text\n" + "".join(f"r{n},t{n}\n" for n in range(RECORDS)))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=200),
        }
    )


@pytest.fixture
def trial(deployment: Deployment, control: Control, one: Pipeline) -> Iterator[Trial]:
    take_snapshot(deployment, one, "d")
    key = pack_dataset(deployment, one, "d").chunks[0].chunk_key
    yield Trial(deployment, control, deployment.ledger.chunks.by_key("p", key))
    control.clear_faults()


@pytest.mark.parametrize("state", [pytest.param(state, id=name) for name, state in STATES.items()])
def test_cancelled_in_every_state(trial: Trial, one: Pipeline, state: State) -> None:
    deployment = trial.deployment
    state.reach(trial)
    assert _now(trial).status == state.status
    for chunk in deployment.ledger.interventions.cancel("p", "d"):
        if chunk.job_arn:
            deployment.jobs.stop(chunk.job_arn)
    move_clock(deployment, 3600)
    reconcile_in_doubt(deployment)
    if state.status == "needs-resolution":
        assert _now(trial).status == "needs-resolution", (
            "only an operator can find out whether there is a job"
        )
        deployment.ledger.interventions.resolve_without_job(trial.chunk.chunk_id)
    while poll_jobs(deployment).in_flight:
        pass
    assert len(deployment.jobs.find(trial.chunk.chunk_id).jobs) == state.jobs
    assert _now(trial).ended_at, "the slot is free"
    collect_chunk(deployment, one, trial.chunk.chunk_key)
    publish_dataset(deployment, one, "d")
    outcomes = _outcomes(deployment)
    assert outcomes.total() == RECORDS
    if state.answered != "some":
        assert outcomes == {(None if state.answered == "all" else "cancelled"): RECORDS}
    assert set(outcomes) <= {None, "cancelled"}


def test_a_cancellation_while_the_request_is_on_its_way_stops_the_job(
    trial: Trial, one: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = trial.deployment.jobs.create

    def slow(*positional: object, **named: object) -> str:
        trial.deployment.ledger.interventions.cancel("p", "d")
        return create(*positional, **named)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(trial.deployment.jobs, "create", slow)
    outcome = submit_chunk(trial.deployment, "p", trial.chunk.chunk_key)
    assert isinstance(outcome, Submitted)
    assert trial.deployment.jobs.get(outcome.job_arn).status in ("Stopping", "Stopped", "Completed")


def test_a_dataset_that_is_cancelled_while_it_is_packed_is_not_submitted(
    deployment: Deployment, one: Pipeline
) -> None:
    deployment.ledger.datasets.request("p", "e", {}, launch=True)
    take_snapshot(deployment, one, "e")
    deployment.ledger.interventions.cancel("p", "e")
    with pytest.raises(DatasetCancelledError, match="launch"):
        pack_dataset(deployment, one, "e")
    assert deployment.ledger.datasets.to_launch(["p"], 9) == []
    assert deployment.ledger.submissions.due(["p"], 9) == []
    deployment.ledger.datasets.request("p", "e", {}, launch=True)
    take_snapshot(deployment, one, "e")
    assert pack_dataset(deployment, one, "e").outcome == "entered"


def _now(trial: Trial) -> ChunkRow:
    return trial.deployment.ledger.chunks.by_key("p", trial.chunk.chunk_key)


def _outcomes(deployment: Deployment) -> Counter[str | None]:
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.results_uri is not None
    table = pa_dataset.dataset(
        row.results_uri.removeprefix("s3://").rstrip("/"),
        filesystem=results_filesystem(deployment.settings),
        format="parquet",
    ).to_table()
    return Counter(table["error_code"].to_pylist())
