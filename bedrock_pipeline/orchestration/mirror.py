"""The ledger of queues, mirrored.

What belongs here: telling Dagster what processes outside of it have done with a queue's chunks (`BedrockQueue` submits and
collects by itself where nobody else does).
"""

import json
from collections.abc import Iterator

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.events import Event, Position
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.partitions import register

#: Events of one queue that a tick mirrors at the most; each costs some tens of milliseconds.
_MOST_EVENTS = 100


def mirrored(
    instance: dg.DagsterInstance, opened: Deployment, queues: list[str], cursor: str | None
) -> tuple[list[dg.AssetMaterialization], str]:
    """What happened to chunks outside of Dagster since the cursor, as materializations; and the next cursor.

    A cursor that is lost costs a look at every event again; what Dagster knows is not told twice.
    """
    positions: dict[str, str] = json.loads(cursor) if cursor else {}
    told: list[dg.AssetMaterialization] = []
    for queue in queues:
        position = Position.of(positions[queue]) if queue in positions else Position()
        for event in opened.ledger.events.after(position, pipeline=queue, limit=_MOST_EVENTS):
            positions[queue] = str(event.position)
            told += _of_event(instance, opened, event)
    return told, json.dumps(positions)


def _of_event(
    instance: dg.DagsterInstance, opened: Deployment, event: Event
) -> Iterator[dg.AssetMaterialization]:
    chunk = opened.ledger.chunks.by_id(event.chunk_id)
    if chunk is None:
        return
    final = event.status == "final"
    chunks = [chunk, *(opened.ledger.queues.later_chunks(chunk.chunk_id) if final else [])]
    names = Names(chunk.pipeline)
    register(instance, names, datasets=[chunk.dataset], chunks=[one.chunk_key for one in chunks])
    for one in chunks:
        if final or event.status == "queued":
            yield from _unknown(instance, names, "submitted_jobs", one)
        if final:
            yield from _unknown(instance, names, "parsed_results", one)


def _unknown(
    instance: dg.DagsterInstance, names: Names, asset: str, chunk: ChunkRow
) -> Iterator[dg.AssetMaterialization]:
    """The materialization, where Dagster has none of this chunk."""
    of_chunk = dg.AssetRecordsFilter(asset_key=names.asset(asset), asset_partitions=[chunk.chunk_key])
    if not instance.fetch_materializations(of_chunk, limit=1).records:
        yield dg.AssetMaterialization(
            names.asset(asset), partition=chunk.chunk_key, metadata=metadata.of_mirrored(chunk)
        )
