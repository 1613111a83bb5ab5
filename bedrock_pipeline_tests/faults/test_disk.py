"""Disks are full: of Postgres, of S3, of the work folder. Once there is space again, everything goes on."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline.local.s3 import start_s3
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, until_published
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.worker import tick

_USER, _PASSWORD = "ledger", "a-password"


@dataclass(frozen=True)
class SmallDisk:
    """A disk of its own that can be filled."""

    path: Path

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left within the block."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        assert os.statvfs(self.path).f_bavail == 0
        yield
        filler.unlink()


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """128 MB that only root can have; skipped otherwise."""
    path = Path(tempfile.mkdtemp(prefix="small-disk-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128m,mode=700", "tmpfs", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        path.rmdir()
        pytest.skip(f"A full disk needs a small one, which only root can mount: {done.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)
    path.rmdir()


def _tick_until(
    deployment: Deployment, one: Pipeline, errors: tuple[type[Exception], ...], met: Callable[[], bool]
) -> int:
    """Tick until something is so; how many ticks failed with one of the errors."""
    failed = 0
    deadline = time.monotonic() + 300
    while not met():
        assert time.monotonic() < deadline
        try:
            tick(deployment, one)
        except errors:
            failed += 1
    return failed


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is None


def _all_ended(control: Control) -> Callable[[], bool]:
    return lambda: bool(jobs := control.jobs()) and all("endTime" in job for job in jobs)


@pytest.mark.faults
def test_the_disk_of_postgres_is_full(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    small_disk: SmallDisk,
    report: list[dict[str, object]],
) -> None:
    one, port = dataset(tmp_path), free_port()
    server = start_postgres(small_disk.path, port, _USER, _PASSWORD, (_USER,))
    dsn = f"host=127.0.0.1 port={port} user={_USER} password={_PASSWORD} dbname={_USER}"
    try:
        with emulated_deployment(
            deployment, stack_endpoints, tmp_path / "data", database_dsn=SecretStr(dsn)
        ) as (
            here,
            control,
        ):
            here.ledger.migrate()
            with small_disk.full():
                assert _tick_until(here, one, (ServiceUnavailableError,), _times(2)) == 2
            tick(here, one)
            with small_disk.full():
                _tick_until(here, one, (ServiceUnavailableError,), _times(3))
            ticks = until_published(here, one)
            entry = settled(here, one, control.url)
    finally:
        server.end()
    report.append({"point": "the disk of Postgres is full", "scenario": "disk", "ticks": ticks, **entry})


@pytest.mark.faults
def test_the_disk_of_s3_is_full(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    small_disk: SmallDisk,
    report: list[dict[str, object]],
) -> None:
    one, port = dataset(tmp_path), free_port()
    url = f"http://127.0.0.1:{port}"
    keys = stack_endpoints.access_key_id, stack_endpoints.secret_access_key
    (tmp_path / "home").mkdir()
    server = start_s3(tmp_path / "home", small_disk.path / "s3", port, *keys)
    try:
        s3_client(deployment.settings.model_copy(update={"s3_endpoint_url": url})).create_bucket(
            Bucket=deployment.settings.bucket
        )
        with emulated_deployment(
            deployment, stack_endpoints, tmp_path / "data", s3_endpoint_url=url, s3_of_emulator=url
        ) as (here, control):
            with small_disk.full():
                assert _tick_until(here, one, (AwsError,), _times(2)) == 2
            assert here.ledger.datasets.ensure("p", "d").packed_at is None
            _tick_until(here, one, (), lambda: bool(control.jobs()))
            while not _all_ended(control)():
                time.sleep(0.05)
            uncollected = here.ledger.datasets.progress("p", "d").uncollected
            with small_disk.full():
                failed = _tick_until(here, one, (AwsError,), _times(3))
            assert failed or not uncollected
            ticks = until_published(here, one)
            entry = settled(here, one, control.url)
    finally:
        server.end()
    report.append({"point": "the disk of S3 is full", "scenario": "disk", "ticks": ticks, **entry})


@pytest.mark.faults
def test_the_disk_of_the_work_folder_is_full(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    small_disk: SmallDisk,
    report: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = dataset(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk.path))
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        with small_disk.full():
            assert _tick_until(here, one, (OSError,), _times(2)) == 2
        _tick_until(here, one, (), lambda: bool(control.jobs()))
        while not _all_ended(control)():
            time.sleep(0.05)
        with small_disk.full():
            _tick_until(here, one, (OSError,), _times(3))
        ticks = until_published(here, one)
        entry = settled(here, one, control.url)
    assert list(small_disk.path.iterdir()) == [], "a failed run leaves nothing behind"
    report.append({"point": "the work folder is full", "scenario": "disk", "ticks": ticks, **entry})
