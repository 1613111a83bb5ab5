"""Documents in bodies.

What belongs here: whether a document is one that the service takes, and what a model sees of it. Sources of the limits:
`DocumentBlock`, Amazon Bedrock API reference; "Inference using Converse API" and "API restrictions", Amazon Bedrock
user guide; "Document understanding", Amazon Nova user guide; "PDF support", Anthropic. The words of the rejections
are those that users report.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from bedrock_pipeline.emulator.models.reply import digest, tokens

_FORMATS: Final = ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")
_MEDIA: Final = ("pdf", "docx")
_MOST_DOCUMENTS: Final = 5
_MOST_BYTES, _MOST_MEDIA_BYTES = 4_500_000, 25_000_000
_MOST_PAGES = 100
_NAME: Final = re.compile(r"[a-zA-Z0-9()\[\]-]+(?:\s[a-zA-Z0-9()\[\]-]+)*")
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
#: Emulated tokens of a page, whose text and image the model sees.
_PAGE_TOKENS = 1500


def of_claude(source: Any) -> tuple[str, int]:
    """What Claude sees of a document in its own body, as text that differs as documents do; and its tokens.

    Raises:
        ValueError: why the service would reject it.
    """
    kind, media = (source or {}).get("type"), (source or {}).get("media_type")
    if kind == "base64":
        if media != "application/pdf":
            raise ValueError("media_type: Input should be 'application/pdf'")
        return _seen("pdf", _decoded(source.get("data")))
    if kind == "text":
        if media != "text/plain" or not isinstance(source.get("data"), str) or not source["data"].strip():
            raise ValueError("data: Input should be a text of the type 'text/plain'")
        return source["data"], 0
    if kind == "content" and isinstance(source.get("content"), str | list):
        return str(source["content"]), 0
    raise ValueError("type: Input should be 'base64', 'text' or 'content'")


def of_converse(document: Any, *, media_apart: bool) -> tuple[str, int]:
    """What a model sees of a document in a Converse body; and its tokens.

    Args:
        document: the block; its members are known to be of their types.
        media_apart: whether the limit of a document's size does not hold for PDF and Word.

    Raises:
        ValueError: why the service would reject it.
    """
    form, source = document.get("format"), document.get("source") or {}
    if form not in _FORMATS:
        raise ValueError("format: not a valid enum value")
    if not _NAME.fullmatch(document.get("name") or ""):
        raise ValueError(
            "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
            "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
            "character. Check that the file name conforms to these restrictions and retry your request."
        )
    if "text" in source:
        return str(source["text"]), 0
    if "content" in source:
        return str(source["content"]), 0
    data = _decoded(source.get("bytes"))
    if len(data) > _MOST_BYTES and not (media_apart and form in _MEDIA):
        raise ValueError(f"The document is larger than {_MOST_BYTES} bytes: {len(data)} bytes")
    return _seen(form, data)


def check_together(blocks: Iterable[Any], messages: Iterable[Any]) -> None:
    """Check all documents of a Converse request, and that each message with one has a text.

    Raises:
        ValueError: why the service would reject them.
    """
    documents = [block["document"] for block in blocks if "document" in block]
    if len(documents) > _MOST_DOCUMENTS:
        raise ValueError(f"You can't include more than {_MOST_DOCUMENTS} documents in a request.")
    names = [document.get("name") for document in documents]
    if len(set(names)) < len(names):
        raise ValueError("Messages can't contain duplicate document names.")
    inline = (str((document.get("source") or {}).get("bytes") or "") for document in documents)
    if sum(len(encoded) * 3 // 4 for encoded in inline) > _MOST_MEDIA_BYTES:
        raise ValueError(f"The documents are larger than {_MOST_MEDIA_BYTES} bytes together")
    for message in messages:
        kinds = {kind for block in message["content"] for kind in block}
        if "document" in kinds and "text" not in kinds:
            raise ValueError("A text block is required in a message that includes a document.")


def _seen(form: str, data: bytes) -> tuple[str, int]:
    if not data:
        raise ValueError("The document is empty")
    shown = f"[{form} {digest(data.hex())[:8]}]"
    if form != "pdf":
        return shown, tokens("x" * len(data))
    if not data.startswith(b"%PDF-"):
        raise ValueError("The PDF specified was not valid.")
    pages = max(1, len(_PAGE.findall(data)))
    if pages > _MOST_PAGES:
        raise ValueError(f"A maximum of {_MOST_PAGES} PDF pages may be provided.")
    return shown, math.ceil(pages * _PAGE_TOKENS)


def _decoded(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise ValueError("bytes: Input should be a valid string")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("Invalid base64 data") from None
