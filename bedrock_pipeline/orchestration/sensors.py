"""The sensors of a code location: they read the ledger and ask for runs.

What belongs here: one sensor for each kind of thing that becomes due, whatever the number of pipelines.
Everything they know stands in the ledger, so a lost cursor or a restart loses nothing.
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.mirror import mirrored
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.partitions import register
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.run_leases import WAITING, run_key
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue.flush_queue import due_to_flush
from bedrock_pipeline.queue.job_results import settle_jobs
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account

#: Run requests in one tick at the most; each costs the daemon about a quarter of a second.
_MOST = 50
#: What is done for a dataset rather than for a chunk.
_OF_DATASETS = ("prepare", "flush", "retry", "publish")
#: Datasets of which a skipped tick tells that they wait for an approval.
_MOST_TOLD = 3
#: Between two looks into the ledger.
_SECONDS = 3
_Tick = Callable[[dg.SensorEvaluationContext, Deployment], dg.SensorResult | dg.SkipReason]


def build_sensors(
    pipelines: Sequence[Pipeline], jobs: Sequence[dg.JobDefinition], poll_seconds: int
) -> list[dg.SensorDefinition]:
    """The sensors for these pipelines."""
    names = [pipeline.name for pipeline in pipelines]
    launched = [pipeline.name for pipeline in pipelines if not pipeline.queue]
    queues = [pipeline for pipeline in pipelines if pipeline.queue]

    def launch(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        rows = opened.ledger.datasets.to_launch(launched, _MOST)
        return _ask(
            context,
            opened,
            "prepare",
            [(row.pipeline, row.dataset) for row in rows],
            "No dataset was asked for.",
        )

    def submit(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        due = opened.ledger.submissions.due(names, _MOST)
        over = [] if due else opened.ledger.spending.exhausted(names, _MOST_TOLD)
        return _ask(
            context,
            opened,
            "submit",
            [(c.pipeline, c.chunk_key) for c in due],
            " ".join(["No chunk is due, or no slot is free.", *(budget.reason for budget in over)]),
        )

    def collect(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        ended = opened.ledger.chunks.to_collect(names, _MOST)
        return _ask(
            context, opened, "collect", [(c.pipeline, c.chunk_key) for c in ended], "No job has ended."
        )

    def roll(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        rows = opened.ledger.retry_rounds.due(names, _MOST)
        return _ask(
            context,
            opened,
            "retry",
            [(row.pipeline, row.dataset) for row in rows],
            "No dataset has retryable to ask again.",
        )

    def publish(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        rows = opened.ledger.publications.due(names, _MOST)
        return _ask(
            context,
            opened,
            "publish",
            [(row.pipeline, row.dataset) for row in rows],
            "No dataset is complete.",
        )

    def poll(_: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        return _poll(opened, names)

    def settle(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        return _settle(context, opened, names)

    def flush(context: dg.SensorEvaluationContext, opened: Deployment) -> dg.SensorResult | dg.SkipReason:
        return _flush(context, opened, queues)

    sensors = [
        _sensor("prepare_datasets", launch, jobs, _SECONDS, "Starts datasets that were asked for."),
        _sensor(
            "submit_chunks",
            submit,
            jobs,
            _SECONDS,
            "Submits as many chunks as are due and have a free slot.",
        ),
        _sensor("poll_jobs", poll, jobs, poll_seconds, "Looks at Bedrock once for all jobs in flight."),
        _sensor("collect_jobs", collect, jobs, _SECONDS, "Reads the results of jobs that have ended."),
        _sensor("retry_datasets", roll, jobs, _SECONDS, "Asks again what a round left unanswered."),
        _sensor(
            "publish_datasets", publish, jobs, _SECONDS, "Publishes datasets with nothing left to wait for."
        ),
        _sensor(
            "reconcile_jobs",
            settle,
            jobs,
            60,
            "Finds out what became of submissions whose answer was lost.",
        ),
    ]
    if queues:
        told = "Flushes queues by count, bytes or age of their tasks."
        sensors.append(_sensor("flush_queues", flush, jobs, _SECONDS, told))
    return sensors


def _sensor(
    name: str, tick: _Tick, jobs: Sequence[dg.JobDefinition], seconds: int, description: str
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        jobs=list(jobs),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def evaluate(
        context: dg.SensorEvaluationContext, deployment: DeploymentResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            with deployment.open() as opened:
                return tick(context, opened)
        except NotConfiguredError as error:
            return dg.SkipReason(str(error))

    return evaluate


def _ask(
    context: dg.SensorEvaluationContext,
    opened: Deployment,
    kind: Kind,
    subjects: Sequence[tuple[str, str]],
    nothing: str,
) -> dg.SensorResult | dg.SkipReason:
    """Runs for the subjects that no live run lease covers, their partitions registered first."""
    if not subjects:
        return dg.SkipReason(nothing)
    _register(context.instance, kind, subjects)
    run_leases = opened.ledger.run_leases.acquire(kind, subjects, WAITING)
    if not run_leases:
        return dg.SkipReason(f"{len(subjects)} runs are on their way already.")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=run_key(kind, pipeline, key, number),
                job_name=Names(pipeline).job(kind),
                partition_key=key,
            )
            for (pipeline, key), number in run_leases.items()
        ]
    )


def _register(instance: dg.DagsterInstance, kind: Kind, subjects: Iterable[tuple[str, str]]) -> None:
    """One unregistered key would make the whole tick fail."""
    by_pipeline: dict[str, list[str]] = {}
    for pipeline, key in subjects:
        by_pipeline.setdefault(pipeline, []).append(key)
    for pipeline, keys in by_pipeline.items():
        if kind in _OF_DATASETS:
            register(instance, Names(pipeline), datasets=keys)
        else:
            register(instance, Names(pipeline), chunks=keys)


def _flush(
    context: dg.SensorEvaluationContext, opened: Deployment, queues: Sequence[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Runs for the queues that are due; what is final, and what others did, is written down beside."""
    names = [queue.name for queue in queues]
    settle_jobs(opened, names)
    told, cursor = mirrored(context.instance, opened, names, context.cursor)
    day = opened.ledger.queues.today()
    due = [(queue.name, day) for queue in queues if due_to_flush(opened, queue)[1]]
    asked = _ask(context, opened, "flush", due, "No queue is due to be flushed.")
    if isinstance(asked, dg.SkipReason):
        reason = None if told else asked.skip_message
        return dg.SensorResult(skip_reason=reason, asset_events=told, cursor=cursor)
    return dg.SensorResult(run_requests=asked.run_requests, asset_events=told, cursor=cursor)


