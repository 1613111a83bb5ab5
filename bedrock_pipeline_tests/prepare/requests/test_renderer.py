"""Many rows at a time give the bytes, ids and reasons of single rows, whatever the strings, batches and threads."""

import datetime as dt
import hashlib
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.chunks.packer import Packer
from bedrock_pipeline.prepare.chunks.snapshot_packer import packed
from bedrock_pipeline.prepare.requests.renderer import Rendered, Renderer
from bedrock_pipeline.prepare.requests.request_template import NotRenderableError, RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import content_ids, not_utf8, record_ids, wire_ids
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import line_batch_of, line_batches_of, lines_of
from bedrock_pipeline.records.record_ids import record_id_of, wire_id
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.sources import ArrowSource

CLAUDE = family_of("anthropic.claude-3-haiku-20240307-v1:0")
_CARRY = pa.schema([("n", pa.int64())])
_NOTHING = pa.schema([])
_CASES = [
    "",
    '"',
    "\\",
    '"\\"',
    "\u2028",
    "\u2029",
    "\x00",
    "\x1f\b\f\n\r\t\x7f",
    "/",
    "é",
    "日本",
    "😀",
    "\U0010ffff",
    "{{ n }}",
    '{"t":"',
]
ugly = st.one_of(
    st.sampled_from(_CASES),
    st.text(max_size=40),
    st.text(alphabet='"\\\x00\n😀a', max_size=40),
)
ids = st.one_of(
    st.from_regex(r"[A-Za-z0-9._:@/+=#-]{1,64}", fullmatch=True),
    st.from_regex(r"x[a-z2-7]{32}", fullmatch=True),
    st.text(min_size=1, max_size=70),
)


def row_by_row(
    template: RequestTemplate, rows: list[dict[str, Any]], limits: Limits
) -> tuple[list[bytes], list[Rejection]]:
    """The lines of the scalar rule, and the rows that have none."""
    lines, rejected = [], []
    for number, row in enumerate(rows):
        reason = f"the record is larger than a file may be ({limits.max_file_bytes} bytes)"
        try:
            line = template.line(row["record_id"], row)
        except NotRenderableError as error:
            line, reason = b"", str(error)
        if line and len(line) <= limits.max_record_bytes:
            lines.append(line)
        else:
            rejected.append(Rejection(number, reason, row["record_id"]))
    return lines, rejected


def records_of(rows: pa.RecordBatch, positions: Sequence[int] | None = None) -> Records:
    """Records from rows with their ids in `record_id`."""
    return Records(rows["record_id"], rows.drop_columns(["record_id"]), positions or range(rows.num_rows))


def render(
    template: RequestTemplate, rows: pa.RecordBatch, limits: Limits | None = None, carry: pa.Schema = _NOTHING
) -> Rendered:
    return Renderer(template, carry, limits or Limits()).render(records_of(rows))


