"""Snapshots: ids, duplicates, rejections, the content hash; the same whatever the batches."""

import hashlib
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

from bedrock_pipeline.models import family_of
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot import writer
from bedrock_pipeline.prepare.snapshot.plan import ColumnError, SnapshotPlan
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, write_snapshot
from bedrock_pipeline.prompts.template import TemplateError
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import ArrowSource

CLAUDE = family_of("anthropic.claude-3-haiku-20240307-v1:0")


def plan(
    record_id: str | None = "id",
    carry: Sequence[str] = (),
    prompt: str = "{{ text }}",
    *,
    ask_identical_once: bool = False,
) -> SnapshotPlan:
    template = RequestTemplate(CLAUDE, prompt=prompt, model_input=None)
    return SnapshotPlan(template, record_id, tuple(carry), ask_identical_once)


def source(table: pa.Table, block: int = 3) -> ArrowSource:
    return ArrowSource(table.schema, lambda: iter(table.to_batches(max_chunksize=block)))


def stored(parts: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of a snapshot, with their positions under an empty name."""
    rows = []
    for batch in (batch for part in parts for batch in pq.read_table(part).to_batches()):
        records = Records.of_stored(batch)
        for record_id, position, row in zip(
            records.ids.to_pylist(), records.positions, records.rows.to_pylist(), strict=True
        ):
            rows.append({"record_id": record_id, **row, "": position})
    return rows


def taken(
    table: pa.Table, one: SnapshotPlan, block: int = 3
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str, int]:
    """Rows, rejected rows, content hash and number of parts."""
    with tempfile.TemporaryDirectory() as folder:
        with RejectionWriter(Path(folder) / "rejected.parquet") as writer:
            snapshot = write_snapshot(source(table, block), one, Path(folder), writer)
        rows = stored(snapshot.parts)
        rejected = pq.read_table(writer.path).to_pylist()
        assert snapshot.records == len(rows)
        assert writer.count == len(rejected)
        positions = [row.pop("") for row in rows]
        assert sorted([*positions, *(row["position"] for row in rejected)]) == list(range(table.num_rows))
        assert rows[0].keys() == set(snapshot.schema.names)
        return rows, rejected, snapshot.content_hash, len(snapshot.parts)


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", "", None, "日本", "x" * 4097]), st.none() | st.text(max_size=5)),
        min_size=1,
        max_size=20,
    ),
    block=st.integers(1, 7),
)
def test_every_row_is_a_record_or_rejected_whatever_the_batches(
    rows: list[tuple[str | None, str | None]], block: int
) -> None:
    table = pa.table({"id": pa.array([one for one, _ in rows], pa.string()), "text": [t for _, t in rows]})
    table = table.set_column(1, "text", table["text"].cast(pa.string()))
    try:
        kept, rejected, content_hash, _ = taken(table, plan(), block)
    except EmptyDatasetError:
        assert all(one in ("", None) or len(one) > 4096 or text is None for one, text in rows)
        return
    assert len(kept) + len(rejected) == len(rows)
    assert len({row["record_id"] for row in kept}) == len(kept)
    first = {one: text for one, text in reversed(rows) if text is not None}
    assert all(first[row["record_id"]] == row["text"] for row in kept)
    assert taken(table, plan(), 20)[2] == content_hash


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z", ""])), min_size=1, max_size=20
    ),
    block=st.integers(1, 7),
    derived=st.booleans(),
)
def test_a_row_with_the_request_of_an_earlier_row_is_its_duplicate_whatever_the_batches(
    rows: list[tuple[str, str]], block: int, derived: bool
) -> None:
    columns = {"id": [one for one, _ in rows], "text": [text for _, text in rows], "n": range(len(rows))}
    one = plan(None if derived else "id", carry=["n"], ask_identical_once=True)
    with tempfile.TemporaryDirectory() as folder:
        with RejectionWriter(Path(folder) / "rejected.parquet") as rejected:
            snapshot = write_snapshot(source(pa.table(columns), block), one, Path(folder), rejected)
        sent = stored(snapshot.parts)
        published = [row for part in snapshot.duplicate_parts for row in pq.read_table(part).to_pylist()]
    kept = dict(enumerate(rows)) if derived else {n: rows[n] for n in sorted(_first_of_each_id(rows))}
    canonical = {text: n for n, (_, text) in reversed(kept.items())}
    assert [row["n"] for row in sent] == sorted(canonical.values())
    assert sorted(row["c0"] if "c1" not in row else row["c1"] for row in published) == sorted(
        set(kept) - set(canonical.values())
    )
    ids = {row["n"]: row["record_id"] for row in sent}
    assert all(row["canonical"] == ids[canonical[rows[row["c1"]][1]]] for row in published)
    assert (snapshot.records, snapshot.duplicates) == (len(kept), len(published))


def _first_of_each_id(rows: list[tuple[str, str]]) -> set[int]:
    return {[id_ for id_, _ in rows].index(one) for one, _ in rows}


def test_derived_ids_lose_no_row_and_stay_the_same() -> None:
    table = pa.table({"text": ["a", "b", "a", "a"], "n": [1, 2, 1, 1]})
    rows, rejected, *_ = taken(table, plan(record_id=None, carry=["n"]))
    ids = [row["record_id"] for row in rows]
    assert len(set(ids)) == 4
    assert ids[2:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    assert not rejected
    assert taken(table, plan(record_id=None, carry=["n"]), 1)[0] == rows


def test_duplicates_over_parts_are_found_and_the_first_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_ROWS", 10)
    table = pa.table({"id": [n % 30 for n in range(60)], "text": [f"t{n}" for n in range(60)]})
    rows, rejected, _, parts = taken(table, plan(), 5)
    assert parts == 3
    assert [row["text"] for row in rows] == [f"t{n}" for n in range(30)]
    assert [(row["position"], row["record_id"]) for row in rejected] == [
        (n, str(n - 30)) for n in range(30, 60)
    ]


def test_large_rows_make_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 5000)
    table = pa.table({"id": range(20), "text": ["x" * 1000] * 20})
    assert taken(table, plan(), 1)[3] == 4


def test_the_hash_is_over_content_in_its_order() -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"]})
    same = pa.table({"unused": [0, 0], "text": ["a", "b"], "id": [1, 2]})
    other = pa.table({"id": [1, 2], "text": ["a", "c"]})
    assert taken(table, plan())[2] == taken(same, plan())[2] != taken(other, plan())[2]


def test_a_binary_column_cannot_be_in_a_prompt() -> None:
    with pytest.raises(EmptyDatasetError, match="column 'text' is binary"):
        taken(pa.table({"id": [1], "text": [b"x"]}), plan())


def test_text_that_is_not_utf8_costs_its_row_alone() -> None:
    texts = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    rows, rejected, *_ = taken(pa.table({"id": [1, 2, 3], "text": texts}), plan())
    assert [row["record_id"] for row in rows] == ["1", "3"]
    assert [(row["position"], row["reason"]) for row in rejected] == [(1, "row is not UTF-8")]


def test_derived_ids_tell_types_and_nulls_apart_and_do_not_change_from_version_to_version() -> None:
    table = pa.table({"text": ["a", "a", "b"], "n": [1, None, 1], "f": [0.5, 0.5, 0.5]})
    rows, *_ = taken(table, plan(record_id=None, carry=["n", "f"]))
    contents = [{"f": "0.5", "n": n, "text": text} for n, text in (("1", "a"), (None, "a"), ("1", "b"))]
    assert [row["record_id"] for row in rows] == [
        hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest() for content in contents
    ]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            plan(prompt="{{ nope }}"),
            r"'nope', which the input does not have.*columns are: id, text, status, __position",
        ),
        (plan(record_id="nope"), "no column 'nope'"),
        (plan(record_id=None, prompt="Say hello."), "every record would be the same"),
    ],
)
def test_columns_that_are_missing_are_named(one: SnapshotPlan, said: str) -> None:
    table = pa.table({"id": [1], "text": ["a"], "status": ["b"], "__position": [0]})
    with pytest.raises((ColumnError, TemplateError), match=said):
        taken(table, one)


def test_nothing_at_all_is_a_clear_error() -> None:
    empty = pa.schema([("id", pa.string()), ("text", pa.string())]).empty_table()
    with pytest.raises(EmptyDatasetError, match="has no record"):
        taken(empty, plan())


def test_a_long_id_becomes_a_digest_where_the_original_is_carried_along() -> None:
    long = ["u" * 5000 + end for end in ("a", "b", "b")]
    table = pa.table({"id": [*long, "short"], "text": ["x"] * 4})
    kept, rejected, _, _ = taken(table, plan(carry=["id"]))
    digests = [f"blake2b:{hashlib.blake2b(one.encode(), digest_size=32).hexdigest()}" for one in long[:2]]
    assert [(row["record_id"], row["id"]) for row in kept] == [
        *zip(digests, long, strict=False),
        ("short", "short"),
    ]
    assert [row["reason"] for row in rejected] == ["record id occurred before"]
    kept, rejected, _, _ = taken(table, plan())
    assert [row["record_id"] for row in kept] == ["short"]
    assert {row["reason"] for row in rejected} == {"record id is longer than 4096 characters"}


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_empty_texts_of_the_prompts_columns_are_counted_in_a_note(tmp_path: Path, text: pa.DataType) -> None:
    columns = {"id": list("abcde"), "text": ["x", "", None, "", " "], "n": range(5), "other": [""] * 5}
    types = {"id": pa.string(), "text": text, "n": pa.int64(), "other": pa.string()}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    one = plan(prompt="{{ text }}, {{ n }}", carry=("other",))
    with RejectionWriter(tmp_path / "rejected.jsonl") as rejected:
        notes = write_snapshot(source(table, block=2), one, tmp_path, rejected).notes
    [note] = notes
    assert note.startswith(
        "Records with an empty text in column 'text' of the prompt: 2; they are sent, but for those whose message is blank "
        "then, if the model rejects that."
    )
