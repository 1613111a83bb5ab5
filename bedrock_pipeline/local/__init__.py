"""The embedded stack: Postgres, S3 and the Bedrock emulator on this machine.

What belongs here: starting, finding and ending them as child processes on loopback, and where they keep their
data. What does not: what they are used for. Starting (`stack.py`) is imported by whoever starts; finding is light.
"""

from bedrock_pipeline.local.endpoints import (
    Endpoints,
    environment,
    environment_of_child,
    file_uri,
    read_endpoints,
)
from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.home import default_home

__all__ = [
    "Endpoints",
    "MissingExtraError",
    "default_home",
    "environment",
    "environment_of_child",
    "file_uri",
    "read_endpoints",
]
