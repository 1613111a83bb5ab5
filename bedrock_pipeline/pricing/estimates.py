"""What chunks and datasets are expected to need, and the prices in force.

What belongs here: bringing together prices, token estimates and what earlier chunks needed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.pricing.prices import Asked, Price
from bedrock_pipeline.pricing.token_estimates import Sample, sampled
from bedrock_pipeline.records.packed_chunk import Mode, PackedChunk
from bedrock_pipeline.settings import PriceOverride, Settings


@dataclass(frozen=True, slots=True)
class ChunkEstimate:
    """What a chunk is expected to need, before anything is submitted.

    Attributes:
        guessed_input_tokens: from the text alone.
        guessed_output_tokens: from the most that is asked for.
        input_tokens: corrected by what earlier chunks of the model needed.
        output_tokens: likewise.
        cost_usd: of the corrected tokens, the way the chunk is asked; None where nobody knows the price.
    """

    guessed_input_tokens: int
    guessed_output_tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Tokens that a model's chunks needed, by what was guessed from their text; 1 where nothing was measured.

    Attributes:
        chunks: that were measured.
    """

    chunks: int = 0
    input: Decimal = Decimal(1)
    output: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a dataset is expected to need, before anything is submitted.

    Attributes:
        cost_usd: the way that its chunks are asked; None where nobody knows the price.
        on_demand_cost_usd: what on-demand calls would cost in their place.
        jobs: batch jobs.
        waves: of jobs, at the slots that there are.
    """

    records: int
    bytes: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    jobs: int
    waves: int


def overrides(settings: Settings | None, pipeline: BasePipeline) -> dict[str, PriceOverride]:
    """Prices that are given by hand; a pipeline's own come before the deployment's."""
    return {**(dict(settings.prices) if settings else {}), **pipeline.prices}


def together(parts: Iterable[Estimate], slots: int) -> Estimate:
    """The sum of estimates; a sum with an unknown price is unknown."""
    parts = list(parts)
    jobs = sum(part.jobs for part in parts)
    return Estimate(
        records=sum(part.records for part in parts),
        bytes=sum(part.bytes for part in parts),
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cost_usd=_sum(part.cost_usd for part in parts),
        on_demand_cost_usd=_sum(part.on_demand_cost_usd for part in parts),
        jobs=jobs,
        waves=-(-jobs // slots),
    )


@dataclass(frozen=True, slots=True)
class Estimator:
    """Estimates for one pipeline's requests.

    Attributes:
        price: None where nobody knows it.
        measured: what earlier chunks of the model needed.
    """

    pipeline: BasePipeline
    price: Price | None
    measured: Measured

    def of_packed(self, chunk: PackedChunk, mode: Mode = "batch") -> ChunkEstimate:
        """Tokens and cost of a chunk whose files are in the work folder, from a sample of its lines."""
        sample = Sample(self.pipeline.model_family)
        for file in chunk.files:
            for line in sampled(file.path, file.bytes):
                sample.add(line)
        guessed_input, guessed_output = sample.guess(chunk.records, chunk.bytes)
        input_tokens = math.ceil(guessed_input * self.measured.input)
        output_tokens = math.ceil(guessed_output * self.measured.output)
        asked: Asked = "on-demand" if mode == "on-demand" else "batch"
        cost = self._cost(chunk.records, input_tokens, output_tokens, asked)
        return ChunkEstimate(guessed_input, guessed_output, input_tokens, output_tokens, cost)

    def together(self, chunks: Iterable[tuple[int, int, Mode, ChunkEstimate]]) -> Estimate:
        """What chunks will need together, each given by records, bytes, mode and estimate; held ones too."""
        parts = (self._part(*chunk) for chunk in chunks if chunk[2] != "none")
        return together(parts, slots=self.pipeline.effective_limits.max_jobs)

    def _part(self, records: int, size: int, mode: Mode, estimate: ChunkEstimate) -> Estimate:
        tokens = estimate.input_tokens, estimate.output_tokens
        on_demand = self._cost(records, *tokens, "on-demand")
        jobs = int(mode == "batch")
        return Estimate(records, size, *tokens, estimate.cost_usd, on_demand, jobs=jobs, waves=jobs)

    def _cost(self, records: int, input_tokens: int, output_tokens: int, asked: Asked) -> Decimal | None:
        if self.price is None:
            return None
        return self.price.cost(input_tokens, output_tokens, asked, requests=records)


def _sum(costs: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
