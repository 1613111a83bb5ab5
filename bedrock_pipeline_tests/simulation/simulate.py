"""Runs one simulation from its beginning to the judgement.

What belongs here: the beginning, the steps, the end in which nothing goes wrong any more, and the evidence.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline_tests.simulation import actors, actors_queue
from bedrock_pipeline_tests.simulation.actors_prepare import (
    ABSENT,
    CAP_PER_ROW_USD,
    DATASET,
    MODEL,
    PIPELINE,
    PRICES,
    REMOVED_DATASET,
    REMOVED_PIPELINE,
    launch,
    snapshot_alone,
)
from bedrock_pipeline_tests.simulation.choices import Choice, Choices, Seeded
from bedrock_pipeline_tests.simulation.evidence import Evidence, prompt_of
from bedrock_pipeline_tests.simulation.incidents import happen
from bedrock_pipeline_tests.simulation.judge import Violation, judged
from bedrock_pipeline_tests.simulation.scenario import Scenario
from bedrock_pipeline_tests.simulation.scheduler import SimulationError
from bedrock_pipeline_tests.simulation.world import MIN_RECORDS, Context, Machine, World

#: Steps within which every process comes to the end of what it does.
_DRAIN_STEPS = 4000
#: Looks of a daemon within which everything comes to its end, and how far the clock moves after each.
_MOST_TICKS, _TICK_S = 60, 300.0
#: Longer than lease, consistency window and the longest wait together: where nothing changes then, nothing ever will.
_LONG_S = 2500.0
#: After lease and consistency window List is believed.
_BELIEVED_S: Final = 1300.0
_FAULT_OF_START: Final[dict[str, dict[str, Any]]] = {
    "in doubt": {"kind": "answer_lost", "operation": "CreateModelInvocationJob"},
    "in doubt without a job": {
        "kind": "error",
        "operation": "CreateModelInvocationJob",
        "error": "InternalServerException",
    },
    "rejected": {
        "kind": "error",
        "operation": "CreateModelInvocationJob",
        "error": "AccessDeniedException",
        "times": 1,
    },
    "retryable": {"kind": "record_error", "rate": 0.6, "error_code": 429},
    "tasks to retry": {"kind": "record_error", "rate": 0.6, "error_code": 429},
}
_ALL: Final = ("prepare", "reconcile", "submit", "poll", "collect", "retry", "publish", "removed")
_OF_QUEUES: Final = ("flush", "final")
_STATE: Final = """
    SELECT array(SELECT (chunk_key, status, collected_at IS NULL, mode)::text FROM bedrock_pipeline.chunks ORDER BY 1)
        || array(SELECT (dataset, version, state, publication, launch_requested_at IS NULL)::text
                 FROM bedrock_pipeline.current_versions)
        || array(SELECT (chunk_id, waits_for, retried_at IS NULL)::text FROM bedrock_pipeline.retryable_records ORDER BY 1)
        || array(SELECT (chunk_id, final_at IS NULL)::text FROM bedrock_pipeline.queue_jobs ORDER BY 1)
        || array(SELECT (task_id, record_id)::text FROM bedrock_pipeline.tasks ORDER BY 1)
        AS state"""
_DATASETS: Final = """
    SELECT dataset, version, state, state_reason AS reason, published_version, results_uri,
           cancel_requested_at IS NOT NULL AS cancelled
    FROM bedrock_pipeline.current_versions ORDER BY dataset"""
_CHUNKS: Final = """
    SELECT chunk_id::text, pipeline, dataset, chunk_key, dataset_version AS version, attempt, files, status, job_arn,
           ended_at IS NOT NULL AS ended
    FROM bedrock_pipeline.chunks ORDER BY dataset, dataset_version, attempt, sequence"""


@dataclass(frozen=True)
class Result:
    """A simulation that has ended.

    Attributes:
        steps: choices that were made.
        chosen: the choices before everything was brought to its end, to be made again.
        counts: lock waits, deadlocks, deaths.
    """

    scenario: Scenario
    violations: list[Violation]
    evidence: Evidence
    steps: int
    chosen: list[Choice]
    counts: dict[str, int]


def simulate(machine: Machine, scenario: Scenario, choices: Choices | None = None) -> Result:
    """Run a scenario, with choices that follow from its seed unless they are given."""
    given = choices or Seeded(str(scenario.seed), scenario.steps, scenario.chances)
    world = World(machine, scenario, given)
    _begin(world)
    violations: list[Violation] = []
    settled = False
    chosen: list[Choice] = []
    try:
        _steps(world)
        chosen = list(world.scheduler.made)
        settled = _end(world)
    except SimulationError as error:
        violations.append(Violation("progress", str(error)))
    finally:
        world.scheduler.kill_all()
    evidence = _evidence(world, settled=settled or bool(violations))
    violations += judged(evidence)
    return Result(
        scenario,
        violations,
        evidence,
        world.history.step,
        chosen or world.scheduler.made,
        world.scheduler.counts,
    )


def _begin(world: World) -> None:
    """What is there when the processes start."""
    start, service = world.scenario.start, world.service
    with world.quiet("the beginning") as context:
        if world.scenario.has_queue:
            _begin_queue(context)
        elif start == "absent":
            launch(context, ABSENT, prompt=None, new_version=False)
        elif start == "snapshotted":
            launch(context, "a", prompt=None, new_version=False)
            snapshot_alone(context, PIPELINE, DATASET)
        elif start != "nothing":
            launch(context, "a", prompt=0, new_version=False)
            actors.tick(context, ["prepare"])
        if start == "removed":
            _limit_group(context)
            launch(context, "c", prompt=0, new_version=False, name=REMOVED_PIPELINE, dataset=REMOVED_DATASET)
            actors.perform(context, "prepare", REMOVED_DATASET, REMOVED_PIPELINE)
            for chunk in context.deployment.ledger.submissions.due([REMOVED_PIPELINE], 1):
                actors.perform(context, "submit", chunk.chunk_key, REMOVED_PIPELINE)
        if fault := _FAULT_OF_START.get(start):
            service.begin_faults([fault])
        if start in ("submitted", "in doubt", "in doubt without a job", "rejected", "ended"):
            actors.tick(context, ["submit"])
        if start.startswith("in doubt"):
            world.move_clock(_BELIEVED_S)
        while start == "ended" and _look(context, ("poll",)):
            pass
        if start in ("retryable", "collected", "tasks to retry"):
            kinds = ("submit", "poll", "collect", *(("retry",) if start == "collected" else ()))
            for _ in range(_MOST_TICKS):
                if not _look(context, kinds):
                    break
    service.faults.clear()
    world.begin_faults()


def _limit_group(context: Context) -> None:
    """As `quota` does: where two pipelines are of one model, the limit is the deployment's."""
    settings = context.world.settings
    group = QuotaGroup.named(MODEL, settings.region, settings.account)
    context.deployment.ledger.quota_groups.set_max_jobs(group, context.world.scenario.max_jobs)


