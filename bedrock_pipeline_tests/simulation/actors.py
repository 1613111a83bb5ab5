"""What simulated processes do: the daemon's sensors and runs, clicks, an operator, users.

What belongs here: the bodies of processes. Each loops over tasks until the simulation wants it to end.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Final, get_args

from bedrock_pipeline.carry_out import carry_out, removed_pipelines
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, WorkItem, due_work
from bedrock_pipeline.errors import JobFailedError, JobStuckError, StateError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.queue.flush_queue import flush_queue
from bedrock_pipeline.queue.job_results import record_final_jobs
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.submit.poll_jobs import jobs_to_stop, poll_jobs, stop_jobs
from bedrock_pipeline.submit.reconcile import adopt_job, reconcile_in_doubt, sweep_account
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.simulation import actors_queue
from bedrock_pipeline_tests.simulation.actors_prepare import (
    ABSENT,
    CAP_PER_ROW_USD,
    DATASET,
    PIPELINE,
    launch,
    pack_alone,
    pipeline,
    prepare,
    snapshot_alone,
)
from bedrock_pipeline_tests.simulation.actors_queue import QUEUE
from bedrock_pipeline_tests.simulation.world import Context, World

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_QUEUED, _ALIVE = timedelta(minutes=5), timedelta(seconds=60)


def perform(context: Context, kind: Kind, key: str, name: str = PIPELINE) -> None:
    """The work of one run."""
    deployment, world = context.deployment, context.world
    one: BasePipeline
    if name == QUEUE:
        one = actors_queue.config(world).pipeline()
    else:
        one = pipeline(world, context.code, name=name, judging=True)
    with context.doing(f"{kind} {key}") as end:
        if kind == "prepare":
            prepare(context, name, key)
        elif isinstance(one, QueuePipeline) and kind == "flush":
            list(flush_queue(deployment, one, wait=False))
        elif kind == "submit":
            end["outcome"] = type(submit_chunk(deployment, name, key)).__name__
        else:
            carry_out(deployment, one, WorkItem(kind, name, key))


def tick(context: Context, kinds: Sequence[str]) -> None:
    """One look of these sensors, and the runs that they request, one after the other.

    Where nothing happens beside it, runs have no lease.
    """
    for kind in kinds:
        if act := _LOOKS.get(kind):
            with context.doing(kind):
                act(context.deployment)
        else:
            for item in _due(context, kind):
                _run(context, item)


def _carry_out_removed(deployment: Deployment) -> None:
    """What the code has no more is finished all the same."""
    deployment.ledger.served_pipelines.seen([PIPELINE, QUEUE])
    for one, items in removed_pipelines(deployment):
        for item in items:
            with suppress(JobFailedError, JobStuckError):  # of one chunk; an operator decides
                carry_out(deployment, one, item)


def _record_final(deployment: Deployment) -> None:
    record_final_jobs(deployment, [QUEUE], _raised)


def _raised(error: Exception) -> None:
    raise error


_LOOKS: Final[dict[str, Callable[[Deployment], object]]] = {
    "poll": poll_jobs,
    "reconcile": reconcile_in_doubt,
    "sweep": sweep_account,
    "removed": _carry_out_removed,
    "final": _record_final,
}


def _pipelines(world: World) -> list[BasePipeline]:
    """What the code has."""
    return [pipeline(world), *([actors_queue.config(world).pipeline()] if world.scenario.has_queue else [])]


def _due(context: Context, kind: str) -> list[WorkItem]:
    """What is due and nobody works on."""
    ledger, found = context.deployment.ledger, list[WorkItem]()
    pipelines = _pipelines(context.world)
    with context.doing(f"look for {kind}"):
        wanted = [one for one in KINDS if one == kind]
        if context.process and kind in WITHOUT_CODE:
            found += _leased(ledger, pipelines, wanted)
        else:
            due = due_work(ledger, pipelines, limit=3, kinds=wanted)
            subjects = [(item.pipeline, item.key) for item in due]
            leases = ledger.run_leases.acquire(wanted[0], subjects, _QUEUED) if context.process else subjects
            found += [item for item in due if (item.pipeline, item.key) in leases]
    return found


def _leased(ledger: Ledger, pipelines: list[BasePipeline], wanted: list[Kind]) -> list[WorkItem]:
    """What a work run claims, and what gets a run of its own, since its process died."""
    names, leases = [one.name for one in pipelines], ledger.run_leases
    own = [(name, key) for _, name, key in leases.unfinished(names, wanted, 3)]
    claimed = [*leases.acquire(wanted[0], own, _QUEUED)]
    looked_at = leases.now()
    due = due_work(ledger, pipelines, limit=3, kinds=wanted)
    taken = leases.taken([(item.kind, item.pipeline, item.key) for item in due])
    free = [(item.pipeline, item.key) for item in due if (item.kind, item.pipeline, item.key) not in taken]
    claimed += leases.acquire(wanted[0], free, _ALIVE, looked_at=looked_at, shared=True)
    return [WorkItem(wanted[0], *subject) for subject in claimed]


def _run(context: Context, item: WorkItem) -> None:
    leases = context.deployment.ledger.run_leases
    if context.process:
        with context.doing(f"renew the lease of {item.kind} {item.key}"):
            leases.renew(item.kind, item.pipeline, item.key, _ALIVE)
    perform(context, item.kind, item.key, item.pipeline)
    if context.process:
        with context.doing(f"release the lease of {item.kind} {item.key}"):
            leases.release(item.kind, item.pipeline, item.key)


#: What a daemon's sensors look for; `flush` and `final` where there is a queue.
SENSORS: Final = (
    "flush",
    "final",
    "prepare",
    "submit",
    "submit",
    "poll",
    "collect",
    "retry",
    "publish",
    "reconcile",
    "sweep",
    "removed",
)


def daemon(context: Context) -> None:
    """A daemon: some sensors, then a pause, and again."""
    sensors = SENSORS if context.world.scenario.has_queue else SENSORS[2:]
    while not context.world.draining:
        tick(context, context.rng.sample(sensors, 2))
        context.deployment.system.sleep(context.rng.choice((1, 3, 30)))


def clicker(context: Context) -> None:
    """Somebody who materializes whatever chunk or dataset they see, due or not."""
    while not context.world.draining:
        chunks = []
        with context.doing("look at the chunks"):
            row = context.deployment.ledger.datasets.get(PIPELINE, DATASET)
            version = row.version if row else 1
            chunks = context.deployment.ledger.chunks.of_dataset(PIPELINE, DATASET, version)
        drawn = context.rng.random()
        pending = [one.chunk_key for one in chunks if one.status == "pending"]
        ended = [one.chunk_key for one in chunks if one.ended and not one.collected_at]
        if pending and drawn < 0.6:
            perform(context, "submit", context.rng.choice(pending))
        elif ended and drawn < 0.8:
            perform(context, "collect", context.rng.choice(ended))
        else:
            tick(context, [context.rng.choice(("poll", "reconcile", "retry", "publish", "sweep"))])
        context.deployment.system.sleep(1)


def publisher(context: Context) -> None:
    """Runs that publish, and nothing else."""
    _again_and_again(context, lambda: perform(context, "publish", DATASET))


def preparer(context: Context) -> None:
    """Runs that prepare, or materialize one of the two assets alone, and nothing else."""
    acts = (prepare, prepare, snapshot_alone, pack_alone, pack_alone)

    def act() -> None:
        with context.doing("prepare, whole or in part"):
            context.rng.choice(acts)(context, PIPELINE, DATASET)

    _again_and_again(context, act)


def starter(context: Context) -> None:
    """Prepares what is launched, and nothing else: what nobody launched stays as it is."""
    _again_and_again(context, lambda: tick(context, ["prepare"]))


def retrier(context: Context) -> None:
    """Runs that start retry rounds, and nothing else."""
    _again_and_again(context, lambda: perform(context, "retry", DATASET))


def reconciler(context: Context) -> None:
    """Looks after submissions in doubt, and nothing else."""
    _again_and_again(context, lambda: tick(context, ["reconcile" if context.rng.random() < 0.8 else "sweep"]))


def _again_and_again(context: Context, act: Callable[[], None]) -> None:
    while not context.world.draining:
        act()
        context.deployment.system.sleep(context.rng.choice((0, 1, 30)))


def operator(context: Context) -> None:
    """An operator's commands."""
    commands: list[Callable[[Context], None]] = [cancel, retry, resolve, sweep]
    commands += [approve] * context.world.scenario.capped
    while not context.world.draining:
        context.deployment.system.sleep(context.rng.choice((1, 60, 300)))
        context.rng.choice(commands)(context)