def _poll(opened: Deployment, names: list[str]) -> dg.SensorResult | dg.SkipReason:
    report = poll_jobs(opened, names)
    if not report.in_flight:
        return dg.SkipReason("No job is in flight.")
    if not report.changed:
        return dg.SkipReason(f"{report.in_flight} jobs in flight, nothing changed.")
    counts = opened.ledger.jobs.counts(names)
    changed = sorted({chunk.pipeline for chunk in report.changed})
    return dg.SensorResult(
        asset_events=[
            dg.AssetObservation(
                Names(pipeline).asset("submitted_jobs"),
                metadata=metadata.of_changes(
                    [chunk for chunk in report.changed if chunk.pipeline == pipeline],
                    [row for row in counts if row["pipeline"] == pipeline],
                ),
            )
            for pipeline in changed
        ]
    )


def _settle(context: dg.SensorEvaluationContext, opened: Deployment, names: list[str]) -> dg.SensorResult:
    """Unclear submissions each time; all jobs of the account now and then. The cursor is the last sweep's time."""
    said = [str(reconcile_in_doubt(opened, names))]
    now = opened.system.now().timestamp()
    swept = float(context.cursor or 0)
    if now - swept >= opened.settings.sweep_s:
        said.append(str(sweep_account(opened, names)))
        swept = now
    reason = "; ".join(one for one in said if one) or "Ledger and Bedrock agree."
    return dg.SensorResult(skip_reason=reason, cursor=str(swept))
