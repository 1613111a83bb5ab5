"""Keys, record ids, templates and lines."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.models import ModelRequest, family_of
from bedrock_pipeline.prepare.requests.request_template import NotRenderableError, RequestTemplate
from bedrock_pipeline.prompts.template import Template, TemplateError
from bedrock_pipeline.records.keys import ChunkKey, KeyRuleError, check_dataset_key
from bedrock_pipeline.records.record_ids import record_id_of, wire_id

CLAUDE = family_of("us.anthropic.claude-3-haiku-20240307-v1:0")


@pytest.mark.parametrize(
    "key", ["", "a--b", "a b", "a/b", "ü", "x" * 41, "a_b", "a\n", ".", "..", "-", "a.", "-a"]
)
def test_a_dataset_key_that_breaks_the_rule_is_rejected(key: str) -> None:
    with pytest.raises(KeyRuleError):
        check_dataset_key(key)


@given(
    dataset=st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,38}[A-Za-z0-9])?", fullmatch=True).filter(
        lambda key: "--" not in key
    ),
    version=st.integers(1, 99),
    attempt=st.integers(1, 99),
    sequence=st.integers(0, 10**6),
)
def test_chunk_keys_are_read_back(dataset: str, version: int, attempt: int, sequence: int) -> None:
    key = ChunkKey(check_dataset_key(dataset), version, attempt, sequence)
    assert ChunkKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "key",
    [
        "d",
        "d--1",
        "d--00001\n",
        "a--b--00001",
        "d--\N{ARABIC-INDIC DIGIT ONE}0000",
        "--00001",
        "x" * 41 + "--00001",
    ],
)
def test_another_string_is_not_a_chunk_key(key: str) -> None:
    with pytest.raises(KeyRuleError):
        ChunkKey.parse(key)


def test_chunk_keys_look_as_documented() -> None:
    assert str(ChunkKey("d", 1, 1, 7)) == "d--00007"
    assert str(ChunkKey("d", 1, 2, 0)) == "d--r2-00000"
    assert str(ChunkKey("d", 2, 2, 0)) == "d--v2-r2-00000"


@pytest.mark.parametrize(
    ("value", "record_id", "reason"),
    [
        ("a", "a", ""),
        (7, "7", ""),
        (None, None, "record id is null"),
        (math.nan, None, "record id is null"),
        (" ", None, "record id is empty"),
        ("x" * 4097, None, "record id is longer than 4096 characters"),
        ("a\nb", None, "record id has control characters"),
        (["a"], None, "record id is a list"),
        ("日本", "日本", ""),
    ],
)
def test_record_ids(value: object, record_id: str | None, reason: str) -> None:
    assert record_id_of(value) == (record_id, reason)


@given(st.text(min_size=1, max_size=256))
def test_a_wire_id_is_safe_and_an_ordinary_id_travels_as_it_is(record_id: str) -> None:
    travelling = wire_id(record_id)
    assert travelling.isascii()
    assert 1 <= len(travelling) <= 64
    assert wire_id("row-0001") == "row-0001"
    assert travelling == record_id or wire_id(travelling) != travelling, "no id passes for another's hash"


@given(st.text(), st.text(), st.text())
def test_a_line_is_what_the_family_would_send(record_id: str, prompt_part: str, value: str) -> None:
    literal = prompt_part.replace("{", "").replace("}", "")
    template = RequestTemplate(
        CLAUDE, prompt=literal + "{{ a }}!", model_input=None, parameters={"max_tokens": 5}
    )
    try:
        line = template.line(record_id or "x", {"a": value})
    except orjson.JSONEncodeError:  # a lone surrogate cannot be in Arrow either
        assert any("\ud800" <= character <= "\udfff" for character in literal + value + record_id)
        return
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["modelInput"] == CLAUDE.body(
        ModelRequest(f"{literal}{value}!", parameters={"max_tokens": 5})
    )


def test_a_template_that_names_a_column_that_does_not_exist_says_which_there_are() -> None:
    with pytest.raises(TemplateError, match=r"'b'.*columns are: a, c"):
        Template("{{a}} {{ b }}").check(["a", "c"])


@pytest.mark.parametrize(
    ("cell", "why"),
    [(None, "is not a JSON object"), ("no json", "is not JSON"), ("[1]", "is not a JSON object")],
)
def test_a_body_that_is_none_is_rejected(cell: object, why: str) -> None:
    template = RequestTemplate(CLAUDE, prompt=None, model_input="body")
    with pytest.raises(NotRenderableError, match=why):
        template.line("a", {"body": cell})


def test_a_null_is_rejected_or_replaced() -> None:
    row = {"a": None}
    assert RequestTemplate(CLAUDE, prompt="{{ a }}", model_input=None).why_not(row) == "column 'a' is null"
    kind = RequestTemplate(CLAUDE, prompt="{{ a }}", model_input=None, null_text="(none)")
    assert kind.why_not(row) == ""
    assert b"(none)" in kind.line("x", row)
