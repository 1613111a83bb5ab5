"""The objects that jobs read and write.

What belongs here: the few operations of S3 that the emulator needs, as a protocol; S3 itself, over boto3; and a
mapping in memory, for simulations that run without a server.
"""

import io
from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_BYTES = 1 << 20
#: Ten parts in flight at once, boto3's default, would be the most of the memory.
_TRANSFER = TransferConfig(max_concurrency=2)


class ObjectError(Exception):
    """An object or a bucket cannot be read or written.

    Attributes:
        code: S3's name of the error, such as `NoSuchBucket`.
    """

    def __init__(self, code: str, place: str) -> None:
        super().__init__(f"{place}: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object: its bytes, and the KMS key that encrypts it."""

    size: int
    kms_key: str | None = None


class ObjectStore(Protocol):
    """What the emulator needs of S3; every method raises `ObjectError`."""

    def check_bucket(self, bucket: str) -> None:
        """Fail where the bucket is not there."""

    def head(self, bucket: str, key: str) -> Head:
        """What is known of an object."""

    def list(self, bucket: str, prefix: str) -> list[tuple[str, int]]:
        """Keys below a prefix, in S3's order, with their bytes."""

    def lines(self, bucket: str, key: str) -> Iterator[bytes]:
        """The lines of an object, as a stream."""

    def write(self, bucket: str, key: str, file: IO[bytes], kms_key: str | None = None) -> None:
        """Everything in `file`, from its start, as one object, encrypted with a KMS key if one is given."""


class S3Objects:
    """Objects in S3.

    Args:
        client: boto3's.
    """

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def check_bucket(self, bucket: str) -> None:
        """Fail where the bucket is not there."""
        try:
            self._client.head_bucket(Bucket=bucket)
        except ClientError as error:
            raise _translated(error, f"s3://{bucket}") from error

    def head(self, bucket: str, key: str) -> Head:
        """What is known of an object."""
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
            return Head(found["ContentLength"], found.get("SSEKMSKeyId"))
        except ClientError as error:
            raise _translated(error, f"s3://{bucket}/{key}") from error

    def list(self, bucket: str, prefix: str) -> list[tuple[str, int]]:
        """Keys below a prefix, in S3's order, with their bytes."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            return [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            raise _translated(error, f"s3://{bucket}/{prefix}") from error

    def lines(self, bucket: str, key: str) -> Iterator[bytes]:
        """The lines of an object, as a stream."""
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            raise _translated(error, f"s3://{bucket}/{key}") from error
        yield from body.iter_lines(chunk_size=_READ_BYTES)

    def write(self, bucket: str, key: str, file: IO[bytes], kms_key: str | None = None) -> None:
        """Everything in `file`, from its start, as one object, encrypted with a KMS key if one is given."""
        file.seek(0)
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        kept = cast("IO[bytes]", _Kept(file))
        try:
            self._client.upload_fileobj(kept, bucket, key, ExtraArgs=extra, Config=_TRANSFER)
        except ClientError as error:
            raise _translated(error, f"s3://{bucket}/{key}") from error


class MemoryObjects:
    """Objects in a mapping of (bucket, key) to content, which its owner may read and change.

    Args:
        objects: the content.
        buckets: names of the buckets that are there.
    """

    def __init__(self, objects: MutableMapping[tuple[str, str], bytes], buckets: Collection[str]) -> None:
        self._objects, self._buckets = objects, buckets

    def check_bucket(self, bucket: str) -> None:
        """Fail where the bucket is not there."""
        if bucket not in self._buckets:
            raise ObjectError("NoSuchBucket", f"s3://{bucket}")

    def head(self, bucket: str, key: str) -> Head:
        """What is known of an object."""
        return Head(len(self._content(bucket, key)))

    def list(self, bucket: str, prefix: str) -> list[tuple[str, int]]:
        """Keys below a prefix, in S3's order, with their bytes."""
        self.check_bucket(bucket)
        found = [
            (key, len(content))
            for (place, key), content in self._objects.items()
            if place == bucket and key.startswith(prefix)
        ]
        return sorted(found, key=lambda one: one[0].encode())

    def lines(self, bucket: str, key: str) -> Iterator[bytes]:
        """The lines of an object."""
        yield from self._content(bucket, key).splitlines()

    def write(self, bucket: str, key: str, file: IO[bytes], kms_key: str | None = None) -> None:  # noqa: ARG002  # nothing is encrypted here
        """Everything in `file`, from its start, as one object."""
        self.check_bucket(bucket)
        file.seek(0)
        self._objects[bucket, key] = file.read()

    def _content(self, bucket: str, key: str) -> bytes:
        self.check_bucket(bucket)
        try:
            return self._objects[bucket, key]
        except KeyError:
            raise ObjectError("NoSuchKey", f"s3://{bucket}/{key}") from None


class _Kept(io.BufferedIOBase):
    """A file that is still open after boto3 has closed what it uploaded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _translated(error: ClientError, place: str) -> ObjectError:
    details: dict[str, Any] = dict(error.response.get("Error", {}))
    return ObjectError(str(details.get("Code", "Unknown")), place)
