"""Counting while a chunk's output is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final

import orjson
import pyarrow as pa

from bedrock_pipeline.models import Family
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.family import Plain
from bedrock_pipeline.pricing.prices import Price, PricedMode
from bedrock_pipeline.records.bounded_texts import count_kind
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.raised_limit import RaisedLimit
from bedrock_pipeline.records.result_schema import ResultRow, vector_fields
from bedrock_pipeline.records.tally import Tally

#: The manifest's number of records with a response.
_SUCCEEDED: Final = "successRecordCount"
#: How many record ids or reasons a message to an operator names.
FEW = 5


@dataclass(frozen=True, slots=True)
class Charge:
    """What was paid for one response or several."""

    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None


@dataclass(slots=True)
class TallyCounter:
    """Counts up while `collect.join.rows` is iterated; then `tally` is complete.

    Attributes:
        fillers: filler records of the chunk; some of them were answered.
        missing: records without a line.
        duplicates: lines of a record that has its response or error already.
        unknown: lines of records that are not in the index.
        malformed: lines without a readable record id.
        unusable: responses with a final error: not of the family's shape, or breaking the schema.
        final_by_code: final errors by their code.
        reasons: of final errors, a few of them.
        examples: a few ids of records with a final error.
    """

    records: int = 0
    answered: int = 0
    final_errors: int = 0
    retryable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    on_demand_cost_usd: Decimal | None = Decimal(0)
    fillers: int = 0
    fillers_answered: int = 0
    missing: int = 0
    duplicates: int = 0
    unknown: int = 0
    malformed: int = 0
    unusable: int = 0
    lines: int = 0
    final_by_code: dict[str, int] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)

    def tally(self) -> Tally:
        """The counts of the records."""
        return Tally(**{one.name: getattr(self, one.name) for one in fields(Tally)})

    def failed(self, record_id: str, code: str, reason: str) -> None:
        """Count a final error."""
        self.final_errors += 1
        count_kind(self.final_by_code, code)
        if len(self.examples) < FEW:
            self.examples.append(record_id)
        if len(self.reasons) < FEW:
            self.reasons.add(reason)

    def charge(self, charge: Charge) -> None:
        """Count what was paid."""
        self.input_tokens += charge.input_tokens
        self.output_tokens += charge.output_tokens
        self.cost_usd = _plus(self.cost_usd, charge.cost_usd)
        self.on_demand_cost_usd = _plus(self.on_demand_cost_usd, charge.on_demand_cost_usd)


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """What all rows of a chunk share, and how its output is read.

    Attributes:
        no_answer: code and message of a record without a line.
        keep_raw: whether the model's whole output is kept as JSON.
        accepted: kinds of incomplete responses that count as answers all the same.
        again: whether a record that ends with this code is retried; otherwise its error is final.
        raised: how the limit of tokens is raised for a response that was cut off; None if it stays.
        columns: of structured responses, if they were requested.
        vectors: types of the vectors of whole numbers, with their lengths if these are known.
        own_bodies: whether records have bodies of the user's own, which may request vectors of different lengths.
        price: None if unknown.
        mode: by a batch job, or by on-demand calls.
    """

    family: Family
    model_id: str
    chunk_key: str
    job_arn: str | None
    attempt: int
    no_answer: tuple[str, str]
    keep_raw: bool = False
    again: Callable[[str], bool] = lambda _: False
    accepted: frozenset[Incomplete] = frozenset()
    raised: RaisedLimit | None = None
    columns: AnswerColumns | None = None
    vectors: Mapping[str, int | None] = field(default_factory=dict)
    own_bodies: bool = False
    price: Price | None = None
    mode: PricedMode = "batch"
    dataset_version: int | None = None

    def is_retried(self, row: ResultRow) -> bool:
        """Whether a record that ends with this error is retried."""
        code = row.error_code or ""
        stays = code == Incomplete.CUT_OFF and self.raised and self.raised.ended_at_most(row.output_tokens)
        return not stays and self.again(code)

    @property
    def response_fields(self) -> tuple[pa.Field, ...]:
        """The columns of structured responses, or of vectors of whole numbers."""
        return tuple(self.columns.fields) if self.columns else vector_fields(self.vectors)

    @property
    def keeps_output(self) -> bool:
        """Whether the model's whole output is kept as JSON."""
        return self.keep_raw or self.family.name == "raw"

    @property
    def plain(self) -> Plain | None:
        """Where ordinary outputs have what is read; None if each is read by itself."""
        if self.vectors or self.keeps_output:
            return None
        return self.family.plain_tool if self.columns and self.columns.by == "tool" else self.family.plain


def line_discrepancies(counter: TallyCounter, *, completed: bool) -> list[str]:
    """Irregular lines; in a job that completed, records without a line too."""
    counts = {
        "lines repeat a record": counter.duplicates,
        "lines are of unknown records": counter.unknown,
        "lines are not readable": counter.malformed,
        "records have no line": counter.missing if completed else 0,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def has_more_responses(manifest: bytes | None, counter: TallyCounter) -> bool:
    """Whether the job has made more responses than there are lines of, as far as its manifest says; without one it may have."""
    try:
        read = orjson.loads(manifest or b"")
    except orjson.JSONDecodeError:
        return True
    made = read.get(_SUCCEEDED) if isinstance(read, dict) else None
    return not isinstance(made, int) or made > _succeeded(counter)


def manifest_discrepancies(manifest: Mapping[str, Any], counter: TallyCounter) -> list[str]:
    """Where the manifest's counts differ from the lines."""
    read = {
        "totalRecordCount": counter.records + counter.fillers,
        _SUCCEEDED: _succeeded(counter),
        "inputTokenCount": counter.input_tokens,
        "outputTokenCount": counter.output_tokens,
    }
    return [
        f"{name} is {manifest[name]} in the manifest and {count} in the lines"
        for name, count in read.items()
        if isinstance(manifest.get(name), int) and manifest[name] != count
    ]


def _succeeded(counter: TallyCounter) -> int:
    return counter.answered + counter.fillers_answered + counter.unusable


def _plus(total: Decimal | None, cost: Decimal | None) -> Decimal | None:
    return None if total is None or cost is None else total + cost
