"""Objects in S3 as files and streams.

All URIs are `s3://bucket/key`.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

from bedrock_pipeline.aws.errors import AwsError, classify, translated
from bedrock_pipeline.records.error_codes import ErrorKind

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_ACCESS_POINT = re.compile(r"(?P<arn>arn:[^/]+:accesspoint[/:][^/]+)(?:/(?P<key>.*))?$", re.DOTALL)
_BLOCK = 8 * 1024 * 1024
_READ_TRIES = 4
_PART = 16 * 1024 * 1024
# The largest object that S3 copies in one request; the embedded S3 does not copy in parts.
_COPIED_WHOLE = 5 * 1024**3


class ObjectMissingError(AwsError):
    """The object or its bucket does not exist."""

    _of_class = ErrorKind.NOT_FOUND


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: its URI and its size in bytes."""

    uri: str
    size: int


class ObjectTooLargeError(AwsError):
    """The object is larger than the caller accepts."""

    _of_class = ErrorKind.INVALID


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI; in place of the bucket there may be the ARN of an access point.

    Raises:
        ValueError: it is not an s3:// URI.
    """
    scheme, _, rest = uri.partition("://")
    if point := _ACCESS_POINT.match(rest):
        return point["arn"], point["key"] or ""
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"not an s3:// URI: {uri!r}")
    return bucket, key


class S3Objects:
    """Objects through one S3 client; safe to use from several threads, and uses several for large objects if it may."""

    def __init__(self, client: "S3Client", *, use_threads: bool = True) -> None:
        self._client = client
        self._transfer = TransferConfig(
            multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4, use_threads=use_threads
        )
        self._copying = TransferConfig(multipart_threshold=_COPIED_WHOLE, use_threads=use_threads)

    def upload(self, path: Path, uri: str) -> None:
        """Upload a local file, in parts where it is large."""
        bucket, key = split_uri(uri)
        with _translated("upload", uri):
            self._client.upload_file(str(path), bucket, key, Config=self._transfer)

    def put(self, uri: str, data: bytes) -> None:
        """Write a small object."""
        bucket, key = split_uri(uri)
        with _translated("write", uri):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, uri: str) -> bytes:
        """Read a small object."""
        with self.open(uri) as stream:
            return stream.read()

    def get_at_most(self, uri: str, size: int) -> bytes:
        """Read an object of at most this size in bytes, by a single request.

        Raises:
            ObjectMissingError: there is none.
            ObjectTooLargeError: it is larger.
        """

        def read() -> bytes:
            with _translated("read", uri):
                answer = self._client.get_object(Bucket=bucket, Key=key)
            if answer["ContentLength"] > size:
                answer["Body"].close()
                raise ObjectTooLargeError(f"Object {uri} is larger than {size} bytes.")
            return answer["Body"].read()

        bucket, key = split_uri(uri)
        return _read_again(uri, read)

    def open(self, uri: str) -> BinaryIO:
        """Read an object as a stream of bounded memory, which is resumed where it was after a broken connection."""
        return cast("BinaryIO", io.BufferedReader(_ObjectStream(self._client, self._found(uri)), _BLOCK))

    def random_access(self, uri: str) -> BinaryIO:
        """Open an object for random access, as parquet readers need; each read is a ranged request."""
        return cast("BinaryIO", io.BufferedReader(_RandomAccess(self._client, self._found(uri)), 256 * 1024))

    def download(self, uri: str, path: Path) -> None:
        """Copy an object into a local file."""
        bucket, key = split_uri(uri)
        with _translated("read", uri):
            self._client.download_file(bucket, key, str(path), Config=self._transfer)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        """List the objects whose URI has this prefix, in the order of keys."""
        bucket, prefix = split_uri(prefix_uri)
        with _translated("list", prefix_uri):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ObjectInfo(f"s3://{bucket}/{item['Key']}", item["Size"])

    def head(self, uri: str) -> ObjectInfo | None:
        """Look up an object; None if it does not exist."""
        bucket, key = split_uri(uri)
        try:
            with _translated("look up", uri):
                return ObjectInfo(uri, self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ObjectMissingError:
            return None

    def copy(self, source: str, target: str) -> None:
        """Copy an object within S3."""
        source_bucket, source_key = split_uri(source)
        bucket, key = split_uri(target)
        with _translated("copy", source):
            self._client.copy({"Bucket": source_bucket, "Key": source_key}, bucket, key, Config=self._copying)

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; those that do not exist are ignored."""
        for uri in uris:
            bucket, key = split_uri(uri)
            with _translated("delete", uri):
                self._client.delete_object(Bucket=bucket, Key=key)

    def discard(self, folder: str) -> None:
        """Delete what is in a folder that nothing names; it does no harm where S3 does not respond."""
        with suppress(AwsError):
            self.delete(item.uri for item in list(self.list(folder)))

    def _found(self, uri: str) -> ObjectInfo:
        if info := self.head(uri):
            return info
        raise ObjectMissingError(
            f"Object {uri} does not exist.", "Check the location, and that it was not deleted."
        )