def user(context: Context) -> None:
    """Launches, again and again, with other content, another prompt, or as a new version.

    Now and then nothing follows for long: only a launch that is the last one shows that it was not forgotten.
    """
    _launch_after(context, (1, 30, 300, 4000))


def hasty_user(context: Context) -> None:
    """The same, with hardly a pause: what others do is seldom finished by then."""
    _launch_after(context, (1, 5, 30))


def _launch_after(context: Context, pauses_s: tuple[float, ...]) -> None:
    rng = context.rng
    while not context.world.draining:
        launch(
            context,
            rng.choice(("a", "b", "c", ABSENT)),
            prompt=rng.choice((None, None, 0, 1, 2)),
            new_version=rng.random() < 0.4,
        )
        context.deployment.system.sleep(rng.choice(pauses_s))


def cancel(context: Context) -> None:
    """`cancel`, of a dataset or of one chunk. Of a queue's day it concerns only what was flushed so far."""
    deployment, rng = context.deployment, context.rng
    for name, dataset in _datasets(context):
        chunk = None
        if rng.random() < 0.6:
            with context.doing("look at the chunks"):
                chunks = deployment.ledger.chunks.of_dataset(name, dataset, 1)
                chunk = rng.choice(chunks).chunk_key if chunks else None
            if chunk is None:
                return
        what = chunk or dataset
        with context.doing(f"cancel {what}", **({"cancel": what} if chunk or name != QUEUE else {})):
            found = deployment.ledger.interventions.cancel(name, dataset, chunk)
            stop_jobs(deployment, jobs_to_stop(found))