def _begin_queue(context: Context) -> None:
    """A queue, in which tasks may wait, or are in jobs."""
    _limit_group(context)
    queue = actors_queue.opened(context)
    assert queue is not None  # nothing goes wrong yet
    if context.world.scenario.start == "empty queue":
        return
    ids = actors_queue.RECORD_IDS
    actors_queue.enqueue(context, queue, list(ids[:4]))
    if context.world.scenario.start != "tasks wait":
        actors_queue.enqueue(context, queue, list(ids[4:]))  # a batch is complete, so this flushes
        actors.tick(context, ["submit"])


def _steps(world: World) -> None:
    """Everything that the seed wants."""
    alive = {f"{kind}-{number}": kind for number, kind in enumerate(world.scenario.cast, 1)}
    lives = dict.fromkeys(alive, 1)
    processes = world.scheduler.processes
    for name, kind in alive.items():
        world.spawn(name, actors.BODIES[kind])
    number = 0
    while world.scheduler.step():
        happen(world, number)
        number += 1
        for first, kind in alive.items():
            name = first if lives[first] == 1 else f"{first}#{lives[first]}"
            if processes[name].state == "ended":
                if error := processes[name].error:
                    raise error
                lives[first] += 1
                world.spawn(f"{first}#{lives[first]}", actors.BODIES[kind])


