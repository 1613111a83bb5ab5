"""Upgrades: the first start over every released schema, and old and new code at once over the new one."""

import itertools
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import get_args
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.due_work import due_work
from bedrock_pipeline.ledger import Ledger, migrations
from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.migrations import migrate, migration_folder
from bedrock_pipeline.ledger.rows import State
from bedrock_pipeline.ledger.status import AT_BEDROCK, Status
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, until_published
from bedrock_pipeline_tests.faults.invariants import SLOTS, dataset, settled
from bedrock_pipeline_tests.faults.worker import start_to
from bedrock_pipeline_tests.upgrade.every_state import RELEASED, checksums, dump, fill
from bedrock_pipeline_tests.waiting import until

_CHUNKS = 8
#: What a later version may do to every table, and to rows that are history.
_SECOND = """
DO $$
DECLARE t record;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'bedrock_pipeline' LOOP
        EXECUTE format('ALTER TABLE bedrock_pipeline.%I ADD COLUMN added_later text NOT NULL DEFAULT %L', t.tablename, 'later');
    END LOOP;
END $$;
ALTER TABLE bedrock_pipeline.chunks DISABLE TRIGGER chunk_history;
UPDATE bedrock_pipeline.chunks SET added_later = 'changed';
ALTER TABLE bedrock_pipeline.chunks ENABLE TRIGGER chunk_history;
CREATE INDEX chunks_added_later ON bedrock_pipeline.chunks (added_later);
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """The SQL files of a later version, with one more migration."""
    folder = tmp_path / "sql"
    shutil.copytree(migration_folder(), folder)
    (folder / "9999_later.sql").write_text(_SECOND)
    return folder


@pytest.fixture
def filled(postgres_dsn: str) -> Iterator[Ledger]:
    """Rows in every state, in the present schema."""
    with Ledger(postgres_dsn) as ledger:
        fill(ledger)
        yield ledger


def test_rows_in_every_state_are_tried(filled: Ledger) -> None:
    def values(table: str, column: str) -> set[str]:
        query = sql.SQL("SELECT DISTINCT {0} AS value FROM bedrock_pipeline.{1} WHERE {0} IS NOT NULL")
        rows = filled.database.fetch(query.format(sql.Identifier(column), sql.Identifier(table)))
        return {row["value"] for row in rows}

    assert values("chunks", "status") == set(get_args(Status))
    assert values("chunks", "mode") == set(get_args(Mode))
    assert values("versions", "state") == set(get_args(State))
    assert values("retryable_records", "waits_for") == {"operator", "minimum"}
    assert [table for table, count in _counts(filled.database).items() if count == 0] == []


@pytest.mark.parametrize(
    "released", [*sorted(RELEASED.glob("*.sql")), None], ids=lambda path: path.stem if path else "present"
)
def test_the_first_start_over_a_released_schema(
    released: Path | None, postgres_dsn: str, empty_dsn: str
) -> None:
    text = released.read_text() if released else checksums() + _present(postgres_dsn)
    assert checksums().startswith(_checksums_in(text)), "A released migration does not change: add another."
    _restore(empty_dsn, text)
    with Ledger(empty_dsn) as ledger:
        before = _counts(ledger.database)
        ledger.migrate()
        assert ledger.is_current()
        after = _counts(ledger.database)
        assert {table: after[table] for table in before if table != "migrations"} == {
            table: count for table, count in before.items() if table != "migrations"
        }
        # As for any restored ledger, a sweep comes first.
        ledger.incarnations.record_sweep(ledger.incarnations.current().number)
        _everything_goes_on(ledger)


def test_a_later_migration_over_rows_in_every_state(
    filled: Ledger, next_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(migrations, "migration_folder", lambda: next_version)
        assert not filled.is_current()
        with ThreadPoolExecutor(2) as both:
            applied = list(both.map(migrate, [filled.database.dsn] * 2))
        assert sorted(applied) == [[], ["9999_later"]]
        assert filled.is_current()
    assert filled.is_current(), "the version before goes on"
    _everything_goes_on(filled)


def test_old_and_new_code_at_once(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, next_version: Path
) -> None:
    one = dataset(tmp_path, 100 * _CHUNKS, Limits(min_records=50, max_records=100, max_jobs=SLOTS))
    logs = {name: tmp_path / f"{name}.log" for name in ("old", "new")}
    work = partial(until_published, one=one)
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data", "--speed", "500") as (
        here,
        control,
    ):
        old = start_to(here.settings, work, death=None, log=logs["old"])
        until(control.jobs, lambda: logs["old"].read_text() if logs["old"].exists() else "a job")
        new = start_child(partial(_new_code, here.settings, one, next_version), logs["new"])
        codes = exit_code(old), exit_code(new)
        assert codes == (0, 0), [log.read_text() for log in logs.values() if log.exists()]
        settled(here, one, control.url, records=100 * _CHUNKS)
        by = {
            row["added_later"]
            for row in here.ledger.database.fetch("SELECT added_later FROM bedrock_pipeline.chunks")
        }
    assert by == {"changed"}, "all chunks were entered before the migration"


def _new_code(settings: Settings, one: Pipeline, sql_folder: Path) -> None:
    """A process of the next version: it migrates, and works."""
    migrations.migration_folder = lambda: sql_folder  # in this process alone, which ends here
    with open_deployment(settings) as deployment:
        assert deployment.ledger.migrate() == ["9999_later"]
        until_published(deployment, one)


def _checksums_in(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(itertools.takewhile(re.compile(r"-- \w+ [0-9a-f]{64}$").match, lines))


def _present(dsn: str) -> str:
    with Ledger(dsn) as ledger:
        fill(ledger)
    return dump(dsn)


def _restore(dsn: str, text: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(text.encode())


def _counts(database: Database) -> dict[str, int]:
    tables = database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'bedrock_pipeline'")
    count = sql.SQL("SELECT count(*) AS rows FROM bedrock_pipeline.{}")
    return {
        table: database.fetch(count.format(sql.Identifier(table)))[0]["rows"]
        for table in (row["tablename"] for row in tables)
    }


def _everything_goes_on(ledger: Ledger) -> None:
    """Each state is read, and comes to an end as an operator or Bedrock would have it."""
    model = {"model_id": "amazon.nova-micro-v1:0"}
    one = Pipeline.model_validate({"name": "p", "source": "rows.jsonl", "prompt": "{{ a }}", **model})
    queue = QueuePipeline.model_validate({"name": "q", **model})
    ledger.database.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = '1 day'")
    due = due_work(ledger, [one, queue], limit=100)
    assert {item.kind for item in due} >= {"prepare", "submit", "collect", "retry", "publish"}
    assert ledger.queues.jobs("q", 10)
    for row in ledger.datasets.recent(limit=1000):
        assert ledger.versions.history(row.pipeline, row.dataset)
        ledger.datasets.progress(row.pipeline, row.dataset)
        for chunk in ledger.chunks.of_dataset(row.pipeline, row.dataset, row.version):
            if chunk.status == "needs-resolution":
                ledger.interventions.resolve_without_job(chunk.chunk_id)
        ledger.interventions.release(row.pipeline, row.dataset)
        ledger.interventions.retry_rejected(row.pipeline, row.dataset)
        ledger.interventions.cancel(row.pipeline, row.dataset)
    for chunk in ledger.submissions.to_reconcile(timedelta(0), 100):
        again = ledger.submissions.intend_again(
            chunk.chunk_id, chunk.fence, uuid4(), consistency_window=timedelta(0), lease=timedelta(seconds=9)
        )
        assert again
        assert ledger.submissions.record_accepted(chunk.chunk_id, again.fence, f"arn:{chunk.chunk_key}")
    in_flight = ledger.jobs.in_flight()
    assert len(in_flight) > len(AT_BEDROCK)
    ledger.jobs.observe([Observation(job.job_arn, "stopped", None, 100, 90, 90, 0) for job in in_flight])
    uncollected = [chunk for name in ("p", "q") for chunk in ledger.chunks.to_collect([name], 100)]
    for chunk in uncollected:
        assert ledger.chunks.record_collected(
            chunk.chunk_id,
            chunk.fence,
            Tally(chunk.records, answered=chunk.records),
            parsed_uri="s3://bucket/parsed/",
        )
    left = ledger.database.fetch(
        "SELECT chunk_key, status FROM bedrock_pipeline.chunks WHERE collected_at IS NULL"
    )
    assert left == []
