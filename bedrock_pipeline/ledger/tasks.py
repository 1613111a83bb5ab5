"""Tasks: the records that wait in a queue.

What belongs here: the statements on tables `tasks` and `flush_leases`: adding, counting, reading, and the lease of a flush. Packing them
into chunks is in `queue/flush_queue.py`, entering those in `queues.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from bedrock_pipeline.errors import InvalidInputError, ServiceUnavailableError
from bedrock_pipeline.ledger.database import Connection, Database

#: Tasks that one statement reads; their lines are what memory holds.
_PAGE = 1000
_LAST = 2**63 - 1
#: Longer than the upload of a chunk takes, during which nothing is renewed.
_FLUSH_LEASE = timedelta(seconds=60)


class DuplicateTaskError(InvalidInputError):
    """A task with this record id is waiting already.

    Attributes:
        record_ids: the record ids.
    """

    def __init__(self, queue: str, record_ids: Sequence[str]) -> None:
        shown = ", ".join(repr(one) for one in record_ids[:5]) + (", …" if len(record_ids) > 5 else "")
        super().__init__(
            f"Queue {queue!r} has a waiting task of the same record_id: {shown}.",
            "Give each task its own record_id, or set on_duplicate='replace' (`enqueue --replace`).",
        )
        self.record_ids = list(record_ids)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to add.

    Attributes:
        line: its line of a job's input, newline included.
    """

    record_id: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue, counted up to a limit.

    Attributes:
        age: of the task that waits longest; zero where none does.
    """

    tasks: int
    bytes: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Task:
    """A task in its place in the queue."""

    task_id: int
    record_id: str
    line: bytes


class Tasks:
    """The waiting tasks of all queues."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, queue: str, tasks: Sequence[NewTask], *, replace: bool) -> None:
        """Add tasks, all or none; they are committed, once, when this returns.

        Its cost does not depend on how many wait: two index entries a task, and no row that others write too.

        Args:
            queue: the queue's name.
            tasks: with different record ids.
            replace: whether a waiting task with the same record id is replaced; the new one waits at the end.

        Raises:
            DuplicateTaskError: one is waiting already, and `replace` is not set.
        """

        def work(connection: Connection) -> None:
            rows = connection.execute(
                _ADD_OR_REPLACE if replace else _ADD,
                {
                    "queue": queue,
                    "ids": [task.record_id for task in tasks],
                    "lines": [task.line for task in tasks],
                },
            ).fetchall()
            if len(rows) < len(tasks):
                added = {row["record_id"] for row in rows}
                raise DuplicateTaskError(queue, [t.record_id for t in tasks if t.record_id not in added])

        self._database.exactly_once(work)

    def waiting(self, queue: str, limit: int, *, newest: int = _LAST) -> Waiting:
        """Count what waits, in the order of the queue, at most `limit` tasks, which bounds the cost.

        Args:
            queue: the queue's name.
            limit: count no further.
            newest: number of the last task to count.
        """
        values = {"queue": queue, "limit": limit, "newest": newest}
        return Waiting(**self._database.fetch(_WAITING, values)[0])  # an aggregate has one row

    def size(self, queue: str) -> int:
        """Number of waiting tasks; counts all of them."""
        found = self._database.fetch(
            "SELECT count(*) AS tasks FROM bedrock_pipeline.tasks WHERE queue = %s", (queue,)
        )
        return int(found[0]["tasks"])

    def newest(self, queue: str) -> int:
        """The last task's number; 0 if none waits."""
        found = self._database.fetch(
            """SELECT task_id FROM bedrock_pipeline.tasks WHERE queue = %s ORDER BY task_id DESC LIMIT 1""",
            (queue,),
        )
        return int(found[0]["task_id"]) if found else 0

    def in_order(self, queue: str, *, newest: int, limit: int) -> Iterator[Task]:
        """The first `limit` tasks, none after `newest`; read page by page, so that no transaction lasts."""
        after, left = 0, limit
        while left > 0:
            rows = self._database.fetch(
                """SELECT task_id, record_id, line FROM bedrock_pipeline.tasks
                   WHERE queue = %s AND task_id > %s AND task_id <= %s ORDER BY task_id LIMIT %s""",
                (queue, after, newest, min(_PAGE, left)),
            )
            if not rows:
                return
            for row in rows:
                yield Task(row["task_id"], row["record_id"], bytes(row["line"]))
            after, left = rows[-1]["task_id"], left - len(rows)

    @contextmanager
    def flushing(self, queue: str, *, wait: bool) -> Iterator["FlushLease | None"]:
        """Keep others from flushing the queue during the block; None if one does and `wait` is not set.

        The lease ends with the block, or a minute after its last renewal if the process died. It only saves duplicate
        work; that each task goes into one chunk is ensured by `Queues.enter_chunks`.
        """
        lease = FlushLease(self._database, queue)
        while not (held := lease.renew()) and wait:
            self._database.sleep(1.0)
        try:
            yield lease if held else None
        finally:
            if held:
                lease.release()


class FlushLease:
    """The lease of the process that flushes a queue."""

    def __init__(self, database: Database, queue: str) -> None:
        self._database = database
        self._values = {"queue": queue, "holder": uuid4(), "lifetime": _FLUSH_LEASE}

    def renew(self) -> bool:
        """Acquire the lease, or renew it; False while another process holds it."""
        return self._database.execute(_RENEW, self._values) == 1

    def release(self) -> None:
        """Release the lease if this process still holds it."""
        with suppress(ServiceUnavailableError):  # it expires
            self._database.execute(_RELEASE, self._values)


_ADD = """
    INSERT INTO bedrock_pipeline.tasks (queue, record_id, line, enqueued_at)
    SELECT %(queue)s, t.record_id, t.line, at.now
    FROM unnest(%(ids)s::text[], %(lines)b::bytea[]) WITH ORDINALITY AS t(record_id, line, place),
         bedrock_pipeline.now() AS at(now)
    ORDER BY t.place
    ON CONFLICT (queue, record_id) DO NOTHING
    RETURNING record_id"""
_ADD_OR_REPLACE = """
    INSERT INTO bedrock_pipeline.tasks (queue, record_id, line, enqueued_at)
    SELECT %(queue)s, t.record_id, t.line, at.now
    FROM unnest(%(ids)s::text[], %(lines)b::bytea[]) WITH ORDINALITY AS t(record_id, line, place),
         bedrock_pipeline.now() AS at(now)
    ORDER BY t.place
    ON CONFLICT (queue, record_id) DO UPDATE
    SET task_id = excluded.task_id, line = excluded.line, enqueued_at = excluded.enqueued_at
    RETURNING record_id"""
_WAITING = """
    SELECT count(*) AS tasks, coalesce(sum(bytes), 0)::bigint AS bytes,
           coalesce(bedrock_pipeline.now() - min(enqueued_at), interval '0') AS age
    FROM (SELECT bytes, enqueued_at FROM bedrock_pipeline.tasks
          WHERE queue = %(queue)s AND task_id <= %(newest)s ORDER BY task_id LIMIT %(limit)s) AS first"""

_RENEW = """
    INSERT INTO bedrock_pipeline.flush_leases AS l (queue, holder, expires_at)
    SELECT %(queue)s, %(holder)s, at.now + %(lifetime)s FROM bedrock_pipeline.now() AS at(now)
    ON CONFLICT (queue) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE l.holder = excluded.holder OR l.expires_at <= bedrock_pipeline.now()"""
_RELEASE = "DELETE FROM bedrock_pipeline.flush_leases WHERE queue = %(queue)s AND holder = %(holder)s"
