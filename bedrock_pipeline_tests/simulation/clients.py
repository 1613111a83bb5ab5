"""What a simulated process has: boto3 clients that stop at each request, and a connection that stops at each statement.

What belongs here: slots, which are made once, since clients take long to make, and lent to one process after the other.
"""

from collections.abc import Callable
from typing import Any, Final

import boto3
import psycopg
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from bedrock_pipeline.aws.clients import creating_client, reading_client, runtime_client
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.ledger.database import Connection
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.simulation.direct import DirectClient
from bedrock_pipeline_tests.simulation.postgres import Stoppable
from bedrock_pipeline_tests.simulation.scheduler import Process
from bedrock_pipeline_tests.simulation.service import Service

BUCKET: Final = "simulated"
_ENDPOINT = "http://simulated"


def settings(dsn: str) -> Settings:
    """Those of every simulated process: its clients try once, since what a retry hides is to be seen."""
    return Settings.model_validate(
        {
            "bucket": BUCKET,
            "role_arn": "arn:aws:iam::123456789012:role/bedrock-batch",
            "access_key_id": "simulated",
            "secret_access_key": "simulated",
            "s3_endpoint_url": _ENDPOINT,
            "bedrock_endpoint_url": _ENDPOINT,
            "bedrock_runtime_endpoint_url": _ENDPOINT,
            "ignore_aws_configuration": True,
            "database_dsn": dsn,
            "retry_mode": "standard",
            "max_attempts": 1,
            "on_demand_calls_per_s": 1000,
        }
    )


class Slot:
    """The clients and the session of one process at a time.

    Args:
        given: the settings.
        monotonic: the simulation's clock.

    Attributes:
        service: what responds; of the simulation that runs now.
        process: whose it is; None while the simulation itself uses it.
        name: its name in the history.
    """

    def __init__(self, given: Settings, monotonic: Callable[[], float]) -> None:
        self._dsn = given.database_dsn.get_secret_value()
        self.service: Service | None = None
        self.process: Process | None = None
        self.name = "the simulation"
        self._session: Stoppable | None = None
        self._lent = False
        creating, reading, runtime = creating_client(given), reading_client(given), runtime_client(given)
        s3 = boto3.client(
            "s3",
            region_name=given.region,
            endpoint_url=_ENDPOINT,
            config=Config(
                signature_version=UNSIGNED,
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        for client in (creating, reading, runtime):
            events: Any = client.meta.events  # its stubs know no handler that responds
            events.register_first("before-send", self._stop_at_bedrock)
            events.register_last("before-send", self._bedrock)
        events = s3.meta.events
        events.register_first("before-send", self._s3)
        self._stopping = S3Objects(s3, use_threads=False)
        direct: Any = DirectClient(lambda: self._service.objects, self._changed)
        self._direct = S3Objects(direct, use_threads=False)
        self.jobs = BedrockJobs(creating, reading, monotonic)
        self.runtime = BedrockRuntime(runtime)

    @property
    def objects(self) -> S3Objects:
        """S3, for whoever has the slot."""
        return self._stopping if self.process else self._direct

    def connect(self) -> Connection:
        """A session of the process; the first is kept for the slot's next one."""
        if self.process and "Postgres" in self.process.scheduler.away:
            raise psycopg.OperationalError("the simulation's Postgres is away")
        if self._session is None or self._session.closed:
            self._session = Stoppable.open(self._dsn)
            self._lent = False
        session = self._session if not self._lent else Stoppable.open(self._dsn)
        self._lent = self._lent or session is self._session
        session.lend(self.process)
        return session

    def lend(self, name: str, process: Process | None) -> None:
        """Let a process have it."""
        self.name, self.process, self._lent = name, process, False

    def give_back(self) -> None:
        """Its process has ended; an open transaction ends as it does when a process dies."""
        session, self.process, self.name = self._session, None, "the simulation"
        if session and not session.closed:
            session.process = None
            try:
                session.rollback()
            except psycopg.Error:  # the server had ended it, since its transaction was idle for too long
                session.close()

    def close(self) -> None:
        """Close its session."""
        if self._session:
            self._session.close()

    def _stop_at_bedrock(self, event_name: str, **_: Any) -> None:
        """Before what the product does last, such as looking at its lease."""
        if self.process:
            self.process.stop(f"{event_name.rpartition('.')[2]}")

    def _bedrock(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        service = self._service
        fate = self.process.stop(f"send {operation}", "Bedrock") if self.process else "go"
        what = service.described(operation, request)
        if fate == "fail":
            self._ended(what, "not sent")
            raise EndpointConnectionError(endpoint_url=request.url)
        try:
            response = service.bedrock(request)
        except ConnectionClosedError:
            self._ended(what, "answer lost", **service.made())
            raise
        if fate == "lose":
            self._ended(what, "answer lost", **service.made())
            raise ConnectionClosedError(endpoint_url=request.url)
        self._ended(what, _how(response), **service.made())
        return response

    def _s3(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        service = self._service
        what = service.described_object(request)
        process = self.process if self._is_own_thread() else None
        fate = process.stop(what, "S3") if process else "go"
        if self.process and "S3" in self.process.scheduler.away:
            fate = "fail"
        if fate == "fail":
            self._ended(what, "not sent")
            raise EndpointConnectionError(endpoint_url=request.url)
        response, facts = service.s3(request)
        if fate == "lose":
            self._ended(what, "answer lost", **facts)
            raise ConnectionClosedError(endpoint_url=request.url)
        if process or not self.process:
            self._ended(what, _how(response), **facts)
        return response

    def _changed(self, what: str, key: str, content: bytes | None) -> None:
        self._ended(f"{what} {key}", "ok", **self._service.facts_of(key, content))

    def _is_own_thread(self) -> bool:
        """Arrow reads parquet files in threads of its own, in no order."""
        return self.process is None or self.process.in_its_thread()

    def _ended(self, what: str, how: str, **facts: Any) -> None:
        if self.process:
            self.process.ended(what, how, **facts)
        else:
            self._service.history.add(self.name, what, how, task=self._service.task, **facts)

    @property
    def _service(self) -> Service:
        assert self.service is not None  # a simulation runs
        return self.service


def _how(response: AWSResponse) -> str:
    return "ok" if response.status_code < 300 else f"HTTP {response.status_code}"
