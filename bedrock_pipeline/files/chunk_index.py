"""The index of a chunk, as `parse` gets it from whoever has the file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.files.folders import INCOMPLETE
from bedrock_pipeline.records.result_schema import RECORD_ID, RESERVED, carried

_NAME_IT = "Name the chunk's index.parquet."


class IndexFileError(InvalidInputError):
    """A file is not the index of a chunk, or not of the chunk whose output is read."""


def read_index(uri: str, objects: S3Objects) -> pa.Table:
    """Read and check an index.

    Raises:
        AwsError: S3 cannot be reached, or does not have it.
        IndexFileError: it is none.
        OSError: it cannot be read.
    """
    in_s3 = uri.startswith("s3://")
    if not in_s3 and not Path(uri).is_file():
        raise IndexFileError(f"There is no index at {uri}.", _NAME_IT)
    if not in_s3 and _is_incomplete(Path(uri).absolute()):
        raise IndexFileError(
            f"{uri} is a chunk's of a `pack` that has not ended, or was broken off.",
            "Wait until it has ended, or pack again.",
        )
    try:
        with objects.random_access(uri) if in_s3 else Path(uri).open("rb") as stream:
            table = pq.ParquetFile(stream).read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise IndexFileError(f"{uri} is not the index of a chunk: it is not parquet.", _NAME_IT) from error
    if why := why_no_index(table):
        raise IndexFileError(f"{uri} is not the index of a chunk: {why}.", _NAME_IT)
    return table.set_column(0, RECORD_ID, table[RECORD_ID].cast(pa.string()))


def _is_incomplete(file: Path) -> bool:
    return INCOMPLETE in file.parts or (file.parent.parent / INCOMPLETE).exists()


def why_no_index(table: pa.Table) -> str:
    """Why a table is not an index; empty if it may be one. Record ids are its first column, and carried ones follow."""
    names = table.column_names
    if names[:1] != [RECORD_ID]:
        return f"its first column is not {RECORD_ID}"
    if own := [name for name in carried(table.schema).names if name in RESERVED]:
        return f"it has the column {own[0]}, as results have"
    if twice := [name for name in names if names.count(name) > 1]:
        return f"it has several columns {twice[0]}"
    ids = table[RECORD_ID]
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        return f"the type of {RECORD_ID} is {ids.type}, not text"
    if ids.null_count:
        return f"{RECORD_ID} has nulls"
    if pc.count_distinct(ids).as_py() < len(ids):
        return f"{RECORD_ID} has a value twice"
    return ""
