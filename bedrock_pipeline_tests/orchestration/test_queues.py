"""A queue in Dagster: flushed, processed and recorded by the sensors."""

from collections import Counter

import dagster as dg
import psycopg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.asset_events import outside_materializations
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.orchestration.test_definitions import evaluate, run, tick
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S


def test_a_queue_runs_through_the_sensors(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    shown = config(name="q", batch_size=100)
    definitions = build_definitions([shown.pipeline()])
    # The enqueuing process flushes later, so that the sensor does it.
    with BedrockQueue(shown.model_copy(update={"batch_size": 1000})) as queue:
        queue.enqueue_many(task(number) for number in range(99))
        assert tick(definitions, instance) == []
        queue.enqueue(task(99))
        [flush] = tick(definitions, instance)
        day = deployment.ledger.queues.today()
        assert (flush.job_name, flush.partition_key) == ("q_flush", day)
        assert tick(definitions, instance) == [], "the run lease is valid"
        assert run(definitions, instance, flush)
        assert queue.get_queue_size() == 0
        assert instance.get_dynamic_partitions("q_chunks") == [f"{day}--00000"]
        [submit] = tick(definitions, instance)
        assert run(definitions, instance, submit)
        while poll_jobs(deployment).in_flight:
            pass
        [rest] = tick(definitions, instance)
        [job] = deployment.ledger.queues.jobs("q", 10)
        assert run(definitions, instance, rest)
        assert instance.get_materialized_partitions(Names("q").asset("parsed_results")) == {f"{day}--00000"}
        assert instance.get_materialized_partitions(Names("q").asset("results")) == {day}
        assert not queue.get_job(job.chunk.chunk_id).final
        assert tick(definitions, instance) == []
        assert queue.get_job(job.chunk.chunk_id).final, "the sensor has recorded it"


def test_what_a_process_did_outside_dagster_is_recorded_once(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    shown = config(name="q", batch_size=1000)
    definitions = build_definitions([shown.pipeline()])
    with BedrockQueue(shown) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        queue.await_job(job_id, timeout=PATIENCE_S)
        key = queue.get_job(job_id).chunk_key
    outside = evaluate(definitions, instance, "poll_jobs")
    assert isinstance(outside, dg.SensorResult)
    recorded = {(event.asset_key, event.partition) for event in outside.asset_events}
    assert {(asset.path[-1], partition) for asset, partition in recorded if asset} == {
        ("parsed_results", key),
        ("submitted_jobs", key),
    }
    assert instance.get_dynamic_partitions("q_chunks") == [key]
    for event in outside.asset_events:
        instance.report_runless_asset_event(event)  # as the daemon does
    again = evaluate(definitions, instance, "poll_jobs")
    assert isinstance(again, dg.SensorResult)
    assert not again.asset_events, "even if the cursor was lost"


_EVENTS = """
INSERT INTO bedrock_pipeline.datasets (pipeline, dataset) VALUES (%(queue)s, 'd');
INSERT INTO bedrock_pipeline.frozen_settings (digest, content_digest, document) VALUES ('s', 's', '{}') ON CONFLICT DO NOTHING;
INSERT INTO bedrock_pipeline.versions (pipeline, dataset, version, state, packed_hash, packed_at, packed_records)
VALUES (%(queue)s, 'd', 1, 'packed', 'h', now(), 15000);
INSERT INTO bedrock_pipeline.quota_groups (quota_group, max_jobs) VALUES ('m in us-east-1', 20) ON CONFLICT DO NOTHING;
INSERT INTO bedrock_pipeline.chunks (chunk_id, pipeline, dataset, dataset_version, sequence, chunk_key, records, bytes,
    files, content_hash, index_uri, model_id, quota_group, request, settings_digest)
SELECT gen_random_uuid(), %(queue)s, 'd', 1, n, 'd--' || lpad(n::text, 5, '0'), 100, 10000, '[]', 'h', 's3://b/i', 'm',
    'm in us-east-1', '{"jobName": "x"}', 's' FROM generate_series(0, 149) n;
INSERT INTO bedrock_pipeline.events (pipeline, dataset, chunk_id, status, fence)
SELECT pipeline, dataset, chunk_id, 'queued', 0 FROM bedrock_pipeline.chunks WHERE pipeline = %(queue)s;
"""


def test_a_backlog_of_many_queues_is_recorded_tick_by_tick_and_none_waits_for_ever(
    deployment: Deployment, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster ends a tick after a minute, and then its cursor is never kept."""
    queues, lookups = [f"q{n}" for n in range(5)], list[dg.AssetKey]()
    with psycopg.connect(
        deployment.settings.database_dsn.get_secret_value(), cursor_factory=psycopg.ClientCursor
    ) as connection:
        for queue in queues:
            connection.execute(_EVENTS, {"queue": queue})
    known = instance.get_materialized_partitions

    def counted(key: dg.AssetKey) -> set[str]:
        lookups.append(key)
        return known(key)

    monkeypatch.setattr(instance, "get_materialized_partitions", counted)
    names = {queue: Names(queue) for queue in queues}
    cursor, seen, ticks = None, Counter[str](), 0
    while sum(seen.values()) < 150 * len(queues):
        found, cursor = outside_materializations(instance, deployment, names, cursor)
        assert len(found) <= 100
        seen.update(event.asset_key.path[0] for event in found)
        ticks += 1
        assert len(seen) >= min(ticks, len(queues)), "each queue has its turn"
    assert set(seen.values()) == {150}
    assert len(lookups) <= 2 * ticks, "not one for each event"
    assert outside_materializations(instance, deployment, names, cursor)[0] == []
