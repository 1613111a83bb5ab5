"""The stages one after the other, over the real Postgres, S3 and emulator."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.collect.collect_chunk import (
    CollectReport,
    JobProblemError,
    NotEndedError,
    collect_chunk,
)
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.ledger.versions import DatasetChangedError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.packer import BelowMinimumError
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.snapshot.plan import ColumnError
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.prompts.template import TemplateError
from bedrock_pipeline.publish.publish_dataset import NotCompleteError, Publication, publish_dataset
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import SubmissionRejectedError, Submitted, submit_chunk
from bedrock_pipeline_tests.waiting import until

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def pipeline(path: Path, **changes: object) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": CLAUDE,
            "source": str(path),
            "record_id": "id",
            "prompt": "Say {{ text }}",
            "carry": ("n",),
            "limits": Limits(min_records=100, max_records=300, max_jobs=2),
            **changes,
        }
    )


def write_rows(path: Path, count: int) -> Path:
    path.write_text(
        "".join(json.dumps({"id": f"r{n}", "text": f"wörd {n}", "n": n}) + "\n" for n in range(count))
    )
    return path


def prepare(deployment: Deployment, one: Pipeline, dataset: str = "d") -> list[str]:
    take_snapshot(deployment, one, dataset)
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, dataset).chunks]


def wait_for_jobs(deployment: Deployment) -> None:
    until(lambda: not poll_jobs(deployment).in_flight, "the end of the emulator's jobs")


def finish(deployment: Deployment, one: Pipeline, keys: list[str]) -> Publication:
    for key in keys:
        while not isinstance(submit_chunk(deployment, "p", key), Submitted):
            wait_for_jobs(deployment)
    wait_for_jobs(deployment)
    for key in keys:
        collect_chunk(deployment, one, key)
    return publish_dataset(deployment, one, "d")


def published_table(deployment: Deployment, published: Publication) -> pa.Table:
    tables = []
    for uri in published.files:
        with deployment.objects.random_access(uri) as stream:
            tables.append(pq.read_table(stream))
    return pa.concat_tables(tables)


def test_a_dataset_goes_in_and_every_record_comes_out_once(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 1000))
    keys = prepare(deployment, one)
    assert len(keys) == 4
    with pytest.raises(NotCompleteError, match="4 of 4 chunks"):
        publish_dataset(deployment, one, "d")
    assert [type(submit_chunk(deployment, "p", key)) for key in keys] == [
        Submitted,
        Submitted,
        NotNow,
        NotNow,
    ]
    assert [type(submit_chunk(deployment, "p", key)) for key in keys[:2]] == [Submitted, Submitted], (
        "again: the same job"
    )
    with pytest.raises(NotEndedError):
        collect_chunk(deployment, one, keys[2])
    published = finish(deployment, one, keys)
    table = published_table(deployment, published)
    assert sorted(table["record_id"].to_pylist()) == sorted(f"r{n}" for n in range(1000))
    assert all(row["record_id"] == f"r{row['n']}" for row in table.to_pylist())
    assert table["status"].unique().to_pylist() == ["succeeded"]
    assert len(set(table["job_arn"].to_pylist())) == 4
    latest = f"{published.uri.rstrip('/').rpartition('/')[0]}/latest.json"
    assert json.loads(deployment.objects.get(latest)) == {
        "version": "v1-1",
        "uri": published.uri,
        "records": 1000,
        "succeeded": 1000,
        "failed": 0,
    }
    again = publish_dataset(deployment, one, "d")
    assert (again.unchanged, again.uri) == (True, published.uri)


def test_collecting_twice_gives_the_same_bytes(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 120))
    [key] = prepare(deployment, one)
    submit_chunk(deployment, "p", key)
    wait_for_jobs(deployment)
    first = collect_chunk(deployment, one, key)
    assert first.discrepancies == [], "lines, ledger and manifest agree"
    before = deployment.objects.get(f"{first.parsed_uri}part-00000.parquet")
    second = collect_chunk(deployment, one, key)
    assert isinstance(second, CollectReport)
    assert deployment.objects.get(f"{second.parsed_uri}part-00000.parquet") == before
    assert (first.tally.answered, second.tally.answered) == (120, 120)


def test_the_same_dataset_again(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 200))
    prepare(deployment, one)
    assert pack_dataset(deployment, one, "d").outcome == "unchanged"
    write_rows(tmp_path / "rows.jsonl", 201)
    keys = prepare(deployment, one)
    assert [one.state for one in deployment.ledger.versions.history("p", "d")] == ["packed", "replaced"]
    submit_chunk(deployment, "p", keys[0])
    assert take_snapshot(deployment, one, "d").unchanged
    write_rows(tmp_path / "rows.jsonl", 202)
    with pytest.raises(DatasetChangedError, match="--new-version"):
        take_snapshot(deployment, one, "d")


def test_ugly_rows_are_rejected_and_counted_and_the_rest_goes_on(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 110)
    ugly = [
        b"no json\n",
        b'{"id": "bad utf8 \xff", "text": "x"}\n',
        b'{"id": null, "text": "x", "n": 1}\n',
        b'{"id": "", "text": "x", "n": 1}\n',
        b'{"id": "r1", "text": "again", "n": 1}\n',
        b'{"id": "no text", "text": null, "n": 1}\n',
        b'{"id": "odd n", "text": "x", "n": "one"}\n',
        b'{"id": "%s", "text": "x", "n": 1}\n' % (b"x" * 4097),
        '{"id": "日本 id", "text": "kept", "n": 7}\n'.encode(),
    ]
    with path.open("ab") as file:
        file.writelines(ugly)
    one = pipeline(path, column_types={"n": "int64"})
    report = take_snapshot(deployment, one, "d")
    assert (report.records, report.rejected) == (111, 8)
    assert report.rejections["record id occurred before"] == 1
    with deployment.objects.random_access(report.rejected_uri) as stream:
        rejected = pq.read_table(stream).to_pylist()
    assert sorted(row["position"] for row in rejected) == list(range(110, 118))
    keys = [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]
    table = published_table(deployment, finish(deployment, one, keys))
    assert "日本 id" in table["record_id"].to_pylist()
    assert table.num_rows == 111


def test_a_record_above_the_file_limit_is_rejected(deployment: Deployment, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 150)
    with path.open("a") as file:
        file.write(json.dumps({"id": "huge", "text": "x" * 50_000, "n": 1}) + "\n")
    one = pipeline(path, limits=Limits(min_records=100, max_records=300, max_file_bytes=40_000))
    take_snapshot(deployment, one, "d")
    report = pack_dataset(deployment, one, "d")
    assert (report.records, report.rejected) == (150, 1)
    assert "larger than a file may be (40000 bytes)" in next(iter(report.rejections))


@pytest.mark.parametrize(
    ("changes", "rows", "error", "said"),
    [
        ({"source": "/nowhere/at/all.csv"}, 1, BedrockPipelineError, "no input file"),
        ({"prompt": "{{ txt }}"}, 1, TemplateError, "names 'txt'.*columns are: id, text, n"),
        ({"record_id": "key"}, 1, ColumnError, "no column 'key'"),
        ({}, 0, BedrockPipelineError, "holds no JSON object"),
        ({"prompt": "{{ missing }}", "null_text": None}, 1, TemplateError, "missing"),
        (
            {"limits": None, "below_minimum": "fail"},
            99,
            BelowMinimumError,
            r"99 records.*at least 100.*limits\.min_records",
        ),
    ],
)
def test_input_that_is_not_fit_is_a_clear_error(
    deployment: Deployment,
    tmp_path: Path,
    changes: dict[str, object],
    rows: int,
    error: type[Exception],
    said: str,
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", rows), **changes)
    with pytest.raises(error, match=said):
        prepare(deployment, one)


def test_a_dataset_of_nothing_but_rejections_is_an_error(deployment: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": null, "text": "a", "n": 1}\n')
    with pytest.raises(EmptyDatasetError, match=r"1 rows were rejected.*record id is null"):
        prepare(deployment, pipeline(path))


def test_a_job_that_fails_is_a_problem_with_bedrocks_message_and_its_records_are_counted(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 20), limits=Limits(min_records=10, max_records=50))
    [key] = prepare(deployment, one)
    submit_chunk(deployment, "p", key)
    wait_for_jobs(deployment)
    for _ in range(2):
        with pytest.raises(
            JobProblemError, match=r"ended failed.*less records \(20\) than the required minimum of: 100"
        ):
            collect_chunk(deployment, one, key)
    assert deployment.ledger.publications.due(["p"], 1) == [], (
        "the records are not to blame, so an operator decides"
    )
    deployment.ledger.interventions.cancel("p", "d")
    start_retry_round(deployment, one, "d")
    for chunk in deployment.ledger.chunks.to_collect(["p"], 9):
        collect_chunk(deployment, one, chunk.chunk_key)
    table = published_table(deployment, publish_dataset(deployment, one, "d"))
    assert table.num_rows == 20
    assert table["error_code"].unique().to_pylist() == ["cancelled"]


def test_a_body_that_the_model_rejects_shows_every_record_failed_as_a_problem(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"r{n}", "body": {"max_tokens": n + 1}, "n": n}) + "\n" for n in range(100))
    )
    one = pipeline(path, prompt=None, model_input="body", check_model=False)
    [key] = prepare(deployment, one)
    submit_chunk(deployment, "p", key)
    wait_for_jobs(deployment)
    with pytest.raises(
        JobProblemError,
        match=r"every one of its 100 records failed for one reason: 400: .* Records: r\d+, r\d+",
    ):
        collect_chunk(deployment, one, key)


def test_what_bedrock_rejects_is_red_and_can_be_retried(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 100), model_id="anthropic.unknown", carry=())
    [key] = prepare(deployment, one)
    for _ in range(2):
        with pytest.raises(SubmissionRejectedError, match="Batch inference is not supported"):
            submit_chunk(deployment, "p", key)
    assert deployment.ledger.interventions.retry_rejected("p", "d") == 1


def test_input_that_was_changed_after_packing_is_not_submitted(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 100))
    [key] = prepare(deployment, one)
    [file] = deployment.ledger.chunks.by_key("p", key).input_files
    deployment.objects.put(file.uri, b"short")
    with pytest.raises(SubmissionRejectedError, match="has 5 bytes"):
        submit_chunk(deployment, "p", key)


def test_embeddings_are_a_column_of_fixed_size(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(
        write_rows(tmp_path / "rows.jsonl", 100),
        model_id="amazon.titan-embed-text-v2:0",
        parameters={"dimensions": 256},
    )
    table = published_table(deployment, finish(deployment, one, prepare(deployment, one)))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 256)
    assert table["embedding"].null_count == 0


def test_a_bucket_that_does_not_exist_is_a_clear_error(deployment: Deployment, tmp_path: Path) -> None:
    other = replace(deployment, settings=deployment.settings.model_copy(update={"bucket": "no-such-bucket"}))
    with pytest.raises(AwsError, match=r"Could not upload s3://no-such-bucket/.*NoSuchBucket"):
        prepare(other, pipeline(write_rows(tmp_path / "rows.jsonl", 100)))


def test_another_deployment_of_the_same_account_has_chunks_of_its_own(
    deployment: Deployment, work: Path
) -> None:
    """Job names hold the chunk's UUID, and the look before each Create takes a job of that name for the chunk's."""
    one = pipeline(write_rows(work / "rows.jsonl", 200))
    prepare(deployment, one)
    first = deployment.ledger.chunks.of_dataset("p", "d", 1)
    for statement in (
        "TRUNCATE bedrock_pipeline.datasets CASCADE",
        "UPDATE bedrock_pipeline.deployment SET deployment_id = gen_random_uuid()",
    ):
        deployment.ledger.database.execute(statement)
    prepare(deployment, one)
    again = deployment.ledger.chunks.of_dataset("p", "d", 1)
    assert [chunk.chunk_key for chunk in first] == [chunk.chunk_key for chunk in again]
    assert {chunk.chunk_id for chunk in first}.isdisjoint({chunk.chunk_id for chunk in again})
