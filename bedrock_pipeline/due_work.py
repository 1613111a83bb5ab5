"""What is due: the one rule that Dagster's sensors and a queue's own worker follow. It only reads the ledger."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.rows import ChunkRow, DatasetRow
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.ledger.tasks import Waiting
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

#: Every kind of work, in the order of the steps.
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: Kinds whose subject is a chunk; that of the others is a dataset.
OF_CHUNKS: Final[frozenset[Kind]] = frozenset({"submit", "collect"})
#: Kinds that can be done without the code of a pipeline, in the order of the steps.
WITHOUT_CODE: Final[tuple[Kind, ...]] = ("submit", "collect", "retry", "publish")


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A step that is due for one chunk (`submit`, `collect`) or dataset; for `flush`, today's dataset."""

    kind: Kind
    pipeline: str
    key: str


def due_work(
    ledger: Ledger, pipelines: Sequence[BasePipeline], *, limit: int, kinds: Collection[Kind] = KINDS
) -> list[WorkItem]:
    """The work that is due now, by kind in the order of the steps, and the longest waiting first.

    At most `limit` items of each kind. A kind costs one query, `flush` one for each queue.
    """
    names = [pipeline.name for pipeline in pipelines]
    of_datasets = [pipeline.name for pipeline in pipelines if isinstance(pipeline, Pipeline)]
    due: dict[Kind, Callable[[], Iterable[tuple[str, str]]]] = {
        "prepare": lambda: _datasets(ledger.datasets.to_launch(of_datasets, limit)),
        "flush": lambda: _queues(ledger, pipelines)[:limit],
        "submit": lambda: _chunks(ledger.submissions.due(names, limit)),
        "collect": lambda: _chunks(ledger.chunks.to_collect(names, limit)),
        "retry": lambda: _datasets(ledger.retry_rounds.due(names, limit)),
        "publish": lambda: _datasets(ledger.publications.due(names, limit)),
    }
    return [WorkItem(kind, *subject) for kind in KINDS if kind in kinds for subject in due[kind]()]


def waiting_tasks(ledger: Ledger, queue: QueuePipeline) -> Waiting:
    """The tasks that wait in a queue, counted no further than decides whether to flush."""
    return ledger.tasks.waiting(queue.name, queue.tasks_to_flush)


def flush_reason(waiting: Waiting, queue: QueuePipeline) -> str | None:
    """Why a queue with these waiting tasks is due to be flushed; None if it is not."""
    policy, age_s = queue.flush_policy, waiting.age.total_seconds()
    if waiting.tasks < queue.fewest_tasks:
        return None
    if waiting.tasks >= policy.batch_size:
        return f"{policy.batch_size} tasks wait"
    if policy.max_bytes is not None and waiting.bytes >= policy.max_bytes:
        return f"{waiting.bytes} bytes wait"
    if policy.max_age_s is not None and age_s >= policy.max_age_s:
        return f"a task has waited for {age_s:.0f} s"
    return None


def _queues(ledger: Ledger, pipelines: Sequence[BasePipeline]) -> list[tuple[str, str]]:
    queues = [pipeline for pipeline in pipelines if isinstance(pipeline, QueuePipeline)]
    due = [queue.name for queue in queues if flush_reason(waiting_tasks(ledger, queue), queue)]
    return [(name, ledger.queues.today()) for name in due]


def _chunks(rows: Iterable[ChunkRow]) -> list[tuple[str, str]]:
    return [(row.pipeline, row.chunk_key) for row in rows]


def _datasets(rows: Iterable[DatasetRow]) -> list[tuple[str, str]]:
    return [(row.pipeline, row.dataset) for row in rows]
