"""The check that lists the chunks which wait for an operator: all of them, where only some have red runs of their own."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import WaitingChunks
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import BasePipeline

#: The check of `submitted_jobs`.
NO_OPERATOR_NEEDED: Final = "no_chunk_needs_an_operator"
_ASSET: Final = "submitted_jobs"
_NONE: Final = WaitingChunks(0, ())


def operator_check(pipeline: BasePipeline) -> dg.AssetChecksDefinition:
    """The check of one pipeline, for a click; the sensor `reconcile_jobs` evaluates it by itself."""

    @dg.asset_check(
        asset=Names(pipeline.name).asset(_ASSET),
        name=NO_OPERATOR_NEEDED,
        description="No chunk waits for an operator. Evaluated each minute where something changed.",
    )
    def check(bedrock_deployment: DeploymentResource) -> dg.AssetCheckResult:
        with bedrock_deployment.open() as opened:
            waiting = opened.ledger.status_report.waiting_for_operator([pipeline.name])
        found = waiting.get(pipeline.name, _NONE)
        return dg.AssetCheckResult(
            passed=not found.count, description=_description(found), metadata=_metadata(found)
        )

    return check


def operator_checks(
    deployment: Deployment, pipelines: Sequence[str], known: Mapping[str, str]
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, str]]:
    """Evaluations for the pipelines whose waiting chunks changed, and the digests of those that wait now.

    Args:
        deployment: the deployment.
        pipelines: names.
        known: digests of the last evaluations, by pipeline; none where nothing waited.
    """
    waiting = deployment.ledger.status_report.waiting_for_operator(list(pipelines))
    digests = {pipeline: _digest(found) for pipeline, found in waiting.items()}
    return [
        dg.AssetCheckEvaluation(
            asset_key=Names(pipeline).asset(_ASSET),
            check_name=NO_OPERATOR_NEEDED,
            passed=pipeline not in waiting,
            severity=dg.AssetCheckSeverity.ERROR,
            description=_description(waiting.get(pipeline, _NONE)),
            metadata=_metadata(waiting.get(pipeline, _NONE)),
        )
        for pipeline in sorted(pipelines)
        if digests.get(pipeline) != known.get(pipeline)
    ], digests


def _description(found: WaitingChunks) -> str | None:
    return f"{found.count:,} chunks wait for an operator: `bedrock-pipeline status`" if found.count else None


def _metadata(found: WaitingChunks) -> dict[str, dg.MetadataValue]:
    lines = [f"- `{chunk}`: {why or 'no reason given'}" for chunk, why in found.first]
    more = [f"- … {found.count - len(lines)} more"] if found.count > len(lines) else []
    shown = {"chunks": dg.MetadataValue.md("\n".join([*lines, *more]))} if lines else {}
    return {"waiting": dg.MetadataValue.int(found.count), **shown}


def _digest(found: WaitingChunks) -> str:
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]
