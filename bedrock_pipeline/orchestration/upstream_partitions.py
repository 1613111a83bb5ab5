"""Which partitions of an upstream asset a dataset is made of, and which dataset a partition of it belongs to. Pure."""

import dagster as dg
from dagster import TimeWindowPartitionsDefinition as TimeWindows

from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.partition_keys import dataset_of, partition_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.sources import UpstreamAsset


def upstream_keys(names: Names, upstream: dg.PartitionsDefinition | None, dataset: str) -> list[str] | None:
    """The partitions of the upstream asset that a dataset is made of; None: the asset has none and is taken as a whole.

    A pipeline with dynamic datasets takes the partition of the dataset's key. One with partitions of its own takes the
    partition of the same key, all that lie in its time window, or the one of the dimension that both have.
    """
    if upstream is None:
        return None
    own, key = names.own_partitions, names.partition(dataset)
    if own is None:
        return [partition_of(dataset) or dataset]
    if isinstance(own, TimeWindows) and isinstance(upstream, TimeWindows) and own != upstream:
        return list(upstream.get_partition_keys_in_time_window(own.time_window_for_partition_key(key)))
    if isinstance(own, dg.MultiPartitionsDefinition) and own != upstream:
        dimensions = own.get_partition_key_from_str(key).keys_by_dimension
        shared = [one.name for one in own.partitions_defs if one.partitions_def == upstream]
        return [dimensions[name] for name in shared] or [key]
    return [key]


def datasets_of(
    pipeline: Pipeline, source: UpstreamAsset, upstream: dg.PartitionsDefinition | None, key: str | None
) -> list[str]:
    """The datasets that a materialization of the upstream asset concerns; none if that does not follow from the partition."""
    names = Names.of(pipeline)
    own = names.own_partitions
    if own is None:
        return [source.dataset if key is None else dataset_of(key)]
    if key is None:
        return []
    if isinstance(own, TimeWindows) and isinstance(upstream, TimeWindows) and own != upstream:
        begin = upstream.time_window_for_partition_key(key).start
        found = own.get_partition_key_for_timestamp(begin.timestamp())
        return [names.dataset(found)] if found else []
    return [names.dataset(key)] if own == upstream else []
