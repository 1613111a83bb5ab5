"""The work of a job: its input validated, every line answered, its output written.

What belongs here: reading from and writing to S3 as streams, and Bedrock's messages about input that is not fit.
Source of the layout: "View the results of a batch inference job", Amazon Bedrock user guide.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from bedrock_pipeline.emulator.answers import BodyError, answer
from bedrock_pipeline.emulator.store import Job

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SHUFFLED_LINES = 1000
_REPORT_EVERY = 50


@dataclass(frozen=True)
class JobLimits:
    """The service's limits on a job."""

    min_records: int = 100
    max_records: int = 50_000
    max_file_bytes: int = 1_073_741_824
    max_job_bytes: int = 5_368_709_120


class InputRefusedError(Exception):
    """The job fails in validation; the message is what the service would say."""


class StoppedError(Exception):
    """The job is no longer wanted."""


@dataclass
class Counts:
    """What the manifest says."""

    total: int = 0
    processed: int = 0
    succeeded: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    files: list[str] = field(default_factory=list)


class Work:
    """One job's input and output.

    Args:
        s3: an S3 client.
        job: the job.
        limits: the limits in force.
    """

    def __init__(self, s3: "S3Client", job: Job, limits: JobLimits) -> None:
        self._s3 = s3
        self._job = job
        self._limits = limits
        self._input = _split(job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"])
        self._output = _split(job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])

    def validate(self) -> Counts:
        """Check the input as the service does; returns its files and number of records.

        Raises:
            InputRefusedError: with the service's message.
        """
        files = self._files()
        counts = Counts(files=[key for key, _ in files])
        if any(size > self._limits.max_file_bytes for _, size in files):
            raise InputRefusedError(
                f"Input file size exceeds the maximum of {self._limits.max_file_bytes} bytes"
            )
        if sum(size for _, size in files) > self._limits.max_job_bytes:
            raise InputRefusedError(f"Job size exceeds the maximum of {self._limits.max_job_bytes} bytes")
        for key, _ in files:
            for number, line in enumerate(self._lines(key), 1):
                counts.total += 1
                _check_line(line, key, number)
        if counts.total < self._limits.min_records:
            raise InputRefusedError(
                f"Batch job contains less records ({counts.total}) than the required minimum of: {self._limits.min_records}"
            )
        if counts.total > self._limits.max_records:
            raise InputRefusedError(
                f"Batch job contains more records ({counts.total}) than the allowed maximum of: {self._limits.max_records}"
            )
        return counts

    def run(self, counts: Counts, report: Callable[[Counts], None]) -> None:
        """Answer every line; `report` is told the counts now and then, and may raise StoppedError."""
        for key in counts.files:
            with tempfile.TemporaryFile() as output:
                self._answer_file(key, output, counts, report)
                output.seek(0)
                self._write(f"{key.rpartition('/')[2]}.out", output)
        manifest = {
            "totalRecordCount": counts.total,
            "processedRecordCount": counts.processed,
            "successRecordCount": counts.succeeded,
            "errorRecordCount": counts.errors,
            "inputTokenCount": counts.input_tokens,
            "outputTokenCount": counts.output_tokens,
        }
        with tempfile.TemporaryFile() as file:
            file.write(orjson.dumps(manifest))
            file.seek(0)
            self._write("manifest.json.out", file)

    def _answer_file(
        self, key: str, output: IO[bytes], counts: Counts, report: Callable[[Counts], None]
    ) -> None:
        chance = random.Random(f"{self._job['id']}/{key}")  # noqa: S311  # reproducible on purpose
        block: list[bytes] = []
        for line in self._lines(key):
            block.append(_answer_line(self._job, line, counts))
            if counts.processed % _REPORT_EVERY == 0:
                report(counts)
            if len(block) == _SHUFFLED_LINES:
                chance.shuffle(block)
                output.writelines(block)
                block = []
        chance.shuffle(block)
        output.writelines(block)

    def _files(self) -> list[tuple[str, int]]:
        bucket, key = self._input
        try:
            if key.endswith(".jsonl"):
                return [(key, self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"])]
            folder = key.rstrip("/") + "/"
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
            found = [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            raise InputRefusedError(
                f"The S3 input location s3://{bucket}/{key} could not be read: {error.response['Error']['Code']}"
            ) from error
        files = [(name, size) for name, size in found if name.endswith(".jsonl")]
        if not files:
            raise InputRefusedError(
                f"No .jsonl files were found at the S3 input location s3://{bucket}/{key}"
            )
        return files

    def _lines(self, key: str) -> Iterator[bytes]:
        body = self._s3.get_object(Bucket=self._input[0], Key=key)["Body"]
        for line in body.iter_lines(chunk_size=1 << 20):
            if line.strip():
                yield line

    def _write(self, name: str, file: IO[bytes]) -> None:
        bucket, prefix = self._output
        key = "/".join(part for part in (prefix.strip("/"), self._job["id"], name) if part)
        self._s3.upload_fileobj(file, bucket, key)


def _answer_line(job: Job, line: bytes, counts: Counts) -> bytes:
    record = orjson.loads(line)
    counts.processed += 1
    result: dict[str, Any] = {"recordId": record.get("recordId", f"CALL{counts.processed:07}")}
    result["modelInput"] = record["modelInput"]
    try:
        said = answer(job["modelId"], record["modelInput"])
    except BodyError as error:
        counts.errors += 1
        result["error"] = {"errorCode": 400, "errorMessage": str(error)}
    else:
        counts.succeeded += 1
        usage = said.get("usage", {})
        counts.input_tokens += usage.get("input_tokens", said.get("inputTextTokenCount", 0))
        counts.output_tokens += usage.get("output_tokens", 0)
        result["modelOutput"] = said
    return orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)


def _check_line(line: bytes, key: str, number: int) -> None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise InputRefusedError(f"Line {number} of {key} is not valid JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("modelInput"), dict):
        raise InputRefusedError(f"Line {number} of {key} has no modelInput")


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
