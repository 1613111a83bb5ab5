"""What is counted while a chunk's output is read.

What belongs here: every record of a chunk counted once, what is odd about its lines, what was paid; and comparing that
with Bedrock's manifest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from bedrock_pipeline.models import Family, ModelResponse
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.pricing.prices import Price, PricedMode

#: So many record ids or reasons tell a person what is wrong.
FEW = 5


@dataclass(slots=True)
class Tally:
    """Every record of a chunk, counted once; and what was odd about the lines.

    answered + final_errors + retryable records = records, once `collect.join.rows` is exhausted.

    Attributes:
        records: without filler records.
        fillers: filler records of the chunk, and how many of them were answered.
        unusable: answers that were paid for and are none: of another shape than the family's, or breaking the schema.
        input_tokens: filler records and unusable answers included, as they are paid for too.
        reasons: of final errors, a few at the most.
        examples: a few ids of records with a final error.
        cost_usd: of every answer that was read; None where the price is unknown, or an answer tells no tokens.
        on_demand_cost_usd: what on-demand calls would have cost in their place.
    """

    records: int
    answered: int = 0
    final_errors: int = 0
    retryable: int = 0
    fillers: int = 0
    fillers_answered: int = 0
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    malformed: int = 0
    unusable: int = 0
    lines: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    on_demand_cost_usd: Decimal | None = Decimal(0)
    reasons: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)

    def failed(self, record_id: str, reason: str) -> None:
        """Count a final error."""
        self.final_errors += 1
        if len(self.examples) < FEW:
            self.examples.append(record_id)
        if len(self.reasons) < FEW:
            self.reasons.add(reason)

    def charge(self, answer: ModelResponse, metadata: "ChunkMetadata") -> None:
        """Count an answer that was paid for."""
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        self.cost_usd = _plus(self.cost_usd, metadata.cost_of(answer, metadata.asked))
        self.on_demand_cost_usd = _plus(self.on_demand_cost_usd, metadata.cost_of(answer, "on-demand"))

    def charge_all(
        self, input_tokens: int, output_tokens: int, cost_usd: Decimal | None, on_demand: Decimal | None
    ) -> None:
        """Count several answers that were paid for."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_usd = _plus(self.cost_usd, cost_usd)
        self.on_demand_cost_usd = _plus(self.on_demand_cost_usd, on_demand)


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """What is the same in every row of a chunk.

    Attributes:
        no_answer: code and message for a record that has no line.
        keep_raw: whether the whole answer is kept as JSON.
        again: whether a record that ends with this code is asked again; its error is final otherwise.
        columns: columns of structured answers; None where none are asked for.
        price: None where nobody knows it.
        asked: by a batch job, or by on-demand calls.
    """

    family: Family
    model_id: str
    chunk_key: str
    job_arn: str | None
    attempt: int
    no_answer: tuple[str, str]
    keep_raw: bool = False
    again: Callable[[str], bool] = lambda _: False
    columns: AnswerColumns | None = None
    price: Price | None = None
    asked: PricedMode = "batch"

    @property
    def answer_fields(self) -> tuple[pa.Field, ...]:
        """Columns of structured answers; none where none are asked for."""
        return tuple(self.columns.fields) if self.columns else ()

    @property
    def only_text(self) -> bool:
        """Whether nothing of an answer is wanted that a plain one has not."""
        return self.columns is None and not self.keep_raw

    def cost_of(self, answer: ModelResponse, asked: PricedMode) -> Decimal | None:
        """What an answer costs, asked in this way; None where nobody knows."""
        if self.price is None or answer.input_tokens is None or answer.output_tokens is None:
            return None
        return self.price.cost(answer.input_tokens, answer.output_tokens, asked)


def manifest_discrepancies(manifest: Mapping[str, Any], tally: Tally) -> list[str]:
    """Where the manifest's counts differ from the lines."""
    read = {
        "totalRecordCount": tally.records + tally.fillers,
        "successRecordCount": tally.answered + tally.fillers_answered + tally.unusable,
        "inputTokenCount": tally.input_tokens,
        "outputTokenCount": tally.output_tokens,
    }
    return [
        f"{name} is {manifest[name]} in the manifest and {count} in the lines"
        for name, count in read.items()
        if name in manifest and manifest[name] != count
    ]


def _plus(total: Decimal | None, cost: Decimal | None) -> Decimal | None:
    return None if total is None or cost is None else total + cost
