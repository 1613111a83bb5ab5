"""A dataset driven to its end, for the tests of record outcomes.

What belongs here: the pipeline and its rows, the loop in place of the sensors, and reading what is there afterwards.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.collect.collect_output import RETRYABLE
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.faults.invariants import published
from bedrock_pipeline_tests.faults.worker import tick
from bedrock_pipeline_tests.waiting import PATIENCE_S

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def pipeline(folder: Path, texts: list[str], **changes: Any) -> Pipeline:
    """Records `r0`, `r1`, … with these texts as prompts, and their number as a carried column."""
    path = folder / "rows.jsonl"
    rows = ({"id": f"r{n}", "text": text, "n": n} for n, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": CLAUDE,
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "carry": ("n",),
            "limits": Limits(min_records=100, max_records=1000, max_jobs=20),
            **changes,
        }
    )


def finish(deployment: Deployment, one: Pipeline, *, until_waiting: bool = False) -> list[dict[str, Any]]:
    """Everything that the sensors would run, until the dataset is published; its rows.

    With `until_waiting` it ends, without rows, once records wait for an operator.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not tick(deployment, one):
        held = any(left.waits_for for left in deployment.ledger.retry_rounds.open_of("p", "d", 1))
        if until_waiting and held:
            return []
        assert time.monotonic() < deadline, [(c.chunk_key, c.status, c.problem) for c in chunks(deployment)]
        time.sleep(0.05)
    rows: list[dict[str, Any]] = published(deployment, one).to_pylist()
    return rows


def chunks(deployment: Deployment, number: int | None = None) -> list[ChunkRow]:
    """The dataset's chunks; those of one attempt."""
    found = deployment.ledger.chunks.of_dataset("p", "d", 1)
    return [chunk for chunk in found if number in (None, chunk.attempt)]


def table(deployment: Deployment, uri: str) -> pa.Table:
    """A parquet file in S3."""
    with deployment.objects.random_access(uri) as stream:
        return pq.read_table(stream)


def retryable(deployment: Deployment, chunk: ChunkRow) -> dict[str, str]:
    """A chunk's retryable records: record id and code."""
    if not chunk.retryable:
        return {}
    found = table(deployment, f"{chunk.parsed_uri}{RETRYABLE}").to_pylist()
    return {row["record_id"]: row["why"] for row in found}


def asked(deployment: Deployment, chunk: ChunkRow) -> dict[str, Any]:
    """A chunk's records: record id and the body that was sent."""
    index = table(deployment, chunk.index_uri).to_pylist()
    lines = [
        json.loads(line)
        for file in chunk.input_files
        for line in deployment.objects.get(file.uri).splitlines()
    ]
    assert len(index) == len(lines)
    return {row["record_id"]: line["modelInput"] for row, line in zip(index, lines, strict=True)}


def rows_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL file with these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def during_an_upload(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, act: Callable[[], object]
) -> None:
    """At the next upload of an object, once."""
    upload = deployment.objects.upload

    def uploading(path: Path, uri: str) -> object:
        monkeypatch.setattr(deployment.objects, "upload", upload)
        act()
        return upload(path, uri)

    monkeypatch.setattr(deployment.objects, "upload", uploading)
