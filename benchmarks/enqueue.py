"""What a task costs: one by one, the first and the last of 50,000; many at once. Run by `make bench-enqueue`.

What belongs here: measuring, over the embedded Postgres and S3, and the plans of the statements. What is promised
without a clock (that a plan's cost is bounded) stands in the tests.
"""

import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bedrock_pipeline.local import environment
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, BedrockTask

TASKS, WINDOWS, MANY = 50_000, 10, 200_000
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
#: A task of about 1 KB.
_TEXT = "Lorem ipsum dolor sit amet. " * 30


def main() -> None:
    """Print the figures as one JSON object, and then the plans."""
    with tempfile.TemporaryDirectory() as folder, Stack(StackConfig(Path(folder))) as stack:
        os.environ.update(environment(stack.endpoints))
        one_by_one = _one_by_one()
        many = _many()
        plans = _plans(stack.endpoints.dsn())
    figures = {"cores": os.cpu_count(), "one_by_one": one_by_one, "enqueue_many": many}
    print(json.dumps(figures, indent=1))  # noqa: T201  # the result
    for name, plan in plans.items():
        print(f"\n{name}\n{plan}")  # noqa: T201  # the result


def _one_by_one() -> dict[str, Any]:
    times: list[float] = []
    work = [_cpu()]
    with BedrockQueue(_config("one", batch_size=TASKS + 1)) as queue:
        for number in range(TASKS):
            task = _task(number)
            began = time.perf_counter()
            queue.enqueue(task)
            times.append(time.perf_counter() - began)
            if len(times) % (TASKS // WINDOWS) == 0:
                work.append(_cpu())
        began = time.perf_counter()
        jobs = queue.flush()
        flush = time.perf_counter() - began
    size = TASKS // WINDOWS
    windows = [times[start : start + size] for start in range(0, TASKS, size)]
    medians = [statistics.median(window) for window in windows]
    spent = [(end - begin) / size for begin, end in itertools.pairwise(work)]
    return {
        "tasks": TASKS,
        "median_ms_by_window": [round(1000 * median, 3) for median in medians],
        "mean_ms_by_window": [round(1000 * statistics.fmean(window), 3) for window in windows],
        "slope_of_a_line_through_the_medians": round(_line(medians), 3),
        # On a machine that others use too, wall time includes their work; the CPU time of this process and of Postgres does not.
        "cpu_ms_a_task_by_window": [round(1000 * one, 3) for one in spent],
        "slope_of_a_line_through_the_cpu_times": round(_line(spent), 3),
        "flush_s": round(flush, 2),
        "jobs": len(jobs),
    }


def _line(values: list[float]) -> float:
    """Last over first value of the line of least squares."""
    fit = statistics.linear_regression(range(len(values)), values)
    return (fit.intercept + fit.slope * (len(values) - 1)) / fit.intercept


def _cpu() -> float:
    """Seconds of CPU that this process and the servers that it started have used."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _many() -> dict[str, Any]:
    tasks = [_task(number) for number in range(MANY)]
    with BedrockQueue(_config("many", batch_size=10 * MANY)) as queue:
        began, before = time.perf_counter(), psutil.Process().memory_info().rss
        queue.enqueue_many(tasks)
        seconds = time.perf_counter() - began
        grown = psutil.Process().memory_info().rss - before
        size = queue.get_queue_size()
    return {
        "tasks": size,
        "bytes_each": len(_TEXT) + 160,
        "tasks_per_second": round(MANY / seconds),
        "memory_grown_mb": round(grown / 2**20, 1),
    }


def _plans(dsn: str) -> dict[str, str]:
    """Plans of what an enqueue and a look do, while `MANY` tasks wait."""
    statements = {
        "enqueue": """INSERT INTO bedrock_pipeline.tasks (queue, record_id, line)
                      SELECT 'many', t.id, t.line FROM unnest(ARRAY['new'], ARRAY['x'::bytea]) AS t(id, line)
                      ON CONFLICT (queue, record_id) DO NOTHING""",
        "look at a batch of 50,000": """SELECT count(*), sum(bytes), min(enqueued_at) FROM
                      (SELECT bytes, enqueued_at FROM bedrock_pipeline.tasks WHERE queue = 'many'
                       AND task_id <= 9223372036854775807 ORDER BY task_id LIMIT 50000) AS first""",
        "a page of a flush": """SELECT task_id, record_id, line FROM bedrock_pipeline.tasks
                      WHERE queue = 'many' AND task_id > 100000 AND task_id <= 9223372036854775807
                      ORDER BY task_id LIMIT 1000""",
    }
    with psycopg.connect(dsn) as connection:
        return {
            name: "\n".join(
                row[0]
                for row in connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {text}").fetchall()
            )
            for name, text in statements.items()
        }


def _config(name: str, *, batch_size: int) -> BedrockQueueConfig:
    return BedrockQueueConfig(model_id=MODEL, name=name, batch_size=batch_size, enable_auto_polling=False)


def _task(number: int) -> BedrockTask:
    content = [{"role": "user", "content": [{"type": "text", "text": f"{number} {_TEXT}"}]}]
    return BedrockTask(
        f"record-{number}",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": content},
    )


if __name__ == "__main__":
    main()
