"""Every family: the body that it sends, the output that it reads, the ids that it owns."""

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.models import BodyError, ModelRequest, family_of
from bedrock_pipeline.models.family import ModelResponse, ResponseShapeError
from bedrock_pipeline.models.model_ids import bare_model

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
COHERE = "cohere.embed-multilingual-v3"
QWEN = "qwen.qwen3-32b-v1:0"
COMMON = {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["END"]}
NOVA_ANSWER = {
    "output": {
        "message": {
            "content": [
                {"text": "o"},
                {"toolUse": {"toolUseId": "x", "name": "t", "input": {"n": 1}}},
                {"text": "k"},
            ]
        }
    },
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2},
}
NOVA_READ = ModelResponse("ok", None, "end_turn", 3, 2, ({"name": "t", "input": {"n": 1}},))


CALL = {"id": "x", "type": "function", "function": {"name": "t", "arguments": '{"n": 1}'}}


def chosen(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def reasoned(reasoning: str, text: str) -> ModelResponse:
    blocks = [{"type": "reasoning", "text": reasoning}, {"type": "text", "text": text}]
    return ModelResponse(text, None, "stop", 3, 2, content=blocks)


def called(value: Any) -> ModelResponse:
    return ModelResponse("", None, "stop", 3, 2, ({"name": "t", "input": value},))


@pytest.mark.parametrize(
    ("model", "system", "parameters", "body"),
    [
        (
            CLAUDE,
            "be brief",
            COMMON,
            {
                "anthropic_version": "bedrock-2023-05-31",
                **COMMON,
                "system": "be brief",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            },
        ),
        (TITAN, None, {"dimensions": 256}, {"dimensions": 256, "inputText": "hi"}),
        (
            NOVA,
            "be brief",
            {**COMMON, "toolConfig": {"tools": []}},
            {
                "schemaVersion": "messages-v1",
                "toolConfig": {"tools": []},
                "inferenceConfig": {
                    "maxTokens": 5,
                    "temperature": 0.5,
                    "topP": 0.9,
                    "stopSequences": ["END"],
                },
                "system": [{"text": "be brief"}],
                "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            },
        ),
        (
            LLAMA,
            None,
            {"max_tokens": 5, "temperature": 0.5},
            {"max_gen_len": 5, "temperature": 0.5, "prompt": "hi"},
        ),
        (
            MISTRAL,
            None,
            {"max_tokens": 5, "stop_sequences": ["END"]},
            {"max_tokens": 5, "stop": ["END"], "prompt": "hi"},
        ),
        (
            QWEN,
            "be brief",
            COMMON,
            {
                "max_tokens": 5,
                "temperature": 0.5,
                "top_p": 0.9,
                "stop": ["END"],
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "hi"},
                ],
            },
        ),
        (COHERE, None, {}, {"texts": ["hi"], "input_type": "search_document"}),
        (COHERE, None, {"input_type": "search_query"}, {"texts": ["hi"], "input_type": "search_query"}),
    ],
)
def test_a_body_is_what_the_model_accepts(
    model: str, system: str | None, parameters: dict[str, Any], body: dict[str, Any]
) -> None:
    assert family_of(model).body(ModelRequest("hi", system, parameters)) == body


def test_converse_is_chosen_by_the_job_and_not_by_the_model() -> None:
    family = family_of(CLAUDE, converse=True)
    assert family.body(ModelRequest("hi", None, {"inferenceConfig": {"topK": 1}, "max_tokens": 5})) == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"topK": 1, "maxTokens": 5},
    }
    assert family.answer(NOVA_ANSWER) == NOVA_READ


