"""Processes that enqueue and flush are killed; no task is lost, and none is duplicated that its caller did not send again."""

import signal
import time
from collections import Counter
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.queues import Queues
from bedrock_pipeline.ledger.tasks import Tasks
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.faults.worker import die, move_clock
from bedrock_pipeline_tests.queue.test_flush import records
from bedrock_pipeline_tests.queue.test_queue import config, task

PROCESSES, KILLED = 4, 2
#: Tasks that a caller sends at a time, and sends again when it does not know whether they were committed.
_SENT = 25


def enqueue(one: BedrockQueueConfig, process: int, count: int, log: Path) -> None:
    """Send tasks until `count` are acknowledged, and note each acknowledgement."""
    with BedrockQueue(one) as queue, log.open("a") as noted:
        begun = sum(map(int, log.read_text().split()))
        for start in range(begun, count, _SENT):
            queue.enqueue_many(task(f"{process}-{number}") for number in range(start, start + _SENT))
            noted.write(f"{_SENT}\n")
            noted.flush()


@pytest.mark.parametrize(
    ("total", "batch_size"),
    [(24_000, 500), pytest.param(100_000, 5_000, marks=[pytest.mark.faults, pytest.mark.timeout(900)])],
)
def test_no_task_is_lost_when_enqueuing_processes_are_killed(
    deployment: Deployment, tmp_path: Path, total: int, batch_size: int
) -> None:
    one = config(batch_size=batch_size, on_duplicate="replace")
    each = total // PROCESSES
    logs = [tmp_path / f"{process}.log" for process in range(PROCESSES)]
    for log in logs:
        log.touch()
    with BedrockQueue(one):
        pass  # its tables and its row are there

    def start(process: int) -> BaseProcess:
        log = logs[process]
        return start_child(partial(enqueue, one, process, each, log), log.with_suffix(".error"))

    children = {process: start(process) for process in range(PROCESSES)}
    acknowledged: dict[int, int] = {}
    for process in range(KILLED):
        while (begun := sum(map(int, logs[process].read_text().split()))) < each // 3 * (process + 1):
            time.sleep(0.01)
        children[process].kill()
        assert exit_code(children[process]) == -signal.SIGKILL, f"it ended by itself at {begun}"
        acknowledged[process] = sum(map(int, logs[process].read_text().split()))
        children[process] = start(process)
    codes = [exit_code(child) for child in children.values()]
    assert codes == [0] * PROCESSES, [log.read_text() for log in tmp_path.glob("*.error")]
    with BedrockQueue(one) as queue:
        found = Counter(records(deployment, queue))
    expected = {f"task-{process}-{number}" for process in range(PROCESSES) for number in range(each)}
    assert found.keys() == expected
    sent_again = {
        f"task-{process}-{number}"
        for process, begun in acknowledged.items()
        for number in range(begun, begun + _SENT)
    }
    assert {record_id for record_id, times in found.items() if times > 1} <= sent_again
    assert max(found.values()) <= 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("part", "method", "call"),
    [
        (S3Objects, "upload", 1),
        (S3Objects, "upload", 4),
        (Queues, "enter_chunks", 1),
        (Queues, "enter_chunks", 2),
    ],
)
def test_a_flush_that_is_killed_is_finished_by_the_next(
    deployment: Deployment, tmp_path: Path, part: type, method: str, call: int, after: bool
) -> None:
    one = config(batch_size=10_000, max_batch_size=300)
    with BedrockQueue(one) as queue:
        queue.enqueue_many(task(number) for number in range(1000))
    log = tmp_path / "flush.log"
    child = start_child(partial(_flush_until, one, part, method, call, after=after), log)
    code = exit_code(child)
    assert code == -signal.SIGKILL, log.read_text() if log.exists() else "the point was never reached"
    move_clock(deployment, 60)  # its lease ends
    with BedrockQueue(one) as queue:
        expected = sorted(f"task-{number}" for number in range(1000))
        assert records(deployment, queue) == expected
        queue.flush()
        assert queue.get_queue_size() == 0
        assert records(deployment, queue) == expected


def _flush_until(one: BedrockQueueConfig, part: type, method: str, call: int, *, after: bool) -> None:
    """Flush, and die at one call of a method."""
    original = getattr(part, method)
    calls: list[None] = []

    def deadly(*values: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == call and not after:
            die()
        result = original(*values, **named)
        if len(calls) == call:
            die()
        return result

    with BedrockQueue(one) as queue:
        setattr(part, method, deadly)  # in this process alone, which ends here
        queue.flush()


def test_an_enqueue_whose_acknowledgement_is_lost_happens_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the commit: its status is read from Postgres, and nothing is sent again."""
    with BedrockQueue(config(batch_size=1000)) as queue:
        original = psycopg.Connection.commit
        broken: list[None] = []

        def commit(connection: Any) -> None:
            original(connection)
            if not broken:
                broken.append(None)
                connection.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        sent: list[str] = []
        add = Tasks.add

        def counted(self: Tasks, *values: Any, **named: Any) -> None:
            sent.append("add")
            add(self, *values, **named)

        monkeypatch.setattr(Tasks, "add", counted)
        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "commit", commit)
            queue.enqueue(task(1))
        assert (broken, sent, queue.get_queue_size()) == ([None], ["add"], 1)
