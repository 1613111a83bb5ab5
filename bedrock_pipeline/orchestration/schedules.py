"""A dataset a day.

What belongs here: the schedule of pipelines with `daily=True`.
"""

import dagster as dg

from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource


def daily_schedule(pipeline: str) -> dg.ScheduleDefinition:
    """Asks the ledger for the dataset whose key is the day before the tick; the sensors do the rest."""

    @dg.schedule(
        name=f"{pipeline}_daily",
        job_name=Names(pipeline).job("prepare"),
        cron_schedule="15 0 * * *",
        execution_timezone="UTC",
        description="Launches the dataset of the day that has ended.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, deployment: DeploymentResource) -> dg.SkipReason:
        day = (context.scheduled_execution_time.date()).isoformat()
        with deployment.open() as opened:
            opened.ledger.datasets.request(pipeline, day, {}, launch=True)
        return dg.SkipReason(f"Dataset {day} is asked for; the sensor prepare_datasets starts it.")

    return evaluate
