"""The daemon of the demo."""

import pytest
from dagster._daemon import cli, sensor

from bedrock_pipeline.orchestration import frequent_daemon


def test_the_daemon_of_the_demo_looks_at_the_sensors_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(sensor, "MIN_INTERVAL_LOOP_TIME", sensor.MIN_INTERVAL_LOOP_TIME)
    monkeypatch.setattr(sensor, "execute_sensor_iteration", lambda *_args, **_options: iter(()))

    class Ended(Exception):  # noqa: N818  # it is no error
        pass

    class Shutdown:
        def wait(self, seconds: float) -> None:
            waits.append(seconds)
            raise Ended

    def run() -> None:
        with pytest.raises(Ended):
            list(sensor.execute_sensor_iteration_loop(None, None, Shutdown()))  # type: ignore[arg-type]  # needs no more

    monkeypatch.setattr(cli, "main", run)
    frequent_daemon.main()
    [waited] = waits
    assert 0 < waited <= 1
