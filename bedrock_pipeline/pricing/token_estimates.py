"""Token estimates from a sample of lines, before a model has counted.

A heuristic for English text; what a model's earlier chunks used corrects it (`pricing/estimates.py`).
"""

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from bedrock_pipeline.models import Family

#: UTF-8 bytes of English text per token. Claude: Anthropic's glossary says about 3.5 characters; Titan: the Amazon
#: Bedrock user guide says 4.7. Others: 4, a common rule of thumb.
_BYTES_PER_TOKEN: Final = {"claude": 3.5, "titan-embed": 4.7}
_OTHERS_BYTES_PER_TOKEN: Final = 4.0
#: An image of the size that Claude scales large ones down to (Anthropic, "Vision").
_TOKENS_PER_IMAGE: Final = 1600
#: A page of a PDF: its text, 1,500 to 3,000 tokens, and its image (Anthropic, "PDF support").
_TOKENS_PER_PAGE: Final = 3500
#: Bytes of a PDF whose pages cannot be counted, since its objects are compressed, per page.
_BYTES_PER_PAGE: Final = 50_000
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
#: Members that are one image, if their text is long.
_IMAGES: Final = frozenset({"data", "bytes", "inputImage"})
#: Tokens of a response whose request sets no limit.
_DEFAULT_OUTPUT: Final = 512
#: The families' names for the most tokens of a response.
_LIMITS: Final = frozenset(
    {"max_tokens", "max_completion_tokens", "maxTokens", "max_gen_len", "max_new_tokens", "maxTokenCount"}
)
#: Members whose text is no input of the model.
_NO_TEXT: Final = frozenset({"type", "role", "anthropic_version", "schemaVersion", "media_type", "format"})
#: A shorter text under the name of an image is not one.
_IMAGE_BYTES: Final = 256
_SAMPLE_LINES: Final = 100


@dataclass(slots=True)
class Sample:
    """Measurements of some lines of a dataset.

    Attributes:
        size: the lines' bytes.
        input_tokens: tokens of their requests, estimated.
        output_tokens: the most tokens that their responses may have.
    """

    family: Family
    lines: int = 0
    size: int = 0
    input_tokens: float = 0.0
    output_tokens: int = 0
    _per_token: float = field(init=False)

    def __post_init__(self) -> None:
        self._per_token = _BYTES_PER_TOKEN.get(self.family.name, _OTHERS_BYTES_PER_TOKEN)

    def add(self, line: bytes) -> None:
        """Add a line of a job's input."""
        text, images, pages, limit = _measured(orjson.loads(line)["modelInput"])
        self.lines += 1
        self.size += len(line)
        self.input_tokens += text / self._per_token + images * _TOKENS_PER_IMAGE + pages * _TOKENS_PER_PAGE
        self.output_tokens += 0 if self.family.embeds else _DEFAULT_OUTPUT if limit is None else limit

    def guess(self, records: int, size: int) -> tuple[int, int]:
        """Input and output tokens of `records` records with `size` bytes in total."""
        if not self.lines:
            return 0, 0
        return (
            math.ceil(self.input_tokens / self.size * size),
            math.ceil(self.output_tokens / self.lines * records),
        )


def sampled(path: Path, size: int) -> Iterator[bytes]:
    """Lines at equal distances in a JSONL file of `size` bytes; all of them in a small file."""
    with path.open("rb") as file:
        if size <= _SAMPLE_LINES * _IMAGE_BYTES:
            yield from file
            return
        for number in range(_SAMPLE_LINES):
            file.seek(size * number // _SAMPLE_LINES)
            if number:
                file.readline()  # to the end of the line
            if line := file.readline():
                yield line


def _measured(body: Any) -> tuple[int, int, int, int | None]:
    """Bytes of text, numbers of images and of pages, and the limit of output tokens."""
    text = images = pages = 0
    limit: int | None = None
    waiting: list[tuple[str, Any]] = [("", body)]
    while waiting:
        name, value = waiting.pop()
        if document := _document(name, value):
            text, pages = text + document[0], pages + document[1]
        elif isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((name, one) for one in value)
        elif isinstance(value, str):
            if len(value) > _IMAGE_BYTES and (name in _IMAGES or value.startswith("data:")):
                images += 1
            elif name not in _NO_TEXT:
                text += len(value.encode("utf-8", "surrogatepass"))
        elif name in _LIMITS and type(value) is int:
            limit = value
    return text, images, pages, limit


def _document(name: str, value: Any) -> tuple[int, int] | None:
    """Bytes of text and pages of a document; None for anything else."""
    if not isinstance(value, dict) or not isinstance(source := value.get("source"), dict):
        return None
    if value.get("type") == "document":
        kind, data = str(source.get("media_type")), source.get("data")
        plain = source.get("type") == "text"
    elif name == "document":
        kind, data = str(value.get("format")), source.get("bytes")
        plain = False
    else:
        return None
    if not isinstance(data, str):
        return None
    if plain:
        return len(data.encode("utf-8", "surrogatepass")), 0
    if "pdf" not in kind:
        return len(data) * 3 // 4, 0
    try:
        found = len(_PAGE.findall(base64.b64decode(data)))
    except ValueError:  # a body that somebody else has made
        found = 0
    return 0, found or math.ceil(len(data) * 3 / 4 / _BYTES_PER_PAGE)
