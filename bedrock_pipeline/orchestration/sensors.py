"""The two sensors of a code location: one polls Bedrock and requests runs for all that is due, one reconciles.

All state is in the ledger; a lost cursor means at most one poll, sweep or reading of events more. What a tick calls is
imported by the first tick: each run imports the definitions, and needs none of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.carry_out import removed_pipelines
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import OF_CHUNKS, WITHOUT_CODE, WorkItem, due_work
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.asset_checks import operator_checks
from bedrock_pipeline.orchestration.asset_events import finished_elsewhere, outside_materializations
from bedrock_pipeline.orchestration.died_preparations import died_preparations
from bedrock_pipeline.orchestration.freshness import on_time_evaluations
from bedrock_pipeline.orchestration.known_datasets import known_datasets
from bedrock_pipeline.orchestration.names import Names, names_of
from bedrock_pipeline.orchestration.requests import next_worker, workers
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.runs import QUEUED, release_ended_runs, renew_queued_runs, run_key
from bedrock_pipeline.orchestration.steps import register
from bedrock_pipeline.orchestration.work_jobs import FINISH_JOB, REMOVED, WORK_JOB, WORKER_TAG, work_lease
from bedrock_pipeline.outages import OUTAGES, cause_of
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline.work import workable

#: The most runs of assets that a tick requests; each costs the daemon about a quarter of a second.
_MOST_RUNS: Final = 50
#: The most datasets over their cost limit that a skip reason names.
_MOST_NAMED: Final = 3
#: The fewest seconds between two ticks. The daemon looks every 5 seconds, and counts from the start of a tick, a moment after
#: its look: with 5 here, it would skip a look now and then.
TICK_S: Final = 1
_RECONCILE_S: Final = 60
_Cursor = dict[str, Any]
_Tick = Callable[[dg.SensorEvaluationContext, Deployment, _Cursor], dg.SensorResult]


def build_sensors(
    pipelines: Sequence[BasePipeline], jobs: Sequence[dg.JobDefinition], prefix: str = ""
) -> list[dg.SensorDefinition]:
    """The sensors for these pipelines.

    Args:
        pipelines: their work is requested.
        jobs: of the pipelines, the one that does what is due, and the one that finishes removed pipelines.
        prefix: of the sensors' names.
    """
    return [
        _sensor(
            f"{prefix}poll_jobs",
            partial(_poll_and_request, pipelines, f"{prefix}{WORK_JOB}"),
            jobs,
            "Polls Bedrock for all jobs in flight, every poll_interval_s seconds, and requests runs for all that is due: "
            "one of the job `work` for many chunks, one for each dataset that is prepared, and one for each chunk that "
            "needs an operator.",
            TICK_S,
        ),
        _sensor(
            f"{prefix}reconcile_jobs",
            partial(_reconcile, pipelines, f"{prefix}{FINISH_JOB}"),
            jobs,
            "Looks up submissions in doubt; every sweep_s seconds it compares all jobs of the account with the ledger; and "
            "evaluates the checks of chunks that wait for an operator and of partitions that are late.",
            _RECONCILE_S,
        ),
    ]


def _sensor(
    name: str, tick: _Tick, jobs: Sequence[dg.JobDefinition], description: str, seconds: int
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        jobs=list(jobs),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def evaluate(
        context: dg.SensorEvaluationContext, bedrock_deployment: DeploymentResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            with bedrock_deployment.open() as opened:
                if OUTAGES.were_over(name):
                    release_ended_runs(opened, context.instance)
                return tick(context, opened, json.loads(context.cursor or "{}"))
        except NotConfiguredError as error:
            return dg.SkipReason(str(error))
        except ServiceUnavailableError as error:
            if cause_of(error) is None:
                raise
            return dg.SkipReason(_away(name, context, error))

    return evaluate


def _away(name: str, context: dg.SensorEvaluationContext, error: ServiceUnavailableError) -> str:
    """A service is away: the reason, which is logged once a minute."""
    OUTAGES.concern(name)
    if OUTAGES.is_to_be_logged(error):
        context.log.warning("%s", error)
    return str(error)


def _poll_and_request(
    pipelines: Sequence[BasePipeline],
    work_job: str,
    context: dg.SensorEvaluationContext,
    opened: Deployment,
    cursor: _Cursor,
) -> dg.SensorResult:
    """Poll if the interval of the deployment's settings is over, then request runs for all that is due."""
    names = names_of(pipelines)
    queues = {one.name: names[one.name] for one in pipelines if isinstance(one, QueuePipeline)}
    opened.ledger.served_pipelines.seen(list(names))
    polled, cursor["polled"], events = _poll(names, context, opened, cursor.get("polled", 0.0))
    missing, cursor["known"] = known_datasets(
        context.instance,
        opened,
        {name: one for name, one in names.items() if name not in queues},
        cursor.get("known", {}),
    )
    events += missing
    finished, cursor["finished"] = finished_elsewhere(
        context.instance, opened, names, cursor.get("finished", {})
    )
    events += finished
    if queues:
        from bedrock_pipeline.queue.job_results import record_final_jobs

        lost: list[Exception] = []
        record_final_jobs(opened, list(queues), lost.append)
        now = opened.system.now().timestamp()
        if lost and now - cursor.get("warned", 0.0) >= _RECONCILE_S:
            context.log.warning("%s", "; ".join(map(str, lost)))
            cursor["warned"] = now
        outside, cursor["events"] = outside_materializations(
            context.instance, opened, queues, cursor.get("events")
        )
        events += outside
    requests = [
        *_of_assets(pipelines, context, opened),
        *_of_died_preparations(pipelines, context, opened),
        *_of_failures(pipelines, context, opened),
        *_of_work(pipelines, work_job, context, opened),
    ]
    reason = None if requests or events else " ".join([polled, *_why_nothing(opened, pipelines)])
    return dg.SensorResult(
        run_requests=requests, asset_events=events, skip_reason=reason, cursor=json.dumps(cursor)
    )


