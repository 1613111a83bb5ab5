"""Commands about datasets: launch, status, results.

What belongs here: what they ask the ledger, and how they show it.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pyarrow.types as pa_types
from rich.live import Live
from rich.table import Table

from bedrock_pipeline.aws.filesystem import arrow_filesystem
from bedrock_pipeline.cli.output import console, print_json
from bedrock_pipeline.cli.queue import as_row, batches_of, is_job, job_of, jobs_of, table_of_jobs
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow, DatasetRow
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.prepare.reject_duplicates import rejected_uris
from bedrock_pipeline.queue import JobResult
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.settings import Settings

SCHEMA_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class NotPublishedError(BedrockPipelineError):
    """A dataset has no results yet."""


def dataset_request(
    source: str | None,
    prompt: str | None,
    record_id: str | None,
    model: str | None,
    carry: tuple[str, ...],
    images: tuple[str, ...] = (),
    schema: Path | None = None,
    max_cost_usd: float | None = None,
) -> dict[str, Any]:
    """What a dataset sets differently from its pipeline, as the ledger keeps it; paths become absolute.

    Raises:
        AnswerSchemaError: the file holds no JSON schema that can be asked for.
    """
    given: dict[str, Any] = {
        "prompt": prompt,
        "record_id": record_id,
        "model_id": model,
        "carry": list(carry),
        "images": list(images),
        "max_cost_usd": max_cost_usd,
    }
    if source is not None:
        given["source"] = source if source.startswith("s3://") else str(Path(source).absolute())
    if schema is not None:
        given["answer_schema"] = _read_schema(schema)
    return {name: value for name, value in given.items() if value}


def _read_schema(file: Path) -> str:
    """The schema as text: its order, in which models answer, would not survive a JSON column."""
    text = file.read_text(encoding="utf-8")
    AnswerSchema.from_text(text)  # what is wrong with it is told here rather than in a run
    return text


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option("--input", "source", help="File, glob, folder or s3:// location.")
@click.option("--prompt", help="Template with {{ column }}.")
@click.option("--record-id", help="Column with the record ids; without one they follow from the content.")
@click.option("--model", help="Model id or ARN.")
@click.option("--carry", multiple=True, help="Column to carry into the results; may be repeated.")
@click.option("--image", "images", multiple=True, help="Column with images; may be repeated.")
@click.option("--schema", type=SCHEMA_FILE, help="JSON schema of the answers; its properties become columns.")
@click.option(
    "--max-cost-usd",
    type=click.FloatRange(min=0, min_open=True),
    help="Submit nothing beyond this cost until it is approved.",
)
@click.option(
    "--new-version", is_flag=True, help="Buy a dataset again that was submitted with other content."
)
def launch(
    pipeline: str,
    dataset: str,
    source: str | None,
    prompt: str | None,
    record_id: str | None,
    model: str | None,
    carry: tuple[str, ...],
    images: tuple[str, ...],
    schema: Path | None,
    max_cost_usd: float | None,
    new_version: bool,
) -> None:
    """Ask for a dataset; the daemon's sensors do the rest."""
    check_dataset_key(dataset)
    request = dataset_request(source, prompt, record_id, model, carry, images, schema, max_cost_usd)
    with open_deployment(Settings.resolve()) as deployment:
        deployment.ledger.datasets.request(pipeline, dataset, request, launch=True, new_version=new_version)
    click.echo(f"asked for {dataset} of {pipeline}; see: bedrock-pipeline status {pipeline} {dataset}")


