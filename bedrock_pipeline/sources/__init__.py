"""Where records come from: inputs as a stream of Arrow batches.

What belongs here: one file for each format, and finding the files of a location. What does not: record ids, prompts,
and everything that happens to a row afterwards.
"""

from bedrock_pipeline.sources.location import local_file, open_location
from bedrock_pipeline.sources.source import ArrowSource, InputError, InputFile, RowBatch, Source

__all__ = ["ArrowSource", "InputError", "InputFile", "RowBatch", "Source", "local_file", "open_location"]
