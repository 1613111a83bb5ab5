"""Whatever a model writes into a line, at most the line's own record fails, with the kernel and without it."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, field_validator

from bedrock_pipeline.collect.collect_output import PART, Collected, collect_output
from bedrock_pipeline.collect.disposition import EndedChunk, disposition_of
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.records.result_schema import RESERVED


class Answer(BaseModel):
    """A structured response with a validator that some values break."""

    n: int | float = 0
    any: Any = None
    quoted: str = ""

    @field_validator("any")
    @classmethod
    def first(cls, value: Any) -> Any:
        """Fails with an error that pydantic does not expect."""
        return value[0] if isinstance(value, dict) else value

    @field_validator("quoted")
    @classmethod
    def unquoted(cls, value: str) -> str:
        """Makes what JSON has no text for."""
        return str(json.loads(f'"{value}"'))


CLAUDE = ChunkMetadata(
    family_of("anthropic.claude-3-haiku-20240307-v1:0"), "m", "d--00000", "arn", 1, ("missing", "no line")
)
TITAN = replace(CLAUDE, family=family_of("amazon.titan-embed-text-v2:0"))
TITAN_IMAGE = replace(CLAUDE, family=family_of("amazon.titan-embed-image-v1"))
RAW = replace(CLAUDE, keep_raw=True)
STRUCTURED = replace(CLAUDE, columns=AnswerColumns(AnswerSchema(Answer), RESERVED))


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def line(output: bytes, record_id: bytes = b'"r"', model_input: bytes = b"{}") -> bytes:
    return b'{"modelInput":%b,"modelOutput":%b,"recordId":%b}' % (model_input, output, record_id)


def text(value: bytes = b'"hi"', more: bytes = b"") -> bytes:
    usage = b'"usage":{"input_tokens":1,"output_tokens":1}'
    return b'{"content":[{"type":"text","text":%b}],%b%b}' % (value, usage, more)


def tool(value: bytes) -> bytes:
    return b'{"content":[{"type":"tool_use","name":"answer","input":%b}]}' % value


def bedrock_error(code: bytes, message: bytes) -> bytes:
    return b'{"recordId":"r","error":{"errorCode":%b,"errorMessage":%b}}' % (code, message)


def vector(first: bytes) -> bytes:
    return b'{"embedding":[%b,0.5],"inputTextTokenCount":3}' % first


DEEP = [300, 1100, 100_000]
#: Name, metadata, line, and the code that its record ends with; None for a response.
LINES: list[tuple[str, ChunkMetadata, bytes, str | None]] = [
    *((f"{n.decode()} {name}", metadata, line(output, model_input=b'{"t":%b}' % n), None)
      for n in (b"1e-99999999999999999999", b"0e99999999999999999999", b"0.00000000000000001e-9999999999999999999")
      for name, metadata, output in (("in a tool's input", STRUCTURED, tool(b'{"n":%b}' % n)), ("in the request", STRUCTURED, tool(b'{"n":1}')),
                                     ("in a text", STRUCTURED, text(b'"{\\"n\\":%b}"' % n)))),
    *((f"request nested {d}", CLAUDE, line(text(), model_input=nested(d)), code) for d, code in zip(DEEP, [None, "answer-shape", "answer-shape"], strict=True)),
    *((f"response nested {d}", CLAUDE, line(text(more=b',"x":' + nested(d))), code) for d, code in zip(DEEP, [None, "answer-shape", "answer-shape"], strict=True)),
    *((f"kept output nested {d}", RAW, line(text(more=b',"x":' + nested(d))), "answer-shape") for d in DEEP),
    *((f"tool input nested {d}", CLAUDE, line(tool(nested(d))), "answer-shape") for d in DEEP),
    *((f"structured text nested {d}", STRUCTURED, line(text(orjson.dumps(f'{{"any":{nested(d).decode()}}}'))), "answer-invalid") for d in DEEP),
    *((f"id before nested {d}", CLAUDE, b'{"recordId":"r","modelOutput":%b}' % nested(d), "answer-shape") for d in DEEP),
    ("an id in the nested part", CLAUDE, line(text(), model_input=b'{"recordId":"good1","x":%b}' % nested(2000)), "answer-shape"),
    ("a quoted id in a nested line", CLAUDE, line(text(), model_input=b'["\\"recordId\\":\\"good1\\"",%b]' % nested(2000)), "answer-shape"),
    ("tool input not an object", STRUCTURED, line(tool(b"null")), "answer-invalid"),
    ("a validator that raises", STRUCTURED, line(tool(b'{"any":{"a":1}}')), "answer-invalid"),
    ("a number beyond 64 bits", CLAUDE, line(text(more=b',"x":1' + b"0" * 30)), None),
    ("a number beyond a double", CLAUDE, line(text(more=b',"x":1' + b"0" * 400)), "answer-shape"),
    ("an exponent beyond a double", CLAUDE, line(text(more=b',"x":1e999')), "answer-shape"),
    ("a number of 5000 digits", CLAUDE, line(text(), model_input=b"9" * 5000), "answer-shape"),
    ("an error without a code", CLAUDE, bedrock_error(b"null", b'"no"'), "unknown"),
    ("an error that is a list", CLAUDE, b'{"recordId":"r","error":[{"errorCode":400,"errorMessage":"a"},"b"]}', "400"),
    ("an error that is a list of texts", CLAUDE, b'{"recordId":"r","error":["a","b"]}', "unknown"),
    ("an error that is null", CLAUDE, b'{"recordId":"r","modelOutput":null,"error":null}', "unknown"),
    ("an error in place of the output", CLAUDE, line(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'), "overloaded_error"),
    ("an error in place of a vector", TITAN, line(b'{"error":{"code":"model_error"}}'), "model_error"),
    ("an error beside a response", CLAUDE, line(text(more=b',"error":{"type":"overloaded_error"}')), None),
    ("infinity", CLAUDE, line(text(more=b',"x":[-Infinity]')), "answer-shape"),
    ("not a number in the request", CLAUDE, line(text(), model_input=b'{"x":NaN}'), "answer-shape"),
    ("not a number in a vector", TITAN, line(vector(b"NaN")), "answer-shape"),
    ("not a number", CLAUDE, line(text(more=b',"x":NaN')), "answer-shape"),
    ("a structured number of 400 digits", STRUCTURED, line(tool(b'{"n":"%b"}' % (b"9" * 400))), "answer-invalid"),
    ("tokens beyond 64 bits", CLAUDE, line(b'{"content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":1%b}}' % (b"0" * 30)), None),
    ("tokens whose sum is beyond 64 bits", CLAUDE, line(b'{"content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":%d}}' % (2**62)), None),
    ("a vector's integer beyond 24 bits", TITAN, line(vector(b"16777217")), None),
    ("a vector's number beyond 32 bits", TITAN, line(vector(b"1e39")), "answer-shape"),
    ("a vector's number beyond a double", TITAN, line(vector(b"9" * 400)), "answer-shape"),
    ("a vector with a truth value", TITAN, line(vector(b"true")), "answer-shape"),
    ("half a surrogate pair", CLAUDE, line(text(b'"\\ud83d"')), None),
    ("half a surrogate pair in a tool's input", STRUCTURED, line(tool(b'{"any":"\\ud83d"}')), None),
    ("half a surrogate pair in structured text", STRUCTURED, line(text(b'"{\\"any\\":\\"\\\\ud83d\\"}"')), "answer-invalid"),
    ("NUL in the text", CLAUDE, line(text(b'"a\\u0000b"')), None),
    ("NUL in the error", CLAUDE, bedrock_error(b'"4\\u000000"', b'"a\\u0000b\\ud83d"'), "4\ufffd00"),
    ("an error nested 900", CLAUDE, bedrock_error(nested(900), nested(900)), "unknown"),
    ("an error code of 5000 digits", CLAUDE, bedrock_error(b'"%b"' % (b"9" * 5000), b'"no"'), "9" * 99 + "…"),
    ("half a surrogate pair of a validator", STRUCTURED, line(tool(b'{"quoted":"\\\\ud83d"}')), "answer-invalid"),
    ("a type that is a list", CLAUDE, line(b'{"content":[{"type":[]}]}'), None),
    ("a type that is an object", CLAUDE, line(b'{"content":[{"type":{}},{"type":"text","text":" "}]}'), None),
    ("invalid UTF-8", CLAUDE, line(text(b'"\xff"')), None),
    ("a truncated line", CLAUDE, line(text())[:60], "missing"),
    ("an id that is a list", CLAUDE, line(text(), b"[]"), "missing"),
    ("an id that is nested deeply", CLAUDE, line(text(), nested(2000)), "missing"),
    ("NUL alone", CLAUDE, b"\x00", "missing"),
]  # fmt: skip


def collected(
    folder: Path, metadata: ChunkMetadata, lines: list[bytes], index: pa.Table | None
) -> tuple[Collected, list[dict[str, Any]]]:
    """The rows that are in the parquet file."""
    rows: list[dict[str, Any]] = []

    def put(path: Path, name: str) -> None:
        assert name == PART
        rows.extend(pq.read_table(path).to_pylist())

    return collect_output(lambda: iter([("f", buffers_of(lines))]), index, metadata, put), rows


GOOD: dict[str, Callable[[bytes], bytes]] = {
    "claude": lambda record_id: line(text(b'"{}"'), record_id),
    "titan-embed": lambda record_id: line(vector(b"1"), record_id),
}


@pytest.mark.parametrize("kernel", ["on", "off"])
@pytest.mark.parametrize(
    ("metadata", "hostile", "code"), [one[1:] for one in LINES], ids=[one[0] for one in LINES]
)
def test_at_most_its_own_record_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: str,
    metadata: ChunkMetadata,
    hostile: bytes,
    code: str | None,
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    good = GOOD[metadata.family.name]
    lines = [good(b'"good1"'), hostile, good(b'"good2"')]
    index = pa.table({"record_id": ["good1", "r", "good2"]})
    outcome, rows = collected(tmp_path, metadata, lines, index)
    assert {row["record_id"]: row["error_code"] for row in rows} == {"good1": None, "r": code, "good2": None}
    tally = outcome.counter.tally()
    assert (tally.records, tally.answered + tally.final_errors) == (3, 3)
    assert tally.input_tokens < 2**63
    _, rows = collected(tmp_path, metadata, lines, None)
    wanted = [None] if code == "missing" else [None, code]
    assert [row["error_code"] for row in rows] == [*wanted, None]


class Priced(BaseModel):
    """A structured response with digits that a float does not have."""

    note: str
    price: Decimal


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        (rb"ok", "ok"),
        (rb"\ud83d", "?"),
        (rb"\ud83d\ud83d\ude00", "?\U0001f600"),
        (rb"\ude00\\ud83d", "?\\ud83d"),
        (b"\xff", "\ufffd"),
    ],
)
def test_what_is_mended_in_a_line_leaves_its_numbers_as_they_are(
    tmp_path: Path, note: bytes, kept: str
) -> None:
    metadata = replace(CLAUDE, columns=AnswerColumns(AnswerSchema(Priced), RESERVED))
    given = b'{"note":"%b","price":1.234567890123456789}' % note
    _, [row] = collected(tmp_path, metadata, [line(tool(given))], pa.table({"record_id": ["r"]}))
    assert (row["note"], row["price"]) == (kept, Decimal("1.234567890123456789"))


@pytest.mark.parametrize("kernel", ["1", ""])
@pytest.mark.parametrize("number", ["123456789012345678901234567890", "1.2345678901234567890", "7", "1.5"])
def test_numbers_in_what_is_kept_as_json_have_their_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, number: str
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    index, kept = pa.table({"record_id": ["r"]}), replace(CLAUDE, keep_raw=True)
    given = b'{"n":%b}' % number.encode()
    for metadata in (CLAUDE, kept):
        _, [row] = collected(tmp_path, metadata, [line(tool(given))], index)
        assert row["tool_use"] == f'[{{"name":"answer","input":{given.decode()}}}]'
    assert f'"input":{given.decode()}' in row["raw_output"]
    vector = replace(kept, family=family_of("amazon.titan-embed-text-v2:0"))
    output = b'{"embedding":[%b],"inputTextTokenCount":1}' % number.encode()
    _, [row] = collected(tmp_path, vector, [line(output)], index)
    assert row["raw_output"] == output.decode()
    assert row["embedding"] == pytest.approx([float(number)])


def test_texts_of_errors_of_any_form_are_kept(tmp_path: Path) -> None:
    lines = [
        b'{"recordId":"a","error":[{"errorCode":400,"errorMessage":"one"},"two"]}',
        b'{"recordId":"b","error":{"errorCode":null,"errorMessage":"one"}}',
        b'{"recordId":"c","error":{"code":429,"message":"one"}}',
    ]
    _, rows = collected(tmp_path, CLAUDE, lines, pa.table({"record_id": ["a", "b", "c"]}))
    assert [(row["error_code"], row["error_message"]) for row in rows] == [
        ("400", "one; two"),
        ("unknown", "one"),
        ("429", "one"),
    ]


@pytest.mark.parametrize(("code", "retried"), [("overloaded_error", True), ("invalid_request_error", False)])
def test_an_error_in_place_of_the_output_is_classified_and_costs_nothing(
    tmp_path: Path, code: str, retried: bool
) -> None:
    output = orjson.dumps({"type": "error", "error": {"type": code, "message": "no"}})
    outcome, [row] = collected(tmp_path, CLAUDE, [line(output)], pa.table({"record_id": ["r"]}))
    assert (row["error_code"], row["error_message"], row["input_tokens"]) == (code, "no", None)
    assert outcome.counter.unusable == 0
    chunk = EndedChunk("p", "d", "d--00000", 1, 1, "batch", "completed", None, cancelled=False)
    assert disposition_of(chunk, 3).retries(code) is retried


_SAID = b'"a\\u0000b\\u001b[31m%b"' % (b"x" * 5000)


@pytest.mark.parametrize(
    ("metadata", "hostile"),
    [
        (CLAUDE, bedrock_error(_SAID, _SAID)),
        (CLAUDE, line(b'{"error":{"type":%b,"message":%b}}' % (_SAID, _SAID))),
        (TITAN_IMAGE, line(b'{"message":%b}' % _SAID)),
    ],
    ids=["of Bedrock", "in place of the output", "in place of a vector"],
)
def test_the_texts_of_an_error_have_no_control_characters_and_are_bounded(
    tmp_path: Path, metadata: ChunkMetadata, hostile: bytes
) -> None:
    outcome, [row] = collected(tmp_path, metadata, [hostile], pa.table({"record_id": ["r"]}))
    assert len(row["error_code"]) <= 100
    assert len(row["error_message"]) == 4000
    assert (row["error_code"] + row["error_message"]).isprintable()
    chunk = EndedChunk("p", "d", "d--00000", 1, 3, "batch", "completed", None, cancelled=False)
    problem = disposition_of(chunk, 3).problem(outcome.counter)
    assert problem is not None
    assert problem.isprintable()
    assert "a\ufffdb" in problem
