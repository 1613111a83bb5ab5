"""What Python programs have in memory or read lazily, as a source: Arrow, Polars, pandas, DuckDB, lists of dicts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError, is_of_called_code
from bedrock_pipeline.records.result_schema import SCANNER_COLUMNS
from bedrock_pipeline.sources.errors import InputError, TypesChangedError
from bedrock_pipeline.sources.source import BATCH_ROWS, ArrowSource, RowBatch, Source, batch_rows, positioned
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
    Source
    | ArrowStream
    | LazyFrame
    | SqlQuery
    | DeltaTable
    | IcebergTable
    | str
    | Sequence[str]
    | Sequence[Mapping[str, Any]]
)
#: Errors that say what is wrong as they are, or pass by themselves.
_CLEAR = (BedrockPipelineError, TypesChangedError, ConnectionError, TimeoutError, MemoryError)


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


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in memory, of which each column is converted by itself, if it is needed.

    Attributes:
        names: of its columns.
        kinds: their types, for messages.
        column: the column of a place, in Arrow.
    """

    names: Sequence[str]
    kinds: Sequence[str]
    column: Callable[[int], Any]

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """Its columns."""
        return list(self.names)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Some columns in Arrow.

        Raises:
            InputError: a column cannot be converted; the message has its name and its type.
        """
        arrays = []
        for name in columns:
            place = self.names.index(name)
            with conversion(f"Column {name!r} of type {self.kinds[place]}"):
                arrays.append(self.column(place))
        with conversion(f"A frame of the columns {', '.join(columns)}"):
            return pa.table(arrays, names=list(columns))

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """One pass, in batches of bounded size."""
        yield from positioned(iter(self.table(columns).to_batches(BATCH_ROWS)))


def source_of(value: Any) -> Source:
    """A source of an object that holds rows; a `Source` as it is.

    Raises:
        InputError: it is none of the known kinds, has two columns of one name, or cannot be read as Arrow.
    """
    if callable(getattr(value, "batches", None)) and callable(getattr(value, "columns", None)):
        source: Source = value
        return source
    with conversion(f"The {_type_name(value)} of the input"):
        found = frame_of(value) or _stream_of(value)
    if found is None:
        raise InputError(
            f"The function that is the source returned {type(value).__name__}, which cannot be read.",
            "Return a location, an Arrow table, reader or dataset, a data frame, a list of dicts, SqlQuery, DeltaTable, "
            "IcebergTable, or a Source.",
        )
    return found


@contextmanager
def conversion(what: str) -> Iterator[None]:
    """Report errors of a library that converts a user's object by their kind alone: their messages may quote a value.

    Args:
        what: is converted, as a message names it.

    Raises:
        InputError: the conversion failed.
        ServiceUnavailableError: what the object reads from cannot be read now.
    """
    try:
        yield
    except _CLEAR:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(f"{what} cannot be read ({type(error).__name__}).", "Check what it reads.") from None
    except OSError as error:
        raise ServiceUnavailableError(
            f"{what} cannot be read now ({type(error).__name__}).",
            "It is tried again; the message is not shown, since it may quote a row.",
        ) from None
    except BaseException as error:
        if not is_of_called_code(error):  # Polars panics where it has no conversion
            raise
        raise InputError(
            f"{what} cannot be read as Arrow ({type(error).__name__}; its message is not shown, since it may quote a value).",
            "Give each column values of one type that Arrow has.",
        ) from None


def frame_of(value: Any) -> Frame | None:
    """A frame of pandas or Polars, or a list of dicts; None if it is something else.

    A named index of pandas is a column.

    Raises:
        InputError: it has two columns of one name.
    """
    if _is_of(value, "pandas") and hasattr(value, "iloc") and hasattr(value, "columns"):
        named = any(name is not None for name in value.index.names)
        frame = value.reset_index() if named else value
        return _frame(frame.columns, frame.dtypes, lambda n: pa.array(frame.iloc[:, n], from_pandas=True))
    if _is_of(value, "polars") and hasattr(value, "get_columns"):
        return _frame(value.columns, value.dtypes, lambda n: pa.chunked_array(value.to_series(n)))
    if isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value):
        keys = list(dict.fromkeys(key for row in value for key in row))
        return _frame(keys, ["object"] * len(keys), lambda n: pa.array([row.get(keys[n]) for row in value]))
    return None


def _frame(names: Iterable[Any], kinds: Iterable[Any], column: Callable[[int], Any]) -> Frame:
    texts = [str(name) for name in names]
    _distinct(texts)
    return Frame(texts, [str(kind) for kind in kinds], column)


def _stream_of(value: Any) -> Source | None:
    """What streams; None if it is something else."""
    if isinstance(value, ArrowStream):
        # Schema and rows are of one stream: of many objects there is no second one.
        first = pa.RecordBatchReader.from_stream(value)
        again = hasattr(value, "__len__") or hasattr(value, "num_rows")
        _distinct(first.schema.names)
        return ArrowSource(first.schema, _passes(first, value if again else None))
    if callable(getattr(value, "collect_batches", None)):  # a lazy frame of Polars
        names = value.collect_schema().names()
        return LazySource(names, lambda columns: _frames(value, [names.index(name) for name in columns]))
    if callable(getattr(value, "to_batches", None)) and isinstance(getattr(value, "schema", None), pa.Schema):
        _distinct(value.schema.names)
        return LazySource(value.schema.names, lambda columns: dataset_batches(value, columns))
    return None


def dataset_batches(dataset: Any, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Rows of an Arrow dataset, in batches of bounded size.

    Raises:
        InputError: Arrow cannot read it.
    """
    if own := SCANNER_COLUMNS.intersection(dataset.schema.names):
        raise InputError(
            f"The Arrow dataset has a column {min(own)!r}, which Arrow's datasets have themselves.",
            "Rename it, or name the files as a location.",
        )
    # One fragment ahead: Arrow would read sixteen of them at once.
    ahead = {"batch_size": _rows_of_a_batch(dataset), "batch_readahead": 1, "fragment_readahead": 1}
    with conversion("The Arrow dataset of the input"):
        yield from dataset.to_batches(columns=columns, **ahead)


