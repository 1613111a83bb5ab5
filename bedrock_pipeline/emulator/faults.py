"""Faults, by flag, by file or over HTTP while the emulator runs.

What belongs here: what can go wrong and when a fault strikes. What then happens is done where it happens: in
`protocol.py` (answers), `service.py` (List), `run.py` (ends of jobs), `work.py` and `output.py` (records and lines).
"""

import hashlib
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import orjson

from bedrock_pipeline.emulator.clock import utc_now
from bedrock_pipeline.emulator.errors import known_error


class Kind(StrEnum):
    """What goes wrong."""

    #: the operation is rejected with `error`, before anything was done
    ERROR = "error"
    #: the operation is done, and the connection closed without an answer
    ANSWER_LOST = "answer_lost"
    #: the operation is done, and answered with `error` (InternalServerException)
    ERROR_AFTER = "error_after"
    #: the operation begins `delay` seconds late
    DELAY = "delay"
    #: List does not show jobs that are younger than `delay` real seconds
    LIST_LAG = "list_lag"
    #: a page of List is empty, though there are more
    LIST_EMPTY_PAGE = "list_empty_page"
    #: a page of List holds its jobs twice
    LIST_REPEATED = "list_repeated"
    #: Get and List show the status before the job's own
    STATUS_BACKWARDS = "status_backwards"
    #: a record gets an error instead of an answer: `error_code`, `message`
    RECORD_ERROR = "record_error"
    #: a record's structured answer breaks the schema of its request
    ANSWER_INVALID = "answer_invalid"
    #: a line of the output is left out, is there twice, is cut off, or belongs to no record
    LINE_MISSING = "line_missing"
    LINE_REPEATED = "line_repeated"
    LINE_CUT = "line_cut"
    LINE_EXTRA = "line_extra"
    #: the manifest is not written, or its counts are wrong
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_WRONG = "manifest_wrong"
    #: the job ends as `status` with `message`, once the share `at` of its records was processed
    JOB_ENDS = "job_ends"


class FaultError(ValueError):
    """A fault is described wrongly; says what it should be."""


@dataclass
class Fault:
    """One thing that goes wrong, and how often.

    Attributes:
        kind: what goes wrong.
        operation: of this operation alone, by the service model's name; None for every one.
        job_name: of jobs whose name contains this alone.
        record_ids: of these records alone; None for every one.
        times: maximum number of occurrences; None for no limit.
        rate: with this probability, 0 to 1; for records it is decided by a hash, the same at each run of a job.
        seconds: real seconds from now on; None for no limit.
        error: the error's name in the service model.
        message: what the error, the job or the record says.
        delay: seconds.
        status: how the job ends.
        at: share of the job's records, 0 to 1.
        error_code: code of a record's error.
    """

    kind: Kind
    operation: str | None = None
    job_name: str = ""
    record_ids: list[str] | None = None
    times: int | None = None
    rate: float = 1.0
    seconds: float | None = None
    error: str = "InternalServerException"
    message: str = "as the fault wants"
    delay: float = 0.0
    status: str = "Failed"
    at: float = 1.0
    error_code: int = 500
    struck: int = 0

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """A fault from its JSON.

        Raises:
            FaultError: a member is unknown or not what it should be.
        """
        names = {field.name for field in fields(cls)} - {"struck"}
        if unknown := sorted(set(given) - names):
            raise FaultError(f"{unknown[0]!r} is no member of a fault; known are {', '.join(sorted(names))}")
        for name, value in given.items():
            if not _fits(name, value):
                raise FaultError(f"{name} is not {_KINDS[name][0]}")
        try:
            fault = cls(**{**given, "kind": Kind(given.get("kind", ""))})
        except ValueError:
            raise FaultError(f"kind must be one of {', '.join(Kind)}") from None
        if not 0 <= fault.rate <= 1 or not 0 <= fault.at <= 1:
            raise FaultError("rate and at are shares, from 0 to 1")
        if not known_error(fault.error):
            raise FaultError(f"error {fault.error!r} is not one of the service's")
        if fault.status not in ("Failed", "Expired", "Stopped", "PartiallyCompleted"):
            raise FaultError("status must be Failed, Expired, Stopped or PartiallyCompleted")
        return fault


def _fits(name: str, value: Any) -> bool:
    if value is None and name in ("record_ids", "times", "seconds", "operation"):
        return True
    if name == "record_ids":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return type(value) in _KINDS[name][1]


