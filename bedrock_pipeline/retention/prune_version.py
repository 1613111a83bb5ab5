"""Delete what is not needed any more of versions that have not changed for long.

A version whose deletion broke off is found again the next time: what was deleted is recorded last.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.objects import ObjectInfo
from bedrock_pipeline.concurrency import REQUESTS_AT_ONCE, for_each, in_order
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.retention import ChunkFiles, Extent, OldVersion
from bedrock_pipeline.retention.decision import decide, files_of

#: Deletes the partitions of chunks of a pipeline, by their keys; returns how many there were.
DeletePartitions = Callable[[str, Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is deleted of a version, or would be.

    Attributes:
        extent: None where nothing is.
        why: why nothing, or not everything, is.
        objects: number of objects in S3.
        bytes: their size.
        events: rows of the ledger's events.
        partitions: partitions of chunks in Dagster; None where there is no Dagster.
        error: why it could not be looked at or deleted; the next time it is tried again.
    """

    pipeline: str
    dataset: str
    version: int
    extent: Extent | None
    why: str
    objects: int = 0
    bytes: int = 0
    events: int = 0
    partitions: int | None = None
    error: str = ""


def prune(
    deployment: Deployment,
    age: timedelta,
    pipeline: str | None = None,
    *,
    delete: bool,
    partitions: DeletePartitions | None = None,
) -> Iterator[Pruned]:
    """What is deleted, or would be, of each version that is older than `age`.

    Args:
        deployment: whose versions.
        age: how long nothing of a version must have changed.
        pipeline: whose versions; None: of all.
        delete: False only looks.
        partitions: counts or deletes partitions in Dagster; None where there is none.
    """
    for version in deployment.ledger.retention.older_than(age, pipeline):
        decision = decide(version)
        if decision.extent is None:
            yield Pruned(version.pipeline, version.dataset, version.version, None, decision.why)
            continue
        try:
            yield _prune(
                deployment, version, decision.extent, decision.why, delete=delete, partitions=partitions
            )
        except AwsError as error:  # of a bucket that is gone, say: the other versions do not wait for it
            yield Pruned(version.pipeline, version.dataset, version.version, None, "", error=error.what)


def _prune(
    deployment: Deployment,
    version: OldVersion,
    extent: Extent,
    why: str,
    *,
    delete: bool,
    partitions: DeletePartitions | None,
) -> Pruned:
    retention = deployment.ledger.retention
    chunks = retention.chunk_files(version)
    found = list(_objects(deployment, version, chunks, extent))
    events = retention.count_events(version)
    if delete:
        uris = ([one.uri] for one in found)
        for_each(deployment.objects.delete, uris, REQUESTS_AT_ONCE, deployment.system.executor)
    keys = [chunk.chunk_key for chunk in chunks]
    shown = partitions(version.pipeline, keys) if partitions else None
    if delete:
        retention.record_pruned(version, extent)
    size = sum(one.size for one in found)
    return Pruned(
        version.pipeline, version.dataset, version.version, extent, why, len(found), size, events, shown
    )


def _objects(
    deployment: Deployment, version: OldVersion, chunks: Sequence[ChunkFiles], extent: Extent
) -> Iterator[ObjectInfo]:
    """The objects that there are, each once."""
    snapshot = deployment.ledger.retention.snapshot(version)
    files = files_of(version, chunks, snapshot, extent)
    uris, executor = dict.fromkeys(files.uris), deployment.system.executor
    yield from filter(None, in_order(deployment.objects.head, uris, REQUESTS_AT_ONCE, executor))
    for folder in dict.fromkeys(files.folders):
        yield from deployment.objects.list(folder)
