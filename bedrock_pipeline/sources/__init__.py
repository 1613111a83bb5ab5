"""Where records come from: inputs as a stream of Arrow batches."""

from bedrock_pipeline.sources.arrow_objects import SourceLike, source_of
from bedrock_pipeline.sources.csv_format import CsvFormat
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.finding import absolute_location, plain_location
from bedrock_pipeline.sources.local_files import local_file
from bedrock_pipeline.sources.location import notes_of, open_location
from bedrock_pipeline.sources.source import ArrowSource, InputFile, RowBatch, Source
from bedrock_pipeline.sources.tables import DeltaTable, Destination, IcebergTable, SqlQuery, Table
from bedrock_pipeline.sources.upstream import UpstreamAsset

__all__ = [
    "ArrowSource",
    "CsvFormat",
    "DeltaTable",
    "Destination",
    "IcebergTable",
    "InputError",
    "InputFile",
    "RowBatch",
    "Source",
    "SourceLike",
    "SqlQuery",
    "Table",
    "UpstreamAsset",
    "absolute_location",
    "local_file",
    "notes_of",
    "open_location",
    "plain_location",
    "source_of",
]
