"""What the end of a chunk's job means for the records without a response, and when an operator must act.

Red means that an operator must act; a chunk whose retryable records go into a retry round is green.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bedrock_pipeline.collect.retry_policy import BELOW_MINIMUM, CANCELLED, MISSING, retryable, transient
from bedrock_pipeline.collect.tally import FEW, TallyCounter
from bedrock_pipeline.records.bounded_texts import shortened
from bedrock_pipeline.records.error_codes import ErrorKind, Incomplete, error_kind
from bedrock_pipeline.records.packed_chunk import Mode

#: Longest part of one of Bedrock's messages that an operator is shown, in characters.
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class EndedChunk:
    """What is known about a chunk once its job has ended.

    Attributes:
        records: without filler records.
        status: the job's final status.
        status_message: Bedrock's message, or why the chunk was never submitted.
        cancelled: whether an operator requested its cancellation.
    """

    pipeline: str
    dataset: str
    chunk_key: str
    records: int
    attempt: int
    mode: Mode
    status: str
    status_message: str | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Disposition:
    """What is decided before the output is read.

    A record ends with a final error only for a reason of its own. What throttling, missing access, the job's end or a lost
    output left without a response is retried as long as attempts are left, and then waits for an operator.

    Attributes:
        no_answer: code and message of a record without a line.
        ends: whether every record without a response ends now, since the chunk was cancelled or is not sent.
        attempts_left: whether retries are automatic.
        permanent: whether the job failed with an error that a retry does not change.
        resent: kinds of incomplete responses whose records are sent again, as the pipeline says; otherwise they are final,
            since the same request would be paid for again and most likely end the same.
    """

    chunk: EndedChunk
    no_answer: tuple[str, str]
    ends: bool
    attempts_left: bool
    permanent: bool
    resent: frozenset[Incomplete] = frozenset()

    def retries(self, code: str) -> bool:
        """Whether a record that ends with this code is retried, by itself or by an operator."""
        if self.ends:
            return False
        return self._not_its_own(code) or (self.attempts_left and (retryable(code) or code in self.resent))

    def waits(self, retryable_by_code: Mapping[str, int], *, lost: str | None = None) -> str | None:
        """Why an operator must decide about the chunk's retryable records; None if they are retried automatically.

        Args:
            retryable_by_code: how many there are, by the code that they ended with.
            lost: which of the job's output is not there any more, if it is known to have been; who sends its records again
                pays for them twice.
        """
        chunk, count = self.chunk, sum(retryable_by_code.values())
        if not count:
            return None
        if lost:
            why = f"is {chunk.status}, and {lost}"
        elif chunk.status == "stopped":
            why = "was stopped outside of this pipeline"
        elif self.permanent and self.no_answer[0] in retryable_by_code:
            message = (
                f", with Bedrock's message: {_short(chunk.status_message)}" if chunk.status_message else ""
            )
            why = f"ended {chunk.status}{message}"
        elif denied := sorted(code for code in retryable_by_code if _is_denied(code)):
            why = f"had no access for some records ({', '.join(denied)})"
        elif not self.attempts_left and any(map(self._not_its_own, retryable_by_code)):
            codes = ", ".join(f"{code}: {n}" for code, n in sorted(retryable_by_code.items()))
            why = f"was the last automatic attempt of records without a response ({shortened(codes)})"
        else:
            return None
        paid = ", which pays for them again" if lost else ""
        return (
            f"The job of chunk {chunk.chunk_key} {why}. {count} records wait: retry them with "
            f"`bedrock-pipeline retry {chunk.pipeline} {chunk.dataset}`{paid}, or cancel."
        )

    def problem(self, counter: TallyCounter) -> str | None:
        """What an operator must know about a chunk whose records do not wait; None if all is well, or is retried."""
        chunk = self.chunk
        if chunk.mode == "none" or (chunk.cancelled and chunk.status != "completed"):
            return None
        if counter.final_errors < chunk.records:
            return None
        examples = f" Records: {', '.join(counter.examples)}." if counter.examples else ""
        few = sorted(_short(reason) for reason in counter.reasons)
        reasons = (
            f"for one reason: {few[0]}" if len(few) == 1 else f"for reasons such as: {'; '.join(few[:FEW])}"
        )
        return (
            f"The job of chunk {chunk.chunk_key} {chunk.status}, and every one of its {counter.final_errors} records "
            f"failed {reasons}.{examples}"
        )

    def _not_its_own(self, code: str) -> bool:
        """Whether a record with this code has no response for a reason that is not its own."""
        return code == self.no_answer[0] or _is_denied(code) or error_kind(code) is ErrorKind.TRANSIENT


def disposition_of(
    chunk: EndedChunk, max_record_attempts: int, resent: Iterable[Incomplete] = ()
) -> Disposition:
    """What a chunk's end means for its records."""
    return Disposition(
        chunk,
        _no_answer(chunk),
        ends=chunk.cancelled or chunk.mode == "none",
        attempts_left=chunk.attempt < max_record_attempts,
        permanent=chunk.status == "failed" and not transient(chunk.status_message),
        resent=frozenset(resent),
    )


def _is_denied(code: str) -> bool:
    return error_kind(code) in (ErrorKind.DENIED, ErrorKind.NOT_FOUND)


def _no_answer(chunk: EndedChunk) -> tuple[str, str]:
    if chunk.status == "completed":
        return MISSING, "the job completed without a line for this record"
    if chunk.cancelled:
        return CANCELLED, "the chunk was cancelled"
    if chunk.mode == "none":
        return BELOW_MINIMUM, chunk.status_message or "too few records for a job"
    return f"job-{chunk.status}", chunk.status_message or f"the job ended {chunk.status}"


def _short(text: str | None) -> str:
    text = (text or "").rstrip(".")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
