"""What Python programs have in memory or read lazily, as a source: Arrow, Polars, pandas, DuckDB."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import BATCH_ROWS, ArrowSource, RowBatch, Source, positioned
from bedrock_pipeline.sources.tables import DeltaTable, IcebergTable, SqlQuery


@runtime_checkable
class ArrowStream(Protocol):
    """Whatever exports its rows by Arrow's PyCapsule interface: tables, readers, data frames, relations."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream."""
        ...


class LazyFrame(Protocol):
    """A lazy frame of Polars."""

    def collect_schema(self) -> Any:
        """The names and types of its columns."""
        ...

    def select(self, columns: Any, /) -> Any:
        """The frame with some columns."""
        ...

    def collect_batches(self, *, chunk_size: int | None = None) -> Any:
        """Its rows as data frames."""
        ...


#: What a function as a source may return.
SourceLike: TypeAlias = (
    Source | ArrowStream | LazyFrame | SqlQuery | DeltaTable | IcebergTable | str | Sequence[str]
)


@dataclass(frozen=True, slots=True)
class LazySource:
    """A dataset of Arrow or a lazy frame: only the columns that are needed are read.

    Attributes:
        names: of its columns.
        read: starts a pass over some columns.
    """

    names: Sequence[str]
    read: Callable[[list[str]], Iterator[pa.RecordBatch]]

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """Its columns."""
        return list(self.names)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """One pass, in batches of bounded size."""
        yield from positioned(self.read(list(columns)))


def source_of(value: Any) -> Source:
    """A source of an object that holds rows; a `Source` as it is.

    Raises:
        InputError: it is none of the known kinds, or has two columns of one name.
    """
    if callable(getattr(value, "batches", None)) and callable(getattr(value, "columns", None)):
        source: Source = value
        return source
    if isinstance(value, pa.RecordBatchReader):
        return ArrowSource(_distinct(value.schema), _once(value))
    if isinstance(value, ArrowStream):
        schema = pa.RecordBatchReader.from_stream(value).schema
        return ArrowSource(_distinct(schema), lambda: iter(pa.RecordBatchReader.from_stream(value)))
    if callable(getattr(value, "collect_batches", None)):  # a lazy frame of Polars
        return LazySource(value.collect_schema().names(), lambda columns: _frames(value, columns))
    if callable(getattr(value, "to_batches", None)) and isinstance(getattr(value, "schema", None), pa.Schema):
        _distinct(value.schema)
        # One fragment ahead: Arrow would read sixteen of them at once.
        ahead = {"batch_size": BATCH_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
        return LazySource(value.schema.names, lambda columns: value.to_batches(columns=columns, **ahead))
    raise InputError(
        f"The function that is the source returned {type(value).__name__}, which cannot be read.",
        "Return a location, an Arrow table, reader or dataset, a data frame, SqlQuery, DeltaTable, IcebergTable, or a Source.",
    )


def _frames(frame: Any, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for part in frame.select(columns).collect_batches(chunk_size=BATCH_ROWS):
        yield from pa.RecordBatchReader.from_stream(part)


def _distinct(schema: pa.Schema) -> pa.Schema:
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise InputError(f"The input has two columns named {twice[0]!r}.", "Rename one.")
    return schema


def _once(reader: pa.RecordBatchReader) -> Callable[[], Iterator[pa.RecordBatch]]:
    passes = iter([reader])

    def read() -> Iterator[pa.RecordBatch]:
        found = next(passes, None)
        if found is None:
            raise InputError(
                "A RecordBatchReader is read once, and this one has been.", "Make a new one in the function."
            )
        yield from found

    return read
