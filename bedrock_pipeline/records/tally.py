"""How the records of a collected chunk ended, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of a collected chunk: answered + final_errors + retryable = records.

    Attributes:
        records: without filler records.
        answered: records with a response.
        final_errors: records with an error that is not retried.
        retryable: records that go into a retry round.
        input_tokens: that the model read. Like the next three, of all that was paid for: responses to filler records
            and unusable responses too.
        output_tokens: that the model wrote.
        cost_usd: None if the price is unknown, or a response has no token counts.
        on_demand_cost_usd: what on-demand calls would have cost.
        final_by_code: final errors by their code; together final_errors.
    """

    records: int
    answered: int = 0
    final_errors: int = 0
    retryable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    on_demand_cost_usd: Decimal | None = None
    final_by_code: Mapping[str, int] = field(default_factory=dict)
