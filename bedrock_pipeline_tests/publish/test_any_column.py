"""No name and no type of a column changes what happens to a row: prompts, ids and carried values are those of the file."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.chunks.snapshot_packer import pack_snapshot
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, Snapshot, write_snapshot
from bedrock_pipeline.publish.duplicate_rows import DuplicateRows
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.records.result_schema import RESERVED, carried, result_schema
from bedrock_pipeline.sources import local_file, open_location
from bedrock_pipeline_tests.publish.any_column import NAMES, SIMPLE, Kind, lists, maps, structs
from bedrock_pipeline_tests.sources.test_sources import NOWHERE

_ROWS = 4
# Arrow cannot write dictionaries of everything, nor views in lists, to parquet.
_NESTED = tuple(one for one in SIMPLE if not pa.types.is_dictionary(one.type) and "view" not in str(one.type))
kinds = st.one_of(
    st.sampled_from(SIMPLE),
    st.builds(lists, st.sampled_from(_NESTED)),
    st.builds(maps, st.sampled_from(_NESTED)),
    st.builds(
        lambda kind, names: structs(kind, *names),
        st.sampled_from(_NESTED),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True),
    ),
    st.builds(lambda kind: lists(structs(kind, "a", "A")), st.sampled_from(_NESTED)),
)
columns = st.tuples(kinds, st.lists(st.none() | st.integers(0, 3), min_size=_ROWS, max_size=_ROWS))


def _cells(kind: Kind, numbers: Sequence[int | None]) -> list[int | None]:
    return [None if number is None else number % len(kind.values) for number in numbers]


@st.composite
def inputs(
    draw: st.DrawFn,
) -> tuple[dict[str, tuple[Kind, list[int | None]]], list[str], list[str], str | None]:
    """Columns with their cells, those of the prompt, those that are carried, and that of the ids."""
    # In backticks a placeholder names any column whose name has none.
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    table = {name: (kind, _cells(kind, numbers)) for name in names for kind, numbers in [draw(columns)]}
    usable = [name for name in names if name and "`" not in name]
    prompt = usable[: draw(st.integers(0, 4))]
    carry = [name for name in names[:: draw(st.sampled_from([1, -1]))] if name.casefold() not in RESERVED]
    return table, prompt, carry, draw(st.sampled_from([None, *names]) if draw(st.booleans()) else st.none())


@pytest.mark.parametrize("part", range(8))
def test_prompts_ids_and_carried_values_are_those_of_the_file(part: int) -> None:
    """1,000 tables in all, the same in each run; a failing one is small as it is drawn, and shrinking takes minutes."""
    each = settings(
        max_examples=125,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    seed(part)(each(given(inputs(), st.booleans(), st.booleans())(_check)))()


def _check(one: Any, kernel: bool, once: bool) -> None:
    table, prompt, carry, id_column = one
    pipeline = Pipeline(
        name="p",
        model_id="amazon.nova-lite-v1:0",
        prompt="".join(f"<{{{{ `{name}` }}}}>" for name in prompt) or "constant",
        carry=tuple(carry),
        record_id=id_column,
        null_text="~",
        below_minimum="pad",
        ask_identical_once=once,
        limits=Limits(min_records=2, max_records=3),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = pa.table([kind.array(cells) for kind, cells in table.values()], names=list(table))
        pq.write_table(written, folder / "in.parquet")
        reread = pq.read_table(folder / "in.parquet")
        if not carry and not prompt and id_column is None:
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, "on" if kernel else "off")
            found, rejected = _published(folder, pipeline)
    expected = {row: _prompt(table, prompt, row) for row in range(_ROWS)}
    ids = [f"{row}" if id_column is None else _id(table[id_column], row) for row in range(_ROWS)]
    seen: set[str] = set()
    wanted = []
    for row in range(_ROWS):
        if (
            expected[row] is not None
            and ids[row] is not None
            and not (id_column is not None and ids[row] in seen)
        ):
            wanted.append(row)
        if expected[row] is not None and ids[row] is not None:
            seen.add(str(ids[row]))
    assert len(found) == len(wanted)
    assert rejected == _ROWS - len(wanted)
    used = set()
    for record_id, text, values in found:
        [row] = [
            row
            for row in wanted
            if row not in used
            and expected[row] == text
            and (id_column is None or ids[row] == record_id)
            and all(_same(values[name], reread[name].slice(row, 1).combine_chunks()) for name in carry)
        ][:1]
        used.add(row)


def _same(found: pa.Array, wanted: pa.Array) -> bool:
    """Whether a cell is the file's; a view is carried in the plain layout, a dictionary has the words in use."""
    if pa.types.is_dictionary(found.type):
        return _same(found.dictionary_decode(), wanted.dictionary_decode())
    return bool(found.equals(wanted if found.type == wanted.type else wanted.cast(found.type)))


