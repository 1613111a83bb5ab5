"""Estimates of tokens and cost, for chunks and datasets: from prices, token estimates and what earlier chunks used."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.pricing.prices import Price, PricedMode
from bedrock_pipeline.pricing.token_counts import TokenCount, TokenCounter
from bedrock_pipeline.pricing.token_estimates import Sample, sampled
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.packed_chunk import Mode, PackedChunk
from bedrock_pipeline.settings import PriceOverride, Settings


@dataclass(frozen=True, slots=True)
class ChunkEstimate:
    """Tokens and cost of a chunk, before anything is submitted.

    Attributes:
        guessed_input_tokens: from the length of the text alone.
        guessed_output_tokens: from the limits in the requests alone.
        input_tokens: corrected by what earlier chunks of the pipeline used.
        output_tokens: likewise.
        cost_usd: US dollars of the corrected tokens in the chunk's mode; None if the price is unknown.
    """

    guessed_input_tokens: int
    guessed_output_tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


_BY_LIMIT: Final = (
    "No job of this pipeline was measured yet: every response is counted as long as its limit of tokens allows "
    "(512 tokens where it has none)."
)
_ASKED_AGAIN: Final = (
    "A response that breaks the schema is paid for and sent again, up to {} times in all: where a rule is never kept, "
    "this costs as many times as much. A sample of a few rows shows it; `max_record_attempts=1` sends none again."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """How many times the guessed tokens a pipeline's earlier chunks of a model used.

    `input` and `output` are factors, 1 if nothing was measured; `output_each` is the mean number of tokens of a response.
    """

    chunks: int = 0
    input: Decimal = Decimal(1)
    output: Decimal = Decimal(1)
    output_each: Decimal = Decimal(0)

    def output_tokens(self, guessed: int, records: int) -> int:
        """The output tokens of records, corrected: where the limit is lower than it was, responses are as long as before, up to it."""
        return math.ceil(max(guessed * self.output, min(Decimal(guessed), self.output_each * records)))

    def notes(self, output_tokens: int) -> tuple[str, ...]:
        """What must be known about an estimate of responses that was corrected by this."""
        return () if self.chunks or not output_tokens else (_BY_LIMIT,)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens, cost and jobs of a dataset, before anything is submitted.

    Attributes:
        bytes: bytes of its job input.
        cost_usd: US dollars in the modes of its chunks; None if the price is unknown.
        on_demand_cost_usd: US dollars if every record were an on-demand call of the default tier.
        cut_off_cost_usd: US dollars that further attempts add if every response is cut off each time; 0 if these are not
            sent again, None if the price is unknown.
        jobs: the number of batch jobs.
        waves: how often all slots are filled until every job has run.
        counted: what Bedrock counted of a sample, by which the tokens are corrected; None if it was not asked.
        notes: what an operator should know about it and about the input; nothing about the input of what is packed already.
    """

    records: int
    bytes: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    cut_off_cost_usd: Decimal | None
    jobs: int
    waves: int
    counted: TokenCount | None = None
    notes: tuple[str, ...] = ()


def priced_mode(mode: Mode, pipeline: BasePipeline) -> PricedMode:
    """How the requests of a chunk are priced."""
    if mode != "on-demand":
        return "batch"
    return "flex" if pipeline.on_demand_tier == "flex" else "on-demand"


def overrides(settings: Settings | None, pipeline: BasePipeline) -> dict[str, PriceOverride]:
    """The configured prices; a pipeline's own override the deployment's."""
    return {**(dict(settings.prices) if settings else {}), **pipeline.prices}


