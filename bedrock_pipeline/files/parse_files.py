"""Read output files of jobs into one parquet file without ledger.

What belongs here: finding the files, reading and writing, for the command `parse`. Lines become rows by the same code as
a chunk's.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.collect.join import dimension_of, rows, rows_of_lines
from bedrock_pipeline.collect.line_reader import buffers
from bedrock_pipeline.collect.tally import ChunkMetadata, Tally
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.files.folders import LocalFolder, S3Folder
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import carried, result_schema


class NoOutputError(InvalidInputError):
    """There is no output file."""


def parse_files(
    files: Sequence[str],
    metadata: ChunkMetadata,
    out: str,
    objects: S3Objects,
    *,
    index: str | None = None,
    progress: Callable[[int, int], None] = lambda _records, _bytes: None,
) -> Tally:
    """Write the results of output files as parquet.

    With an index every record of it gives one row, as in a published dataset. Without one every line gives a row, whose
    record id is the one that it travelled under.

    Args:
        files: paths or s3:// URIs; one that ends in a slash means every `.jsonl.out` beneath it.
        metadata: the family and what is kept; the key of the chunk is filled in from the files' names.
        out: path or s3:// URI of the file to write.
        objects: S3.
        index: path or s3:// URI of the chunk's `index.parquet`.
        progress: told the lines and bytes that were read so far.

    Raises:
        AwsError: S3 cannot be reached, or has not what is named.
        NoOutputError: a file or folder does not exist.
    """
    found = [file for one in files for file in _found(one, objects)]
    read = _Read()
    dimension, _ = dimension_of(_lines(found[:1], objects, _Read()), metadata.family)
    table = _table(index, objects) if index else None
    tally = Tally(table.num_rows if table else 0)
    schema = result_schema(
        carried(table.schema) if table else pa.schema([]), dimension, metadata.answer_fields
    )
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        part = Path(folder) / "part.parquet"
        with GroupedWriter(part, schema) as writer:
            for batch in _batches(found, metadata, objects, table, tally, dimension, read):
                writer.add(batch)
                progress(tally.lines, read.bytes)
        _put(part, out, objects)
    progress(tally.lines, read.bytes)
    return tally


def _batches(
    files: list[str],
    metadata: ChunkMetadata,
    objects: S3Objects,
    index: pa.Table | None,
    tally: Tally,
    dimension: int | None,
    read: "_Read",
) -> Iterator[pa.RecordBatch]:
    if index is not None:
        named = replace(metadata, chunk_key=files[0].rpartition("/")[2])
        yield from rows(_lines(files, objects, read), index, named, tally, dimension)
        return
    for file in files:
        named = replace(metadata, chunk_key=file.rpartition("/")[2])
        yield from rows_of_lines(_lines([file], objects, read), named, tally, dimension)


@dataclass(slots=True)
class _Read:
    """How much was read."""

    bytes: int = 0


def _lines(files: Sequence[str], objects: S3Objects, read: _Read) -> Iterator[memoryview]:
    for file in files:
        with objects.open(file) if file.startswith("s3://") else Path(file).open("rb", buffering=0) as stream:
            for data in buffers(stream):
                yield data
                read.bytes += len(data)


def _found(location: str, objects: S3Objects) -> list[str]:
    if location.startswith("s3://"):
        if not location.endswith("/"):
            return [location]
        found = [item.uri for item in objects.list(location) if item.uri.endswith(".jsonl.out")]
    elif Path(location).is_dir():
        found = [str(file) for file in sorted(Path(location).rglob("*.jsonl.out"))]
    else:
        found = [location] if Path(location).is_file() else []
    if not found:
        raise NoOutputError(
            f"There is no output at {location}.", "Name files, or a folder that holds .jsonl.out files."
        )
    return found


def _table(uri: str, objects: S3Objects) -> pa.Table:
    if uri.startswith("s3://"):
        with objects.random_access(uri) as stream:
            return pq.ParquetFile(stream).read()
    if not Path(uri).is_file():
        raise NoOutputError(f"There is no index at {uri}.", "Name the index.parquet of the chunk.")
    with pq.ParquetFile(uri) as file:
        return file.read()


def _put(part: Path, out: str, objects: S3Objects) -> None:
    folder, _, name = out.rpartition("/")
    target = (
        S3Folder(folder, objects)
        if out.startswith("s3://")
        else LocalFolder(Path(folder or ("/" if out.startswith("/") else ".")))
    )
    target.put(part, name)
