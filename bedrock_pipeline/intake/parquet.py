"""Parquet files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.intake.source import BATCH_ROWS, InputError, InputFile, IntakeBatch, positioned


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Parquet files with the same columns; the first one's types hold."""

    files: Sequence[InputFile]

    def columns(self) -> list[str]:
        """Names of the first file's columns."""
        return list(self._schema().names)

    def batches(self, columns: Sequence[str]) -> Iterator[IntakeBatch]:
        """Row group by row group."""
        yield from positioned(self._read(list(columns)))

    def _schema(self) -> pa.Schema:
        with self.files[0].open() as stream:
            return _opened(stream, self.files[0].name).schema_arrow

    def _read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = self._schema()
        schema = pa.schema([wanted.field(name) for name in columns]).remove_metadata()
        for file in self.files:
            with file.open() as stream:
                for batch in _opened(stream, file.name).iter_batches(BATCH_ROWS, columns=columns):
                    try:
                        yield batch.select(columns).cast(schema)
                    except (KeyError, pa.ArrowException) as error:
                        raise InputError(
                            f"{file.name} has other columns or types than {self.files[0].name}.",
                            "Make them alike.",
                        ) from error


def _opened(stream: object, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except pa.ArrowException as error:
        raise InputError(f"{name} is not a parquet file that can be read.", "Write it again.") from error
