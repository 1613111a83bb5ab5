"""Parquet objects that this package has written, read back.

What belongs here: the error where one is not what was written, which names it. Inputs of users are read by `sources`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.errors import StateError

_ROWS = 65_536


class ObjectDamagedError(StateError):
    """An object that this package wrote was changed or cut off since."""


def read_table(objects: S3Objects, uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of an object that fits into memory; by one request, where each range would be one of its own.

    Raises:
        ObjectMissingError: there is none.
        ObjectDamagedError: it is not what was written.
    """
    data = pa.BufferReader(objects.get(uri))
    with reading(uri):
        table = pq.ParquetFile(data).read(columns=columns and list(columns))
    if columns and not {*columns} <= {*table.column_names}:
        raise damaged(uri)
    return table


def read_batches(
    objects: S3Objects, uri: str, columns: Sequence[str] | None = None, rows: int = _ROWS
) -> Iterator[pa.RecordBatch]:
    """The rows of an object, at most this many at a time; errors as by `read_table`."""
    with objects.random_access(uri) as stream:
        with reading(uri):
            file = pq.ParquetFile(stream)
            batches = file.iter_batches(rows, columns=columns and list(columns))
        if columns and not {*columns} <= {*file.schema_arrow.names}:
            raise damaged(uri)
        yield from read_each(batches, uri)


def read_downloaded(objects: S3Objects, uri: str, path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """The same by way of a local file, which is quicker where all of it is read; errors as by `read_table`."""
    objects.download(uri, path)
    with reading(uri):
        batches = pq.ParquetFile(path).iter_batches(rows)
    yield from read_each(batches, uri)


def read_each(batches: Iterator[pa.RecordBatch], uri: str) -> Iterator[pa.RecordBatch]:
    """Batches as an object is read; raises an ObjectDamagedError if it turns out not to be what was written."""
    while True:
        with reading(uri):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def read_metadata(objects: S3Objects, uri: str) -> pq.FileMetaData:
    """What an object has: its number of rows, its columns; errors as by `read_table`."""
    with objects.random_access(uri) as stream, reading(uri):
        return pq.read_metadata(stream)


def read_schema(objects: S3Objects, uri: str) -> pa.Schema:
    """The columns of an object; errors as by `read_table`."""
    return read_metadata(objects, uri).schema.to_arrow_schema()


def damaged(uri: str) -> ObjectDamagedError:
    """The error about an object that is not what was written."""
    return ObjectDamagedError(
        f"{uri} cannot be read: it is not what was written.",
        "Restore it from an earlier version of the object, or from a copy.",
    )


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Raise what Arrow raises in the block about the object's bytes as an `ObjectDamagedError`."""
    try:
        yield
    except (pa.ArrowCancelled, pa.ArrowMemoryError):
        raise  # of this process
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine
        raise damaged(uri) from error