_TEXT, _WHOLE, _NUMBER = ("text", (str,)), ("a whole number", (int,)), ("a number", (int, float))
#: What the members of a fault are, in words and as types.
_KINDS: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    **dict.fromkeys(("kind", "operation", "job_name", "error", "message", "status"), _TEXT),
    **dict.fromkeys(("times", "error_code"), _WHOLE),
    **dict.fromkeys(("rate", "seconds", "delay", "at"), _NUMBER),
    "record_ids": ("a list of texts", (list,)),
}


class Faults:
    """The faults that are there now; safe to use from several threads.

    Args:
        seed: decides the rates.
        wall: the time now.
    """

    def __init__(self, seed: int = 0, wall: Callable[[], datetime] = utc_now) -> None:
        self._seed = seed
        self._wall = wall
        self._lock = threading.Lock()
        self._rng = random.Random(seed)  # noqa: S311  # reproducible on purpose
        self._faults: list[tuple[Fault, datetime]] = []

    def add(self, fault: Fault) -> None:
        """From now on."""
        with self._lock:
            self._faults.append((fault, self._wall()))

    def load(self, file: Path) -> None:
        """The faults of a file: `{"faults": [...]}`.

        Raises:
            FaultError: it is not of that form.
            OSError: it cannot be read.
        """
        for fault in parse_faults(orjson.loads(file.read_bytes())):
            self.add(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Every fault, with how often it struck."""
        with self._lock:
            return [asdict(fault) for fault, _ in self._faults]

    def strike(self, kind: Kind, *, operation: str | None = None, job_name: str = "") -> Fault | None:
        """The fault of this kind that strikes now, counted; None where nothing goes wrong."""
        with self._lock:
            for fault, since in self._faults:
                if (
                    self._holds(fault, since, kind, job_name)
                    and fault.operation in (None, operation)
                    and (fault.rate == 1 or self._rng.random() < fault.rate)
                ):
                    fault.struck += 1
                    return fault
        return None

    def standing(self, kind: Kind, job_name: str = "") -> Fault | None:
        """A fault of this kind that is there; it is not counted."""
        with self._lock:
            return next((f for f, since in self._faults if self._holds(f, since, kind, job_name)), None)

    def of_job(self, job_name: str) -> "JobFaults":
        """What goes wrong with a job's records and lines."""
        with self._lock:
            return JobFaults(
                self._seed,
                job_name,
                [f for f, since in self._faults if self._holds(f, since, f.kind, job_name)],
                self._lock,
            )

    def _holds(self, fault: Fault, since: datetime, kind: Kind, job_name: str) -> bool:
        return (
            fault.kind == kind
            and fault.job_name in job_name
            and (fault.times is None or fault.struck < fault.times)
            and (fault.seconds is None or self._wall() < since + timedelta(seconds=fault.seconds))
        )


class JobFaults:
    """What goes wrong with one job's records: decided by hashes, so that a job that is run again does the same."""

    def __init__(self, seed: int, job_name: str, faults: list[Fault], lock: threading.Lock) -> None:
        self._seed, self._job_name, self._lock = seed, job_name, lock
        self._faults: dict[Kind, list[Fault]] = {}
        for fault in faults:
            self._faults.setdefault(fault.kind, []).append(fault)

    def of_record(self, kind: Kind, record_id: str) -> Fault | None:
        """The fault of this kind that strikes a record."""
        for fault in self._faults.get(kind, ()):
            if fault.record_ids is not None and record_id not in fault.record_ids:
                continue
            if fault.rate < 1 and self._share(kind, record_id) >= fault.rate:
                continue
            with self._lock:
                if fault.times is None or fault.struck < fault.times:
                    fault.struck += 1
                    return fault
        return None

    def _share(self, kind: Kind, record_id: str) -> float:
        text = f"{self._seed}\n{kind}\n{self._job_name}\n{record_id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64


def parse_faults(document: Any) -> list[Fault]:
    """The faults of a document `{"faults": [...]}`, or one fault.

    Raises:
        FaultError: it is neither.
    """
    if not isinstance(document, dict):
        raise FaultError('expected {"faults": [...]} or one fault')
    given = document.get("faults", [document])
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise FaultError("faults must be a list of structures")
    return [Fault.from_json(one) for one in given]
