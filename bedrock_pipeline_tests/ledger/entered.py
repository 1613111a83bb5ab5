"""A dataset whose chunks are entered as its preparation would, without any file."""

from decimal import Decimal

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.datasets import Packed
from bedrock_pipeline.ledger.rows import FrozenSettings, NewChunk

#: What the chunks of these tests are judged by.
SETTINGS = FrozenSettings("settings", "content", "{}")


def enter_chunks(
    ledger: Ledger,
    chunks: list[NewChunk],
    *,
    pipeline: str = "p",
    dataset: str = "d",
    content: str = "h",
    max_jobs: int | None = None,
    max_cost_usd: Decimal | None = None,
) -> Packed:
    """Take a snapshot of this content and enter its chunks; other content makes another version."""
    begun = ledger.datasets.begin_preparation(pipeline, dataset)
    row, _ = ledger.datasets.record_snapshot(
        begun,
        SETTINGS,
        uri="s3://b/s/",
        content_hash=content,
        records=sum(chunk.records for chunk in chunks),
        rejected=0,
        max_cost_usd=max_cost_usd,
    )
    return ledger.datasets.enter_chunks(
        row, packed_hash=content, rejected=0, chunks=chunks, max_jobs=max_jobs
    )
