"""How records are sent, and what happens where they are fewer than a job's minimum.

Datasets, queues and retry rounds follow the pipeline's `below_minimum` alike (docs/records.md, "Below the minimum").
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.record_ids import filler_id, wire_id
from bedrock_pipeline.records.wire_line import readdressed

_MODES: Final[dict[BelowMinimum, tuple[Mode, str]]] = {
    "on_demand": ("on-demand", "sent one by one, at the on-demand price"),
    "pad": ("batch", ""),
    "hold": ("waiting", "waiting for more records, or for another below_minimum"),
    "fail": ("none", "not sent (below_minimum is fail)"),
}


@dataclass(frozen=True, slots=True)
class InvocationPlan:
    """How a set of records is packed and sent.

    Attributes:
        mode: as batch jobs, one by one, not yet, or not at all.
        limits: the limits that the packer keeps.
        padded: whether filler records follow the records.
        reason: one sentence, for an operator, why the records are not sent as a batch job; None where they are.
    """

    mode: Mode
    limits: Limits
    padded: bool = False
    reason: str | None = None

    @property
    def cut(self) -> tuple[Mode, bool, int, int, int, int, int]:
        """What decides where chunks are cut and how they are sent; part of their content hash."""
        limits = self.limits
        counts = limits.min_records, limits.max_records, limits.max_file_records
        return self.mode, self.padded, *counts, limits.max_file_bytes, limits.max_job_bytes

    def lines(self, lines: Iterable[Line], carried: Callable[[str], tuple[Any, ...]]) -> Iterator[Line]:
        """The lines to pack; where the plan is padded, filler records follow them.

        A filler record repeats the shortest request, which the model is sure to accept, under an id of its own. `carried`
        maps its wire id to the values of the index's other columns.
        """
        shortest, count = b"", 0
        for line in lines:
            count += 1
            if not shortest or len(line.data) < len(shortest):
                shortest = line.data
            yield line
        if not self.padded or not shortest:
            return
        for number in range(count, self.limits.min_records):
            wire = wire_id(filler_id(number))
            yield Line(filler_id(number), carried(wire), readdressed(shortest, wire))


def plan_invocation(policy: BelowMinimum, limits: Limits, records: int | None = None) -> InvocationPlan:
    """Decide how records are sent; while their number is unknown (None), they are taken to be enough."""
    if records is None or records >= limits.min_records:
        return InvocationPlan("batch", limits)
    mode, text = _MODES[policy]
    if mode == "batch":
        return InvocationPlan(mode, limits, padded=True)
    return InvocationPlan(
        mode,
        limits.model_copy(update={"min_records": 1}),
        reason=f"{records} records are fewer than a job's {limits.min_records}: {text}.",
    )
