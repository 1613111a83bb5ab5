"""Each family's body is one that the emulated model accepts, and its response is read back in full."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from bedrock_pipeline.emulator.behaviour import Behaviour, ModelFeatures
from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.emulator.models.structured import spoil
from bedrock_pipeline.models import AnswerFormat, BodyError, ModelRequest, family_of
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema

COMMON = {"max_tokens": 400, "temperature": 0.5, "top_p": 0.9}
STOP = {**COMMON, "stop_sequences": ["END"]}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"picture" * 500).decode()
SCHEMA = AnswerSchema(
    {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "minLength": 5},
            "number": {"type": "integer", "minimum": 0},
            "unit": {"$ref": "#/$defs/unit"},
        },
        "required": ["reasoning", "number"],
        "$defs": {"unit": {"enum": ["USD", "eggs"]}},
    }
)


@dataclass(frozen=True)
class Case:
    """A family under one of its model's names, and what it supports besides text.

    Attributes:
        counts_input: whether its outputs have token counts.
        size: length of its vectors; 0 where answers are text.
    """

    model: str
    takes: set[str] = field(default_factory=set)
    parameters: dict[str, Any] = field(default_factory=lambda: COMMON)
    converse: bool = False
    family: str | None = None
    counts_input: bool = True
    size: int = 0


#: Which model of a family has what is in test_every_model.
MODELS = Models(behaviour=Behaviour(model_features=ModelFeatures.ANY))
CONVERSE = {"system", "images", "schema"}
ALL = {"system", "images", "tool", "schema"}
ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"
TYPED = {"input_type": "search_query", "embedding_types": ["float"]}
CASES = {
    "claude": Case("anthropic.claude-3-haiku-20240307-v1:0", ALL, STOP),
    "claude, profile": Case("us.anthropic.claude-sonnet-4-20250514-v1:0", ALL, {}),
    "claude, converse": Case("anthropic.claude-3-haiku-20240307-v1:0", CONVERSE, STOP, converse=True),
    "nova": Case("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", ALL - {"schema"}),
    "nova, custom": Case(f"{ACCOUNT}:custom-model/amazon.nova-lite-v1:0/abcdefghijkl", ALL - {"schema"}, {}),
    "nova, named": Case("eu.amazon.nova-pro-v1:0", ALL - {"schema"}, STOP, family="nova"),
    "llama": Case("meta.llama3-1-70b-instruct-v1:0"),
    "llama, converse": Case("meta.llama3-1-70b-instruct-v1:0", CONVERSE, converse=True),
    "mistral": Case("mistral.mistral-7b-instruct-v0:2", parameters=STOP, counts_input=False),
    "chat": Case("qwen.qwen3-vl-235b-a22b", ALL, STOP),
    "chat, with reasoning": Case("openai.gpt-oss-120b-1:0", ALL),
    "chat, converse": Case("deepseek.v3.2", CONVERSE, converse=True),
    "titan": Case(TITAN, parameters={}, size=1024),
    "titan, small": Case(TITAN, parameters={"dimensions": 256, "normalize": False}, size=256),
    "cohere": Case(COHERE, parameters={}, counts_input=False, size=1024),
    "cohere, typed": Case(COHERE, parameters=TYPED, counts_input=False, size=1024),
}


@pytest.mark.parametrize("asked", ["text", "system", "images", "tool", "schema"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_there_and_back(case: Case, asked: str) -> None:
    family, models = family_of(case.model, converse=case.converse, name=case.family), MODELS
    model_request = ModelRequest(
        "Say a word about \u2028 and ü.",
        "be brief" if asked == "system" else None,
        case.parameters,
        ("image",) if asked == "images" else (),
        AnswerFormat(SCHEMA.schema, asked) if asked in ("tool", "schema") else None,  # type: ignore[arg-type]
    )
    if asked != "text" and asked not in case.takes:
        with pytest.raises(BodyError, match=r"does not support|not both"):
            family.check(model_request)
        return
    family.check(model_request)
    if asked == "images":
        model_request = ModelRequest(
            model_request.prompt, parameters=case.parameters, images=(family.image("png", PNG),) * 2
        )

    def ask(model_request: ModelRequest) -> tuple[Any, Any]:
        body = json.loads(json.dumps(family.body(model_request)))
        reply = (models.converse if case.converse else models.answer)(case.model, body)
        return reply, family.answer(json.loads(json.dumps(reply.body)))

    assert models.supports(case.model)
    reply, answer = ask(model_request)
    counts = (
        reply.input_tokens if case.counts_input else None,
        reply.output_tokens if case.counts_input else None,
    )
    if case.size:
        assert (answer.text, len(answer.embedding)) == (None, case.size)
        assert (answer.input_tokens, answer.output_tokens) == (counts[0], 0)
        return
    assert (answer.input_tokens, answer.output_tokens) == counts
    plain, _ = ask(ModelRequest(model_request.prompt, parameters=case.parameters))
    if asked in ("tool", "schema"):
        fields, _ = SCHEMA.read(answer)
        assert fields["number"] >= 0
        assert answer.stop_reason in (("tool_use", "tool_calls") if asked == "tool" else ("end_turn", "stop"))
        assert bool(answer.tool_use) is (asked == "tool")
        if answer.content is None:  # `spoil` does not find the JSON behind reasoning
            spoil(reply.body)
            with pytest.raises(AnswerInvalidError):
                SCHEMA.read(family.answer(reply.body))
    else:
        assert answer.text.endswith("and ü.")
        assert answer.stop_reason in ("end_turn", "stop")
    if asked == "images":
        assert answer.text.count("[image " if family.name == "chat" else "[png ") == 2
    assert (reply.input_tokens > plain.input_tokens) is (asked in ("system", "images", "tool"))
    cut, short = ask(ModelRequest("word " * 50, None, {"max_tokens": 3}, answer=model_request.answer))
    assert (cut.output_tokens, short.stop_reason in ("max_tokens", "length")) == (3, True)


def test_all_blocks_of_a_thinking_answer_are_kept() -> None:
    family = family_of(CASES["claude"].model)
    parameters = {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    reply = MODELS.answer(
        CASES["claude"].model, family.body(ModelRequest("Say a word", parameters=parameters))
    )
    answer = family.answer(reply.body)
    assert answer.text
    assert answer.content is not None
    assert [block["type"] for block in answer.content] == ["thinking", "text"]
    assert answer.output_tokens == reply.output_tokens
