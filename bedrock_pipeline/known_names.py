"""Names that arguments may have: an unknown one is an error that says what is near, before anything waits for it."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from bedrock_pipeline.errors import ArgumentError, NotFoundError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.models.registry import FAMILIES
from bedrock_pipeline.sources.csv_format import CsvFormat
from bedrock_pipeline.sources.typed import check_column_types

_MOST_NAMES = 10


def check_known(ledger: Ledger, pipeline: str, dataset: str | None = None) -> None:
    """Check that the ledger has a pipeline or queue of this name, and a dataset of it.

    Raises:
        NotFoundError: it has not; names what is near, or what there is.
    """
    known = ledger.served_pipelines.known()
    if pipeline not in known:
        of = [row.pipeline for row in ledger.status_report.datasets() if row.dataset == pipeline]
        hint = f"There is a dataset of this name: {of[0]} {pipeline}" if of else _near(pipeline, known)
        raise NotFoundError(f"There is no pipeline or queue {pipeline!r}.", hint)
    if dataset is not None and ledger.datasets.get(pipeline, dataset) is None:
        latest = [row.dataset for row in ledger.status_report.datasets(pipeline)]
        raise NotFoundError(f"There is no dataset {dataset!r} of {pipeline!r}.", _near(dataset, latest))


def check_chunk(ledger: Ledger, pipeline: str, chunk: str, dataset: str | None = None) -> None:
    """Check that a dataset's current version has a chunk of this key, or an earlier one of its dataset has.

    Args:
        ledger: of the deployment.
        pipeline: its name, which is known.
        chunk: the key.
        dataset: whose chunk it must be; None: the one that the key names.

    Raises:
        NotFoundError: it has not; names what is near, or what there is.
    """
    named = chunk.partition("--")[0]
    if dataset in (None, named) and ledger.chunks.has(pipeline, chunk):
        return
    keys = [one.chunk for one in ledger.status_report.chunks(pipeline, dataset or named)]
    if not keys and dataset is None:
        check_known(ledger, pipeline, named)
    raise NotFoundError(
        f"Dataset {dataset or named!r} of {pipeline!r} has no chunk {chunk!r}.",
        _near(chunk, keys, "It has no chunks yet."),
    )


def check_queue(ledger: Ledger, queue: str, otherwise: str = "") -> None:
    """Check that there is a queue of this name.

    Args:
        ledger: of the deployment; it may have no tables yet.
        queue: the name.
        otherwise: what else can be done about it.

    Raises:
        NotFoundError: there is none; names what is near, or what there is.
    """
    known = [one.queue for one in ledger.queues.all()] if ledger.is_current() else []
    if queue not in known:
        hint = _near(queue, known, "No queue was opened yet.")
        raise NotFoundError(f"There is no queue {queue!r}.", f"{hint} {otherwise}".rstrip())


def check_served(ledger: Ledger, pipeline: str) -> None:
    """Check that a running code location has the pipeline; while none is known to run, any name may be right.

    Raises:
        NotFoundError: code runs, and has no such pipeline.
    """
    served = ledger.served_pipelines.now()
    if served and pipeline not in served:
        raise NotFoundError(f"No running code location has a pipeline {pipeline!r}.", _near(pipeline, served))


def check_request_names(request: Mapping[str, Any]) -> None:
    """Check the names in a dataset's request that are known without its pipeline and its input.

    Raises:
        ArgumentError: a family, a type of a column or a field of `csv` is unknown; names what is near, or what there is.
    """
    families = [family.name for family in FAMILIES]
    if (family := request.get("family")) is not None and family not in families:
        raise ArgumentError(f"There is no model family {family!r}.", _near(str(family), families))
    for field in request.get("csv") or ():
        if field not in CsvFormat.model_fields:
            raise ArgumentError(
                f"csv.{field}: there is no such field.", _near(str(field), CsvFormat.model_fields)
            )
    if isinstance(types := request.get("column_types"), Mapping):
        check_column_types(types)


def _near(name: str, known: Collection[str], nothing: str = "Nothing was launched yet.") -> str:
    if near := get_close_matches(name, sorted(known), n=1):
        return f"Did you mean {near[0]!r}?"
    if not known:
        return nothing
    more = f", and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"There are: {', '.join(sorted(known)[:_MOST_NAMES])}{more}."