def _rows_of_a_batch(dataset: Any) -> int:
    """By the size of the rows in its first file, if that is parquet."""
    try:
        fragment = next(iter(dataset.get_fragments()), None)
    except ValueError:  # it is filtered
        return BATCH_ROWS
    groups = getattr(fragment, "row_groups", None) or []
    rows = sum(group.num_rows for group in groups)
    return batch_rows(sum(group.total_byte_size for group in groups) // rows) if rows else BATCH_ROWS


def _frames(frame: Any, places: list[int]) -> Iterator[pa.RecordBatch]:
    import polars as pl  # the user's own: this package does not need it

    with conversion("The LazyFrame of the input"):
        # By their places: of a name, `*` and `^…$` would be patterns.
        for part in frame.select(pl.nth(*places)).collect_batches(chunk_size=BATCH_ROWS):
            yield from pa.RecordBatchReader.from_stream(part)


def _passes(first: pa.RecordBatchReader, value: Any) -> Callable[[], Iterator[pa.RecordBatch]]:
    """Passes over a stream: the first one over what is open already, others only if the value can begin again."""
    readers = iter([first])

    def read() -> Iterator[pa.RecordBatch]:
        with conversion(f"The {_type_name(value if value is not None else first)} of the input"):
            reader = next(readers, None)
            if reader is None and value is None:
                raise InputError(
                    "A reader is read once, and this one has been.", "Make a new one in the function."
                )
            yield from pa.RecordBatchReader.from_stream(value) if reader is None else reader

    return read


def _distinct(names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"The input has two columns named {twice[0]!r}.", "Rename one.")


def _is_of(value: Any, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(value).__mro__)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}"
