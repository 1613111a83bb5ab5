"""Content blocks of Converse's shape.

What belongs here: what a model sees of a message, as text and tokens, and which blocks the service rejects. Source:
"ContentBlock", Amazon Bedrock API reference; "Format and upload your batch inference data" for locations in S3.
"""

import hashlib
import itertools
from typing import Any, Final

from bedrock_pipeline.emulator.models import documents, image, rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import BodyError, digest, malformed

_VIDEOS: Final = ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp")
#: Emulated tokens of a video, or of an object in S3 that is not read.
_TOKENS = 1600


def message(given: Any, path: str, card: ModelCard) -> tuple[str, int]:
    """A message as text, and the tokens of what is not text.

    Raises:
        BodyError: the service rejects it.
    """
    if not isinstance(given, dict) or given.get("role") not in ("user", "assistant"):
        raise malformed(f"#/{path.replace('.', '/')}/role: not a valid enum value")
    content = given.get("content")
    if not isinstance(content, list):
        raise malformed(f"#/{path.replace('.', '/')}/content: expected a list of content blocks")
    if not content:
        raise BodyError(
            f"The content field in the Message object at {path} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    seen = [block(one, f"{path}.content.{number}", card) for number, one in enumerate(content)]
    if sum("image" in one for one in content) > image.MOST_IMAGES:
        raise malformed(f"#/{path.replace('.', '/')}/content: expected at most {image.MOST_IMAGES} images")
    return "\n".join(text for text, _ in seen), sum(size for _, size in seen)


def check_turns(messages: list[Any]) -> None:
    """Reject a conversation that the user does not begin, whose roles do not alternate, or whose assistant has media.

    Source: "Message", Amazon Bedrock API reference; the words are those that users show.

    Raises:
        BodyError: the service rejects it.
    """
    roles = [one.get("role") if isinstance(one, dict) else None for one in messages]
    if roles[0] == "assistant":
        raise BodyError(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(one is not None and one == other for one, other in itertools.pairwise(roles)):
        raise BodyError(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )
    for number, one in enumerate(messages):
        content = one.get("content") if isinstance(one, dict) else None
        for given in content if isinstance(content, list) else ():
            if (
                roles[number] == "assistant"
                and isinstance(given, dict)
                and {"image", "document"} & given.keys()
            ):
                raise BodyError(
                    f"Images and documents are only supported for the user role: messages.{number}."
                )


def block(given: Any, path: str, card: ModelCard) -> tuple[str, int]:
    """A content block as text, and the tokens of what is not text.

    Raises:
        BodyError: the service rejects it.
    """
    where = f"#/{path.replace('.', '/')}"
    if not isinstance(given, dict):
        raise malformed(f"{where}: expected a content block")
    if "text" in given:
        if not str(given["text"] or "").strip():
            raise BodyError(
                f"The text field in the ContentBlock object at {path} is blank. "
                "Add text to the text field, and try again."
            )
        return str(given["text"]), 0
    kind = next((one for one in ("image", "video", "document") if one in given), None)
    if kind is None:
        return "", 0
    rules.check_input_kind(card, kind)
    return _media(kind, given[kind], where, card)


def _media(kind: str, given: Any, where: str, card: ModelCard) -> tuple[str, int]:
    form, source = (given or {}).get("format"), (given or {}).get("source") or {}
    formats = {"image": image.FORMATS, "video": _VIDEOS}.get(kind)
    if formats and form not in formats:
        raise malformed(f"{where}/{kind}/format: not a valid enum value")
    if "s3Location" in source:
        place = str(source["s3Location"])  # it is not read: the model sees where it is
        return f"[{kind} {hashlib.sha256(place.encode()).hexdigest()[:8]}]", _TOKENS
    if kind == "document":
        try:
            return documents.of_converse(given, media_apart=card.family == "nova")
        except ValueError as error:
            raise BodyError(str(error)) from error
    if kind == "video":
        encoded = str(source.get("bytes") or "")
        if not encoded:
            raise malformed(f"{where}/{kind}/source: required key [bytes] not found")
        return f"[{form} {digest(encoded)[:8]}]", _TOKENS
    try:
        return image.seen(str(form), source.get("bytes"))
    except ValueError as error:
        raise malformed(f"{where}/image/source/bytes: {error}") from error
