"""Objects in S3 as files and streams.

What belongs here: moving bytes. All URIs are `s3://bucket/key`; what the objects mean is not known here.
"""

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)

from bedrock_pipeline.aws.errors import AwsError, classify

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BLOCK = 8 * 1024 * 1024
_READ_TRIES = 4
_TRANSFER = TransferConfig(
    multipart_threshold=16 * 1024 * 1024, multipart_chunksize=16 * 1024 * 1024, max_concurrency=4
)


class ObjectMissingError(AwsError):
    """There is no such object, or no such bucket."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: its URI and its size in bytes."""

    uri: str
    size: int


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI.

    Raises:
        ValueError: it is none.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"not an s3:// URI: {uri!r}")
    return bucket, key


class S3Objects:
    """Objects through one S3 client; safe to use from several threads."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client
        self._lock = threading.Lock()

    def upload(self, path: Path, uri: str) -> None:
        """Upload a local file, in parts where it is large."""
        bucket, key = split_uri(uri)
        with _explained("upload", uri):
            self._client.upload_file(str(path), bucket, key, Config=_TRANSFER)

    def put(self, uri: str, data: bytes) -> None:
        """Write a small object."""
        bucket, key = split_uri(uri)
        with _explained("write", uri):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, uri: str) -> bytes:
        """Read a small object."""
        with self.open(uri) as stream:
            return stream.read()

    def open(self, uri: str) -> BinaryIO:
        """Read an object as a stream of bounded memory; a connection that breaks is resumed where it was."""
        info = self.head(uri)
        if info is None:
            raise _missing(uri)
        return cast("BinaryIO", io.BufferedReader(_ObjectStream(self._client, info), _BLOCK))

    def random_access(self, uri: str) -> BinaryIO:
        """Read an object here and there, as parquet readers do; each read is a ranged request."""
        info = self.head(uri)
        if info is None:
            raise _missing(uri)
        return cast("BinaryIO", io.BufferedReader(_RandomAccess(self._client, info), 256 * 1024))

    def download(self, uri: str, path: Path) -> None:
        """Copy an object into a local file."""
        bucket, key = split_uri(uri)
        with _explained("read", uri):
            self._client.download_file(bucket, key, str(path), Config=_TRANSFER)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        """Every object whose URI begins so, in the order of keys."""
        bucket, prefix = split_uri(prefix_uri)
        with _explained("list", prefix_uri):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ObjectInfo(f"s3://{bucket}/{item['Key']}", item["Size"])

    def head(self, uri: str) -> ObjectInfo | None:
        """Size of an object; None where there is none."""
        bucket, key = split_uri(uri)
        try:
            with _explained("look at", uri):
                return ObjectInfo(uri, self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ObjectMissingError:
            return None

    def copy(self, source: str, target: str) -> None:
        """Copy an object within S3; no byte comes here."""
        source_bucket, source_key = split_uri(source)
        bucket, key = split_uri(target)
        with _explained("copy", source):
            self._client.copy({"Bucket": source_bucket, "Key": source_key}, bucket, key, Config=_TRANSFER)

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        for uri in uris:
            bucket, key = split_uri(uri)
            with _explained("delete", uri):
                self._client.delete_object(Bucket=bucket, Key=key)


class _ObjectStream(io.RawIOBase):
    """The body of one object; after a broken connection it goes on at the same byte."""

    def __init__(self, client: "S3Client", info: ObjectInfo) -> None:
        self._client = client
        self._info = info
        self._position = 0
        self._body: BinaryIO | None = None

    def readable(self) -> bool:
        return True

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
            with _explained("read", self._info.uri):
                answer = (
                    self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes={self._position}-")
                    if self._position
                    else self._client.get_object(Bucket=bucket, Key=key)
                )
            self._body = cast("BinaryIO", answer["Body"])
        body, self._body = self._body, None  # a body that broke is of no more use
        data = body.read(size)
        if not data:
            raise OSError(f"the object ended at byte {self._position} of {self._info.size}")
        self._body = body
        self._position += len(data)
        return data


class _RandomAccess(io.RawIOBase):
    """One object, read by ranges."""

    def __init__(self, client: "S3Client", info: ObjectInfo) -> None:
        self._client = client
        self._info = info
        self._position = 0

    def readable(self) -> bool:
        return True

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
        with _explained("read", self._info.uri):
            answer = self._client.get_object(
                Bucket=bucket, Key=key, Range=f"bytes={self._position}-{end - 1}"
            )
        return answer["Body"].read()


def _read_again(uri: str, read: Callable[[], bytes]) -> bytes:
    """Read a body; the SDK's retries end where the body begins, so one that breaks off is asked for again."""
    for _ in range(_READ_TRIES - 1):
        with suppress(HTTPClientError, ResponseStreamingError, IncompleteReadError, OSError):
            return read()
    try:
        return read()
    except (HTTPClientError, ResponseStreamingError, IncompleteReadError, OSError) as error:
        raise _failure("read", uri, error) from error


def _missing(uri: str) -> ObjectMissingError:
    return ObjectMissingError(
        f"There is no object {uri}.", "Check the location, and that it was not deleted."
    )


@contextmanager
def _explained(action: str, uri: str) -> Iterator[None]:
    try:
        yield
    except Boto3Error as error:  # transfers wrap what they meet
        raise _failure(action, uri, _met(error)) from error
    except (ClientError, BotoCoreError) as error:
        raise _failure(action, uri, error) from error


def _met(error: Boto3Error) -> Exception:
    return error.__context__ if isinstance(error.__context__, ClientError) else error


def _failure(action: str, uri: str, error: Exception) -> AwsError:
    classification = classify(error)
    if classification.code in {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}:
        return ObjectMissingError(
            f"Could not {action} {uri}: {classification.code}.", "Check the bucket and the key."
        )
    return AwsError(
        f"Could not {action} {uri}: {classification}.", "Check the bucket, the region and the permissions."
    )
