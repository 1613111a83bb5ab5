"""What of a home of root's lies where Postgres's user, to whom it drops, can reach it: the cluster.

A cluster has a note beside it, which says whose it is. The note is a file of the home too, by a hard link: it goes where the
home is moved, it is gone when the home is, and a copy of the home has none. On another file system than the home's there is no
such link, and only the home's path says it.
"""

import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bedrock_pipeline.local.home import LocalError, write_private

_AREA: Final = Path("/var/lib/bedrock-pipeline")
_NOTE: Final = ".home"
_UNFINISHED: Final = ".new-"
#: How long a home on another file system must not have been started, and not be where it was, until it counts as gone.
_UNUSED_S: Final = 30 * 24 * 3600.0


def open_to_all(path: Path) -> bool:
    """Whether any user can reach what lies in this folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.exists())


def root_area() -> Path:
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


def cluster_of(home: Path) -> Path:
    """Where the cluster of a home lies; those of homes that are gone are removed.

    Raises:
        LocalError: the home is a copy of one that there is, or root's folder cannot be used.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    area, own = root_area(), home / "cluster"
    if not own.exists():
        write_private(own, f"cluster-{secrets.token_hex(8)}")
    cluster = area / _cluster_in(own)
    note = cluster.with_name(f"{cluster.name}{_NOTE}")
    if original := _original_of(home, own, note):
        raise LocalError(
            f"{home} is a copy of {original}, whose Postgres is in {cluster}: it has no ledger of its own.",
            f"Use the other one, or begin without its datasets: remove {own}.",
        )
    write_private(note, f"{cluster.name}\n{home.resolve()}")
    _link(note, own)
    for one in area.glob(f"cluster-*{_NOTE}"):
        if _is_gone(one):
            gone = one.with_name(one.name.removesuffix(_NOTE))
            remove_unfinished(gone)
            shutil.rmtree(gone, ignore_errors=True)
            one.unlink(missing_ok=True)
    return cluster


def remove_unfinished(data: Path) -> None:
    """Remove what starts that were killed have left beside a cluster."""
    for left in data.parent.glob(f"{data.name}{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


def unfinished_prefix(data: Path) -> str:
    """What the names of folders begin with that `remove_unfinished` removes."""
    return f"{data.name}{_UNFINISHED}"


def _link(note: Path, own: Path) -> None:
    linked = own.with_name(f".{own.name}")
    linked.unlink(missing_ok=True)
    with suppress(OSError):  # another file system
        linked.hardlink_to(note)
        linked.replace(own)


def _original_of(home: Path, own: Path, note: Path) -> Path | None:
    """The home that a home is a copy of, under the path that it was started at last; None if it is no copy."""
    original = _home_in(note)
    if original is None or _are_same(original, home) or _are_same(own, note):
        return None
    is_linked = note.stat().st_nlink > 1  # to the original, which was moved
    return original if is_linked or _is_home_of(original, _cluster_in(own)) else None


def _home_in(note: Path) -> Path | None:
    """The home that a note names; None without a note."""
    try:
        return Path(note.read_text().split("\n", 1)[-1])  # the whole of it, where an earlier version wrote it
    except OSError:
        return None


def _cluster_in(own: Path) -> str:
    return own.read_text().partition("\n")[0]


def _are_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_gone(note: Path) -> bool:
    """Whether the home of a note has left its cluster behind."""
    home, cluster = _home_in(note), note.name.removesuffix(_NOTE)
    # A home whose parent is gone too may lie on a volume that is not mounted now.
    if home is None or not home.parent.is_dir() or _is_home_of(home, cluster):
        return False
    try:
        found = note.stat()
        # With another link it was moved.
        return found.st_nlink == 1 if _on_one_file_system(home.parent, note) else _is_unused(found)
    except FileNotFoundError:  # another start removes the same ones
        return False


def _is_unused(note: os.stat_result) -> bool:
    return time.time() - note.st_mtime > _UNUSED_S


def _on_one_file_system(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _is_home_of(home: Path, cluster: str) -> bool:
    try:
        return _cluster_in(home / "cluster") == cluster
    except OSError:
        return False
