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

from bedrock_pipeline.aws.arrow_files import results_filesystem
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import Settings

RECORDS, SLOTS = 350, 2
#: A model that no other test uses: the emulator counts the jobs in flight by model.
MODEL = "anthropic.claude-3-5-haiku-20241022-v1:0"
LIMITS = Limits(min_records=100, max_records=200, max_jobs=SLOTS)


def dataset(folder: Path, records: int = RECORDS, limits: Limits = LIMITS) -> Pipeline:
    """Two chunks, and slots for both, unless it is said otherwise."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(records)))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": MODEL,
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": limits,
        }
    )


def settled(
    deployment: Deployment,
    one: Pipeline,
    emulator_url: str,
    *,
    records: int = RECORDS,
    slots: int = SLOTS,
    entry: dict[str, object] | None = None,
) -> dict[str, object]:
    """Check everything that must hold; the counts for the report.

    Args:
        deployment: of the process that looks, which is none of those that worked.
        one: the pipeline, whose dataset `d` is looked at.
        emulator_url: where every job is that was ever made.
        records: how many the dataset has.
        slots: the most jobs that may ever have been in flight at once.
        entry: the trial's entry in the report; the counts are entered before they are judged.

    Raises:
        AssertionError: something is lost, duplicated, or still holds a slot.
    """
    entry = {} if entry is None else entry
    control = Control(emulator_url, keys_of(deployment.settings))
    jobs = jobs_of(control, deployment.settings.bucket)
    names = Counter(job["jobName"] for job in jobs)
    chunks = deployment.ledger.chunks.of_dataset(one.name, "d", 1)
    ids = Counter(published(deployment, one)["record_id"].to_pylist())
    counts = {
        "jobs_created": len(jobs),
        "chunks_submitted": sum(1 for chunk in chunks if chunk.job_arn),
        "records_lost": len({f"r{n}" for n in range(records)} - set(ids)),
        "records_duplicated": ids.total() - len(ids),
        "paid_twice": sum(count - 1 for count in names.values()),
    }
    entry |= counts
    assert counts["records_lost"] == counts["records_duplicated"] == counts["paid_twice"] == 0, entry
    assert counts["jobs_created"] == counts["chunks_submitted"], entry
    assert control.most_in_flight().get(one.model_id, 0) <= slots
    assert ids.total() == records, "a record is in the results that the dataset does not have"
    assert {job["jobArn"] for job in jobs} == {chunk.job_arn for chunk in chunks if chunk.job_arn}
    assert all(chunk.ended_at and chunk.collected_at for chunk in chunks), "a slot is still held"
    _no_partial_objects(deployment, one)
    _latest_names_what_is_published(deployment, one)
    return entry


def keys_of(settings: Settings) -> tuple[str, str]:
    """The key pair of the embedded stack."""
    assert settings.access_key_id
    assert settings.secret_access_key
    return settings.access_key_id.get_secret_value(), settings.secret_access_key.get_secret_value()


def jobs_of(control: Control, bucket: str) -> list[dict[str, Any]]:
    """Every job of this bucket, from the emulator's own record."""
    return [job for job in control.jobs() if f"s3://{bucket}/" in json.dumps(job)]


def published(deployment: Deployment, one: Pipeline) -> pa.Table:
    """The rows of the published version."""
    row = deployment.ledger.datasets.get(one.name, "d")
    assert row is not None
    assert row.results_uri is not None
    return pa_dataset.dataset(
        row.results_uri.removeprefix("s3://").rstrip("/"),
        filesystem=results_filesystem(deployment.settings),
        format="parquet",
    ).to_table()


def _no_partial_objects(deployment: Deployment, one: Pipeline) -> None:
    """Beneath the results there is nothing but whole parquet files and the pointer."""
    results = deployment.settings.uri(deployment.settings.results_prefix, one.name, "d", "")
    strange = [
        item.uri
        for item in deployment.objects.list(results)
        if not item.uri.endswith((".parquet", "/latest.json"))
    ]
    assert not strange


def _latest_names_what_is_published(deployment: Deployment, one: Pipeline) -> None:
    row = deployment.ledger.datasets.get(one.name, "d")
    latest = deployment.settings.uri(deployment.settings.results_prefix, one.name, "d", "latest.json")
    assert row is not None
    assert json.loads(deployment.objects.get(latest))["uri"] == row.results_uri
