"""Copy the parts of a dataset's chunks into a publication, where all have one schema.

What belongs here: a chunk knows its own responses only. One whose records all failed does not know the length of the
vectors, and bodies of the user's own may request vectors that other chunks do not have.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from operator import not_
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.parquet_objects import read_batches, read_metadata
from bedrock_pipeline.concurrency import REQUESTS_AT_ONCE, for_each, in_order
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import COLUMNS
from bedrock_pipeline.system import ExecutorFactory, threads


@dataclass(frozen=True, slots=True)
class CopiedParts:
    """The rows of all parts together, and the schema of each."""

    rows: int
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of a part, of which there may be thousands.

    Attributes:
        rows: how many it has.
        schema: its own.
        unused: its columns without any value, as far as the statistics say.
    """

    rows: int
    schema: pa.Schema
    unused: frozenset[str]


def copy_parts(
    objects: S3Objects, parts: Sequence[str], targets: Sequence[str], executor: ExecutorFactory = threads
) -> CopiedParts:
    """Copy parts within S3, several at a time; one whose schema is not that of all is written again, by itself.

    No copy is under way any more when it ends, also by an error.
    """
    read = list(in_order(partial(read_part, objects), parts, REQUESTS_AT_ONCE, executor))
    schema = schema_of_all(read)
    pairs = list(zip(parts, targets, strict=True))
    alike = [own.schema.equals(schema) for own in read]
    for_each(lambda pair: objects.copy(*pair), compress(pairs, alike), REQUESTS_AT_ONCE, executor)
    for part, target in compress(pairs, map(not_, alike)):
        _write_again(objects, part, target, schema)
    return CopiedParts(sum(own.rows for own in read), schema)


def schema_of_all(parts: Sequence[Part]) -> pa.Schema:
    """The columns that any part has, in the order of the results; none without a part.

    A column of vectors has a fixed size if those of all parts have it; a part without a vector does not count.
    """
    if not parts:
        return pa.schema([])
    if all(part.schema.equals(parts[0].schema) for part in parts):
        return parts[0].schema
    fields: dict[str, pa.Field] = {}
    for name in dict.fromkeys(name for part in parts for name in part.schema.names):
        having = [part for part in parts if name in part.schema.names]
        found = {part.schema.field(name).type for part in having if name not in part.unused}
        first = having[0].schema.field(name)
        fields[name] = first.with_type(_common(found or {first.type}))
    ordered = [
        *(name for name in fields if name not in COLUMNS),
        *(name for name in COLUMNS if name in fields),
    ]
    return pa.schema([fields[name] for name in ordered], parts[0].schema.metadata)


def _common(types: set[pa.DataType]) -> pa.DataType:
    """The type of a column of vectors that has these; other columns have one."""
    first = next(iter(types))
    return first if len(types) == 1 else pa.list_(first.value_type)


def read_part(objects: S3Objects, uri: str) -> Part:
    """What is kept of a parquet file in S3."""
    metadata = read_metadata(objects, uri)
    schema = metadata.schema.to_arrow_schema()
    return Part(metadata.num_rows, schema, frozenset(schema.names) - _used(metadata))


def _used(metadata: pq.FileMetaData) -> set[str]:
    """The columns that have a value which is not null, or may have one."""
    used = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            known = column.statistics
            if known is None or not known.has_null_count or known.null_count < column.num_values:
                used.add(column.path_in_schema.split(".")[0])
    return used


def _write_again(objects: S3Objects, part: str, target: str, schema: pa.Schema) -> None:
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        path = Path(folder) / "part.parquet"
        with GroupedWriter(path, schema) as writer:
            for batch in read_batches(objects, part):
                writer.add(fitted(batch, schema))
        objects.upload(path, target)


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of a part in the schema of all."""
    columns = [
        _column(batch[field.name], field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.nulls(len(values), kind) if values.null_count == len(values) else values.cast(kind)
