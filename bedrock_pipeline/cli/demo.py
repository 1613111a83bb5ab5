"""Command `demo`: launches a dataset, shows its progress and sums up the published results.

Everything in between is done by the daemon, as in production.
"""

import json
import re
import shlex
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow.compute as pc
from blake3 import blake3
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bedrock_pipeline.cli.demo_changes import earlier, what_is_asked
from bedrock_pipeline.cli.group import RejectedOptionError
from bedrock_pipeline.cli.output import console, json_line_option, print_json
from bedrock_pipeline.cli.pipelines import speed_option
from bedrock_pipeline.cli.request_options import (
    dataset_request,
    files_of,
    flags_of,
    pipeline_of_options,
    request_options,
)
from bedrock_pipeline.cli.status_text import wrapped
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.examples import MODEL
from bedrock_pipeline.ledger.rows import DatasetProgress, DatasetRow, usd
from bedrock_pipeline.local import Endpoints, default_home, file_uri
from bedrock_pipeline.prepare.reject_duplicates import rejected_uris
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.sources import notes_of, open_location, plain_location

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

    from bedrock_pipeline.cli.services import Running

_SPEED = 600.0
_POLL_SECONDS = 1
_PATIENCE_SECONDS = 1_800
#: Without a change for so long, it is said what is waited for.
_LONG_S = 15.0
_EXAMPLES = 3
_BLOCK = 1 << 20
#: Options that do not name columns of an input.
_OF_ANY_INPUT = {"model", "parameters", "max_tokens", "family", "invocation"}


class DemoError(BedrockPipelineError):
    """The demo's dataset is not published unless an operator intervenes."""


