"""What is asked again, and what is final.

What belongs here: pure decisions about codes of records and messages of jobs, and the parquet file of a chunk's
leftovers. Sources: the errors of InvokeModel in the Bedrock API reference (`ModelTimeoutException` is HTTP 408,
`ModelErrorException` 424, `ThrottlingException` 429, `InternalServerException` 500, `ServiceUnavailableException` 503).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

#: Code of an answer that breaks the schema that it was asked for; asked again, a model may keep it.
INVALID_ANSWER: Final = "answer-invalid"
#: Code of a record that its job's output does not mention.
MISSING: Final = "missing"
#: Code of a record that is not asked, since too few are left for a job and the policy is `fail`.
BELOW_MINIMUM: Final = "below-minimum"
#: Code of a record whose chunk or dataset was cancelled.
CANCELLED: Final = "cancelled"

#: `unknown` is an error in which no code can be read: nothing says that it cannot succeed.
_AGAIN: Final = frozenset({INVALID_ANSWER, MISSING, "unknown", "408", "409", "424", "425", "429"})
_AGAIN_NAMES: Final = frozenset(
    {
        *("throttling", "throttled", "toomanyrequests", "slowdown", "requestlimitexceeded"),
        *("internalserver", "internalservererror", "internalfailure", "internalerror", "internal"),
        *("serviceunavailable", "unavailable", "modelnotready", "modelerror", "modelstreamerror"),
        *("modeltimeout", "timeout", "requesttimeout", "gatewaytimeout", "badgateway"),
    }
)
_NOT_LETTERS = re.compile(r"[^a-z]")

#: A message with one of these is about the request or its permissions, whatever else it says.
_FOR_A_PERSON = re.compile(
    r"denied|not authori[sz]ed|forbidden|permission|credential|validation|invalid|malformed|not supported"
    r"|not exist|no such|not found|could not be read|minimum|maximum|exceed|quota",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"\binternal (?:server |service )?(?:error|failure|exception)|internal ?server|internalfailure|try (?:\w+ ){0,3}again"
    r"|try later|retry later|service (?:is )?(?:temporarily )?unavailable|serviceunavailable|temporar|throttl"
    r"|too many requests|timed out",
    re.IGNORECASE,
)

_SCHEMA: Final = pa.schema([("position", pa.int64()), ("record_id", pa.string()), ("why", pa.string())])
_BLOCK = 10_000


def retryable(code: str) -> bool:
    """Whether a record that ends with this code may get an answer when it is asked again.

    Args:
        code: HTTP status (Bedrock documents an integer), name of an exception, or a code of ours.
    """
    code = code.strip()
    if code in _AGAIN:
        return True
    if code.isdecimal():
        return 500 <= int(code) <= 599
    return _NOT_LETTERS.sub("", code.lower()).removesuffix("exception") in _AGAIN_NAMES


def transient(message: str | None) -> bool:
    """Whether a job that failed with this message may succeed when it is tried again; unknown messages: no."""
    return bool(message and _TRANSIENT.search(message) and not _FOR_A_PERSON.search(message))


class LeftoverWriter:
    """Writes a chunk's leftovers to a parquet file in bounded memory, and counts them by reason.

    Columns: `position` in the chunk's index, `record_id`, `why` (the code).
    """

    def __init__(self, path: Path) -> None:
        self.by_reason: dict[str, int] = {}
        self._rows: list[tuple[int, str, str]] = []
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, position: int, record_id: str, why: str) -> None:
        """Keep one."""
        self.by_reason[why] = self.by_reason.get(why, 0) + 1
        self._rows.append((position, record_id, why))
        if len(self._rows) >= _BLOCK:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [(), (), ()]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))
        self._rows.clear()


def picked(lines: Iterator[bytes], positions: Sequence[int]) -> Iterator[bytes]:
    """The lines at these positions.

    Args:
        lines: all lines of a chunk, in the order of its index.
        positions: ascending.

    Raises:
        ValueError: there are fewer lines than the positions tell.
    """
    wanted = iter(positions)
    following = next(wanted, None)
    for number, line in enumerate(lines):
        if following is None:
            return
        if number == following:
            yield line
            following = next(wanted, None)
    if following is not None:
        raise ValueError(f"the chunk's input has no line {following}")
