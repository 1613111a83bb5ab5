"""Dagster: the stages as assets, and the sensors that drive them.

What belongs here: partitions, assets, sensors, schedules, resources, the IO manager. What does not: the work
itself (`stages`); no other room imports Dagster.
"""

from bedrock_pipeline.orchestration.build import build_definitions
from bedrock_pipeline.orchestration.names import Names

__all__ = ["Names", "build_definitions"]
