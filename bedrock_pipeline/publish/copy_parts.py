"""Copy the parts of a dataset's chunks into a publication, where all have one schema.

What belongs here: a chunk knows its own responses only. One whose records all failed does not know the length of the
vectors, and bodies of the user's own may request vectors that other chunks do not have.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import COLUMNS


@dataclass(frozen=True, slots=True)
class CopiedParts:
    """The rows of all parts together, and the schema of each."""

    rows: int
    schema: pa.Schema


def copy_parts(objects: S3Objects, parts: Sequence[str], targets: Sequence[str]) -> CopiedParts:
    """Copy parts within S3; one whose schema is not that of all is written again."""
    metadata = [read_metadata(objects, part) for part in parts]
    schema = schema_of_all(metadata)
    for part, target, own in zip(parts, targets, metadata, strict=True):
        if own.schema.to_arrow_schema().equals(schema):
            objects.copy(part, target)
        else:
            _write_again(objects, part, target, schema)
    return CopiedParts(sum(own.num_rows for own in metadata), schema)


def schema_of_all(metadata: Sequence[pq.FileMetaData]) -> pa.Schema:
    """The columns that any part has, in the order of the results.

    A column of vectors has a fixed size if those of all parts have it; a part without a vector does not count.
    """
    schemas = [own.schema.to_arrow_schema() for own in metadata]
    if all(schema.equals(schemas[0]) for schema in schemas):
        return schemas[0]
    fields: dict[str, pa.Field] = {}
    for name in dict.fromkeys(name for schema in schemas for name in schema.names):
        having = [
            (own, schema.field(name))
            for own, schema in zip(metadata, schemas, strict=True)
            if name in schema.names
        ]
        found = {field.type for own, field in having if _has_values(own, name)}
        first = having[0][1]
        fields[name] = first.with_type(_common(found or {first.type}))
    ordered = [
        *(name for name in fields if name not in COLUMNS),
        *(name for name in COLUMNS if name in fields),
    ]
    return pa.schema([fields[name] for name in ordered], schemas[0].metadata)


def _common(types: set[pa.DataType]) -> pa.DataType:
    """The type of a column of vectors that has these; other columns have one."""
    first = next(iter(types))
    return first if len(types) == 1 else pa.list_(first.value_type)


def _has_values(metadata: pq.FileMetaData, name: str) -> bool:
    """Whether a column has a value that is not null, as far as the statistics say."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema.split(".")[0] != name:
                continue
            statistics = column.statistics
            if (
                statistics is None
                or not statistics.has_null_count
                or statistics.null_count < column.num_values
            ):
                return True
    return False


def read_metadata(objects: S3Objects, uri: str) -> pq.FileMetaData:
    """The metadata of a parquet file in S3."""
    with objects.random_access(uri) as stream:
        return pq.read_metadata(stream)


def _write_again(objects: S3Objects, part: str, target: str, schema: pa.Schema) -> None:
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        path = Path(folder) / "part.parquet"
        with objects.random_access(part) as stream, GroupedWriter(path, schema) as writer:
            for batch in pq.ParquetFile(stream).iter_batches():
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
