"""Programs that use a queue, over `BedrockQueue` itself.

What belongs here: what tasks ask, what a program does with the queue, and the processes that only flush or work.
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from bedrock_pipeline.ledger.queues import QueueJob
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, BedrockTask
from bedrock_pipeline_tests.simulation.actors_prepare import MODEL
from bedrock_pipeline_tests.simulation.clients import BUCKET
from bedrock_pipeline_tests.simulation.world import MAX_RECORDS, MIN_RECORDS, Context, World

QUEUE: Final = "q"
#: Few, so that a task often has the id of one that waits.
RECORD_IDS: Final = tuple(f"t{number}" for number in range(9))
#: Tasks at which a flush is due, and seconds after which one is in any case.
_BATCH, _MAX_AGE_S = 5, 120.0
_SHOWN_JOBS: Final = 8


def config(world: World) -> BedrockQueueConfig:
    """The queue's settings, the same in every program."""
    settings, scenario = world.settings, world.scenario
    return BedrockQueueConfig.model_validate(
        {
            "name": QUEUE,
            "model_id": MODEL,
            "access_key_id": "simulated",
            "secret_access_key": "simulated",
            "s3_input_bucket": BUCKET,
            "role_arn": settings.role_arn,
            "dsn": settings.database_dsn,
            "min_batch_size": MIN_RECORDS,
            "max_batch_size": MAX_RECORDS,
            "batch_size": _BATCH,
            "max_age_s": _MAX_AGE_S,
            "below_minimum": scenario.below_minimum,
            "on_duplicate": scenario.on_duplicate,
            "max_jobs": scenario.max_jobs,
            "poll_interval_ms": 10_000,
            "enable_auto_polling": False,
        }
    )


def opened(context: Context) -> BedrockQueue | None:
    """The queue, opened by this process; None if that failed."""
    queue = BedrockQueue(config(context.world), system=context.deployment.system)
    with context.doing("open the queue") as end:
        queue.initialize()
        end["opened"] = True
    if "opened" not in end:
        return None
    queue.on("error", lambda error: context.failed("the queue's error event", error))
    return queue


def enqueue(context: Context, queue: BedrockQueue, record_ids: list[str]) -> None:
    """Add tasks of these record ids; each asks something that no other task asks."""
    asked = {
        one: f"task {one} of {context.name} in {context.world.next_task(context.name)}" for one in record_ids
    }
    facts = [{"record_id": one, "prompt": prompt} for one, prompt in asked.items()]
    with context.doing(f"enqueue {', '.join(record_ids)}", tasks=facts):
        tasks = [BedrockTask(one, _body(prompt)) for one, prompt in asked.items()]
        if len(tasks) == 1:
            queue.enqueue(tasks[0])
        else:
            queue.enqueue_many(tasks)


def _body(prompt: str) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": prompt}],
    }


def program(context: Context) -> None:
    """A program: adds tasks, flushes, waits for jobs, reads results, cancels and retries jobs."""
    acts = (_enqueue, _enqueue, _enqueue, _flush, _flush, _step, _await, _results, _intervene)
    _use(context, lambda queue: context.rng.choice(acts)(context, queue))


def flusher(context: Context) -> None:
    """A program that only flushes."""
    _use(context, lambda queue: _flush(context, queue))


def worker(context: Context) -> None:
    """The thread of a program that has the queue open."""
    _use(context, lambda queue: _step(context, queue))


def _use(context: Context, act: Callable[[BedrockQueue], None]) -> None:
    queue = None
    while not context.world.draining:
        queue = queue or opened(context)
        if queue:
            act(queue)
        context.deployment.system.sleep(context.rng.choice((0, 1, 30)))


def _enqueue(context: Context, queue: BedrockQueue) -> None:
    enqueue(context, queue, context.rng.sample(RECORD_IDS, context.rng.choice((1, 1, 2, 3))))


def _flush(context: Context, queue: BedrockQueue) -> None:
    with context.doing("flush"):
        queue.flush()


def _step(context: Context, queue: BedrockQueue) -> None:
    with context.doing("work on the queue"):
        queue.step()


def _await(context: Context, queue: BedrockQueue) -> None:
    if job := _any_job(context):
        with context.doing(f"await job {job.chunk.chunk_key}"):
            queue.await_job(job.chunk.chunk_id, timeout=3)


def _results(context: Context, queue: BedrockQueue) -> None:
    if (job := _any_job(context)) and job.final_at:
        with context.doing(
            f"read the results of {job.chunk.chunk_key}", job_id=str(job.chunk.chunk_id)
        ) as end:
            end["results"] = results_of(queue, job.chunk.chunk_id)


def _intervene(context: Context, queue: BedrockQueue) -> None:
    job = _any_job(context)
    if job and context.rng.random() < 0.5:
        with context.doing(f"cancel job {job.chunk.chunk_key}", cancel=job.chunk.chunk_key):
            queue.cancel_job(job.chunk.chunk_id)
    elif job:
        retry_job(context, job)


def retry_job(context: Context, job: QueueJob) -> None:
    """`retry JOB`."""
    with context.doing(f"retry job {job.chunk.chunk_key}"):
        context.deployment.ledger.interventions.retry_job(job.chunk.chunk_id)


def _any_job(context: Context) -> QueueJob | None:
    jobs: list[QueueJob] = []
    with context.doing("look at the jobs"):
        jobs = context.deployment.ledger.queues.jobs(QUEUE, _SHOWN_JOBS)
    return context.rng.choice(jobs) if jobs else None


def results_of(queue: BedrockQueue, job_id: UUID) -> list[dict[str, Any]]:
    """What a program reads of a job that is final."""
    return [
        {"record_id": row.record_id, "text": row.output_text, "error": row.error.code if row.error else None}
        for row in queue.get_job_results(job_id)
    ]


def shown_jobs(context: Context) -> list[dict[str, Any]]:
    """Every job, as a program sees it."""
    queue, found = opened(context), list[dict[str, Any]]()
    assert queue is not None  # nothing goes wrong any more
    for job in context.deployment.ledger.queues.jobs(QUEUE, 10_000):
        result = queue.get_job(job.chunk.chunk_id)
        found.append(
            {
                "job_id": result.job_id,
                "chunk_key": result.chunk_key,
                "final": result.final,
                "waits": result.stuck,
                "results": results_of(queue, job.chunk.chunk_id) if result.final else [],
            }
        )
    return found
