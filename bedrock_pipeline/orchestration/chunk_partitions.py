"""Partitions of chunks in Dagster, which `bedrock-pipeline prune` deletes."""

from collections.abc import Sequence

import dagster as dg

from bedrock_pipeline.orchestration.names import Names


class ChunkPartitions:
    """The partitions of chunks, of which each pipeline's list is read once: it may have a hundred thousand keys."""

    def __init__(self, instance: dg.DagsterInstance, *, delete: bool) -> None:
        self._instance = instance
        self._delete = delete
        self._listed: dict[str, set[str]] = {}

    def __call__(self, pipeline: str, keys: Sequence[str]) -> int:
        """Delete the partitions of a pipeline's chunks that there are, or only count them; returns their number."""
        name = Names(pipeline).chunks.name
        assert name is not None  # dynamic partitions have one
        if name not in self._listed:
            self._listed[name] = set(self._instance.get_dynamic_partitions(name))
        there = self._listed[name].intersection(keys)
        if self._delete:
            for key in sorted(there):
                self._instance.delete_dynamic_partition(name, key)
        return len(there)
