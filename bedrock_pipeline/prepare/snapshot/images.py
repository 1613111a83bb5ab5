"""Images of a row: from a cell to bytes in the snapshot."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.prepare.snapshot.records_batch import Records, taken
from bedrock_pipeline.records.cells import has_binary
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources.source import BATCH_BYTES

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
    """An image from a cell: bytes, a data URI, base64, an s3:// URI, a file:// URI, an absolute path.

    A struct with `bytes` and `path`, as the library `datasets` has them, counts as its bytes, or else its path.

    Raises:
        NotAnImageError: the cell is none of these, or what it leads to is not an image.
    """
    if isinstance(value, dict):  # as the library `datasets` stores images
        found = value.get("bytes") or value.get("path")
        if not isinstance(found, (bytes, str)) or not found:
            raise NotAnImageError("holds a struct without bytes and path")
        return image_bytes(found, fetch)
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
    records: Records,
    columns: Sequence[str],
    keep: Sequence[str],
    *,
    nulls: bool,
    fetch: Fetch,
    rejected: RejectionWriter,
) -> Iterator[Records]:
    """Records with their images as bytes, in batches of bounded size; those with a cell that is not an image are rejected.

    A cell may hold a list of images. Columns of `keep` are kept unchanged too. Without `nulls` a row without an image is
    rejected.

    Raises:
        CarriedImageError: a column of `keep` contains the images themselves.
    """
    for name in keep:
        if has_binary(records.rows.schema.field(name).type):
            raise CarriedImageError(
                f"Column {name!r} holds images and cannot be carried along.",
                "Carry a column that names them.",
            )
    cells = [records.rows[name] for name in columns]
    others = [name for name in records.rows.schema.names if name not in columns or name in keep]
    rest = replace(records, rows=records.rows.select(others))
    rows: list[int] = []
    images: list[list[bytes]] = []
    size = 0
    for row in range(len(records.ids)):
        try:
            found = [
                data
                for name, column in zip(columns, cells, strict=True)
                for data in _images(name, column[row].as_py(), fetch, nulls=nulls)
            ]
        except NotAnImageError as error:
            rejected.add(Rejection(records.positions[row], str(error), records.ids[row].as_py()))
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


def _batch(rest: Records, rows: list[int], images: list[list[bytes]]) -> Records:
    return Records(
        rest.ids.take(pa.array(rows, pa.int64())),
        taken(rest.rows, rows),
        [rest.positions[row] for row in rows],
        images=pa.array(images, pa.list_(pa.binary())),
        digests=pa.array([_digest(some) for some in images], pa.string()),
    )


def _digest(images: list[bytes]) -> str:
    each = (hashlib.blake2b(data, digest_size=16).digest() for data in images)
    return hashlib.blake2b(b"".join(each), digest_size=16).hexdigest()


def _decoded(encoded: str) -> bytes:
    compact = "".join(encoded.split())  # e-mail and some databases break lines
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        raise NotAnImageError("is not base64") from None
