"""The output of a job.

What belongs here: which files are written beneath the output location, in which order their lines stand, and what
the faults do to them. Source of the layout: "View the results of a batch inference job", Amazon Bedrock user guide.
"""

import io
import random
import tempfile
from typing import IO

import orjson

from bedrock_pipeline.emulator.faults import JobFaults, Kind
from bedrock_pipeline.emulator.objects import ObjectStore
from bedrock_pipeline.emulator.store import Job
from bedrock_pipeline.emulator.work import Counts, split_uri

_SHUFFLED_LINES = 1000
_SHUFFLED_BYTES = 4_000_000
#: A file of output is in memory up to this size, then on disk.
_MEMORY_BYTES = 1 << 20


class Output:
    """Where a job's output goes.

    Args:
        objects: where it is written.
        job: the job.
        faults: what goes wrong with its lines.
    """

    def __init__(self, objects: ObjectStore, job: Job, faults: JobFaults) -> None:
        self._objects = objects
        self._job = job
        self._faults = faults
        given = job["outputDataConfig"]["s3OutputDataConfig"]
        self._bucket, self._prefix = split_uri(given["s3Uri"])
        self._kms_key = given.get("s3EncryptionKeyId")

    def file(self, key: str) -> "OutputFile":
        """The output of the input file `key`: below the job's folder, as the input is below its location."""
        _, location = split_uri(self._job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"])
        folder = "" if location.endswith(".jsonl") else location.rstrip("/") + "/"
        name = key.removeprefix(folder) if folder else key.rpartition("/")[2]
        return OutputFile(self, name.lstrip("/"), f"{self._job['id']}/{key}", self._faults)

    def write_manifest(self, counts: Counts) -> None:
        """The counts, beside the files."""
        if self._faults.of_record(Kind.MANIFEST_MISSING, "manifest"):
            return
        off_by = 1 if self._faults.of_record(Kind.MANIFEST_WRONG, "manifest") else 0
        manifest = {
            "totalRecordCount": counts.total,
            "processedRecordCount": counts.processed + off_by,
            "successRecordCount": counts.succeeded + off_by,
            "errorRecordCount": counts.errors,
            "inputTokenCount": counts.input_tokens,
            "outputTokenCount": counts.output_tokens,
        }
        self.write("manifest.json.out", io.BytesIO(orjson.dumps(manifest)))

    def write(self, name: str, file: IO[bytes]) -> None:
        """Everything in `file`."""
        key = "/".join(part for part in (self._prefix.strip("/"), self._job["id"], name) if part)
        self._objects.write(self._bucket, key, file, self._kms_key)


class OutputFile:
    """One file of output: its lines in an order that is not that of the input, kept here until it is finished."""

    def __init__(self, output: Output, name: str, seed: str, faults: JobFaults) -> None:
        self._output = output
        self._name = name
        self._faults = faults
        self._rng = random.Random(seed)  # noqa: S311  # the same at each run of a job
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115  # closed by finish and discard
        self._block: list[bytes] = []
        self._block_bytes = 0

    def add(self, record_id: str, line: bytes) -> None:
        """A line of output, or what the faults make of it."""
        faults = self._faults
        if faults.of_record(Kind.LINE_MISSING, record_id):
            return
        if faults.of_record(Kind.LINE_CUT, record_id):
            line = line[: len(line) // 2] + b"\n"
        self._block.append(line)
        self._block_bytes += len(line)
        if faults.of_record(Kind.LINE_REPEATED, record_id):
            self._block.append(line)
        if faults.of_record(Kind.LINE_EXTRA, record_id):
            self._block.append(
                orjson.dumps(
                    {"recordId": f"nobody-{record_id}", "modelInput": {}, "modelOutput": {}},
                    option=orjson.OPT_APPEND_NEWLINE,
                )
            )
        if len(self._block) >= _SHUFFLED_LINES or self._block_bytes >= _SHUFFLED_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write it to the output location."""
        self._flush()
        with self._file:
            self._output.write(f"{self._name}.out", self._file)

    def show(self) -> None:
        """Write what there is so far; the rest follows."""
        self._flush()
        self._output.write(f"{self._name}.out", self._file)
        self._file.seek(0, io.SEEK_END)

    def discard(self) -> None:
        """Drop it."""
        self._file.close()

    def _flush(self) -> None:
        self._rng.shuffle(self._block)
        self._file.writelines(self._block)
        self._block.clear()
        self._block_bytes = 0
