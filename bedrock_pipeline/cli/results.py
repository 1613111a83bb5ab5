"""Command `results`: where the results of a dataset are, or the results of a dataset or job as a file."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyarrow.types as pa_types

from bedrock_pipeline.aws.clients import arrow_filesystem
from bedrock_pipeline.cli.jobs import job_batches, job_by_id
from bedrock_pipeline.cli.output import json_option, print_json
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.settings import Settings


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write: .parquet, .jsonl or .csv."
)
@json_option
def results(pipeline: str, dataset: str | None, out: Path | None, as_json: bool) -> None:
    """Print where a dataset's results are, or write them to a file.

    Instead of PIPELINE DATASET it takes a job's id, with --out.
    """
    with open_deployment(Settings.resolve()) as deployment:
        if dataset is None:
            if out is None:
                raise click.UsageError("Give --out FILE.parquet, FILE.jsonl or FILE.csv.")
            rows = _write(*job_batches(job_by_id(deployment, pipeline)), out)
        else:
            uri = _published(deployment, pipeline, dataset)
            if out is None:
                print_json({"results": uri}) if as_json else click.echo(uri)
                return
            import pyarrow.dataset as pa_dataset  # brings pandas, which no other command needs

            source = pa_dataset.dataset(
                uri.removeprefix("s3://").rstrip("/"),
                filesystem=arrow_filesystem(deployment.settings),
                format="parquet",
            )
            rows = _write(source.schema, source.to_batches(), out)
    print_json({"rows": rows, "file": str(out)}) if as_json else click.echo(f"{rows} rows in {out}")


def _published(deployment: Deployment, pipeline: str, dataset: str) -> str:
    row = deployment.ledger.datasets.get(pipeline, dataset)
    if row is None or row.results_uri is None:
        raise StateError(
            f"Dataset {dataset!r} of {pipeline!r} is not published yet.", "See `bedrock-pipeline status`."
        )
    return row.results_uri


def _write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], out: Path) -> int:
    """Write a stream to a file, which appears only when it is complete; returns the number of rows."""
    if out.suffix not in (".parquet", ".jsonl", ".csv"):
        raise click.UsageError("--out must end with .parquet, .jsonl or .csv.")
    temporary = out.with_name(f"{out.name}.{os.getpid()}.new")
    rows = 0
    with _writer(schema, temporary, out.suffix) as write:
        for batch in batches:
            write(batch)
            rows += batch.num_rows
    temporary.replace(out)
    return rows


@contextmanager
def _writer(schema: pa.Schema, path: Path, suffix: str) -> Iterator[Callable[[pa.RecordBatch], object]]:
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema) as parquet:
            yield parquet.write_batch
    elif suffix == ".csv":
        flat = [field.name for field in schema if not pa_types.is_nested(field.type)]
        with pa_csv.CSVWriter(path, schema.empty_table().select(flat).schema) as table:
            yield lambda batch: table.write_batch(batch.select(flat))
    else:
        with path.open("wb") as file:
            yield lambda batch: file.writelines(
                orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch.to_pylist()
            )
