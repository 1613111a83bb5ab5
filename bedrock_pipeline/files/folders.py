"""Where commands that work on files alone put them: a folder of this machine, or beneath an s3:// location.

What belongs here: the two kinds of places, which take finished files.
"""

import shutil
from pathlib import Path
from typing import Protocol

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.errors import BedrockPipelineError


class NotEmptyError(BedrockPipelineError):
    """The place holds something already."""


class Place(Protocol):
    """Takes finished files under names with slashes."""

    def check_empty(self) -> None:
        """Refuse a place that holds files, so that nothing old is taken for a part of the new.

        Raises:
            NotEmptyError: it does.
        """
        ...

    def put(self, file: Path, name: str) -> None:
        """Take a file out of the work folder."""
        ...

    def clear(self) -> None:
        """Delete everything."""
        ...


class LocalFolder:
    """A folder of this machine; a file is moved into it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_empty(self) -> None:
        """An empty folder may exist."""
        if self._path.exists() and (not self._path.is_dir() or any(self._path.iterdir())):
            raise NotEmptyError(f"{self._path} is not empty.", "Name another folder, or delete it.")

    def put(self, file: Path, name: str) -> None:
        """Move, within one file system without copying."""
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)

    def clear(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._path, ignore_errors=True)


class S3Folder:
    """Everything beneath an s3:// location."""

    def __init__(self, uri: str, objects: S3Objects) -> None:
        self._uri = uri.rstrip("/")
        self._objects = objects

    def check_empty(self) -> None:
        """One listing."""
        if next(self._objects.list(f"{self._uri}/"), None):
            raise NotEmptyError(
                f"There are objects beneath {self._uri}/.", "Name another location, or delete them."
            )

    def put(self, file: Path, name: str) -> None:
        """Upload, then delete the file."""
        self._objects.upload(file, f"{self._uri}/{name}")
        file.unlink()

    def clear(self) -> None:
        """Delete every object."""
        self._objects.delete([item.uri for item in self._objects.list(f"{self._uri}/")])


def place(location: str, objects: S3Objects) -> Place:
    """The place that a location names."""
    return S3Folder(location, objects) if location.startswith("s3://") else LocalFolder(Path(location))
