"""Postgres goes away, in every way that it can, while a dataset runs."""

import ctypes
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import Child, free_port
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.worker import state_of, tick
from bedrock_pipeline_tests.waiting import Progress

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


class _Proxy:
    """Stands before Postgres, and cuts the connection when a commit was done but not yet acknowledged.

    Args:
        every: one commit in this many loses its acknowledgement, at random: by count it could always be the same commit of a
            tick, which then never ends.
    """

    def __init__(self, host: str, port: int, every: int) -> None:
        self._target = host, port
        self._rate = 1 / every
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            lost = threading.Event()
            for source, target, watched in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, lost, watched), daemon=True).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, lost: threading.Event, watched: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if watched and b"COMMIT\x00" in data and self._strikes():
                    lost.set()
                if not watched and lost.is_set():
                    break  # Postgres has responded: it is done, and the client does not know
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _strikes(self) -> bool:
        with self._lock:
            struck = random.random() < self._rate
            self.lost += struck
            return struck


@pytest.mark.faults
@pytest.mark.parametrize("every", [2, 3, 5])
def test_acknowledgements_of_commits_are_lost(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    every: int,
) -> None:
    one = dataset(tmp_path)
    proxy = _Proxy(stack_endpoints.postgres_host, stack_endpoints.postgres_port, every)
    dsn = make_conninfo(_dsn(deployment), port=proxy.port)
    try:
        with _opened(deployment, dsn) as here:
            _run(here, one)
    finally:
        proxy.close()
    assert proxy.lost > 5
    entry = settled(deployment, one, stack_endpoints.bedrock_endpoint_url)
    report.append({"point": f"{proxy.lost} commits unacknowledged", "scenario": "postgres", **entry})


@pytest.mark.faults
def test_sessions_are_terminated_again_and_again(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, report: list[dict[str, object]]
) -> None:
    one, over, terminated = dataset(tmp_path), threading.Event(), [0]
    name = conninfo_to_dict(_dsn(deployment))["dbname"]

    def terminate() -> None:
        with psycopg.connect(stack_endpoints.dsn("postgres"), autocommit=True) as connection:
            # At times that are far enough apart for a transaction on a busy machine now and then.
            while not over.wait(random.expovariate(8)):
                terminated[0] += connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
                ).rowcount

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        with _opened(deployment, _dsn(deployment)) as here:
            _run(here, one, pause=0.1)
    finally:
        over.set()
        thread.join()
    assert terminated[0], "how many there are depends on how quick the machine is"
    entry = settled(deployment, one, stack_endpoints.bedrock_endpoint_url)
    report.append({"point": f"{terminated[0]} sessions terminated", "scenario": "postgres", **entry})


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["restarted", "killed"])
def test_the_server_goes_away_and_comes_back(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    how: signal.Signals,
) -> None:
    one, port = dataset(tmp_path), free_port()

    def start() -> Child:
        return start_postgres(tmp_path / "home", port, "ledger", "a-password", ("ledger",))

    server = start()
    starter = ThreadPoolExecutor(1)
    try:
        dsn = f"host=127.0.0.1 port={port} user=ledger password=a-password dbname=ledger"
        with _opened(deployment, dsn) as here:
            here.ledger.migrate()
            for _ in range(3):  # in the middle of it: nothing, submitted, running
                tick(here, one)
                server.process.send_signal(how)
                server.process.wait()
                starting = starter.submit(start)
                with suppress(ServiceUnavailableError):
                    tick(here, one)
                server = starting.result()
            _run(here, one)
            entry = settled(here, one, stack_endpoints.bedrock_endpoint_url)
    finally:
        starter.shutdown()
        server.end()
    report.append({"point": f"Postgres {how.name} three times", "scenario": "postgres", **entry})


