"""The sensors of a code location: they read the ledger and request runs.

One sensor for each kind of work, whatever the number of pipelines. All state is in the ledger; a lost cursor means at
most one poll, sweep or reading of events more.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final

import dagster as dg

from bedrock_pipeline.carry_out import removed_pipelines
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import OF_CHUNKS, due_work
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.asset_events import outside_materializations
from bedrock_pipeline.orchestration.jobs import FINISH_JOB, REMOVED
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.runs import QUEUED, release_ended_runs, run_key
from bedrock_pipeline.outages import OUTAGES, cause_of
from bedrock_pipeline.pipeline import BasePipeline, QueuePipeline
from bedrock_pipeline.queue.job_results import record_final_jobs
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account

#: The most runs that a tick requests; each costs the daemon about a quarter of a second.
_MOST_RUNS: Final = 50
#: The most datasets over their cost limit that a skip reason names.
_MOST_NAMED: Final = 3
#: Seconds between two ticks.
_TICK_S, _RECONCILE_S = 3, 60
_Tick = Callable[[dg.SensorEvaluationContext, Deployment], dg.SensorResult | dg.SkipReason]
#: Sensors that only request runs: name, description, and the skip reason if nothing is due.
_RUN_SENSORS: Final[dict[Kind, tuple[str, str, str]]] = {
    "prepare": ("prepare_datasets", "Requests a run for each launched dataset.", "No dataset is launched."),
    "submit": (
        "submit_chunks",
        "Requests a run for each chunk that is due and has a free slot.",
        "No chunk is due, or no slot is free.",
    ),
    "collect": ("collect_jobs", "Requests a run for each job that has ended.", "No job has ended."),
    "retry": (
        "retry_datasets",
        "Requests a retry round for each dataset whose jobs are collected and that has retryable records.",
        "No dataset has retryable records to send.",
    ),
    "publish": (
        "publish_datasets",
        "Requests the publication of each dataset that waits for nothing more.",
        "No dataset is complete.",
    ),
}


def build_sensors(
    pipelines: Sequence[BasePipeline], jobs: Sequence[dg.JobDefinition], prefix: str = ""
) -> list[dg.SensorDefinition]:
    """The sensors for these pipelines; that which flushes only if one of them is a queue.

    Args:
        pipelines: their work is requested.
        jobs: of the pipelines, and the one that finishes removed ones.
        prefix: of the sensors' names.
    """
    names = [pipeline.name for pipeline in pipelines]
    queues = [pipeline for pipeline in pipelines if isinstance(pipeline, QueuePipeline)]
    sensors = [
        _sensor(f"{prefix}{name}", partial(_request_runs, kind, pipelines, nothing), jobs, description)
        for kind, (name, description, nothing) in _RUN_SENSORS.items()
    ]
    sensors += [
        _sensor(
            f"{prefix}poll_jobs",
            partial(_poll, names),
            jobs,
            "Polls Bedrock for all jobs in flight, every poll_interval_s seconds.",
        ),
        _sensor(
            f"{prefix}reconcile_jobs",
            partial(_reconcile, f"{prefix}{FINISH_JOB}"),
            jobs,
            "Looks up submissions in doubt; every sweep_s seconds it compares all jobs of the account with the ledger.",
            _RECONCILE_S,
        ),
    ]
    if queues:
        sensors.append(
            _sensor(
                f"{prefix}flush_queues",
                partial(_flush, queues),
                jobs,
                "Requests a flush for each queue that is due by count, bytes or age of its tasks; records final jobs.",
            )
        )
    return sensors


def _sensor(
    name: str, tick: _Tick, jobs: Sequence[dg.JobDefinition], description: str, seconds: int = _TICK_S
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
                return tick(context, opened)
        except NotConfiguredError as error:
            return dg.SkipReason(str(error))
        except ServiceUnavailableError as error:
            if cause_of(error) is None:
                raise
            OUTAGES.concern(name)
            if OUTAGES.is_to_be_logged(error):
                context.log.warning("%s", error)
            return dg.SkipReason(str(error))

    return evaluate


def _request_runs(
    kind: Kind,
    pipelines: Sequence[BasePipeline],
    nothing: str,
    context: dg.SensorEvaluationContext,
    opened: Deployment,
) -> dg.SensorResult | dg.SkipReason:
    """Runs for the work that is due and has no valid run lease, after registering its partitions."""
    subjects = [
        (item.pipeline, item.key)
        for item in due_work(opened.ledger, pipelines, limit=_MOST_RUNS, kinds=(kind,))
    ]
    if not subjects:
        return dg.SkipReason(
            " ".join([nothing, *(_over_budget(opened, pipelines) if kind == "submit" else ())])
        )
    for pipeline, group in groupby(sorted(subjects), key=lambda subject: subject[0]):
        # One unregistered key would make the whole tick fail.
        partitions = "chunks" if kind in OF_CHUNKS else "datasets"
        Names(pipeline).register(context.instance, **{partitions: [key for _, key in group]})
    leases = opened.ledger.run_leases.acquire(kind, subjects, QUEUED)
    if not leases:
        return dg.SkipReason(f"{len(subjects)} runs are requested or working already.")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=run_key(kind, pipeline, key, lease_id),
                job_name=Names(pipeline).job(kind),
                partition_key=key,
            )
            for (pipeline, key), lease_id in leases.items()
        ]
    )


def _over_budget(opened: Deployment, pipelines: Sequence[BasePipeline]) -> list[str]:
    budgets = opened.ledger.spending.exhausted([pipeline.name for pipeline in pipelines], _MOST_NAMED)
    return [budget.reason for budget in budgets]


def _flush(
    queues: Sequence[QueuePipeline], context: dg.SensorEvaluationContext, opened: Deployment
) -> dg.SensorResult:
    names = [queue.name for queue in queues]
    record_final_jobs(opened, names)
    events, cursor = outside_materializations(context.instance, opened, names, context.cursor)
    requested = _request_runs("flush", queues, "No queue is due to be flushed.", context, opened)
    if isinstance(requested, dg.SkipReason):
        reason = None if events else requested.skip_message
        return dg.SensorResult(skip_reason=reason, asset_events=events, cursor=cursor)
    return dg.SensorResult(run_requests=requested.run_requests, asset_events=events, cursor=cursor)


def _poll(
    names: list[str], context: dg.SensorEvaluationContext, opened: Deployment
) -> dg.SensorResult | dg.SkipReason:
    """Poll if the interval of the deployment's settings is over. The cursor is the time of the last poll."""
    opened.ledger.served_pipelines.seen(names)
    now = opened.system.now().timestamp()
    since = now - float(context.cursor or 0)
    if 0 <= since < opened.settings.poll_interval_s:
        return dg.SkipReason(f"Polled {since:.0f} s ago, every {opened.settings.poll_interval_s} s.")
    report = poll_jobs(opened)
    if report.errors:
        context.log.warning("; ".join(str(error) for error in report.errors))
    if not report.changed:
        flying = f"{report.in_flight} jobs in flight, nothing changed." if report.in_flight else ""
        return dg.SensorResult(skip_reason=flying or "No job is in flight.", cursor=str(now))
    counts = opened.ledger.jobs.counts(names)
    return dg.SensorResult(
        cursor=str(now),
        asset_events=[
            dg.AssetObservation(
                Names(pipeline).asset("submitted_jobs"),
                metadata=metadata.of_changes(
                    [chunk for chunk in report.changed if chunk.pipeline == pipeline],
                    [row for row in counts if row["pipeline"] == pipeline],
                ),
            )
            for pipeline in sorted({chunk.pipeline for chunk in report.changed}.intersection(names))
        ],
    )


def _reconcile(finish_job: str, context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult:
    """Submissions in doubt at each tick, the sweep of the account now and then. The cursor is the last sweep's time."""
    reports = [str(reconcile_in_doubt(opened))]
    now, swept = opened.system.now().timestamp(), float(context.cursor or 0)
    if now - swept >= opened.settings.sweep_s:
        reports.append(str(sweep_account(opened)))
        swept = now
    removed = [(pipeline.name, len(items)) for pipeline, items in removed_pipelines(opened) if items]
    leases = opened.ledger.run_leases.acquire("finish", [REMOVED], QUEUED) if removed else {}
    if leases:
        request = dg.RunRequest(run_key("finish", *REMOVED, leases[REMOVED]), job_name=finish_job)
        return dg.SensorResult(run_requests=[request], cursor=str(swept))
    reports += [f"{name}, which no code location has, has {count} steps due" for name, count in removed]
    reason = "; ".join(report for report in reports if report) or "Ledger and Bedrock agree."
    return dg.SensorResult(skip_reason=reason, cursor=str(swept))
