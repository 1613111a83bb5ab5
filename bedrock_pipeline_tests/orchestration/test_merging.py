"""Definitions of this package beside those of others: nothing of ours applies to them, and several sets stand side by side."""

import dagster as dg
import pytest

from bedrock_pipeline.orchestration import build_definitions
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def pipeline(name: str) -> Pipeline:
    return Pipeline(name=name, model_id=CLAUDE, source="rows.jsonl", prompt="{{ text }}", daily=False)


class _Theirs(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource of another project, with a name that ours once had."""

    value: int = 1


@dg.asset
def upstream(deployment: _Theirs) -> int:
    return deployment.value


@dg.sensor(name="poll_jobs", target=dg.AssetSelection.assets("upstream"))
def poll_jobs() -> dg.SkipReason:
    return dg.SkipReason("theirs")


THEIRS = dg.Definitions(
    assets=[upstream],
    resources={"deployment": _Theirs(), "published_results": _Theirs(), "io_manager": dg.mem_io_manager},
    executor=dg.multiprocess_executor,
)


def test_a_project_keeps_its_executor_resources_and_io_manager() -> None:
    merged = dg.Definitions.merge(THEIRS, build_definitions([pipeline("a")]))
    dg.Definitions.validate_loadable(merged)
    assert merged.executor is dg.multiprocess_executor
    assert isinstance((merged.resources or {})["deployment"], _Theirs)
    assert merged.resolve_job_def("a_submit").executor_def is dg.in_process_executor
    assert merged.resolve_job_def("a_retry").executor_def is dg.in_process_executor
    assert merged.resolve_implicit_global_asset_job_def().executor_def is dg.multiprocess_executor
    done = merged.resolve_implicit_global_asset_job_def().execute_in_process(asset_selection=[upstream.key])
    assert done.output_for_node("upstream") == 1


def test_several_sets_of_pipelines_in_one_code_location() -> None:
    queue = QueuePipeline(name="q", model_id=CLAUDE)
    merged = dg.Definitions.merge(
        dg.Definitions(assets=[upstream], sensors=[poll_jobs], resources={"deployment": _Theirs()}),
        build_definitions([pipeline("a"), queue], prefix="first_"),
        build_definitions([pipeline("b")], prefix="second_"),
    )
    dg.Definitions.validate_loadable(merged)
    names = {sensor.name for sensor in merged.sensors or ()}
    assert {"poll_jobs", "first_poll_jobs", "second_poll_jobs", "first_reconcile_jobs"} <= names
    assert isinstance((merged.resources or {})["bedrock_deployment"], DeploymentResource)
    for job in (
        "first_work",
        "second_work",
        "first_finish_removed_pipelines",
        "second_finish_removed_pipelines",
        "a_publish",
        "b_publish",
    ):
        assert merged.resolve_job_def(job).executor_def is dg.in_process_executor


def test_a_set_without_a_name_of_its_own_says_what_clashes() -> None:
    merged = dg.Definitions.merge(build_definitions([pipeline("a")]), build_definitions([pipeline("b")]))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"poll_jobs|finish_removed_pipelines|work"):
        dg.Definitions.validate_loadable(merged)
