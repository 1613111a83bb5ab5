"""Work through what is due: many items in one process, one after the other, until a limit is reached.

What belongs here: the order of claiming, carrying out, reporting and releasing, and the pure decisions about it. What is
due stands in `due_work`, how an item is done in `carry_out`. Any number of processes may work at once: each claims an
item by its run lease before it begins.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bedrock_pipeline.carry_out import Report, carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import OF_CHUNKS, WITHOUT_CODE, WorkItem, due_work
from bedrock_pipeline.errors import NotFoundError, ServiceUnavailableError, is_of_called_code
from bedrock_pipeline.ledger.run_leases import LeaseKind
from bedrock_pipeline.ledger.versions import VersionReplacedError
from bedrock_pipeline.outages import OUTAGES, cause_of
from bedrock_pipeline.pipeline import BasePipeline

_LOG = logging.getLogger(__name__)
#: How long a lease lasts after its process last renewed it, and how long after an error nobody tries again.
ALIVE: Final = timedelta(seconds=60)
_RENEW_S: Final = 15.0
#: The order of the kinds: first what fills Bedrock's slots, then what is closest to its end.
_ORDER: Final = ("submit", "publish", "collect", "retry")
#: Seconds after which a list of what is due is old: something more urgent may be due by now.
_OLD_S: Final = 10.0
_MOST_CHARACTERS: Final = 1_000
#: Parts of an error's text that differ from one chunk to the next: addresses, UUIDs, keys, numbers.
_VARYING: Final = re.compile(
    r"\b(?:s3|arn):\S+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\S+--(?:[a-z]\d+-)*\d{5}\b|\d[\d.,:]*"
)


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """After how many items, or seconds, nothing more is begun."""

    items: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that raised an error, which concerns this item alone."""

    item: WorkItem
    error: BaseException


def do_due_work(
    deployment: Deployment,
    pipelines: Sequence[BasePipeline],
    limits: WorkLimits,
    report: Callable[[WorkItem, Report], None],
    *,
    carried_out: Callable[[Deployment, BasePipeline, WorkItem], Report] = carry_out,
    own_runs: bool = True,
) -> Iterator[WorkItem | Failure]:
    """Do what is due, and what becomes due meanwhile, until nothing is left or a limit is reached.

    Each item is done at most once. An error of one item is yielded; then the next is done.

    Args:
        deployment: the deployment.
        pipelines: whose work is done.
        limits: when to end.
        report: called when an item is done, before its lease is released, so that what a process that dies has not
            reported is seen.
        carried_out: carries out an item, and returns the report of its step.
        own_runs: whether an item whose process died, or that raised an error, gets a run of its own, and is left to it.
            Without, what is published gets such a run as soon as somebody requests them again: nobody has seen it here.

    Yields:
        Each item that was done, or its failure.

    Raises:
        ServiceUnavailableError: a service is away, which concerns every item.
    """
    of_name = {pipeline.name: pipeline for pipeline in pipelines}
    monotonic = deployment.system.monotonic
    ends, tried = monotonic() + limits.seconds, set[WorkItem]()
    while True:
        looked_at = deployment.ledger.run_leases.now()
        found = in_order(workable(deployment, pipelines, limits.items, own_runs=own_runs), tried)
        if not found:
            return
        looked = monotonic()
        for item in found:
            now = monotonic()
            if len(tried) >= limits.items or now >= ends:
                return
            if now - looked > _OLD_S:
                break
            tried.add(item)
            subject = item.pipeline, item.key
            if not deployment.ledger.run_leases.acquire(
                item.kind, [subject], ALIVE, looked_at=looked_at, shared=own_runs
            ):
                continue  # another process has it, or has done it
            pipeline = of_name[item.pipeline]
            yield _done(deployment, pipeline, item, report, carried_out, own_runs=own_runs)


