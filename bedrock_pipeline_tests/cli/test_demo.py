"""What `demo` says while its dataset is not published."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from bedrock_pipeline.cli import demo
from bedrock_pipeline.deployment import Deployment

_WAITING = "no running code location has a pipeline 'p'"


@pytest.mark.parametrize(("long_s", "times"), [(0.0, 1), (600.0, 0)])
def test_what_a_dataset_waits_for_is_said_once_when_nothing_has_changed_for_long(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, long_s: float, times: int
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    deployment.ledger.served_pipelines.seen(["other"])
    shown = Console(width=200, record=True, stderr=True)
    for name, value in {"console": shown, "_LONG_S": long_s, "_PATIENCE_SECONDS": 2}.items():
        monkeypatch.setattr(demo, name, value)
    services = SimpleNamespace(require_running=lambda: None)
    with pytest.raises(demo.DemoError, match="was not published within 2 s"):
        demo._follow(deployment, services, demo._Asked("p", {}), "d")  # type: ignore[arg-type]  # all that it uses
    assert shown.export_text().count(_WAITING) == times
