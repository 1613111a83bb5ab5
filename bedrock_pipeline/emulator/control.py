"""A running emulator, from the outside.

What belongs here: starting it as a process, killing it, and its own routes, for tests and for whoever plays with it.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from bedrock_pipeline.emulator.clients import session_by_value
from bedrock_pipeline.emulator.signature import basic_authorization

_END_SECONDS = 20.0
#: What the environment names as a proxy gets neither the requests nor the keys in them.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EmulatorError(Exception):
    """The emulator did not start, or rejected a setting; the message says why."""


@dataclass(frozen=True)
class Control:
    """The routes beneath `/_emulator`.

    Attributes:
        url: `http://HOST:PORT`.
        keys: the key pair that the emulator was started with.
    """

    url: str
    keys: tuple[str, str] = field(repr=False)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that was ever created, with token, name, times and counts."""
        found: list[dict[str, Any]] = self._call("GET", "jobs")["jobs"]
        return found

    def most_in_flight(self) -> dict[str, int]:
        """The most jobs that were ever in flight at once, by model id."""
        found: dict[str, int] = self._call("GET", "jobs")["mostInFlight"]
        return found

    def advance(self, seconds: float) -> None:
        """Move the jobs' clock forward."""
        self._call("POST", "clock", {"seconds": seconds})

    def set_quota(self, max_jobs: int) -> None:
        """Jobs at once, per model, from now on; those that run go on."""
        self._call("POST", "quota", {"maxJobs": max_jobs})

    def set_behaviour(self, **switches: str | float | None) -> dict[str, Any]:
        """Change switches, by the names of `behaviour.Behaviour`; all of them, as they are then.

        Raises:
            EmulatorError: a switch is unknown, or cannot have the value.
        """
        found: dict[str, Any] = self._call("POST", "behaviour", switches)
        return found

    def set_role(self, role_arn: str, policy: dict[str, Any] | None) -> None:
        """What jobs with a role may do, as an IAM policy; None: everything, as without this.

        Raises:
            EmulatorError: it is no policy.
        """
        self._call("POST", "roles", {"roleArn": role_arn, "policy": policy})

    def add_fault(self, kind: str, **members: Any) -> None:
        """From now on; the members are those of `faults.Fault`.

        Raises:
            EmulatorError: a member is unknown or not what it should be.
        """
        self._call("POST", "faults", {"kind": kind, **members})

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are there, with how often they struck."""
        found: list[dict[str, Any]] = self._call("GET", "faults")["faults"]
        return found

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._call("DELETE", "faults")

    def reset(self) -> None:
        """Forget every job and every fault."""
        self._call("DELETE", "")

    def _call(self, method: str, route: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self.url}/_emulator/{route}".rstrip("/")
        request = urllib.request.Request(  # noqa: S310  # our own server
            url, method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", basic_authorization(self.keys))
        try:
            with _DIRECTLY.open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise EmulatorError(json.load(error)["message"]) from None


class EmulatorProcess:
    """A separate emulator; a context manager that ends it.

    Args:
        data: folder that keeps its jobs.
        s3_endpoint_url: where S3 is; None for AWS itself.
        access_key_id: of the one key pair that it takes, and with which it reads and writes S3.
        secret_access_key: of the same.
        options: of its command line.

    Raises:
        EmulatorError: it does not start; with what it said.
    """

    def __init__(
        self,
        data: Path,
        s3_endpoint_url: str | None,
        access_key_id: str,
        secret_access_key: str,
        options: Sequence[str] = (),
        region: str = "us-east-1",
    ) -> None:
        self._keys = access_key_id, secret_access_key
        self._s3 = s3_endpoint_url
        self.region = region
        command = [sys.executable, "-P", "-m", "bedrock_pipeline.emulator", "--data", str(data), *options]
        if s3_endpoint_url:
            command += ["--s3-endpoint-url", s3_endpoint_url]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                "AWS_ACCESS_KEY_ID": access_key_id,
                "AWS_SECRET_ACCESS_KEY": secret_access_key,
                "AWS_REGION": region,
            },
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        line = stdout.readline() if stdout else ""
        if not line.startswith("ready "):
            said = stderr.read() if stderr else ""
            self._process.wait()
            raise EmulatorError(f"The emulator did not start: {said.strip()}")
        self.url = line.split()[1]
        self.control = Control(self.url, self._keys)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def session(self) -> boto3.Session:
        """A boto3 session whose clients for S3, Bedrock and its runtime talk to this machine."""
        urls = {"bedrock": self.url, "bedrock-runtime": self.url, "s3": self._s3}
        return session_by_value(
            self._keys, self.region, {service: url for service, url in urls.items() if url}
        )

    def kill(self) -> None:
        """SIGKILL; its jobs and settings are on disk."""
        self._process.kill()
        self._close()

    def stop(self) -> None:
        """End it cleanly."""
        self._process.terminate()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()

    def _close(self) -> None:
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
