"""Where the commands on files write: a local folder, or an s3:// location."""

import shutil
from pathlib import Path
from typing import TypeAlias

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.errors import StateError


class NotEmptyError(StateError):
    """The place already contains something."""


class LocalFolder:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_empty(self) -> None:
        """Check that there are no files yet, which could be taken for new ones; an empty folder may exist.

        Raises:
            NotEmptyError: there are.
        """
        if self._path.exists() and (not self._path.is_dir() or any(self._path.iterdir())):
            raise NotEmptyError(f"{self._path} is not empty.", "Name another folder, or delete it.")

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


class S3Folder:
    """An s3:// location."""

    def __init__(self, uri: str, objects: S3Objects) -> None:
        self._uri = uri.rstrip("/")
        self._objects = objects

    def check_empty(self) -> None:
        """Check that there are no objects yet, which could be taken for new ones.

        Raises:
            NotEmptyError: there are.
        """
        if next(self._objects.list(f"{self._uri}/"), None):
            raise NotEmptyError(
                f"There are objects beneath {self._uri}/.", "Name another location, or delete them."
            )

    def put(self, file: Path, name: str) -> None:
        """Upload a complete file under a name with slashes, then delete it."""
        self._objects.upload(file, f"{self._uri}/{name}")
        file.unlink()


Place: TypeAlias = LocalFolder | S3Folder


def place(location: str, objects: S3Objects) -> Place:
    """The place at a path or s3:// URI."""
    return S3Folder(location, objects) if location.startswith("s3://") else LocalFolder(Path(location))
