"""Empty texts in the columns of a prompt: counted as they are read or as they were stored, and said in the same words."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.prepare.snapshot.column_rules import empty_texts
from bedrock_pipeline.prepare.snapshot.stored_columns import CANONICAL, RECORD_ID, input_columns

_EMPTY: Final = (
    "Records with an empty text in column {!r} of the prompt: {:,}; they are sent, but for those whose message is blank then, if the model "
    "rejects that. Rows are rejected where it is null, in CSV by CsvFormat(empty='null')."
)


class EmptyCells:
    """Counts them, column by column.

    Args:
        columns: the names of the columns that are looked at.
    """

    def __init__(self, columns: Collection[str]) -> None:
        self._columns = columns
        self._found: Counter[str] = Counter()

    def add(self, rows: pa.RecordBatch) -> None:
        """Count those of these rows."""
        self._found.update({name: empty_texts(rows[name]).true_count for name in self._columns})

    def add_stored(self, folder: Path) -> None:
        """Count those of a snapshot's files: of a duplicate, which is stored without its texts, they are its canonical record's."""
        columns = list(self._columns)
        ids: dict[str, list[pa.Array]] = {name: [] for name in columns}
        for part in sorted(folder.glob("part-*.parquet")):
            file = pq.ParquetFile(part)
            stored = input_columns(file.schema_arrow)
            for batch in file.iter_batches(columns=[RECORD_ID, *(stored[name].name for name in columns)]):
                for name in columns:
                    ids[name].append(batch[RECORD_ID].filter(empty_texts(batch[stored[name].name])))
        self._found.update({name: sum(map(len, found)) for name, found in ids.items()})
        known = {name: pa.chunked_array(found, pa.string()) for name, found in ids.items()}
        for part in sorted(folder.glob("duplicates-*.parquet")):
            for batch in pq.ParquetFile(part).iter_batches(columns=[CANONICAL]):
                for name, found in known.items():
                    self._found[name] += pc.is_in(batch[CANONICAL], found).true_count

    @property
    def notes(self) -> list[str]:
        """One sentence for each column that has any."""
        return [_EMPTY.format(name, count) for name, count in self._found.items() if count]
