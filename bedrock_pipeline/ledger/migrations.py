"""Bring a database to the current schema.

What belongs here: finding the SQL files and applying each once. The SQL is in `sql/`.
"""

from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

from bedrock_pipeline.ledger.database import Connection, Database

_LOCK: Final = 0x0BED20C  # an arbitrary constant: one process migrates at a time
#: The lock is waited for as long as another process migrates, and a migration may take as long as it needs; but for
#: a table that somebody reads it does not wait for ever, since everybody else then waits behind it.
_BEGIN: Final = f"""
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SELECT pg_advisory_xact_lock({_LOCK});
    SET LOCAL lock_timeout = '120s';
    CREATE SCHEMA IF NOT EXISTS bedrock_pipeline;
    CREATE TABLE IF NOT EXISTS bedrock_pipeline.migrations (
        migration  text PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""


def migration_folder() -> Path:
    """The folder of numbered SQL files: beside the package in a checkout, inside it in a wheel."""
    packaged = Path(str(resources.files("bedrock_pipeline"))) / "_sql"
    return packaged if packaged.is_dir() else Path(str(resources.files("bedrock_pipeline"))).parent / "sql"


def is_current(database: Database) -> bool:
    """Whether all migrations are applied; only reads.

    Raises:
        DatabaseUnreachableError: Postgres does not respond.
    """
    table = database.fetch("SELECT to_regclass('bedrock_pipeline.migrations') AS name")[0]
    if table["name"] is None:
        return False
    rows = database.fetch("SELECT migration FROM bedrock_pipeline.migrations")
    return {path.stem for path in _migrations()} <= {row["migration"] for row in rows}


def migration_names() -> list[str]:
    """The names of all migrations that this version of the program has, in order."""
    return [path.stem for path in _migrations()]


def migrate(dsn: str) -> list[str]:
    """Apply the missing migrations, in order; any number of processes may call this at once.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.

    Returns:
        The names of the migrations that this call applied.

    Raises:
        DatabaseUnreachableError: Postgres does not respond.
    """
    database = Database(dsn, max_connections=1)
    try:
        return [path.stem for path in _migrations() if database.transaction(partial(_apply, path))]
    finally:
        database.close()


def _migrations() -> list[Path]:
    return sorted(migration_folder().glob("*.sql"))


def _apply(path: Path, connection: Connection) -> bool:
    """Apply one file in the current transaction; False if it was applied before."""
    connection.execute(_BEGIN)
    added = connection.execute(
        "INSERT INTO bedrock_pipeline.migrations (migration) VALUES (%s) ON CONFLICT DO NOTHING", (path.stem,)
    )
    if added.rowcount == 0:
        return False
    connection.execute(path.read_bytes())
    return True
