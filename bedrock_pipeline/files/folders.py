"""Where the commands on files write: a local folder, or an s3:// location.

A place that one command fills has a mark in it until it is filled, `_incomplete`: so nobody else writes there meanwhile, and
what a killed process left is known for what it is.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.system import SYSTEM

#: What a place has until it is filled. Names that begin so are not data (`sources.globs`).
INCOMPLETE: Final = "_incomplete"


class NotEmptyError(StateError):
    """The place already contains something."""


class IncompleteError(StateError):
    """The place was not filled: another process is at it, or was ended."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A place that nobody else fills.

    Attributes:
        work: a local folder for work files, deleted with the claim.
        put: moves a complete file to the place, under a name with slashes.
    """

    work: Path
    put: Callable[[Path, str], None]


class LocalFolder:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Fill an empty folder, which need not exist: with everything at the end of the block, with nothing if that raises.

        All files wait in its `_incomplete`, also the work files. If the process is killed, the next claim deletes that.

        Raises:
            NotEmptyError: there are other files, which could be taken for new ones.
            IncompleteError: another process fills it, or was killed in the moment in which the files were moved.
            OSError: it cannot be written.
        """
        self._check_empty()
        incomplete = self._path / INCOMPLETE
        with self._lock(incomplete):
            self._check_empty()  # since the look before, another process may have filled it
            work, whole = incomplete / "work", incomplete / "whole"
            try:
                for folder in (work, whole):
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                yield Claim(work, LocalFolder(whole).put)
            except BaseException:
                shutil.rmtree(incomplete, ignore_errors=True)
                raise
            for entry in sorted(whole.iterdir()):
                entry.rename(self._path / entry.name)
            shutil.rmtree(incomplete, ignore_errors=True)
        with suppress(OSError):  # a network's file system may keep a deleted lock until it is closed
            incomplete.rmdir()

    def check_writable(self) -> None:
        """Make the folder, and check that files can be written into it.

        Raises:
            OSError: they cannot.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path):
            pass

    def put(self, file: Path, name: str) -> None:
        """Move a complete file here, under a name with slashes; within one file system this does not copy.

        Nothing has the name before it is whole, even if the process is killed.
        """
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.move(file, partial)
            partial.replace(target)
        except BaseException:  # such as a full disk
            partial.unlink(missing_ok=True)
            raise

    def _check_empty(self) -> None:
        names = {entry.name for entry in self._path.iterdir()} if self._path.exists() else set()
        if names <= {INCOMPLETE}:
            return
        if INCOMPLETE in names:
            raise IncompleteError(
                f"{self._path} is incomplete: it is being packed, or that was broken off.",
                "Wait if another `pack` is running; otherwise delete the folder and pack again.",
            )
        raise NotEmptyError(f"{self._path} is not empty.", "Name another folder, or delete it.")

    def _lock(self, folder: Path) -> ExitStack:
        """Make a folder this process's until the block ends, or it dies."""
        folder.mkdir(parents=True, exist_ok=True)
        name = folder / "lock"
        with ExitStack() as opened, suppress(BlockingIOError, FileNotFoundError):
            lock = opened.enter_context(name.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(
                os.fstat(lock.fileno()), name.stat()
            ):  # not one that its owner deleted meanwhile
                return opened.pop_all()
        raise IncompleteError(
            f"Another `pack` is writing to {self._path}.", "Name another folder, or wait until it has ended."
        )


class S3Folder:
    """An s3:// location."""

    def __init__(self, uri: str, objects: S3Objects) -> None:
        self._uri = uri.rstrip("/")
        self._objects = objects

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Fill a location without objects. If the block raises after the first of them, or the process dies, its mark stays.

        Raises:
            NotEmptyError: there are objects, which could be taken for new ones.
            IncompleteError: another process fills it, or was ended before it had.
            AwsError: it cannot be written.
        """
        mark, is_used = f"{self._uri}/{INCOMPLETE}/{SYSTEM.new_id()}", False

        def put(file: Path, name: str) -> None:
            nonlocal is_used
            is_used = True
            self.put(file, name)

        self._objects.put(mark, b"")
        try:
            self._check_empty(mark)
            with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as work:
                yield Claim(Path(work), put)
        except BaseException:
            if not is_used:
                self._objects.delete([mark])
            raise
        self._objects.delete([mark])

    def check_writable(self) -> None:
        """Nothing is checked: only an object that is written shows whether one can be."""

    def put(self, file: Path, name: str) -> None:
        """Upload a complete file under a name with slashes, then delete it."""
        self._objects.upload(file, f"{self._uri}/{name}")
        file.unlink()

    def _check_empty(self, mark: str) -> None:
        """Check that there is this mark alone: of two processes that make theirs and then look, at least one sees the other's."""
        found = [item.uri for item in self._objects.list(f"{self._uri}/") if item.uri != mark]
        if any(uri.startswith(f"{self._uri}/{INCOMPLETE}/") for uri in found):
            raise IncompleteError(
                f"{self._uri}/ is incomplete: it is being packed, or that was broken off.",
                "Wait if another `pack` is running; otherwise delete what is beneath it and pack again.",
            )
        if found:
            raise NotEmptyError(
                f"There are objects beneath {self._uri}/.", "Name another location, or delete them."
            )


Place: TypeAlias = LocalFolder | S3Folder


def place(location: str, objects: S3Objects) -> Place:
    """The place at a path or s3:// URI."""
    return S3Folder(location, objects) if location.startswith("s3://") else LocalFolder(Path(location))