@settings(max_examples=150)
@given(
    cells=st.lists(
        st.tuples(ids, st.none() | ugly, st.none() | st.integers(-(2**63), 2**63 - 1)),
        min_size=1,
        max_size=20,
    ),
    literals=st.tuples(ugly, ugly, ugly),
    null_text=st.none() | ugly,
    most=st.integers(150, 400),
)
def test_a_batch_has_the_bytes_of_single_lines(
    cells: list[tuple[str, str | None, int | None]],
    literals: tuple[str, str, str],
    null_text: str | None,
    most: int,
) -> None:
    first, second, third = (one.replace("{", "(") for one in literals)
    prompt = f"{first}{{{{ t }}}}{second}{{{{ n }}}}{{{{t}}}}{third}"
    template = RequestTemplate(CLAUDE, prompt=prompt, model_input=None, null_text=null_text)
    limits = Limits(min_records=1, max_file_bytes=most)
    rows = [{"record_id": one, "t": text, "n": number} for one, text, number in cells]
    schema = pa.schema([("record_id", pa.string()), ("t", pa.string()), ("n", pa.int64())])
    batch = pa.RecordBatch.from_pylist(rows, schema)
    lines, expected = row_by_row(template, rows, limits)
    rejected = {one.position for one in expected}
    kept = [row for number, row in enumerate(rows) if number not in rejected]
    for kernel in ("on", "off"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, kernel)
            rendered = render(template, batch, limits, _CARRY)
            # A rejected row sends its whole batch to the scalar rule, so each row is rendered alone too.
            alone = [render(template, batch.slice(number, 1), limits, _CARRY) for number in range(len(rows))]
        assert bytes(rendered.lines.data) == b"".join(lines)
        assert [one.data for one in lines_of([rendered.lines])] == lines
        assert [bytes(one.lines.data) for one in alone if not one.rejected] == lines
        assert rendered.rejected == expected
        index = [{"record_id": row["record_id"], "n": row["n"]} for row in kept]
        assert rendered.lines.index.to_pylist() == index


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, math.nan, None, 1e300, -0.0], pa.float64()),
        ([True, None, False], pa.bool_()),
        ([["a", None], None, []], pa.list_(pa.string())),
        ([{"a": 1}, None], pa.struct([("a", pa.int64())])),
        ([dt.date(2026, 1, 2), None], pa.date32()),
        (["a", None, "ü"], pa.large_string()),
        (["a", None, "a"], pa.dictionary(pa.int32(), pa.string())),
        ([b"a", None], pa.binary()),
        ([None, None], pa.null()),
        ([2**64 - 1, 0, None], pa.uint64()),
    ],
)
@pytest.mark.parametrize("null_text", [None, "(none)"])
@pytest.mark.parametrize("kernel", ["on", "off"])
def test_columns_of_every_type_read_as_single_cells(
    values: list[Any],
    kind: pa.DataType,
    null_text: str | None,
    kernel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    rows = pa.RecordBatch.from_arrays(
        [pa.array([f"r{number}" for number in range(len(values))]), pa.array(values, kind)],
        names=["record_id", "t"],
    )
    template = RequestTemplate(CLAUDE, prompt="a {{ t }}", model_input=None, null_text=null_text)
    rendered = render(template, rows)
    lines, expected = row_by_row(template, rows.to_pylist(), Limits())
    assert bytes(rendered.lines.data) == b"".join(lines)
    assert rendered.rejected == expected


def test_whole_bodies_are_rendered_too() -> None:
    bodies = ['{"a": "ü"}', "[]", "no", None, '{"b": [1, {"c": null}]}']
    rows = pa.RecordBatch.from_pydict({"record_id": list("abcde"), "body": bodies})
    template = RequestTemplate(CLAUDE, prompt=None, model_input="body")
    rendered = render(template, rows)
    lines, expected = row_by_row(template, rows.to_pylist(), Limits())
    assert bytes(rendered.lines.data) == b"".join(lines)
    assert rendered.rejected == expected
    assert [one.position for one in expected] == [1, 2, 3]


def test_ten_megabytes_in_one_cell() -> None:
    text = 'quote " newline \n emoji 😀 ' * 400_000
    rows = pa.RecordBatch.from_pydict({"record_id": ["a", "b"], "t": [text, "x"]})
    template = RequestTemplate(CLAUDE, prompt="{{ t }}", model_input=None)
    first, second = lines_of([render(template, rows).lines])
    assert first.data == template.line("a", {"t": text})
    assert orjson.loads(second.data)["recordId"] == "b"


@given(st.lists(st.none() | ids | ugly, max_size=20))
def test_ids_of_a_column_are_those_of_its_cells(values: list[str | None]) -> None:
    single = [record_id_of(value) for value in values]
    for kernel in ("on", "off"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, kernel)
            found, reasons = record_ids(pa.array(values, pa.string()))
            kept = found.drop_null()
            wire = wire_ids(kept)
        assert found.to_pylist() == [one for one, _ in single]
        assert reasons == {row: reason for row, (_, reason) in enumerate(single) if reason}
        assert wire.to_pylist() == [wire_id(one) for one in kept.to_pylist()]


@pytest.mark.parametrize("values", [[1, None, -5], [1.0, math.nan], [b"x", None], [["a"]], [True]])
def test_ids_of_every_type_are_those_of_its_cells(values: list[Any]) -> None:
    found, reasons = record_ids(pa.array(values))
    single = [record_id_of(value) for value in values]
    assert found.to_pylist() == [one for one, _ in single]
    assert reasons == {row: reason for row, (_, reason) in enumerate(single) if reason}


@pytest.mark.parametrize("kernel", ["on", "off"])
def test_content_ids_are_hashes_of_json(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They must never change: the same input would have other records."""
    monkeypatch.setenv(SWITCH, kernel)
    for texts, numbers in ((_CASES, range(len(_CASES))), ([None, "a"], [1, None])):
        rows = pa.RecordBatch.from_pydict({'t"': texts, "n": list(numbers)})
        objects = [{"n": None if n is None else str(n), 't"': t} for n, t in zip(numbers, texts, strict=True)]
        assert content_ids(rows).to_pylist() == [
            hashlib.blake2b(orjson.dumps(one), digest_size=16).hexdigest() for one in objects
        ]


def test_text_that_is_not_utf8_is_found_in_its_row() -> None:
    broken = pa.array([b"ok", b"\xff", None], pa.binary()).view(pa.string())
    assert not_utf8(pa.RecordBatch.from_arrays([broken], names=["t"])) == [1]
    assert not_utf8(pa.RecordBatch.from_pydict({"t": ["ü"], "n": [1]})) == []


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(ugly, min_size=1, max_size=60), block=st.integers(1, 60), most=st.integers(250, 2000))
def test_chunks_are_the_same_from_one_thread_and_more_and_from_blocks_of_any_size(
    texts: list[str], block: int, most: int
) -> None:
    table = pa.table(
        {"record_id": [f"r{number}" for number in range(len(texts))], "t": texts, "n": range(len(texts))}
    )
    limits = Limits(min_records=1, max_records=25, max_file_bytes=most, max_job_bytes=2 * most)
    template = RequestTemplate(CLAUDE, prompt="{{ t }}", model_input=None)

    def chunks(rows: int, workers: int) -> list[tuple[str, bytes, list[dict[str, Any]]]]:
        source = ArrowSource(table.schema, lambda: iter(table.to_batches(max_chunksize=rows)))
        with tempfile.TemporaryDirectory() as folder:
            rejected = RejectionWriter(Path(folder) / "rejected.parquet")
            packer = Packer(limits, _CARRY, Path(folder))
            renderer = Renderer(template, _CARRY, limits)
            records = (
                records_of(batch.rows, batch.positions) for batch in source.batches(table.column_names)
            )
            packed_chunks = packed(records, renderer.render, packer, rejected, workers)
            return [
                (
                    chunk.content_hash,
                    b"|".join(file.path.read_bytes() for file in chunk.files),
                    pq.read_table(chunk.index).to_pylist(),
                )
                for chunk in packed_chunks
            ]

    assert chunks(block, 1) == chunks(block, 2) == chunks(60, 3)


def test_single_lines_and_blocks_are_turned_into_each_other() -> None:
    lines = list(lines_of([line_batch_of([], _CARRY)]))
    assert lines == []
    rows = pa.RecordBatch.from_pydict({"record_id": ["a", "b", "c"], "t": ["x", "\n", ""], "n": [1, 2, None]})
    template = RequestTemplate(CLAUDE, prompt="{{ t }}", model_input=None)
    block = render(template, rows, carry=_CARRY).lines
    again = list(lines_of(line_batches_of(lines_of([block]), _CARRY)))
    assert again == list(lines_of([block.slice(0, 1), block.slice(1, 3)]))
    assert b"".join(one.data for one in again) == bytes(block.data)
