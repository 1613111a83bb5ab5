"""The database is lost and a backup restored: what was bought since then is taken back, none of it bought again."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import PriceOverride
from bedrock_pipeline.submit.reconcile import sweep_account
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, until_published
from bedrock_pipeline_tests.faults.invariants import SLOTS, dataset, settled
from bedrock_pipeline_tests.faults.worker import tick

CHUNKS = 6
_LIMITS = Limits(min_records=50, max_records=100, max_jobs=SLOTS)


@contextmanager
def _backup(deployment: Deployment, endpoints: Endpoints) -> Iterator[Deployment]:
    """The ledger as it is now, restored when the block is entered: a copy that knows nothing of what follows."""
    source = str(conninfo_to_dict(deployment.settings.database_dsn.get_secret_value())["dbname"])
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(endpoints.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source]
        )
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(source)))
        changed = deployment.settings.model_copy(update={"database_dsn": SecretStr(endpoints.dsn(name))})
        with open_deployment(changed) as restored:
            yield restored
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.faults
@pytest.mark.parametrize("sweeps", [True, False], ids=["swept first", "submitted first"])
@pytest.mark.parametrize("ticks_before", [0, 1, 6])
def test_a_restored_backup(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    ticks_before: int,
    sweeps: bool,
) -> None:
    one = dataset(tmp_path, 100 * CHUNKS, _LIMITS)
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        take_snapshot(here, one, "d")
        pack_dataset(here, one, "d")
        for _ in range(ticks_before):
            tick(here, one)
        with _backup(here, stack_endpoints) as restored:
            until_published(here, one)
            settled(here, one, control.url, records=100 * CHUNKS)
            if sweeps:
                found = sweep_account(restored)
                assert found.orphans == []
                assert found.unknown_to_bedrock == []
            ticks = until_published(restored, one)
            entry = settled(restored, one, control.url, records=100 * CHUNKS)
            assert len(control.jobs()) == CHUNKS
            assert str(sweep_account(restored)) == ""
    report.append({"point": "a backup is restored", "scenario": "restored", "ticks": ticks, **entry})


@pytest.mark.faults
def test_a_dataset_that_the_backup_does_not_know_is_reported_and_not_bought_again(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    one = dataset(tmp_path, 100 * CHUNKS, _LIMITS)
    with (
        emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control),
        _backup(here, stack_endpoints) as restored,
    ):
        take_snapshot(here, one, "d")
        key = pack_dataset(here, one, "d").chunks[0].chunk_key
        bought = submit_chunk(here, "p", key)
        assert isinstance(bought, Submitted)
        assert sweep_account(restored).orphans == [bought.job_arn]
        assert [orphan["job_arn"] for orphan in restored.ledger.interventions.orphans()] == [bought.job_arn]
        # Launched again: the same content gives the same chunk, whose job is found by its name. Prices and slots are none.
        again = one.model_copy(
            update={
                "prices": {
                    one.model_id: PriceOverride(input_per_million=Decimal(3), output_per_million=Decimal(9))
                },
                "limits": _LIMITS.model_copy(update={"max_jobs": 1}),
            }
        )
        take_snapshot(restored, again, "d")
        pack_dataset(restored, again, "d")
        found = submit_chunk(restored, "p", key)
        assert isinstance(found, Submitted)
        assert found.job_arn == bought.job_arn
        assert len(control.jobs()) == 1
        assert restored.ledger.interventions.orphans() == []
