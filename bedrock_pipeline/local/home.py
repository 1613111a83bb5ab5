"""The folder in which the embedded stack keeps everything."""

import errno
import fcntl
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from bedrock_pipeline.errors import BedrockPipelineError

_NAME: Final = ".bedrock-pipeline"
_SECRETS: Final = ("access_key_id", "secret_access_key", "postgres_password")
#: How often a start tries to take the lock, which `is_locked` takes for a moment.
_TRIES: Final = 5
_BETWEEN_S: Final = 0.05
#: What helps where a home cannot be written, unless it is another place.
_FIXES: Final = {
    errno.ENOSPC: "Free space",
    errno.EDQUOT: "Free space",
    errno.EROFS: "Make it writable",
    errno.EACCES: "Make it writable",
}


class LocalError(BedrockPipelineError):
    """A part of the embedded stack cannot run."""


class AlreadyRunningError(LocalError):
    """Another process runs the embedded stack at this home."""


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """`BEDROCK_PIPELINE_HOME`; or `.bedrock-pipeline` in the current folder or the nearest above it that has one of ours."""
    if given := environment.get("BEDROCK_PIPELINE_HOME"):
        return Path(given).absolute()
    here = Path.cwd()
    return next((home for folder in (here, *here.parents) if _is_ours(home := folder / _NAME)), here / _NAME)


def _is_ours(home: Path) -> bool:
    """Whether it is a home of this user: others may have put one into a folder that is shared, such as /tmp."""
    try:
        found = home.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def is_closed(home: Path) -> bool:
    """Whether a home is this user's and nobody else can write into it: only then its files are believed."""
    try:
        found, link = home.stat(), home.lstat()
    except OSError:
        return False
    ours = {found.st_uid, link.st_uid} == {os.geteuid()}
    return ours and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def make_home(home: Path) -> None:
    """Make the home, or close one of this user's.

    Raises:
        LocalError: it cannot be written, is another user's, or everybody could have written what is in it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        if {found.st_uid, home.lstat().st_uid} != {os.geteuid()}:  # whose secrets and settings it would have
            raise LocalError(
                f"{home} belongs to another user.", "Set BEDROCK_PIPELINE_HOME to a folder of your own."
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and any(home.iterdir()):
            raise LocalError(
                f"Others could write into {home}, so what is in it may be theirs.",
                "Remove it if you do not know what it is, or set BEDROCK_PIPELINE_HOME to an empty folder.",
            )
        home.chmod(0o700)  # it has prompts and answers
        # Nothing of it belongs into a repository, its secrets least of all.
        write_private(home / ".gitignore", "*\n")
    except OSError as error:
        raise _unwritable(home, error) from error


def take_lock(home: Path) -> IO[str]:
    """Hold the home for as long as the file stays open.

    Raises:
        AlreadyRunningError: another process holds it.
        LocalError: as `make_home`.
    """
    make_home(home)
    try:
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise _unwritable(home / "lock", error) from error
    for _ in range(_TRIES):
        if _try_lock(lock, fcntl.LOCK_EX):
            return lock
        time.sleep(_BETWEEN_S)  # somebody may only have looked
    lock.close()
    raise AlreadyRunningError(
        f"The embedded stack at {home} is already running.",
        "Use it (`bedrock-pipeline local env`), end it (Ctrl-C where `dev` or `demo` runs, else `bedrock-pipeline local down`), "
        "or set BEDROCK_PIPELINE_HOME.",
    )


def _try_lock(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unwritable(home: Path, error: OSError) -> LocalError:
    fix = _FIXES.get(error.errno or 0)
    return LocalError(
        f"{home} cannot be written: {error.strerror}.",
        f"{fix}, or set BEDROCK_PIPELINE_HOME." if fix else "Set BEDROCK_PIPELINE_HOME to another folder.",
    )


def is_locked(home: Path) -> bool:
    """Whether a process holds the home.

    Raises:
        LocalError: its lock is another user's.
    """
    try:
        with (home / "lock").open("r+") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(home / "lock", error) from error


def load_secrets(home: Path) -> dict[str, str]:
    """This home's own key pair and database password, made at first use, readable by its owner alone."""
    path = home / "secrets.json"
    if not path.exists():
        made = "AKIA" + secrets.token_hex(8).upper(), secrets.token_hex(20), secrets.token_hex(20)
        write_private(path, json.dumps(dict(zip(_SECRETS, made, strict=True))))
    try:
        loaded: dict[str, str] = json.loads(path.read_text())
        return {name: loaded[name] for name in _SECRETS}
    except (ValueError, KeyError, TypeError):
        raise LocalError(
            f"{path} is damaged.", "Restore it, or begin without what is stored: remove the home."
        ) from None


def ui_path(home: Path) -> str:
    """The path of Dagster's UI at this home, which nobody can guess: the UI has no login."""
    path = home / "ui_path"
    if not path.exists():
        write_private(path, f"/ui-{secrets.token_hex(8)}")
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    # Of a name of its own: two may write at once.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)  # else it may be empty after a power failure
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
