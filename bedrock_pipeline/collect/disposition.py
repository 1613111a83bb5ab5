"""What a chunk's end means for its records, and for a person.

What belongs here: pure decisions: which records are asked again, which error the others get, and when the chunk is
red. Red means that a person is needed; a chunk whose retryable records are retried into the retry round is green.
"""

from dataclasses import dataclass

from bedrock_pipeline.collect.retry_policy import BELOW_MINIMUM, CANCELLED, MISSING, retryable, transient
from bedrock_pipeline.collect.tally import FEW, Tally
from bedrock_pipeline.ledger.rows import ChunkRow

#: Characters of Bedrock's words that a person is shown.
_MOST = 300


@dataclass(frozen=True, slots=True)
class Disposition:
    """What is decided before the output is read.

    Attributes:
        no_answer: code and message of a record without a line.
        unanswered_again: whether such a record is asked again.
        errors_again: whether a record whose error may pass is asked again.
        waits_for_operator: somebody stopped the job; nothing is asked again until a person says so.
    """

    chunk: ChunkRow
    no_answer: tuple[str, str]
    unanswered_again: bool
    errors_again: bool
    waits_for_operator: bool

    def again(self, code: str) -> bool:
        """Whether a record that ends with this code is asked again."""
        if code == self.no_answer[0]:
            return self.unanswered_again
        return self.errors_again and retryable(code)

    def problem(self, tally: Tally) -> str | None:
        """What a person must see; None where all is well, or is asked again."""
        chunk = self.chunk
        if chunk.mode == "none" or (chunk.cancel_requested_at and chunk.status != "completed"):
            return None
        if self.waits_for_operator and tally.retryable:
            return (
                f"The job of chunk {chunk.chunk_key} was stopped by somebody. {tally.retryable} records wait: "
                f"ask them again with `bedrock-pipeline retry {chunk.pipeline} {chunk.dataset}`, or cancel."
            )
        examples = f" Records: {', '.join(tally.examples)}." if tally.examples else ""
        if chunk.status != "completed" and tally.missing and not self.unanswered_again:
            said = f" Bedrock says: {_short(chunk.status_message)}." if chunk.status_message else ""
            return f"The job of chunk {chunk.chunk_key} ended {chunk.status}.{said}{examples}"
        if tally.final_errors == chunk.records:
            few = sorted(_short(reason) for reason in tally.reasons)
            reasons = (
                f"for one reason: {few[0]}"
                if len(few) == 1
                else f"for reasons such as: {'; '.join(few[:FEW])}"
            )
            return (
                f"The job of chunk {chunk.chunk_key} completed, and every one of its {tally.final_errors} records "
                f"failed {reasons}.{examples}"
            )
        return None


def disposition_of(chunk: ChunkRow, max_record_attempts: int) -> Disposition:
    """What a chunk's end means; in the last round every error is final.

    A job that somebody else stopped waits for a person in any round, since asking again is then that person's wish.
    """
    no_answer = _no_answer(chunk)
    if chunk.cancel_requested_at or chunk.mode == "none":
        return Disposition(
            chunk, no_answer, unanswered_again=False, errors_again=False, waits_for_operator=False
        )
    stopped = chunk.status == "stopped"
    attempts_left = chunk.attempt < max_record_attempts or stopped
    passing = chunk.status != "failed" or transient(chunk.status_message)
    return Disposition(
        chunk,
        no_answer,
        unanswered_again=attempts_left and passing,
        errors_again=attempts_left,
        waits_for_operator=stopped,
    )


def _no_answer(chunk: ChunkRow) -> tuple[str, str]:
    if chunk.status == "completed":
        return MISSING, "the job completed without a line for this record"
    if chunk.cancel_requested_at:
        return CANCELLED, "the chunk was cancelled"
    if chunk.mode == "none":
        return BELOW_MINIMUM, chunk.status_message or "too few records for a job"
    return f"job-{chunk.status}", chunk.status_message or f"the job ended {chunk.status}"


def _short(text: str | None) -> str:
    text = (text or "").rstrip(".")
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
