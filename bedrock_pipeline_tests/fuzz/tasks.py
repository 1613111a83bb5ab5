"""Fuzzed: tasks of a queue, as any program gives them."""

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from bedrock_pipeline.models.body_rules import BodyRules
from bedrock_pipeline.models.registry import family_of
from bedrock_pipeline.queue.task import InvalidTaskError, encoded, task_of
from bedrock_pipeline.records.bounded_texts import LONGEST_REASON
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.fuzz.requests import CLAUDE, NOVA

_RULES: Final = [BodyRules(family_of(model), model) for model in (CLAUDE, NOVA)]


def task(data: bytes) -> None:
    """A task becomes one line of JSON that says the same, or is an error of its own whose message is bounded text."""
    if not data:
        return
    given = _given(data[1:])
    try:
        made = encoded(task_of(given), Limits(), _RULES[data[0] % len(_RULES)])
    except InvalidTaskError as error:
        said, made = str(error), None
    if made is None:
        assert len(said) < 2 * LONGEST_REASON, "a message grows with the task"
        assert said.isprintable()
        return
    [line] = made.line.splitlines()
    written = orjson.loads(line)
    assert written.keys() == {"recordId", "modelInput"}
    body = given.get("model_input", given.get("modelInput"))
    assert json.loads(line)["modelInput"] == body


def _given(data: bytes) -> Any:
    """What a program gives: the values of JSON, also those that JSON does not have, such as NaN and half a pair."""
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return data.decode("utf-8", "surrogateescape")


def seeds() -> Iterator[bytes]:
    """A task of each model, and others."""
    message = {"role": "user", "content": [{"text": "hunter 2"}]}
    nova = {"recordId": "a", "modelInput": {"messages": [message]}}
    claude = {
        "record_id": "a",
        "model_input": {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hunter 2"}],
        },
    }
    for number, one in enumerate((claude, nova)):
        yield bytes([number]) + json.dumps(one).encode()
    yield b"\x00" + b'{"record_id": "\\ud83d", "model_input": {"a": NaN, "hunter 2": 1}, "hunter 2": 2}'
