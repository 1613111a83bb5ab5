"""Commands `results` and `show` over a published dataset, and downstream assets that take it by annotation."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
import pytest
from click.testing import CliRunner, Result
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.io_managers import PublishedResults
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline_tests.journey.driven import finish, pipeline


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def published(deployment: Deployment, tmp_path: Path) -> list[dict[str, Any]]:
    """120 records, one duplicate and one rejected row."""
    texts = [*(f"text {number}\n\x1b[2J" for number in range(120)), "text 0\n\x1b[2J", ""]
    one = pipeline(tmp_path, texts)
    rows = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(rows.replace('"text": ""', '"text": null'))
    return finish(deployment, one)


def test_each_format_has_every_row(published: list[dict[str, Any]], tmp_path: Path) -> None:
    assert run("results", "p", "d").stdout.startswith("s3://")
    for name in ("out.parquet", "out.jsonl", "out.csv"):
        done = run("results", "p", "d", "--out", str(tmp_path / name), "--json")
        assert json.loads(done.stdout)["rows"] == len(published) == 121
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["record_id"]: line["output_text"] for line in lines} == {
        row["record_id"]: row["output_text"] for row in published
    }
    assert pa_csv.read_csv(
        tmp_path / "out.csv", parse_options=pa_csv.ParseOptions(newlines_in_values=True)
    ).column_names == list(published[0])


def test_rows_in_the_terminal(published: list[dict[str, Any]]) -> None:
    shown = run("show", "p", "d").stdout
    assert shown.count("status: succeeded") == 10
    assert "\x1b[2J" not in shown
    assert "embedding" not in shown, "null columns are left out"
    whole = [
        json.loads(line) for line in run("show", "p", "d", "--rows", "500", "--json").stdout.splitlines()
    ]
    assert sorted(row["record_id"] for row in whole) == sorted(row["record_id"] for row in published)
    assert run("show", "p", "d", "--json").stdout.count("\n") == len(published), "JSON is not cut short"
    assert "At most 10 rows are shown; more with --rows." in run("show", "p", "d").stderr
    sample = run("show", "p", "d", "--sample", "7", "--json").stdout.splitlines()
    assert len({json.loads(line)["record_id"] for line in sample}) == 7


#: Options of `show`, and the records that it prints.
_SELECTIONS: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    (("--failed",), set()),
    (("--where", "n < 3 OR n = 100"), {"r0", "r1", "r2", "r100"}),
    (("--where", "answered_by IS NOT NULL"), {"r120"}),
    (("--rejected",), {"r121"}),
)
_MISTAKES = (
    (
        ("show", "p", "d", "--where", "absent = 1"),
        "The condition cannot be used: the results have no column 'absent'.\nThey have: record_id, ",
    ),
    (("show", "p", "d", "--where", "Output_Txt = 'a'"), "Did you mean 'output_text'?"),
    (("show", "p", "d", "--where", "1 = (SELECT count(*) FROM read_text('/etc/passwd'))"), "disabled"),
    (("show", "p", "d", "--rejected", "--failed"), "stands alone"),
    (("show", "p", "absent"), "There is no dataset 'absent'"),
    (("results", "absent", "d", "--out", "x.csv"), "There is no pipeline or queue 'absent'"),
    (("results", "p", "d", "--out", "x.xlsx"), "x.xlsx"),
)


def test_some_rows(published: list[dict[str, Any]]) -> None:
    assert published
    for words, expected in _SELECTIONS:
        lines = run("show", "p", "d", *words, "--json").stdout.splitlines()
        assert {json.loads(line)["record_id"] for line in lines} == expected, words
    for mistake, message in _MISTAKES:
        done = run(*mistake)
        assert done.exit_code in (1, 2), mistake
        assert message in done.stderr
        assert "Traceback" not in done.output


def _types() -> Iterator[tuple[Any, Callable[[Any], int]]]:
    """Annotations, and how the rows of what they give are counted."""
    yield pd.DataFrame, len
    yield Any, len
    yield pa.Table, lambda table: table.num_rows
    yield pa_dataset.Dataset, lambda dataset: dataset.count_rows()
    yield pl.DataFrame, len
    yield pl.LazyFrame, lambda frame: len(frame.collect())
    yield duckdb.DuckDBPyRelation, lambda relation: len(relation.fetchall())
    yield str, lambda uri: 121 if uri.startswith("s3://") else 0


def test_a_downstream_asset_takes_the_type_of_its_annotation(published: list[dict[str, Any]]) -> None:
    datasets = dg.StaticPartitionsDefinition(["d"])
    key = dg.AssetKey(["p", "results"])
    source = dg.AssetSpec(key, partitions_def=datasets)
    manager = PublishedResults(deployment=DeploymentResource(s3=S3Resource()))
    ins = {"found": dg.AssetIn(key, input_manager_key="published")}
    for annotation, count in _types():

        def downstream(found):  # type: ignore[no-untyped-def]  # annotated below
            return dg.MaterializeResult(metadata={"rows": count(found)})  # noqa: B023  # called in this round

        downstream.__annotations__ = {"found": annotation}
        asset = dg.asset(ins=ins, partitions_def=datasets)(downstream)
        done = dg.materialize(
            [source, asset], partition_key="d", resources={"published": manager}, selection=[asset]
        )
        [event] = done.asset_materializations_for_node("downstream")
        assert event.metadata["rows"].value == len(published), annotation
