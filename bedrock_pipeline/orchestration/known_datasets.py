"""Materializations of what the ledger knows and Dagster does not: its storage is new, or was wiped.

What belongs here: reading the ledger's datasets page by page, once for each pipeline and cursor. What is prepared and published
from then on is reported by its runs; a partition that was deleted in the UI stays deleted while the cursor is kept.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names

#: The most datasets that a tick reads; each has up to three events, which Dagster stores in some 15 to 40 ms each.
_MOST_DATASETS: Final = 25
#: The last dataset of a pipeline that was read, by pipeline; None: all were.
Positions = dict[str, str | None]


def known_datasets(
    instance: dg.DagsterInstance, opened: Deployment, names: Mapping[str, Names], positions: Positions
) -> tuple[list[dg.AssetMaterialization], Positions]:
    """Materializations that Dagster lacks, of the next page of datasets, and the next positions.

    Args:
        instance: gets a partition for each dataset that is read.
        opened: the deployment.
        names: by pipeline; queues are not among them, since their events say more.
        positions: of the last tick.
    """
    unread = next((name for name in sorted(names) if positions.get(name, "") is not None), None)
    if unread is None:
        return [], positions
    rows = opened.ledger.versions.current(unread, after=positions.get(unread) or "", limit=_MOST_DATASETS)
    position = rows[-1].dataset if len(rows) == _MOST_DATASETS else None
    of_pipeline = names[unread]
    rows = [row for row in rows if _has_partition(of_pipeline, row.dataset)]
    of_pipeline.register(instance, datasets=[row.dataset for row in rows])
    return list(_missing(instance, opened, of_pipeline, rows)), {**positions, unread: position}


def _has_partition(names: Names, dataset: str) -> bool:
    """Whether the dataset can have a partition; one that was launched under another key cannot."""
    own = names.own_partitions
    return own is None or own.has_partition_key(names.partition(dataset))


def _missing(
    instance: dg.DagsterInstance, opened: Deployment, names: Names, rows: list[DatasetRow]
) -> Iterator[dg.AssetMaterialization]:
    keys = {name: names.asset(name) for name in ("input_dataset", "batch_chunks", "results")}
    there = {name: instance.get_materialized_partitions(key) for name, key in keys.items()} if rows else {}
    for row in rows:
        partition = names.partition(row.dataset)
        for name, shown, data_version in _known(opened, row):
            if partition not in there[name]:
                tags = {DATA_VERSION_TAG: data_version} if data_version else None
                yield dg.AssetMaterialization(keys[name], partition=partition, metadata=shown, tags=tags)


def _known(opened: Deployment, row: DatasetRow) -> Iterator[tuple[str, metadata.Metadata, str | None]]:
    """The assets of a dataset that are there, each with its metadata and data version."""
    if row.snapshot_hash:
        yield "input_dataset", metadata.of_known_snapshot(row), row.snapshot_hash
    if row.packed_hash:
        yield "batch_chunks", metadata.of_known_chunks(row), None
    if row.results_uri:
        progress = opened.ledger.datasets.progress(row.pipeline, row.dataset)
        version = f"v{row.published_version}-{row.publication}"
        yield "results", metadata.of_known_results(row, progress, version), version
