"""The input of a job, and the answers to its records.

What belongs here: reading it as a stream, Bedrock's messages about input that is not fit, and one line of output
for one of input. What is written where is `output.py`'s.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from bedrock_pipeline.emulator.behaviour import Behaviour, ConverseNulls, DuplicateIds, MissingIds
from bedrock_pipeline.emulator.faults import JobFaults, Kind
from bedrock_pipeline.emulator.models import BodyError, Models, Reply
from bedrock_pipeline.emulator.models.converse import with_nulls
from bedrock_pipeline.emulator.models.structured import spoil
from bedrock_pipeline.emulator.objects import ObjectError, ObjectStore
from bedrock_pipeline.emulator.roles import Role, RoleError, get_rejected, key_arn
from bedrock_pipeline.emulator.store import Job


@dataclass(frozen=True)
class JobLimits:
    """The service's limits on a job.

    Attributes:
        min_records: the fewest records of a job; None for the model's own.
        max_records: the most records of a job; None for the model's own.
        max_file_records: the most records of an input file.
    """

    min_records: int | None = None
    max_records: int | None = None
    max_file_records: int = 50_000
    max_file_bytes: int = 1_000_000_000
    max_job_bytes: int = 5_000_000_000


class InputRejectedError(Exception):
    """The job fails in validation; the message is what the service would say."""


@dataclass
class Counts:
    """What the manifest says."""

    total: int = 0
    processed: int = 0
    succeeded: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Input:
    """One job's input.

    Args:
        objects: where it is.
        job: the job.
        role: what the job may read.
    """

    def __init__(self, objects: ObjectStore, job: Job, role: Role) -> None:
        self._objects, self._role, self._arn = objects, role, job["jobArn"]
        given = job["inputDataConfig"]["s3InputDataConfig"]
        self._bucket, self._key = split_uri(given["s3Uri"])
        self._owner = given.get("s3BucketOwner")

    def validate(self, limits: JobLimits, records: range, behaviour: Behaviour) -> tuple[list[str], int]:
        """Check everything as the service does.

        Args:
            limits: on sizes and files.
            records: how many a job can have.
            behaviour: what is done about ids.

        Returns:
            The keys of the files, and the number of records.

        Raises:
            InputRejectedError: with the service's message.
        """
        try:
            files = self._files()
        except RoleError as error:
            raise InputRejectedError(str(error)) from error
        if any(size > limits.max_file_bytes for _, size in files):
            raise InputRejectedError(f"Input file size exceeds the maximum of {limits.max_file_bytes} bytes")
        if sum(size for _, size in files) > limits.max_job_bytes:
            raise InputRejectedError(f"Job size exceeds the maximum of {limits.max_job_bytes} bytes")
        seen: set[str] | None = set() if behaviour.duplicate_ids is DuplicateIds.REJECTED else None
        total = 0
        for key, _ in files:
            number = 0
            for number, line in enumerate(self.lines(key), 1):
                _check_line(line, f"Line {number} of {key}", behaviour, seen)
            if number > limits.max_file_records:
                raise InputRejectedError(
                    f"Input file {key} contains more records ({number}) than the allowed maximum of: "
                    f"{limits.max_file_records}"
                )
            total += number
        if total < records.start:
            raise InputRejectedError(
                f"Batch job {self._arn} contains less records ({total}) than the required minimum of: {records.start}"
            )
        if total >= records.stop:
            raise InputRejectedError(
                f"Batch job {self._arn} contains more records ({total}) than the allowed maximum of: {records.stop - 1}"
            )
        return [key for key, _ in files], total

    def lines(self, key: str) -> Iterator[bytes]:
        """The lines of a file, as a stream."""
        return (line for line in self._objects.lines(self._bucket, key) if line.strip())

    def _files(self) -> list[tuple[str, int]]:
        bucket, key = self._bucket, self._key
        region, account = self._arn.split(":")[3:5]
        if self._owner not in (None, account):
            raise get_rejected(bucket, key)
        try:
            if key.endswith(".jsonl"):
                self._role.check_get(bucket, key)
                found = self._objects.head(bucket, key)
                if found.kms_key:
                    self._role.check_decrypt(bucket, key, key_arn(found.kms_key, region, account))
                return [(key, found.size)]
            self._role.check_list(bucket, key)
            listed = self._objects.list(bucket, key.rstrip("/") + "/")
        except ObjectError as error:
            raise InputRejectedError(
                f"The S3 input location s3://{bucket}/{key} could not be read: {error.code}"
            ) from error
        files = [(name, size) for name, size in listed if name.endswith(".jsonl")]
        if not files:
            raise InputRejectedError(
                f"No .jsonl files were found at the S3 input location s3://{bucket}/{key}"
            )
        for name, _ in files:
            self._role.check_get(bucket, name)
        return files


def _line(result: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # nested deeper than it writes, though not than it reads
        return json.dumps(result, separators=(",", ":")).encode() + b"\n"


class Answers:
    """A job's records, answered one by one and counted."""

    def __init__(
        self, job: Job, models: Models, faults: JobFaults, counts: Counts, behaviour: Behaviour
    ) -> None:
        self._model_id = job["modelId"]
        converse = job.get("modelInvocationType") == "Converse"
        self._answer = models.converse if converse else models.answer
        self._nulls = converse and behaviour.converse_nulls is ConverseNulls.WRITTEN
        self._faults = faults
        self._counts = counts
        location = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        self._folder = None if location.endswith(".jsonl") else location.rstrip("/") + "/"

    def line(self, line: bytes) -> tuple[str, bytes]:
        """A record's id and its line of output."""
        record = orjson.loads(line)
        self._counts.processed += 1
        record_id = str(record.get("recordId") or f"CALL{self._counts.processed:07}")
        result = {"recordId": record_id, "modelInput": record["modelInput"]}
        if fault := self._faults.of_record(Kind.RECORD_ERROR, record_id):
            result["error"] = _error(fault.error_code, fault.message)
        else:
            result.update(self._answered(record["modelInput"], names_places=b'"s3Location"' in line))
            if "modelOutput" in result and self._faults.of_record(Kind.ANSWER_INVALID, record_id):
                spoil(result["modelOutput"])
        self._counts.errors += "error" in result
        return record_id, _line(result)

    def _answered(self, body: dict[str, Any], *, names_places: bool) -> dict[str, Any]:
        try:
            if names_places:
                self._check_locations(body)
            reply: Reply = self._answer(self._model_id, body, batch=True)
        except BodyError as error:
            return {"error": _error(error.code, str(error))}
        self._counts.succeeded += 1
        self._counts.input_tokens += reply.input_tokens
        self._counts.output_tokens += reply.output_tokens
        return {"modelOutput": with_nulls(reply.body) if self._nulls else reply.body}

    def _check_locations(self, body: Any) -> None:
        """Reject a place in S3 that is not in the job's input folder; the service's own words are not known.

        Source: the warning in "Format and upload your batch inference data", Amazon Bedrock user guide.
        """
        for uri in _locations(body):
            if self._folder is None or not uri.startswith(self._folder):
                raise BodyError(
                    f"The S3 location {uri} must be in the folder that the job's input configuration names."
                )


def _locations(value: Any) -> Iterator[str]:
    """The places in S3 that a body names."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found = one.get("s3Location")
            if isinstance(found, dict) and isinstance(found.get("uri"), str):
                yield found["uri"]
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"errorCode": code, "errorMessage": message, "expired": False, "retryable": False}


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _check_line(line: bytes, where: str, behaviour: Behaviour, seen: set[str] | None) -> None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise InputRejectedError(f"{where} is not valid JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("modelInput"), dict):
        raise InputRejectedError(f"{where} has no modelInput")
    record_id = record.get("recordId")
    if record_id is None and behaviour.missing_ids is MissingIds.REJECTED:
        raise InputRejectedError(f"{where} has no recordId")
    if seen is not None and record_id is not None:
        if record_id in seen:
            raise InputRejectedError(f"{where} has a recordId that is in the job already")
        seen.add(record_id)
