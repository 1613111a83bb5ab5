"""Which partitions of an upstream asset a dataset is made of, and which dataset a partition of it belongs to. Pure."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg
from dagster import TimeWindowPartitionsDefinition as TimeWindows

from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.keys import dataset_of, partition_of
from bedrock_pipeline.sources import UpstreamAsset

#: When all partitions exist that ever will.
_IN_THE_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


def upstream_keys(names: Names, upstream: dg.PartitionsDefinition | None, dataset: str) -> list[str] | None:
    """The partitions of the upstream asset that a dataset is made of; None: the asset has none and is taken as a whole.

    A pipeline with dynamic datasets takes the partition of the dataset's key. One with partitions of its own takes the
    partition of the same key, all that lie in its time window, or the one of the dimension that both have. Days that will exist
    are among those of a week; days before the asset's start or after its end are not.
    """
    if upstream is None:
        return None
    own, key = names.own_partitions, names.partition(dataset)
    if own is None:
        return [partition_of(dataset) or dataset]
    if isinstance(own, TimeWindows) and isinstance(upstream, TimeWindows) and own != upstream:
        within = upstream.get_partition_keys_in_time_window(own.time_window_for_partition_key(key))
        return [one for one in within if will_exist(upstream, one)]
    if isinstance(own, dg.MultiPartitionsDefinition) and own != upstream:
        dimensions = own.get_partition_key_from_str(key).keys_by_dimension
        shared = [one.name for one in own.partitions_defs if one.partitions_def == upstream]
        return [dimensions[name] for name in shared] or [key]
    return [key]


def datasets_of(
    pipeline: Pipeline, source: UpstreamAsset, upstream: dg.PartitionsDefinition | None, key: str | None
) -> list[str]:
    """The datasets that a materialization of the upstream asset concerns; none if that does not follow from the partition.

    The partition of a dataset may not exist yet, such as a week that has not ended.
    """
    names = Names.of(pipeline)
    own = names.own_partitions
    if own is None:
        return [source.dataset if key is None else dataset_of(key)]
    if key is None:
        return []
    if own == upstream:
        keys = [key]
    elif isinstance(own, TimeWindows) and isinstance(upstream, TimeWindows):
        keys = _windows_around(own, upstream.time_window_for_partition_key(key))
    elif isinstance(own, dg.MultiPartitionsDefinition):
        shared = [one.name for one in own.partitions_defs if one.partitions_def == upstream]
        keys = [one for name in shared for one in own.get_multipartition_keys_with_dimension_value(name, key)]
    else:
        keys = []
    return [names.dataset(one) for one in keys if will_exist(own, one)]


def will_exist(partitions: dg.PartitionsDefinition, key: str) -> bool:
    """Whether a partition exists, or begins to at some time."""
    with dg.partition_loading_context(_IN_THE_END):
        return partitions.has_partition_key(key)


def _windows_around(own: TimeWindows, window: dg.TimeWindow) -> list[str]:
    """The partition whose window has all of another; none if its windows are shorter, such as hours of a day."""
    key = own.get_partition_key_for_timestamp(window.start.timestamp())
    if key is None or own.time_window_for_partition_key(key).end < window.end:
        return []
    return [key]
