"""What each model takes and rejects: every line is a request that a user of the real service sent, or a documented rule."""

import base64
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bedrock_pipeline.emulator.behaviour import Behaviour, ModelFeatures
from bedrock_pipeline.emulator.models import BodyError, Models, Reply, load_models, parse_model_id
from bedrock_pipeline.emulator.models.catalog import ModelCard, catalog
from bedrock_pipeline.emulator.models.structured import rejection

STRICT = Models(behaviour=Behaviour(model_features=ModelFeatures.LISTED))
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"picture" * 50).decode()
OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CLOSED = {**OBJECT, "additionalProperties": False}

HAIKU_3, HAIKU_35 = "anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-5-haiku-20241022-v1:0"
HAIKU_45, OPUS_46 = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-opus-4-6-v1"
OPUS_47, OPUS_5, OPUS_55 = (f"us.anthropic.claude-opus-{version}" for version in ("4-7", "5", "5-5"))
NOVA, NOVA_2 = "amazon.nova-lite-v1:0", "us.amazon.nova-2-lite-v1:0"
TITAN_1, TITAN = "amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0"
TITAN_IMAGE = "amazon.titan-embed-image-v1"
NOVA_EMBED = "amazon.nova-2-multimodal-embeddings-v1:0"
COHERE, COHERE_4 = "cohere.embed-english-v3", "cohere.embed-v4:0"
LARGE_3, GPT_OSS = "mistral.mistral-large-3-675b-instruct", "openai.gpt-oss-20b-1:0"
MISTRAL_7B = "mistral.mistral-7b-instruct-v0:2"


def claude(**changes: Any) -> dict[str, Any]:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 4000, **user("say a word")}
    return {**body, **changes}


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def blocks(*given: dict[str, Any]) -> dict[str, Any]:
    return user(list(given))


def text(said: str) -> dict[str, Any]:
    return blocks({"text": said})


def tool(choice: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"name": "t", "input_schema": OBJECT}], "tool_choice": choice}


