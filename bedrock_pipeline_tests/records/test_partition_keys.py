"""Keys of partitions of any kind as keys of datasets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.records.keys import KeyRuleError, check_dataset_key, dataset_of, partition_of


@pytest.mark.parametrize(
    ("partition", "dataset"),
    [
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24-05:00", "2026-11-24-05.x3A.00"),
        ("2026-11-24|eu", "2026-11-24.x7C.eu"),
        ("v1.0", "v1.0"),
        ("a--b", "a-.x2D.b"),
        ("süd", "s.xC3BC.d"),
        ("v1.10", "v1.10"),
        ("2026.11.24", "2026.11.24"),
        ("24.11.2026", "24.11.2026"),
        ("1.2E.25", "1.2E.25"),
        ("linux.x86", "linux.x86"),
        ("a.x3A.b", "a.x2E.x3A.b"),
        ("a.x3A:b", "a.x2E.x3A.x3A.b"),
        ("Österreich", "q.xC396.sterreich"),
        ("(none)", "q.x28.none.x29.q"),
        ("us-", "us-q"),
        ("-5", "q-5"),
        (".", "q.q"),
        ("q.a", "qq.a"),
    ],
)
def test_what_a_dataset_key_cannot_have_is_written_in_hexadecimal(partition: str, dataset: str) -> None:
    assert dataset_of(partition) == dataset
    assert partition_of(dataset) == partition


@given(st.text(alphabet=st.sampled_from(list("abqx-.:|/ 2E39AFé")), min_size=1, max_size=12))
def test_there_is_a_way_back(partition: str) -> None:
    try:
        dataset = dataset_of(partition)
    except KeyRuleError:
        assert len(partition) > 4, "it would be too long"
        return
    assert partition_of(dataset) == partition


def test_a_key_that_gets_too_long_is_an_error_that_says_so() -> None:
    with pytest.raises(KeyRuleError, match="has 45 characters"):
        dataset_of("a" + "|" * 20 + "b")


@pytest.mark.parametrize(
    "dataset", ["v1.x80.final", "1.x99.0", "2026.11.24", "q.a", "a-q", "x.x2D.y", "q-x2D-q"]
)
def test_a_dataset_that_was_launched_by_its_name_may_have_no_partition(dataset: str) -> None:
    partition = partition_of(dataset)
    assert partition is None or dataset_of(partition) == dataset
    assert partition_of("v1.x80.final") is None


@pytest.mark.parametrize("written", ["", " As the key of a partition it is written 2026-11-24-05.x3A.00."])
def test_what_is_no_dataset_key_is_shown_as_that_of_a_partition_where_it_fits(written: str) -> None:
    with pytest.raises(KeyRuleError) as raised:
        check_dataset_key("2026-11-24-05:00" if written else "a" * 41)
    assert raised.value.fix.endswith(f"such as 2026-11-24.{written}")
