"""Where records come from: inputs as a stream of Arrow batches."""

from bedrock_pipeline.sources.csv_format import CsvFormat
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.finding import local_file
from bedrock_pipeline.sources.location import notes_of, open_location
from bedrock_pipeline.sources.source import ArrowSource, InputFile, RowBatch, Source

__all__ = [
    "ArrowSource",
    "CsvFormat",
    "InputError",
    "InputFile",
    "RowBatch",
    "Source",
    "local_file",
    "notes_of",
    "open_location",
]
