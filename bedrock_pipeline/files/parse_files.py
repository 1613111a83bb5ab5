"""Read output files of jobs into one parquet file, for the command `parse`.

Lines become rows by the code that collects a chunk.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.collect.collect_output import PART, OutputFile, collect_output
from bedrock_pipeline.collect.line_reader import Lines, buffers
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.files.chunk_index import IndexFileError, read_index
from bedrock_pipeline.files.folders import place
from bedrock_pipeline.files.origin import check_origin


class NoOutputError(InvalidInputError):
    """There is no output file."""


def parse_files(
    files: Sequence[str],
    metadata: ChunkMetadata,
    out: str,
    objects: S3Objects,
    *,
    index: str | None = None,
    progress: Callable[[int, int], None] = lambda _lines, _bytes: None,
) -> TallyCounter:
    """Write the results of output files as parquet.

    With an index every record of it gives one row, as in a published dataset, and every line is of one chunk. Without
    an index every line gives a row, whose record id is the one in the line.

    Args:
        files: paths or s3:// URIs; a local folder, or a URI that ends in a slash, means every `.jsonl.out` in it. A
            file that is named twice is read once.
        metadata: the model family and what is kept; the chunk key is filled in from the names of the files.
        out: path or s3:// URI of the file to write; what is there stays until the results are whole.
        objects: S3.
        index: path or s3:// URI of the chunk's `index.parquet`.
        progress: called with the lines and bytes that were read so far.

    Raises:
        AwsError: S3 cannot be reached, or does not have a file.
        NoOutputError: a file or folder does not exist, or there is not a single line of output.
        OriginError: a file is a job's input, or the output of another model.
        IndexFileError: the index is not a chunk's, or another's.
        InvalidInputError: `out` names a folder, a file of another format, or one that is read.
        OSError: a file cannot be read or written.
    """
    if out.endswith("/") or Path(out).is_dir():
        raise InvalidInputError(f"{out} is a folder.", "Name the parquet file to write.")
    if not out.lower().endswith(".parquet"):
        raise InvalidInputError(f"{out} does not end with .parquet, the only format.", "Name the file so.")
    found = {_place_of(file): file for one in files for file in _found(one, objects)}
    if _place_of(out) in {*found, *map(_place_of, [index] if index else [])}:
        raise InvalidInputError(f"{out} is a file that is read.", "Name another file to write.")
    source = _Files(list(found.values()), objects, metadata)
    folder, _, name = out.rpartition("/")
    target = place(folder or ("/" if out.startswith("/") else "."), objects)
    target.check_writable()
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as work:

        def keep(path: Path, kind: str) -> None:
            path.replace(Path(work) / kind)

        counter = collect_output(
            source.open,
            read_index(index, objects) if index else None,
            replace(metadata, chunk_key=source.names[0].rpartition("/")[2]),
            keep,
            lambda lines: progress(lines, source.bytes),
        ).counter
        if index and counter.unknown and counter.unknown + counter.malformed == counter.lines:
            raise IndexFileError(
                f"None of the {counter.lines} lines is of a record in {index}: it is another chunk's index.",
                "Name the index.parquet beside the input of this job.",
            )
        if not counter.lines and not index:  # the columns of a model's results depend on its responses
            raise NoOutputError("The output files are empty.", "Name the files that the job wrote.")
        if counter.lines and counter.malformed == counter.lines:  # what `out` has stays there
            raise NoOutputError(
                f"None of the {counter.lines} lines is one of a batch job's output.",
                "Output files end in `.jsonl.out`; each line is JSON with a recordId.",
            )
        target.put(Path(work) / PART, name)
    return counter


@dataclass(slots=True)
class _Files:
    """Output files; counts the bytes that were read."""

    names: Sequence[str]
    objects: S3Objects
    metadata: ChunkMetadata
    bytes: int = 0

    def open(self) -> Iterator[OutputFile]:
        self.bytes = 0
        for name in self.names:
            yield name.rpartition("/")[2], self._buffers(name)

    def _buffers(self, name: str) -> Iterator[memoryview]:
        with self.objects.open(name) if _in_s3(name) else Path(name).open("rb", buffering=0) as stream:
            for number, data in enumerate(buffers(stream)):
                if number == 0:
                    check_origin(name, Lines.of(data), self.metadata.family, self.metadata.model_id)
                yield data
                self.bytes += len(data)


def _place_of(location: str) -> str:
    """The same for a file however it is named."""
    return location if _in_s3(location) else os.path.realpath(location)


def _found(location: str, objects: S3Objects) -> list[str]:
    if _in_s3(location):
        if not location.endswith("/"):
            return [location]
        found = [item.uri for item in objects.list(location) if item.uri.endswith(".jsonl.out")]
    elif Path(location).is_dir():
        found = [str(file) for file in sorted(Path(location).rglob("*.jsonl.out")) if file.is_file()]
    else:
        found = [location] if Path(location).is_file() else []
    if not found:
        raise NoOutputError(
            f"There is no output at {location}.", "Name files, or a folder that contains .jsonl.out files."
        )
    return found


def _in_s3(location: str) -> bool:
    return location.startswith("s3://")
