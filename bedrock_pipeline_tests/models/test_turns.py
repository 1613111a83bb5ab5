"""Who says what in a body, cache points, a message that the model continues, and several choices in one response.

Sources: Anthropic, "Messages", "Vision", "Prefill Claude's response"; AWS, "Message" of Converse, "Complete request schema" of
Nova; OpenAI, "Chat completions"; and errors that users show.
"""

from typing import Any

import pytest

from bedrock_pipeline.emulator.models import BodyError, Models
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.models.test_body_rules import (
    HAIKU3,
    NOVA,
    QWEN,
    body_of,
    check_row,
    claude,
    converse,
    nova_photo,
    paper,
    photo,
)


def claude_said(*turns: tuple[str, str]) -> dict[str, Any]:
    return claude() | {"messages": [{"role": role, "content": text} for role, text in turns]}


def turns(*said: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": [{"text": text}]} for role, text in said]}


USER = {"role": "user", "content": "a"}
#: Cache points, which jobs do not have.
CACHED: list[tuple[str, str, dict[str, Any], str | None]] = [
    (
        HAIKU3,
        "InvokeModel",
        claude("a", system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
        "cache",
    ),
    (
        HAIKU3,
        "Converse",
        converse({"text": "a"}, system=[{"text": "x"}, {"cachePoint": {"type": "default"}}]),
        "cachePoint",
    ),
]
#: Who says what, and Claude's continuation of a message.
TURNS: list[tuple[str, str, dict[str, Any], str | None]] = [
    (HAIKU3, "InvokeModel", claude_said(("assistant", "a"), ("user", "b")), "message 1 is not the user's"),
    (HAIKU3, "InvokeModel", claude_said(("user", "a"), ("user", "b")), None),
    (HAIKU3, "InvokeModel", claude_said(("system", "a")), "the role of message 1 is not user or assistant"),
    (HAIKU3, "InvokeModel", claude("a", [photo(8)]), "message 2 has an image and is the assistant's"),
    (HAIKU3, "InvokeModel", claude("a", [paper("words")]), "message 2 has a document and is the assistant's"),
    (HAIKU3, "InvokeModel", claude("a", "It is "), "ends in white space"),
    (HAIKU3, "InvokeModel", claude("a", [{"type": "text", "text": "It is\n"}]), "ends in white space"),
    (HAIKU3, "InvokeModel", claude("a", "It is ", "b"), None),
    (HAIKU3, "Converse", turns(("user", "a"), ("assistant", "It is ")), "ends in white space"),
    (NOVA, "Converse", turns(("user", "a"), ("assistant", "It is ")), None),
    (NOVA, "Converse", turns(("assistant", "a")), "message 1 is not the user's"),
    (NOVA, "Converse", turns(("user", "a"), ("user", "b")), "messages 1 and 2 have the same role"),
    (NOVA, "InvokeModel", turns(("user", "a"), ("user", "b")), "messages 1 and 2 have the same role"),
    (NOVA, "Converse", turns(("user", "a"), ("tool", "b")), "the role of message 2 is not user or assistant"),
    (
        NOVA,
        "InvokeModel",
        {"messages": [*turns(("user", "a"))["messages"], {"role": "assistant", "content": [nova_photo()]}]},
        "message 2 has an image and is the assistant's",
    ),
    (QWEN, "InvokeModel", {"messages": [{"role": "bot", "content": "a"}]}, "the role of message 1 is not"),
    (QWEN, "InvokeModel", {"messages": [{"role": "developer", "content": "a"}, USER]}, None),
]


@pytest.mark.parametrize(("model", "invocation", "body", "said"), CACHED + TURNS)
def test_the_emulator_rejects_in_a_job_what_is_rejected_before_it(
    model: str, invocation: str, body: dict[str, Any], said: str | None
) -> None:
    models = Models()
    answer = models.converse if invocation == "Converse" else models.answer
    if said is None:
        answer(model, body, batch=True)
        return
    with pytest.raises(BodyError):
        answer(model, body, batch=True)


@pytest.mark.parametrize(("model", "invocation", "body", "said"), CACHED + TURNS)
def test_what_is_said_that_the_model_rejects_rejects_the_row(
    model: str, invocation: str, body: dict[str, Any], said: str | None
) -> None:
    check_row(model, invocation, body, said)


def test_several_choices_are_rejected_where_the_pipeline_is_defined_and_else_the_first_is_read() -> None:
    """All choices are paid for, and a record has one response; the others stand in `raw_output`."""
    given = {"name": "p", "model_id": QWEN, "prompt": "a", "parameters": {"n": 2}}
    with pytest.raises(ConfigurationError, match="n is not 1, since a record has one response"):
        Pipeline.model_validate(given)
    one = Pipeline.model_validate({**given, "check_model": False})
    reply = Models().answer(QWEN, body_of(one), batch=True)
    first, second = (choice["message"]["content"] for choice in reply.body["choices"])
    assert first != second
    response = one.model_family.answer(reply.body)
    assert (response.text, response.output_tokens) == (first, reply.output_tokens)