class _Reader(io.RawIOBase):
    def __init__(self, client: "S3Client", info: ObjectInfo) -> None:
        self._client = client
        self._info = info
        self._position = 0

    def readable(self) -> bool:
        return True

    def _check(self, answer: "GetObjectOutputTypeDef", begin: int, size: int) -> None:
        """Check that a response has the bytes that were requested, of the object that was found.

        Raises:
            OSError: it has others: the object was replaced, or the response is not the object.
        """
        whole = self._info.size
        expected = f"bytes {begin}-{begin + size - 1}/{whole}"
        is_range = size < whole
        if answer["ContentLength"] != size or (is_range and answer.get("ContentRange") != expected):
            raise OSError(f"the response does not have {size} bytes from byte {begin} of {whole}")


class _ObjectStream(_Reader):
    """The body of one object; after a broken connection it goes on at the same byte."""

    _body: BinaryIO | None = None

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # io.BufferedReader passes a buffer
        if self._position >= self._info.size:
            return 0
        data = _read_again(self._info.uri, lambda: self._read(len(view)))
        view[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        if self._body is None:
            bucket, key = split_uri(self._info.uri)
            with _translated("read", self._info.uri):
                answer = (
                    self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes={self._position}-")
                    if self._position
                    else self._client.get_object(Bucket=bucket, Key=key)
                )
            self._check(answer, self._position, self._info.size - self._position)
            self._body = cast("BinaryIO", answer["Body"])
        body, self._body = self._body, None  # a body that broke cannot be read again
        data = body.read(size)
        if not data:
            raise OSError(f"the object ended at byte {self._position} of {self._info.size}")
        self._body = body
        self._position += len(data)
        return data


class _RandomAccess(_Reader):
    """One object, read by ranges."""

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._info.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # io.BufferedReader passes a buffer
        end = min(self._position + len(view), self._info.size)
        if self._position >= end:
            return 0
        data = _read_again(self._info.uri, lambda: self._read(end))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, end: int) -> bytes:
        bucket, key = split_uri(self._info.uri)
        with _translated("read", self._info.uri):
            answer = self._client.get_object(
                Bucket=bucket, Key=key, Range=f"bytes={self._position}-{end - 1}"
            )
        self._check(answer, self._position, end - self._position)
        return answer["Body"].read()


def _read_again(uri: str, read: Callable[[], bytes]) -> bytes:
    """Read a body, again if the connection breaks: the SDK's retries end where the body begins."""
    for _ in range(_READ_TRIES - 1):
        with suppress(HTTPClientError, ResponseStreamingError, IncompleteReadError, OSError):
            return read()
    try:
        return read()
    except (HTTPClientError, ResponseStreamingError, IncompleteReadError, OSError) as error:
        raise AwsError(f"Could not read {uri}: {classify(error)}.", "", classify(error)) from error


def _translated(action: str, uri: str) -> AbstractContextManager[None]:
    return translated(
        f"{action} {uri}", "Check the bucket, the key, the region and the permissions.", ObjectMissingError
    )
