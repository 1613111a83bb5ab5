"""Partitions of chunks in Dagster, which `bedrock-pipeline prune` deletes."""

from collections.abc import Sequence

import dagster as dg

from bedrock_pipeline.orchestration.names import Names


def delete_chunk_partitions(
    instance: dg.DagsterInstance, pipeline: str, keys: Sequence[str], *, delete: bool
) -> int:
    """Delete the partitions of chunks that there are, or only count them; returns their number."""
    name = Names(pipeline).chunks.name
    assert name is not None  # dynamic partitions have one
    there = set(instance.get_dynamic_partitions(name)).intersection(keys)
    if delete:
        for key in sorted(there):
            instance.delete_dynamic_partition(name, key)
    return len(there)
