"""What a model rejects in the texts, images and documents of a request body."""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from bedrock_pipeline.models.family import Json
from bedrock_pipeline.prompts.template import is_blank

#: UTF-8 bytes per token, more than any language has: a text that is too long by this is too long for certain.
_MOST_BYTES_PER_TOKEN: Final = 8
#: The most bytes of an image: Claude counts its base64, Converse the image itself.
_CLAUDE_IMAGE: Final = 5 * 2**20
_CONVERSE_IMAGE: Final = 3_750_000
_MOST_IMAGES: Final = {"claude": 100, "converse": 20}
_DOCUMENT: Final = int(4.5 * 2**20)
_LARGE_DOCUMENT: Final = 25 * 2**20
_MOST_DOCUMENTS: Final = {"claude": 5, "converse": 5}
_MOST_TEXTS: Final = 96
#: Who can say a message.
_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("claude", "converse", "nova"), ("user", "assistant")),
    "chat": ("system", "developer", "user", "assistant", "tool"),
}
_ATTACHED: Final[Mapping["Kind", str]] = {"image": "an image", "document": "a document"}
#: The kind of a document whose text stands in the body as it is.
_PLAIN: Final = "plain"
#: Characters of base64, a multiple of 4.
_BEGINNING: Final = 64
_TOO_LONG: Final = "about {:,} tokens of text are more than the model's context window of {:,}"

Kind: TypeAlias = Literal["text", "image", "document", "other"]


@dataclass(frozen=True, slots=True)
class _Block:
    """A content block: its kind, its text or base64 if it has some, and the kind of its document."""

    kind: Kind
    data: str | None = None
    form: str = ""


