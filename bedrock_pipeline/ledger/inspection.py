"""What a database says about itself, as a ledger uses it.

What belongs here: reading it, in one transaction that changes nothing. What an answer means is decided in `doctor`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow

from bedrock_pipeline.ledger.database import Connection, DatabaseUnreachableError, open_connection, reason_of
from bedrock_pipeline.ledger.migrations import migration_names

_SCHEMA: Final = "bedrock_pipeline"
_FACTS: Final = """
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
           current_user::text AS role, current_database()::text AS database, pg_backend_pid() AS backend,
           pg_is_in_recovery() AS standby, clock_timestamp() AS at,
           to_regnamespace(%(schema)s) IS NOT NULL AS has_schema,
           has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
           coalesce(has_schema_privilege(to_regnamespace(%(schema)s), 'USAGE'), false) AS may_use_schema,
           coalesce((SELECT has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
                     FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relname = 'migrations'),
                    false) AS may_read_migrations"""
_VALUES: Final = {"schema": _SCHEMA}
_MISSING_RIGHTS: Final = """
    SELECT format('%%s on %%s', right_name, c.relname) AS missing
    FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) right_name
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND (c.relkind = 'r' OR (c.relkind = 'v' AND right_name = 'SELECT'))
      AND NOT has_table_privilege(c.oid, right_name)
    ORDER BY c.relname, right_name"""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database, as one connection sees it.

    Attributes:
        version: as a number, such as 160004.
        pooled: whether another program than Postgres answers at its address, such as PgBouncer.
        standby: whether it is read-only, as a replica is.
        at: its clock.
        has_schema: whether the ledger's schema is there.
        missing_migrations: those that were not applied; all of them where there is no schema.
        missing_rights: of this role, on the ledger's tables, such as `DELETE on chunks`.
        may_create_schema: whether this role can create the schema.
    """

    version: int
    version_text: str
    role: str
    database: str
    pooled: bool
    standby: bool
    at: datetime
    has_schema: bool
    missing_migrations: tuple[str, ...]
    missing_rights: tuple[str, ...]
    may_create_schema: bool


def read_database(dsn: str, *, connect_timeout: int = 10) -> DatabaseFacts:
    """Read what a database says about itself.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.
        connect_timeout: seconds to wait for a connection.

    Raises:
        DatabaseUnreachableError: Postgres does not respond, or rejects the connection or a statement.
    """
    # Also a standby, which the ledger's own connections pass over, so that it can be said that it is one.
    given = {"target_session_attrs": "any", **conninfo.conninfo_to_dict(dsn)}
    try:
        with open_connection(conninfo.make_conninfo("", **given), connect_timeout) as connection:
            connection.execute("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '10s'")
            return _read(connection)
    except psycopg.Error as error:
        raise DatabaseUnreachableError(
            f"Postgres did not respond: {reason_of(error)}.",
            "Check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, and that the server is running.",
        ) from error


def _read(connection: Connection) -> DatabaseFacts:
    facts = _row(connection, _FACTS)
    missing = [one["missing"] for one in connection.execute(_MISSING_RIGHTS, _VALUES)]
    if facts["has_schema"] and not facts["may_use_schema"]:
        missing.insert(0, f"USAGE on schema {_SCHEMA}")
    applied = _applied(connection) if facts["may_read_migrations"] else set()
    return DatabaseFacts(
        version=facts["version"],
        version_text=facts["version_text"].partition(" ")[0],
        role=facts["role"],
        database=facts["database"],
        # A pooler gives its clients process ids of its own.
        pooled=connection.info.backend_pid != facts["backend"],
        standby=facts["standby"],
        at=facts["at"],
        has_schema=facts["has_schema"],
        missing_migrations=tuple(name for name in migration_names() if name not in applied),
        missing_rights=tuple(missing),
        may_create_schema=facts["may_create_schema"],
    )


def _applied(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT migration FROM bedrock_pipeline.migrations")
    return {row["migration"] for row in rows}


def _row(connection: Connection, statement: LiteralString) -> DictRow:
    row = connection.execute(statement, _VALUES).fetchone()
    assert row is not None  # a SELECT without FROM
    return row
