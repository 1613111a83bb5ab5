"""`launch`, `status`, `wait` and `results` from Python: what the commands do, over a real ledger."""

import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import bedrock_pipeline as bp
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline_tests.journey.driven import CLAUDE, finish, pipeline


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), Decimal("NaN"), 0, -1, 10**12, "much"])
def test_a_limit_of_cost_that_is_no_amount_is_not_launched(deployment: Deployment, cost: object) -> None:
    with pytest.raises(bp.ConfigurationError, match="max_cost_usd: give US dollars as a number above 0"):
        bp.launch("p", "d", max_cost_usd=cost)
    assert deployment.ledger.datasets.get("p", "d") is None


def test_a_dataset_from_its_launch_to_its_rows(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(tmp_path, [f"text {n}" for n in range(110)])
    assert bp.launch(one, "d", max_cost_usd=Decimal(7)) == 1
    with pytest.raises(bp.StateError, match="not published yet"):
        bp.results("p", "d")
    with pytest.raises(bp.AwaitTimeoutError, match=r"'d' of 'p' was not published within 0 s\. It goes on"):
        bp.wait("p", "d", timeout_s=0)
    waiting = threading.Thread(target=lambda: found.append(bp.wait("p", "d", timeout_s=600)))
    found: list[str] = []
    waiting.start()
    rows = finish(deployment, one)
    waiting.join()
    table = bp.results("p", "d").to_table()
    assert sorted(table["record_id"].to_pylist()) == sorted(row["record_id"] for row in rows)
    [shown] = bp.status("p")
    assert isinstance(shown, bp.DatasetStatus)
    assert (shown.dataset, shown.state, shown.answered, shown.results) == ("d", "published", 110, found[0])
    assert {type(chunk) for chunk in bp.status("p", "d")} == {bp.ChunkStatus}
    assert [one.dataset for one in bp.status() if isinstance(one, bp.DatasetStatus)] == ["d"]


def test_a_launch_that_is_rejected_when_its_input_is_read_is_no_success(
    deployment: Deployment, tmp_path: Path
) -> None:
    """What was published before stays; whoever waits for the launch, and whoever looks, gets the reason."""
    one = pipeline(tmp_path, [f"text {n}" for n in range(110)])
    finish(deployment, one)
    published, datasets = bp.wait("p", "d", timeout_s=0), deployment.ledger.datasets
    assert bp.launch(one, "d") == 1
    [shown] = bp.status("p")
    assert isinstance(shown, bp.DatasetStatus)
    assert shown.next == "it is launched again; Dagster is about to compare its input with version 1"
    with pytest.raises(bp.AwaitTimeoutError):
        bp.wait("p", "d", timeout_s=0)
    begun = datasets.ensure("p", "d")
    datasets.fail_preparation(begun, uuid4(), "of another launch")
    datasets.fail_preparation(begun, None, "of a click")
    changed = pipeline(tmp_path, [f"text {n}" for n in range(111)])
    with pytest.raises(bp.BedrockPipelineError, match="was submitted with other content") as raised:
        take_snapshot(deployment, changed, "d")
    datasets.fail_preparation(begun, begun.launch_id, str(raised.value))
    with pytest.raises(bp.StateError, match=r"The last launch of 'd' of 'p' has failed: .*other content"):
        bp.wait("p", "d", timeout_s=0)
    [shown] = bp.status("p")
    assert isinstance(shown, bp.DatasetStatus)
    assert (shown.state, shown.results) == ("published", published)
    assert (shown.why or "").startswith(
        "the last launch has failed: Dataset 'd' of pipeline 'p' was submitted"
    )
    assert bp.launch(one, "d") == 1
    pipeline(tmp_path, [f"text {n}" for n in range(110)])
    take_snapshot(deployment, one, "d")
    assert pack_dataset(deployment, one, "d").outcome == "unchanged"
    assert bp.wait("p", "d", timeout_s=0) == published
    [shown] = bp.status("p")
    assert isinstance(shown, bp.DatasetStatus)
    assert (shown.why, shown.next) == (None, None)


def test_a_request_means_the_same_in_the_process_that_prepares(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    bp.launch(
        "p",
        "d",
        source=Path("inputs"),
        attachment_roots=["images", "s3://bucket/images"],
        parameters={"max_tokens": 5},
        csv=bp.CsvFormat(delimiter=";"),
        max_cost_usd=Decimal("0.5"),
        system=None,
    )
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    kept = dict(row.request)
    assert kept.pop("csv")["delimiter"] == ";"
    assert float(kept.pop("max_cost_usd")) == 0.5
    assert kept == {
        "source": str(tmp_path / "inputs"),
        "attachment_roots": [str(tmp_path / "images"), "s3://bucket/images"],
        "parameters": {"max_tokens": 5},
        "system": None,  # where the pipeline has one
    }
    bp.launch("p", "files", source=["a.csv", "s3://bucket/b.csv"])
    row = deployment.ledger.datasets.get("p", "files")
    assert row is not None
    assert row.request == {"source": [str(tmp_path / "a.csv"), "s3://bucket/b.csv"]}
    table = bp.DeltaTable(location="s3://lake/reviews")
    bp.launch("p", "table", source=table)
    row = deployment.ledger.datasets.get("p", "table")
    assert row is not None
    assert row.request == {"source": {"kind": "delta", "location": "s3://lake/reviews"}}
    one = bp.Pipeline(name="p", model_id=CLAUDE, prompt="{{ text }}").for_dataset(row.request)
    assert one.source == table


@pytest.mark.parametrize(
    ("pipeline_", "dataset", "request_", "message"),
    [
        ("p", "a/b", {}, "a/b"),
        ("p", "d", {"prmpt": "x"}, "cannot set prmpt"),
        (bp.Pipeline(name="p", model_id=CLAUDE, prompt="{{ a }}"), "d", {"prompt": "{{ a"}, "prompt"),
        ("p", "d", {"source": lambda: None}, "a function cannot be given with a launch"),
        ("p", "d", {"parameters": {"stop": object()}}, "cannot be kept with a launch"),
        ("p", "d", {"family": "clade"}, "Did you mean 'claude'"),
        ("p", "d", {"column_types": {"id": "text"}}, "Unknown column type 'text'"),
    ],
    ids=["key", "name", "value", "function", "object", "family", "type"],
)
def test_what_cannot_be_launched_is_an_error_and_leaves_nothing(
    deployment: Deployment,
    pipeline_: bp.Pipeline | str,
    dataset: str,
    request_: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises((bp.ConfigurationError, bp.InvalidInputError), match=message):
        bp.launch(pipeline_, dataset, **request_)
    assert bp.status() == []
    assert deployment.ledger.datasets.get("p", dataset) is None


@pytest.mark.parametrize("call", [bp.wait, bp.results, bp.status], ids=lambda call: call.__name__)
def test_an_unknown_name_is_an_error_that_nobody_waits_for(deployment: Deployment, call: Any) -> None:
    bp.launch("reviews", "2026-11-26")
    for names, near in ((("review", "2026-11-26"), "reviews"), (("reviews", "2026-11-25"), "2026-11-26")):
        with pytest.raises(bp.NotFoundError, match=near):
            call(*names)
    del deployment


def test_waiting_ends_when_the_dataset_was_cancelled(deployment: Deployment, tmp_path: Path) -> None:
    bp.launch(pipeline(tmp_path, ["a"]), "d")
    ended = threading.Timer(1, lambda: deployment.ledger.interventions.cancel("p", "d"))
    ended.start()
    with pytest.raises(bp.StateError, match="'d' of 'p' is cancelled"):
        bp.wait("p", "d", timeout_s=600, sleep=lambda _: time.sleep(0.1))
    ended.join()
