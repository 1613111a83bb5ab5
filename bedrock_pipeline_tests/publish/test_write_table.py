"""Results in tables of Delta Lake and Iceberg: once, whatever is repeated, and read as inputs again."""

import datetime as dt
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import due_work
from bedrock_pipeline.errors import ConfigurationError, ServiceUnavailableError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.open_source import open_source
from bedrock_pipeline.publish import publish_dataset as publishing
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.publish.table_columns import table_columns
from bedrock_pipeline.publish.table_rows import (
    TableBusyError,
    TableRejectedError,
    TableUnavailableError,
    Written,
)
from bedrock_pipeline.publish.table_types import table_batch
from bedrock_pipeline.publish.write_table import write_table
from bedrock_pipeline.sources import DeltaTable, IcebergTable
from bedrock_pipeline.sources.iceberg import load_catalog
from bedrock_pipeline_tests.journey import driven

Read = Callable[[], pa.Table]


@pytest.fixture(params=["delta", "iceberg", "delta in s3"])
def table(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployment: Deployment
) -> tuple[DeltaTable | IcebergTable, Read]:
    """A table that does not exist yet, and how others read it."""
    if request.param == "iceberg":
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/catalog.db")
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{tmp_path}/warehouse")
        return IcebergTable(
            catalog="lake", table="answers.all"
        ), lambda: load_catalog("lake", {}).load_table("answers.all").scan().to_arrow()
    location = str(tmp_path / "answers")
    if request.param == "delta in s3":
        location = f"s3://{deployment.settings.bucket}/tables/answers"
    target = DeltaTable(location=location)
    reading = Pipeline(name="r", model_id=driven.CLAUDE, source=target, prompt="{{ record_id }}")

    def read() -> pa.Table:
        source = open_source(deployment, reading, "d")
        return pa.Table.from_batches([batch.rows for batch in source.batches(source.columns())])

    return target, read


def results(**columns: Any) -> pa_dataset.Dataset:
    return pa_dataset.dataset(pa.table(columns))


def written(dataset: str = "d", version: int = 1, publication: int = 1, **columns: Any) -> Written:
    return Written("p", dataset, version, publication, "s3://b/r/", results(**columns))


def rows(found: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[name] for name in names) for row in found.to_pylist())


def test_a_repetition_adds_nothing_and_a_later_version_replaces(
    deployment: Deployment, table: tuple[DeltaTable | IcebergTable, Read]
) -> None:
    target, read = table
    first = written(record_id=["a", "b"], output_text=["1", "2"])
    assert write_table(deployment, target, first)
    assert write_table(deployment, target, first)
    assert write_table(deployment, target, replace(first, dataset="e"))
    assert rows(read(), "pipeline", "dataset", "record_id", "output_text") == [
        ("p", dataset, *row) for dataset in ("d", "e") for row in (("a", "1"), ("b", "2"))
    ]
    later = written(version=2, record_id=["a", "c"], output_text=["8", "9"], mood=["ok", None])
    assert write_table(deployment, target, later), "with a column more"
    expected = [("d", "a", "8"), ("d", "c", "9"), ("e", "a", "1"), ("e", "b", "2")]
    assert rows(read(), "dataset", "record_id", "output_text") == expected
    assert not write_table(deployment, target, first), "a publisher that was suspended for long"
    assert rows(read(), "dataset", "record_id", "output_text") == expected


# Not Delta in the embedded S3, which ignores the conditional writes by which Delta decides who was first.
@pytest.mark.parametrize("table", ["delta", "iceberg"], indirect=True)
@pytest.mark.parametrize("dataset", ["d", "new"])
def test_of_several_publishers_at_once_each_row_is_there_once(
    deployment: Deployment, table: tuple[DeltaTable | IcebergTable, Read], dataset: str
) -> None:
    """Whether the table has rows of the dataset before, or not."""
    target, read = table
    one = written(record_id=[f"r{n}" for n in range(1000)])
    assert write_table(deployment, target, one)
    ended: list[str] = []
    together = threading.Barrier(3)

    def publish() -> None:
        together.wait()
        try:
            write_table(deployment, target, replace(one, dataset=dataset, publication=2))
        except TableBusyError:
            ended.append("busy")
        else:
            ended.append("written")

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 3
    assert "written" in ended
    assert rows(read(), "dataset", "record_id") == sorted(
        (name, f"r{n}") for name in {"d", dataset} for n in range(1000)
    )


