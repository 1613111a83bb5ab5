"""Input tokens of a sample, counted by the model's own tokenizer, beside their estimate.

The counting is passed in: Bedrock's CountTokens, which is free and which a few models have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from bedrock_pipeline.models import Family
from bedrock_pipeline.pricing.token_estimates import Sample

#: The most requests that are counted, each by a call; and every which of the sampled ones is.
_MOST, _EVERY = 20, 5


class NotCountableError(Exception):
    """Tokens cannot be counted; the message says why."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The input tokens of a sample of requests.

    Attributes:
        requests: how many were counted.
        estimated: their tokens by the estimate from their text.
        counted: their tokens by count.
        problem: why none were counted; None if some were.
    """

    requests: int = 0
    estimated: int = 0
    counted: int = 0
    problem: str | None = None

    @property
    def factor(self) -> Decimal | None:
        """How many times the estimate is the count; None if nothing was counted."""
        return Decimal(self.counted) / self.estimated if self.counted and self.estimated else None


class TokenCounter:
    """Counts a sample of the first chunk's requests; those of later chunks are alike.

    Args:
        count: the input tokens of one line of a job's input; raises NotCountableError.
    """

    def __init__(self, count: Callable[[bytes], int]) -> None:
        self._count = count
        self._seen = self._counted = 0
        self._problem: str | None = None
        self._sample: Sample | None = None
        self.found: TokenCount | None = None

    def take(self, line: bytes, family: Family) -> None:
        """Count a request if it is of the sample; the first that cannot be counted ends the counting."""
        sample = self._sample = self._sample or Sample(family)
        self._seen += 1
        wanted = self._seen % _EVERY == 1 and sample.lines < _MOST and not self._problem
        if self.found is not None or not wanted:
            return
        try:
            self._counted += self._count(line)
        except NotCountableError as error:
            self._problem = str(error)
        else:
            sample.add(line)

    def finish(self) -> TokenCount:
        """What was counted; nothing is counted any more."""
        if self.found is None:
            lines, estimated = (self._sample.lines, self._sample.input_tokens) if self._sample else (0, 0.0)
            self.found = TokenCount(lines, round(estimated), self._counted, self._problem)
        return self.found
