"""The names of the columns in a snapshot's files.

Its own columns have names; those of the input have numbers, `c0`, `c1` and so on, and their names as metadata. So no name
of an input can be mistaken for one of ours, or for another that differs by its case alone, by whatever reads the files.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

#: The id of a record, and the number of its row in the input.
RECORD_ID: Final = "record_id"
POSITION: Final = "position"
#: Of a duplicate: the record id of its canonical record.
CANONICAL: Final = "canonical"
#: The images and documents of a row, in the order of their columns; and a hash of them, by which they are compared.
ATTACHMENTS: Final = "attachments"
ATTACHMENTS_DIGEST: Final = "attachments_digest"
#: The prompt or the messages that a row brings itself, as JSON.
CONVERSATION: Final = "conversation"

_NAME: Final = b"bedrock_pipeline.name"


def stored_names(names: Sequence[str]) -> dict[str, str]:
    """The stored name of each of the input's columns, which are stored in this order."""
    return {name: f"c{number}" for number, name in enumerate(names)}


def stored_field(field: pa.Field, stored: str) -> pa.Field:
    """A field of the input under its stored name."""
    return field.with_name(stored).with_metadata({**(field.metadata or {}), _NAME: field.name.encode()})


def input_field(field: pa.Field) -> pa.Field:
    """A stored field under its name in the input."""
    metadata = dict(field.metadata or {})
    name = metadata.pop(_NAME).decode()
    metadata.pop(b"PARQUET:field_id", None)
    return field.with_name(name).with_metadata(metadata or None)


def input_schema(schema: pa.Schema) -> pa.Schema:
    """Record id and the input's columns, under their names in it."""
    fields = map(input_field, input_columns(schema).values())
    return pa.schema([(RECORD_ID, pa.string()), *(field for field in fields if field.name != RECORD_ID)])


def input_columns(schema: pa.Schema) -> Mapping[str, pa.Field]:
    """The stored fields of the input's columns, by their names in the input."""
    return {
        field.metadata[_NAME].decode(): field
        for field in schema
        if field.metadata and _NAME in field.metadata
    }
