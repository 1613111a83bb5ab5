"""Images and documents that cells name, from below the roots that the pipeline names."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.objects import ObjectTooLargeError, S3Objects
from bedrock_pipeline.prepare.snapshot.attachments import MOST_BYTES, Fetch, NotAnAttachmentError
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.sources.attachment_roots import AttachmentRoots

#: What S3 says of one object, rather than of the credentials or of itself.
_OF_THE_OBJECT: Final = frozenset(
    {"AccessDenied", "AllAccessDisabled", "InvalidObjectState", "InvalidBucketName"}
)


def attachment_reader(roots: Iterable[str], objects: S3Objects | None) -> Fetch:
    """A function that reads what a cell names: an s3:// URI, a file:// URI or an absolute path.

    It raises a NotAnAttachmentError for a location that is beneath no root (whether there is anything or not), leads to
    nothing that can be read, or to more than any model accepts; and an AwsError where S3 cannot be reached.

    Args:
        roots: `attachment_roots` of the pipeline.
        objects: None where S3 is not read.
    """
    allowed = AttachmentRoots(roots)

    def read(location: str) -> bytes:
        if not allowed:
            raise NotAnAttachmentError(
                "names a file, which needs attachment_roots, the places beneath which cells may name files"
            )
        return _object(location) if location.startswith("s3://") else _file(location)

    def _object(uri: str) -> bytes:
        if not allowed.has_object(uri):
            raise NotAnAttachmentError("names an object that is beneath none of attachment_roots")
        if objects is None:
            raise NotAnAttachmentError("names an object in S3, which is not read for a local file")
        try:
            return objects.get_at_most(uri, MOST_BYTES)
        except ObjectTooLargeError:
            raise NotAnAttachmentError(f"leads to more than {MOST_BYTES} bytes") from None
        except AwsError as error:
            found = error.classification
            if found.kind in (ErrorKind.NOT_FOUND, ErrorKind.INVALID) or found.code in _OF_THE_OBJECT:
                raise NotAnAttachmentError(f"leads to nothing that can be read ({found.code})") from None
            raise

    def _file(location: str) -> bytes:
        try:
            path = allowed.file(location)
        except (OSError, ValueError, RuntimeError):  # and what it names is not said to exist or not
            path = None
        if path is None:
            raise NotAnAttachmentError("names no file beneath one of attachment_roots")
        return _regular_file(path)

    return read


def _regular_file(path: Path) -> bytes:
    """The bytes of a file; never those of a device or a pipe, which may have no end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAnAttachmentError("leads to something that is not a file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotAnAttachmentError(f"leads to nothing that can be read ({type(error).__name__})") from None
    if len(data) > MOST_BYTES:
        raise NotAnAttachmentError(f"leads to more than {MOST_BYTES} bytes")
    return data
