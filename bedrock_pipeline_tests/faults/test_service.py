"""Bedrock and S3 misbehave; when they stop, everything settles within a bounded number of ticks."""

import http.client
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, patient_tick, until_published
from bedrock_pipeline_tests.faults.invariants import RECORDS, dataset, published, settled

#: Ticks while the fault is there.
FAULTY_TICKS = 8
_CREATE, _LIST, _GET = (
    f"{verb}ModelInvocationJob{end}" for verb, end in (("Create", ""), ("List", "s"), ("Get", ""))
)


@dataclass(frozen=True)
class Trouble:
    """One trial.

    Attributes:
        faults: what goes wrong.
        options: of the emulator.
        creates_nothing: no job may be made while it goes wrong.
        stays: it goes wrong until the end, rather than for `FAULTY_TICKS`.
        answered: how many records may have an answer in the end; the others have a final error.
    """

    name: str
    faults: tuple[dict[str, Any], ...]
    options: tuple[str, ...] = ()
    creates_nothing: bool = False
    stays: bool = False
    answered: tuple[int, ...] = (RECORDS,)


_LOST = {"kind": "answer_lost", "operation": _CREATE, "times": 2}
TROUBLES = (
    Trouble(
        "throttled",
        ({"kind": "error", "operation": _CREATE, "error": "ThrottlingException"},),
        creates_nothing=True,
    ),
    Trouble(
        "over the account's quota",
        ({"kind": "error", "operation": _CREATE, "error": "ServiceQuotaExceededException"},),
        creates_nothing=True,
    ),
    Trouble("the answer is lost after accept", (_LOST,)),
    Trouble("500 after accept", ({"kind": "error_after", "operation": _CREATE, "times": 2},)),
    Trouble("500 before accept", ({"kind": "error", "operation": _CREATE, "times": 3},)),
    Trouble("the answer is lost and List lags", (_LOST, {"kind": "list_lag", "delay": 1.5})),
    Trouble(
        "the answer is lost, List lags, and a known token gets no ARN",
        (_LOST, {"kind": "list_lag", "delay": 1.5}),
        ("--same-token", "silent"),
    ),
    Trouble(
        "the answer is lost and the token forgotten",
        (_LOST,),
        ("--token-lifetime", "0", "--job-names", "repeatable"),
    ),
    Trouble("the answer is lost and tokens are ignored", (_LOST,), ("--other-request", "ignored")),
    Trouble(
        "List is denied",
        ({"kind": "error", "operation": _LIST, "error": "AccessDeniedException"},),
        creates_nothing=True,
    ),
    Trouble("List fails now and then", ({"kind": "error", "operation": _LIST, "rate": 0.5},)),
    Trouble(
        "pages of List are empty or repeated",
        ({"kind": "list_empty_page", "rate": 0.5}, {"kind": "list_repeated", "rate": 0.5}),
    ),
    Trouble("a status goes backwards", ({"kind": "status_backwards", "rate": 0.5},)),
    Trouble("Get fails", ({"kind": "error", "operation": _GET},)),
    Trouble("jobs wait over the quota", (), ("--max-jobs", "1", "--over-quota", "queued")),
    Trouble(
        "every operation is throttled now and then",
        ({"kind": "error", "error": "ThrottlingException", "rate": 0.4},),
    ),
    *(
        Trouble(name, faults, stays=True, answered=answered)
        for name, faults, answered in (
            ("lines are missing", ({"kind": "line_missing", "record_ids": ["r1", "r300"]},), (RECORDS,)),
            ("lines are repeated", ({"kind": "line_repeated", "rate": 0.2},), (RECORDS,)),
            ("lines are nobody's", ({"kind": "line_extra", "rate": 0.2},), (RECORDS,)),
            ("lines are cut off", ({"kind": "line_cut", "record_ids": ["r1"]},), (RECORDS,)),
            ("there is no manifest", ({"kind": "manifest_missing"},), (RECORDS,)),
            ("the manifest is wrong", ({"kind": "manifest_wrong"},), (RECORDS,)),
            (
                "records fail in a way that passes",
                ({"kind": "record_error", "record_ids": ["r1", "r2"], "error_code": 429},),
                (RECORDS,),
            ),
            (
                "records fail for good",
                ({"kind": "record_error", "record_ids": ["r1"], "error_code": 400},),
                (RECORDS - 1,),
            ),
        )
    ),
    Trouble(
        "a job fails in a way that passes",
        (
            {
                "kind": "job_ends",
                "status": "Failed",
                "message": "Internal server error",
                "at": 0.4,
                "times": 1,
            },
        ),
        stays=True,
    ),
    *(
        Trouble(
            f"a job ends {status}",
            ({"kind": "job_ends", "status": status, "at": 0.4, "times": 1},),
            stays=True,
        )
        # What waits for an operator then, one retries.
        for status in ("Failed", "PartiallyCompleted", "Stopped", "Expired")
    ),
)


@pytest.mark.faults
@pytest.mark.parametrize("trouble", [pytest.param(one, id=one.name) for one in TROUBLES])
def test_a_service_that_misbehaves(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    trouble: Trouble,
) -> None:
    one = dataset(tmp_path)
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data", *trouble.options) as (
        here,
        control,
    ):
        for fault in trouble.faults:
            control.add_fault(**fault)
        for _ in range(FAULTY_TICKS):
            patient_tick(here, one)
        assert not (trouble.creates_nothing and control.jobs())
        if not trouble.stays:
            control.clear_faults()
        ticks = until_published(here, one)
        entry = settled(here, one, control.url)
        answered = sum(status == "succeeded" for status in published(here, one)["status"].to_pylist())
        assert answered in trouble.answered, control.jobs()
    report.append({"point": trouble.name, "scenario": "service", "ticks": ticks, **entry})


class _Proxy(ThreadingHTTPServer):
    """Stands before S3; every third request is answered with 503, every third download is cut off."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = target
        self.broken = {"503": 0, "cut off": 0}
        self.well = threading.Event()
        self._seen = {"request": 0, "download": 0}
        self._lock = threading.Lock()

    def is_third(self, what: str) -> bool:
        with self._lock:
            self._seen[what] += 1
            return not self.well.is_set() and self._seen[what] % 3 == 0


class _Forward(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"  # answers `Expect: 100-continue`, which boto3 sends before it uploads

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _forward(self) -> None:
        body = self._body()
        self.close_connection = True
        if self.server.is_third("request"):
            self.server.broken["503"] += 1
            self.send_response_only(503)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        target = http.client.HTTPConnection(self.server.target)
        unsigned = ("expect", "transfer-encoding", "content-length", "connection")
        kept = {name: value for name, value in self.headers.items() if name.lower() not in unsigned}
        target.request(self.command, self.path, body, kept)
        answer = target.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET" and "list-type" not in self.path and self.server.is_third("download"):
            self.server.broken["cut off"] += 1
            data = data[: len(data) // 2]
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815  # the base class's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.faults
def test_s3_answers_503_and_breaks_off(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, report: list[dict[str, object]]
) -> None:
    one = dataset(tmp_path)
    with _Proxy(stack_endpoints.s3_endpoint_url.removeprefix("http://")) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        with emulated_deployment(
            deployment, stack_endpoints, tmp_path / "data", s3_endpoint_url=url, max_attempts=6
        ) as (
            here,
            control,
        ):
            ticks = until_published(here, one)
            proxy.well.set()
            entry = settled(here, one, control.url)
        proxy.shutdown()
    assert min(proxy.broken.values()) > 0, proxy.broken
    report.append({"point": "S3 misbehaves", "scenario": "service", "ticks": ticks, **entry})
