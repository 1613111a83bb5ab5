"""The schedule of pipelines with `daily=True`: one dataset a day."""

from datetime import timedelta

import dagster as dg

from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource


def daily_schedule(pipeline: str) -> dg.ScheduleDefinition:
    """Launches, a quarter of an hour after midnight UTC, the dataset whose key is the date of the day that has ended.

    Only the ledger is written; the sensor `prepare_datasets` requests the run.
    """

    @dg.schedule(
        name=f"{pipeline}_daily",
        job_name=Names(pipeline).job("prepare"),
        cron_schedule="15 0 * * *",
        execution_timezone="UTC",
        description="Launches the dataset of the day that has ended (UTC).",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, deployment: DeploymentResource) -> dg.SkipReason:
        day = (context.scheduled_execution_time.date() - timedelta(days=1)).isoformat()
        with deployment.open() as opened:
            opened.ledger.datasets.request(pipeline, day, {}, launch=True)
        return dg.SkipReason(f"Dataset {day} is launched; the sensor prepare_datasets requests its run.")

    return evaluate
