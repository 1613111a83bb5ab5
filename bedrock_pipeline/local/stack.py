"""The three parts together."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bedrock_pipeline.local.endpoints import Endpoints, forget_endpoints, not_led_elsewhere, write_endpoints
from bedrock_pipeline.local.extra import require_local
from bedrock_pipeline.local.home import load_secrets, take_lock
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import Child, check_port, end_remaining
from bedrock_pipeline.local.s3 import listens, start_s3


@dataclass(frozen=True)
class StackConfig:
    """What a stack is started with; a port of 0 means a free one.

    Attributes:
        home: folder that keeps everything.
        emulator: further arguments of the emulator (`python -m bedrock_pipeline.emulator --help`).
    """

    home: Path
    postgres_port: int = 0
    s3_port: int = 0
    bedrock_port: int = 0
    emulator: tuple[str, ...] = ()


class Stack:
    """A running embedded stack; a context manager that ends it.

    What is stored survives a restart and a kill. `prepare` is called before others can find the stack.

    Raises:
        MissingExtraError: the extra `local` is not installed.
        AlreadyRunningError: another process runs it at this home.
        LocalError: a part does not start; names its log.
    """

    def __init__(
        self, config: StackConfig, *, prepare: Callable[[Endpoints], object] = lambda _: None
    ) -> None:
        require_local()
        self._exit = ExitStack()
        self._children: list[Child] = []
        with ExitStack() as starting:
            lock = starting.enter_context(take_lock(config.home))
            forget_endpoints(config.home)  # of one that was killed
            end_remaining(config.home)
            self.endpoints = _plan(config)
            for child in _children(self.endpoints, config):
                starting.callback(child.end)
                self._children.append(child)
            prepare(self.endpoints)
            write_endpoints(self.endpoints)
            starting.callback(forget_endpoints, config.home)  # first: nobody begins with what is ending
            del lock
            self._exit = starting.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def require_running(self) -> None:
        """Check that no part has ended by itself.

        Raises:
            LocalError: one has; names its log.
        """
        for child in self._children:
            child.require_running()

    def stop(self) -> None:
        """End every part, last started first."""
        self._exit.close()


def _plan(config: StackConfig) -> Endpoints:
    return Endpoints(
        home=config.home,
        postgres_port=check_port(config.postgres_port, "Postgres"),
        s3_port=check_port(config.s3_port, "S3"),
        bedrock_port=check_port(config.bedrock_port, "the emulator"),
        s3_root=config.home / "s3",
        **load_secrets(config.home),
    )


def _children(endpoints: Endpoints, config: StackConfig) -> Iterator[Child]:
    """Start the parts, and wait until they are ready; the emulator's imports take as long as Postgres' first start."""
    databases = endpoints.database, endpoints.dagster_database
    user, password = endpoints.postgres_user, endpoints.postgres_password
    (endpoints.s3_root / endpoints.bucket).mkdir(parents=True, exist_ok=True)
    yield start_s3(config.home, endpoints.s3_root, endpoints.s3_port, *endpoints.keys)
    emulator = _start_emulator(endpoints, config)
    yield emulator
    yield start_postgres(config.home, endpoints.postgres_port, user, password, databases)
    emulator.wait_until(lambda: listens(endpoints.bedrock_port))


def _start_emulator(endpoints: Endpoints, config: StackConfig) -> Child:
    command = [sys.executable, "-P", "-m", "bedrock_pipeline.emulator", "--port", str(endpoints.bedrock_port)]
    command += ["--data", str(config.home / "emulator"), "--s3-endpoint-url", endpoints.s3_endpoint_url]
    return Child(
        "emulator",
        [*command, *config.emulator],
        config.home,
        {
            **not_led_elsewhere(os.environ),
            "AWS_ACCESS_KEY_ID": endpoints.access_key_id,
            "AWS_SECRET_ACCESS_KEY": endpoints.secret_access_key,
            "AWS_REGION": endpoints.region,
        },
        end_signal=signal.SIGTERM,
    )
