"""Fewer records than a job may have.

What belongs here: what a pipeline's `below_minimum` makes of them, for a dataset and for retryable records alike
(docs/answers.md, "Below the minimum").
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.record_ids import filler_id, wire_id
from bedrock_pipeline.records.wire_line import readdressed

#: Mode of a chunk by policy; a padded one is a job like any other.
MODES: dict[BelowMinimum, Mode] = {
    "on_demand": "on-demand",
    "pad": "batch",
    "hold": "waiting",
    "fail": "none",
}


@dataclass(frozen=True, slots=True)
class Small:
    """How too few records are packed.

    Attributes:
        why: one sentence for a person; None for a job like any other.
    """

    policy: BelowMinimum
    limits: Limits
    mode: Mode
    why: str | None

    @classmethod
    def by(cls, policy: BelowMinimum, limits: Limits, records: int | None = None) -> "Small":
        """What the policy says of so few records."""
        mode = MODES[policy]
        few = f"{records} records are" if records is not None else "The records are"
        asked = {
            "on-demand": "asked one by one, at the on-demand price",
            "waiting": "held until there are more, or `bedrock-pipeline retry … --below-minimum` decides",
            "none": "not asked (below_minimum is fail)",
        }
        why = f"{few} fewer than a job's {limits.min_records}: {asked[mode]}." if mode in asked else None
        return cls(
            policy, limits if mode == "batch" else limits.model_copy(update={"min_records": 1}), mode, why
        )

    def lines(self, lines: Iterable[Line], carried: Callable[[str], tuple[Any, ...]]) -> Iterator[Line]:
        """The lines to pack; those of a padded chunk are followed by filler records.

        A filler record asks what the shortest record asks, so that the model takes it, under an id of its own.

        Args:
            lines: the records.
            carried: from a filler's wire id to what stands for it in the index's other columns.
        """
        shortest, count = b"", 0
        for line in lines:
            count += 1
            if not shortest or len(line.data) < len(shortest):
                shortest = line.data
            yield line
        if self.mode != "batch" or not shortest:
            return
        for number in range(count, self.limits.min_records):
            wire = wire_id(filler_id(number))
            yield Line(filler_id(number), carried(wire), readdressed(shortest, wire))
