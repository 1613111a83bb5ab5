"""Use the results in a downstream asset."""

import dagster as dg
import pandas as pd

from bedrock_pipeline.orchestration.names import Names


@dg.asset(
    ins={"results": dg.AssetIn(Names("reviews").asset("results"))},
    partitions_def=Names("reviews").datasets,
    automation_condition=dg.AutomationCondition.eager(),
)
def review_counts(results: pd.DataFrame) -> dg.MaterializeResult[None]:
    """Count the reviews of each product."""
    counts = results[results["status"] == "succeeded"].groupby("product").size()
    return dg.MaterializeResult(metadata={"reviews": int(counts.sum()), "products": len(counts)})


@dg.definitions
def automation() -> dg.Definitions:
    """Materialize by conditions: the sensor that Dagster adds by itself is off until somebody turns it on."""
    sensor = dg.AutomationConditionSensorDefinition(
        "automation", target=[review_counts], default_status=dg.DefaultSensorStatus.RUNNING
    )
    return dg.Definitions(assets=[review_counts], sensors=[sensor])
