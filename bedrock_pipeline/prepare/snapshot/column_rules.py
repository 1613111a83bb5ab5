"""The rules of single values for whole columns.

Ordinary values go through Arrow or the kernel; every other value goes through the rule for single values (`record_ids`,
`request_template`), so that there is one rule.
"""

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.kernel import library, odd_ids, render_lines
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prompts.template import Field
from bedrock_pipeline.records.cells import (
    has_binary,
    is_whole,
    python_value,
    python_values,
    whole,
)
from bedrock_pipeline.records.record_ids import FILLER, record_id_of, wire_id

# Narrower than the rule in `record_ids`: certainly a record id as it is, and its own wire id.
_ORDINARY = "^[A-Za-z0-9._:@/+=#-]{1,64}$"
_LIKE_A_HASH = "^x[a-z2-7]{32}$"


def record_ids(column: pa.Array, *, digest_longer: bool = False) -> tuple[pa.Array, dict[int, str]]:
    """The record ids of a column's cells; with `digest_longer`, of those that are too long a digest.

    Returns:
        Text, null where a cell cannot be a record id; and the reasons, by row.
    """
    texts = as_strings(column)
    odd = np.arange(len(column)) if texts is None else _odd_ids(texts)
    if not len(odd):
        return texts, {}
    ids: list[str | None] = [None] * len(column) if texts is None else texts.to_pylist()
    reasons: dict[int, str] = {}
    for row in map(int, odd):
        ids[row], reason = record_id_of(python_value(column[row]), digest_longer=digest_longer)
        if reason:
            reasons[row] = reason
    return pa.array(ids, pa.string()), reasons


def content_ids(rows: pa.RecordBatch) -> pa.Array:
    """Ids derived from the content; identical rows get the same one, and a counter later."""
    texts = {name: _content(rows[name]) for name in sorted(rows.schema.names)}
    kernel = library()
    if kernel is None or any(column.null_count for column in texts.values()):
        objects: Iterator[Any] = map(orjson.dumps, pa.table(texts).to_pylist())
    else:
        names = [orjson.dumps(name) for name in texts]
        pieces = [b'{%b:"' % names[0], *(b'",%b:"' % name for name in names[1:]), b'"}']
        data, ends = render_lines(kernel, pieces, list(texts.values()))
        objects = (data[start:end] for start, end in pairwise([0, *ends]))
    return pa.array([hashlib.blake2b(one, digest_size=16).hexdigest() for one in objects], pa.string())


def wire_ids(record_ids: pa.Array) -> pa.Array:
    """The wire ids of records; none of them needs escaping in JSON."""
    odd = _odd_ids(record_ids)
    if not len(odd):
        return record_ids
    ids = record_ids.to_pylist()
    for row in map(int, odd):
        ids[row] = wire_id(ids[row])
    return pa.array(ids, pa.string())


def fillers_among(record_ids: pa.Array | pa.ChunkedArray) -> int:
    """The number of filler records."""
    return pc.sum(pc.starts_with(record_ids, FILLER)).as_py() or 0


def reasons_of(rows: pa.RecordBatch, template: RequestTemplate) -> dict[int, str]:
    """Why rows cannot be rendered, by row; rows that can are not in it."""
    doubtful = np.zeros(rows.num_rows, dtype=bool)
    for field in template.fields:
        doubtful |= _doubtful(field_values(rows[field.column], field))
    found = {
        int(row): template.why_not({name: python_value(rows[name][int(row)]) for name in template.columns})
        for row in np.flatnonzero(doubtful)
    }
    return {row: reason for row, reason in found.items() if reason}


def field_values(column: pa.Array, field: Field) -> pa.Array | None:
    """The values of a field as a column; None if they have to be looked for in each cell."""
    for name in field.path[1:]:
        if not pa.types.is_struct(column.type) or column.type.get_field_index(name) < 0:
            return None
        column = pc.struct_field(column, name)
    return _plain(column)


def texts_of(column: pa.Array, field: Field, template: RequestTemplate, arrow: pa.Field) -> pa.Array:
    """The text in the prompt for each cell.

    Raises:
        NotRenderableError: a cell is null, or has no text.
    """
    values = field_values(column, field)
    texts = None if values is None else as_strings(values)
    if texts is not None and not texts.null_count:
        return texts
    cells = prompt_values(column, arrow)
    return pa.array([template.text(field, value) for value in cells], pa.large_string())


def prompt_values(column: pa.Array, field: pa.Field) -> list[Any]:
    """A column as the values that a prompt is filled with."""
    column = _plain(column)
    if is_whole(field):
        return whole(python_values(column))
    return python_values(column)


def not_utf8(rows: pa.RecordBatch) -> list[int]:
    """Rows with text that is not UTF-8, which a file can hold although its type says otherwise."""
    try:
        rows.validate(full=True)
    except pa.ArrowInvalid:
        texts = [_plain(column) for column in rows.columns]
        cells = [column.cast(pa.large_binary()).to_pylist() for column in texts if _is_text(column.type)]
        return [row for row in range(rows.num_rows) if not all(_decodes(column[row]) for column in cells)]
    return []


def as_strings(column: pa.Array) -> pa.Array | None:
    """Text and whole numbers as Python's `str` gives them; None for every other type."""
    column = _plain(column)
    if _is_text(column.type) or pa.types.is_integer(column.type):
        return column if column.type == pa.string() else column.cast(pa.string())
    return None


def empty_texts(column: pa.Array) -> pa.BooleanArray:
    """Which cells are text without a character."""
    column = _plain(column)
    if not _is_text(column.type):
        return pa.repeat(pa.scalar(value=False), len(column))
    return pc.equal(pc.fill_null(pc.binary_length(column), -1), 0)


def _decodes(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(column: pa.Array) -> pa.Array:
    """A column without dictionary, as its storage if its type is an extension of text (JSON)."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column.type, pa.BaseExtensionType) and _is_text(column.type.storage_type):
        return column.storage
    return column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _content(column: pa.Array) -> pa.Array:
    """A column's values as text that distinguishes them; null stays null."""
    texts = as_strings(column)
    if texts is not None:
        return texts
    values = python_values(_plain(column))
    return pa.array([None if value is None else repr(value) for value in values], pa.large_string())


def _odd_ids(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Rows that may have no id, or one that is not its own wire id."""
    if kernel := library():
        return odd_ids(kernel, texts)
    fits, hashed = (pc.match_substring_regex(texts, pattern) for pattern in (_ORDINARY, _LIKE_A_HASH))
    ordinary = pc.fill_null(pc.and_not(fits, hashed), False)  # noqa: FBT003  # Arrow's parameter
    return np.flatnonzero(~ordinary.to_numpy(zero_copy_only=False))


def _doubtful(column: pa.Array | None) -> Any:
    """Where a value may be missing or not fit."""
    if column is None:
        return True
    kind = column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        if pa.types.is_floating(kind):
            return pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        if not pa.types.is_nested(kind) or has_binary(kind):
            return True
    return pc.is_null(column).to_numpy(zero_copy_only=False) if column.null_count else False
