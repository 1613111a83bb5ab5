"""What may be deleted of a version of a dataset.

Two extents. `exchange`: the input and the output of its jobs, which nothing reads once every response is collected.
`everything`: also snapshot, indexes and collected responses, where neither results nor a retry round come from them.
Published results are never deleted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bedrock_pipeline.ledger.retention import ChunkFiles, Extent, OldVersion

#: States of a current version in which nothing is under way. A queue's day may stay packed for ever: where nobody publishes it,
#: and its jobs' results are read.
_AT_REST: Final = ("published", "cancelled")


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be deleted of a version.

    Attributes:
        extent: None where nothing may be.
        why: why nothing, or not everything, may be deleted.
    """

    extent: Extent | None
    why: str = ""


def decide(version: OldVersion) -> Decision:
    """What may be deleted of a version, and why not more."""
    if why := _needed_by(version):
        return Decision(None, why)
    if version.published:
        extent, why = _exchange("its results are the published ones")
    elif version.open:
        extent, why = _exchange("its jobs' results are read from it")
    else:
        extent, why = "everything", ""
    if version.pruned == extent:
        return Decision(None, f"what can be deleted was; {why}" if why else "it was deleted")
    return Decision(extent, why)


def _exchange(why: str) -> tuple[Extent, str]:
    return "exchange", why


def _needed_by(version: OldVersion) -> str:
    """Why all of a version is needed; empty if it is not."""
    if not version.unchanged:
        return "it has changed since"
    if version.unended:
        return f"{version.unended} chunks have not ended"
    if version.uncollected:
        return f"{version.uncollected} chunks have responses to collect"
    if version.current and version.launching:
        return "a launch waits for its preparation"
    if version.current and version.state not in _AT_REST and not (version.open and version.state == "packed"):
        return f"it is {version.state}"
    if version.current and version.rejected:
        return f"{version.rejected} rejected chunks wait for `retry`"
    if version.current and version.retryable:
        return f"{version.retryable} chunks have records to send again"
    if version.open_jobs:
        return f"{version.open_jobs} jobs are not final"
    if version.published and version.publishing:
        return "latest.json is being written"
    return ""


@dataclass(frozen=True, slots=True)
class Files:
    """What is deleted: objects by their URI, and all that is beneath folders."""

    uris: tuple[str, ...]
    folders: tuple[str, ...]


def files_of(
    version: OldVersion, chunks: Iterable[ChunkFiles], snapshot: str | None, extent: Extent
) -> Files:
    """The files of a version that go with an extent.

    A folder is named only where its path shows whose it is: by the id of the chunk, or by pipeline and dataset.
    """
    uris: list[str] = []
    folders: list[str] = []
    for chunk in chunks:
        uris += [str(file["uri"]) for file in chunk.files]
        folders += _own(chunk.chunk_id, [_output(chunk)])
        if extent == "everything":
            uris.append(chunk.index_uri)
            folders += _own(chunk.chunk_id, [chunk.parsed_uri or ""])
    if (
        extent == "everything"
        and snapshot
        and f"/snapshots/{version.pipeline}/{version.dataset}/" in snapshot
    ):
        folders.append(snapshot)
    return Files(tuple(uris), tuple(folders))


def _output(chunk: ChunkFiles) -> str:
    output = chunk.request.get("outputDataConfig", {}).get("s3OutputDataConfig", {})
    return str(output.get("s3Uri", ""))


def _own(chunk_id: UUID, folders: Iterable[str]) -> Iterator[str]:
    return (folder for folder in folders if f"/{chunk_id}/" in folder)
