"""A value that is stored once and stands in every row: a small file whose rows are a gigabyte is read in small batches."""

from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.sources import open_location
from bedrock_pipeline.sources.arrow_objects import source_of
from bedrock_pipeline_tests.sources.test_hostile_files import NO_S3

ROWS, LARGE = 4096, "x" * 200_000
DICTIONARY = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array([LARGE]))
IDS = [str(number) for number in range(ROWS)]


def parquet(table: pa.Table, path: Path, *, keep_types: bool) -> None:
    pq.write_table(table, path, compression="zstd", store_schema=keep_types)


def tables() -> dict[str, pa.Array]:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array([LARGE]))
    one = pa.array([LARGE], pa.string_view()).buffers()
    views = pa.Array.from_buffers(
        pa.string_view(), ROWS, [None, pa.py_buffer(one[1].to_pybytes()[:16] * ROWS), *one[2:]]
    )
    lists = pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), DICTIONARY)
    structs = pa.StructArray.from_arrays([DICTIONARY], ["inner"])
    return {"dictionary": DICTIONARY, "runs": runs, "views": views, "lists": lists, "structs": structs}


def check(location_or_object: Path | pa.Table) -> None:
    source = (
        open_location(str(location_or_object), NO_S3)
        if isinstance(location_or_object, Path)
        else source_of(location_or_object)
    )
    seen = 0
    for batch in source.batches(["id", "text"]):
        assert batch.rows.num_rows * len(LARGE) <= 8_000_000, "what the rows may become decides"
        seen += batch.rows.num_rows
    assert seen == ROWS


@pytest.mark.parametrize("keep_types", [True, False])
@pytest.mark.parametrize("kind", ["dictionary", "lists", "structs"])
def test_a_dictionary_of_a_parquet_file(tmp_path: Path, kind: str, keep_types: bool) -> None:
    path = tmp_path / "bomb.parquet"
    parquet(pa.table({"id": IDS, "text": tables()[kind]}), path, keep_types=keep_types)
    assert path.stat().st_size < 100_000
    check(path)


@pytest.mark.parametrize("kind", ["dictionary", "lists", "structs", "views"])
def test_an_arrow_file(tmp_path: Path, kind: str) -> None:
    feather.write_feather(pa.table({"id": IDS, "text": tables()[kind]}), tmp_path / "bomb.arrow", "zstd")
    check(tmp_path / "bomb.arrow")


@pytest.mark.parametrize("kind", list(tables()))
def test_a_table_in_memory(kind: str) -> None:
    check(pa.table({"id": IDS, "text": tables()[kind]}))


def test_an_ordinary_dictionary_does_not_make_batches_small(tmp_path: Path) -> None:
    words = pa.array([f"category {number % 50}" for number in range(20 * ROWS)])
    pq.write_table(
        pa.table({"text": words, "more": [f"{n}" * 20 for n in range(20 * ROWS)]}), tmp_path / "a.parquet"
    )
    batches = list(open_location(str(tmp_path / "a.parquet"), NO_S3).batches(["text", "more"]))
    assert len(batches) <= 25
