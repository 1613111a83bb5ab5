"""Responses that are no whole answer: each kind is an error of its own, with what was written and paid for."""

import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest

from bedrock_pipeline.collect.disposition import disposition_of
from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter, manifest_discrepancies
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.pricing.prices import Price, Rate
from bedrock_pipeline.records.error_codes import STOP_REASONS, Incomplete
from bedrock_pipeline_tests.collect.test_disposition import COMPLETED

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
RATE = (Rate(0, Decimal("0.001"), Decimal("0.002")),)
METADATA = ChunkMetadata(
    family_of(CLAUDE), CLAUDE, "d--00000", "arn", 1, ("missing", "no line"), price=Price(RATE, RATE)
)
SCHEMA = AnswerSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def claude(stop: str, text: str) -> dict[str, Any]:
    return {
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }


def collected(
    outputs: list[Any], metadata: ChunkMetadata = METADATA
) -> tuple[list[dict[str, Any]], TallyCounter]:
    lines = [
        orjson.dumps({"recordId": f"r{number}", "modelOutput": output}) + b"\n"
        for number, output in enumerate(outputs)
    ]
    index = pa.table({"record_id": [f"r{number}" for number in range(len(outputs))]})
    counter = TallyCounter()
    found = rows(buffers_of(lines), index, metadata, counter, None)
    return [row for batch in found for row in batch.to_pylist()], counter


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (CLAUDE, lambda stop: claude(stop, "so far")),
        (
            "amazon.nova-lite-v1:0",
            lambda stop: {"output": {"message": {"content": [{"text": "so far"}]}}, "stopReason": stop},
        ),
        ("meta.llama3-1-70b-instruct-v1:0", lambda stop: {"generation": "so far", "stop_reason": stop}),
        (
            "qwen.qwen3-32b-v1:0",
            lambda stop: {"choices": [{"message": {"content": "so far"}, "finish_reason": stop}]},
        ),
    ],
)
@pytest.mark.parametrize(("stop", "kind"), [*STOP_REASONS.items(), ("MAX_TOKENS", Incomplete.CUT_OFF)])
def test_each_kind_is_an_error_with_a_code_and_the_text_so_far(
    model: str, output: Any, stop: str, kind: Incomplete
) -> None:
    metadata = replace(METADATA, family=family_of(model))
    [row], counter = collected([output(stop)], metadata)
    assert (row["status"], row["error_code"], row["output_text"]) == ("failed", kind.value, "so far")
    assert counter.final_by_code == {kind.value: 1}
    [row], counter = collected([output(stop)], replace(metadata, accepted=frozenset({kind})))
    assert (row["status"], row["error_code"], row["output_text"]) == ("succeeded", None, "so far")
    assert counter.final_by_code == {}


def converse(*blocks: Any) -> dict[str, Any]:
    return {"output": {"message": {"content": [*blocks]}}, "stopReason": "end_turn"}


