"""No query of a sensor reads what is finished, however much of it there is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import BEGIN
from bedrock_pipeline.ledger.jobs import Observation

FINISHED, LIVE = 20_000, 40
#: Rows that a query may look at; far fewer than are finished.
FEW = 2_000
TABLES = ("chunks", "datasets", "versions", "events", "retryable_records", "chunk_origins", "run_leases")
# 200 datasets of 100 chunks that are long published, and one dataset under way, in every state that a chunk waits in.
FILL = """
INSERT INTO bedrock_pipeline.quota_groups (quota_group, max_jobs) VALUES ('g in us-east-1', 20);
INSERT INTO bedrock_pipeline.datasets (pipeline, dataset) SELECT 'p', 'd' || n FROM generate_series(0, 200) n;
INSERT INTO bedrock_pipeline.frozen_settings (digest, content_digest, document) VALUES ('s', 's', '{}');
INSERT INTO bedrock_pipeline.versions (pipeline, dataset, version, state, packed_hash, packed_at, packed_records)
    SELECT 'p', 'd' || n, 1, CASE n WHEN 200 THEN 'packed' ELSE 'published' END, 'h', now(), 1000 FROM generate_series(0, 200) n;
INSERT INTO bedrock_pipeline.chunks (chunk_id, pipeline, dataset, dataset_version, sequence, chunk_key, records, bytes,
    files, content_hash, index_uri, model_id, quota_group, request, settings_digest, status, fence, intent_id, token, frozen_request,
    job_arn, submitted_at, ended_at, collected_at, parsed_uri, answered, final_errors, retryable, input_tokens, output_tokens)
SELECT gen_random_uuid(), 'p', 'd' || n / 100, 1, n % 100, 'd' || n / 100 || '--' || lpad((n % 100)::text, 5, '0'), 10, 10,
    '[]', '0', 's3://b/i', 'm', 'g in us-east-1', '{}', 's', 'completed', 1, gen_random_uuid(), 't' || n, '{}',
    'arn:' || n, now() - interval '9 days', now() - interval '8 days', now() - interval '8 days', 's3://b/p/', 10, 0, 0, 1, 1
FROM generate_series(0, 19999) n;
INSERT INTO bedrock_pipeline.chunks (chunk_id, pipeline, dataset, dataset_version, sequence, chunk_key, records, bytes,
    files, content_hash, index_uri, model_id, quota_group, request, settings_digest, status, fence, intent_id, token, frozen_request,
    job_arn, submitted_at, ended_at)
SELECT gen_random_uuid(), 'p', 'd200', 1, n, 'd200--' || lpad(n::text, 5, '0'), 10, 10,
    '[]', '0', 's3://b/i', 'm', 'g in us-east-1', '{}', 's', (ARRAY['pending', 'queued', 'completed', 'in-process'])[n % 4 + 1],
    (n % 4 > 0)::int, CASE WHEN n % 4 > 0 THEN gen_random_uuid() END, CASE WHEN n % 4 > 0 THEN 'live' || n END,
    CASE WHEN n % 4 > 0 THEN '{}'::jsonb END, CASE WHEN n % 4 > 0 THEN 'arn:live' || n END,
    CASE WHEN n % 4 > 0 THEN now() END, CASE WHEN n % 4 = 2 THEN now() END
FROM generate_series(0, 39) n;
INSERT INTO bedrock_pipeline.run_leases (kind, pipeline, subject, lease_id, acquired_at, expires_at, state)
SELECT kind, pipeline, chunk_key, gen_random_uuid(), now(), now(), 'ended'
FROM bedrock_pipeline.chunks, unnest(ARRAY['submit', 'collect']) kind WHERE collected_at IS NOT NULL;
UPDATE bedrock_pipeline.datasets
    SET publication = 1, published_version = version, results_uri = 's3://b/r/', published_at = now(), published_records = 1000,
        published_failed = 0, latest_written_publication = 1
    WHERE dataset <> 'd200';