def _end(world: World) -> bool:
    """No fault any more, every process ends, one daemon does the rest, and an operator what waits for one.

    Returns:
        Whether nothing changes any more.
    """
    world.service.faults.clear()
    world.draining = True
    world.scheduler.drain(_DRAIN_STEPS)
    with world.quiet("the end") as context:
        if not _settle(context):
            return False
        before = _state(world)
        actors.retry(context)
        actors.resolve(context)
        if world.scenario.capped:
            actors.approve(context, 10)
        elif _state(world) == before:
            return True  # nothing waited for an operator
        return _settle(context)


def _settle(context: Context) -> bool:
    """Look again and again, until nothing has changed even after a long time; False if that does not come."""
    waited = False
    for number in range(_MOST_TICKS):
        kinds = (*(_OF_QUEUES if context.world.scenario.has_queue else ()), *_ALL)
        changed = _look(context, (*kinds, *(("sweep",) if number % 3 == 0 else ())))
        if waited and not changed and not context.world.service.emulator.store.active():
            return True
        waited = not changed
        if waited:
            context.world.move_clock(_LONG_S)
    return False


def _look(context: Context, kinds: tuple[str, ...]) -> bool:
    """One look of a daemon, then time; whether anything changed."""
    world = context.world
    before = _state(world)
    actors.tick(context, kinds)
    world.history.step += 1
    while world.service.emulator.store.active():
        world.move_clock(_TICK_S)
        if not world.service.work():
            break
    else:
        world.move_clock(_TICK_S)
    return _state(world) != before


def _state(world: World) -> list[Any]:
    return [
        world.machine.server.rows(_STATE),
        [job["status"] for job in world.service.emulator.store.all()],
    ]


def _evidence(world: World, *, settled: bool) -> Evidence:
    server, scenario, jobs = world.machine.server, world.scenario, list[dict[str, Any]]()
    waits: dict[str, list[str]] = {}
    with world.quiet("status") as context:
        report = context.deployment.ledger.status_report
        for row in report.datasets():
            named = [row.why, *(one.why for one in report.chunks(row.pipeline, row.dataset))]
            waits[row.dataset] = [why for why in named if why]
        if scenario.has_queue:
            jobs = actors_queue.shown_jobs(context)
    return Evidence(
        history=world.history,
        jobs=world.service.emulator.store.all(),
        objects=world.service.objects,
        datasets=server.rows(_DATASETS),
        chunks=server.rows(_CHUNKS),
        waits=waits,
        max_jobs=scenario.max_jobs,
        caps={DATASET: CAP_PER_ROW_USD * scenario.rows} if scenario.capped else {},
        prices=PRICES,
        settled=settled,
        queue=actors_queue.QUEUE if scenario.has_queue else "",
        tasks=[
            {"record_id": row["record_id"], "prompt": prompt_of(json.loads(row["line"])["modelInput"])}
            for row in server.rows("SELECT record_id, line FROM bedrock_pipeline.tasks ORDER BY task_id")
        ],
        queue_jobs=jobs,
        replaces_tasks=scenario.on_duplicate == "replace",
        fewest_tasks=MIN_RECORDS if scenario.below_minimum == "hold" else 1,
        orphans=[row["job_arn"] for row in server.rows("SELECT job_arn FROM bedrock_pipeline.orphans")],
    )