def _poll(
    names: Mapping[str, Names], context: dg.SensorEvaluationContext, opened: Deployment, last: float
) -> tuple[str, float, list[Any]]:
    """What the poll saw, when it was, and an observation for each pipeline with changes.

    If Bedrock is away, everything else goes on.
    """
    from bedrock_pipeline.submit.poll_jobs import poll_jobs

    now = opened.system.now().timestamp()
    since, interval = now - last, opened.settings.poll_interval_s
    if 0 <= since < interval:
        return f"Polled {since:.0f} s ago, every {interval} s.", last, []
    try:
        report = poll_jobs(opened)
    except ServiceUnavailableError as error:
        if cause_of(error) is None:
            raise
        return _away("poll_jobs", context, error), now, []
    if report.errors:
        context.log.warning("; ".join(str(error) for error in report.errors))
    if not report.changed:
        flying = f"{report.in_flight} jobs in flight, nothing changed." if report.in_flight else ""
        return flying or "No job is in flight.", now, []
    counts = opened.ledger.jobs.counts(list(names))
    changed = sorted({chunk.pipeline for chunk in report.changed}.intersection(names))
    return (
        "",
        now,
        [
            dg.AssetObservation(
                names[pipeline].asset("submitted_jobs"),
                metadata=metadata.of_changes(
                    [chunk for chunk in report.changed if chunk.pipeline == pipeline],
                    [row for row in counts if row["pipeline"] == pipeline],
                ),
            )
            for pipeline in changed
        ],
    )


def _of_assets(
    pipelines: Sequence[BasePipeline], context: dg.SensorEvaluationContext, opened: Deployment
) -> Iterator[dg.RunRequest]:
    """A run for each dataset that is prepared, and each queue that is flushed."""
    looked_at = opened.ledger.run_leases.now()
    due = due_work(opened.ledger, pipelines, limit=_MOST_RUNS, kinds=("prepare", "flush"))
    return _own_runs(names_of(pipelines), due, looked_at, context, opened)


def _of_died_preparations(
    pipelines: Sequence[BasePipeline], context: dg.SensorEvaluationContext, opened: Deployment
) -> Iterator[dg.RunRequest]:
    """A run for each preparation that was begun by hand and died, of what its run was to materialize."""
    names, looked_at = names_of(pipelines), opened.ledger.run_leases.now()
    died = died_preparations(context.instance, opened, names, _MOST_RUNS)
    return _own_runs(names, list(died), looked_at, context, opened, died)


def _of_failures(
    pipelines: Sequence[BasePipeline], context: dg.SensorEvaluationContext, opened: Deployment
) -> Iterator[dg.RunRequest]:
    """A run of its own for each item that failed in a run of many, or whose run died."""
    names = [pipeline.name for pipeline in pipelines]
    looked_at = opened.ledger.run_leases.now()
    unfinished = opened.ledger.run_leases.unfinished(names, WITHOUT_CODE, _MOST_RUNS)
    items = [WorkItem(*lease) for lease in unfinished]
    return _own_runs(names_of(pipelines), items, looked_at, context, opened)


