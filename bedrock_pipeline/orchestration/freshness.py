"""The check that the newest due partition is published in time: freshness by partition, which Dagster's policies lack.

What belongs here: which partition is due, and whether the ledger has its results. The sensor `reconcile_jobs` evaluates it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import dagster as dg
from dagster import TimeWindowPartitionsDefinition as TimeWindows

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import options_of
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.schedules import last_ended
from bedrock_pipeline.pipeline import BasePipeline, Pipeline

#: The check of `results`.
ON_TIME: Final = "on_time"


def on_time_check(pipeline: BasePipeline) -> dg.AssetChecksDefinition | None:
    """The check of one pipeline, for a click; None if it has no partitions in time, or no limit is set."""
    if not _is_timed(pipeline):
        return None
    names = Names.of(pipeline)

    @dg.asset_check(
        asset=names.asset("results"),
        name=ON_TIME,
        description=f"The newest partition that ended {_allowed(pipeline)} ago is published. Evaluated each minute.",
    )
    def check(bedrock_deployment: DeploymentResource) -> dg.AssetCheckResult:
        with bedrock_deployment.open() as opened:
            due = due_partition(pipeline, opened.system.now())
            passed = due is None or _is_published(opened, names, due)
        return dg.AssetCheckResult(passed=passed, description=_description(due, passed))

    return check


def on_time_evaluations(
    deployment: Deployment, pipelines: Sequence[BasePipeline], known: Mapping[str, str]
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, str]]:
    """Evaluations for the pipelines where something changed, and what was found now, by pipeline.

    Args:
        deployment: the deployment.
        pipelines: of the code location.
        known: what was found by the last tick.
    """
    found: dict[str, str] = {}
    evaluations = []
    for pipeline in filter(_is_timed, pipelines):
        due, names = due_partition(pipeline, deployment.system.now()), Names.of(pipeline)
        if due is None:
            continue
        passed = _is_published(deployment, names, due)
        found[pipeline.name] = f"{due} {passed}"
        if found[pipeline.name] != known.get(pipeline.name):
            evaluations.append(
                dg.AssetCheckEvaluation(
                    asset_key=names.asset("results"),
                    check_name=ON_TIME,
                    passed=passed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=_description(due, passed),
                    metadata={"partition": dg.MetadataValue.text(due)},
                )
            )
    return evaluations, found


def due_partition(pipeline: BasePipeline, now: datetime) -> str | None:
    """The newest partition that ended, and existed, long enough ago that its results are due; None if there is none yet."""
    own, until = Names.of(pipeline).own_partitions, now - _allowed(pipeline)
    if own is None:  # a daily pipeline with dynamic partitions
        return last_ended(until, options_of(pipeline).daily.timezone or "UTC", timedelta(0)).isoformat()
    assert isinstance(own, TimeWindows)  # _is_timed
    with dg.partition_loading_context(until):  # the partitions that existed then
        last, ended = own.get_last_partition_window(), own.get_prev_partition_window(until)
    if last is None or ended is None:
        return None
    return own.get_partition_key_for_timestamp(min(last.start, ended.start).timestamp())


def _is_timed(pipeline: BasePipeline) -> bool:
    own = Names.of(pipeline).own_partitions
    timed = isinstance(own, TimeWindows) or (
        own is None and isinstance(pipeline, Pipeline) and pipeline.daily
    )
    return timed and options_of(pipeline).thresholds.published_within_h is not None


def _allowed(pipeline: BasePipeline) -> timedelta:
    return timedelta(hours=options_of(pipeline).thresholds.published_within_h or 0)


def _is_published(deployment: Deployment, names: Names, partition: str) -> bool:
    row = deployment.ledger.datasets.get(names.pipeline, names.dataset(partition))
    return row is not None and row.results_uri is not None


def _description(due: str | None, passed: bool) -> str:
    if due is None:
        return "No partition is due yet."
    return (
        f"{due} is published." if passed else f"{due} is not published: `bedrock-pipeline status` shows why."
    )
