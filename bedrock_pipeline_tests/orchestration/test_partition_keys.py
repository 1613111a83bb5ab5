"""Keys of partitions of any kind as keys of datasets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.orchestration.partition_keys import dataset_of, partition_of
from bedrock_pipeline.records.keys import KeyRuleError


@pytest.mark.parametrize(
    ("partition", "dataset"),
    [
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24-05:00", "2026-11-24-05.3A.00"),
        ("2026-11-24|eu", "2026-11-24.7C.eu"),
        ("v1.0", "v1.0"),
        ("a--b", "a-.2D.b"),
        ("süd", "s.C3BC.d"),
        ("1.25", "1.2E.25"),
        ("Österreich", "q.C396.sterreich"),
        ("(none)", "q.28.none.29.q"),
        ("us-", "us-q"),
        ("-5", "q-5"),
        (".", "q.q"),
        ("q.a", "qq.a"),
    ],
)
def test_what_a_dataset_key_cannot_have_is_written_in_hexadecimal(partition: str, dataset: str) -> None:
    assert dataset_of(partition) == dataset
    assert partition_of(dataset) == partition


@given(st.text(alphabet=st.sampled_from(list("abq-.:|/ 2E39AFé")), min_size=1, max_size=12))
def test_there_is_a_way_back(partition: str) -> None:
    try:
        dataset = dataset_of(partition)
    except KeyRuleError:
        assert len(partition) > 4, "it would be too long"
        return
    assert partition_of(dataset) == partition


def test_a_key_that_gets_too_long_is_an_error_that_says_so() -> None:
    with pytest.raises(KeyRuleError, match="has 44 characters"):
        dataset_of("a" + "|" * 20 + "b")


@pytest.mark.parametrize("dataset", ["v1.80.final", "1.99.0", "2026.11.24", "q.a", "a-q", "x.2D.y", "q-2D-q"])
def test_a_dataset_that_was_launched_by_its_name_may_have_no_partition(dataset: str) -> None:
    partition = partition_of(dataset)
    assert partition is None or dataset_of(partition) == dataset
    assert partition_of("v1.80.final") is None
