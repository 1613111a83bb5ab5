"""The client request token of a job.

What belongs here: one pure function.
"""

import hashlib
import json
from typing import Any
from uuid import UUID


def request_token(deployment_id: UUID, chunk_id: UUID, request: dict[str, Any]) -> str:
    """The client request token of a frozen request, the same however often it is sent.

    64 hexadecimal characters, within `[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}` of Bedrock's service model.
    """
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{deployment_id}\n{chunk_id}\n{canonical}".encode()).hexdigest()
