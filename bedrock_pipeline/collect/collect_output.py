"""Read the output of a job and write its records as parquet: the path of both `collect_chunk` and `parse` on files.

Where output comes from and where files go is passed in.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from bedrock_pipeline.collect.join import FLOAT, lengths_of, rows
from bedrock_pipeline.collect.retry_policy import RetryWriter
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import carried, result_schema
from bedrock_pipeline.system import ExecutorFactory, threads

#: The records of the results.
PART = "part-00000.parquet"
#: The records that are retried, beside them.
RETRYABLE = "retryable.parquet"
#: Name of an output file, and its lines (`collect.line_reader`).
OutputFile: TypeAlias = tuple[str, Iterator[memoryview]]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was written.

    Attributes:
        counter: how the records ended, and which lines were irregular.
        schema: of the results.
        retryable_by_code: how many records are retried, by the code that they ended with.
    """

    counter: TallyCounter
    schema: pa.Schema
    retryable_by_code: dict[str, int]


def collect_output(
    files: Callable[[], Iterator[OutputFile]],
    index: pa.Table | None,
    metadata: ChunkMetadata,
    put: Callable[[Path, str], None],
    progress: Callable[[int], None] = lambda _lines: None,
    executor: ExecutorFactory = threads,
) -> Collected:
    """Write `PART`, and `RETRYABLE` if records are retried.

    Args:
        files: opens the output files; for embeddings it is called twice.
        index: the chunk's, whose every record ends once. None: every line gives a row, and its chunk key is the name of
            its file.
        metadata: what all rows share.
        put: takes a complete file and its name.
        progress: called with the number of lines that were read so far.
        executor: makes the threads that read.
    """
    counter = TallyCounter()
    lengths = lengths_of(chain.from_iterable(lines for _, lines in files()), metadata)
    dimension = lengths.pop(FLOAT, None)
    metadata = replace(metadata, vectors={**metadata.vectors, **lengths})
    schema = result_schema(
        carried(index.schema) if index is not None else pa.schema([]), dimension, metadata.response_fields
    )

    def batches(retryable: RetryWriter) -> Iterator[pa.RecordBatch]:
        if index is not None:
            every = chain.from_iterable(lines for _, lines in files())
            yield from rows(every, index, metadata, counter, dimension, retryable, executor)
            return
        for name, lines in files():
            yield from rows(
                lines, None, replace(metadata, chunk_key=name), counter, dimension, executor=executor
            )

    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        part, rest = Path(folder) / PART, Path(folder) / RETRYABLE
        with RetryWriter(rest) as retryable, GroupedWriter(part, schema) as writer:
            for batch in batches(retryable):
                writer.add(batch)
                progress(counter.lines)
        if counter.retryable:
            put(rest, RETRYABLE)
        put(part, PART)
    progress(counter.lines)
    return Collected(counter, schema, retryable.by_reason)
