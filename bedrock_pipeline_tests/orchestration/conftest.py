"""What the tests of the orchestration share."""

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster of this test's own, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