def _prompt(table: dict[str, tuple[Kind, list[int | None]]], prompt: list[str], row: int) -> str | None:
    texts = []
    for name in prompt:
        kind, cells = table[name]
        number = cells[row]
        text = "~" if number is None else kind.texts[number]
        if text is None:
            return None
        texts.append(f"<{text}>")
    return "".join(texts) or "constant"


def _id(column: tuple[Kind, list[int | None]], row: int) -> str | None:
    kind, cells = column
    number = cells[row]
    text = None if number is None or pa.types.is_nested(kind.type) else (kind.ids or kind.texts)[number]
    if text is None or not text.strip() or any(ord(one) < 32 for one in text):
        return None
    if pa.types.is_floating(kind.type) and float(text).is_integer() and float(text) < 1e18:
        return str(int(float(text)))
    return (
        text.capitalize() if text in ("true", "false") else text
    )  # as str(True), by which tables are joined


def _published(folder: Path, pipeline: Pipeline) -> tuple[list[tuple[str, str, dict[str, pa.Array]]], int]:
    """Record id, prompt and carried values of every record, as the results would have them; and the rejected rows."""
    work = folder / "work"
    work.mkdir()
    with RejectionWriter(folder / "rejected") as rejected:
        source = open_location(str(folder / "in.parquet"), NOWHERE)
        try:
            snapshot = write_snapshot(source, SnapshotPlan.of(pipeline), work, rejected)
        except EmptyDatasetError:
            return [], rejected.count
        chunks = list(_packed(snapshot, pipeline, work, rejected))
    rows, parts = [], []
    for number, (index, lines) in enumerate(chunks):
        prompts = [json.loads(line)["modelInput"]["messages"][0]["content"][0]["text"] for line in lines]
        schema = result_schema(carried(index.schema), None)
        filled = [
            index[field.name] if field.name in index.column_names else pa.nulls(len(prompts), field.type)
            for field in schema
        ]
        # The prompt stands for the answer.
        filled[schema.get_field_index("output_text")] = pa.array(prompts, pa.string())
        parts.append(pa.table(filled, schema=schema))
        pq.write_table(parts[-1], folder / f"part-{number}.parquet")
    if snapshot.duplicate_parts:
        with closing(DuplicateRows(snapshot.duplicate_parts, folder)) as joined:
            for number, part in enumerate(list(parts)):
                batches = joined.rows_for(folder / f"part-{number}.parquet", part.schema)
                parts.append(pa.Table.from_batches(batches, part.schema))
    for part in parts:
        for row in range(part.num_rows):
            values = {name: part[name].slice(row, 1).combine_chunks() for name in pipeline.carry}
            rows.append((part["record_id"][row].as_py(), part["output_text"][row].as_py(), values))
    return [row for row in rows if not row[0].startswith("\x00")], rejected.count


def _packed(
    snapshot: Snapshot, pipeline: Pipeline, folder: Path, rejected: RejectionWriter
) -> list[tuple[pa.Table, list[bytes]]]:
    def keep(chunks: Iterator[PackedChunk], _plan: InvocationPlan) -> list[tuple[pa.Table, list[bytes]]]:
        return [
            (
                pq.read_table(chunk.index),
                b"".join(file.path.read_bytes() for file in chunk.files).splitlines(),
            )
            for chunk in chunks
        ]

    return pack_snapshot([local_file(str(part)) for part in snapshot.parts], pipeline, folder, rejected, keep)
