"""A code location with two sensors that do nothing, as often as ours tick: what Dagster takes by itself."""

import dagster as dg


def _sensor(name: str, seconds: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        target="*",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def evaluate(_: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason("nothing to do")

    return evaluate


@dg.asset
def nothing() -> None:
    """What the sensors could materialize."""


defs = dg.Definitions(assets=[nothing], sensors=[_sensor("often", 5), _sensor("rarely", 60)])
