"""Pipelines into Dagster definitions.

What belongs here: putting assets, jobs, sensors, schedules and resources together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.orchestration.assets import build_pipeline_assets
from bedrock_pipeline.orchestration.io_managers import PublishedResults
from bedrock_pipeline.orchestration.jobs import retry_job
from bedrock_pipeline.orchestration.names import DEPLOYMENT, RESULTS_IO_MANAGER, Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.schedules import daily_schedule
from bedrock_pipeline.orchestration.sensors import build_sensors
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.settings import Settings

_JOBS = {
    "prepare": ("input_dataset", "batch_chunks"),
    "flush": ("batch_chunks",),
    "submit": ("submitted_jobs",),
    "collect": ("parsed_results",),
    "publish": ("results",),
}
# Where more runs wait than may run at once: Bedrock's slots are filled first, and then what is furthest is finished.
_FIRST_TO_LAST = ("submit", "publish", "collect", "retry", "flush", "prepare")


def build_definitions(
    pipelines: Sequence[Pipeline],
    *,
    downstream: Sequence[dg.AssetsDefinition] = (),
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Everything that Dagster needs for these pipelines.

    Args:
        pipelines: with different names.
        downstream: assets that take `results` of a pipeline.
        resource_overrides: resources that replace ours, by key.

    Raises:
        ValueError: two pipelines have one name.
    """
    names = [pipeline.name for pipeline in pipelines]
    if len(set(names)) < len(names):
        raise ValueError(f"pipelines must have different names: {', '.join(names)}")
    jobs = [
        _job(pipeline.name, kind)
        for pipeline in pipelines
        for kind in _JOBS
        if kind != ("prepare" if pipeline.queue else "flush")
    ]
    jobs += [retry_job(pipeline, _tags("retry")) for pipeline in pipelines]
    poll_seconds = Settings.resolve(partial=True).poll_interval_s
    deployment = DeploymentResource(s3=S3Resource())
    sensors = build_sensors(pipelines, jobs, poll_seconds)
    if downstream:
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                "downstream_assets",
                target=dg.AssetSelection.assets(*(asset.key for asset in downstream)),
                minimum_interval_seconds=5,
                default_status=dg.DefaultSensorStatus.RUNNING,
            )
        )
    return dg.Definitions(
        assets=[*(asset for pipeline in pipelines for asset in build_pipeline_assets(pipeline)), *downstream],
        jobs=jobs,
        sensors=sensors,
        schedules=[daily_schedule(pipeline.name) for pipeline in pipelines if pipeline.daily],
        resources={
            DEPLOYMENT: deployment,
            RESULTS_IO_MANAGER: PublishedResults(deployment=deployment),
            **(resource_overrides or {}),
        },
        executor=dg.in_process_executor,
    )


def _job(pipeline: str, kind: str) -> Any:
    names = Names(pipeline)
    return dg.define_asset_job(
        names.job(kind),
        selection=dg.AssetSelection.assets(*(names.asset(asset) for asset in _JOBS[kind])),
        tags=_tags(kind),
    )


def _tags(kind: str) -> dict[str, str]:
    return {
        "dagster/priority": str(len(_FIRST_TO_LAST) - _FIRST_TO_LAST.index(kind)),
        # A failure of ours says itself whether trying again helps, so Dagster's blanket retries leave it alone.
        "dagster/retry_on_asset_or_op_failure": "false",
    }
