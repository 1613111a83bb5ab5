"""Dagster: the steps as assets, and the sensors that request their runs.

One file for each Dagster concept. The work itself is in `prepare`, `submit`, `collect`, `publish` and `queue`; only this
package, `examples` and `definitions` import Dagster.
"""

from bedrock_pipeline.orchestration.build import build_definitions
from bedrock_pipeline.orchestration.names import Names

__all__ = ["Names", "build_definitions"]
