"""Files of this machine: what lies beneath a folder, what of it is a regular file, and how one is opened."""

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import InputFile

_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def local_file(name: str) -> InputFile:
    """A local file."""
    return InputFile(name, partial(_open, name))


def walk(base: str, depth: int | None) -> Iterator[str]:
    """Every file beneath a folder, also through symbolic links, but through none of them twice on one path.

    Args:
        base: the folder, ends in `/`; empty for the working directory.
        depth: how many folders below it are entered; None for all.

    Raises:
        InputError: a folder cannot be listed.
    """
    start = base.rstrip("/") or ("/" if base else ".")
    if Path(start).is_dir():
        yield from sorted(_beneath(start, base, {Path(start).resolve()}, depth))


def why_irregular(name: str) -> str:
    """Why a path is not a regular file, and so cannot be read several times; empty if it is one.

    Raises:
        InputError: it is a symbolic link whose target does not exist, or cannot be looked up.
    """
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise InputError(
                f"{name} is a symbolic link to {path.readlink()}, which cannot be followed: {error.strerror}.",
                "Restore the target, or delete the link.",
            ) from error
        raise InputError(
            f"{name} cannot be looked up: {error.strerror}.", "Check its permissions."
        ) from error
    if stat.S_ISREG(mode):
        return ""
    return f"is {next((kind for is_one, kind in _KINDS if is_one(mode)), 'special')}, not a regular file"


def _open(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InputError(f"{name} cannot be opened: {error.strerror}.", "Check its permissions.") from error


def _beneath(folder: str, prefix: str, above: set[Path], depth: int | None) -> Iterator[str]:
    folders: list[tuple[str, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if not _is_folder(entry):
                    yield name
                elif depth != 0:
                    folders.append((entry.path, f"{name}/"))
    except OSError as error:
        place = error.filename or folder
        raise InputError(f"{place} cannot be listed: {error.strerror}.", "Check its permissions.") from error
    for path, inner in folders:
        real = Path(path).resolve()
        if real not in above:
            yield from _beneath(path, inner, above | {real}, None if depth is None else depth - 1)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # `why_irregular` explains it, if it would be read
            return False
        raise
