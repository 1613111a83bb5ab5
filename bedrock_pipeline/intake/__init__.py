"""Intake: inputs as a stream of Arrow batches.

What belongs here: one file a format, and finding the files of a location. What does not: record ids, prompts,
and everything that happens to a row afterwards.
"""

from bedrock_pipeline.intake.location import open_location
from bedrock_pipeline.intake.source import ArrowSource, InputError, IntakeBatch, Source

__all__ = ["ArrowSource", "InputError", "IntakeBatch", "Source", "open_location"]
