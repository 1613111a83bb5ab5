"""Small files as people have them, through to the snapshot: their ids, their images, names and reasons."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.attachments import NotAnAttachmentError, image_of, nowhere
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, write_snapshot
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import open_location
from bedrock_pipeline_tests.sources.test_sources import NOWHERE

CASES = Path(__file__).parents[2] / "sources" / "cases"
_PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 60


def _taken(location: str, prompt: str, **fields: Any) -> tuple[Records, dict[str, int], tuple[str, ...]]:
    """The records of the first part, the reasons of rejected rows, and the notes."""
    pipeline = Pipeline(name="p", model_id="anthropic.claude-3-haiku-20240307-v1:0", prompt=prompt, **fields)
    with tempfile.TemporaryDirectory() as name:
        source = open_location(location, NOWHERE)
        with RejectionWriter(Path(name) / "rejected") as rejected:
            snapshot = write_snapshot(source, SnapshotPlan.of(pipeline), Path(name), rejected)
        [batch] = pq.read_table(snapshot.parts[0]).to_batches()
        return Records.of_stored(batch), dict(rejected.by_reason), snapshot.notes


@pytest.mark.parametrize("prompt", ["{{ filename }}: {{ text }}", "{{ text }}"])
def test_a_column_may_be_named_filename(prompt: str) -> None:
    records, _, _ = _taken(str(CASES / "01-filename.jsonl"), prompt, carry=("filename",))
    assert records.rows["filename"].to_pylist() == ["a.pdf", "b.pdf"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("float", ["10000000000000000", "10000000000000002", "12345", "0.1", "0"]),
        ("bool", ["True", "False"]),
    ],
)
def test_ids_print_as_their_owner_writes_them(name: str, ids: list[str]) -> None:
    records, _, notes = _taken(str(CASES / "d-ids" / f"{name}.parquet"), "{{ text }}", record_id="id")
    found = records.ids.to_pylist()
    assert [one for one in found if one in ids] == ids
    assert bool(notes) == (name == "float")
    assert all("12345.0 is the record id 12345" in note for note in notes)


def test_a_long_url_is_an_id() -> None:
    records, rejected, _ = _taken(str(CASES / "d-ids" / "long.parquet"), "{{ text }}", record_id="id")
    assert max(map(len, records.ids.to_pylist())) > 256
    assert rejected == {"record id has control characters": 1}


def test_images_may_be_structs_of_bytes_and_path() -> None:
    location = str(CASES / "06-hf-image" / "hf.parquet")
    records, rejected, _ = _taken(location, "What is this?", images=("image",), ask_identical_once=False)
    assert len(records.ids) == 2
    assert rejected == {}


@pytest.mark.parametrize(
    "cell",
    [
        _PNG,
        {"bytes": _PNG, "path": None},
        {"bytes": _PNG, "path": "a.png"},
        base64.encodebytes(_PNG).decode(),
        base64.b64encode(_PNG).decode().rstrip("="),
        "data:image/png;base64," + base64.encodebytes(_PNG).decode().replace("\n", "\r\n"),
    ],
)
def test_an_image_is_one_however_it_is_written(cell: object) -> None:
    assert image_of(cell, nowhere).data == _PNG


@pytest.mark.parametrize("cell", [{}, {"bytes": None, "path": None}, {"bytes": b"", "path": ""}, {"a": 1}, 7])
def test_what_holds_no_image_is_not_one(cell: object) -> None:
    with pytest.raises(NotAnAttachmentError, match=r"holds|is no PNG"):
        image_of(cell, nowhere)


def test_an_input_of_which_every_row_is_rejected_names_the_reasons(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(3, pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(EmptyDatasetError, match=r"3 rows were rejected.*3 rows: column 'text' is null"):
        _taken(str(tmp_path), "{{ text }}")


def test_whole_numbers_beside_fractions_print_without_a_point(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"p": 3}\n{"p": 2.5}\n')
    records, _, _ = _taken(str(tmp_path), "{{ p }}")
    assert records.rows.schema.field("p").metadata
    assert records.rows["p"].to_pylist() == [3.0, 2.5]


def test_a_late_value_of_another_type_changes_the_column_and_counts_no_row_twice(tmp_path: Path) -> None:
    lines = [f'{{"id": {row}, "p": {row}}}' for row in range(5000)]
    lines[10] = "not JSON"
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, '{"id": "late", "p": {"z": 1, "a": 2}}']))
    records, rejected, _ = _taken(str(tmp_path), "{{ p }}", record_id="id")
    assert rejected == {"line is not JSON": 1}
    assert records.ids.to_pylist() == [*map(str, range(10)), *map(str, range(11, 5000)), "late"]
    assert records.rows["p"].to_pylist()[-2:] == ["4999", '{"z":1,"a":2}']
