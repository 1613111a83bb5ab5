"""Images and documents of a row: from a cell to bytes in the snapshot."""

import base64
import hashlib
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa

from bedrock_pipeline.errors import InvalidInputError

TYPE: Final = pa.list_(pa.struct([("kind", pa.string()), ("name", pa.string()), ("data", pa.binary())]))
#: No model accepts a larger request, so nothing larger is read.
MOST_BYTES: Final = 25_000_000
#: First characters of each kind in base64; that of JPEG begins with a slash, as paths do.
_IMAGE_BASE64: Final = ("iVBORw0KGg", "/9j/", "R0lGOD", "UklGR")
_DOCUMENT_BASE64: Final = ("JVBERi0", "UEsDB", "0M8R4K")
#: How FLAC, Ogg, and MP3 with and without tags begin; WAVE differs from WebP in its eighth byte.
_AUDIO: Final = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
IMAGES: Final = frozenset({"png", "jpeg", "gif", "webp"})
_TEXTS: Final = frozenset({"txt", "md", "csv", "html"})
_ENDINGS: Final = {
    **{kind: kind for kind in ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")},
    "htm": "html",
    "markdown": "md",
    "text": "txt",
}
_MEDIA: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
#: What a name may have: letters, digits, single white space, hyphens, parentheses, square brackets; 200 characters.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_LONGEST_NAME: Final = 200
_NO_SPACES: Final = dict.fromkeys(map(ord, string.whitespace))
#: Of a row; no model accepts as many, nor as much.
MOST: Final = 500
MOST_TOGETHER: Final = 100_000_000

Fetch = Callable[[str], bytes]


class NotAnAttachmentError(ValueError):
    """A cell has no image or document; the message does not contain the cell."""


class CarriedAttachmentError(InvalidInputError):
    """A column with images or documents was to be carried along into the results."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or a document.

    Attributes:
        kind: `png`, `jpeg`, `gif` or `webp`; of documents their format, such as `pdf`.
        name: of a document; empty for images.
        data: its bytes.
    """

    kind: str
    name: str
    data: bytes


def nowhere(location: str) -> bytes:  # noqa: ARG001  # a Fetch
    """Fetch nothing, if everything is in the cells themselves.

    Raises:
        NotAnAttachmentError: always.
    """
    raise NotAnAttachmentError("leads to nothing that can be read")


def image_of(value: object, fetch: Fetch) -> Attachment:
    """An image from a cell.

    Raises:
        NotAnAttachmentError: the cell is none of the kinds of `_bytes_of`, or what it leads to is not an image.
    """
    data, _ = _bytes_of(value, fetch, "an image", _IMAGE_BASE64)
    return Attachment(_image_kind(data), "", data)


def document_of(value: object, fetch: Fetch, name: str | None = None) -> Attachment:
    """A document from a cell; its name is that of its file.

    Raises:
        NotAnAttachmentError: the cell is none of the kinds of `_bytes_of`, or its format is not known.
    """
    data, origin = _bytes_of(value, fetch, "a document", _DOCUMENT_BASE64)
    file = unquote(origin).rstrip("/").rpartition("/")[2]
    stem, _, ending = file.rpartition(".") if "." in file else (file, "", "")
    kind = _document_kind(data, _ENDINGS.get(ending.lower()) or _MEDIA.get(origin))
    return Attachment(kind, _clean(name or ("" if origin in _MEDIA else stem)), data)


def named_apart(attachments: Sequence[Attachment]) -> list[Attachment]:
    """The attachments of a row, with a name for each document that no other has."""
    taken: set[str] = set()
    numbers: dict[
        str, int
    ] = {}  # the last one of each name, so that many of one name do not take the square of their time
    named = []
    for one in attachments:
        if one.kind not in IMAGES:
            name = one.name
            while name.casefold() in taken:
                begin = one.name[: _LONGEST_NAME - 8]
                numbers[begin.casefold()] = number = numbers.get(begin.casefold(), 1) + 1
                name = f"{begin} {number}"
            taken.add(name.casefold())
            one = Attachment(one.kind, name, one.data)
        named.append(one)
    return named


def check_together(attachments: Sequence[Attachment]) -> None:
    """Check what a row has so far.

    Raises:
        NotAnAttachmentError: it is more than any model accepts in a request.
    """
    if len(attachments) > MOST:
        raise NotAnAttachmentError(f"has more than {MOST} images or documents with those before it")
    if sum(len(one.data) for one in attachments) > MOST_TOGETHER:
        raise NotAnAttachmentError(f"has more than {MOST_TOGETHER} bytes with those before it")


def columns_of(rows: Sequence[Sequence[Attachment]]) -> tuple[pa.Array, pa.Array]:
    """The attachments of rows as columns of the snapshot: themselves, and their digests."""
    values = [[asdict(one) for one in row] for row in rows]
    return pa.array(values, TYPE), pa.array([_digest(row) for row in rows], pa.string())


def attachments_in(cell: Any) -> list[Attachment]:
    """The attachments of a row, from its cell in the snapshot."""
    return [Attachment(**one) for one in cell or ()]


def _bytes_of(value: object, fetch: Fetch, what: str, known: tuple[str, ...]) -> tuple[bytes, str]:
    """Bytes, and where they are from: a location, a media type, or nothing.

    A cell has bytes, a struct of bytes and path as Hugging Face writes them, a data URI, base64, an s3:// URI, a file:// URI
    or an absolute path.
    """
    origin = ""
    if isinstance(value, dict):
        path = value.get("path")
        origin = path if isinstance(path, str) else ""
        value = value.get("bytes") if value.get("bytes") is not None else path
    if isinstance(value, bytes):
        data = value
    elif not isinstance(value, str):
        raise NotAnAttachmentError(f"holds {type(value).__name__}, not {what}")
    elif value.startswith("data:"):
        head, _, encoded = value.partition(",")
        if not head.endswith(";base64"):
            raise NotAnAttachmentError("is a data URI without base64")
        data, origin = _decoded(encoded), head[len("data:") : -len(";base64")].lower()
    elif value.startswith(known):
        data = _decoded(value)
    elif value.startswith(("s3://", "file://", "/")):
        data, origin = fetch(value), value
    else:
        raise NotAnAttachmentError(f"is no data URI, base64, s3:// URI or absolute path of {what}")
    if len(data) > MOST_BYTES:
        raise NotAnAttachmentError(f"is larger than {MOST_BYTES} bytes")
    return data, origin


def _image_kind(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(_AUDIO) or (data.startswith(b"RIFF") and data[8:12] == b"WAVE"):
        raise NotAnAttachmentError("is audio, which requests of batch inference cannot have")
    raise NotAnAttachmentError("is no PNG, JPEG, GIF or WebP image")


def _document_kind(data: bytes, said: str | None) -> str:
    """The format by the first bytes, or else by what the ending or the media type says."""
    if not data:
        raise NotAnAttachmentError("is an empty document")
    if data.startswith(b"%PDF-"):
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        found = "docx" if b"word/" in data else "xlsx" if b"xl/" in data else None
    elif data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        streams = {"doc": "WordDocument", "xls": "Workbook"}
        found = next((kind for kind, name in streams.items() if name.encode("utf-16-le") in data), None)
    else:
        found = _text_kind(data, said)
    if found is None:
        raise NotAnAttachmentError("is no PDF, Word, Excel, HTML, Markdown, CSV or text document")
    return found


def _text_kind(data: bytes, said: str | None) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if said in _TEXTS:
        return said
    return "html" if text.lstrip()[:14].lower().startswith(("<!doctype html", "<html")) else "txt"


def _clean(name: str) -> str:
    """A name as the Converse API takes it."""
    clean = " ".join(_NOT_IN_NAMES.sub(" ", name[: 50 * _LONGEST_NAME]).split())[:_LONGEST_NAME].strip()
    return clean or "document"


def _digest(attachments: Sequence[Attachment]) -> str:
    each = (f"{one.kind}\0{one.name}\0".encode() + _hash(one.data) for one in attachments)
    return _hash(b"".join(each)).hex()


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _decoded(encoded: str) -> bytes:
    """The bytes of base64, with or without line breaks and padding."""
    compact = encoded.translate(_NO_SPACES).rstrip("=")  # without a text for each of its words
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError:  # binascii's own, or characters beyond ASCII
        raise NotAnAttachmentError("is not base64") from None
