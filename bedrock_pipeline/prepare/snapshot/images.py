"""Images of a row: from a cell to bytes in the snapshot."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources.source import BATCH_BYTES

#: The snapshot's column with the images of a row, in the order of their columns.
COLUMN = "__images"
#: The snapshot's column with a hash of them, by which they are compared.
DIGEST = "__images_digest"
#: No model accepts a larger request, so nothing larger is read.
MOST_BYTES = 25_000_000
#: First characters of each kind in base64; that of JPEG begins with a slash, as paths do.
_BASE64 = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")

Fetch = Callable[[str], bytes]


class NotAnImageError(ValueError):
    """A cell has no image; the message does not contain the cell."""


class CarriedImageError(InvalidInputError):
    """An image column was to be carried along into the results."""


def nowhere(location: str) -> bytes:  # noqa: ARG001  # a Fetch
    """Fetch nothing, if all images are in the cells themselves.

    Raises:
        NotAnImageError: always.
    """
    raise NotAnImageError("leads to nothing that can be read")


def kind_of(data: bytes) -> str:
    """The kind of an image by its first bytes: `png`, `jpeg`, `gif` or `webp`.

    Raises:
        NotAnImageError: it is none of them.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    raise NotAnImageError("is no PNG, JPEG, GIF or WebP image")


def image_bytes(value: object, fetch: Fetch) -> bytes:
    """An image from a cell: bytes, a data URI, base64, an s3:// URI, a file:// URI or an absolute path.

    Raises:
        NotAnImageError: the cell is none of these, or what it leads to is not an image.
    """
    if isinstance(value, bytes):
        data = value
    elif not isinstance(value, str):
        raise NotAnImageError(f"holds {type(value).__name__}, not an image")
    elif value.startswith("data:"):
        head, _, encoded = value.partition(",")
        if not head.endswith(";base64"):
            raise NotAnImageError("is a data URI without base64")
        data = _decoded(encoded)
    elif value.startswith(_BASE64):
        data = _decoded(value)
    elif value.startswith(("s3://", "file://", "/")):
        data = fetch(value)
    else:
        raise NotAnImageError("is no data URI, base64, s3:// URI or absolute path of an image")
    if len(data) > MOST_BYTES:
        raise NotAnImageError(f"is larger than {MOST_BYTES} bytes")
    kind_of(data)
    return data


def with_images(
    table: pa.RecordBatch,
    columns: Sequence[str],
    keep: Sequence[str],
    *,
    nulls: bool,
    position: str,
    fetch: Fetch,
    rejected: RejectionWriter,
) -> Iterator[pa.RecordBatch]:
    """Rows with their images as bytes, in batches of bounded size; rows with a cell that is not an image are rejected.

    The table has `record_id` and a column `position` with the row's number in the input. A cell may hold a list of images.
    Columns of `keep` are kept unchanged too. Without `nulls` a row without an image is rejected.

    Raises:
        CarriedImageError: a column of `keep` contains the images themselves.
    """
    for name in keep:
        if any(map(pa.types.is_binary, _types(table.schema.field(name).type))):
            raise CarriedImageError(
                f"Column {name!r} holds images and cannot be carried along.",
                "Carry a column that names them.",
            )
    cells = [table[name] for name in columns]
    rest = table.drop_columns([name for name in columns if name not in keep])
    rows: list[int] = []
    images: list[list[bytes]] = []
    size = 0
    for row in range(table.num_rows):
        try:
            found = [
                data
                for name, column in zip(columns, cells, strict=True)
                for data in _images(name, column[row].as_py(), fetch, nulls=nulls)
            ]
        except NotAnImageError as error:
            where, record_id = table[position][row].as_py(), table["record_id"][row].as_py()
            rejected.add(Rejection(where, str(error), record_id))
            continue
        rows.append(row)
        images.append(found)
        size += sum(map(len, found))
        if size >= BATCH_BYTES:
            yield _batch(rest, rows, images)
            rows, images, size = [], [], 0
    if rows:
        yield _batch(rest, rows, images)


def _images(name: str, cell: Any, fetch: Fetch, *, nulls: bool) -> Iterator[bytes]:
    values = [value for value in (cell if isinstance(cell, list) else [cell]) if value is not None]
    if not values and not nulls:
        raise NotAnImageError(f"column {name!r} is null")
    for value in values:
        try:
            yield image_bytes(value, fetch)
        except NotAnImageError as error:
            raise NotAnImageError(f"column {name!r} {error}") from error


def _batch(rest: pa.RecordBatch, rows: list[int], images: list[list[bytes]]) -> pa.RecordBatch:
    digests = [_digest(some) for some in images]
    return (
        rest.take(pa.array(rows, pa.int64()))
        .append_column(COLUMN, pa.array(images, pa.list_(pa.binary())))
        .append_column(DIGEST, pa.array(digests, pa.string()))
    )


def _digest(images: list[bytes]) -> str:
    each = (hashlib.blake2b(data, digest_size=16).digest() for data in images)
    return hashlib.blake2b(b"".join(each), digest_size=16).hexdigest()


def _types(arrow: pa.DataType) -> tuple[pa.DataType, ...]:
    return (arrow.value_type,) if pa.types.is_list(arrow) or pa.types.is_large_list(arrow) else (arrow,)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise NotAnImageError("is not base64") from None