@pytest.mark.faults
def test_a_task_is_there_though_the_server_crashed_before_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the crash another transaction gets the id of the one that was lost, and is committed."""
    port = free_port()
    dsn = f"host=127.0.0.1 port={port} user=ledger password=a-password dbname=ledger"
    servers = [start_postgres(tmp_path / "home", port, "ledger", "a-password", ("ledger",))]
    commit = psycopg.Connection.commit
    ids: list[int] = []

    def task(record_id: str) -> NewTask:
        return NewTask(record_id, b"{}\n")

    def crash(connection: psycopg.Connection[Any]) -> None:
        monkeypatch.undo()
        ids.append(_transaction_id(connection))
        servers[0].process.send_signal(signal.SIGQUIT)
        servers[0].process.wait()
        servers.append(start_postgres(tmp_path / "home", port, "ledger", "a-password", ("ledger",)))
        with Ledger(dsn) as others:
            while ids[-1] < ids[0]:
                others.tasks.add("q", [task(f"other {len(ids)}")], replace=False)
                ids.append(others.database.transaction(_transaction_id))
        commit(connection)

    try:
        with Ledger(dsn) as ledger:
            ledger.migrate()
            ledger.queues.register("q", job_type="batch", model_id="m", settings={})
            monkeypatch.setattr(psycopg.Connection, "commit", crash)
            ledger.tasks.add("q", [task("mine")], replace=False)
            assert "mine" in [one.record_id for one in ledger.tasks.in_order("q", newest=2**62, limit=1000)]
    finally:
        for server in servers:
            server.end()


def _transaction_id(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT pg_current_xact_id()::text::bigint AS id").fetchone()
    assert row is not None
    return int(row["id"])


@pytest.mark.faults
def test_a_server_that_is_gone_without_a_word_is_noticed_within_a_minute(tmp_path: Path) -> None:
    """A failover that resets no connection: the network between is taken away while a statement runs."""
    log = tmp_path / "noticed.log"
    code = exit_code(start_child(partial(_wait_without_a_network, tmp_path / "home"), log))
    if code and "has no network of its own" in log.read_text():
        pytest.skip("A network that can be taken away needs root.")
    assert code == 0, log.read_text()


def _wait_without_a_network(home: Path) -> None:
    if ctypes.CDLL(None).unshare(_NEW_NETWORK):
        raise PermissionError("The process has no network of its own.")
    _switch_loopback("up")
    home.mkdir()
    server = start_postgres(home, 5432, "ledger", "a-password", ("ledger",))
    try:
        dsn = "host=127.0.0.1 port=5432 user=ledger password=a-password dbname=ledger"
        with closing(Database(dsn)) as database, pytest.raises(ServiceUnavailableError):
            database.transaction(_lose_the_network, tries=1)
    finally:
        server.end()


def _lose_the_network(connection: psycopg.Connection[dict[str, object]]) -> None:
    threading.Timer(1, _switch_loopback, ["down"]).start()
    began = time.monotonic()
    try:
        connection.execute("SELECT pg_sleep(200)")
    finally:
        noticed = time.monotonic() - began
        assert 1 < noticed < 60, noticed


def _switch_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


@pytest.mark.parametrize(
    "failure",
    [psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.OperationalError],
)
def test_what_postgres_says_to_try_again_is_tried_again(
    postgres_dsn: str, failure: Callable[[str], psycopg.Error]
) -> None:
    slept: list[float] = []
    database = Database(postgres_dsn, sleep=slept.append)
    failures = [failure("again") for _ in range(3)]

    def work(connection: psycopg.Connection[dict[str, object]]) -> object:
        if failures:
            raise failures.pop()
        return connection.execute("SELECT 1 AS one").fetchone()

    assert database.transaction(work) == {"one": 1}
    assert slept == sorted(slept)
    assert len(slept) == 3
    database.close()


def test_a_real_deadlock_is_tried_again(postgres_dsn: str) -> None:
    database = Database(postgres_dsn)
    database.execute("CREATE TABLE pairs AS SELECT n, 0 AS hits FROM generate_series(1, 2) AS n")
    both = threading.Barrier(2)
    met = threading.local()

    def hit(first: int, second: int) -> None:
        def work(connection: psycopg.Connection[dict[str, object]]) -> None:
            connection.execute("UPDATE pairs SET hits = hits + 1 WHERE n = %s", (first,))
            if not getattr(met, "done", False):
                met.done = True
                both.wait()
            connection.execute("UPDATE pairs SET hits = hits + 1 WHERE n = %s", (second,))

        database.transaction(work)

    threads = [threading.Thread(target=hit, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["hits"] for row in database.fetch("SELECT hits FROM pairs")] == [2, 2]
    database.close()


def _dsn(deployment: Deployment) -> str:
    return deployment.settings.database_dsn.get_secret_value()


@contextmanager
def _opened(deployment: Deployment, dsn: str) -> Iterator[Deployment]:
    changed = {"database_dsn": SecretStr(dsn), "lease_s": 10, "consistency_window_s": 0}
    with open_deployment(deployment.settings.model_copy(update=changed)) as here:
        yield here


def _run(deployment: Deployment, one: Pipeline, pause: float = 0.02) -> None:
    """Tick until the dataset is published; a tick that fails is followed by the next."""
    progress = Progress()
    while True:
        state: object = "Postgres is away"
        with suppress(ServiceUnavailableError):
            if tick(deployment, one):
                return
            state = state_of(deployment, one)
        progress.see(state)
        time.sleep(pause)
