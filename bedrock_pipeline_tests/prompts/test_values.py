"""Values in prompts read as one writes them by hand, by the kernel and by the scalar rule."""

import datetime as dt
import math
import struct
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.requests.renderer import Renderer
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import reasons_of
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.records.cells import python_values
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.record_ids import record_id_of

CLAUDE = family_of("anthropic.claude-3-haiku-20240307-v1:0")
T = "2026-01-02 03:04:05"


def prompts(column: pa.Array, prompt: str = "{{ t }}", null_text: str | None = "(none)") -> list[str]:
    """The prompts of rows with one column, the same from the kernel and from the scalar rule."""
    template = RequestTemplate(CLAUDE, prompt=prompt, model_input=None, null_text=null_text)
    ids = pa.array([f"r{number}" for number in range(len(column))])
    rows = pa.RecordBatch.from_arrays([column], names=["t"])
    found = []
    for kernel in ("on", "off"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, kernel)
            rendered = Renderer(template, pa.schema([]), Limits()).render(
                Records(ids, rows, range(len(column)))
            )
        reasons = reasons_of(rows, template)
        assert {one.position: one.reason for one in rendered.rejected} == reasons
        lines = [orjson.loads(line) for line in bytes(rendered.lines.data).splitlines()]
        texts = {line["recordId"]: line["modelInput"]["messages"][0]["content"][0]["text"] for line in lines}
        found.append([texts.get(one, reasons.get(number, "")) for number, one in enumerate(ids.to_pylist())])
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize(
    ("values", "kind", "written"),
    [
        ([1, -5, 2**63 - 1], pa.int64(), ["1", "-5", "9223372036854775807"]),
        (
            [3.0, 2.5, -0.0, 1e16, 1e21, 1e-6, 1e-7],
            pa.float64(),
            "3 2.5 0 10000000000000000 1e+21 0.000001 1e-07",
        ),
        ([0.1, 1 / 3, 16777216.0], pa.float32(), "0.1 0.33333334 16777216"),
        ([np.float16(0.1), np.float16(65504)], pa.float16(), "0.1 65504"),
        ([123456792.0, 987654336.0, -0.0, 3.4e38, 1e-7], pa.float32(), "123456792 987654336 0 3.4e+38 1e-07"),
        ([math.nan, None], pa.float64(), ["(none)", "(none)"]),
        ([Decimal(0), Decimal("12.5"), Decimal("-0.000000000000000001")], pa.decimal128(38, 18), None),
        (
            [Decimal("12345678901234567890123.000000001")],
            pa.decimal256(60, 9),
            "12345678901234567890123.000000001",
        ),
        ([True, False], pa.bool_(), "true false"),
        ([dt.date(2026, 1, 2)], pa.date32(), "2026-01-02"),
        ([1767323045000000], pa.timestamp("us"), [T]),
        ([dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)], pa.timestamp("ns", tz="UTC"), [f"{T}+00:00"]),
        ([253402300800], pa.timestamp("s"), ["10000-01-01 00:00:00"]),
        ([dt.time(3, 4, 5)], pa.time64("us"), "03:04:05"),
        ([dt.timedelta(hours=1)], pa.duration("s"), "1:00:00"),
        ([["a", None], []], pa.list_(pa.string()), ['["a",null]', "[]"]),
        ([[0.1]], pa.list_(pa.float32()), "[0.1]"),
        ([[Decimal("1.50")]], pa.list_(pa.decimal128(9, 4)), "[1.5]"),
        ([{"z": 1, "a": dt.date(2026, 1, 2)}], pa.struct([("z", pa.int64()), ("a", pa.date32())]), None),
        ([[("k", 1)]], pa.map_(pa.string(), pa.int64()), '{"k":1}'),
        (["a", None], pa.dictionary(pa.int32(), pa.string()), "a (none)"),
    ],
)
def test_a_value_is_written_as_a_person_would(values: list[Any], kind: pa.DataType, written: Any) -> None:
    if pa.types.is_decimal(kind) and written is None:
        written = ["0", "12.5", "-0.000000000000000001"]
    elif written is None:
        written = ['{"z":1,"a":"2026-01-02"}']
    expected = written.split() if isinstance(written, str) else written
    assert prompts(pa.array(values, kind)) == expected