def retry(context: Context) -> None:
    """`retry`."""
    interventions = context.deployment.ledger.interventions
    for name, dataset in _datasets(context):
        with context.doing(f"retry {dataset}", retry=dataset):
            interventions.retry_rejected(name, dataset)
            interventions.release(name, dataset)


def resolve(context: Context) -> None:
    """`resolve`, after looking at the jobs."""
    deployment = context.deployment
    for name, dataset in _datasets(context):
        with context.doing(f"resolve {dataset}", resolve=dataset):
            version = deployment.ledger.datasets.ensure(name, dataset).version
            of_dataset = deployment.ledger.chunks.of_dataset
            # Those of a replaced version keep their slots too.
            for chunk in [
                one for number in range(1, version + 1) for one in of_dataset(name, dataset, number)
            ]:
                if chunk.status != "needs-resolution":
                    continue
                job_name = chunk.request["jobName"]
                jobs = [
                    job for job in context.world.service.emulator.store.all() if job["jobName"] == job_name
                ]
                try:
                    if jobs:
                        adopt_job(deployment, chunk, jobs[0]["jobArn"])
                    else:
                        deployment.ledger.interventions.resolve_without_job(chunk.chunk_id)
                except StateError:
                    continue  # another process has done so


def approve(context: Context, factor: float | None = None) -> None:
    """`approve`, of some amount between half and three times the cap."""
    cap = CAP_PER_ROW_USD * context.world.scenario.rows
    up_to = cap * (context.rng.uniform(0.5, 3) if factor is None else factor)
    with context.doing(f"approve ${up_to:.6f}", approve=DATASET, up_to=up_to):
        context.deployment.ledger.spending.approve(PIPELINE, DATASET, Decimal(str(up_to)), context.name)


def _datasets(context: Context) -> list[tuple[str, str]]:
    """The dataset, and the days of the queue, as `status` shows them."""
    if not context.world.scenario.has_queue:
        return [(PIPELINE, DATASET)]
    found: list[tuple[str, str]] = []
    with context.doing("look at the datasets"):
        rows = context.deployment.ledger.status_report.datasets()
        found += sorted((row.pipeline, row.dataset) for row in rows)
    return found


def sweep(context: Context) -> None:
    """`reconcile`."""
    tick(context, ["reconcile", "sweep"])


BODIES: Final[dict[str, Callable[[Context], None]]] = {
    "daemon": daemon,
    "clicker": clicker,
    "publisher": publisher,
    "preparer": preparer,
    "starter": starter,
    "retrier": retrier,
    "reconciler": reconciler,
    "operator": operator,
    "user": user,
    "hasty user": hasty_user,
    "program": actors_queue.program,
    "flusher": actors_queue.flusher,
    "worker": actors_queue.worker,
}
