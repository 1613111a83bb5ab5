"""Prompts that a row brings itself, as text or as messages, in one form for every family.

The form is JSON: `{"text": …}`, or `{"system": …, "turns": [{"role", "content"}]}` whose contents are texts and the numbers
of the row's attachments.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import orjson

from bedrock_pipeline.prompts.template import is_blank
from bedrock_pipeline.records.bounded_texts import named

#: Takes an image or a document from a block, with its name if it has one, and gives its number.
Attach: TypeAlias = Callable[[Literal["image", "document"], Any, str | None], int]

_SYSTEM: Final = ("system", "developer")
_BODY: Final = "; give whole bodies in a column (model_input)"


class NotAConversationError(ValueError):
    """A value is neither a prompt nor messages; the message says why, without the value."""


def conversation_of(value: object, attach: Attach) -> str:
    """A prompt, a list of messages or a list of content blocks, as JSON.

    Raises:
        NotAConversationError: it is none of these, or is empty.
    """
    if isinstance(value, str):
        return _json({"text": value})
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise NotAConversationError(f"is {_kind(value)}, not text or a list of messages")
    messages = [_set(one) for one in value]
    if messages and not any("role" in message for message in messages):
        messages = [{"role": "user", "content": messages}]
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages, 1):
        role, content = _message(number, message, attach)
        if role in _SYSTEM:
            system += _texts(number, content)
        elif turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    if not turns:
        raise NotAConversationError("has no message of the user")
    if turns[0]["role"] != "user":
        raise NotAConversationError("begins with a message of the assistant")
    return _json({"system": "\n\n".join(system) or None, "turns": turns})


def _json(said: dict[str, Any]) -> str:
    try:
        return orjson.dumps(said).decode()
    except TypeError:  # half of a surrogate pair
        raise NotAConversationError("has text that UTF-8 cannot hold") from None


def messages_in(cell: object) -> object:
    """The messages in a cell: a list of structs, or JSON text of one.

    Raises:
        NotAConversationError: it is text, but not JSON.
    """
    if not isinstance(cell, str):
        return cell
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError:
        raise NotAConversationError("is text that is not JSON") from None
    if isinstance(value, str):
        raise NotAConversationError("is text, not a list of messages")
    return value


def _message(number: int, message: Mapping[str, Any], attach: Attach) -> tuple[str, list[Any]]:
    role = message.get("role")
    if role not in ("user", "assistant", *_SYSTEM):
        known = role if role in ("tool", "function", "model") else "another role"
        raise NotAConversationError(f"has a message {number} of {known}, not of system, user or assistant")
    if others := sorted(message.keys() - {"role", "content"}):
        raise NotAConversationError(f"has the member {named(others[0])} in message {number}{_BODY}")
    given = message.get("content")
    content = [given] if isinstance(given, str) else list(_blocks(number, given, attach))
    content = [one for one in content if not (isinstance(one, str) and is_blank(one))]
    if not content:
        raise NotAConversationError(f"has an empty message {number}")
    return role, content


def _blocks(number: int, content: object, attach: Attach) -> Iterator[Any]:
    """Texts, and numbers of attachments."""
    if content is None:
        raise NotAConversationError(f"has a message {number} without content")
    if not isinstance(content, list):
        raise NotAConversationError(
            f"has a message {number} whose content is neither text nor a list of blocks"
        )
    for given in content:
        if isinstance(given, str):
            yield given
            continue
        block = _set(given) if isinstance(given, Mapping) else {}
        kind = block.get("type") or next(
            (name for name in ("text", "image", "document") if name in block), None
        )
        if kind in ("text", "input_text") and isinstance(block.get("text"), str):
            yield block["text"]
        elif kind in ("image", "image_url"):
            yield attach("image", _data(block, "image_url", "image", "source"), None)
        elif kind == "document":
            name = block.get("title") or block.get("name")
            yield attach(
                "document", _data(block, "document", "source"), name if isinstance(name, str) else None
            )
        else:
            raise NotAConversationError(
                f"has a block in message {number} that is not text, image or document{_BODY}"
            )


def _data(block: Mapping[str, Any], *names: str) -> Any:
    """What a block holds, or leads to, in the forms of OpenAI, Anthropic and Hugging Face."""
    value = next((block[name] for name in names if name in block), None)
    while isinstance(value, Mapping):
        inner = next(
            (value[name] for name in ("url", "data", "bytes", "path", "source") if value.get(name)), None
        )
        if inner is None:
            return None
        value = inner
    return value


def _texts(number: int, content: Sequence[Any]) -> list[str]:
    if not all(isinstance(one, str) for one in content):
        raise NotAConversationError(f"has a system message {number} with an image or document")
    return list(content)


def _set(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without nulls, with which Arrow pads structs."""
    return {name: value for name, value in members.items() if value is not None}


def _kind(value: object) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"
