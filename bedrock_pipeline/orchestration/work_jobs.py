"""The jobs that do many items of work in one run: of the code's pipelines, and of those that were removed.

Ops rather than assets: a run of an asset has one partition. Each item is reported when it is done, as a run of its asset
would report it.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import dagster as dg

from bedrock_pipeline.carry_out import Report, removed_pipelines
from bedrock_pipeline.due_work import WorkItem
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.orchestration.asset_events import FINISHED
from bedrock_pipeline.orchestration.jobs import tags_of
from bedrock_pipeline.orchestration.names import names_of
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.runs import working
from bedrock_pipeline.orchestration.steps import carried_out, register, shown
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.work import Failure, WorkLimits, do_due_work

#: Pipeline and subject of the lease under which removed pipelines are finished.
REMOVED: Final = ("*", FINISHED)
#: The job that finishes them.
FINISH_JOB: Final = "finish_removed_pipelines"
#: The job that does what is due.
WORK_JOB: Final = "work"
#: The tag with the subject of the lease of a run that does many items.
WORKER_TAG: Final = "bedrock_pipeline/worker"


def work_lease(pipelines: Sequence[BasePipeline]) -> str:
    """The pipeline under which the runs of these pipelines' code location have their leases."""
    return min(pipeline.name for pipeline in pipelines)


def work_job(pipelines: Sequence[BasePipeline], prefix: str = "") -> dg.JobDefinition:
    """Collects what ended, submits into freed slots, starts retry rounds, publishes what is complete."""
    of_name, names = {pipeline.name: pipeline for pipeline in pipelines}, names_of(pipelines)

    @dg.op(
        name=f"{prefix}do_due_work",
        out=dg.Out(dg.Nothing),
        description="Submits, publishes, collects and retries what is due, and what becomes due meanwhile; never fails for one chunk's sake.",
    )
    def do(context: dg.OpExecutionContext, bedrock_deployment: DeploymentResource) -> None:
        worker = context.run.tags.get(WORKER_TAG, "1")
        with working(bedrock_deployment, "work", work_lease(pipelines), worker) as opened:

            def report(item: WorkItem, done: Report) -> None:
                register(context.instance, names, [item])
                visible = shown(opened, of_name[item.pipeline], item, done)
                visible.log(context, names[item.pipeline], item)
                for event in visible.events(names[item.pipeline], item):
                    context.log_event(event)  # type: ignore[arg-type]  # a check's evaluation is accepted too

            limits = WorkLimits(opened.settings.work_items, opened.settings.work_s)
            executed = partial(carried_out, context)
            for one in do_due_work(opened, pipelines, limits, report, carried_out=executed):
                _log(context, one)

    @dg.job(
        name=f"{prefix}{WORK_JOB}",
        tags=tags_of("work"),
        executor_def=dg.in_process_executor,
        description=do.description,
    )
    def work() -> None:
        do()

    return work


def finish_job(prefix: str = "") -> dg.JobDefinition:
    """Finishes what removed pipelines have left; the code of their assets is gone."""

    @dg.op(
        name=f"{prefix}finish_what_is_left",  # not the job's name: Dagster's code server rejects that
        out=dg.Out(dg.Nothing),
        description="Submits, collects and publishes what pipelines have left that no code location has any more.",
    )
    def finish(context: dg.OpExecutionContext, bedrock_deployment: DeploymentResource) -> None:
        with working(bedrock_deployment, "finish", *REMOVED) as opened:
            removed = [pipeline for pipeline, _ in removed_pipelines(opened)]
            limits = WorkLimits(opened.settings.work_items, opened.settings.work_s)

            def report(item: WorkItem, _: Report) -> None:
                """Their assets are gone: `poll_jobs` reports what was done, should they be served again."""
                opened.ledger.run_leases.renew("finish", item.pipeline, FINISHED, timedelta(0))

            for one in do_due_work(opened, removed, limits, report, own_runs=False):
                _log(context, one)

    @dg.job(
        name=f"{prefix}{FINISH_JOB}",
        tags=tags_of("finish"),
        executor_def=dg.in_process_executor,
        description=finish.description,
    )
    def finish_removed_pipelines() -> None:
        finish()

    return finish_removed_pipelines


def _log(context: dg.OpExecutionContext, one: WorkItem | Failure) -> None:
    if isinstance(one, WorkItem):
        context.log.info("%s %s of %s is done.", one.kind, one.key, one.pipeline)
        return
    item, error = one.item, one.error
    context.log.warning(
        "%s %s of %s: %s",
        item.kind,
        item.key,
        item.pipeline,
        error,
        exc_info=None if isinstance(error, BedrockPipelineError) else error,
    )
