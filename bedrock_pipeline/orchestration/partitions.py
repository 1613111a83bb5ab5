"""Which datasets and chunks Dagster knows.

What belongs here: telling it their keys, so that runs for them may be asked for.
"""

from collections.abc import Iterable

import dagster as dg

from bedrock_pipeline.orchestration.names import Names


def register(
    instance: dg.DagsterInstance, names: Names, *, datasets: Iterable[str] = (), chunks: Iterable[str] = ()
) -> None:
    """Tell the keys of datasets and chunks of one pipeline; those that are known change nothing."""
    for partitions, keys in ((names.datasets.name, list(datasets)), (names.chunks.name, list(chunks))):
        assert partitions is not None  # it is dynamic
        if keys:
            instance.add_dynamic_partitions(partitions, keys)
