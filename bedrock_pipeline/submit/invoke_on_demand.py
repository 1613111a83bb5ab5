"""Ask for a chunk's records one by one, where they are too few for a job.

What belongs here: the order of writing down, sending and keeping the answers. A call is a row in the ledger before it
is sent and has its answer there afterwards, so that after a crash only the calls that were in flight are sent again.
The answers are collected as the lines of a job's output are.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from uuid import uuid4

import orjson

from bedrock_pipeline.aws.runtime import CallFailedError
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.prepare.upload_chunks import input_lines
from bedrock_pipeline.records.wire_line import address_of, body_of, lines_at
from bedrock_pipeline.settings import ThrottleBackoff
from bedrock_pipeline.submit.backoff import delay

#: A wave that is throttled is sent again after about so many milliseconds, and so often, before the chunk is requeued.
_BUSY = ThrottleBackoff(base_delay_ms=500, max_delay_ms=4_000)
_TRIES = 4
#: No record can succeed where a call is refused for another reason than its own body.
_OF_THE_RECORD = "ValidationException"
#: HTTP statuses with which a model says that it is too busy.
_BUSY_STATUS = (429, 503)
#: A lease lasts so much longer than a call may.
_MARGIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Answered:
    """Every record of the chunk has been asked.

    Attributes:
        calls: sent by this process.
        repeated: calls of the chunk that were sent again since they were in flight when a process died.
    """

    chunk: ChunkRow
    calls: int
    repeated: int


@dataclass(frozen=True, slots=True)
class CallsRejected:
    """Bedrock refuses every call for a reason that a person must cure."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came of a call: a line of output; or nothing yet, and why."""

    line: bytes | None = None
    succeeded: bool = False
    busy: str | None = None
    refused: str | None = None


def answer_chunk(
    deployment: Deployment,
    chunk: ChunkRow,
    *,
    rng: random.Random,
    sleep: Callable[[float], None] = time.sleep,
) -> Answered | NotNow | CallsRejected:
    """Ask what has no answer yet, so many at once and below the rate that the settings say."""
    lease = deployment.settings.call_timeout + _MARGIN
    claim = deployment.ledger.calls.claim(chunk.chunk_id, lease)
    if isinstance(claim, NotNow):
        return claim
    positions = [position for position in range(chunk.records) if position not in claim.answered]
    calls = iter(zip(positions, lines_at(input_lines(deployment, chunk), positions), strict=True))
    asker = _Asker(deployment, chunk, claim.fence, lease, rng, sleep)
    with ThreadPoolExecutor(deployment.settings.on_demand_concurrency, thread_name_prefix="call") as pool:
        while wave := dict(islice(calls, deployment.settings.on_demand_concurrency)):
            if unanswered := asker.wave(wave, pool):
                return unanswered
    return Answered(chunk, len(positions), deployment.ledger.calls.repeated(chunk.chunk_id))


@dataclass(frozen=True)
class _Asker:
    deployment: Deployment
    chunk: ChunkRow
    fence: int
    lease: timedelta
    rng: random.Random
    sleep: Callable[[float], None]

    def wave(self, lines: dict[int, bytes], pool: ThreadPoolExecutor) -> NotNow | CallsRejected | None:
        """Send some calls together until each has an answer; otherwise tell why not all have one."""
        calls, settings, chunk_id = (
            self.deployment.ledger.calls,
            self.deployment.settings,
            self.chunk.chunk_id,
        )
        number, left = uuid4(), dict(lines)
        for attempt in range(1, _TRIES + 1):
            wait = calls.begin(
                chunk_id, self.fence, list(left), wave=number, lease=self.lease, apart=settings.calls_apart
            )
            if wait is None:
                return self._lost()
            self.sleep(wait.total_seconds())
            replies = dict(zip(left, pool.map(self._ask, left.values()), strict=True))
            answers = [(position, reply.line) for position, reply in replies.items() if reply.line]
            succeeded = sum(reply.succeeded for reply in replies.values())
            if answers and not calls.record(chunk_id, self.fence, answers, succeeded=succeeded):
                return self._lost()
            if refused := next((reply.refused for reply in replies.values() if reply.refused), None):
                calls.reject(chunk_id, self.fence, reason=refused)
                return CallsRejected(refused)
            left = {position: left[position] for position, reply in replies.items() if reply.busy}
            if not left:
                return None
            if attempt < _TRIES:
                self.sleep(delay(attempt, _BUSY, self.rng).total_seconds())
        return self._requeue(next(reply.busy for reply in replies.values() if reply.busy))

    def _ask(self, line: bytes) -> _Reply:
        address, converse = address_of(line), self.chunk.request.get("modelInvocationType") == "Converse"
        try:
            answer = self.deployment.runtime.ask(self.chunk.model_id, body_of(line), converse=converse)
        except CallFailedError as error:
            return _failed(address, error)
        return _Reply(b'{"recordId":%b,"modelOutput":%b}\n' % (address, answer), succeeded=True)

    def _requeue(self, reason: str) -> NotNow:
        settings = self.deployment.settings
        wait = delay(self.chunk.submissions + 1, settings.throttle_backoff, self.rng)
        self.deployment.ledger.calls.requeue(
            self.chunk.chunk_id, self.fence, reason=reason, wait=wait, give_up_after=settings.give_up_after
        )
        now = self.deployment.ledger.chunks.by_key(self.chunk.pipeline, self.chunk.chunk_key)
        return NotNow(reason, now.next_attempt_at)

    def _lost(self) -> NotNow:
        return NotNow("The chunk was cancelled, or another process has taken it over meanwhile.")


def _failed(address: bytes, error: CallFailedError) -> _Reply:
    classification = error.classification
    if classification.meaning in ("throttled", "broken") or error.status in _BUSY_STATUS:
        return _Reply(busy=str(classification))
    if classification.meaning == "refused" and classification.code != _OF_THE_RECORD:
        return _Reply(refused=str(classification))
    said = {"errorCode": error.status or "Timeout", "errorMessage": classification.message}
    return _Reply(b'{"recordId":%b,"error":%b}\n' % (address, orjson.dumps(said)))
