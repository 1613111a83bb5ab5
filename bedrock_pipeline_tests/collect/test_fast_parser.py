"""Plain responses, read many at a time, give the rows that single lines give, whatever their shape and the size of buffers."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.collect import line_reader
from bedrock_pipeline.collect.fast_parser import read_runs
from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.kernel import read as kernel_read
from bedrock_pipeline.kernel.library import SWITCH, library
from bedrock_pipeline.models import Family, family_of
from bedrock_pipeline.pricing.answer_costs import costs_of
from bedrock_pipeline.pricing.prices import Price, Rate
from bedrock_pipeline.records.error_codes import STOP_REASONS, WHOLE, Incomplete

MODELS = {
    "claude": "anthropic.claude-3-haiku-20240307-v1:0",
    "nova": "amazon.nova-lite-v1:0",
    "llama": "meta.llama3-8b-instruct-v1:0",
    "mistral": "mistral.mistral-7b-instruct-v0:2",
    "chat": "qwen.qwen3-32b-v1:0",
}
PRICE = Price(
    batch=(
        Rate(0, Decimal("0.000000125"), Decimal("0.000000625")),
        Rate(50, Decimal("0.00000025"), Decimal("0.000001")),
    ),
    on_demand=(Rate(0, Decimal("0.00000025"), Decimal("0.00000125")),),
)
needs_kernel = pytest.mark.skipif(library() is None, reason="NO KERNEL: plain responses are not read as such")
ugly = st.one_of(
    st.sampled_from(
        [
            " \n",
            "\u00a0",
            "\v",
            "\n<think>a</think>b",
            '"modelOutput":',
            '\\"',
            "}null{",
            "\u2028",
            "\x00",
            "",
            "x" * 300,
        ]
    ),
    st.text(max_size=8),
)
odd: st.SearchStrategy[Any] = st.sampled_from([None, 1, 1.0, 1e3, -1, True, "5", [], {}, 2**63])
counts = st.one_of(st.integers(0, 100), odd)
texts = st.one_of(ugly, odd)
stops = st.one_of(ugly, odd, st.sampled_from([*STOP_REASONS, *WHOLE, "END_TURN", "LENGTH"]))


#: Members of a content block of Converse that are not set, as output files have them.
UNION = (
    *("audio", "cachePoint", "citationsContent", "document", "guardContent", "image", "reasoningContent"),
    *("searchResult", "toolResult", "toolUse", "video"),
)
NULLS: list[dict[str, Any]] = [{}, dict.fromkeys(UNION)]
#: Members of a message of chat completions that are not set.
UNSET: dict[str, Any] = dict.fromkeys(("tool_calls", "reasoning_content", "reasoning", "refusal"))


@st.composite
def outputs(draw: st.DrawFn, name: str) -> Any:
    """Outputs that a model of a family may give, and others."""
    text, stop, read, wrote = draw(texts), draw(stops), draw(counts), draw(counts)
    extras: list[dict[str, Any]] = [{}, {"id": "m"}, {"modelOutput": {}}, {"recordId": "r1"}]
    extra = draw(st.sampled_from(extras))
    if name == "llama":
        return {
            "generation": text,
            "stop_reason": stop,
            "prompt_token_count": read,
            "generation_token_count": wrote,
        }
    if name == "mistral":
        mores: list[dict[str, Any]] = [{}, {"choices": None}, {"choices": [{"message": {"content": "c"}}]}]
        more = draw(st.sampled_from(mores))
        return {"outputs": [{"text": text, "stop_reason": stop}] * draw(st.integers(0, 2)), **more, **extra}
    if name == "chat":
        said = draw(st.sampled_from([text, f"<reasoning>{text}</reasoning>", f"<reasoning>{text}", [text]]))
        called: dict[str, Any] = {"tool_calls": [{"function": {"name": "t", "arguments": "{}"}}]}
        message = {
            "content": said,
            **draw(st.sampled_from([{}, {"reasoning_content": "r"}, {"refusal": "no"}, called, UNSET])),
        }
        choices = [{"message": message, "finish_reason": stop}] * draw(st.integers(0, 2))
        return {"choices": choices, "usage": {"prompt_tokens": read, "completion_tokens": wrote}, **extra}
    kind = draw(st.sampled_from(["text", "thinking", "tool_use", None]))
    written: dict[str, Any] = {"text": text, **draw(st.sampled_from(NULLS))}
    block = draw(
        st.sampled_from(
            [
                {"type": kind, "text": text},
                written,
                {"toolUse": {"name": "t"}, "text": text},
                {**written, "toolUse": {"name": "t", "input": {}}},
                {**written, "reasoningContent": {"reasoningText": {"text": "r"}}},
                {"citationsContent": {"content": [{"text": "c"}]}, "text": text},
                1,
                None,
            ]
        )
    )
    blocks = [block] * draw(st.integers(0, 2))
    if name == "nova":
        usage = {"inputTokens": read, "outputTokens": wrote, "serverToolUsage": None, "cacheDetails": None}
        return {"output": {"message": {"content": blocks}}, "stopReason": stop, "usage": usage, **extra}
    return {
        "content": blocks,
        "stop_reason": stop,
        "usage": {"input_tokens": read, "output_tokens": wrote},
        **extra,
    }


@st.composite
def lines_of(draw: st.DrawFn, name: str) -> bytes:
    """A line of output, of any shape."""
    output = draw(st.one_of(outputs(name), outputs(name), odd))
    body = draw(st.sampled_from([{}, {"modelOutput": {"content": []}}, {"a": '"modelOutput":{'}]))
    parts = [
        ("modelInput", body),
        ("modelOutput", output),
        ("recordId", draw(st.sampled_from(["r1", "r2", "r3", "no", 7]))),
    ]
    if draw(st.booleans()):
        parts.insert(0, parts.pop())
    if draw(st.integers(0, 5)) == 0:
        parts[-1:] = [("error", {"errorCode": 400, "errorMessage": "no"}), parts[-1]]
        parts = [part for part in parts if part[0] != "modelOutput"]
    line = (
        orjson.dumps(dict(parts), option=orjson.OPT_PASSTHROUGH_DATACLASS)
        if draw(st.booleans())
        else _ascii(dict(parts))
    )
    end = draw(st.sampled_from([b"\n", b"\n", b"\n", b" \n", b"\r\n", b"{}\n", b"null\n", b""]))
    return line[: draw(st.sampled_from([None, None, None, -1, 20]))] + end


def _ascii(value: Any) -> bytes:
    return json.dumps(value).replace("x" * 300, "\\ud83d").encode()


def metadata_of(family: Family) -> ChunkMetadata:
    accepted = frozenset({Incomplete.CUT_OFF})
    return ChunkMetadata(family, "m", "d--00000", "arn", 1, ("missing", "no line"), accepted=accepted)


def collected(
    lines: list[bytes], family: Family, *, scalar: bool
) -> tuple[list[dict[str, Any]], TallyCounter]:
    """All rows, and the counts."""
    counter = TallyCounter()
    index = pa.table({"record_id": ["r1", "r2", "r3", "missing"], "n": [1, 2, 3, 4]})
    metadata = replace(metadata_of(family), keep_raw=scalar, price=PRICE)
    buffers = buffers_of(lines)
    found = [row for batch in rows(buffers, index, metadata, counter, None) for row in batch.to_pylist()]
    for row in found:
        row.pop("raw_output")
    return found, counter


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=150)
@given(data=st.data())
def test_the_rows_are_those_of_the_scalar_rule(name: str, data: st.DataObject) -> None:
    lines = data.draw(st.lists(lines_of(name), max_size=12))
    family = family_of(MODELS[name])
    assert family.plain is not None
    wanted = collected(lines, family, scalar=True)
    assert collected(lines, family, scalar=False) == wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "BUFFER_BYTES", data.draw(st.integers(1, 2000)))
        patch.setattr(kernel_read, "MOST_LINES", data.draw(st.integers(1, 5)))
        assert collected(lines, family, scalar=False) == wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "off")
        assert collected(lines, family, scalar=False) == wanted


def ordinary(record_id: str, text: str) -> bytes:
    output = {
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return orjson.dumps({"modelInput": {"a": 1}, "modelOutput": output, "recordId": record_id}) + b"\n"


@needs_kernel
def test_plain_responses_are_read_as_such_and_one_odd_line_costs_no_other() -> None:
    lines = [ordinary(f"r{number}", f"text {number}") for number in range(100)]
    lines[37] = lines[37].replace(b'"text 37"', b'"\\ud83d"')
    lines[70] = b"null\n"
    lines[71] = lines[71].replace(b"text 71", b"\xff")
    [(_, found)] = read_runs([memoryview(b"".join(lines))], metadata_of(family_of(MODELS["claude"])))
    assert found is not None
    assert found.lines.tolist() == [number for number in range(100) if number not in (37, 70, 71)]
    assert found.rows["output_text"][3].as_py() == "text 3"


@needs_kernel
@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("claude", {"content": [{"type": "text", "text": "t"}]}),
        ("nova", {"output": {"message": {"content": [{"text": "t"}]}}}),
        ("llama", {"generation": "t"}),
        ("mistral", {"outputs": [{"text": "t"}]}),
        ("chat", {"choices": [{"message": {"content": "t"}}]}),
    ],
)
def test_every_declared_path_is_where_the_family_reads(name: str, output: dict[str, Any]) -> None:
    """A family whose plain responses are never read as plain would be slow, and no other test would notice."""
    family = family_of(MODELS[name])
    line = orjson.dumps({"modelOutput": output, "recordId": "r"})
    [(_, found)] = read_runs([memoryview(line)], metadata_of(family))
    assert found is not None
    assert found.rows["output_text"].to_pylist() == [family.answer(output).text] == ["t"]


@needs_kernel
@pytest.mark.parametrize(
    ("name", "output"),
    [
        (
            "nova",
            {
                "output": {
                    "message": {"role": "assistant", "content": [{**dict.fromkeys(UNION), "text": "t"}]}
                }
            },
        ),
        ("chat", {"choices": [{"message": {"content": "t", **UNSET}, "finish_reason": "stop"}]}),
        ("mistral", {"outputs": [{"text": "t"}], "choices": None}),
    ],
)
def test_members_that_are_not_set_leave_a_response_plain(name: str, output: dict[str, Any]) -> None:
    """Converse jobs write every member of the union, all but one of them null; without this none of their lines is plain."""
    metadata = metadata_of(family_of(MODELS[name]))
    line = orjson.dumps({"modelOutput": output, "recordId": "r"})
    [(_, found)] = read_runs([memoryview(line)], metadata)
    assert found is not None
    assert found.rows["output_text"].to_pylist() == ["t"]
    for member in (b'"toolUse":null', b'"citationsContent":null', b'"tool_calls":null', b'"choices":null'):
        if member in line:
            [(_, found)] = read_runs([memoryview(line.replace(member, member[:-4] + b"{}"))], metadata)
            assert found is None, member


@needs_kernel
def test_a_text_that_begins_with_reasoning_is_not_plain() -> None:
    lines = [
        orjson.dumps({"modelOutput": {"choices": [{"message": {"content": text}}]}, "recordId": "r"}) + b"\n"
        for text in ("t", "<reasoning>a</reasoning>t", "u", "\\u003creasoning>v", "\n <think>a</think>w", " ")
    ]
    lines[3] = lines[3].replace(b"\\\\u003c", b"\\u003c")
    [(_, found)] = read_runs([memoryview(b"".join(lines))], metadata_of(family_of(MODELS["chat"])))
    assert found is not None
    assert found.rows["output_text"].to_pylist() == ["t", "u"]
    assert found.lines.tolist() == [0, 2]


@given(
    tokens=st.lists(
        st.tuples(st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 10**5)), max_size=20
    ),
    rates=st.lists(
        st.tuples(st.integers(1, 10**5), st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=3
    ),
    places=st.integers(6, 16),
)
def test_costs_of_many_are_the_costs_of_each(
    tokens: list[tuple[int | None, int | None]], rates: list[tuple[int, int, int]], places: int
) -> None:
    tiers = [
        Rate(above if number else 0, Decimal(one).scaleb(-places), Decimal(other).scaleb(-places))
        for number, (above, one, other) in enumerate(sorted(rates))
    ]
    price = Price(batch=tuple(tiers), on_demand=tuple(tiers))
    costs, total = costs_of(
        price,
        pa.array([one for one, _ in tokens], pa.int64()),
        pa.array([one for _, one in tokens], pa.int64()),
        "batch",
    )
    single = [None if one is None or other is None else price.cost(one, other) for one, other in tokens]
    assert costs.to_pylist() == [None if cost is None else float(cost) for cost in single]
    known = [cost for cost in single if cost is not None]
    assert total == (sum(known, Decimal(0)) if len(known) == len(single) else None)
