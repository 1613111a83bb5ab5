"""The check that lists what waits for an operator.

All chunks, where only some have red runs of their own, and the datasets at their cost limit, which have none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import WaitingChunks
from bedrock_pipeline.orchestration.markdown import as_text, bullets
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import BasePipeline

#: The check of `submitted_jobs`.
NO_OPERATOR_NEEDED: Final = "no_chunk_needs_an_operator"
_ASSET: Final = "submitted_jobs"
#: In the description; the metadata have more.
_MOST_NAMED: Final = 5
_NO_CHUNKS: Final = WaitingChunks(0, ())


@dataclass(frozen=True)
class _Waiting:
    """What waits for an operator.

    Attributes:
        chunks: those that failed, or need a decision.
        limits: why, and what to do, of each dataset at its cost limit.
    """

    chunks: WaitingChunks = _NO_CHUNKS
    limits: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def description(self) -> str:
        counts = {"chunks": self.chunks.count, "datasets at their cost limit": len(self.limits)}
        text = "; ".join(f"{what}: {count:,}" for what, count in counts.items() if count)
        if not text:
            return "Nothing waits for an operator."
        first = [f"{chunk}: {as_text(why or 'no reason given')}" for chunk, why in self.chunks.first]
        return "\n\n".join([f"Waiting for an operator: {text}.", *[*first, *self.limits][:_MOST_NAMED]])

    @property
    def metadata(self) -> dict[str, dg.MetadataValue]:
        chunks = [f"{chunk}: {why or 'no reason given'}" for chunk, why in self.chunks.first]
        if self.chunks.count > len(chunks):
            chunks.append(f"… {self.chunks.count - len(chunks)} more")
        lists = {"chunks": chunks, "cost_limits": self.limits}
        return {
            "waiting": dg.MetadataValue.int(self.chunks.count + len(self.limits)),
            **{name: bullets(lines) for name, lines in lists.items() if lines},
        }


_NONE: Final = _Waiting()


def operator_check(pipeline: BasePipeline) -> dg.AssetChecksDefinition:
    """The check of one pipeline, for a click; the sensor `reconcile_jobs` evaluates it by itself."""

    @dg.asset_check(
        asset=Names.of(pipeline).asset(_ASSET),
        name=NO_OPERATOR_NEEDED,
        description="No chunk waits for an operator, and no dataset for the approval of its cost. Evaluated each minute where "
        "something changed; Execute evaluates it now.",
    )
    def check(bedrock_deployment: DeploymentResource) -> dg.AssetCheckResult:
        with bedrock_deployment.open() as opened:
            found = _waiting(opened, [pipeline.name]).get(pipeline.name, _NONE)
        return dg.AssetCheckResult(
            passed=found == _NONE, description=found.description, metadata=found.metadata
        )

    return check


def operator_checks(
    instance: dg.DagsterInstance, deployment: Deployment, names: Mapping[str, Names], known: Mapping[str, str]
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, str]]:
    """Evaluations for the pipelines of which something else waits than before, and the digests of what waits now.

    Dagster shows no result that is older than the asset's last materialization, so what still waits is evaluated again then.

    Args:
        instance: Dagster's.
        deployment: the deployment.
        names: by pipeline.
        known: digests of the last evaluations, by pipeline; none where nothing waited.
    """
    waiting = _waiting(deployment, list(names))
    digests = {
        pipeline: f"{found.digest} {_materialized(instance, names[pipeline].asset(_ASSET))}"
        for pipeline, found in waiting.items()
    }
    return [
        dg.AssetCheckEvaluation(
            asset_key=names[pipeline].asset(_ASSET),
            check_name=NO_OPERATOR_NEEDED,
            passed=pipeline not in waiting,
            severity=dg.AssetCheckSeverity.ERROR,
            description=waiting.get(pipeline, _NONE).description,
            metadata=waiting.get(pipeline, _NONE).metadata,
        )
        for pipeline in sorted(names)
        if digests.get(pipeline) != known.get(pipeline)
    ], digests


def _materialized(instance: dg.DagsterInstance, asset: dg.AssetKey) -> float | None:
    """When the asset was materialized last."""
    event = instance.get_latest_materialization_event(asset)
    return event.timestamp if event else None


def _waiting(deployment: Deployment, pipelines: Sequence[str]) -> dict[str, _Waiting]:
    """What waits of each pipeline of which something does."""
    chunks = deployment.ledger.status_report.waiting_for_operator(list(pipelines))
    limits: dict[str, list[str]] = {}
    for budget in deployment.ledger.spending.exhausted(list(pipelines)):
        limits.setdefault(budget.pipeline, []).append(budget.reason)
    return {
        pipeline: _Waiting(chunks.get(pipeline, _NO_CHUNKS), tuple(limits.get(pipeline, ())))
        for pipeline in {*chunks, *limits}
    }
