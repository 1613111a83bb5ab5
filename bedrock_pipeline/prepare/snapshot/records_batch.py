"""Records: rows of the input with their ids, before they are stored and after."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from bedrock_pipeline.prepare.snapshot import stored_columns as stored
from bedrock_pipeline.records.rejections import Rejection


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records.

    Attributes:
        ids: record ids.
        rows: columns of the input, under their names in it; none of ours is among them.
        positions: the number of each record's row in the input.
        rejected: the rows in between that are no records.
        attachments: the images and documents of each record; None where requests have none.
        digests: a hash of the attachments.
        conversations: the prompt or messages of each record; None where a template makes it.
    """

    ids: pa.Array
    rows: pa.RecordBatch
    positions: Sequence[int]
    rejected: list[Rejection] = field(default_factory=list)
    attachments: pa.Array | None = None
    digests: pa.Array | None = None
    conversations: pa.Array | None = None

    def to_stored(self) -> pa.RecordBatch:
        """As they are stored in a snapshot."""
        positions = np.fromiter(self.positions, np.int64, len(self.ids))
        arrays, names = [self.ids, *self.rows.columns], stored.stored_names(self.rows.schema.names)
        fields = [pa.field(stored.RECORD_ID, pa.string())]
        fields += [stored.stored_field(one, names[one.name]) for one in self.rows.schema]
        for name, column in (
            (stored.POSITION, pa.array(positions)),
            (stored.ATTACHMENTS, self.attachments),
            (stored.ATTACHMENTS_DIGEST, self.digests),
            (stored.CONVERSATION, self.conversations),
        ):
            if column is not None:
                arrays.append(column)
                fields.append(pa.field(name, column.type))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    @classmethod
    def of_stored(cls, batch: pa.RecordBatch) -> Self:
        """As they were stored."""
        columns = stored.input_columns(batch.schema).values()
        fields = [stored.input_field(one) for one in columns]
        rows = pa.RecordBatch.from_arrays([batch[one.name] for one in columns], schema=pa.schema(fields))
        attachments, conversations = (
            batch[name] if name in batch.schema.names else None
            for name in (stored.ATTACHMENTS, stored.CONVERSATION)
        )
        positions = batch[stored.POSITION].to_pylist()
        return cls(
            batch[stored.RECORD_ID], rows, positions, attachments=attachments, conversations=conversations
        )


def taken(rows: pa.RecordBatch, places: Sequence[int]) -> pa.RecordBatch:
    """Some rows, of columns of any type."""
    indices = pa.array(places, pa.int64())
    return pa.RecordBatch.from_arrays([column.take(indices) for column in rows.columns], schema=rows.schema)
