"""What the end of a chunk's job means for the records without a response, and when an operator must act.

Red means that an operator must act; a chunk whose retryable records go into a retry round is green.
"""

from dataclasses import dataclass

from bedrock_pipeline.collect.retry_policy import BELOW_MINIMUM, CANCELLED, MISSING, retryable, transient
from bedrock_pipeline.collect.tally import FEW, TallyCounter
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

    Attributes:
        no_answer: code and message of a record without a line.
        retries_missing: whether a record without a line is retried.
        retries_errors: whether a record with a transient error is retried.
        waits_for_operator: the job was stopped outside of this package; nothing is retried until an operator says so.
    """

    chunk: EndedChunk
    no_answer: tuple[str, str]
    retries_missing: bool = False
    retries_errors: bool = False
    waits_for_operator: bool = False

    def retries(self, code: str) -> bool:
        """Whether a record that ends with this code is retried."""
        if code == self.no_answer[0]:
            return self.retries_missing
        return self.retries_errors and retryable(code)

    def problem(self, counter: TallyCounter) -> str | None:
        """What an operator must know; None if all is well, or is retried."""
        chunk = self.chunk
        if chunk.mode == "none" or (chunk.cancelled and chunk.status != "completed"):
            return None
        if self.waits_for_operator and counter.retryable:
            return (
                f"The job of chunk {chunk.chunk_key} was stopped outside of this pipeline. {counter.retryable} records "
                f"wait: retry them with `bedrock-pipeline retry {chunk.pipeline} {chunk.dataset}`, or cancel."
            )
        examples = f" Records: {', '.join(counter.examples)}." if counter.examples else ""
        if chunk.status != "completed" and counter.missing and not self.retries_missing:
            message = f" Bedrock's message: {_short(chunk.status_message)}." if chunk.status_message else ""
            return f"The job of chunk {chunk.chunk_key} ended {chunk.status}.{message}{examples}"
        if counter.final_errors == chunk.records:
            few = sorted(_short(reason) for reason in counter.reasons)
            reasons = (
                f"for one reason: {few[0]}"
                if len(few) == 1
                else f"for reasons such as: {'; '.join(few[:FEW])}"
            )
            return (
                f"The job of chunk {chunk.chunk_key} completed, and every one of its {counter.final_errors} records "
                f"failed {reasons}.{examples}"
            )
        return None


def disposition_of(chunk: EndedChunk, max_record_attempts: int) -> Disposition:
    """What a chunk's end means; in the last attempt every error is final.

    A job that was stopped outside of this package waits for an operator in any attempt, since a retry is then the
    operator's decision.
    """
    no_answer = _no_answer(chunk)
    if chunk.cancelled or chunk.mode == "none":
        return Disposition(chunk, no_answer)
    stopped = chunk.status == "stopped"
    attempts_left = chunk.attempt < max_record_attempts or stopped
    return Disposition(
        chunk,
        no_answer,
        retries_missing=attempts_left and (chunk.status != "failed" or transient(chunk.status_message)),
        retries_errors=attempts_left,
        waits_for_operator=stopped,
    )


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
