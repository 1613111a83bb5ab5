"""Definitions of this package beside those of others: nothing of ours applies to them, and several sets stand side by side."""

from pathlib import Path

import dagster as dg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.options import STEPS
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.waiting import until

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
def their_poll_jobs() -> dg.SkipReason:
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


class _Particular(dg.IOManager):
    """An IO manager of another project, which stores its own frames and nothing else."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise AssertionError(f"{context.asset_key} stores {obj!r}")

    def load_input(self, context: dg.InputContext) -> object:
        raise AssertionError(f"{context.asset_key} is loaded")


def test_the_default_io_manager_of_a_project_gets_nothing_of_ours(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "t{number}"}}\n' for number in range(120)))
    one = Pipeline(name="a", model_id=CLAUDE, source=str(path), prompt="{{ text }}")
    theirs = dg.Definitions(
        resources={"io_manager": dg.IOManagerDefinition.hardcoded_io_manager(_Particular())}
    )
    merged = dg.Definitions.merge(theirs, build_definitions([one]))
    with dg.DagsterInstance.ephemeral() as instance:
        Names("a").register(instance, datasets=["d"], chunks=["d--00000"])

        def done(kind: str, key: str) -> bool:
            job = merged.resolve_job_def(f"a_{kind}")
            return job.execute_in_process(instance=instance, partition_key=key).success

        assert done("prepare", "d")
        assert done("submit", "d--00000")
        until(lambda: not poll_jobs(deployment).in_flight, "the job has ended")
        assert done("collect", "d--00000")
        assert done("publish", "d")
        there = {step: instance.get_materialized_partitions(Names("a").asset(step)) for step in STEPS}
    assert all(there.values()), there


def test_several_sets_of_pipelines_in_one_code_location() -> None:
    queue = QueuePipeline(name="q", model_id=CLAUDE)
    merged = dg.Definitions.merge(
        dg.Definitions(assets=[upstream], sensors=[their_poll_jobs], resources={"deployment": _Theirs()}),
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