def _own_runs(
    names: Mapping[str, Names],
    items: Sequence[WorkItem],
    looked_at: datetime,
    context: dg.SensorEvaluationContext,
    opened: Deployment,
    selections: Mapping[WorkItem, Sequence[dg.AssetKey]] | None = None,
) -> Iterator[dg.RunRequest]:
    """A run for each item, of its whole job or of a selection of its assets."""
    items = [item for item in items if _has_partition(names[item.pipeline], item, context, opened)]
    register(context.instance, names, items)  # one unregistered key would make the whole tick fail
    for kind in sorted({item.kind for item in items}):
        subjects = [(item.pipeline, item.key) for item in items if item.kind == kind]
        renew_queued_runs(opened, context.instance, kind, subjects)
        leases = opened.ledger.run_leases.acquire(kind, subjects, QUEUED, looked_at=looked_at)
        for (pipeline, key), lease_id in leases.items():
            item = WorkItem(kind, pipeline, key)
            yield dg.RunRequest(
                run_key=run_key(kind, pipeline, key, lease_id),
                job_name=names[pipeline].job(kind),
                partition_key=names[pipeline].partition_of(item),
                asset_selection=selections[item] if selections else None,
            )


def _has_partition(
    names: Names, item: WorkItem, context: dg.SensorEvaluationContext, opened: Deployment
) -> bool:
    """Whether a run can be requested for an item; without a partition, a request would make the whole tick fail.

    A launch for which none can be requested has failed, so that whoever waits for it learns why.
    """
    if item.kind in OF_CHUNKS or names.has_partition(item.key):
        return True
    why = f"dataset {item.key} is not a partition of the pipeline's partitions_def now, so no run can be requested"
    if item.kind == "prepare":
        row = opened.ledger.datasets.ensure(item.pipeline, item.key)
        opened.ledger.datasets.fail_preparation(row, row.launch_id, f"{why}; launch one that is")
    context.log.warning("Pipeline %s: %s.", item.pipeline, why)
    return False


def _of_work(
    pipelines: Sequence[BasePipeline],
    work_job: str,
    context: dg.SensorEvaluationContext,
    opened: Deployment,
) -> Iterator[dg.RunRequest]:
    """One run for everything else."""
    pipeline, leases = work_lease(pipelines), opened.ledger.run_leases
    looked_at = leases.now()
    items = workable(opened, pipelines, _MOST_RUNS)
    if not items:
        return
    most = opened.settings.work_runs
    renew_queued_runs(opened, context.instance, "work", [(pipeline, worker) for worker in workers(most)])
    worker = next_worker(leases.ages_of_workers(pipeline), most)
    if worker is None:
        return
    register(context.instance, names_of(pipelines), items)
    for (_, subject), lease_id in leases.acquire(
        "work", [(pipeline, worker)], QUEUED, looked_at=looked_at
    ).items():
        yield dg.RunRequest(
            run_key=run_key("work", pipeline, subject, lease_id),
            job_name=work_job,
            tags={WORKER_TAG: subject},
        )


def _why_nothing(opened: Deployment, pipelines: Sequence[BasePipeline]) -> list[str]:
    budgets = opened.ledger.spending.exhausted([pipeline.name for pipeline in pipelines], _MOST_NAMED)
    return [
        "Nothing is due that no run does, or is requested for.",
        *(budget.reason for budget in budgets),
    ]


def _reconcile(
    pipelines: Sequence[BasePipeline],
    finish_job: str,
    context: dg.SensorEvaluationContext,
    opened: Deployment,
    cursor: _Cursor,
) -> dg.SensorResult:
    """Submissions in doubt at each tick, the sweep of the account now and then."""
    from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account

    # Who stops `poll_jobs` alone wants nothing to be submitted: nobody may take these pipelines for removed.
    opened.ledger.served_pipelines.seen([pipeline.name for pipeline in pipelines])
    reports = [str(reconcile_in_doubt(opened))]
    now = opened.system.now().timestamp()
    if now - cursor.get("swept", 0.0) >= opened.settings.sweep_s:
        reports.append(str(sweep_account(opened)))
        cursor["swept"] = now
    checks, cursor["checks"] = operator_checks(
        context.instance, opened, names_of(pipelines), cursor.get("checks", {})
    )
    late, cursor["on_time"] = on_time_evaluations(opened, pipelines, cursor.get("on_time", {}))
    checks += late
    removed = [(pipeline.name, len(items)) for pipeline, items in removed_pipelines(opened) if items]
    leases = opened.ledger.run_leases.acquire("finish", [REMOVED], QUEUED) if removed else {}
    requests = [
        dg.RunRequest(run_key("finish", *subject, lease_id), job_name=finish_job)
        for subject, lease_id in leases.items()
    ]
    reports += [f"{name}, which no code location has, has {count} steps due" for name, count in removed]
    reason = "; ".join(report for report in reports if report) or "Ledger and Bedrock agree."
    return dg.SensorResult(
        run_requests=requests,
        asset_events=checks,
        skip_reason=None if requests or checks else reason,
        cursor=json.dumps(cursor),
    )
