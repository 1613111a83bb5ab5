"""Rejected rows: those that cannot become records."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.records.bounded_texts import count_kind, shortened

_BLOCK = 10_000
#: Reasons in a message.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected row.

    Attributes:
        position: its number in the input, from 0.
        reason: why; names columns, never values. A long one is cut where it is written.
        record_id: its id; None where it has none.
    """

    position: int
    reason: str
    record_id: str | None = None

    def moved(self, rows: int) -> "Rejection":
        """The same, of a row that many rows further on."""
        return replace(self, position=self.position + rows)


class RejectionWriter:
    """Writes rejections to a parquet file in bounded memory, and counts them by reason.

    Columns: `position`, `record_id` and the reason.
    """

    #: Column of the reason, and compression of the file.
    _column: ClassVar[str] = "reason"
    _compression: ClassVar[str] = "snappy"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_reason: Counter[str] = Counter()
        self._rows: list[Rejection] = []
        self._schema = pa.schema(
            [("position", pa.int64()), ("record_id", pa.string()), (self._column, pa.string())]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression=self._compression)

    def add(self, *rejections: Rejection) -> None:
        """Add rejected rows."""
        for rejection in rejections:
            reason = shortened(rejection.reason)
            count_kind(self.by_reason, reason)
            self._rows.append(replace(rejection, reason=reason))
        if len(self._rows) >= _BLOCK:
            self._flush()

    @property
    def count(self) -> int:
        """Number of rejected rows."""
        return self.by_reason.total()

    def summary(self) -> str:
        """The most frequent reasons with their numbers, as a sentence."""
        some = [
            f"{number} row{'s' * (number > 1)}: {reason}"
            for reason, number in self.by_reason.most_common(_SHOWN)
        ]
        others = len(self.by_reason) - len(some)
        return "; ".join([*some, *([f"{others} other reasons"] if others else [])]) + "."

    def clear(self) -> None:
        """Begin again: the input is read from the beginning."""
        self.by_reason.clear()
        self._rows.clear()
        self._writer.close()
        self._writer = pq.ParquetWriter(self.path, self._schema, compression=self._compression)

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        rows = [
            {"position": r.position, "record_id": r.record_id, self._column: r.reason} for r in self._rows
        ]
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))
        self._rows.clear()