@click.command()
@click.option("--input", "source", help="A file of your own: parquet, CSV or JSONL.")
@click.option("--model", help="Model id; the emulator answers for it.")
@request_options
@click.option("--dataset", help="The dataset's key; without one it follows from the input.")
@click.option("--keep", is_flag=True, help="Leave everything running, with the UI, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The UI's port; 0 for a free one.")
@speed_option(_SPEED)
@json_line_option
def demo(dataset: str | None, keep: bool, port: int, speed: float, as_json: bool, **options: Any) -> None:
    """Ask an emulated model about every row of a file.

    Without --input, about every docstring of Python's standard library.

    Example: bedrock-pipeline demo --input my.csv --prompt '{{ question }}'
    """
    from bedrock_pipeline.cli.services import running, stop_event

    asked = _what(options)
    pipeline, request = asked.pipeline, asked.request
    key = check_dataset_key(dataset or _key(options["source"], request))
    home = default_home()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console.print(
        f"No AWS setting is needed: Postgres, S3 and a Bedrock emulator run on this machine, in {home}.",
        soft_wrap=True,
    )
    with running(
        home,
        module="bedrock_pipeline.definitions",
        speed=speed,
        poll_seconds=_POLL_SECONDS,
        ui_port=port,
        launch=partial(_launch, pipeline=pipeline, key=key, request=request),
    ) as services:
        console.print(f"Dagster's UI: {services.url}")
        with open_deployment(services.settings) as deployment:
            row = _follow(deployment, services, asked, key)
        assert row.results_uri is not None  # it was published
        uri = file_uri(services.endpoints, row.results_uri)
        summary = _summary(key, uri, [file_uri(services.endpoints, one) for one in rejected_uris(row)])
        _show(summary, uri, home)
        if as_json:
            print_json(summary)
        if keep:
            console.print(f"Everything goes on running: {services.url} (Ctrl-C ends it)")
            stop = stop_event()
            stop.wait_while(services.require_running)
    if keep:
        sys.exit(stop.exit_code)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is launched.

    Attributes:
        pipeline: its name.
        request: the settings of the dataset.
        columns: of the file that go into the prompt.
        notes: how the file is read, where that had to be found out.
    """

    pipeline: str
    request: dict[str, Any]
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _what(options: dict[str, Any]) -> _Asked:
    """Pipeline and request; an unusable file is reported before anything is started."""
    request = dataset_request(**options)
    source = options["source"]
    if source is None:
        given = {name for name, value in options.items() if value is not None and value != ()}
        if about_rows := flags_of(given - _OF_ANY_INPUT):
            raise click.UsageError(f"{', '.join(about_rows)} goes with --input.")
        return _Asked("stdlib_docstrings", request)
    if not any(map(request.get, ("prompt", "messages", "model_input"))):
        raise click.UsageError("--input needs --prompt, a template with {{ column }}.")
    if plain_location(source).startswith("s3://"):
        raise RejectedOptionError(
            "--input of the demo is a file on this machine.", "Copy it here first, or use `launch`."
        )
    pipeline = pipeline_of_options("own_files", {"model_id": MODEL, **request})
    plan = SnapshotPlan.of(pipeline)
    files = files_of(pipeline, source)
    plan.check(files.columns(plan.named))
    return _Asked(pipeline.name, request, tuple(plan.template.columns), tuple(notes_of(files)))


def _key(source: str | None, request: dict[str, Any]) -> str:
    """The same content and request give the same dataset, so that a demo that was killed is finished."""
    asked = json.dumps(request, sort_keys=True).encode()
    digest = blake3(asked + (_content(source) if source else b"")).hexdigest()[:8]
    if source is None:
        version = f"python-{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        return f"{version}-{digest}" if request else version
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).stem).strip("-")[:30] or "file"
    return f"{stem}-{digest}"


def _content(source: str) -> bytes:
    """A digest of the names and bytes of the files that are read."""
    digest = blake3()
    for file in open_location(source, objects=None).files:  # type: ignore[arg-type]  # a local file needs no S3
        digest.update(f"\0{file.name}\0".encode("utf-8", "surrogateescape"))
        with file.open() as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.digest()


def _launch(deployment: Deployment, pipeline: str, key: str, request: dict[str, Any]) -> None:
    row = deployment.ledger.datasets.get(pipeline, key)
    if row is None or row.packed_hash is None:
        deployment.ledger.datasets.request(
            pipeline, key, request, launch=True, launch_id=deployment.system.new_id()
        )
        console.print(f"Requested dataset {key} of pipeline {pipeline}.")
    else:
        console.print(f"Dataset {key} of pipeline {pipeline} exists: it is completed, not started again.")


def _follow(deployment: Deployment, services: "Running", asked: _Asked, key: str) -> DatasetRow:
    """Show what is asked, and the progress until the dataset is published.

    Raises:
        DemoError: it is stuck, or takes too long.
        LocalError: a part of what runs has ended by itself.
    """
    deadline, pipeline = time.monotonic() + _PATIENCE_SECONDS, asked.pipeline
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("records", total=None)
        shown, waits = False, _Waits()
        while True:
            services.require_running()
            row = deployment.ledger.datasets.ensure(pipeline, key)
            progress = deployment.ledger.datasets.progress(pipeline, key)
            chunks = ", ".join(f"{count} {status}" for status, count in sorted(progress.by_status.items()))
            bar.update(
                task,
                total=progress.records or None,
                completed=progress.processed,
                description=chunks or "preparing",
            )
            if row.published_version == row.version:
                return row
            if row.packed_hash and not shown:
                _show_what_is_asked(deployment, services.endpoints, row, asked)
                shown = True
            _must_go_on(row, progress, deadline)
            waits.seen(deployment, row, (row.state, chunks, progress.processed))
            time.sleep(0.5)


class _Waits:
    """Says what a dataset waits for when nothing changes for long, each reason once."""

    def __init__(self) -> None:
        self._state: tuple[object, ...] = ()
        self._since = 0.0
        self._said: str | None = None

    def seen(self, deployment: Deployment, row: DatasetRow, state: tuple[object, ...]) -> None:
        """Look at a state, and say what is waited for if it has been that one for long."""
        now = time.monotonic()
        if state == self._state and now - self._since < _LONG_S:
            return
        if state == self._state and (
            status := deployment.ledger.status_report.dataset(row.pipeline, row.dataset)
        ):
            if status.waiting and status.waiting != self._said:
                said = f"No change for {_LONG_S:.0f} s: {status.waiting}"
                console.print(said, highlight=False, soft_wrap=True)
            self._said = status.waiting
        self._state, self._since = state, now


def _show_what_is_asked(deployment: Deployment, endpoints: Endpoints, row: DatasetRow, asked: _Asked) -> None:
    def folder(one: DatasetRow) -> Path:
        return endpoints.s3_root / (one.snapshot_uri or "").removeprefix("s3://")

    before = earlier(deployment.ledger.datasets.recent([row.pipeline]), row)
    status = deployment.ledger.status_report.dataset(row.pipeline, row.dataset)
    [chunk, *_] = deployment.ledger.chunks.of_dataset(row.pipeline, row.dataset, row.version)
    measured = deployment.ledger.spending.measured(row.pipeline, chunk.model_id)
    for line in (
        *asked.notes,
        *what_is_asked(
            folder(row),
            folder(before) if before else None,
            before.dataset if before else "",
            status.expected_cost_usd if status else None,
            sent=row.packed_records or 0,
            notes=measured.notes(chunk.estimated_output_tokens or 0),
            columns=asked.columns,
        ),
    ):
        for part in wrapped(line, indent=""):
            console.print(part, highlight=False, soft_wrap=True)


def _must_go_on(row: DatasetRow, progress: DatasetProgress, deadline: float) -> None:
    if row.state in ("failed", "cancelled") and row.launch_requested_at is None:
        raise DemoError(
            f"Dataset {row.dataset} {'failed' if row.state == 'failed' else 'was cancelled'}: {row.state_reason}",
            "Correct the input or the options, and run the command again.",
        )
    waiting = progress.by_status.keys() - {"failed", "completed", "stopped"}
    if progress.uncollected and not waiting and "failed" in progress.by_status:
        raise DemoError("Bedrock rejected the jobs.", "`bedrock-pipeline status` shows the reason.")
    if time.monotonic() > deadline:
        raise DemoError(
            f"The dataset was not published within {_PATIENCE_SECONDS} s.", "Run the demo again: it goes on."
        )


def _summary(key: str, uri: str, rejected: list[str]) -> dict[str, Any]:
    """Counted in the parquet itself, not in the ledger."""
    table = _parquet(uri).to_table(
        columns=["status", "input_tokens", "output_tokens", "cost_usd", "chunk_key", "job_arn"]
    )
    succeeded = pc.sum(pc.equal(table["status"], "succeeded")).as_py() or 0
    # A failed record costs nothing that is known; one that succeeded without a known cost makes the sum unknown.
    unknown = pc.any(pc.and_(pc.equal(table["status"], "succeeded"), pc.is_null(table["cost_usd"]))).as_py()
    return {
        "dataset": key,
        "records": table.num_rows,
        "succeeded": succeeded,
        "failed": table.num_rows - succeeded,
        "chunks": pc.count_distinct(table["chunk_key"]).as_py(),
        "jobs": pc.count_distinct(table["job_arn"]).as_py(),
        "input_tokens": pc.sum(table["input_tokens"]).as_py() or 0,
        "output_tokens": pc.sum(table["output_tokens"]).as_py() or 0,
        "cost_usd": None if unknown else round(pc.sum(table["cost_usd"]).as_py() or 0.0, 6),
        "results": uri,
        **({"rejected": _reasons(rejected), "rejected_rows": rejected} if rejected else {}),
    }


def _reasons(uris: list[str]) -> dict[str, int]:
    """How many rows were left out, by reason."""
    counted: Counter[str] = Counter()
    for uri in uris:
        for one in pc.value_counts(_parquet(uri).to_table(columns=["reason"])["reason"]).to_pylist():
            counted[one["values"]] += one["counts"]
    return dict(counted)


def _show(summary: dict[str, Any], uri: str, home: Path) -> None:
    for name, value in summary.items():
        shown = usd(Decimal(str(value))) if name == "cost_usd" and value is not None else _text(value)
        console.print(f"  {name:14}{shown}", highlight=False, soft_wrap=True)
    answers = _parquet(uri).head(_EXAMPLES, columns=["record_id", "output_text", "tool_use"])
    console.print("A few answers:")
    for row in answers.to_pylist():
        said = row["output_text"] or row["tool_use"] or "(a vector)"
        console.print(f"  {row['record_id']!r}: {said[:100]!r}", highlight=False, soft_wrap=True)
    kept = shlex.quote(str(home))
    console.print(f"The UI again: BEDROCK_PIPELINE_HOME={kept} bedrock-pipeline dev", soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} ({reason})" for reason, count in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _parquet(uri: str) -> "pa_dataset.Dataset":
    import pyarrow.dataset as pa_dataset  # brings pandas, which takes half a second

    return pa_dataset.dataset(uri, format="parquet")
