"""Materializations of work that was done outside Dagster.

A `BedrockQueue` submits and collects by itself if nobody else does; the sensor `flush_queues` records that here.
"""

import json
from collections.abc import Iterator

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.events import Event, Position
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names

#: The most events of one queue that a tick reads; each costs some tens of milliseconds.
_MOST_EVENTS = 100


def outside_materializations(
    instance: dg.DagsterInstance, opened: Deployment, queues: list[str], cursor: str | None
) -> tuple[list[dg.AssetMaterialization], str]:
    """Materializations of the queues' chunks that Dagster does not have yet, and the next cursor.

    A lost cursor means that every event is read again; what Dagster has is not recorded twice.
    """
    positions: dict[str, str] = json.loads(cursor) if cursor else {}
    events: list[dg.AssetMaterialization] = []
    for queue in queues:
        position = Position.of(positions[queue]) if queue in positions else Position()
        for event in opened.ledger.events.after(position, pipeline=queue, limit=_MOST_EVENTS):
            positions[queue] = str(event.position)
            events += _of_event(instance, opened, event)
    return events, json.dumps(positions)


def _of_event(
    instance: dg.DagsterInstance, opened: Deployment, event: Event
) -> Iterator[dg.AssetMaterialization]:
    chunk = opened.ledger.chunks.by_id(event.chunk_id)
    if chunk is None:
        return
    final = event.status == "final"
    chunks = [chunk, *(opened.ledger.queues.later_chunks(chunk.chunk_id) if final else [])]
    names = Names(chunk.pipeline)
    names.register(instance, datasets=[chunk.dataset], chunks=[one.chunk_key for one in chunks])
    for one in chunks:
        if final or event.status == "queued":
            yield from _missing(instance, names, "submitted_jobs", one)
        if final:
            yield from _missing(instance, names, "parsed_results", one)


def _missing(
    instance: dg.DagsterInstance, names: Names, asset: str, chunk: ChunkRow
) -> Iterator[dg.AssetMaterialization]:
    of_chunk = dg.AssetRecordsFilter(asset_key=names.asset(asset), asset_partitions=[chunk.chunk_key])
    if not instance.fetch_materializations(of_chunk, limit=1).records:
        yield dg.AssetMaterialization(
            names.asset(asset), partition=chunk.chunk_key, metadata=metadata.of_outside_work(chunk)
        )
