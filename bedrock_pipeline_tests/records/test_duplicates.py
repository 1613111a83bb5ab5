"""Whether ids are all different is found out from hashes of few, and left to DuckDB for many."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.records import duplicates
from bedrock_pipeline.records.duplicates import SeenIds


@given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=5))
def test_ids_that_all_differ_are_told_from_those_that_do_not(batches: list[list[str]]) -> None:
    seen = SeenIds()
    for batch in batches:
        seen.add(pa.array(batch, pa.string()))
    ids = [one for batch in batches for one in batch]
    assert seen.all_differ() == (len(set(ids)) == len(ids))


def test_of_too_many_ids_nothing_is_said_and_nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_FEW", 5)
    seen = SeenIds()
    seen.add(pa.array(["a", "b", "c"]))
    seen.add(pa.array(["d", "e", "f"]))
    assert not seen.all_differ()
    assert seen._hashes is None
