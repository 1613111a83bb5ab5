"""With a `System` of their own, two runs of a dataset do the same, in one thread over one connection."""

import itertools
import random
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from botocore.awsrequest import AWSPreparedRequest
from psycopg.rows import DictRow, dict_row

from bedrock_pipeline.aws.jobs import BedrockJobs, Found
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.system import System, inline
from bedrock_pipeline_tests.journey.driven import finish, pipeline

_T = TypeVar("_T")
_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def _seeded() -> System:
    ids, ticks = random.Random(1), itertools.count()
    return System(
        new_id=lambda: UUID(int=ids.getrandbits(128)),
        rng=random.Random(2),
        now=lambda: _BEGIN + timedelta(milliseconds=next(ticks)),
        monotonic=lambda: next(ticks) / 1000,
        sleep=lambda _: None,
        executor=inline,
        start=lambda _, __: lambda: None,
    )


class _Hooked(psycopg.Connection[DictRow]):
    """Records the threads that wait for the server."""

    waited: set[int]

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **kwargs: Any) -> _T:
        type(self).waited.add(threading.get_ident())
        return super().wait(gen, *args, **kwargs)


def _same_clock(jobs: BedrockJobs, now: Callable[[], datetime]) -> Callable[[UUID], Found]:
    """AWS's clock is the test's."""
    find = jobs.find
    return lambda chunk: replace(find(chunk), server_time=now())


def _note(sent: set[int], request: AWSPreparedRequest, **_: Any) -> None:
    if request.method != "GET":  # Arrow reads parquet files in threads of its own
        sent.add(threading.get_ident())


def _everything(deployment: Deployment) -> dict[str, list[dict[str, Any]]]:
    """What the ledger has, without times and without what the emulator chose."""
    chunks = deployment.ledger.database.fetch(
        """SELECT chunk_id, chunk_key, content_hash, fence, intent_id, token, frozen_request, status, submissions, answered,
                  final_errors, retryable, input_tokens, output_tokens, cost_usd, on_demand_cost_usd, problem
           FROM bedrock_pipeline.chunks ORDER BY chunk_key"""
    )
    calls = deployment.ledger.database.fetch(
        "SELECT position, wave, times, answer FROM bedrock_pipeline.on_demand_calls ORDER BY chunk_id, position"
    )
    return {"chunks": chunks, "calls": calls}


def test_two_runs_do_the_same(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dsn = deployment.settings.database_dsn.get_secret_value()
    one = pipeline(tmp_path, [f"t{n}" for n in range(250)])
    runs, sent = [], set[int]()
    for number in range(2):
        with EmulatorProcess(
            tmp_path / f"emulator-{number}",
            stack_endpoints.s3_endpoint_url,
            stack_endpoints.access_key_id,
            stack_endpoints.secret_access_key,
            ("--speed", "2000"),
        ) as emulator:
            emulator.control.add_fault("record_error", record_ids=["r1", "r2", "r3"], error_code=429)
            settings = deployment.settings.model_copy(
                update={"bedrock_endpoint_url": emulator.url, "bedrock_runtime_endpoint_url": emulator.url}
            )
            _Hooked.waited = set()
            sent.clear()
            with open_deployment(
                settings,
                system=(system := _seeded()),
                connect=lambda: _Hooked.connect(dsn, row_factory=dict_row),
            ) as seeded:
                for client in (
                    seeded.jobs._reading,
                    seeded.jobs._creating,
                    seeded.runtime._client,
                    seeded.objects._client,
                ):
                    client.meta.events.register("before-send", partial(_note, sent))
                monkeypatch.setattr(seeded.jobs, "find", _same_clock(seeded.jobs, system.now))
                rows = finish(seeded, one)
                rows.sort(key=lambda row: row["n"])  # Bedrock's output is in no order
                runs.append({**_everything(seeded), "rows": [row | {"job_arn": None} for row in rows]})
            assert _Hooked.waited == sent == {threading.get_ident()}
        _empty(dsn)
    assert len(runs[0]["rows"]) == 250
    assert [call["position"] for call in runs[0]["calls"]] == [0, 1, 2]
    assert runs[0] == runs[1]


def _empty(dsn: str) -> None:
    """The same deployment, as new."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = '0'")
        connection.execute(
            "TRUNCATE bedrock_pipeline.chunks, bedrock_pipeline.datasets, bedrock_pipeline.events, bedrock_pipeline.commits CASCADE"
        )
