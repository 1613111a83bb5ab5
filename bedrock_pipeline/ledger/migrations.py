"""Bring a database to the current schema.

What belongs here: finding the SQL files and applying them once. The SQL stands in `sql/`.
"""

from importlib import resources
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import conninfo, sql

from bedrock_pipeline.ledger.database import Database

SCHEMA = "bedrock_pipeline"
_LOCK = 0x0BED20C  # any constant of our own: one migrating process at a time


def migration_folder() -> Path:
    """The folder of numbered SQL files: beside the package in a checkout, inside it in a wheel."""
    packaged = Path(str(resources.files("bedrock_pipeline"))) / "_sql"
    return packaged if packaged.is_dir() else Path(str(resources.files("bedrock_pipeline"))).parent / "sql"


def is_current(database: Database) -> bool:
    """Whether nothing is missing; needs no right to change anything.

    Raises:
        DatabaseUnreachableError: Postgres does not answer.
    """
    table = database.fetch("SELECT to_regclass('bedrock_pipeline._yoyo_migration') AS name")[0]
    if table["name"] is None:
        return False
    rows = database.fetch("SELECT migration_id FROM bedrock_pipeline._yoyo_migration")
    return {path.stem for path in migration_folder().glob("*.sql")} <= {row["migration_id"] for row in rows}


def migrate(dsn: str) -> list[str]:
    """Apply what is missing, in order; any number of processes may call this at once.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.

    Returns:
        The names of the migrations that this call applied.
    """
    from yoyo import get_backend, read_migrations  # here: only the first process that connects migrates

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
        backend = get_backend(_yoyo_uri(dsn, connection))
        try:
            # The advisory lock is ours alone, so a lock row that yoyo finds was left by a process that died.
            backend.ensure_internal_schema_updated()
            backend.break_lock()
            with backend.lock():
                missing = backend.to_apply(read_migrations(str(migration_folder())))
                backend.apply_migrations(missing)
                return [migration.id for migration in missing]
        finally:
            backend.connection.close()


def _yoyo_uri(dsn: str, connection: psycopg.Connection) -> str:
    info = connection.info
    # What is in force leaves out what is the default anyway, and a variable may say otherwise.
    said = {**conninfo.conninfo_to_dict(info.dsn), **conninfo.conninfo_to_dict(dsn)}
    parameters = {
        name: value
        for name, value in said.items()
        if name not in {"host", "port", "dbname", "user", "password"}
    }
    query = "&".join(
        f"{quote(name)}={quote(str(value))}" for name, value in {**parameters, "schema": SCHEMA}.items()
    )
    login = f"{quote(info.user, safe='')}:{quote(info.password, safe='')}"
    return f"postgresql+psycopg://{login}@{quote(info.host, safe='')}:{info.port}/{quote(info.dbname, safe='')}?{query}"
