"""Postgres: whether it is reached, current, and may be written; what is in between, and how late it is there."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, warn
from bedrock_pipeline.ledger.database import DatabaseUnreachableError
from bedrock_pipeline.ledger.inspection import DatabaseFacts, read_database

_OLDEST: Final = 130000
_CLOCK_S: Final = 30.0


def check_postgres(examined: Examination) -> list[Finding]:
    """Reachable, version, standby, schema, rights, a pooler in between, and its clock against this machine's."""
    system = examined.deployment.system
    before = system.now()
    try:
        facts = read_database(examined.settings.database_dsn.get_secret_value())
    except DatabaseUnreachableError as error:
        return [fail("postgres", error.what, "Nothing works without the ledger.", error.fix)]
    after = system.now()
    return [*judge_database(facts), *_clock(facts, before + (after - before) / 2)]


def judge_database(facts: DatabaseFacts) -> list[Finding]:
    """What the facts mean, but for the clock."""
    return [*_server(facts), *_schema(facts), *_pooler(facts)]


def _server(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.version < _OLDEST:
        yield fail(
            "postgres",
            f"Postgres {facts.version_text} is too old.",
            "The ledger needs Postgres 13 or later.",
            "Use a later server.",
        )
    elif facts.standby:
        yield fail(
            "postgres",
            f"Database {facts.database} is a read-only standby.",
            "The ledger cannot be written.",
            "Give the address of the primary, or of several hosts.",
        )
    else:
        yield ok("postgres", f"Postgres {facts.version_text}, database {facts.database}, role {facts.role}.")


def _schema(facts: DatabaseFacts) -> Iterator[Finding]:
    if not facts.has_schema and not facts.may_create_schema:
        yield fail(
            "postgres schema",
            f"There is no ledger, and {facts.role} may not create a schema.",
            "Nothing works without the ledger.",
            f'GRANT CREATE ON DATABASE "{facts.database}" TO "{facts.role}";\nThen: bedrock-pipeline migrate',
        )
    elif facts.missing_rights:
        yield fail(
            "postgres rights",
            f"{facts.role} lacks {', '.join(facts.missing_rights[:3])}"
            + (f" and {len(facts.missing_rights) - 3} more." if len(facts.missing_rights) > 3 else "."),
            "The ledger cannot be written.",
            f'GRANT USAGE ON SCHEMA bedrock_pipeline TO "{facts.role}";\n'
            f'GRANT ALL ON ALL TABLES IN SCHEMA bedrock_pipeline TO "{facts.role}";',
        )
    elif facts.missing_migrations:
        yield fail(
            "postgres schema",
            f"{', '.join(facts.missing_migrations)} was not applied.",
            "The ledger is missing or of an earlier release.",
            "bedrock-pipeline migrate",
        )
    else:
        yield ok("postgres schema", f"The ledger is current, and {facts.role} may read and write it.")


def _pooler(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.pooled:
        yield ok(
            "postgres pooler",
            "A pooler such as PgBouncer is in between; pool_mode may be transaction or session.",
        )
    else:
        yield ok("postgres pooler", "Postgres is reached directly.")


def _clock(facts: DatabaseFacts, here: datetime) -> Iterator[Finding]:
    off = (facts.at - here).total_seconds()
    if abs(off) > _CLOCK_S:
        yield warn(
            "postgres clock",
            f"Postgres is {abs(off):.0f} seconds {'ahead of' if off > 0 else 'behind'} this machine.",
            "The times in status and events are Postgres's; leases are not harmed.",
            "Set both clocks by NTP.",
        )
    else:
        yield ok("postgres clock", "Postgres and this machine agree on the time.")
