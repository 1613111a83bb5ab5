"""Status as text fits 80 columns, breaks nothing that is copied, and says what is."""

from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bedrock_pipeline.cli.status_text import chunk_lines, dataset_lines, wide_lines
from bedrock_pipeline.ledger.status_report import ChunkStatus, DatasetStatus

LONG = "a-pipeline-with-quite-a-long-name", "2026-11-26-and-a-dataset-with-a-long-name-too"
ARN = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{'a' * 40}"
COMMAND = f"bedrock-pipeline approve {LONG[0]} {LONG[1]} --up-to 12.50"
UNTIL = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


def dataset(**changes: object) -> DatasetStatus:
    values: dict[str, object] = {
        **dict.fromkeys(("processed", "answered", "failed", "rejected", "retryable"), 0),
        **dict.fromkeys(("duplicates", "waiting_records"), 0),
        **dict.fromkeys(("cost_usd", "expected_cost_usd", "results", "why", "until", "next")),
        "pipeline": "p",
        "dataset": "d",
        "version": 1,
        "state": "packed",
        "records": 1000,
        "chunks": "2 pending",
        "failed_by_code": {},
    }
    return DatasetStatus(**{**values, **changes})  # type: ignore[arg-type]  # the test's own


def chunk(**changes: object) -> ChunkStatus:
    values: dict[str, object] = {
        **dict.fromkeys(("answered", "job", "retryable", "cost_usd", "why", "until", "next")),
        "chunk": "d--00000",
        "status": "pending",
        "mode": "batch",
        "records": 1000,
        **dict.fromkeys(("processed", "waiting_records", "retried"), 0),
        "failed_by_code": {},
    }
    return ChunkStatus(**{**values, **changes})  # type: ignore[arg-type]


def test_a_dataset_in_full() -> None:
    shown = dataset(
        processed=999,
        answered=998,
        failed=3,
        failed_by_code={"declined": 1, "cut-off": 2},
        rejected=3,
        retryable=2,
        waiting_records=1,
        cost_usd=Decimal("1.5"),
        why="Throttled.",
        until=UNTIL,
    )
    assert list(
        dataset_lines([shown, dataset(records=0, chunks="", state="requested", why="No such file: x.csv.")])
    ) == [
        "p d v1: packed",
        "  999 of 1,000 records processed (99 %); 998 answered; 3 failed; 3 rejected; 1",
        "  to be retried; 1 waiting; $1.5000",
        "  final errors: 2 cut-off, 1 declined",
        "  chunks: 2 pending",
        "  waits until 09:30:00 UTC: Throttled.",
        "p d v1: requested",
        "  No such file: x.csv.",
    ]


def test_what_is_copied_stands_whole_and_the_rest_fits() -> None:
    why = f"{'Its budget is spent, as an operator would like to know in more words. ' * 4}To go on: {COMMAND}. Or not."
    lines = [
        *dataset_lines(
            [dataset(pipeline=LONG[0], dataset=LONG[1], why=why, results="s3://bucket/" + "k" * 100)]
        ),
        *chunk_lines([chunk(job=ARN, status="queued", why=why)]),
    ]
    whole = [LONG[0], LONG[1], ARN, "s3://bucket/" + "k" * 100, COMMAND]
    for text in whole:
        assert any(text in line for line in lines)
    assert [line for line in lines if len(line) > 80 and not any(text in line for text in whole)] == []


def test_the_table_has_every_column() -> None:
    [head, row, _] = wide_lines([asdict(chunk(job=ARN, until=UNTIL)), asdict(chunk())])
    assert head.split() == [name.upper() for name in asdict(chunk())]
    assert row.split() == [
        "d--00000",
        "pending",
        "batch",
        "1000",
        "0",
        "-",
        "-",
        ARN,
        "-",
        "0",
        "0",
        "-",
        "-",
        "2026-11-26T09:30:00Z",
        "-",
    ]
    assert list(wide_lines([])) == []


def test_a_bar_is_as_long_as_what_is_processed() -> None:
    for processed, records, expected in ((0, 8, "  ┄"), (4, 8, "━┄"), (7, 8, "┄ 87 %"), (8, 8, "━ 100 %")):
        shown = "\n".join(
            dataset_lines([dataset(processed=processed, records=records, state="packed")], bars=True)
        )
        assert expected in shown
        assert f"{'━' * (40 * processed // records)}{'┄' * (40 - 40 * processed // records)}" in shown
    assert "━" not in "".join(dataset_lines([dataset(state="packed")]))


def test_what_happens_next_is_shown_where_nothing_is_waited_for() -> None:
    for lines in (
        list(dataset_lines([dataset(next="it goes on"), dataset(next="it goes on", why="Throttled.")])),
        list(chunk_lines([chunk(next="it goes on"), chunk(next="it goes on", why="Throttled.")])),
    ):
        assert [lines.count(f"  {text}") for text in ("it goes on", "Throttled.")] == [1, 1]


@pytest.mark.parametrize(
    ("so_far", "expected", "shown"),
    [
        (None, None, ""),
        ("1.5", None, "; $1.5000"),
        ("1.5", "1.5", "; $1.5000"),
        (None, "12", "; $0.0000 of an expected $12.00"),
        ("0.00001", "3", "; <$0.0001 of an expected $3.0000"),
    ],
)
def test_the_cost_so_far_and_in_the_end(so_far: str | None, expected: str | None, shown: str) -> None:
    amounts = {
        name: amount and Decimal(amount)
        for name, amount in (("cost_usd", so_far), ("expected_cost_usd", expected))
    }
    lines = list(dataset_lines([dataset(**amounts)]))
    assert " ".join(" ".join(lines[1:-1]).split()).endswith(f"0 answered{shown}")
