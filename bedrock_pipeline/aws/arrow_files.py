"""S3 as a file system of Arrow, read through boto3.

Arrow's own S3 client has another chain of credentials: it knows no assumed role, no SSO, and refreshes nothing. So whatever
reads results uses boto3's, as everything else does.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pa_fs

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.objects import ObjectMissingError, S3Objects
from bedrock_pipeline.settings import Settings

_READ_ONLY: Final = "results are not written through this file system"


def results_filesystem(settings: Settings) -> pa_fs.PyFileSystem:
    """A file system over the deployment's S3, to read only; paths are `bucket/key`, without `s3://`."""
    return pa_fs.PyFileSystem(_Reader(S3Objects(s3_client(settings))))


def folder_filesystem(settings: Settings, uri: str) -> pa_fs.SubTreeFileSystem:
    """An `s3://` folder as a file system, to read only; paths are relative to it."""
    return pa_fs.SubTreeFileSystem(uri.removeprefix("s3://").rstrip("/"), results_filesystem(settings))


class _Reader(pa_fs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types for it
    """What Arrow asks of a file system, for one that is read only and has no folders of its own."""

    def __init__(self, objects: S3Objects) -> None:
        self._objects = objects

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reader) and self._objects is other._objects

    def __hash__(self) -> int:
        return hash(id(self._objects))

    def get_type_name(self) -> str:
        return "s3"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pa_fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: pa_fs.FileSelector) -> list[pa_fs.FileInfo]:
        folder = selector.base_dir.rstrip("/") + "/"
        found: dict[str, pa_fs.FileInfo] = {}
        for item in self._objects.list(f"s3://{folder}"):
            path = item.uri.removeprefix("s3://")
            name, _, below = path.removeprefix(folder).partition("/")
            if below and not selector.recursive:
                path = folder + name
                found[path] = pa_fs.FileInfo(path, pa_fs.FileType.Directory)
            else:
                found[path] = pa_fs.FileInfo(path, pa_fs.FileType.File, size=item.size)
        if not found and not selector.allow_not_found:
            raise FileNotFoundError(f"s3://{folder}")
        return list(found.values())

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.PythonFile:
        try:
            return pa.PythonFile(self._objects.random_access(f"s3://{path}"), mode="r")
        except ObjectMissingError as error:
            raise FileNotFoundError(f"s3://{path}") from error

    def _info(self, path: str) -> pa_fs.FileInfo:
        if "/" in path.rstrip("/") and (found := self._objects.head(f"s3://{path}")):
            return pa_fs.FileInfo(path, pa_fs.FileType.File, size=found.size)
        below = next(self._objects.list(f"s3://{path.rstrip('/')}/"), None)
        return pa_fs.FileInfo(path, pa_fs.FileType.Directory if below else pa_fs.FileType.NotFound)

    def _reject(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(_READ_ONLY)

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _reject
    move = copy_file = open_output_stream = open_append_stream = _reject