ANALYZE;
"""


@dataclass(frozen=True)
class Seen:
    """A statement and its parameters."""

    query: Any
    parameters: Any


@pytest.fixture(scope="module")
def statements() -> Iterator[list[Seen]]:
    """Every statement that this process sends, from now on."""
    seen: list[Seen] = []
    execute = psycopg.Connection.execute

    def recording(self: Any, query: Any, params: Any = None, **more: Any) -> Any:
        if query is not BEGIN:
            seen.append(Seen(query, params))
        return execute(self, query, params, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", recording)
        yield seen


@pytest.fixture
def filled(empty_ledger_dsn: str) -> Iterator[Ledger]:
    with Ledger(empty_ledger_dsn) as ledger:
        ledger.migrate()
        with psycopg.connect(empty_ledger_dsn, autocommit=True) as connection:
            connection.execute(FILL)
        yield ledger


def observation(number: int) -> Observation:
    return Observation(f"arn:live{number}", "in-process", None, 10, 5, 5, 0)


ASKED: dict[str, Callable[[Ledger], Any]] = {
    "launch": lambda ledger: ledger.datasets.to_launch(["p"], 50),
    "prepare again": lambda ledger: ledger.run_leases.died_preparations(["p"], 50),
    "submit": lambda ledger: ledger.submissions.due(["p"], 50),
    "budgets": lambda ledger: ledger.spending.exhausted(["p"], 3),
    "poll": lambda ledger: ledger.jobs.in_flight(),
    "observe": lambda ledger: ledger.jobs.observe([observation(n) for n in range(1, LIVE, 4)]),
    "counts": lambda ledger: ledger.jobs.counts(["p"]),
    "collect": lambda ledger: ledger.chunks.to_collect(["p"], 50),
    "finished elsewhere": lambda ledger: ledger.chunks.of_pipeline("p", after="", limit=100),
    "start a retry round": lambda ledger: ledger.retry_rounds.due(["p"], 50),
    "publish": lambda ledger: ledger.publications.due(["p"], 50),
    "runs of their own": lambda ledger: ledger.run_leases.unfinished(["p"], ["submit", "collect"], 50),
    "taken": lambda ledger: ledger.run_leases.taken([("collect", "p", f"d0--{n:05}") for n in range(50)]),
    "work runs": lambda ledger: ledger.run_leases.ages_of_workers("p"),
    "waiting for an operator": lambda ledger: ledger.status_report.waiting_for_operator(["p"]),
    "reconcile": lambda ledger: ledger.submissions.to_reconcile(timedelta(0), 50),
    "sweep, known": lambda ledger: ledger.jobs.known(["arn:1", "arn:live1"]),
    "sweep, others": lambda ledger: ledger.quota_groups.record_others(
        "us-east-1", None, {"g in us-east-1": 1}
    ),
    "sweep, models": lambda ledger: ledger.quota_groups.open_models(),
    "quota": lambda ledger: ledger.quota_groups.all(),
    "requeued": lambda ledger: ledger.chunks.requeued(),
}


def test_no_query_of_a_sensor_reads_what_is_finished(
    filled: Ledger, empty_ledger_dsn: str, statements: list[Seen]
) -> None:
    read: dict[str, int] = {}
    for name, ask in ASKED.items():
        statements.clear()
        ask(filled)
        read[name] = max(looked_at(empty_ledger_dsn, one) for one in list(statements))
    assert {name: rows for name, rows in read.items() if rows > FEW} == {}


def test_a_query_that_does_is_found(filled: Ledger, empty_ledger_dsn: str, statements: list[Seen]) -> None:
    statements.clear()
    filled.datasets.progress("p", "d1")
    assert max(looked_at(empty_ledger_dsn, one) for one in list(statements)) < FEW
    assert (
        looked_at(empty_ledger_dsn, Seen("SELECT * FROM bedrock_pipeline.chunks WHERE records = 7", None))
        >= FINISHED
    )


def test_a_look_at_a_thousand_jobs_is_two_statements(filled: Ledger, statements: list[Seen]) -> None:
    filled.jobs.in_flight()  # a connection is open
    statements.clear()
    filled.jobs.in_flight()
    filled.jobs.observe([observation(number) for number in range(1000)])
    assert len(statements) == 2


def looked_at(dsn: str, seen: Seen) -> int:
    """Rows of our tables that a statement reads, those included that it throws away. Nothing stays changed."""
    text = seen.query if isinstance(seen.query, str) else seen.query.as_string()
    if not text.lstrip().upper().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
        return 0
    with psycopg.connect(dsn) as connection:
        [(plan,)] = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", seen.parameters).fetchall()
        connection.rollback()
    return sum(
        _rows(node) for node in _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)


def _rows(node: dict[str, Any]) -> int:
    if node.get("Relation Name") not in TABLES or node["Node Type"] == "ModifyTable":
        return 0
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(each * node["Actual Loops"])
