"""Plans of the queue's statements: what an enqueue and a look read does not grow with what waits."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.ledger import tasks as statements
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.queue_pipeline import QueuePipeline

_WAITING, _LIMIT = 20_000, 500


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.fixture
def connection(deployment: Deployment, postgres_dsn: str) -> Iterator[psycopg.Connection]:
    for start in range(0, _WAITING, 2000):
        added = [NewTask(f"r{number}", b"x" * 200) for number in range(start, start + 2000)]
        deployment.ledger.tasks.add("q", added, replace=False)
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        opened.execute("VACUUM ANALYZE bedrock_pipeline.tasks")
        yield opened


def explained(connection: psycopg.Connection, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    row = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, values).fetchone()
    assert row is not None
    [plan] = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return list(nodes(plan["Plan"]))


def test_a_look_reads_at_most_a_batch_of_index_entries(connection: psycopg.Connection) -> None:
    values = {"queue": "q", "limit": _LIMIT, "newest": 2**62}
    found = explained(connection, statements._WAITING, values)
    scans = [node for node in found if "Scan" in node["Node Type"] and node.get("Relation Name") == "tasks"]
    assert [(node["Node Type"], node["Index Name"]) for node in scans] == [
        ("Index Only Scan", "tasks_in_order")
    ]
    assert scans[0]["Actual Rows"] == _LIMIT


@pytest.mark.parametrize("statement", [statements._ADD, statements._ADD_OR_REPLACE])
def test_an_enqueue_reads_no_other_task(connection: psycopg.Connection, statement: str) -> None:
    values = {"queue": "q", "ids": ["new"], "lines": [b"x"]}
    found = explained(connection, statement, values)
    read = {node.get("Relation Name") for node in found if "Scan" in node["Node Type"]}
    assert "tasks" not in read
    [insert] = [node for node in found if node["Node Type"] == "ModifyTable"]
    assert insert["Conflict Arbiter Indexes"] == ["tasks_waiting_once"]


@pytest.mark.parametrize(
    "given", [{"prompt": "{{ a }}"}, {"source": "x.csv"}, {"max_cost_usd": 1}, {"daily": True}]
)
def test_a_queue_has_no_input_of_its_own(given: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"QueuePipeline 'q': {next(iter(given))}: a queue has no such"
    ):
        QueuePipeline.model_validate({"name": "q", "model_id": "amazon.nova-micro-v1:0", **given})
