"""Commands `results` and `show`: where results are, as a file, and a few rows in the terminal."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
import pyarrow as pa

from bedrock_pipeline.cli.jobs import job_batches, job_by_id
from bedrock_pipeline.cli.output import (
    Count,
    console,
    escaped,
    json_option,
    print_json,
    printable,
    quiet_option,
)
from bedrock_pipeline.cli.progress import command_progress
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.known_names import check_known
from bedrock_pipeline.publish.export_results import check_export, export_results, json_lines
from bedrock_pipeline.publish.read_results import every_row, open_results, rejected_rows, results_uri
from bedrock_pipeline.publish.read_rows import read_rows
from bedrock_pipeline.settings import Settings

#: Rows that are shown by default, and characters of a value.
_ROWS, _WIDTH = 10, 200


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write: .parquet, .jsonl or .csv."
)
@click.option(
    "--escape-formulas",
    is_flag=True,
    help="In .csv, begin text that a spreadsheet would take for a formula with an apostrophe.",
)
@json_option
@quiet_option
def results(
    pipeline: str, dataset: str | None, out: Path | None, escape_formulas: bool, as_json: bool
) -> None:
    """Print where a dataset's results are, or write them to a file.

    Instead of PIPELINE DATASET it takes a job's id, with --out.

    Example: bedrock-pipeline results reviews 2026-11-26 --out reviews.parquet
    """
    if out is not None:
        check_export(out)
    with open_deployment(Settings.resolve()) as deployment:
        if dataset is not None:
            check_known(deployment.ledger, pipeline, dataset)
        total = None
        if dataset is None:
            if out is None:
                raise click.UsageError("Give --out FILE.parquet, FILE.jsonl or FILE.csv.")
            schema, batches = job_batches(job_by_id(deployment, pipeline))
        elif out is None:
            uri = results_uri(deployment, pipeline, dataset)
            print_json({"results": uri}) if as_json else click.echo(uri)
            return
        else:
            source = open_results(deployment, pipeline, dataset)
            schema, batches, total = source.schema, every_row(deployment, source), source.count_rows()
        with command_progress("wrote", "rows", total) as progress:
            rows = export_results(schema, batches, out, escape_formulas=escape_formulas, progress=progress)
    print_json({"rows": rows, "file": str(out)}) if as_json else click.echo(f"{rows} rows in {out}")


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option(
    "--rows",
    type=Count(1),
    help=f"How many rows, from the first; default: {_ROWS}, and with --json all of them.",
)
@click.option("--sample", type=Count(1), help="This many rows at random instead.")
@click.option("--failed", is_flag=True, help="Only records that failed.")
@click.option("--rejected", is_flag=True, help="Rows of the input that were rejected, with the reason.")
@click.option("--where", metavar="SQL", help="Only rows that meet a condition, in DuckDB's SQL.")
@json_option
def show(
    pipeline: str,
    dataset: str,
    rows: int | None,
    sample: int | None,
    failed: bool,
    rejected: bool,
    where: str | None,
    as_json: bool,
) -> None:
    """Print rows of a dataset's published results.

    Columns that are null are left out, and long values are cut short; --json prints whole rows, one a line.

    Example: bedrock-pipeline show reviews 2026-11-26 --where "cost_usd > 1"
    """
    if rejected and (failed or where or sample):
        raise click.UsageError("--rejected stands alone, or with --rows.")
    most = sample or rows or (None if as_json else _ROWS)
    with open_deployment(Settings.resolve()) as deployment:
        check_known(deployment.ledger, pipeline, dataset)
        if rejected:
            found: Iterable[pa.RecordBatch] = rejected_rows(deployment, pipeline, dataset)
        else:
            found = read_rows(
                open_results(deployment, pipeline, dataset),
                most,
                failed=failed,
                where=where,
                at_random=sample is not None,
            )
        lines = islice((line for batch in found for line in json_lines(batch)), most)
        shown = 0
        for shown, line in enumerate(lines, 1):
            click.echo(escaped(line), nl=False) if as_json else _print(shown, orjson.loads(line))
    if not shown and not as_json:
        console.print("No row." if rejected or failed or where else "No rows.")
    if shown == most and not (rows or sample):
        console.print(f"At most {_ROWS} rows are shown; more with --rows.")


def _print(number: int, row: dict[str, Any]) -> None:
    click.secho(f"{number}. {_clean(row.get('record_id') or '')}", bold=True)
    for name, value in row.items():
        if value is not None and name != "record_id":
            click.echo(f"   {_clean(name)}: {_short(value)}")


def _short(value: Any) -> str:
    text = _clean(value if isinstance(value, str) else orjson.dumps(value).decode())
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}… ({len(text):,} characters)"


def _clean(text: str) -> str:
    """Text on one line, without what a terminal would obey."""
    return printable(text.replace("\n", "⏎").replace("\t", " "))
