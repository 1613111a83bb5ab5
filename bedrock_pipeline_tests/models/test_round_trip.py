"""Each family's body is one that the emulated model takes, and its answer is read back whole."""

import json
from typing import Any

import pytest

from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.models import family_of

COMMON = {"max_tokens": 64, "temperature": 0.5, "top_p": 0.9}


@pytest.mark.parametrize(
    ("model", "converse", "system", "parameters", "usage"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", False, "be brief", COMMON, True),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", False, None, {"stop_sequences": ["END"]}, True),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
            False,
            "be brief",
            COMMON,
            True,
        ),
        ("eu.amazon.nova-pro-v1:0", False, None, {}, True),
        ("meta.llama3-1-70b-instruct-v1:0", False, None, COMMON, True),
        ("mistral.mistral-7b-instruct-v0:2", False, None, {**COMMON, "stop_sequences": ["END"]}, False),
        ("meta.llama3-1-70b-instruct-v1:0", True, "be brief", COMMON, True),
        (
            "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0/abcdefghijkl",
            False,
            None,
            {},
            True,
        ),
    ],
)
def test_text(
    model: str, converse: bool, system: str | None, parameters: dict[str, Any], usage: bool
) -> None:
    family, models = family_of(model, converse=converse), Models()
    body = json.loads(json.dumps(family.body("Say a word about \u2028 and ü.", system, parameters)))
    assert models.supports(model)
    reply = (models.converse if converse else models.answer)(model, body)
    answer = family.answer(json.loads(json.dumps(reply.body)))
    assert answer.text
    assert answer.text.endswith("and ü.")
    assert answer.stop_reason in ("end_turn", "stop")
    expected = (reply.input_tokens, reply.output_tokens) if usage else (None, None)
    assert (answer.input_tokens, answer.output_tokens) == expected
    cut = (models.converse if converse else models.answer)(
        model, family.body("word " * 50, None, {"max_tokens": 3})
    )
    assert cut.output_tokens == 3
    assert family.answer(cut.body).stop_reason in ("max_tokens", "length")


@pytest.mark.parametrize(
    ("model", "parameters", "size", "counted"),
    [
        ("amazon.titan-embed-text-v2:0", {}, 1024, True),
        ("amazon.titan-embed-text-v2:0", {"dimensions": 256, "normalize": False}, 256, True),
        ("cohere.embed-english-v3", {}, 1024, False),
        (
            "cohere.embed-english-v3",
            {"input_type": "search_query", "embedding_types": ["float"]},
            1024,
            False,
        ),
    ],
)
def test_vectors(model: str, parameters: dict[str, Any], size: int, counted: bool) -> None:
    family = family_of(model)
    reply = Models().answer(model, json.loads(json.dumps(family.body("some text", None, parameters))))
    answer = family.answer(json.loads(json.dumps(reply.body)))
    assert answer.embedding is not None
    assert len(answer.embedding) == size
    assert (answer.input_tokens == reply.input_tokens) is counted
