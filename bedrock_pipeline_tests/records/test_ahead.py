"""Reading ahead, and threads whose results keep their order."""

from collections.abc import Iterator
from itertools import islice

import pytest

from bedrock_pipeline.records.ahead import ahead, in_order


def test_what_is_read_ahead_keeps_order_and_errors() -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise ValueError("broken")

    results = in_order(lambda number: number * 2, ahead(items(), 3), 2)
    assert list(islice(results, 5)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="broken"):
        list(results)
    assert list(in_order(str, ahead(iter(range(5))), 2)) == list("01234")
