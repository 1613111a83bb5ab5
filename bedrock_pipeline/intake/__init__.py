"""Intake: inputs as a stream of Arrow batches.

What belongs here: one file a format, and finding the files of a location. What does not: record ids, prompts,
and everything that happens to a row afterwards.
"""

from bedrock_pipeline.intake.location import local_file, open_location
from bedrock_pipeline.intake.source import ArrowSource, InputError, InputFile, IntakeBatch, Source

__all__ = ["ArrowSource", "InputError", "InputFile", "IntakeBatch", "Source", "local_file", "open_location"]
