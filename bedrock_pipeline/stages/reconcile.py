"""Find out what became of submissions whose answer was lost.

What belongs here: step 6 of the protocol (`docs/submitting.md`): List tells, by name and token.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from bedrock_pipeline.aws.jobs import JobSummary
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.stages.context import Context
from bedrock_pipeline.stages.submit import SubmissionRefusedError, create_job

#: Before the first lease could have begun: List's filter is by AWS's clock, ours may differ.
_MARGIN = timedelta(minutes=15)


@dataclass(slots=True)
class ReconcileReport:
    """Chunk keys by what was found."""

    adopted: list[str] = field(default_factory=list)
    sent_again: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def reconcile(
    context: Context,
    pipelines: list[str],
    *,
    limit: int = 50,
    chance: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ReconcileReport:
    """Settle submissions whose lease and settling time are over.

    One job of the name and token: it is adopted. None: the same request with the same token is sent again.
    Several: blocked, for a person.

    Raises:
        AwsError: List is denied or AWS cannot be reached; nothing is changed then.
    """
    report = ReconcileReport()
    for chunk in context.ledger.submissions.to_reconcile(pipelines, context.settings.settling, limit):
        found = _jobs_of(context, chunk)
        if len(found) == 1:
            if context.ledger.submissions.record_accepted(chunk.chunk_id, chunk.epoch, found[0].arn):
                report.adopted.append(chunk.chunk_key)
        elif found:
            arns = ", ".join(job.arn for job in found)
            context.ledger.submissions.block(chunk.chunk_id, chunk.epoch, reason=f"several jobs: {arns}")
            report.blocked.append(chunk.chunk_key)
        else:
            _send_again(context, chunk, report, chance or random.Random(), monotonic)  # noqa: S311  # jitter
    return report


def _jobs_of(context: Context, chunk: ChunkRow) -> list[JobSummary]:
    assert chunk.frozen_request is not None  # the constraint intent_is_whole
    name = chunk.frozen_request["jobName"]
    return [
        job
        for job in context.jobs.list(name_contains=name)
        if job.name == name and job.token in (None, chunk.token)
    ]


def _send_again(
    context: Context,
    chunk: ChunkRow,
    report: ReconcileReport,
    chance: random.Random,
    monotonic: Callable[[], float],
) -> None:
    deadline = monotonic() + context.settings.lease_s
    intent = context.ledger.submissions.intend_again(
        chunk.chunk_id, chunk.epoch, uuid4(), settling=context.settings.settling, lease=context.settings.lease
    )
    if intent is None:
        return
    try:
        create_job(context, intent, deadline=deadline, chance=chance)
        report.sent_again.append(chunk.chunk_key)
    except SubmissionRefusedError:
        report.refused.append(chunk.chunk_key)