def together(parts: Iterable[Estimate], slots: int) -> Estimate:
    """The sum of estimates; its cost is unknown if one is."""
    parts = list(parts)
    jobs = sum(part.jobs for part in parts)
    return Estimate(
        records=sum(part.records for part in parts),
        bytes=sum(part.bytes for part in parts),
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cost_usd=_sum(part.cost_usd for part in parts),
        on_demand_cost_usd=_sum(part.on_demand_cost_usd for part in parts),
        cut_off_cost_usd=_sum(part.cut_off_cost_usd for part in parts),
        jobs=jobs,
        waves=-(-jobs // slots),
    )


@dataclass(frozen=True, slots=True)
class Estimator:
    """Estimates for one pipeline's requests, from its model's price and what earlier chunks of the model used.

    Attributes:
        group_max_jobs: jobs at once in the pipeline's quota group.
        counter: counts the input tokens of a sample, whose correction replaces that by earlier chunks; None: it is not asked.
    """

    pipeline: BasePipeline
    price: Price | None
    measured: Measured
    group_max_jobs: int
    counter: TokenCounter | None = None

    def of_packed(self, chunk: PackedChunk, mode: Mode = "batch") -> ChunkEstimate:
        """Tokens and cost of a chunk whose files are in the work folder, from a sample of its lines."""
        family = self.pipeline.model_family
        sample = Sample(family)
        for file in chunk.files:
            for line in sampled(file.path, file.bytes):
                sample.add(line)
                if self.counter:
                    self.counter.take(line, family)
        guessed_input, guessed_output = sample.guess(chunk.records, chunk.bytes)
        counted = self.counter.finish().factor if self.counter else None
        input_tokens = math.ceil(guessed_input * (counted or self.measured.input))
        output_tokens = self.measured.output_tokens(guessed_output, chunk.records)
        cost = self._cost(chunk.records, input_tokens, output_tokens, priced_mode(mode, self.pipeline))
        return ChunkEstimate(guessed_input, guessed_output, input_tokens, output_tokens, cost)

    def together(self, chunks: Iterable[tuple[int, int, Mode, ChunkEstimate]]) -> Estimate:
        """The sum over chunks, each given by records, bytes, mode and estimate; also of those that wait."""
        parts = (self._part(*chunk) for chunk in chunks if chunk[2] != "none")
        own = self.pipeline.effective_limits.max_jobs
        whole = together(parts, slots=min(own or self.group_max_jobs, self.group_max_jobs))
        notes = self.measured.notes(whole.output_tokens)
        if self.pipeline.answer_columns() and (attempts := self.pipeline.max_record_attempts) > 1:
            notes += (_ASKED_AGAIN.format(attempts),)
        return replace(whole, counted=self.counter.found if self.counter else None, notes=notes)

    def _part(self, records: int, size: int, mode: Mode, estimate: ChunkEstimate) -> Estimate:
        tokens = estimate.input_tokens, estimate.output_tokens
        on_demand = self._cost(records, *tokens, "on-demand")
        jobs = int(mode == "batch")
        again = self._cut_off_cost(records, *tokens, "on-demand" if mode == "on-demand" else "batch")
        return Estimate(records, size, *tokens, estimate.cost_usd, on_demand, again, jobs=jobs, waves=jobs)

    def _cut_off_cost(
        self, records: int, input_tokens: int, output_tokens: int, mode: PricedMode
    ) -> Decimal | None:
        """What further attempts cost if every response is cut off, each time at a limit that is raised."""
        if Incomplete.CUT_OFF not in self.pipeline.retry_incomplete or not records:
            return Decimal(0)
        limit, costs = math.ceil(output_tokens / records), []
        for _ in range(1, self.pipeline.max_record_attempts):
            limit = self.pipeline.raised_limit.of(limit)
            costs.append(self._cost(records, input_tokens, limit * records, mode))
        return _sum(costs)

    def _cost(self, records: int, input_tokens: int, output_tokens: int, mode: PricedMode) -> Decimal | None:
        if self.price is None:
            return None
        return self.price.cost(input_tokens, output_tokens, mode, requests=records)


def _sum(costs: Iterable[Decimal | None]) -> Decimal | None:
    parts = list(costs)
    known = [cost for cost in parts if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(parts) else None