@pytest.mark.parametrize(
    ("model", "output", "answer"),
    [
        (
            CLAUDE,
            {
                "content": [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "ok"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "output_tokens": 2},
            },
            ModelResponse(
                "ok",
                None,
                "end_turn",
                3,
                2,
                content=[{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "ok"}],
            ),
        ),
        (
            CLAUDE,
            {"content": [{"type": "tool_use", "id": "x", "name": "t", "input": {"n": 1}}]},
            ModelResponse("", tool_use=({"name": "t", "input": {"n": 1}},)),
        ),
        (
            TITAN,
            {"embedding": [0.5, 1], "inputTextTokenCount": 3},
            ModelResponse(embedding=[0.5, 1], input_tokens=3, output_tokens=0),
        ),
        (
            TITAN,
            {"embeddingsByType": {"float": [0.5]}, "inputTextTokenCount": 3},
            ModelResponse(embedding=[0.5], input_tokens=3, output_tokens=0),
        ),
        (NOVA, NOVA_ANSWER, NOVA_READ),
        (
            LLAMA,
            {
                "generation": "ok",
                "prompt_token_count": 3,
                "generation_token_count": 2,
                "stop_reason": "stop",
            },
            ModelResponse("ok", None, "stop", 3, 2),
        ),
        (MISTRAL, {"outputs": [{"text": "ok", "stop_reason": "stop"}]}, ModelResponse("ok", None, "stop")),
        (
            MISTRAL,
            {
                "choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            },
            ModelResponse("ok", None, "stop", 3, 2),
        ),
        (QWEN, chosen({"content": "ok"}), ModelResponse("ok", None, "stop", 3, 2)),
        (
            QWEN,
            chosen({"content": [{"type": "text", "text": "ok"}]}),
            ModelResponse("ok", None, "stop", 3, 2),
        ),
        (QWEN, chosen({"content": "<reasoning>a</reasoning>b"}), reasoned("a", "b")),
        (QWEN, chosen({"content": "<reasoning>a"}), reasoned("a", "")),
        (QWEN, chosen({"content": "b", "reasoning_content": "a"}), reasoned("a", "b")),
        (QWEN, chosen({"content": "b", "reasoning": "a", "tool_calls": None}), reasoned("a", "b")),
        (QWEN, chosen({"content": None, "tool_calls": [CALL]}), called({"n": 1})),
        (
            QWEN,
            chosen({"tool_calls": [{"function": {"name": "t", "arguments": '{"n": '}}]}),
            called('{"n": '),
        ),
        (COHERE, {"embeddings": [[0.5]]}, ModelResponse(embedding=[0.5], output_tokens=0)),
        (COHERE, {"embeddings": {"float": [[0.5]]}}, ModelResponse(embedding=[0.5], output_tokens=0)),
        ("ai21.jamba", {"anything": 1}, ModelResponse()),
    ],
)
def test_an_answer_is_read(model: str, output: dict[str, Any], answer: ModelResponse) -> None:
    assert family_of(model).answer(output) == answer


@pytest.mark.parametrize(
    ("model_id", "family"),
    [
        (CLAUDE, "claude"),
        (f"us.{CLAUDE}", "claude"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}", "claude"),
        (f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/eu.{CLAUDE}", "claude"),
        (f"arn:aws:bedrock:us-east-1:111122223333:custom-model/{LLAMA}:128k/abcdefghijkl", "llama"),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abcdefghijkl", "raw"),
        ("arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abcdefghijkl", "raw"),
        (TITAN, "titan-embed"),
        ("amazon.titan-embed-image-v1", "titan-embed-image"),
        ("global.amazon.nova-2-lite-v1:0", "nova"),
        ("amazon.nova-canvas-v1:0", "raw"),
        ("us." + LLAMA, "llama"),
        (MISTRAL, "mistral"),
        (COHERE, "cohere-embed"),
        ("us.cohere.embed-v4:0", "cohere-embed-v4"),
        ("amazon.nova-2-multimodal-embeddings-v1:0", "nova-embed"),
        ("cohere.command-r-v1:0", "raw"),
        ("openai.gpt-oss-120b-1:0", "chat"),
        ("deepseek.v3.2", "chat"),
        ("us.deepseek.r1-v1:0", "raw"),
        ("nobody.knows", "raw"),
    ],
)
def test_ids_and_arns_resolve_to_their_family(model_id: str, family: str) -> None:
    assert family_of(model_id).name == family


def test_the_user_names_the_family_of_an_arn() -> None:
    arn = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abcdefghijkl"
    assert family_of(arn, name="claude").name == "claude"
    with pytest.raises(BodyError, match=r"no model family 'gpt'.*claude, titan-embed, nova"):
        family_of(arn, name="gpt")


def test_the_model_of_an_arn_is_found() -> None:
    assert bare_model(f"arn:aws:bedrock:eu-west-1:111122223333:inference-profile/eu.{CLAUDE}") == CLAUDE


@pytest.mark.parametrize(
    ("model", "system", "parameters", "said"),
    [
        ("nobody.knows", None, {}, "model_input"),
        (TITAN, "be brief", {}, "system"),
        (COHERE, "be brief", {}, "system"),
        (LLAMA, "be brief", {}, "system"),
        (MISTRAL, "be brief", {}, "system"),
        (TITAN, None, {"dimensions": 300}, r"300.*256, 512 or 1024"),
    ],
)
def test_a_request_that_a_family_does_not_support_is_an_error(
    model: str, system: str | None, parameters: dict[str, Any], said: str
) -> None:
    def ask(model_request: ModelRequest) -> None:
        family_of(model).body(model_request)
        family_of(model).check(model_request)

    with pytest.raises(BodyError, match=said):
        ask(ModelRequest("hi", system, parameters))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "text",
                    "usage",
                    "embedding",
                    "embeddings",
                    "float",
                    "output",
                    "message",
                    "generation",
                    "outputs",
                    "choices",
                    "tool_calls",
                    "function",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    output=st.dictionaries(st.text(max_size=3), _JSON, max_size=3) | _JSON.filter(lambda v: type(v) is dict)
)
@pytest.mark.parametrize("model", [CLAUDE, TITAN, NOVA, LLAMA, MISTRAL, COHERE, QWEN])
def test_an_answer_of_any_shape_is_read_or_is_an_error_of_its_own(model: str, output: Any) -> None:
    with suppress(ResponseShapeError):
        answer = family_of(model).answer(output)
        assert isinstance(answer.text, str | None)
        assert isinstance(answer.stop_reason, str | None)
        orjson.dumps(asdict(answer))
