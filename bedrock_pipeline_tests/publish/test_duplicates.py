"""Identical requests are sent once, and each record has the response."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.result_checks import Measures
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.snapshot import writer
from bedrock_pipeline.prepare.snapshot.stored_columns import CANONICAL, RECORD_ID
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish import duplicate_rows
from bedrock_pipeline.publish import write_duplicates as duplicates_room
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.records.result_schema import result_schema
from bedrock_pipeline_tests.journey.driven import asked, chunks, finish, pipeline

RECORDS, DIFFERENT = 400, 130


def texts() -> list[str]:
    return [f"Number {n % DIFFERENT}" for n in range(RECORDS)]


def test_every_duplicate_has_its_canonical_records_response_and_costs_nothing(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PART_ROWS", 90)
    monkeypatch.setattr(duplicates_room, "PART_ROWS", 100)
    monkeypatch.setattr(duplicate_rows, "ROWS", 50)
    one = pipeline(tmp_path, texts())
    rows = finish(deployment, one)
    assert Counter(row["record_id"] for row in rows) == Counter(f"r{n}" for n in range(RECORDS))
    by_id = {row["record_id"]: row for row in rows}
    for row in rows:
        canonical = f"r{row['n'] % DIFFERENT}"
        assert row["record_id"] == f"r{row['n']}", "carried columns are its own"
        assert row["output_text"] == by_id[canonical]["output_text"]
        if row["record_id"] == canonical:
            assert row["answered_by"] is None
            assert row["input_tokens"] > 0
        else:
            assert row["answered_by"] == canonical
            assert (row["input_tokens"], row["output_tokens"], row["cost_usd"]) == (0, 0, 0)
    sent = [id_ for chunk in chunks(deployment) for id_ in asked(deployment, chunk)]
    assert Counter(sent) == Counter(f"r{n}" for n in range(DIFFERENT))
    progress = deployment.ledger.datasets.progress("p", "d")
    assert (progress.records, progress.duplicates, progress.answered, progress.processed) == (
        RECORDS,
        RECORDS - DIFFERENT,
        RECORDS,
        RECORDS,
    )
    published = publish_dataset(deployment, one, "d")
    assert (published.unchanged, published.records, published.succeeded) == (True, RECORDS, RECORDS)
    assert len(published.files) == 1 + 3


def test_duplicates_of_each_row_group_are_there_once_with_their_own_canonical_row(tmp_path: Path) -> None:
    schema = result_schema(pa.schema([]), None)
    canonical = [{"record_id": f"c{n}", "status": "succeeded", "output_text": f"t{n}"} for n in range(7)]
    part = tmp_path / "part.parquet"
    pq.write_table(pa.Table.from_pylist(canonical, schema), part, row_group_size=2)
    pairs = [(f"d{n}", f"c{n % 7}") for n in range(20)] + [("elsewhere", "c99")]
    ids, answered_by = zip(*pairs, strict=True)
    duplicates = tmp_path / "duplicates.parquet"
    pq.write_table(pa.table({RECORD_ID: ids, CANONICAL: answered_by}), duplicates)
    with closing(duplicate_rows.DuplicateRows([duplicates], tmp_path)) as joined:
        rows = [row for batch in joined.rows_for(part, schema) for row in batch.to_pylist()]
    found = [(row["record_id"], row["answered_by"], row["output_text"]) for row in rows]
    assert sorted(found) == sorted((f"d{n}", f"c{n % 7}", f"t{n % 7}") for n in range(20))


def test_a_dataset_can_have_duplicates_sent(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(tmp_path, texts(), ask_identical_once=False)
    report = take_snapshot(deployment, one, "d")
    assert (report.records, report.duplicates) == (RECORDS, 0)
    assert pack_dataset(deployment, one, "d").records == RECORDS


@pytest.mark.parametrize("embeds", [False, True])
def test_a_duplicate_of_a_failed_record_has_its_error(
    deployment: Deployment, tmp_path: Path, embeds: bool
) -> None:
    changes: dict[str, Any] = {"check_model": False}  # so that the model rejects them, not we before it
    changes |= {"model_id": "amazon.titan-embed-text-v2:0"} if embeds else {}
    bodies = [*texts(), *([""] * 3 if embeds else [])]
    if not embeds:
        changes["parameters"] = {"unknown_parameter": 1}
    one = pipeline(tmp_path, bodies, **changes)
    rows = finish(deployment, one)
    assert len(rows) == len(bodies)
    failed = Counter(row["record_id"] for row in rows if row["status"] == "failed")
    assert len(failed) == (3 if embeds else RECORDS)
    progress = deployment.ledger.datasets.progress("p", "d")
    assert (progress.answered, progress.final_errors) == (len(rows) - len(failed), len(failed))
    [status] = deployment.ledger.status_report.datasets("p")
    codes = Counter(row["error_code"] for row in rows if row["status"] == "failed")
    assert (status.failed, status.failed_by_code) == (len(failed), codes)
    row, published = deployment.ledger.datasets.ensure("p", "d"), publish_dataset(deployment, one, "d")
    measures = Measures.of(row, chunks(deployment), published)
    assert (measures.failed, measures.by_code) == (len(failed), codes)
    if embeds:
        assert {len(row["embedding"]) for row in rows if row["embedding"]} == {1024}


def test_a_duplicate_of_a_rejected_record_is_rejected(deployment: Deployment, tmp_path: Path) -> None:
    huge = "x" * 50_000
    one = pipeline(
        tmp_path, [*texts(), huge, huge, huge], limits={"min_records": 100, "max_file_bytes": 40_000}
    )
    assert take_snapshot(deployment, one, "d").duplicates == RECORDS - DIFFERENT + 2
    report = pack_dataset(deployment, one, "d")
    assert (report.records, report.duplicates, report.rejected) == (DIFFERENT, RECORDS - DIFFERENT, 3)
    rows = finish(deployment, one)
    assert len(rows) == RECORDS


def test_a_rejected_row_is_not_a_canonical_record(deployment: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    lines = [f'{{"id": "r{n}", "text": "t{n}", "n": {n}}}' for n in range(100)]
    lines += [
        '{"id": "r1", "text": "both ask this", "n": 100}',
        '{"id": "last", "text": "both ask this", "n": 101}',
    ]
    path.write_text("\n".join(lines))
    one = pipeline(tmp_path, []).model_copy(update={"source": str(path)})
    report = take_snapshot(deployment, one, "d")
    assert (report.records, report.duplicates, report.rejected) == (101, 0, 1)