def chat(message: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


NOVA, QWEN, LLAMA = "amazon.nova-lite-v1:0", "qwen.qwen3-32b-v1:0", "meta.llama3-1-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2402-v1:0"
USE = {"type": "tool_use", "name": "t", "input": {}}
CALL = {"function": {"name": "t", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("model", "output", "code", "text"),
    [
        (CLAUDE, claude("end_turn", ""), "empty", ""),
        (CLAUDE, {"content": [{"type": "text", "text": " \n"}]}, "empty", " \n"),
        (
            CLAUDE,
            {"content": [{"type": "thinking", "thinking": "t"}], "stop_reason": "end_turn"},
            "empty",
            "",
        ),
        (CLAUDE, {"content": [USE], "stop_reason": "tool_use"}, None, ""),
        (CLAUDE, {"content": [{"type": "web_search_tool_result"}], "stop_reason": "end_turn"}, None, ""),
        (NOVA, converse(), "empty", ""),
        (NOVA, converse({"text": "", "toolUse": None}), "empty", ""),
        (NOVA, converse({"reasoningContent": {"reasoningText": {"text": "r"}}}), "empty", ""),
        (NOVA, converse({"toolUse": {"name": "t", "input": {}}}), None, ""),
        (NOVA, converse({"citationsContent": {"content": [{"text": "c"}]}}), None, ""),
        (LLAMA, {"generation": "", "stop_reason": "stop"}, "empty", ""),
        (LLAMA, {"generation": ""}, "empty", ""),
        (QWEN, chat({"content": None}), "empty", ""),
        (QWEN, chat({"content": "<reasoning>on and on"}), "empty", ""),
        (QWEN, chat({"content": "\n<think>a</think>b"}), None, "b"),
        (QWEN, chat({"content": "<think>a</reasoning></think>"}), "empty", ""),
        (QWEN, chat({"content": None, "reasoning_content": "r"}), "empty", ""),
        (QWEN, chat({"content": None, "tool_calls": [CALL]}), None, ""),
        (QWEN, chat({"content": None, "refusal": "I cannot"}), "declined", "I cannot"),
        (QWEN, chat({"refusal": "I cannot"}), "declined", "I cannot"),
        (QWEN, chat({"content": "so", "refusal": "I cannot"}), "declined", "so"),
        (QWEN, chat({"content": "so", "refusal": ""}), None, "so"),
        (QWEN, chat({"content": [{"type": "refusal", "refusal": "I cannot"}]}), "declined", "I cannot"),
        (MISTRAL, {"outputs": [{"text": ""}]}, "empty", ""),
        (MISTRAL, chat({"content": "", "tool_calls": [CALL]}), None, ""),
        (MISTRAL, {"choices": [{"message": {"content": "a"}, "stop_reason": "error"}]}, "broken-off", "a"),
        ("amazon.titan-embed-text-v2:0", {"embedding": [0.5]}, None, None),
        (CLAUDE, claude("a_reason_of_tomorrow", "text"), None, "text"),
        (CLAUDE, claude("a_reason_of_tomorrow", ""), "empty", ""),
    ],
)
def test_a_response_without_an_answer_is_an_error_whatever_its_stop_reason(
    model: str, output: Any, code: str | None, text: str | None
) -> None:
    metadata = replace(METADATA, family=family_of(model))
    [row], counter = collected([output], metadata)
    assert (row["error_code"], row["output_text"]) == (code, text)
    assert row["status"] == ("failed" if code else "succeeded")
    assert counter.final_by_code == ({code: 1} if code else {})
    if code:
        [row], _ = collected([output], replace(metadata, accepted=frozenset({Incomplete(code)})))
        assert row["status"] == "succeeded"


def test_what_a_model_declines_with_beside_a_text_is_kept_as_a_block() -> None:
    [row], _ = collected(
        [chat({"content": "so", "refusal": "I cannot"})], replace(METADATA, family=family_of(QWEN))
    )
    assert orjson.loads(row["content_blocks"]) == [
        {"type": "refusal", "text": "I cannot"},
        {"type": "text", "text": "so"},
    ]


def test_the_tally_tells_the_kinds_apart_and_the_cost_is_that_of_all() -> None:
    outputs = [claude("end_turn", f"text {number}") for number in range(1000)]
    for number in range(0, 1000, 20):  # 5 % declined, 5 % cut off, 2 % filtered
        outputs[number] = claude("refusal", "")
        outputs[number + 1] = claude("max_tokens", "so far")
    outputs[2::50] = [claude("content_filtered", "")] * 20
    found, counter = collected(outputs)
    assert counter.final_by_code == {"declined": 50, "cut-off": 50, "filtered": 20}
    assert Counter(row["status"] for row in found) == {"succeeded": 880, "failed": 120}
    assert (counter.input_tokens, counter.output_tokens) == (5000, 2000)
    assert counter.cost_usd == Decimal("9.000")
    assert all(row["cost_usd"] for row in found)
    manifest = {"totalRecordCount": 1000, "successRecordCount": 1000, "outputTokenCount": 2000}
    assert manifest_discrepancies(manifest, counter) == []


@pytest.mark.parametrize("accepted", [frozenset[Incomplete](), frozenset({Incomplete.CUT_OFF})])
def test_a_structured_response_that_was_cut_off_is_not_taken_for_an_invalid_one(
    accepted: frozenset[Incomplete],
) -> None:
    metadata = replace(METADATA, columns=AnswerColumns(SCHEMA, ()), accepted=accepted)
    found, counter = collected([claude("max_tokens", '{"n": 1'), claude("max_tokens", '{"n": 1}')], metadata)
    by_text = {row["output_text"]: row for row in found}
    assert by_text['{"n": 1']["error_code"] == "cut-off"
    whole = by_text['{"n": 1}']
    assert (whole["error_code"], whole["n"]) == ((None, 1) if accepted else ("cut-off", None))
    assert counter.answered == len(accepted)


@pytest.mark.parametrize("kind", Incomplete)
def test_no_kind_is_sent_again_unless_the_pipeline_says_so(kind: Incomplete) -> None:
    assert not disposition_of(COMPLETED, 3).retries(kind.value)
    assert disposition_of(COMPLETED, 3, [kind]).retries(kind.value)
    assert not disposition_of(replace(COMPLETED, attempt=3), 3, [kind]).retries(kind.value)
    assert not disposition_of(replace(COMPLETED, cancelled=True), 3, [kind]).retries(kind.value)


def test_a_pipeline_names_kinds_and_not_the_same_twice() -> None:
    settings = {"name": "p", "model_id": CLAUDE, "prompt": "{{ a }}", "accept_incomplete": ["cut-off"]}
    assert Pipeline.model_validate(settings).accept_incomplete == (Incomplete.CUT_OFF,)
    for changes, problem in (
        ({"retry_incomplete": ["declined", "cut-off"]}, "both have cut-off"),
        ({"retry_incomplete": ["cutoff"]}, "retry_incomplete.0: Input should be 'declined'"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(problem)):
            Pipeline.model_validate({**settings, **changes})