def test_a_uuid_is_written_with_its_hyphens() -> None:
    one = uuid.UUID("12345678-1234-5678-1234-567812345678")
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes], pa.binary(16)))
    assert prompts(column) == [str(one)]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([b"a"]), "column 't' is binary"),
        (pa.array([[b"a"]]), "column 't' has binary data in it"),
        (pa.array([{"b": b"a"}]), "column 't' has binary data in it"),
        (pa.array([None], pa.string()), "column 't' is null"),
    ],
)
def test_what_cannot_be_written_rejects_its_row(column: pa.Array, reason: str) -> None:
    assert prompts(column, "a {{ t }}", null_text=None) == [reason]


@pytest.mark.parametrize(
    ("column", "prompt", "written"),
    [
        (pa.array([{"b": {"c": 0.5}}, {"b": None}, None]), "{{ t.b.c }}", ["0.5", "(none)", "(none)"]),
        (pa.array(['{"b": {"c": "x"}}', '{"b": 1}', "{}"]), "{{ t.b.c }}", None),
        (pa.array([{"b c": "x"}]), "{{ t.`b c` }}", ["x"]),
        (pa.array([{"a": "x"}]), "{{ t.b }}", ["column 't' has no field 'b'"]),
        (pa.array(["text"]), "{{ t.b }}", ["column 't' has no field 'b'"]),
        (pa.array([1]), "{{ t.b }}", ["column 't' has no field 'b'"]),
    ],
)
def test_a_field_of_a_struct_or_of_json_text(
    column: pa.Array, prompt: str, written: list[str] | None
) -> None:
    assert prompts(column, prompt) == (written or ["x", "column 't' has no field 'c'", "(none)"])


def by_hand(value: Any) -> str:
    """An independent rule: digits from Python's own formats, JSON from the standard library's data model."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        whole, _, rest = f"{value:.9f}".partition(".")
        rest = rest.rstrip("0")
        return f"{whole}.{rest}" if rest else ("0" if int(whole) == 0 else whole)
    return str(value)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.decimals(-(10**9), 10**9, places=9),
            st.integers(-(2**62), 2**62),
            st.booleans(),
            st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_kernel_and_scalar_rule_agree_with_a_rule_written_by_hand(rows: list[tuple[Any, ...]]) -> None:
    kinds = [pa.decimal128(38, 9), pa.int64(), pa.bool_(), pa.date32(), pa.string()]
    names = ["d", "i", "b", "day", "s"]
    fields = list(zip(names, kinds, strict=True))
    column = pa.array([dict(zip(names, row, strict=True)) for row in rows], pa.struct(fields))
    prompt = " | ".join(f"{{{{ t.{name} }}}}" for name in names)
    assert prompts(column, f"x {prompt}") == [f"x {' | '.join(map(by_hand, row))}" for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_32_bit_float_is_written_with_no_more_digits_than_it_has(value: float) -> None:
    [text] = prompts(pa.array([value], pa.float32()))
    assert struct.pack("f", float(text)) == struct.pack("f", value + 0.0) or value == 0
    if value.is_integer() and abs(value) < 1e21:
        assert Decimal(text) == Decimal(float(value)) or abs(value) > 2**53
    else:
        assert Decimal(text) == Decimal(str(np.float32(value)))
    [(of_id, _)] = [record_id_of(one) for one in python_values(pa.array([value], pa.float32()))]
    if value.is_integer() and abs(value) < 2**63:
        assert of_id == str(int(value))


@pytest.mark.parametrize(
    ("value", "written"), [(True, "true"), (False, "false"), (12345.0, "12345"), (0.5, "0.5")]
)
def test_a_record_id_is_written_as_in_a_prompt_but_for_booleans(value: Any, written: str) -> None:
    assert prompts(pa.array([value])) == [written]
    assert record_id_of(value) == (str(value) if isinstance(value, bool) else written, "")
