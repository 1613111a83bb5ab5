"""The output of a job.

What belongs here: which files are written beneath the output location, in which order their lines stand, and what
the faults do to them. Source of the layout: "View the results of a batch inference job", Amazon Bedrock user guide.
"""

import random
import tempfile
from typing import IO, TYPE_CHECKING

import orjson
from boto3.s3.transfer import TransferConfig

from bedrock_pipeline.emulator.faults import JobFaults, Kind
from bedrock_pipeline.emulator.store import Job
from bedrock_pipeline.emulator.work import Counts, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SHUFFLED_LINES = 1000
_SHUFFLED_BYTES = 4_000_000
#: Ten parts in flight at once, boto3's default, would be the most of the memory.
_TRANSFER = TransferConfig(max_concurrency=2)


class Output:
    """Where a job's output goes.

    Args:
        s3: an S3 client.
        job: the job.
        faults: what goes wrong with its lines.
    """

    def __init__(self, s3: "S3Client", job: Job, faults: JobFaults) -> None:
        self._s3 = s3
        self._job = job
        self._faults = faults
        self._bucket, self._prefix = split_uri(job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])

    def file(self, key: str) -> "OutputFile":
        """The output of the input file `key`."""
        return OutputFile(self, key.rpartition("/")[2], f"{self._job['id']}/{key}", self._faults)

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
        with tempfile.TemporaryFile() as file:
            file.write(orjson.dumps(manifest))
            self.upload("manifest.json.out", file)

    def upload(self, name: str, file: IO[bytes]) -> None:
        """Everything that was written into `file`."""
        file.seek(0)
        key = "/".join(part for part in (self._prefix.strip("/"), self._job["id"], name) if part)
        self._s3.upload_fileobj(file, self._bucket, key, Config=_TRANSFER)


class OutputFile:
    """One file of output: its lines in an order that is not that of the input, on disk until it is finished."""

    def __init__(self, output: Output, name: str, seed: str, faults: JobFaults) -> None:
        self._output = output
        self._name = name
        self._faults = faults
        self._chance = random.Random(seed)  # noqa: S311  # the same at each run of a job
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by finish and discard
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
        if faults.of_record(Kind.LINE_DOUBLED, record_id):
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
        """Upload it."""
        self._flush()
        with self._file:
            self._output.upload(f"{self._name}.out", self._file)

    def discard(self) -> None:
        """Nobody wants it."""
        self._file.close()

    def _flush(self) -> None:
        self._chance.shuffle(self._block)
        self._file.writelines(self._block)
        self._block.clear()
        self._block_bytes = 0