def test_other_columns_are_rejected_with_their_table(
    deployment: Deployment, table: tuple[DeltaTable | IcebergTable, Read]
) -> None:
    target, read = table
    write_table(deployment, target, written(record_id=["a"], score=[1]))
    with pytest.raises(TableRejectedError, match=r"cannot be written into the table .*answers"):
        write_table(deployment, target, written(version=2, record_id=["a"], score=[[1.5]]))
    assert rows(read(), "record_id", "score") == [("a", 1)], "nothing has changed"


def test_a_crash_before_the_pointer_moves_publishes_once(
    deployment: Deployment,
    table: tuple[DeltaTable | IcebergTable, Read],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the launch to the table; then the version's table is read as the next dataset's input."""
    target, read = table
    one = driven.pipeline(tmp_path, [f"text {n}" for n in range(110)], publish_to=target)
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    wrote = write_table
    crashes = [KeyboardInterrupt()]

    def crashing(*arguments: Any) -> bool:
        done = wrote(*arguments)
        if crashes:
            raise crashes.pop()
        return done

    monkeypatch.setattr(publishing, "write_table", crashing)
    with pytest.raises(KeyboardInterrupt):
        driven.finish(deployment, one)
    assert read().num_rows == 110, "the table is ahead of the pointer"
    published = driven.finish(deployment, one)
    assert rows(read(), "record_id", "n") == sorted((row["record_id"], row["n"]) for row in published)
    assert publish_dataset(deployment, one, "d").unchanged


@pytest.mark.parametrize("table", ["delta", "iceberg"], indirect=True)
@pytest.mark.parametrize("noticed", [True, False])
def test_a_restored_ledger_publishes_over_the_versions_that_it_has_forgotten(
    deployment: Deployment,
    table: tuple[DeltaTable | IcebergTable, Read],
    tmp_path: Path,
    noticed: bool,
) -> None:
    """Before anything has noticed the restore, the table rejects the results, which an operator sees."""
    ledger, (target, read) = deployment.ledger, table
    forgotten = replace(written(version=3, record_id=["x"]), incarnation=ledger.incarnations.current().number)
    assert write_table(deployment, target, forgotten)
    one = driven.pipeline(tmp_path, [f"text {n}" for n in range(110)], publish_to=target)
    ledger.datasets.request("p", "d", {}, launch=True)
    if not noticed:
        with pytest.raises(TableRejectedError, match="restored from a backup"):
            driven.finish(deployment, one)
        assert not due_work(ledger, [one], limit=9, kinds=["publish"])
        assert "later publication" in str(ledger.status_report.datasets("p")[0].why)
        assert read().num_rows == 1
        assert ledger.interventions.retry_publication("p", "d")
    ledger.incarnations.begin(ledger.incarnations.current())
    assert len(driven.finish(deployment, one)) == 110
    assert read().num_rows == 110
    assert not write_table(deployment, target, forgotten), "a publisher of the earlier life"


@pytest.mark.parametrize("act", ["retry", "launch"])
def test_rejected_results_wait_for_an_operator(deployment: Deployment, tmp_path: Path, act: str) -> None:
    """The sensors request nothing that cannot succeed; `status` shows why, and `retry` or a launch goes on."""
    ledger, target = deployment.ledger, DeltaTable(location=str(tmp_path / "answers"))
    one = driven.pipeline(tmp_path, [f"text {n}" for n in range(110)], publish_to=target)
    deltalake.write_deltalake(target.location, pa.table({"n": ["text"]}))
    ledger.datasets.request("p", "d", {}, launch=True)
    with pytest.raises(TableRejectedError, match="column 'n' has the type string"):
        driven.finish(deployment, one)
    assert not due_work(ledger, [one], limit=9, kinds=["publish"])
    [shown] = ledger.status_report.datasets("p")
    assert shown.state == "packed"
    assert "column 'n' has the type string" in str(shown.why)
    assert "bedrock-pipeline retry p d" in str(shown.why)
    shutil.rmtree(target.location)
    if act == "retry":
        assert ledger.interventions.retry_publication("p", "d")
        assert not ledger.interventions.retry_publication("p", "d"), "once"
    else:
        ledger.datasets.request("p", "d", {}, launch=True)
    assert len(driven.finish(deployment, one)) == 110
    [shown] = ledger.status_report.datasets("p")
    assert shown.state == "published"
    assert "column 'n'" not in str(shown.why)
    assert len(driven.chunks(deployment)) == 1, "nothing is bought again"


def test_every_type_has_a_place_in_a_table() -> None:
    values: dict[pa.DataType, tuple[Any, pa.DataType, Any]] = {
        pa.uint8(): (255, pa.int16(), 255),
        pa.uint32(): (2**32 - 1, pa.int64(), 2**32 - 1),
        pa.uint64(): (2**64 - 1, pa.decimal128(20, 0), Decimal(2**64 - 1)),
        pa.float16(): (1.5, pa.float32(), 1.5),
        pa.large_string(): ("x", pa.string(), "x"),
        pa.binary(2): (b"ab", pa.binary(), b"ab"),
        pa.dictionary(pa.int8(), pa.string()): ("x", pa.string(), "x"),
        pa.timestamp("ns", "Europe/Berlin"): (
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            pa.timestamp("us", "UTC"),
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        ),
        pa.date64(): (dt.date(2026, 1, 1), pa.date32(), dt.date(2026, 1, 1)),
        pa.time32("s"): (dt.time(1, 2, 3), pa.string(), "01:02:03"),
        pa.duration("s"): (dt.timedelta(seconds=90), pa.string(), "PT90S"),
        pa.decimal256(76, 0): (Decimal("9" * 76), pa.string(), "9" * 76),
        pa.list_(pa.float32(), 2): ([1.0, 2.0], pa.list_(pa.float32()), [1.0, 2.0]),
        pa.struct({"a": pa.uint8()}): ({"a": 1}, pa.struct({"a": pa.int16()}), {"a": 1}),
        pa.list_(pa.time32("s")): ([dt.time(1)], pa.string(), '["01:00:00"]'),
        pa.map_(pa.string(), pa.int64()): ([("k", 1)], pa.map_(pa.string(), pa.int64()), [("k", 1)]),
    }
    for kind, (value, expected_type, expected) in values.items():
        batch = pa.record_batch([pa.array([value, None], kind)], names=["a"])
        schema = table_columns(batch.schema, pa.schema([]))
        assert schema.field("a").type == expected_type, kind
        assert table_batch(batch, schema)["a"].to_pylist() == [expected, None], kind


@pytest.mark.parametrize(
    ("carry", "answer", "kinds", "said"),
    [
        (("Dataset",), None, ("delta", "iceberg"), "'dataset' and 'Dataset' would have one name"),
        (("A", "a"), None, ("delta", "iceberg"), "'A' and 'a' would have one name"),
        (("Status",), None, ("delta", "iceberg"), "'status' and 'Status' would have one name"),
        ((), "pipeline", ("delta", "iceberg"), "'pipeline' and 'pipeline' would have one name"),
        (("mood",), "Mood", (), ""),  # the answer's is answer_Mood
        (("",), None, ("iceberg",), "no column with an empty name"),
        (("a.b", "a_x2Eb"), None, ("iceberg",), "'a.b' and 'a_x2Eb' would have one name"),
        (("a.b", "a b", "1a"), None, (), ""),
    ],
)
def test_names_that_a_table_cannot_have_are_rejected_at_once(
    tmp_path: Path, carry: tuple[str, ...], answer: str | None, kinds: tuple[str, ...], said: str
) -> None:
    """Before anything is paid for."""
    schema = {"type": "object", "properties": {answer: {"type": "string"}}} if answer else None
    for table in (DeltaTable(location="/t"), IcebergTable(table="a.b")):
        given = {"publish_to": table, "carry": carry, "answer_schema": schema}
        if table.kind not in kinds:
            driven.pipeline(tmp_path, ["a"], **given)
            continue
        with pytest.raises(ConfigurationError, match=said):
            driven.pipeline(tmp_path, ["a"], **given)


@pytest.mark.parametrize("kind", [TableBusyError, TableRejectedError, TableUnavailableError])
def test_what_is_wrong_with_a_table_is_no_outage_of_everything(kind: type[Exception]) -> None:
    assert not issubclass(kind, ServiceUnavailableError)
