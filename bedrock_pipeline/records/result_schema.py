"""The columns of the results: `ResultRow` is their only list.

The Arrow schema, the batches that are written, the rows of duplicates, the reader of a queue's results and the table in
`docs/reference/result_columns.md` are made from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeAlias, get_type_hints

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the results.

    Attributes:
        type: in Arrow.
        description: for the documentation and for Dagster's UI.
        source: `record`, a value of each record; `chunk`, one value for all records of a chunk; `publication`, null
            until the results are published.
        duplicate: what a duplicate has: its canonical record's value, zero, or the canonical record's id.
    """

    type: pa.DataType
    description: str
    source: Literal["record", "chunk", "publication"] = "record"
    duplicate: Literal["canonical value", "zero", "canonical id"] = "canonical value"


_TEXT, _COUNT, _USD = pa.string(), pa.int64(), pa.float64()
_Text: TypeAlias = str | None


class ResultRow(NamedTuple):
    """One row of the results, without its record id, carried columns and the columns of a structured response."""

    status: Annotated[str, Column(_TEXT, "`succeeded`, or `failed`: then the error is final")]
    output_text: Annotated[_Text, Column(_TEXT, "the text of the response")] = None
    embedding: Annotated[list[float] | None, Column(pa.list_(pa.float32()), "the vector of an embedding")] = (
        None
    )
    tool_use: Annotated[_Text, Column(_TEXT, "the tools that the model called, as JSON")] = None
    content_blocks: Annotated[_Text, Column(_TEXT, "all content blocks as JSON, if not only text")] = None
    answer_unwrapped: Annotated[
        _Text,
        Column(
            _TEXT,
            "what a structured response was wrapped in: `fence`, `wrapper`, `json-text`, or several; otherwise null",
        ),
    ] = None
    raw_output: Annotated[_Text, Column(_TEXT, "the model's output as JSON, if the pipeline keeps it")] = None
    stop_reason: Annotated[_Text, Column(_TEXT, "why the model stopped, as the model names it")] = None
    input_tokens: Annotated[int | None, Column(_COUNT, "tokens that the model read", duplicate="zero")] = None
    output_tokens: Annotated[int | None, Column(_COUNT, "tokens that the model wrote", duplicate="zero")] = (
        None
    )
    cost_usd: Annotated[
        float | None, Column(_USD, "cost of the response; null if the price is unknown", duplicate="zero")
    ] = None
    on_demand_cost_usd: Annotated[
        float | None, Column(_USD, "what an on-demand call would have cost", duplicate="zero")
    ] = None
    error_code: Annotated[_Text, Column(_TEXT, "code of the final error (docs/records.md)")] = None
    error_message: Annotated[_Text, Column(_TEXT, "message of the final error")] = None
    model_id: Annotated[_Text, Column(_TEXT, "the model", "chunk")] = None
    chunk_key: Annotated[_Text, Column(_TEXT, "the chunk in which the record was sent", "chunk")] = None
    dataset_version: Annotated[
        int | None, Column(pa.int32(), "the version of the dataset, as in `status`", "chunk")
    ] = None
    job_arn: Annotated[_Text, Column(_TEXT, "the record's job; null for an on-demand call", "chunk")] = None
    attempt: Annotated[int | None, Column(pa.int32(), "1, or more if the record was retried", "chunk")] = None
    answered_by: Annotated[
        _Text, Column(_TEXT, "a duplicate's canonical record, otherwise null", "publication", "canonical id")
    ] = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Take its columns from a row that may have more."""
        return cls(*(row[name] for name in cls._fields))


#: The columns by name, in their order.
COLUMNS: Final[Mapping[str, Column]] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(ResultRow, include_extras=True).items()
}
#: Columns of vectors of whole numbers, which results have if these types are requested, and their types.
VECTORS: Final[Mapping[str, pa.DataType]] = {
    "int8": pa.int8(),
    "uint8": pa.uint8(),
    "binary": pa.int8(),
    "ubinary": pa.uint8(),
}
_VECTOR_PREFIX: Final = "embedding_"
#: The column with the record ids.
RECORD_ID: Final = "record_id"
_ID_DESCRIPTION: Final = "the id from the input, or derived from the content"
#: Columns that an index has from the second attempt on: wire id, and first chunk. No input has columns of such names.
WIRE_ID: Final = "\x00wire_id"
ORIGIN: Final = "\x00origin"
#: Columns of an index that are not carried along.
INDEX_ONLY: Final = frozenset({RECORD_ID, WIRE_ID, ORIGIN})
#: Columns that results have in a table besides these: which dataset a row is of.
TABLE_COLUMNS: Final = ("pipeline", "dataset")
#: Names of columns that Arrow's scanner adds: it cannot read a dataset that has one of its own.
SCANNER_COLUMNS: Final = frozenset({"__batch_index", "__filename", "__fragment_index", "__last_in_fragment"})
_RESULT_COLUMNS: Final = INDEX_ONLY | COLUMNS.keys() | {f"{_VECTOR_PREFIX}{kind}" for kind in VECTORS}
#: Names that no other column of the results has.
RESERVED: Final = _RESULT_COLUMNS | SCANNER_COLUMNS
_RENAME: Final = "rename the column in the input"


def check_carry(carry: Sequence[str], record_id: str | None) -> None:
    """Check that the results can have these columns of the input; names that differ by case alone are two.

    Args:
        carry: the names.
        record_id: the column with the record ids; carried under the name that they have in the results, it is there once.

    Raises:
        ValueError: the message names the column.
    """
    for name in carry:
        if carry.count(name) > 1:
            raise ValueError(f"carry: column {name!r} is named twice; name it once")
        if name in SCANNER_COLUMNS:
            raise ValueError(f"carry: Arrow has a column {name!r} of its own in each dataset; {_RENAME}")
        if name in _RESULT_COLUMNS and not name == record_id == RECORD_ID:
            raise ValueError(f"carry: the results have a column {name!r} of their own; {_RENAME}")


def vector_fields(lengths: Mapping[str, int | None]) -> tuple[pa.Field, ...]:
    """The columns of vectors of whole numbers, given their types with their lengths; of fixed size if that is known."""
    return tuple(
        pa.field(f"{_VECTOR_PREFIX}{kind}", pa.list_(VECTORS[kind], length or -1))
        for kind, length in lengths.items()
    )


def result_schema(
    carry: pa.Schema, dimension: int | None, response_fields: Sequence[pa.Field] = ()
) -> pa.Schema:
    """Columns of the results; the embedding has a fixed size if it is known."""
    types = {name: column.type for name, column in COLUMNS.items()}
    if dimension:
        types["embedding"] = pa.list_(pa.float32(), dimension)
    return pa.schema([(RECORD_ID, pa.string()), *carry, *response_fields, *types.items()])


def description_of(name: str) -> str | None:
    """What a column of the results contains; None for carried columns and those of structured responses."""
    if name == RECORD_ID:
        return _ID_DESCRIPTION
    if name.removeprefix(_VECTOR_PREFIX) in VECTORS and name.startswith(_VECTOR_PREFIX):
        return f"the vector of type {name.removeprefix(_VECTOR_PREFIX)}"
    return COLUMNS[name].description if name in COLUMNS else None


def carried(index: pa.Schema) -> pa.Schema:
    """The carried columns of an index."""
    return pa.schema([field for field in index if field.name not in INDEX_ONLY])