def schema(given: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": given}}}


def converse(**changes: Any) -> dict[str, Any]:
    return {**text("say a word"), **changes}


def nova_embed(**parameters: Any) -> dict[str, Any]:
    given = {"embeddingPurpose": "GENERIC_INDEX", **parameters}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": given}


def ask(model: str, body: dict[str, Any], models: Models = STRICT, *, batch: bool = True) -> Reply | str:
    """The reply, or the error's text; a body of Converse's shape for a model with another is Converse's."""
    native = parse_model_id(model).name.startswith("amazon.nova") and "converse" not in body
    shaped = "schemaVersion" not in body and "anthropic_version" not in body and "messages" in body
    by_converse = shaped and not native and isinstance(body["messages"][0].get("content"), list)
    body = {name: value for name, value in body.items() if name != "converse"}
    try:
        return (models.converse if by_converse else models.answer)(model, body, batch=batch)
    except BodyError as error:
        return str(error)


TAKEN = None
FORCED: dict[str, Any] = {"type": "tool", "name": "t"}
ENABLED, ADAPTIVE = {"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}
PREFILL = {"messages": [*user("a")["messages"], {"role": "assistant", "content": "{"}]}
CACHED = blocks({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}})
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    # sampling
    (HAIKU_3, claude(temperature=0.5, top_p=0.9), TAKEN),
    (HAIKU_45, claude(temperature=0.5, top_p=0.9), "`temperature` and `top_p` cannot both be specified"),
    (OPUS_46, claude(temperature=0.5, top_p=0.9), "`temperature` and `top_p` cannot both be specified"),
    (HAIKU_45, claude(temperature=0.5), TAKEN),
    (OPUS_47, claude(temperature=0.5), "`temperature` is deprecated for this model."),
    (OPUS_5, claude(top_p=0.5), "`top_p` is deprecated for this model."),
    (OPUS_5, claude(temperature=1), TAKEN),
    (HAIKU_45, converse(inferenceConfig={"temperature": 0.5, "topP": 0.9}), "The model returned the following"),
    # the most tokens
    (HAIKU_3, claude(max_tokens=4097), "max_tokens: 4097 > 4096, which is the maximum allowed number of output"),
    (HAIKU_45, claude(max_tokens=64_001), "tokens for claude-haiku-4-5-20251001"),
    (HAIKU_45, converse(inferenceConfig={"maxTokens": 64_001}), "exceeds the model limit of 64000"),
    (NOVA, {**text("a"), "inferenceConfig": {"maxTokens": 10_001}}, "exceeds the model limit of 10000"),
    ("us.meta.llama4-scout-17b-instruct-v1:0", {"prompt": "a", "max_gen_len": 8193}, "8193 is not less"),
    (GPT_OSS, {**user("a"), "max_tokens": 128_001}, "supports at most 128000 completion tokens"),
    # thinking
    (HAIKU_3, claude(thinking=ENABLED), "'claude-3-haiku-20240307' does not support thinking."),
    (HAIKU_45, claude(thinking=ENABLED), TAKEN),
    (HAIKU_45, claude(thinking=ADAPTIVE), "adaptive thinking is not supported on this model"),
    (HAIKU_45, claude(thinking={**ENABLED, "budget_tokens": 4000}), "must be greater than `thinking.budget_tokens`"),
    (HAIKU_45, claude(thinking=ENABLED, temperature=0.5), "may only be set to 1 when thinking is enabled"),
    (OPUS_46, claude(thinking=ADAPTIVE), TAKEN),
    (OPUS_47, claude(thinking=ENABLED), '"thinking.type.enabled" is not supported for this model.'),
    (OPUS_5, claude(thinking={"type": "disabled"}), TAKEN),
    (OPUS_55, claude(thinking={"type": "disabled"}), '"thinking.type.disabled" is not supported'),
    # tools
    (HAIKU_45, claude(**tool(FORCED)), TAKEN),
    (HAIKU_45, claude(**tool(FORCED), thinking=ENABLED), "Thinking may not be enabled when tool_choice forces"),
    (OPUS_55, claude(**tool(FORCED)), 'tool_choice: type "tool" and "any" are not supported for this model.'),
    (OPUS_55, claude(**tool({"type": "any"})), 'tool_choice: type "tool" and "any" are not supported'),
    (OPUS_55, claude(**tool({"type": "auto"})), TAKEN),
    ("us.anthropic.claude-fable-5-1", claude(**tool(FORCED)), "are not supported for this model."),
    # prefill
    (HAIKU_45, claude(**PREFILL), TAKEN),
    (OPUS_46, claude(**PREFILL), "This model does not support assistant message prefill."),
    # structured output
    (HAIKU_3, claude(**schema(CLOSED)), "output_config.format: Extra inputs are not permitted"),
    (HAIKU_45, claude(**schema(CLOSED)), TAKEN),
    (HAIKU_45, claude(**schema({"oneOf": [CLOSED]})), "format.schema: Schema type 'oneOf' is not supported"),
    # text, blocks and members
    (HAIKU_45, claude(**user("")), "messages.0: user messages must have non-empty content"),
    (HAIKU_45, claude(**blocks({"type": "text", "text": ""})), "text content blocks must be non-empty"),
    (HAIKU_45, claude(**user(" \n")), "text content blocks must contain non-whitespace text"),
    (HAIKU_45, text(" "), "The text field in the ContentBlock object at messages.0.content.0 is blank."),
    (NOVA, text(""), "The text field in the ContentBlock object at messages.0.content.0 is blank."),
    (HAIKU_45, claude(**blocks({"type": "poem"})), "Input tag 'poem' found using 'type' does not match"),
    (HAIKU_45, claude(**blocks({"type": "text", "text": "a", "x": 1})), "messages.0.content.0.text.x: Extra inputs"),
    (HAIKU_45, claude(messages=[{"role": "user", "content": "a", "name": "b"}]), "messages.0.name: Extra inputs"),
    (HAIKU_45, claude(anthropic_version="2023-06-01"), "anthropic_version: Input should be 'bedrock-2023-05-31'"),
    (HAIKU_45, claude(modelId=HAIKU_45), "modelId: Extra inputs are not permitted"),
    (HAIKU_45, claude(**user("word " * 200_000)), "prompt is too long: 250001 tokens > 200000 maximum"),
    (HAIKU_35, claude(**blocks({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})),
     "'claude-3-5-haiku-20241022' does not support image input."),
    # prompt caching
    (HAIKU_45, claude(**CACHED), "You invoked an unsupported model or your request did not allow prompt caching."),
    (HAIKU_45, blocks({"text": "a"}, {"cachePoint": {"type": "default"}}), "did not allow prompt caching."),
    # Converse: members that it does not have, at any depth
    (HAIKU_45, converse(inferenceConfig={"topK": 5}), "#/inferenceConfig: extraneous key [topK] is not permitted"),
    (HAIKU_45, converse(top_k=5), "#: extraneous key [top_k] is not permitted"),
    (HAIKU_45, converse(modelId=HAIKU_45), "#: extraneous key [modelId] is not permitted"),
    (HAIKU_45, blocks({"text": "a", "type": "text"}), "#/messages/0/content/0: extraneous key [type]"),
    # Nova
    (NOVA, {**text("a"), "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, "[reasoningConfig]"),
    (NOVA_2, {**text("a"), "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, TAKEN),
    (NOVA_2, {**text("a"), "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "most"}}, "not a valid enum"),
    (NOVA, {**text("a"), "top_k": 5}, "#: extraneous key [top_k] is not permitted"),
    (NOVA, {**text("a"), "inferenceConfig": {"topK": 5}}, TAKEN),
    (NOVA, blocks({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/in/a.png"}}}}), TAKEN),
    (NOVA, blocks({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/in/a.mp4"}}}}), TAKEN),
    (NOVA, blocks({"video": {"format": "mp4", "source": {"s3Location": {"uri": "a.mp4"}}}}), "regular expression pattern: s3://"),
    ("amazon.nova-micro-v1:0", blocks({"image": {"format": "png", "source": {"bytes": PNG}}}), "image input"),
    # Mistral and chat completions
    (MISTRAL_7B, {"prompt": "a"}, TAKEN),
    (MISTRAL_7B, user("a"), "extraneous key [messages] is not permitted"),
    ("mistral.mistral-large-2402-v1:0", {"prompt": "a"}, TAKEN),
    ("mistral.mistral-large-2402-v1:0", user("a"), TAKEN),
    (LARGE_3, user("a"), TAKEN),
    (LARGE_3, {"prompt": "a"}, "prompt: Extra inputs are not permitted"),
    (GPT_OSS, {**user("a"), "prompt": "a"}, "prompt: Extra inputs are not permitted"),
    (GPT_OSS, {"messages": [{"role": "poet", "content": "a"}]}, "messages.0.role: Input should be one of"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "said"), CASES)
def test_a_body_is_taken_or_rejected(model: str, body: dict[str, Any], said: str | None) -> None:
    check(model, body, said)


def check(model: str, body: dict[str, Any], said: str | None) -> None:
    reply = ask(model, body)
    if said is None:
        assert isinstance(reply, Reply), reply
    else:
        assert isinstance(reply, str)
        assert said in reply


@pytest.mark.parametrize("card", catalog().cards.values(), ids=catalog().cards)
def test_each_model_of_the_catalog_answers_its_own_body_and_converse(card: ModelCard) -> None:
    model = card.id if card.bare else f"us.{card.id}"
    bodies: dict[str, dict[str, Any]] = {
        "claude": claude(),
        "nova": text("say a word"),
        "llama": {"prompt": "say a word"},
        "mistral": {"prompt": "say a word"},
        "chat": user("say a word"),
        "titan_embed": {"inputText": "say a word"},
        "nova_embed": nova_embed(text={"truncationMode": "END", "value": "say a word"}),
        "cohere_embed": {"texts": ["say a word"], "input_type": "search_query"},
    }
    reply = STRICT.answer(model, bodies[card.family])
    assert reply.input_tokens > 0
    assert (reply.output_tokens > 0) is not bool(card.vectors)
    if card.vectors:
        vector = reply.body.get("embedding") or reply.body["embeddings"][0]
        assert len(vector["embedding"] if isinstance(vector, dict) else vector) == card.vectors[0]
    if card.converse:
        block = STRICT.converse(model, text("say a word")).body["output"]["message"]["content"][-1]
        assert block["text"].endswith("say a word")


SPEC = {"toolSpec": {"name": "t", "inputSchema": {"json": OBJECT}}}
IMAGE = {"image": {"format": "png", "source": {"bytes": PNG}}}
VIDEO = {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/in/a.mp4"}}}}
BASE64 = {"type": "base64", "media_type": "image/png", "data": PNG}
PDF = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()}
WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "claude": (HAIKU_45, claude(
        system=[{"type": "text", "text": "s"}], thinking={"type": "disabled"}, temperature=0.5, **tool(FORCED),
        **schema(CLOSED)) | blocks({"type": "text", "text": "a"}, {"type": "image", "source": BASE64})),
    "claude that thinks": (HAIKU_45, claude(thinking=ENABLED)),
    "converse": (NOVA, converse(
        system=[{"text": "s"}], inferenceConfig={"maxTokens": 50, "temperature": 0.5, "stopSequences": ["a"]},
        toolConfig={"tools": [SPEC], "toolChoice": {"tool": {"name": "t"}}},
        additionalModelRequestFields={"thinking": {"type": "disabled"}}) | blocks({"text": "a"}, IMAGE, VIDEO)),
    "converse with a schema": (HAIKU_45, converse(outputConfig={"textFormat": {
        "type": "json_schema", "structure": {"jsonSchema": {"name": "a", "schema": orjson.dumps(CLOSED).decode()}}}})),
    "nova": (NOVA_2, {
        **blocks({"text": "a"}, IMAGE), "schemaVersion": "messages-v1", "system": [{"text": "s"}],
        "inferenceConfig": {"maxTokens": 50}, "toolConfig": {"tools": [SPEC], "toolChoice": {"auto": {}}},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
    "llama": ("us.meta.llama4-scout-17b-instruct-v1:0", {"prompt": "a", "max_gen_len": 5, "temperature": 0.5}),
    "mistral": (MISTRAL_7B, {"prompt": "a", "max_tokens": 5, "stop": ["a"]}),
    "chat": (LARGE_3, {
        **user([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}]),
        "tools": [{"type": "function", "function": {"name": "t", "parameters": OBJECT}}], "max_tokens": 50,
        "tool_choice": {"type": "function", "function": {"name": "t"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": CLOSED}}}),
    "titan": (TITAN, {"inputText": "a", "dimensions": 256, "normalize": True, "embeddingTypes": ["float"]}),
    "titan's images": (TITAN_IMAGE, {"inputText": "a", "inputImage": PNG, "embeddingConfig": {"outputEmbeddingLength": 256}}),
    "nova's embeddings": (NOVA_EMBED, nova_embed(
        embeddingDimension=256, video={"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a.mp4"}},
                                       "embeddingMode": "AUDIO_VIDEO_SEPARATE"})),
    "documents": (HAIKU_45, claude(**blocks({"type": "document", "source": PDF}, {"type": "text", "text": "a"}))),
    "converse with a document": (NOVA, blocks({"text": "a"}, {"document": {
        "name": "a", "format": "pdf", "source": {"bytes": PDF["data"]}}})),
    "cohere": (COHERE_4, {
        "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"], "output_dimension": 256}),
    "cohere's mixed": (COHERE_4, {"inputs": [{"content": [{"type": "text", "text": "a"}]}], "input_type": "search_query"}),
}  # fmt: skip
WRONG: tuple[Any, ...] = (5, "x", [], {}, None, True, [5], {"x": 5}, [[]], [{}], 1.5)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, one in members:
        yield (*path, name)
        yield from places(one, (*path, name))


@pytest.mark.parametrize("name", WHOLE)
def test_a_member_of_another_type_is_an_error_of_the_record_and_not_of_the_emulator(name: str) -> None:
    model, body = WHOLE[name]
    answer = STRICT.converse if name.startswith("converse") else STRICT.answer
    batch = "toolConfig" not in body  # which jobs do not have
    assert answer(model, body, batch=batch).body
    rejected = 0
    for path in places(body):
        for value in WRONG:
            broken = copy.deepcopy(body)
            place: Any = broken
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            try:
                answer(model, broken, batch=batch)
            except BodyError:
                rejected += 1
    assert rejected > 5


def test_a_request_may_cache_its_prompt_on_demand_but_not_in_a_job() -> None:
    assert isinstance(ask(HAIKU_45, claude(**CACHED), batch=False), Reply)
    with pytest.raises(BodyError) as caught:
        STRICT.answer(HAIKU_45, claude(**CACHED), batch=True)
    assert caught.value.code == 403


@pytest.mark.parametrize(
    ("model", "on"), [(HAIKU_45, False), (OPUS_46, False), (OPUS_5, True), (OPUS_55, True)]
)
def test_thinking_that_is_on_by_default_is_taken_from_the_tokens_of_the_answer(model: str, on: bool) -> None:
    replies = [STRICT.answer(model, claude(max_tokens=1024, **user(f"question {n}"))) for n in range(40)]
    kinds = [[block["type"] for block in reply.body["content"]] for reply in replies]
    if not on:
        assert all(kind == ["text"] for kind in kinds)
        return
    stops = {tuple(kind): reply.body["stop_reason"] for kind, reply in zip(kinds, replies, strict=True)}
    assert stops == {("thinking", "text"): "end_turn", ("thinking",): "max_tokens"}, (
        "some have no tokens left"
    )
    assert max(reply.output_tokens for reply in replies) == 1024
    converse_content = STRICT.converse(model, text("a")).body["output"]["message"]["content"]
    assert list(converse_content[0]) == ["reasoningContent"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (CLOSED, None),
        (OBJECT, "must be explicitly set to false"),
        ({"type": "object"}, "must be explicitly set to false"),
        ({**OBJECT, "additionalProperties": True}, "'additionalProperties: true' is not supported"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "'additionalProperties: object'"),
        ({"oneOf": [CLOSED, {"type": "null"}]}, "Schema type 'oneOf' is not supported"),
        ({"anyOf": [CLOSED, {"type": "null"}]}, None),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "'prefixItems' is not supported"),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "'minItems' values other than 0 or 1",
        ),
        ({"type": "string", "format": "email"}, None),
        ({"type": "string", "format": "regex"}, "format 'regex' is not supported"),
        ({"type": "string", "maxLength": 5}, "'maxLength' is not supported"),
        ({"type": "integer", "minimum": 0}, "'minimum' is not supported"),
        ({"const": {"minimum": 5, "type": "integer"}}, None),
        ({**CLOSED, "properties": {"format": {"type": "string"}, "oneOf": {"type": "string"}}}, None),
        ({**CLOSED, "properties": {"properties": CLOSED}}, None),
    ],
)
def test_schemas_that_structured_output_takes(given: dict[str, Any], why: str | None) -> None:
    found = rejection(given)
    assert (found is None) if why is None else (found is not None and why in found)


@pytest.mark.parametrize(
    ("model", "body", "path", "expected"),
    [
        (HAIKU_45, claude(), ("model",), "claude-haiku-4-5-20251001"),
        (HAIKU_45, claude(), ("usage", "cache_read_input_tokens"), 0),
        (NOVA, text("a"), ("usage", "cacheReadInputTokenCount"), 0),
        (TITAN, {"inputText": "a", "embeddingTypes": ["binary"]}, ("embedding",), None),
        (TITAN_1, {"inputText": "a"}, ("embeddingsByType",), None),
        (GPT_OSS, user("a b"), ("choices", 0, "finish_reason"), "stop"),
        (GPT_OSS, {**user("a b"), "max_tokens": 5}, ("choices", 0, "finish_reason"), "length"),
        (LARGE_3, {**user("a b"), "tools": [{"type": "function", "function": {"name": "t", "parameters": OBJECT}}],
                   "tool_choice": "any"}, ("choices", 0, "message", "tool_calls", 0, "function", "name"), "t"),
    ],
)  # fmt: skip
def test_members_of_answers(model: str, body: dict[str, Any], path: tuple[Any, ...], expected: Any) -> None:
    found: Any = STRICT.answer(model, body).body
    for step in path:
        found = found[step] if isinstance(step, int) else found.get(step)
    assert found == expected


def test_structured_answers_of_chat_models_keep_their_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": CLOSED}}
    said = STRICT.answer(LARGE_3, {**user("a"), "response_format": form}).body["choices"][0]["message"]
    assert isinstance(orjson.loads(said["content"])["n"], int)
    reasoned = STRICT.answer(GPT_OSS, user("a")).body["choices"][0]["message"]["content"]
    assert reasoned.startswith("<reasoning>")


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ("{'usage': {'input_tokens': 3, 'output_tokens': 2}}", (3, 2)),
        ("{'usage': {'inputTokens': 3, 'outputTokens': 2.0}}", (3, 2)),
        ("{'inputTextTokenCount': 5}", (5, 0)),
        ("{'usage': {'input_tokens': 2**70, 'output_tokens': -1}}", (0, 0)),
        ("{'usage': {'input_tokens': None, 'output_tokens': 'many'}}", (0, 0)),
        ("{'usage': {'input_tokens': float('nan'), 'output_tokens': float('inf')}}", (0, 0)),
        ("{'usage': [7]}", (0, 0)),
    ],
)
def test_a_function_as_a_model_may_say_anything_of_its_tokens(
    said: str, tokens: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of the job are of these; the body is what it said."""
    (tmp_path / "of_a_function.py").write_text(f"def answer(body):\n    return {said}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_a_function", raising=False)
    [model] = load_models(["m=of_a_function:answer"]).values()
    reply = model({})
    assert (reply.input_tokens, reply.output_tokens) == tokens


@pytest.mark.parametrize("said", ["None", "[1]", "1 / 0"])
def test_a_function_that_returns_no_body_is_its_records_error(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_a_function.py").write_text(f"def answer(body):\n    return {said}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_a_function", raising=False)
    [model] = load_models(["m=of_a_function:answer"]).values()
    with pytest.raises(BodyError):
        model({})
