"""Dagster's daemon, whose sensors tick each second: `python -P -m bedrock_pipeline.orchestration.frequent_daemon run -w WORKSPACE`.

Whoever watches `demo` should not wait for the next look at the sensors, which Dagster takes every 5 seconds and has no setting
for. A deployment is better served by Dagster's own pace: each tick is work for its storage.
"""

from typing import Final

_SECONDS: Final = 1


def main() -> None:
    """Run `dagster-daemon` with the same arguments."""
    from dagster._daemon import cli, sensor

    sensor.MIN_INTERVAL_LOOP_TIME = _SECONDS
    cli.main()


if __name__ == "__main__":
    main()
