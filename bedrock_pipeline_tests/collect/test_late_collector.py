"""A collector that is late changes nothing of what another has recorded."""

import time
import uuid
from pathlib import Path

import pytest

from bedrock_pipeline.collect.collect_chunk import NotEndedError, collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.chunks import Chunks
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import sweep_account
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.journey.driven import finish, pipeline
from bedrock_pipeline_tests.waiting import until


@pytest.mark.parametrize(
    "acknowledged", [True, False], ids=["another was first", "our commit was not acknowledged"]
)
def test_what_was_recorded_first_is_published(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acknowledged: bool
) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    take_snapshot(deployment, one, "d")
    [chunk] = pack_dataset(deployment, one, "d").chunks
    submit_chunk(deployment, "p", chunk.chunk_key)

    def ended() -> bool:
        poll_jobs(deployment)
        return deployment.ledger.chunks.by_key("p", chunk.chunk_key).ended

    until(ended, "the end of the job")
    record = Chunks.record_collected
    first: list[str] = []

    def recording(chunks: Chunks, *values: object, **named: object) -> bool:
        monkeypatch.setattr(Chunks, "record_collected", record)
        if acknowledged:
            first.append(collect_chunk(deployment, one, chunk.chunk_key).parsed_uri)
        else:
            assert record(chunks, *values, **named)  # type: ignore[arg-type]  # passed on as they came
            first.append(str(named["parsed_uri"]))
        return record(chunks, *values, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Chunks, "record_collected", recording)
    late = collect_chunk(deployment, one, chunk.chunk_key)
    assert [late.parsed_uri] == first
    folder = first[0].rstrip("/").rpartition("/")[0]
    assert {item.uri.rpartition("/")[0] for item in deployment.objects.list(f"{folder}/")} == {
        first[0].rstrip("/")
    }
    assert len(finish(deployment, one)) == 120


def test_results_of_a_chunk_that_has_adopted_a_job_meanwhile_are_not_those_of_before(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restored backup: the chunk was cancelled, and its job is found while it is collected."""
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    take_snapshot(deployment, one, "d")
    [packed] = pack_dataset(deployment, one, "d").chunks
    chunk = deployment.ledger.chunks.by_key("p", packed.chunk_key)
    arn = deployment.jobs.create(chunk.request, uuid.uuid4().hex, deadline=time.monotonic() + 60)
    until(lambda: deployment.jobs.get(arn).status == "Completed", "the end of the job")
    deployment.ledger.interventions.cancel("p", "d", chunk.chunk_key)
    record = Chunks.record_collected

    def late(chunks: Chunks, *values: object, **named: object) -> bool:
        monkeypatch.setattr(Chunks, "record_collected", record)
        assert sweep_account(deployment).adopted == [chunk.chunk_key]
        return record(chunks, *values, **named)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Chunks, "record_collected", late)
    with pytest.raises(NotEndedError, match="has adopted job"):
        collect_chunk(deployment, one, chunk.chunk_key)
    assert [row["status"] for row in finish(deployment, one)] == ["succeeded"] * 120
