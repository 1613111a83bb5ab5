"""Whether rows all differ: from a hash of each, however many there are."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.prepare.snapshot import duplicates
from bedrock_pipeline.prepare.snapshot.duplicates import SeenHashes, row_hashes


@pytest.mark.parametrize("limit", [2, 1000])
@pytest.mark.parametrize("kernel", ["on", "off"])
def test_ids_that_all_differ_are_distinguished_from_those_that_do_not(
    limit: int, kernel: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    monkeypatch.setattr(duplicates, "_HELD", limit)

    @given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=5))
    def check(batches: list[list[str]]) -> None:
        seen = SeenHashes(tmp_path_factory.mktemp("seen") / "ids")
        for batch in batches:
            seen.add(row_hashes([pa.array(batch, pa.string())]))
        ids = [one for batch in batches for one in batch]
        assert seen.all_differ() == (len(set(ids)) == len(ids))

    check()


def test_many_hashes_are_in_files_of_similar_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_HELD", 1000)
    seen = SeenHashes(tmp_path / "ids")
    for start in range(0, 64_000, 500):
        seen.add(row_hashes([pa.array([f"row-{number:09}" for number in range(start, start + 500)])]))
    assert seen.all_differ()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert sum(sizes) == 64_000 * 8
    assert len(sizes) == 64
    assert max(sizes) < 2 * min(sizes)


@given(
    rows=st.lists(st.tuples(st.none() | st.text(max_size=2), st.none() | st.integers(0, 2), st.booleans()))
)
def test_rows_are_hashed_by_their_values_whatever_the_layout(
    rows: list[tuple[str | None, int | None, bool]],
) -> None:
    texts, numbers, flags = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    plain = [pa.array(texts, pa.string()), pa.array(numbers, pa.int8()), pa.array(flags, pa.bool_())]
    other = [pa.array(texts, pa.large_string()), pa.array(numbers, pa.int64()), plain[2]]
    other[0] = other[0].dictionary_encode()
    hashes = row_hashes(plain).tolist()
    assert hashes == row_hashes(other).tolist()
    different = {(text or "", "" if number is None else str(number)) for text, number, _ in rows}
    assert len(set(hashes)) == len(different)
