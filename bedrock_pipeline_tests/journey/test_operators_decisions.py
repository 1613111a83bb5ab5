"""What an operator decides about a dataset: a cancellation, a limit, a policy, another launch."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.versions import DatasetCancelledError
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.journey.driven import during_an_upload, finish, pipeline, rows_file


def test_what_was_cancelled_is_launched_again_as_another_version(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    deployment.ledger.interventions.cancel("p", "d")
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    take_snapshot(deployment, one, "d")
    [chunk] = pack_dataset(deployment, one, "d").chunks
    submit_chunk(deployment, "p", chunk.chunk_key)
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


def test_a_cost_limit_and_a_policy_do_not_vanish_with_the_next_launch(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, ["x"] * 20, below_minimum="hold")
    datasets = deployment.ledger.datasets
    datasets.request("p", "d", {"max_cost_usd": 3}, launch=True)
    take_snapshot(deployment, one, "d")
    [chunk] = pack_dataset(deployment, one, "d").chunks
    assert chunk.mode == "waiting"
    deployment.ledger.interventions.release("p", "d", "pad")
    versions = []
    for launch in ({}, {"system": "Be brief."}):
        datasets.request("p", "d", launch, launch=True)
        take_snapshot(deployment, one.model_copy(update={"timeout_hours": 48}), "d")
        [chunk] = pack_dataset(deployment, one, "d").chunks
        row = datasets.get("p", "d")
        assert row is not None
        assert chunk.mode == "batch"
        assert (row.max_cost_usd, row.below_minimum) == (Decimal(3), "pad")
        versions.append(row.version)
    assert versions == [2, 3]


def test_a_limit_alone_leaves_everything_else(deployment: Deployment, tmp_path: Path) -> None:
    """Its input, its prompt, its version, and an approval."""
    own = rows_file(tmp_path / "own.jsonl", [{"id": f"o{n}", "text": "own", "n": n} for n in range(120)])
    one = pipeline(tmp_path, [])
    datasets = deployment.ledger.datasets
    datasets.request("p", "d", {"source": str(own), "max_cost_usd": 1}, launch=True)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    deployment.ledger.spending.approve("p", "d", Decimal(80), "somebody")
    datasets.request("p", "d", {"max_cost_usd": 2}, launch=True)
    changed = one.model_copy(update={"max_cost_usd": Decimal(3)})
    assert take_snapshot(deployment, changed, "d").unchanged
    row, budget = datasets.get("p", "d"), deployment.ledger.spending.budget("p", "d")
    assert row is not None
    assert budget is not None
    assert (row.version, row.max_cost_usd, budget.cap_usd) == (1, Decimal(2), Decimal(80))


def test_a_limit_is_kept_by_a_launch_before_the_preparation(deployment: Deployment, tmp_path: Path) -> None:
    datasets = deployment.ledger.datasets
    datasets.request("p", "d", {"max_cost_usd": 1}, launch=True)
    datasets.request("p", "d", {"system": "Be brief."}, launch=True)
    one = pipeline(tmp_path, ["x"] * 120)
    take_snapshot(deployment, one, "d")
    pipeline(tmp_path, ["y"] * 120)
    assert take_snapshot(deployment, one, "d").version == 2
    row = datasets.get("p", "d")
    assert row is not None
    assert row.max_cost_usd == 1


@pytest.mark.parametrize("step", ["snapshot", "pack"])
def test_what_is_cancelled_while_it_is_prepared_again_is_not_bought(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    one = pipeline(tmp_path, ["x"] * 20, below_minimum="hold")
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    cancel = deployment.ledger.interventions.cancel
    if step == "snapshot":
        pipeline(tmp_path, ["y"] * 120)
        deployment.ledger.datasets.request("p", "d", {}, launch=True)
    else:
        deployment.ledger.interventions.release("p", "d", "pad")
    during_an_upload(monkeypatch, deployment, lambda: cancel("p", "d"))
    with pytest.raises(DatasetCancelledError):
        (take_snapshot if step == "snapshot" else pack_dataset)(deployment, one, "d")
    assert deployment.ledger.submissions.due(["p"], 9) == []
    assert deployment.ledger.datasets.to_launch(["p"], 9) == []
    rows = finish(deployment, one)
    assert {row["error_code"] for row in rows} == {"cancelled"}
    deployment.ledger.interventions.release("p", "d", "on_demand")
    assert pack_dataset(deployment, one, "d").outcome == "kept", "what was published is final"
    assert deployment.ledger.publications.due(["p"], 9) == []


def test_a_cancelled_relaunch_does_not_hide_what_was_published(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    finish(deployment, one)
    deployment.ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    take_snapshot(deployment, one, "d")
    [chunk] = pack_dataset(deployment, one, "d").chunks
    deployment.ledger.interventions.cancel("p", "d")
    collect_chunk(deployment, one, chunk.chunk_key)
    assert publish_dataset(deployment, one, "d").succeeded == 120
    assert deployment.ledger.publications.due(["p"], 9) == []
    assert [one.state for one in deployment.ledger.versions.history("p", "d")] == ["cancelled", "published"]


def test_a_published_dataset_is_not_cancelled(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    finish(deployment, one)
    assert deployment.ledger.interventions.cancel("p", "d") == []
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    assert take_snapshot(deployment, one, "d").unchanged


def test_a_launch_whose_acknowledgement_is_lost_makes_one_version(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pipeline(tmp_path, ["x"] * 120)
    finish(deployment, one)
    commit = psycopg.Connection.commit
    broken: list[None] = []

    def losing(connection: Any) -> None:
        commit(connection)
        if not broken:
            broken.append(None)
            take_snapshot(deployment, one, "d")  # the daemon is quick
            pack_dataset(deployment, one, "d")
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "commit", losing)
        row = deployment.ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    assert row.version == 2
    assert len(deployment.ledger.versions.history("p", "d")) == 2
