"""Each test of the ledger has neighbours: rows in every state, of another pipeline and queue, that stay as they are.

A statement without a condition that it needs changes them.
"""

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline_tests.conftest import own_database
from bedrock_pipeline_tests.upgrade.every_state import fill

_PIPELINE, _QUEUE, _GROUP = "neighbour", "neighbours", QuotaGroup("neighbour", "ap-south-1")
#: One row each, of the whole ledger.
_OF_ALL = ("deployment", "incarnations")


@pytest.fixture(scope="session")
def neighbours(stack_endpoints: Endpoints, migrated_template: str) -> Iterator[tuple[str, Counter[str]]]:
    """A database to be copied, and its rows."""
    with own_database(stack_endpoints, template=migrated_template) as name:
        with Ledger(stack_endpoints.dsn(name)) as ledger:
            fill(ledger, _PIPELINE, _QUEUE, _GROUP)
        yield name, _rows(stack_endpoints.dsn(name))


@pytest.fixture
def postgres_dsn(stack_endpoints: Endpoints, neighbours: tuple[str, Counter[str]]) -> Iterator[str]:
    """A database with a ledger of this test's own, beside its neighbours."""
    template, before = neighbours
    with own_database(stack_endpoints, template=template) as name:
        dsn = stack_endpoints.dsn(name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("UPDATE bedrock_pipeline.deployment SET deployment_id = gen_random_uuid()")
        yield dsn
        assert not before - _rows(dsn), "a neighbour's rows were changed"


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
