"""Names that arguments may have: an unknown one is an error that says what is near, before anything waits for it."""

from collections.abc import Collection
from difflib import get_close_matches

from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.ledger import Ledger

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


def check_served(ledger: Ledger, pipeline: str) -> None:
    """Check that a running code location has the pipeline; while none is known to run, any name may be right.

    Raises:
        NotFoundError: code runs, and has no such pipeline.
    """
    served = ledger.served_pipelines.now()
    if served and pipeline not in served:
        raise NotFoundError(f"No running code location has a pipeline {pipeline!r}.", _near(pipeline, served))


def _near(name: str, known: Collection[str]) -> str:
    if near := get_close_matches(name, sorted(known), n=1):
        return f"Did you mean {near[0]!r}?"
    if not known:
        return "Nothing was launched yet."
    more = f", and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"There are: {', '.join(sorted(known)[:_MOST_NAMES])}{more}."