@dataclass(frozen=True, slots=True)
class ContentRules:
    """The rules for what the bodies of a family say to a model.

    Attributes:
        family: the family's name.
        inputs: what the model can be given; None if it is not known.
        context: its context window in tokens; None if it is not known.
        characters: the most characters of a text; None for no such limit.
        large_documents: the kinds of documents to which the limit of 4.5 MB does not apply.
    """

    family: str
    inputs: tuple[str, ...] | None = None
    context: int | None = None
    characters: int | None = None
    large_documents: tuple[str, ...] = ()

    @property
    def safe_bytes(self) -> float:
        """A body of at most this many bytes, with one text and no image, is not too long for the model."""
        context = math.inf if self.context is None else self.context * _MOST_BYTES_PER_TOKEN
        return min(context, math.inf if self.characters is None else self.characters)

    def problem(self, body: Json) -> str | None:
        """Why the content would be rejected; None if nothing is known against it."""
        return next(self._problems(body), None)

    def _problems(self, body: Json) -> Iterator[str]:
        blocks: list[_Block] = []
        yield from _roles(self.family, body)
        for where, content in _parts(self.family, body):
            if not content:
                yield f"{where} is empty"
            kinds = {block.kind for block in content}
            if any(block.kind == "text" and is_blank(block.data or "") for block in content):
                yield f"{where} has a blank text"
            for kind in _ATTACHED:
                if kind in kinds and self.inputs is not None and kind not in self.inputs:
                    yield f"{where} has {_ATTACHED[kind]}; the model takes only {' and '.join(self.inputs)}"
            if self.family == "converse" and "document" in kinds and "text" not in kinds:
                yield f"{where} has a document and no text; Converse needs a text beside it"
            blocks += content
        texts = [block.data or "" for block in blocks if block.kind == "text"]
        if self.characters is not None and any(len(text) > self.characters for text in texts):
            yield f"the text has more than the {self.characters:,} characters that the model takes"
        if self.family in ("cohere-embed", "cohere-embed-v4") and len(texts) > _MOST_TEXTS:
            yield f"there are more than {_MOST_TEXTS} texts"
        if self.context is not None:
            size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
            if size > self.context * _MOST_BYTES_PER_TOKEN:
                yield _TOO_LONG.format(size // _MOST_BYTES_PER_TOKEN, self.context)
        yield from self._images([block for block in blocks if block.kind == "image"])
        yield from self._documents([block for block in blocks if block.kind == "document"])

    def _images(self, images: list[_Block]) -> Iterator[str]:
        most = _MOST_IMAGES.get(self.family)
        if most is not None and len(images) > most:
            yield f"{len(images)} images are more than {most}"
        for image in images:
            if self.family == "claude" and len(image.data or "") > _CLAUDE_IMAGE:
                yield f"an image has more than {_CLAUDE_IMAGE:,} bytes in base64"
            if self.family == "converse" and _bytes(image) > _CONVERSE_IMAGE:
                yield f"an image has more than {_CONVERSE_IMAGE:,} bytes"

    def _documents(self, documents: list[_Block]) -> Iterator[str]:
        most = _MOST_DOCUMENTS.get(self.family)
        if most is not None and len(documents) > most:
            yield f"{len(documents)} documents are more than {most}"
        if any(_is_blank_document(one) for one in documents):
            yield "a document is blank"
        limited = [one for one in documents if one.form not in self.large_documents]
        if any(_bytes(one) > _DOCUMENT for one in limited):
            yield "a document has more than 4.5 MB"
        if sum(_bytes(one) for one in documents) > _LARGE_DOCUMENT:
            yield "the documents have more than 25 MB together"


def _roles(family: str, body: Json) -> Iterator[str]:
    """What is wrong with who says the messages."""
    roles, messages = _ROLES.get(family), body.get("messages")
    if roles is None or not isinstance(messages, list):
        return
    before = None
    for number, message in enumerate(messages, 1):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in roles:
            yield f"the role of message {number} is not {', '.join(roles[:-1])} or {roles[-1]}"
        if family == "chat":
            continue
        if number == 1 and role != "user":
            yield "message 1 is not the user's"
        if role == before and family in ("converse", "nova"):
            yield f"messages {number - 1} and {number} have the same role; they must alternate"
        before = role
        kinds = {block.kind for block in _content(message.get("content"))}
        for kind in _ATTACHED:
            if role == "assistant" and kind in kinds:
                yield f"message {number} has {_ATTACHED[kind]} and is the assistant's; only the user's can have one"


def _parts(family: str, body: Json) -> Iterator[tuple[str, list[_Block]]]:
    """The texts and blocks of a body, each with where it is; what has another shape is left out."""
    if family in ("llama", "mistral", "titan-embed"):
        name = "inputText" if family == "titan-embed" else "prompt"
        if isinstance(body.get(name), str):
            yield name, [_Block("text", body[name])]
    if family in ("titan-embed-image", "cohere-embed", "cohere-embed-v4", "nova-embed"):
        yield from _embedded(family, body)
    system = body.get("system")
    if family in ("claude", "converse", "nova") and system is not None:
        yield "the system prompt", list(_content(system))
    messages = body.get("messages")
    if isinstance(messages, list):
        if not messages:
            yield "messages", []
        for number, message in enumerate(messages, 1):
            if isinstance(message, Mapping) and not message.get("tool_calls"):
                yield f"message {number}", list(_content(message.get("content")))


def _embedded(family: str, body: Json) -> Iterator[tuple[str, list[_Block]]]:
    """The texts and images of a body whose vector is requested."""
    if family == "nova-embed":
        params = body.get("singleEmbeddingParams")
        params = params if isinstance(params, Mapping) else {}
        text = params.get("text")
        if isinstance(text, Mapping) and isinstance(text.get("value"), str):
            yield "text.value", [_Block("text", text["value"])]
        if isinstance(params.get("image"), Mapping):
            yield "image", [_Block("image")]
    if isinstance(body.get("inputText"), str):
        yield "inputText", [_Block("text", body["inputText"])]
    if isinstance(body.get("inputImage"), str):
        yield "inputImage", [_Block("image", body["inputImage"])]
    if isinstance(body.get("texts"), list):
        yield "texts", [_Block("text", one) for one in body["texts"] if isinstance(one, str)]
    if isinstance(body.get("images"), list):
        yield "images", [_Block("image") for _ in body["images"]]
    inputs = body.get("inputs")
    for number, one in enumerate(inputs if isinstance(inputs, list) else (), 1):
        if isinstance(one, Mapping):
            yield f"input {number}", list(_content(one.get("content")))


def _content(content: Any) -> Iterator[_Block]:
    if isinstance(content, str):
        yield _Block("text", content)
    for one in content if isinstance(content, list) else ():
        yield _block(one) if isinstance(one, Mapping) else _Block("other")


def _block(one: Mapping[str, Any]) -> _Block:
    kind = one.get("type")
    if isinstance(one.get("text"), str) and kind in (None, "text"):
        return _Block("text", one["text"])
    if kind == "image_url":
        return _Block("image")
    for name in ("image", "document"):
        inner = one.get(name) if kind is None else one if kind == name else None
        if isinstance(inner, Mapping):
            source = inner.get("source")
            found = source if isinstance(source, Mapping) else {}
            data = found.get("bytes", found.get("data"))
            form = inner.get("format") or str(found.get("media_type", "")).rpartition("/")[2]
            return _Block(
                "image" if name == "image" else "document", data if isinstance(data, str) else None, form
            )
    return _Block("other")


def _bytes(block: _Block) -> int:
    data = block.data or ""
    if block.form == _PLAIN:
        return len(data)
    return len(data) * 3 // 4 - data.endswith("=") - data.endswith("==")


def _is_blank_document(block: _Block) -> bool:
    """Whether a document has nothing but white space; the beginning is decoded first."""
    if block.data is None or block.form == _PLAIN:
        return block.data is not None and is_blank(block.data)
    try:
        beginning = base64.b64decode(block.data[:_BEGINNING], validate=True)
        return not beginning.strip() and not base64.b64decode(block.data, validate=True).strip()
    except (binascii.Error, ValueError):
        return False
