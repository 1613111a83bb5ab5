"""Beneath which places the cells of rows may name images and documents.

Rows come from strangers, and a run can read more than they should: its machine, and every bucket of its role.
"""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit


class AttachmentRoots:
    """Folders of this machine and prefixes in S3.

    Args:
        roots: absolute paths, `~` and file:// URIs, and s3:// URIs of a bucket or a folder in it.

    Raises:
        ValueError: one is none of these.
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._folders: list[Path] = []
        self._prefixes: list[str] = []
        for root in roots:
            if root.startswith("s3://"):
                self._prefixes.append(_prefix(root))
            else:
                self._folders.append(_folder(root))

    def __bool__(self) -> bool:
        """Whether cells may name anything at all."""
        return bool(self._folders or self._prefixes)

    def has_object(self, uri: str) -> bool:
        """Whether an object lies beneath a root."""
        return not _climbs(uri) and any(uri.startswith(prefix) for prefix in self._prefixes)

    def file(self, location: str) -> Path | None:
        """The file that an absolute path or a file:// URI leads to, whatever links are on the way; None if it is beneath no root.

        Raises:
            OSError: there is none.
            ValueError: no file can have this path.
        """
        path = _local_path(location).resolve(strict=True)
        return path if any(path.is_relative_to(folder.resolve()) for folder in self._folders) else None


def _prefix(root: str) -> str:
    bucket = root.removeprefix("s3://").partition("/")[0]
    if not bucket:
        raise ValueError(f"{root!r} names no bucket; name one, as s3://bucket or s3://bucket/folder")
    if _climbs(root):
        raise ValueError(
            f"{root!r} has a folder `.` or `..`, which S3 takes for a name; write the folder itself"
        )
    return root.rstrip("/") + "/"


def _climbs(uri: str) -> bool:
    """Whether an object's name has parts that a server or proxy may take for the folder, or the one above."""
    return not {".", ".."}.isdisjoint(uri.split("/"))


def _folder(root: str) -> Path:
    path = _local_path(root).expanduser()
    if not path.is_absolute():
        raise ValueError(f"{root!r} is neither an absolute path nor an s3:// URI")
    return path


def _local_path(location: str) -> Path:
    if not location.startswith("file:"):
        return Path(location)
    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a file:// URI of another machine")
    return Path(unquote(parts.path))
