"""Materializations of work that was done outside Dagster.

A `BedrockQueue` submits and collects by itself if nobody else does, and any code location finishes what pipelines have left
that none serves; the sensor `poll_jobs` records that here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.events import Event, Position
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names

#: The most events that a tick reads, of all queues together. Dagster ends a tick after a minute, and the cursor with it.
_MOST_EVENTS = 100
#: Subject of the lease that a pipeline has which was finished by others; it has lapsed until that is reported.
FINISHED: Final = "removed"


def outside_materializations(
    instance: dg.DagsterInstance, opened: Deployment, queues: Mapping[str, Names], cursor: str | None
) -> tuple[list[dg.AssetMaterialization], str]:
    """Materializations of the queues' chunks that Dagster does not have yet, and the next cursor.

    Those of some queues: a queue is next once those before it in the cursor had their turn. A lost cursor means that every
    event is read again; what Dagster has is not recorded twice.
    """
    positions: dict[str, str] = json.loads(cursor) if cursor else {}
    left, found = _MOST_EVENTS, list[dg.AssetMaterialization]()
    for queue in sorted(queues, key=lambda queue: list(positions).index(queue) if queue in positions else -1):
        if left <= 0:
            break
        position = Position.of(positions.pop(queue)) if queue in positions else Position()
        events = opened.ledger.events.after(position, pipeline=queue, limit=left)
        left -= len(events)
        positions[queue] = str(events[-1].position if events else position)  # now the last of the cursor
        found += _missing(instance, queues[queue], _of_events(instance, opened, queues[queue], events))
    return found, json.dumps(positions)


def finished_elsewhere(
    instance: dg.DagsterInstance, opened: Deployment, names: Mapping[str, Names], positions: Mapping[str, str]
) -> tuple[list[dg.AssetMaterialization], dict[str, str]]:
    """Materializations of chunks that were finished while nobody served their pipeline, and the next positions.

    One pipeline's, page by page in the order of keys; its results are reported by the run that publishes them once more.
    """
    finished = opened.ledger.run_leases.lapsed("finish", [(name, FINISHED) for name in names])
    pipeline = min((pipeline for pipeline, _ in finished), default=None)
    if pipeline is None:
        return [], {}
    chunks = opened.ledger.chunks.of_pipeline(pipeline, after=positions.get(pipeline, ""), limit=_MOST_EVENTS)
    done = {
        "submitted_jobs": {
            chunk.chunk_key: chunk for chunk in chunks if chunk.job_arn or chunk.answered is not None
        },
        "parsed_results": {chunk.chunk_key: chunk for chunk in chunks if chunk.answered is not None},
    }
    names[pipeline].register(instance, chunks=sorted({key for keys in done.values() for key in keys}))
    found = list(_missing(instance, names[pipeline], done))
    if len(chunks) == _MOST_EVENTS:
        return found, {pipeline: chunks[-1].chunk_key}
    opened.ledger.run_leases.release("finish", pipeline, FINISHED)
    return found, {}


def _of_events(
    instance: dg.DagsterInstance, opened: Deployment, names: Names, events: Sequence[Event]
) -> dict[str, dict[str, ChunkRow]]:
    """The chunks that these events show as submitted and as collected, by asset and key."""
    chunks: dict[str, dict[str, ChunkRow]] = {"submitted_jobs": {}, "parsed_results": {}}
    datasets: set[str] = set()
    for event in events:
        final = event.status == "final"
        chunk = opened.ledger.chunks.by_id(event.chunk_id) if final or event.status == "queued" else None
        if chunk is None:
            continue
        datasets.add(chunk.dataset)
        for one in [chunk, *(opened.ledger.queues.later_chunks(chunk.chunk_id) if final else [])]:
            chunks["submitted_jobs"][one.chunk_key] = one
            if final:
                chunks["parsed_results"][one.chunk_key] = one
    if datasets:
        names.register(instance, datasets=sorted(datasets), chunks=list(chunks["submitted_jobs"]))
    return chunks


def _missing(
    instance: dg.DagsterInstance, names: Names, chunks: dict[str, dict[str, ChunkRow]]
) -> Iterator[dg.AssetMaterialization]:
    """Materializations of the chunks that Dagster has none of; one query for each asset."""
    for asset, by_key in chunks.items():
        key = names.asset(asset)
        known = instance.get_materialized_partitions(key) if by_key else set[str]()
        for chunk_key, chunk in by_key.items():
            if chunk_key not in known:
                yield dg.AssetMaterialization(
                    key, partition=chunk_key, metadata=metadata.of_outside_work(chunk)
                )
