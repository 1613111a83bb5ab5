"""Send a chunk's records one by one, where they are too few for a job.

What belongs here: the order of recording, sending and keeping responses. A call is a row in the ledger before it is
sent, and its response is there afterwards, so that after a crash only the calls that were in flight are sent again.
The responses are collected like the lines of a job's output.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import orjson

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.prepare.chunks.create_request import is_converse
from bedrock_pipeline.prepare.upload_chunks import input_lines
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.wire_line import address_of, body_of, lines_at
from bedrock_pipeline.settings import ThrottleBackoff
from bedrock_pipeline.submit.backoff import delay

#: Throttled calls of a wave are sent again after this delay, up to `_TRIES` times, before the chunk is requeued.
_WAVE_BACKOFF = ThrottleBackoff(base_delay_ms=500, max_delay_ms=4_000)
_TRIES = 4
#: A call has no side effect, so an overloaded model (503) is tried again, unlike a Create.
_OVERLOADED = 503
#: Codes of a record whose call failed without an HTTP status: InvokeModel's own for these cases.
_INVALID, _TIMEOUT = 400, 408
#: A lease lasts longer than a call may take, by this margin.
_MARGIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Answered:
    """Every record of the chunk has a response or an error.

    Attributes:
        calls: sent by this process.
        repeated: calls of the chunk that were sent again because a process died while they were in flight.
    """

    chunk: ChunkRow
    calls: int
    repeated: int


@dataclass(frozen=True, slots=True)
class CallsRejected:
    """Bedrock rejects every call with a permanent error."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Reply:
    """The outcome of a call: a line of output; or none yet, and why."""

    line: bytes | None = None
    succeeded: bool = False
    transient: str | None = None
    denied: str | None = None


def answer_chunk(deployment: Deployment, chunk: ChunkRow) -> Answered | NotNow | CallsRejected:
    """Send the records that have no response yet, within the settings' concurrency and rate."""
    lease, concurrency = deployment.settings.call_timeout + _MARGIN, deployment.settings.on_demand_concurrency
    claim = deployment.ledger.calls.claim(chunk.chunk_id, lease)
    if isinstance(claim, NotNow):
        return claim
    positions = [position for position in range(chunk.records) if position not in claim.answered]
    calls = iter(zip(positions, lines_at(input_lines(deployment, chunk), positions), strict=True))
    sender = _Sender(deployment, chunk, claim.fence, lease)
    with deployment.system.executor(concurrency) as pool:
        while wave := dict(islice(calls, concurrency)):
            if stopped := sender.send(wave, pool):
                return stopped
    return Answered(chunk, len(positions), deployment.ledger.calls.repeated(chunk.chunk_id))


@dataclass(frozen=True)
class _Sender:
    deployment: Deployment
    chunk: ChunkRow
    fence: int
    lease: timedelta

    def send(self, wave: dict[int, bytes], pool: Executor) -> NotNow | CallsRejected | None:
        """Send some calls together, again while they are throttled; None once each has its outcome."""
        calls, settings, system = (
            self.deployment.ledger.calls,
            self.deployment.settings,
            self.deployment.system,
        )
        chunk_id, wave_id, left = self.chunk.chunk_id, system.new_id(), dict(wave)
        for attempt in range(1, _TRIES + 1):
            wait = calls.begin(
                chunk_id, self.fence, list(left), wave=wave_id, lease=self.lease, apart=settings.calls_apart
            )
            if wait is None:
                return self._lost()
            system.sleep(wait.total_seconds())
            futures = {position: pool.submit(self._invoke, line) for position, line in left.items()}
            replies = {n: future.result() for n, future in futures.items() if not future.exception()}
            lines = [(position, reply.line) for position, reply in replies.items() if reply.line]
            succeeded = sum(reply.succeeded for reply in replies.values())
            if lines and not calls.record(chunk_id, self.fence, lines, succeeded=succeeded):
                return self._lost()
            for future in futures.values():
                future.result()  # an unexpected error is raised after the responses were kept
            if denied := next((reply.denied for reply in replies.values() if reply.denied), None):
                calls.reject(chunk_id, self.fence, reason=denied)
                return CallsRejected(denied)
            left = {position: left[position] for position, reply in replies.items() if reply.transient}
            if not left:
                return None
            if attempt < _TRIES:
                system.sleep(delay(attempt, _WAVE_BACKOFF, system.rng).total_seconds())
        return self._requeue(next(reply.transient for reply in replies.values() if reply.transient))

    def _invoke(self, line: bytes) -> _Reply:
        address, converse = address_of(line), is_converse(self.chunk.request)
        try:
            output = self._runtime.invoke(self.chunk.model_id, body_of(line), converse=converse)
        except AwsError as error:
            return _failed(address, error)
        return _Reply(b'{"recordId":%b,"modelOutput":%b}\n' % (address, output), succeeded=True)

    @property
    def _runtime(self) -> BedrockRuntime:
        """On-demand calls in the region for which the chunk was packed."""
        return self.deployment.runtime_in(QuotaGroup.of(self.chunk.quota_group).region)

    def _requeue(self, reason: str) -> NotNow:
        settings = self.deployment.settings
        self.deployment.ledger.calls.requeue(
            self.chunk.chunk_id,
            self.fence,
            reason=reason,
            delay=delay(self.chunk.submissions + 1, settings.throttle_backoff, self.deployment.system.rng),
            give_up_after=settings.give_up_after,
        )
        now = self.deployment.ledger.chunks.by_key(self.chunk.pipeline, self.chunk.chunk_key)
        return NotNow(reason, now.next_attempt_at)

    def _lost(self) -> NotNow:
        self.deployment.ledger.calls.end_withdrawn(self.chunk.chunk_id, self.fence)
        return NotNow("The chunk was cancelled or replaced, or another process has taken it over.")


def _failed(address: bytes, error: AwsError) -> _Reply:
    """Only an invalid request is its record's own error; any other permanent error concerns every record."""
    classification = error.classification
    if error.kind is ErrorKind.TRANSIENT or classification.status == _OVERLOADED:
        return _Reply(transient=str(classification))
    if error.kind in (ErrorKind.DENIED, ErrorKind.NOT_FOUND):
        return _Reply(denied=str(classification))
    code = classification.status or (_INVALID if error.kind is ErrorKind.INVALID else _TIMEOUT)
    details = {"errorCode": code, "errorMessage": classification.message}
    return _Reply(b'{"recordId":%b,"error":%b}\n' % (address, orjson.dumps(details)))
