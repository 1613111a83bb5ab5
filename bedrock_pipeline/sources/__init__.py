"""Where records come from: inputs as a stream of Arrow batches."""

from bedrock_pipeline.sources.location import local_file, open_location
from bedrock_pipeline.sources.source import ArrowSource, InputError, InputFile, RowBatch, Source

__all__ = ["ArrowSource", "InputError", "InputFile", "RowBatch", "Source", "local_file", "open_location"]
