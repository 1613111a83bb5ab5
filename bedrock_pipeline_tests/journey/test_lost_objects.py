"""Objects that are deleted or cut off between two steps: what says so, and that all else goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.aws.parquet_objects import ObjectDamagedError
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.collect.collect_output import RETRYABLE
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.read_results import open_results
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.work import Failure, WorkLimits, do_due_work
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import finish, pipeline, table

#: What stands in for an object: nothing, another parquet file, or half of it.
LOSSES: dict[str, Callable[[Deployment, str], None]] = {
    "deleted": lambda deployment, uri: deployment.objects.delete([uri]),
    "another": lambda deployment, uri: deployment.objects.put(uri, _another()),
    "cut off": lambda deployment, uri: deployment.objects.put(uri, _half(deployment.objects.get(uri))),
}
#: What is lost, after which steps, and the step that needs it.
OBJECTS: dict[str, tuple[str, Callable[[Deployment, ChunkRow], str], str]] = {
    "index": ("ended", lambda _, chunk: chunk.index_uri, "read the responses of chunk d--00000"),
    "results of a chunk": (
        "collected",
        lambda _, chunk: f"{chunk.parsed_uri}part-00000.parquet",
        "published it",
    ),
    "records to retry": (
        "retryable",
        lambda _, chunk: f"{chunk.parsed_uri}{RETRYABLE}",
        "packed the records to retry of it",
    ),
    "input of a chunk": (
        "retryable",
        lambda _, chunk: chunk.input_files[0].uri,
        "packed the records to retry of it",
    ),
}


def _another() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1, 2, 3]}), sink)
    return bytes(sink.getvalue())


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.fixture
def two(deployment: Deployment, tmp_path: Path) -> list[Pipeline]:
    """Two pipelines, each with a dataset whose only chunk is submitted next."""
    found = []
    for name in ("p", "other"):
        folder = tmp_path / name
        folder.mkdir()
        one = pipeline(folder, [f"{name} {n}" for n in range(120)], name=name, limits=Limits(min_records=100))
        take_snapshot(deployment, one, "d")
        pack_dataset(deployment, one, "d")
        found.append(one)
    return found


def chunk_of(deployment: Deployment) -> ChunkRow:
    return deployment.ledger.chunks.of_dataset("p", "d", 1)[0]


def work(deployment: Deployment, pipelines: list[Pipeline]) -> list[Failure]:
    done = do_due_work(deployment, pipelines, WorkLimits(100, 1e6), lambda *_: None, own_runs=False)
    return [one for one in done if isinstance(one, Failure)]


def state_of(deployment: Deployment, name: str) -> str:
    row = deployment.ledger.datasets.get(name, "d")
    assert row is not None
    return row.state


def bring(deployment: Deployment, control: Control, two: list[Pipeline], to: str) -> None:
    """The first pipeline's chunk to where its object is lost; the other's has then at most ended."""
    if to == "retryable":
        name = chunk_of(deployment).request["jobName"]
        control.add_fault("record_error", rate=1.0, error_code=429, job_name=name)
    assert not work(deployment, two)
    while poll_jobs(deployment).in_flight:
        pass
    if to != "ended":
        collect_chunk(deployment, two[0], "d--00000")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("lost", OBJECTS)
def test_what_needs_an_object_that_is_lost_fails_and_says_so_while_all_else_goes_on(
    deployment: Deployment, control: Control, two: list[Pipeline], lost: str, loss: str
) -> None:
    after, uri_of, step = OBJECTS[lost]
    bring(deployment, control, two, after)
    uri = uri_of(deployment, chunk_of(deployment))
    kept = deployment.objects.get(uri)
    LOSSES[loss](deployment, uri)

    failures = work(deployment, two)
    assert state_of(deployment, "other") == "published"
    assert state_of(deployment, "p") != "published"
    assert failures, "it does not pass in silence"
    for failure in failures:
        assert failure.item.pipeline == "p"
        said = str(failure.error)
        assert uri in said or "deleted or changed" in said, said
    status = deployment.ledger.status_report.dataset("p", "d")
    assert status is not None
    assert status.next is not None
    assert f"a run that {step} has failed with {type(failures[0].error).__name__}" in status.next
    assert len(control.jobs()) >= 2

    deployment.objects.put(uri, kept)
    move_clock(deployment, 120)
    for _ in range(10):
        assert not work(deployment, two)
        while poll_jobs(deployment).in_flight:
            pass
    if after != "retryable":  # else every attempt is throttled
        assert state_of(deployment, "p") == "published"


def test_output_that_is_deleted_is_not_bought_again_unasked_although_its_manifest_is_there(
    deployment: Deployment, control: Control, two: list[Pipeline]
) -> None:
    bring(deployment, control, two, "ended")
    chunk = chunk_of(deployment)
    assert chunk.job_arn is not None
    assert chunk.frozen_request is not None
    folder = output_folder(chunk.frozen_request, chunk.job_arn)
    lines = [one.uri for one in deployment.objects.list(folder) if one.uri.endswith(".jsonl.out")]
    deployment.objects.delete(lines)
    [failure] = work(deployment, two)
    assert f"is completed, and its output folder {folder} holds no line. 120 records wait" in str(
        failure.error
    )
    jobs: list[Any] = control.jobs()
    assert not work(deployment, two)
    assert len(control.jobs()) == len(jobs)


@pytest.mark.parametrize("loss", ["deleted", "fewer rows", "cut off", "nothing of it left"])
def test_a_snapshot_of_which_a_part_is_lost_is_not_packed_without_a_word(
    deployment: Deployment, tmp_path: Path, loss: str
) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    report = take_snapshot(deployment, one, "d")
    part = f"{report.uri}part-00000.parquet"
    if loss == "deleted":
        deployment.objects.delete([part])
    elif loss == "cut off":
        deployment.objects.put(part, deployment.objects.get(part)[:-100])
    elif loss == "nothing of it left":
        deployment.objects.put(part, b"")
    else:
        kept = table(deployment, part).slice(0, 110)
        pq.write_table(kept, tmp_path / "part.parquet")
        deployment.objects.upload(tmp_path / "part.parquet", part)
    with pytest.raises(ObjectDamagedError, match=f"The snapshot {report.uri} cannot be read"):
        pack_dataset(deployment, one, "d")
    assert deployment.ledger.chunks.of_dataset("p", "d", 1) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_published_results_of_which_a_file_is_lost_are_not_read_as_if_they_were_whole(
    deployment: Deployment, tmp_path: Path, loss: str
) -> None:
    one = pipeline(tmp_path, [f"t{n}" for n in range(300)], limits=Limits(min_records=50, max_records=100))
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    finish(deployment, one)
    assert open_results(deployment, "p", "d").count_rows() == 300
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    LOSSES[loss](deployment, f"{row.results_uri}part-00001.parquet")
    said = "cannot be read" if loss == "cut off" else "300 rows were published, and 20[03] are there"
    with pytest.raises(StateError, match=said):
        open_results(deployment, "p", "d")


@pytest.mark.parametrize("status", ["Completed", "PartiallyCompleted"])
@pytest.mark.parametrize("left", [None, b""])
def test_one_of_several_output_files_that_is_lost_is_not_bought_again_unasked(
    deployment: Deployment, control: Control, tmp_path: Path, left: bytes | None, status: str
) -> None:
    if status != "Completed":
        control.add_fault("job_ends", status=status, at=0.9, times=1)
    limits = Limits(min_records=100, max_file_bytes=30_000)
    one = pipeline(tmp_path, [f"t{n}" for n in range(300)], limits=limits)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    work(deployment, [one])
    while poll_jobs(deployment).in_flight:
        pass
    chunk = chunk_of(deployment)
    assert len(chunk.input_files) > 1
    assert chunk.job_arn is not None
    assert chunk.frozen_request is not None
    folder = output_folder(chunk.frozen_request, chunk.job_arn)
    uri = f"{folder}00000.jsonl.out"
    if left is None:
        deployment.objects.delete([uri])
    else:
        deployment.objects.put(uri, left)
    [failure] = work(deployment, [one])
    assert f"1 of its {len(chunk.input_files)} output files are not in {folder}" in str(failure.error)
    jobs = len(control.jobs())
    assert not work(deployment, [one])
    assert len(control.jobs()) == jobs
