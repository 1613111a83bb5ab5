"""Columns of the results: their names, types and descriptions."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

#: Each column's name, type, and what it tells.
_FIELDS: Final = (
    ("status", pa.string(), "succeeded, or failed: then the error is final"),
    ("output_text", pa.string(), "the text of the answer"),
    ("embedding", pa.list_(pa.float32()), "the vector, where the model embeds"),
    ("tool_use", pa.string(), "the tools that the model asked for, as JSON"),
    ("content_blocks", pa.string(), "all blocks of the answer as JSON, where it has more than text"),
    ("raw_output", pa.string(), "the whole answer as JSON, where the pipeline keeps it"),
    ("stop_reason", pa.string(), "why the model stopped, in its own word"),
    ("input_tokens", pa.int64(), "tokens that were read"),
    ("output_tokens", pa.int64(), "tokens that were written"),
    ("cost_usd", pa.float64(), "what the answer cost; null where the price is not known"),
    ("on_demand_cost_usd", pa.float64(), "what an on-demand call would have cost"),
    ("error_code", pa.string(), "the code of the final error"),
    ("error_message", pa.string(), "the message of the final error"),
    ("model_id", pa.string(), "who was asked"),
    ("chunk_key", pa.string(), "the chunk that the answer came with"),
    ("job_arn", pa.string(), "the job that the answer came with; null for an on-demand call"),
    ("attempt", pa.int32(), "1, or more where it was asked again"),
    ("answered_by", pa.string(), "the record that asked the same and whose answer this is; null as a rule"),
)
#: What each column of ours tells, by name.
DESCRIPTIONS: Final = {
    "record_id": "the id from the input, or derived from the content",
    **{name: told for name, _, told in _FIELDS},
}
#: Columns of an index that are not carried along: the wire id and the chunk of round 1 stand in later rounds' alone.
INDEX_ONLY: Final = frozenset({"record_id", "wire_id", "origin"})
#: Names that a carried column cannot have.
RESERVED: Final = INDEX_ONLY | frozenset(name for name, *_ in _FIELDS)


def result_schema(
    carry: pa.Schema, dimension: int | None, answer_fields: Sequence[pa.Field] = ()
) -> pa.Schema:
    """Columns of the results; the embedding has a fixed size where it is known."""
    types = {name: kind for name, kind, _ in _FIELDS}
    if dimension:
        types["embedding"] = pa.list_(pa.float32(), dimension)
    return pa.schema([("record_id", pa.string()), *carry, *answer_fields, *types.items()])


def carried(index: pa.Schema) -> pa.Schema:
    """The carried columns of an index."""
    return pa.schema([field for field in index if field.name not in INDEX_ONLY])
