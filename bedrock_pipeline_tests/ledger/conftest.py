"""Each test of the ledger has neighbours: rows in every state, of another pipeline and queue, that stay as they are.

A statement without a condition that it needs changes them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.conftest import own_database
from bedrock_pipeline_tests.ledger.entered import enter_chunks
from bedrock_pipeline_tests.upgrade.every_state import RECORDS, chunk, fill

_PIPELINE, _QUEUE, _GROUP = "neighbour", "neighbours", QuotaGroup("neighbour", "ap-south-1")
#: One row each, of the whole ledger.
_OF_ALL = ("deployment", "incarnations")


@pytest.fixture(scope="session")
def neighbours(
    stack_endpoints: Endpoints, migrated_template: str
) -> Iterator[tuple[str, Counter[str], datetime]]:
    """A database to be copied, its rows, and the time at which they were new."""
    with own_database(stack_endpoints, template=migrated_template) as name:
        with Ledger(stack_endpoints.dsn(name)) as ledger:
            fill(ledger, _PIPELINE, _QUEUE, _GROUP)
            _namesakes(ledger)
        yield name, _rows(stack_endpoints.dsn(name)), datetime.now(UTC)


@pytest.fixture
def postgres_dsn(stack_endpoints: Endpoints, neighbours: tuple[str, Counter[str], datetime]) -> Iterator[str]:
    """A database with a ledger of this test's own, beside its neighbours.

    Its clock goes on from when they were new, however long the other tests take: no lease of theirs has expired.
    """
    template, before, new = neighbours
    with own_database(stack_endpoints, template=template) as name:
        dsn = stack_endpoints.dsn(name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "UPDATE bedrock_pipeline.deployment SET deployment_id = gen_random_uuid(), clock_offset = %s",
                (new - datetime.now(UTC),),
            )
            # It is no restored backup.
            connection.execute(
                "UPDATE bedrock_pipeline.incarnations SET identity = bedrock_pipeline.database_identity()"
            )
        yield dsn
        assert not before - _rows(dsn), "a neighbour's rows were changed"


def _namesakes(ledger: Ledger) -> None:
    """A dataset, a queue's day and a task that are named as those of the tests: only the pipeline tells them apart."""
    chunks = [replace(chunk("d", n), chunk_id=uuid4(), quota_group=str(_GROUP)) for n in range(3)]
    enter_chunks(ledger, chunks, pipeline=_PIPELINE, dataset="d")
    intent = ledger.submissions.intend(chunks[0].chunk_id, uuid4(), request={}, lease=timedelta(minutes=1))
    assert isinstance(intent, Intent), intent
    assert ledger.submissions.record_accepted(chunks[0].chunk_id, intent.fence, "arn:namesake")
    ledger.jobs.observe([Observation("arn:namesake", "completed", None, RECORDS, RECORDS, RECORDS - 1, 1)])
    collected = Tally(RECORDS, answered=RECORDS - 1, retryable=1)
    assert ledger.chunks.record_collected(
        chunks[0].chunk_id, intent.fence, collected, parsed_uri="s3://bucket/parsed/"
    )
    ledger.tasks.add(_QUEUE, [NewTask("t0", b"{}\n"), NewTask("t1", b"{}\n")], replace=False)
    [task, _] = ledger.tasks.in_order(_QUEUE, newest=2**62, limit=2)
    job = replace(chunk("day"), chunk_id=uuid4(), quota_group=str(_GROUP))
    ledger.queues.enter_chunks(_QUEUE, "2026-01-02", task_ids=[task.task_id], chunks=[job])


def _rows(dsn: str) -> Counter[str]:
    """The rows of all tables, as texts."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'bedrock_pipeline' AND NOT tablename = ANY(%s)",
            [list(_OF_ALL)],
        ).fetchall()
        statement = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} || t::text FROM bedrock_pipeline.{} t").format(
                sql.Literal(name), sql.Identifier(name)
            )
            for (name,) in tables
        )
        return Counter(text for (text,) in connection.execute(statement))
