"""Datasets that Hugging Face's `save_to_disk` has written, by version 5.2 of its package, and other Arrow files."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.stored_columns import ATTACHMENTS
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, write_snapshot
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import InputError, Source, open_location
from bedrock_pipeline_tests.sources.test_files_as_people_have_them import CASES, _both
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, read

SAVED = CASES / "hf-saved"


def snapshot(source: Source, folder: Path, column: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Stored rows, and reasons of rejected ones."""
    one = Pipeline(
        name="p", model_id="anthropic.claude-3-haiku-20240307-v1:0", prompt="{{ caption }}", images=(column,)
    )
    folder.mkdir()
    with RejectionWriter(folder / "rejected.parquet") as rejected:
        try:
            found = write_snapshot(source, SnapshotPlan.of(one), folder, rejected)
        except EmptyDatasetError:
            return [], dict(rejected.by_reason)
    return pq.read_table(found.parts[0]).to_pylist(), dict(rejected.by_reason)


def test_a_saved_dataset_is_read_in_its_order_with_its_images(tmp_path: Path) -> None:
    order = [f"picture {n}" for n in (5, 0, 1, 2, 3, 4)]
    assert _both(SAVED, "train", "caption") == order
    assert _both(SAVED, "splits/test", "caption") == ["picture 2"]
    stored, rejected = snapshot(open_location(str(SAVED / "train"), NOWHERE), tmp_path / "w", "image")
    assert rejected == {}
    assert [row[ATTACHMENTS][0]["kind"] for row in stored] == ["png"] * 6
    assert len({row[ATTACHMENTS][0]["data"] for row in stored}) == 6


def test_files_that_the_state_does_not_list_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    shutil.copytree(SAVED / "train", folder)
    shutil.copy(SAVED / "splits/test/data-00000-of-00001.arrow", folder / "cache-1f2e.arrow")
    source = open_location(str(folder), NOWHERE)
    assert len(read(source, "caption")[0]) == 6
    assert source.notes() == [
        f"{folder}/cache-1f2e.arrow is not read: it is not listed in state.json.",
        f"{folder}/dataset_info.json is not read: it describes the dataset.",
        f"{folder}/state.json is not read: it describes the dataset.",
    ]
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"data-00001-of-00002\.arrow is missing"):
        open_location(str(folder), NOWHERE)


def test_several_splits_are_not_mixed() -> None:
    with pytest.raises(InputError, match=r"the splits train, test\. Name one of them"):
        open_location(str(SAVED / "splits"), NOWHERE)


@pytest.mark.parametrize(
    "start", [b"RIFF\0\0\0\0WAVEfmt ", b"ID3\x04", b"fLaC\0", b"OggS\0"], ids=["wav", "mp3", "flac", "ogg"]
)
def test_audio_is_rejected_as_audio(tmp_path: Path, start: bytes) -> None:
    rows = pa.table({"caption": ["a"], "audio": [{"bytes": start + bytes(50), "path": "a.wav"}]})
    feather.write_feather(rows, tmp_path / "rows.arrow", compression="uncompressed")
    stored, rejected = snapshot(open_location(str(tmp_path / "rows.arrow"), NOWHERE), tmp_path / "w", "audio")
    assert stored == []
    [reason] = rejected
    assert "'audio'" in reason
    assert "is audio, which requests of batch inference cannot have" in reason


def test_arrow_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(9000)), "b": ["x"] * 9000})
    for compression in ("zstd", "uncompressed"):
        feather.write_feather(table, tmp_path / f"{compression}.feather", compression=compression)
    with (
        pa.OSFile(str(tmp_path / "zstream.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    shutil.copy(tmp_path / "zstream.arrow", tmp_path / "zunnamed")
    assert _both(tmp_path, "*", "a") == list(range(9000)) * 4


def test_arrow_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    feather.write_feather(pa.table({"a": [1]}), tmp_path / "0.feather")
    feather.write_feather(pa.table({"a": ["x"]}), tmp_path / "1.feather")
    with pytest.raises(InputError, match=r"'a' is int64 in .*0\.feather, but string in .*1\.feather"):
        read(open_location(str(tmp_path), NOWHERE))
    (tmp_path / "1.feather").write_bytes((tmp_path / "0.feather").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"1\.feather is damaged"):
        read(open_location(str(tmp_path), NOWHERE))


def test_a_compressed_file_of_columns_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress((tmp_path / "plain.parquet").read_bytes()))
    with pytest.raises(InputError, match=r"rows\.parquet\.gz is a compressed file of parquet"):
        open_location(str(tmp_path / "rows.parquet.gz"), NOWHERE)


def test_an_error_in_parquet_names_its_row_group(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"a": [f"{n:0100}" for n in range(3000)]}), path, row_group_size=1000, compression="zstd"
    )
    place = pq.ParquetFile(path).metadata.row_group(2).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"rows\.parquet is damaged in row group 2"):
        read(open_location(str(path), NOWHERE))


@pytest.mark.parametrize(
    "state",
    ["", "{", "[]", "null", '{"_data_files": {}}', '{"_data_files": [1]}', '{"_data_files": [{}]}', "\xff",
     '{"_data_files": [{"filename": 1}]}', '{"_data_files": [{"filename": "../a.arrow"}]}'],
)  # fmt: skip
def test_a_state_that_is_broken_is_an_error_that_names_it(state: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(state.encode("latin-1"))
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match=r"state\.json"):
        read(open_location(str(tmp_path), NOWHERE))
    (tmp_path / "dataset_dict.json").write_text('{"splits": [1, null]}')
    with pytest.raises(InputError, match="splits 1, None"):
        read(open_location(str(tmp_path), NOWHERE))
