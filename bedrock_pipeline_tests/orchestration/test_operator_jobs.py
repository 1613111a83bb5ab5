"""Jobs with a form: they do what the commands do, and their errors are what the run shows."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_pipeline import Pipeline, QueuePipeline, build_definitions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.asset_checks import operator_checks
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(120)))
    return Pipeline(name="p", model_id=CLAUDE, source=str(path), record_id="id", prompt="{{ text }}")


def run(pipeline: Pipeline, instance: dg.DagsterInstance, kind: str, **config: Any) -> bool:
    job = build_definitions([pipeline]).resolve_job_def(f"p_{kind}")
    return job.execute_in_process(instance=instance, run_config=config).success


def test_each_field_of_a_form_is_described() -> None:
    defs = build_definitions(
        [
            Pipeline(name="p", model_id=CLAUDE, source="x.jsonl", prompt="{{ text }}"),
            QueuePipeline(name="q", model_id=CLAUDE),
        ]
    )
    defs.get_repository_def().load_all_definitions()
    names = {job.name for job in defs.resolve_all_job_defs()}
    forms = {"launch", "retry_failed", "cancel", "approve", "resolve"}
    assert {f"p_{kind}" for kind in forms} | {f"q_{kind}" for kind in forms - {"launch"}} <= names
    assert "q_launch" not in names
    for kind in forms:
        job = defs.resolve_job_def(f"p_{kind}")
        assert job.description
        assert job.config_mapping, "the launchpad shows the form alone: no resource, executor or logger"
        form: Any = job.config_mapping.config_schema.config_type
        assert {"dataset", "chunk"} & form.fields.keys()
        for field in form.fields.values():
            assert field.description


def test_a_dataset_is_launched_with_settings_of_its_own_and_again_as_a_new_version(
    deployment: Deployment, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    assert run(pipeline, instance, "launch", dataset="d", prompt="Say {{ text }}", max_cost_usd=0.5)
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.request == {"prompt": "Say {{ text }}", "max_cost_usd": 0.5}
    assert [one.dataset for one in deployment.ledger.datasets.to_launch(["p"], 9)] == ["d"]
    take_snapshot(deployment, pipeline, "d")
    assert run(pipeline, instance, "launch", dataset="d", new_version=True)
    again = deployment.ledger.datasets.get("p", "d")
    assert again is not None
    assert again.version == 2


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("launch", {"dataset": "a b"}, "not a dataset key"),
        ("launch", {"dataset": "d", "settings": {"name": "x"}}, "cannot set name"),
        ("cancel", {"dataset": "d"}, "There is no dataset 'd' of 'p'"),
        ("approve", {"dataset": "d", "up_to_usd": 1.0, "approved_by": "ana"}, "There is no dataset"),
        ("resolve", {"chunk": "d--00000"}, "Not exactly one decision"),
    ],
)
def test_an_error_is_what_the_run_shows(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    kind: str,
    config: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(dg.Failure, match=message):
        run(pipeline, instance, kind, **config)


def test_a_cap_is_approved_and_a_dataset_cancelled(
    deployment: Deployment, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    assert run(pipeline, instance, "launch", dataset="d", max_cost_usd=0.000001)
    take_snapshot(deployment, pipeline, "d")
    pack_dataset(deployment, pipeline, "d")
    assert [one.dataset for one in deployment.ledger.spending.exhausted(["p"])] == ["d"]
    names = {"p": Names.of(pipeline)}
    [waits], known = operator_checks(instance, deployment, names, {})
    assert not waits.passed
    assert "p d may cost" in str(waits.description)
    assert not operator_checks(instance, deployment, names, known)[0], "nothing changed"
    instance.report_runless_asset_event(dg.AssetMaterialization(names["p"].asset("submitted_jobs")))
    [still], known = operator_checks(instance, deployment, names, known)
    assert not still.passed, "Dagster would not show what is older than a materialization"
    assert run(pipeline, instance, "approve", dataset="d", up_to_usd=5.0, approved_by="ana")
    [passed], _ = operator_checks(instance, deployment, names, known)
    assert passed.passed
    budget = deployment.ledger.spending.budget("p", "d")
    assert budget is not None
    assert budget.cap_usd == Decimal(5)
    assert run(pipeline, instance, "retry_failed", dataset="d")
    assert run(pipeline, instance, "cancel", dataset="d")
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.cancel_requested_at is not None
