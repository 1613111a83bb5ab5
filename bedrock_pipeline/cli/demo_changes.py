"""What is asked of a file that was asked before, and has changed since."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from bedrock_pipeline.ledger.rows import DatasetRow, usd
from bedrock_pipeline.prepare.snapshot.empty_cells import EmptyCells
from bedrock_pipeline.prepare.snapshot.stored_columns import ATTACHMENTS, POSITION

_ROWS: Final = 1024


def earlier(datasets: Iterable[DatasetRow], now: DatasetRow) -> DatasetRow | None:
    """The last dataset of the same request, which differs by the content of its file; `datasets` are newest first."""
    return next(
        (
            one
            for one in datasets
            if one.request == now.request and one.dataset != now.dataset and one.snapshot_uri
        ),
        None,
    )


def what_is_asked(
    now: Path,
    before: Path | None,
    earlier_key: str,
    expected: Decimal | None,
    *,
    sent: int,
    notes: Collection[str] = (),
    columns: Collection[str] = (),
) -> Iterator[str]:
    """In words: how many records are asked, how many of them are new or changed, and what that would cost.

    Args:
        now: the folder of the snapshot.
        before: that of the earlier dataset's; None if there is none.
        earlier_key: of the earlier dataset.
        expected: US dollars at Bedrock; None if the price is unknown.
        sent: how many records are sent.
        notes: what must be known about the expectation.
        columns: those of the prompt, whose empty texts are counted.
    """
    rows = Counter(_rows(now))
    cost = "the price is unknown" if expected is None else f"about {usd(expected)}"
    yield f"{sent:,} records are sent. At Bedrock: {cost}; the emulator costs nothing."
    yield from notes
    empty = EmptyCells(columns)
    empty.add_stored(now)
    yield from empty.notes
    if before is not None:
        new = (rows - Counter(_rows(before))).total()
        yield (
            f"{new:,} of them are new or changed since dataset {earlier_key}; the others are sent again, since a dataset has "
            "answers of its own."
        )


def _rows(folder: Path) -> Iterator[int]:
    """A hash of each record that is asked: its id, and what of its row goes into the request."""
    for part in sorted(folder.glob("part-*.parquet")):
        file = pq.ParquetFile(part)
        columns = [name for name in file.schema_arrow.names if name not in (POSITION, ATTACHMENTS)]
        for batch in file.iter_batches(_ROWS, columns=columns):
            yield from (hash(repr(row)) for row in batch.to_pylist())
