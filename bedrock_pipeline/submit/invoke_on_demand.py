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
from bedrock_pipeline.aws.runtime import BedrockRuntime, ModelUnusableError, NeedsProfileError, Tier
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.frozen_settings import thaw
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.models.catalog import card_of
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.prepare.chunks.create_request import is_converse
from bedrock_pipeline.prepare.upload_chunks import input_lines
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.wire_line import address_of, body_of, lines_at
from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.throttle_backoff import ThrottleBackoff

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
    """The outcome of a call: a line of output; or none yet, and why.

    Attributes:
        needs_profile: why the model's id cannot be used, although an inference profile of it might be.
    """

    line: bytes | None = None
    succeeded: bool = False
    transient: str | None = None
    denied: str | None = None
    needs_profile: str | None = None


def answer_chunk(deployment: Deployment, chunk: ChunkRow) -> Answered | NotNow | CallsRejected:
    """Send the records that have no response yet, within the settings' concurrency and rate."""
    lease, concurrency = deployment.settings.call_timeout + _MARGIN, deployment.settings.on_demand_concurrency
    claim = deployment.ledger.calls.claim(chunk.chunk_id, lease)
    if isinstance(claim, NotNow):
        return claim
    positions = [position for position in range(chunk.records) if position not in claim.answered]
    calls = iter(zip(positions, lines_at(input_lines(deployment, chunk), positions), strict=True))
    region = QuotaGroup.of(chunk.quota_group).region
    sender = _Sender(
        deployment=deployment,
        chunk=chunk,
        fence=claim.fence,
        lease=lease,
        region=region,
        tier=thaw(deployment.ledger.versions.settings(chunk.settings_digest)).on_demand_tier,
        runtime=(runtime := deployment.runtime_in(region)),
        model_id=runtime.resolved(chunk.model_id),
    )
    with deployment.system.executor(concurrency) as pool:
        while wave := dict(islice(calls, concurrency)):
            if stopped := sender.send(wave, pool):
                return stopped
    return Answered(chunk, len(positions), deployment.ledger.calls.repeated(chunk.chunk_id))


@dataclass
class _Sender:
    """Sends a chunk's records.

    Attributes:
        runtime: on-demand calls in the region for which the chunk was packed.
        model_id: the chunk's; or an inference profile of it, once on-demand calls turned out to need one.
    """

    deployment: Deployment
    chunk: ChunkRow
    fence: int
    lease: timedelta
    region: str
    tier: Tier
    runtime: BedrockRuntime
    model_id: str

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
            denied = next((reply.denied for reply in replies.values() if reply.denied), None)
            unusable = next((reply.needs_profile for reply in replies.values() if reply.needs_profile), None)
            if denied or (unusable and not self._use_profile()):
                reason = denied or self._no_profile(unusable or "")
                calls.reject(chunk_id, self.fence, reason=reason)
                return CallsRejected(reason)
            left = {
                position: left[position]
                for position, reply in replies.items()
                if reply.transient or reply.needs_profile
            }
            if not left:
                return None
            if attempt < _TRIES and not unusable:
                system.sleep(delay(attempt, _WAVE_BACKOFF, system.rng).total_seconds())
        return self._requeue(
            next((r.transient for r in replies.values() if r.transient), "The model is busy.")
        )

    def _invoke(self, line: bytes) -> _Reply:
        address, converse = address_of(line), is_converse(self.chunk.request)
        try:
            output = self.runtime.invoke(self.model_id, body_of(line), converse=converse, tier=self.tier)
        except AwsError as error:
            return _failed(address, error)
        return _Reply(b'{"recordId":%b,"modelOutput":%b}\n' % (address, output), succeeded=True)

    def _use_profile(self) -> bool:
        """Go on with an inference profile of the chunk's model; False if there is none, or it was used already."""
        if self.model_id != self.chunk.model_id:
            return False
        card = card_of(self.chunk.model_id)
        profile = self.runtime.resolve(self.chunk.model_id, self.region, card.ids if card else ())
        self.model_id = profile or self.model_id
        return profile is not None

    def _no_profile(self, reason: str) -> str:
        return (
            f"{reason} No inference profile of {self.model_id} in the geography of {self.region} was found: name one in the "
            "pipeline's model_id, or set below_minimum to pad or hold."
        )

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
    if isinstance(error, NeedsProfileError):
        return _Reply(needs_profile=str(classification))
    if isinstance(error, ModelUnusableError):
        return _Reply(denied=str(classification))
    if error.kind is ErrorKind.TRANSIENT or classification.status == _OVERLOADED:
        return _Reply(transient=str(classification))
    if error.kind in (ErrorKind.DENIED, ErrorKind.NOT_FOUND):
        return _Reply(denied=str(classification))
    code = classification.status or (_INVALID if error.kind is ErrorKind.INVALID else _TIMEOUT)
    details = {"errorCode": code, "errorMessage": classification.message}
    return _Reply(b'{"recordId":%b,"error":%b}\n' % (address, orjson.dumps(details)))
