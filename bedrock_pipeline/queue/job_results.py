"""A queue's jobs: when all of their records are final, and their results.

What belongs here: finding a job's rows in its own chunk and in those of later rounds, which it may share with others.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow

#: The carried column that tells tasks apart.
TASK_ID = "task_id"
_READ_ROWS = 1024


def settle_jobs(deployment: Deployment, queues: list[str]) -> int:
    """Write down which jobs are final now, with their counts; how many."""
    found = 0
    for chunk_id in deployment.ledger.queues.open_jobs(queues):
        chunk = deployment.ledger.chunks.by_id(chunk_id)
        if chunk and chunk.collected_at and deployment.ledger.chunks.is_final(chunk_id):
            answered, failed, input_tokens, output_tokens = _counts(deployment, chunk)
            found += deployment.ledger.queues.record_final(
                chunk_id,
                answered=answered,
                failed=failed,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
            )
    return found


def job_batches(
    deployment: Deployment, chunk: ChunkRow, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a job that is final: those of its chunk, then those of later rounds.

    Args:
        deployment: the deployment.
        chunk: the job's, of round 1.
        columns: which to read, `task_id` among them; None for all.
    """
    yield from _batches(deployment, chunk, columns)
    if not chunk.retryable:
        return
    with deployment.objects.random_access(chunk.index_uri) as stream:
        own = pq.read_table(stream, columns=[TASK_ID])[TASK_ID].combine_chunks()
    for later in deployment.ledger.queues.later_chunks(chunk.chunk_id):
        for batch in _batches(deployment, later, columns):
            yield batch.filter(pc.is_in(batch[TASK_ID], value_set=own))


def _batches(
    deployment: Deployment, chunk: ChunkRow, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    for part in deployment.objects.list(f"{chunk.parsed_uri}part-"):
        with deployment.objects.random_access(part.uri) as stream:
            yield from pq.ParquetFile(stream).iter_batches(_READ_ROWS, columns=columns)


def _counts(deployment: Deployment, chunk: ChunkRow) -> tuple[int, int, int, int]:
    """Answered and failed records, input and output tokens, over all rounds."""
    if not chunk.retryable:
        return chunk.answered or 0, chunk.final_errors or 0, chunk.input_tokens or 0, chunk.output_tokens or 0
    rows = answered = input_tokens = output_tokens = 0
    for batch in job_batches(deployment, chunk, [TASK_ID, "status", "input_tokens", "output_tokens"]):
        rows += batch.num_rows
        answered += pc.sum(pc.equal(batch["status"], "succeeded")).as_py() or 0
        input_tokens += pc.sum(batch["input_tokens"]).as_py() or 0
        output_tokens += pc.sum(batch["output_tokens"]).as_py() or 0
    return answered, rows - answered, input_tokens, output_tokens
