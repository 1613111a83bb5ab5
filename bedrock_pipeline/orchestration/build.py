"""Dagster definitions from pipelines: puts assets, jobs, sensors, schedules and resources together."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.asset_checks import operator_check
from bedrock_pipeline.orchestration.assets import pipeline_assets
from bedrock_pipeline.orchestration.code_location import built
from bedrock_pipeline.orchestration.freshness import on_time_check
from bedrock_pipeline.orchestration.io_managers import PublishedResults
from bedrock_pipeline.orchestration.jobs import pipeline_jobs
from bedrock_pipeline.orchestration.names import DEPLOYMENT, RESULTS_IO_MANAGER
from bedrock_pipeline.orchestration.operator_jobs import operator_jobs
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.schedules import daily_schedule
from bedrock_pipeline.orchestration.sensors import build_sensors
from bedrock_pipeline.orchestration.upstream_sensor import upstream_sensor
from bedrock_pipeline.orchestration.work_jobs import finish_job, work_job
from bedrock_pipeline.pipeline import BasePipeline, Pipeline

_DEPLOYMENT = DeploymentResource(s3=S3Resource())
#: The same objects for all sets of pipelines, so that several can be merged.
_RESOURCES: Final = {DEPLOYMENT: _DEPLOYMENT, RESULTS_IO_MANAGER: PublishedResults(deployment=_DEPLOYMENT)}


def build_definitions(
    pipelines: Sequence[BasePipeline],
    *,
    downstream: Sequence[dg.AssetsDefinition] = (),
    resource_overrides: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> dg.Definitions:
    """Everything that Dagster needs for these pipelines.

    Nothing is read from the environment or connected before a run or sensor starts. The definitions can be merged with others:
    they set no executor, their jobs have one of their own, and the keys of their resources begin with `bedrock_`.

    Args:
        pipelines: `Pipeline`s and `QueuePipeline`s with different names.
        downstream: assets that take the asset `results` of a pipeline as an input.
        resource_overrides: resources that replace the built-in ones, by key.
        prefix: of the names of sensors and of the jobs `work` and `finish_removed_pipelines`; for each of several sets of pipelines
            in one code location another.

    Raises:
        ConfigurationError: two pipelines have the same name.
    """
    names = [pipeline.name for pipeline in pipelines]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            f"Several pipelines have the same name: {', '.join(twice)}.", "Rename all but one."
        )
    built(pipelines)
    jobs = [
        *(job for pipeline in pipelines for job in pipeline_jobs(pipeline)),
        *([work_job(pipelines, prefix)] if pipelines else []),
        finish_job(prefix),
    ]
    sensors = [*build_sensors(pipelines, jobs, prefix), *upstream_sensor(pipelines, prefix)]
    if downstream:
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                f"{prefix}downstream_assets",
                target=dg.AssetSelection.assets(*(asset.key for asset in downstream)),
                default_status=dg.DefaultSensorStatus.RUNNING,
                description="Materializes the downstream assets by their automation conditions.",
            )
        )
    return dg.Definitions(
        assets=[*(asset for pipeline in pipelines for asset in pipeline_assets(pipeline)), *downstream],
        asset_checks=[
            *map(operator_check, pipelines),
            *(check for pipeline in pipelines if (check := on_time_check(pipeline))),
        ],
        jobs=[*jobs, *(job for pipeline in pipelines for job in operator_jobs(pipeline))],
        sensors=sensors,
        schedules=[daily_schedule(one) for one in pipelines if isinstance(one, Pipeline) and one.daily],
        resources={**_RESOURCES, **(resource_overrides or {})},
    )
