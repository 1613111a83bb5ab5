"""The asset checks of `results`: what they measure and when they fail.

What belongs here: from the ledger's counts of a published version to check results. Thresholds are the pipeline's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.ledger.rows import ChunkRow, DatasetRow, usd
from bedrock_pipeline.orchestration.options import options_of
from bedrock_pipeline.orchestration.thresholds import Thresholds
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.publish.publish_dataset import Publication
from bedrock_pipeline.records.error_codes import Incomplete

_DECLINED: Final = (Incomplete.DECLINED, Incomplete.FILTERED)
_CUT_OFF: Final = (Incomplete.CUT_OFF, Incomplete.CONTEXT_FULL)
_UNRESOLVED: Final = ("in-doubt", "needs-resolution")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What is known of a published version.

    Attributes:
        dataset: its key.
        records: in the results.
        failed: of them, with a final error.
        by_code: final errors by code.
        rows: of the input, rejected ones included.
        rejected: rows that became no record.
        cost_usd: None if a price is unknown.
        estimated_usd: before anything was submitted; None if a price was unknown.
        unresolved: chunks whose submission is in doubt or needs resolution.
        complete: whether every record is in the results.
    """

    dataset: str
    records: int
    failed: int
    by_code: dict[str, int]
    rows: int
    rejected: int
    cost_usd: Decimal | None
    estimated_usd: Decimal | None
    unresolved: tuple[str, ...]
    complete: bool

    @classmethod
    def of(cls, row: DatasetRow, chunks: Iterable[ChunkRow], published: Publication) -> "Measures":
        """The measures of a version by its row, its chunks and its publication."""
        chunks = list(chunks)
        by_code = Counter(row.duplicates_failed_by_code)
        for chunk in chunks:
            by_code.update(chunk.final_by_code)
        estimates = [chunk.estimated_cost_usd for chunk in chunks if chunk.attempt == 1]
        rejected = (row.snapshot_rejected or 0) + (row.packed_rejected or 0)
        known = [one for one in estimates if one is not None]
        return cls(
            dataset=row.dataset,
            records=published.records,
            failed=published.failed,
            by_code=dict(by_code),
            rows=(row.snapshot_records or 0) + (row.snapshot_rejected or 0),
            rejected=rejected,
            cost_usd=published.cost_usd,
            estimated_usd=sum(known, Decimal(0)) if known and len(known) == len(estimates) else None,
            unresolved=tuple(chunk.chunk_key for chunk in chunks if chunk.status in _UNRESOLVED),
            complete=published.succeeded + published.failed == published.records
            and all(chunk.collected_at for chunk in chunks),
        )


_Judge = Callable[[Measures, Thresholds], tuple[bool, str, dict[str, Any]]]


def _share(threshold: str, count: Callable[[Measures], int], of: Callable[[Measures], int]) -> _Judge:
    def judge(measures: Measures, thresholds: Thresholds) -> tuple[bool, str, dict[str, Any]]:
        most, found, all_ = getattr(thresholds, threshold), count(measures), of(measures)
        share = found / all_ if all_ else 0.0
        text = f"{found:,} of {all_:,} ({share:.2%}); at most {most:.2%}."
        return share <= most, text, {"count": found, "share": share, "threshold": most}

    return judge


def _cost(measures: Measures, thresholds: Thresholds) -> tuple[bool, str, dict[str, Any]]:
    assert thresholds.cost_over_estimate is not None  # else the check is left out
    cost, estimate = measures.cost_usd, measures.estimated_usd
    if cost is None or estimate is None:
        return True, "Not compared: a price is unknown, or nothing was estimated.", {}
    most = float(estimate) * (1 + thresholds.cost_over_estimate)
    text = f"{usd(cost)}; estimated {usd(estimate)}, at most {usd(Decimal(str(most)))}."
    return float(cost) <= most, text, {"cost_usd": float(cost), "estimated_usd": float(estimate)}


def _resolution(measures: Measures, _: Thresholds) -> tuple[bool, str, dict[str, Any]]:
    found = measures.unresolved
    text = f"Needs a decision: {', '.join(found[:10])}." if found else "No submission is in doubt."
    return not found, text, {"chunks": len(found)}


def _complete(measures: Measures, _: Thresholds) -> tuple[bool, str, dict[str, Any]]:
    return measures.complete, f"{measures.records:,} records.", {"records": measures.records}


def _codes(codes: Iterable[Incomplete]) -> Callable[[Measures], int]:
    return lambda measures: sum(measures.by_code.get(str(code), 0) for code in codes)


#: Name and description of each check, its threshold if it can be left out, and how it is judged.
_CHECKS: Final[tuple[tuple[str, str, str | None, _Judge], ...]] = (
    (
        "few_failures",
        "The share of records that ended with an error is below the threshold.",
        "failed",
        _share("failed", lambda m: m.failed, lambda m: m.records),
    ),
    (
        "few_declined",
        "The share of responses that the model declined or a filter stopped is below the threshold.",
        "declined",
        _share("declined", _codes(_DECLINED), lambda m: m.records),
    ),
    (
        "few_cut_off",
        "The share of responses that were cut off is below the threshold.",
        "cut_off",
        _share("cut_off", _codes(_CUT_OFF), lambda m: m.records),
    ),
    (
        "few_rejected",
        "The share of input rows that were rejected is below the threshold.",
        "rejected",
        _share("rejected", lambda m: m.rejected, lambda m: m.rows),
    ),
    (
        "cost_within_estimate",
        "The cost is not far above the estimate that was made before anything was submitted.",
        "cost_over_estimate",
        _cost,
    ),
    (
        "nothing_in_doubt",
        "No submission of the dataset is in doubt or needs resolution.",
        "needs_resolution",
        _resolution,
    ),
    ("complete", "Every record of the dataset is in the results.", None, _complete),
)


def check_specs(pipeline: BasePipeline, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of the results that the pipeline's thresholds request."""
    blocking = options_of(pipeline).thresholds.blocking
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)
        for name, description, _ in _chosen(options_of(pipeline).thresholds)
    ]


def judged(measures: Measures, thresholds: Thresholds) -> list[dg.AssetCheckResult]:
    """What the checks say about a version."""
    severity = dg.AssetCheckSeverity.ERROR if thresholds.blocking else dg.AssetCheckSeverity.WARN
    found = []
    for name, _, judge in _chosen(thresholds):
        passed, text, metadata = judge(measures, thresholds)
        found.append(
            dg.AssetCheckResult(
                check_name=name,
                passed=passed,
                severity=severity,
                # Dagster keeps one latest result for all partitions, so it says of which one it is.
                description=f"{measures.dataset}: {text}",
                metadata={"dataset": measures.dataset, **metadata},
            )
        )
    return found


def _chosen(thresholds: Thresholds) -> Iterator[tuple[str, str, _Judge]]:
    for name, description, threshold, judge in _CHECKS:
        value = True if threshold is None else getattr(thresholds, threshold)
        if value is not None and value is not False:
            yield name, description, judge
