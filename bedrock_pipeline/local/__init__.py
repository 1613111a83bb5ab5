"""The embedded default: Postgres, S3 and the Bedrock emulator on this machine.

What belongs here: starting, finding and ending them as child processes on loopback, and where they keep their
data. What does not: what they are used for.
"""

from bedrock_pipeline.local.endpoints import Endpoints, environment, file_uri, read_endpoints
from bedrock_pipeline.local.extra import MissingExtraError
from bedrock_pipeline.local.here import settings_here
from bedrock_pipeline.local.home import default_home
from bedrock_pipeline.local.stack import Stack, StackConfig

__all__ = [
    "Endpoints",
    "MissingExtraError",
    "Stack",
    "StackConfig",
    "default_home",
    "environment",
    "file_uri",
    "read_endpoints",
    "settings_here",
]
