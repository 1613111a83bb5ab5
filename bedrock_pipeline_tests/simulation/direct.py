"""S3 in memory without boto3, for the parts of a simulation in which nothing happens beside each other.

What belongs here: the methods of boto3's client that the product calls. A call of boto3's costs a hundred times as much.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from bedrock_pipeline_tests.simulation.storage import Objects, etag

#: Takes the history's line for a change of an object.
Changed = Callable[[str, str, bytes | None], None]


class DirectClient:
    """A client of one bucket.

    Args:
        objects: gives what is in S3 now.
        changed: called after each change.
    """

    def __init__(self, objects: Callable[[], Objects], changed: Changed) -> None:
        self._objects, self._changed = objects, changed

    def upload_file(self, path: str, bucket: str, key: str, **_: Any) -> None:
        """Write a local file."""
        self.put_object(Bucket=bucket, Key=key, Body=Path(path).read_bytes())

    def download_file(self, bucket: str, key: str, path: str, **_: Any) -> None:
        """Read into a local file."""
        Path(path).write_bytes(self._content(bucket, key, "GetObject"))

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803  # boto3's names
        """Write an object."""
        self._objects()[Bucket, Key] = Body
        self._changed("PUT", Key, Body)

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None) -> dict[str, Any]:  # noqa: N803
        """Read an object, or a range of it."""
        content = self._content(Bucket, Key, "GetObject")
        if Range:
            first, _, last = Range.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1 if last else None]
            named = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
            return {"Body": io.BytesIO(part), "ContentLength": len(part), "ContentRange": named}
        return {"Body": io.BytesIO(content), "ContentLength": len(content)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """Look up an object."""
        return {"ContentLength": len(self._content(Bucket, Key, "HeadObject"))}

    def copy(self, source: dict[str, str], bucket: str, key: str, **_: Any) -> None:
        """Copy an object."""
        content = self._content(source["Bucket"], source["Key"], "CopyObject")
        self._objects()[bucket, key] = content
        self._changed("COPY", key, content)

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        """Delete an object."""
        self._objects().pop((Bucket, Key), None)
        self._changed("DELETE", Key, None)

    def get_paginator(self, _: str) -> "DirectClient":
        """The only paginator is that of a list."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        """One page with every object of a prefix."""
        found = sorted(
            (key, content)
            for (bucket, key), content in self._objects().items()
            if bucket == Bucket and key.startswith(Prefix)
        )
        yield {
            "Contents": [{"Key": key, "Size": len(content), "ETag": etag(content)} for key, content in found]
        }

    def _content(self, bucket: str, key: str, operation: str) -> bytes:
        try:
            return self._objects()[bucket, key]
        except KeyError:
            code = "404" if operation == "HeadObject" else "NoSuchKey"
            raise ClientError({"Error": {"Code": code}}, operation) from None
