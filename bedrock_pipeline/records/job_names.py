"""UUIDs of chunks, and the job names by which Bedrock's jobs are matched to them."""

import re
from uuid import UUID, uuid5

_NAME = re.compile(r"-(?P<chunk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


def chunk_uuid(deployment_id: UUID, *parts: object) -> UUID:
    """The UUID of a chunk: the same parts give the same one, and its first four bytes are the deployment's.

    So a deployment knows its own jobs by their names, also those that a restored ledger has forgotten, and never
    takes those of another deployment in the same account for its own (UUID version 8, RFC 9562 section 5.8).
    """
    own = uuid5(deployment_id, "\n".join(str(part) for part in parts))
    value = bytearray(deployment_id.bytes[:4] + own.bytes[4:])
    value[6] = (value[6] & 0x0F) | 0x80
    return UUID(bytes=bytes(value))


def chunk_of_job(deployment_id: UUID, name: str) -> UUID | None:
    """The chunk in a job's name; None if the job belongs to another deployment."""
    found = _NAME.search(name)
    chunk_id = UUID(found["chunk"]) if found else None
    return chunk_id if chunk_id and chunk_id.bytes[:4] == deployment_id.bytes[:4] else None


def job_name(pipeline: str, chunk_id: UUID, prefix: str = "") -> str:
    """The name of a chunk's job: at most 63 characters, no underscore (service model: ModelInvocationJobName).

    It ends in the chunk's UUID, by which List finds it whatever it begins with.

    Args:
        pipeline: the pipeline's name.
        chunk_id: the chunk.
        prefix: what the name begins with.
    """
    begin = f"{prefix}-{pipeline}" if prefix else pipeline
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", begin).strip("-")[:26].rstrip("-")
    return f"{readable}-{chunk_id}"


def is_job_of(name: str, chunk_id: UUID) -> bool:
    """Whether a job has the name of a chunk's, with whatever prefix."""
    return name.endswith(f"-{chunk_id}")
