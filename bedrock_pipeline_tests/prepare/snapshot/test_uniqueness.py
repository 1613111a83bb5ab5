"""Whether record ids all differ: from a hash of each, however many there are."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.prepare.snapshot import uniqueness
from bedrock_pipeline.prepare.snapshot.uniqueness import SeenIds, id_hashes


@pytest.mark.parametrize("held", [2, 1000])
@pytest.mark.parametrize("kernel", ["on", "off"])
def test_ids_that_all_differ_are_told_from_those_that_do_not(
    held: int, kernel: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    monkeypatch.setattr(uniqueness, "_HELD", held)

    @given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=5))
    def check(batches: list[list[str]]) -> None:
        seen = SeenIds(tmp_path_factory.mktemp("seen"))
        for batch in batches:
            seen.add(id_hashes(pa.array(batch, pa.string())))
        ids = [one for batch in batches for one in batch]
        assert seen.all_differ() == (len(set(ids)) == len(ids))

    check()


def test_many_hashes_lie_in_files_and_are_spread_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uniqueness, "_HELD", 1000)
    seen = SeenIds(tmp_path)
    for start in range(0, 64_000, 500):
        seen.add(id_hashes(pa.array([f"row-{number:09}" for number in range(start, start + 500)])))
    assert seen.all_differ()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert sum(sizes) == 64_000 * 8
    assert len(sizes) == 64
    assert max(sizes) < 2 * min(sizes)
