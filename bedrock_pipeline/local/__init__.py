"""The embedded stack: Postgres, S3 and the Bedrock emulator on this machine.

They are child processes on loopback. Starting them (`stack.py`) is imported by whoever starts; finding them is light.
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
