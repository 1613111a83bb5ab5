"""Amazon Nova Multimodal Embeddings: one text, image, video or sound, and its vector.

Source: "Complete embeddings request and response schema", Amazon Nova user guide. The response has no count of tokens.
"""

from typing import Any, Final

from bedrock_pipeline.emulator.models import image
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    check_amazon_types,
    digest,
    malformed,
    reject_extraneous,
    tokens,
    vector,
)

PREFIXES: Final = ("amazon.nova-2-multimodal-embeddings",)
ANY: Final = ModelCard("amazon.nova-2-multimodal-embeddings", "nova_embed", vectors=(3072, 1024, 384, 256))
_SCHEMA = "nova-multimodal-embed-v1"
_MOST_CHARACTERS = 8192
_MOST_BYTES = 25_000_000
_MEMBERS = ("schemaVersion", "taskType", "singleEmbeddingParams")
_PARAMETERS = ("embeddingPurpose", "embeddingDimension", "text", "image", "audio", "video")
_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("truncationMode", "value", "source"),
    "image": ("detailLevel", "format", "source"),
    "audio": ("format", "source"),
    "video": ("format", "source", "embeddingMode"),
}
_FORMATS: Final = {
    "image": image.FORMATS,
    "audio": ("mp3", "wav", "ogg"),
    "video": ("mp4", "mov", "mkv", "webm", "flv", "mpeg", "mpg", "wmv", "3gp"),
}
_PURPOSES: Final = (
    *("GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "IMAGE_RETRIEVAL", "VIDEO_RETRIEVAL"),
    *("DOCUMENT_RETRIEVAL", "AUDIO_RETRIEVAL", "CLASSIFICATION", "CLUSTERING"),
)
_TRUNCATIONS: Final = ("START", "END", "NONE")
_COMBINED, _SEPARATE = "AUDIO_VIDEO_COMBINED", "AUDIO_VIDEO_SEPARATE"
_SOURCE = {"bytes": str, "s3Location": {"uri": str, "bucketOwner": str}}
_MEDIA = {"format": str, "source": _SOURCE, "detailLevel": str, "embeddingMode": str}
_SHAPE = {
    "schemaVersion": str,
    "taskType": str,
    "singleEmbeddingParams": {
        "embeddingPurpose": str,
        "embeddingDimension": int,
        "text": {"truncationMode": str, "value": str, "source": _SOURCE},
        "image": _MEDIA,
        "audio": _MEDIA,
        "video": _MEDIA,
    },
}
#: Emulated tokens of what is not text.
_MEDIA_TOKENS = 1600


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:  # noqa: ARG001  # a family's shape
    """A vector, or two of a video whose sound is apart."""
    check_amazon_types(_SHAPE, body)
    reject_extraneous(body, _MEMBERS)
    _enumerated(body, "schemaVersion", (_SCHEMA,), "#", default=_SCHEMA)
    _enumerated(body, "taskType", ("SINGLE_EMBEDDING",), "#")
    given: Body | None = body.get("singleEmbeddingParams")
    if given is None:
        raise malformed("#: required key [singleEmbeddingParams] not found")
    where = "#/singleEmbeddingParams"
    reject_extraneous(given, _PARAMETERS, where)
    _enumerated(given, "embeddingPurpose", _PURPOSES, where)
    size = given.get("embeddingDimension", card.vectors[0])
    if size not in card.vectors:
        raise malformed(f"{where}/embeddingDimension: not a valid enum value")
    kinds = [kind for kind in _KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        raise malformed(f"{where}: expected one of [text], [image], [audio] or [video], found {len(kinds)}")
    [kind] = kinds
    reject_extraneous(given[kind], _KINDS[kind], f"{where}/{kind}")
    seen, spent, types = (_text if kind == "text" else _media)(kind, given[kind], f"{where}/{kind}")
    shown = [{"embeddingType": one, "embedding": vector(f"{one}\n{seen}", size)} for one in types]
    return Reply({"embeddings": shown}, spent, 0)


def _text(kind: str, given: Body, where: str) -> tuple[str, int, tuple[str, ...]]:
    _enumerated(given, "truncationMode", _TRUNCATIONS, where)
    value, source = given.get("value"), given.get("source")
    if (value is None) is (source is None):
        raise malformed(f"{where}: expected one of [value] or [source]")
    if source is not None:
        return _source(source, where), _MEDIA_TOKENS, (kind.upper(),)
    if not value:
        raise malformed(f"{where}/value: expected minLength: 1, actual: 0")
    if len(value) > _MOST_CHARACTERS:
        raise malformed(f"{where}/value: expected maxLength: {_MOST_CHARACTERS}, actual: {len(value)}")
    return value, tokens(value), (kind.upper(),)


def _media(kind: str, given: Body, where: str) -> tuple[str, int, tuple[str, ...]]:
    _enumerated(given, "format", _FORMATS[kind], where)
    if given.get("source") is None:
        raise malformed(f"{where}: required key [source] not found")
    types: tuple[str, ...] = (kind.upper(),)
    if kind == "image":
        _enumerated(
            given, "detailLevel", ("STANDARD_IMAGE", "DOCUMENT_IMAGE"), where, default="STANDARD_IMAGE"
        )
    if kind == "video":
        mode = _enumerated(given, "embeddingMode", (_COMBINED, _SEPARATE), where)
        types = (_COMBINED,) if mode == _COMBINED else ("AUDIO", "VIDEO")
    encoded = given["source"].get("bytes")
    if kind == "image" and encoded is not None:
        try:
            seen, spent = image.seen(given["format"], encoded, most_bytes=_MOST_BYTES)
        except ValueError as error:
            raise malformed(f"{where}/source/bytes: {error}") from error
        return seen, spent, types
    return _source(given["source"], where), _MEDIA_TOKENS, types


def _source(given: Any, where: str) -> str:
    """What is given inline or by its place in S3, which is not read."""
    if (given.get("bytes") is None) is (given.get("s3Location") is None):
        raise malformed(f"{where}/source: expected one of [bytes] or [s3Location]")
    if given.get("bytes") is not None:
        if where.endswith("/text") or not given["bytes"]:
            raise malformed(f"{where}/source: required key [s3Location] not found")
        if len(given["bytes"]) > _MOST_BYTES:
            raise malformed(
                f"{where}/source/bytes: expected maxLength: {_MOST_BYTES}, actual: {len(given['bytes'])}"
            )
        return digest(given["bytes"])
    uri = str(given["s3Location"].get("uri") or "")
    if not uri.startswith("s3://"):
        raise malformed(f"{where}/source/s3Location: required key [uri] not found")
    return uri


def _enumerated(
    given: Body, name: str, values: tuple[str, ...], where: str, default: str | None = None
) -> str:
    value = given.get(name, default)
    if value is None:
        raise malformed(f"{where}: required key [{name}] not found")
    if value not in values:
        raise malformed(f"{where}/{name}: not a valid enum value")
    return str(value)
