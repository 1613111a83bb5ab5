"""What holds once everything has settled, whatever went wrong before.

What belongs here: the dataset of the trials, and the look at it afterwards, from the emulator's own record and the
parquet rather than from what the ledger believes.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_dataset

from bedrock_pipeline.aws.filesystem import arrow_filesystem
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.stages.context import Context

RECORDS, SLOTS = 350, 2


def dataset(folder: Path) -> Pipeline:
    """Two chunks, and slots for both."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(RECORDS)))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=200, max_jobs=SLOTS),
        }
    )


def settled(context: Context, one: Pipeline, emulator_url: str) -> dict[str, object]:
    """Check everything that must hold; the counts for the report.

    Raises:
        AssertionError: something is lost, doubled, or still held.
    """
    jobs = jobs_of(emulator_url, context.settings.bucket)
    names = Counter(job["jobName"] for job in jobs)
    chunks = context.ledger.chunks.of_dataset(one.name, "d", 1)
    ids = Counter(published(context, one)["record_id"].to_pylist())
    entry: dict[str, object] = {
        "jobs_created": len(jobs),
        "chunks_submitted": sum(1 for chunk in chunks if chunk.job_arn),
        "records_lost": len({f"r{n}" for n in range(RECORDS)} - set(ids)),
        "paid_twice": sum(count - 1 for count in names.values()),
    }
    assert entry["records_lost"] == entry["paid_twice"] == 0, entry
    assert ids.total() == RECORDS, "a record is in the results twice"
    assert {job["jobArn"] for job in jobs} == {chunk.job_arn for chunk in chunks if chunk.job_arn}
    assert all(chunk.ended_at and chunk.collected_at for chunk in chunks), "a slot is still held"
    _no_leftover_objects(context, one)
    return entry


def jobs_of(emulator_url: str, bucket: str) -> list[dict[str, Any]]:
    """Every job of this bucket, from the emulator's own record."""
    return [job for job in Control(emulator_url).jobs() if f"s3://{bucket}/" in json.dumps(job)]


def published(context: Context, one: Pipeline) -> pa.Table:
    """The rows of the published version."""
    row = context.ledger.datasets.get(one.name, "d")
    assert row is not None
    assert row.results_uri is not None
    return pa_dataset.dataset(
        row.results_uri.removeprefix("s3://").rstrip("/"),
        filesystem=arrow_filesystem(context.settings),
        format="parquet",
    ).to_table()


def _no_leftover_objects(context: Context, one: Pipeline) -> None:
    """Beneath the results there is nothing but whole parquet files and the pointer."""
    results = context.settings.uri(context.settings.results_prefix, one.name, "d", "")
    strange = [
        item.uri
        for item in context.objects.list(results)
        if not item.uri.endswith((".parquet", "/latest.json"))
    ]
    assert not strange