def workable(
    deployment: Deployment, pipelines: Sequence[BasePipeline], limit: int, *, own_runs: bool = True
) -> list[WorkItem]:
    """What is due and can be done beside other work: nobody works on it, and it needs no run of its own."""
    due = due_work(deployment.ledger, pipelines, limit=limit, kinds=WITHOUT_CODE)
    taken = deployment.ledger.run_leases.taken(
        [(item.kind, item.pipeline, item.key) for item in due], own_runs=own_runs
    )
    return [item for item in due if (item.kind, item.pipeline, item.key) not in taken]


def in_order(due: Iterable[WorkItem], tried: set[WorkItem]) -> list[WorkItem]:
    """What was not tried yet, the most urgent kind first."""
    return sorted((item for item in due if item not in tried), key=lambda item: _ORDER.index(item.kind))


def _done(
    deployment: Deployment,
    pipeline: BasePipeline,
    item: WorkItem,
    report: Callable[[WorkItem, Report], None],
    carried_out: Callable[[Deployment, BasePipeline, WorkItem], Report],
    *,
    own_runs: bool,
) -> WorkItem | Failure:
    lease = item.kind, item.pipeline, item.key
    unseen = item.kind == "publish" and not own_runs
    try:
        with renewed(deployment, *lease, lambda: timedelta(0) if unseen else None):
            report(item, carried_out(deployment, pipeline, item))
    except VersionReplacedError as error:
        deployment.ledger.run_leases.release(*lease)
        return Failure(item, error)
    except BaseException as error:  # whatever it is, it concerns this item alone, unless a service is away
        if isinstance(error, ServiceUnavailableError) and cause_of(error):
            deployment.ledger.run_leases.release(*lease)
            raise
        if not is_of_called_code(error):
            if isinstance(error, SystemExit):  # of a user's code, or of the program that called this
                record_failure(deployment, item, error, shared=own_runs)
            raise
        record_failure(deployment, item, error, shared=own_runs)
        return Failure(item, error)
    return item


def record_failure(deployment: Deployment, item: WorkItem, error: BaseException, *, shared: bool) -> None:
    """Record an error of an item; `shared`: it was raised beside other work, so that a run of its own is to show it."""
    dataset, version = item.key, None
    with suppress(NotFoundError):
        if item.kind in OF_CHUNKS:
            chunk = deployment.ledger.chunks.by_key(item.pipeline, item.key)
            dataset, version = chunk.dataset, chunk.dataset_version
        elif row := deployment.ledger.datasets.get(item.pipeline, item.key):
            version = row.version
    deployment.ledger.run_leases.fail(
        item.kind, item.pipeline, item.key, failure_of(error, dataset, version), ALIVE, shared=shared
    )


@contextmanager
def renewed(
    deployment: Deployment,
    kind: LeaseKind,
    pipeline: str,
    key: str,
    kept: Callable[[], timedelta | None] = lambda: None,
) -> Iterator[None]:
    """A lease that is renewed during the block, and released after it; after an error it is left to expire.

    Args:
        deployment: the deployment.
        kind: what is done during the block.
        pipeline: the pipeline.
        key: a dataset's or chunk's key.
        kept: called after the block: how long the lease is kept for a later step of the same run; None: it is released.
    """
    run_leases, done = deployment.ledger.run_leases, threading.Event()

    def renew() -> None:
        while not done.wait(_RENEW_S):
            try:
                run_leases.renew(kind, pipeline, key, ALIVE)
            except Exception as error:
                # At worst another process begins, which finds the work taken; the next renewal tries again.
                if OUTAGES.is_to_be_logged(error):
                    _LOG.warning("The run lease of %s could not be renewed: %s", key, error)

    run_leases.renew(kind, pipeline, key, ALIVE)
    join = deployment.system.start("run lease", renew)
    try:
        yield
    finally:
        done.set()
        join()
    lifetime = kept()
    if lifetime is None:
        run_leases.release(kind, pipeline, key)
    else:
        run_leases.renew(kind, pipeline, key, lifetime)


def failure_of(error: BaseException, dataset: str, version: int | None) -> str:
    """What an error is, the same for each chunk of a version that fails for the same reason."""
    text = _VARYING.sub("…", str(error)[:_MOST_CHARACTERS])  # cut first: a word of any length would take long
    return f"{dataset} v{version}: {type(error).__name__}: {text}"[:500]