@click.command()
@click.argument("pipeline", required=False)
@click.argument("dataset", required=False)
@click.option("--watch", is_flag=True, help="Show it again every two seconds.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(pipeline: str | None, dataset: str | None, watch: bool, as_json: bool) -> None:
    """Show datasets, or the chunks of one: what each waits for, and why.

    Given a job's id alone, or a queue's name, it shows that job, or the queue's.
    """
    with open_deployment(Settings.resolve()) as deployment:
        jobs = _jobs(deployment, pipeline) if pipeline and dataset is None else None
        if as_json:
            print_json(
                [as_row(job) for job in jobs] if jobs is not None else _rows(deployment, pipeline, dataset)
            )
        elif watch:
            with Live(console=console, refresh_per_second=4) as live:
                while True:
                    live.update(_shown(deployment, pipeline, dataset))
                    time.sleep(2)
        else:
            console.print(_shown(deployment, pipeline, dataset))
            if pipeline and dataset:
                _tell_rejected(deployment.ledger.datasets.get(pipeline, dataset))
            for hold in deployment.ledger.jobs.backoffs():
                console.print(
                    f"{hold['quota_group']} waits until {hold['backoff_until']:%H:%M:%S %Z}: {hold['backoff_reason']}",
                    soft_wrap=True,
                )
            for orphan in deployment.ledger.interventions.orphans():
                console.print(
                    f"Job {orphan['job_arn']} ({orphan['status']}) carries our name and belongs to no chunk.",
                    soft_wrap=True,
                )


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="FILE.parquet, .jsonl or .csv.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def results(pipeline: str, dataset: str | None, out: Path | None, as_json: bool) -> None:
    """Tell where a dataset's results are, or write them into a file; given a job's id alone, that job's."""
    settings = Settings.resolve()
    with open_deployment(settings) as deployment:
        if dataset is None:
            _job_results(deployment, pipeline, out, as_json=as_json)
            return
        row = deployment.ledger.datasets.get(pipeline, dataset)
    if row is None or row.results_uri is None:
        raise NotPublishedError(
            f"Dataset {dataset!r} of {pipeline!r} is not published yet.", "See `bedrock-pipeline status`."
        )
    if out is None:
        print_json({"results": row.results_uri}) if as_json else click.echo(row.results_uri)
        return
    import pyarrow.dataset as pa_dataset  # brings pandas, which no other command needs

    source = pa_dataset.dataset(
        row.results_uri.removeprefix("s3://").rstrip("/"),
        filesystem=arrow_filesystem(settings),
        format="parquet",
    )
    _tell_written(_write(source.schema, source.to_batches(), out), out, as_json=as_json)


def _tell_rejected(row: DatasetRow | None) -> None:
    if row and row.rejected:
        listed = " and ".join(rejected_uris(row))
        console.print(
            f"{row.rejected} rows of the input were left out; position, record id and reason of each: {listed}",
            soft_wrap=True,
        )


def _job_results(deployment: Deployment, job_id: str, out: Path | None, *, as_json: bool) -> None:
    if out is None:
        raise click.UsageError("Where to? Give --out FILE.parquet or FILE.jsonl.")
    schema, batches = batches_of(job_of(deployment, job_id))
    _tell_written(_write(schema, batches, out), out, as_json=as_json)


def _tell_written(rows: int, out: Path, *, as_json: bool) -> None:
    print_json({"rows": rows, "file": str(out)}) if as_json else click.echo(f"{rows} rows in {out}")


def _jobs(deployment: Deployment, name: str) -> list[JobResult] | None:
    """A job, or the jobs of a queue; None where the name is neither's."""
    return [job_of(deployment, name)] if is_job(name) else jobs_of(deployment, name)


def _shown(deployment: Deployment, pipeline: str | None, dataset: str | None) -> Table:
    jobs = _jobs(deployment, pipeline) if pipeline and dataset is None else None
    return table_of_jobs(jobs) if jobs is not None else _table(_rows(deployment, pipeline, dataset))


def _rows(deployment: Deployment, pipeline: str | None, dataset: str | None) -> list[dict[str, Any]]:
    ledger = deployment.ledger
    if pipeline and dataset:
        row = ledger.datasets.ensure(pipeline, dataset) if ledger.datasets.get(pipeline, dataset) else None
        chunks = ledger.chunks.of_dataset(pipeline, dataset, row.version) if row else []
        backoffs = {hold["quota_group"]: hold for hold in ledger.jobs.backoffs()}
        open_retryable = ledger.retry_rounds.open_of(pipeline, dataset, row.version) if row else []
        held = {one.chunk.chunk_id: one.wait_reason for one in open_retryable}
        over = {budget.dataset: budget.reason for budget in ledger.spending.exhausted([pipeline])}
        return [
            {
                "chunk": chunk.chunk_key,
                "status": chunk.status,
                "asked": chunk.mode,
                "records": chunk.records,
                "processed": min(chunk.processed_count or 0, chunk.records),
                "answered": chunk.answered,
                "job": chunk.job_arn,
                "retryable": chunk.retryable,
                "cost_usd": _usd(chunk.cost_usd),
                **_wait(
                    chunk, backoffs.get(chunk.quota_group), over.get(chunk.dataset), held.get(chunk.chunk_id)
                ),
            }
            for chunk in chunks
        ]
    found, requeue = [], ledger.chunks.requeued()
    exhausted = ledger.spending.exhausted([pipeline] if pipeline else None)
    over_cap = {(budget.pipeline, budget.dataset): budget.reason for budget in exhausted}
    for one in ledger.datasets.recent([pipeline] if pipeline else None):
        progress = ledger.datasets.progress(one.pipeline, one.dataset)
        waits = requeue.get((one.pipeline, one.dataset), {})
        found.append(
            {
                "pipeline": one.pipeline,
                "dataset": one.dataset,
                "records": progress.records,
                "processed": progress.processed,
                "answered": progress.answered,
                "failed": progress.final_errors,
                "rejected": one.rejected,
                "retryable": progress.retryable,
                "chunks": ", ".join(f"{count} {name}" for name, count in sorted(progress.by_status.items())),
                "cost_usd": _usd(progress.cost_usd),
                "results": one.results_uri,
                "why": f"{waits['count']} put back: {waits['why']}"
                if waits
                else over_cap.get((one.pipeline, one.dataset)),
                "until": waits.get("until"),
            }
        )
    return found


def _usd(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _wait(
    chunk: ChunkRow, hold: dict[str, Any] | None, over_cap: str | None, held: str | None
) -> dict[str, Any]:
    """Why a chunk is where it is; and until when, where that is known."""
    if chunk.requeued_since:
        return {"why": chunk.requeue_reason, "until": chunk.next_attempt_at}
    if chunk.status == "pending" and chunk.mode == "batch" and hold:
        return {"why": hold["backoff_reason"], "until": hold["backoff_until"]}
    if chunk.status == "pending" and chunk.mode in ("batch", "on-demand") and over_cap:
        return {"why": over_cap, "until": None}
    return {"why": chunk.problem or held or chunk.status_message, "until": None}


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(*(rows[0] if rows else ["no dataset"]))
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    return table


def _write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], out: Path) -> int:
    """Write a stream of results into a file, which is there in full or not at all; how many rows."""
    if out.suffix not in (".parquet", ".jsonl", ".csv"):
        raise click.UsageError("The ending of --out must be .parquet, .jsonl or .csv.")
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
