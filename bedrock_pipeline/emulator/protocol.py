"""Bedrock's HTTP requests and responses, without a server.

What belongs here: paths, headers, signatures, and the faults that strike a response. What an operation does is
`service.py`'s, `runtime.py`'s and `model_listing.py`'s; a connection that brings the requests is `routes.py`'s, or a
simulation's.
"""

import json
import random
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.faults import Faults, Kind
from bedrock_pipeline.emulator.model_listing import ModelListing
from bedrock_pipeline.emulator.runtime import Runtime
from bedrock_pipeline.emulator.service import Service
from bedrock_pipeline.emulator.signature import check_sender, check_signature

_Act = Callable[["Request", str], tuple[dict[str, Any], dict[str, str]]]


@dataclass(frozen=True)
class Request:
    """A request as it comes over HTTP.

    Attributes:
        url: with scheme, host and query, as it was signed.
        headers: by lower-case name.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """The body's structure.

        Raises:
            ServiceError: it is none.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            raise invalid("The request body is not JSON") from None
        if not isinstance(value, dict):
            raise invalid("The request body is not a structure")
        return value

    def query(self) -> dict[str, str]:
        """The members in the URL's query."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


@dataclass(frozen=True)
class Response:
    """A response as it goes over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseLostError(Exception):
    """The operation was done, and its response does not arrive: the connection is to be cut."""


@dataclass(frozen=True)
class _Operation:
    name: str
    method: str
    path: re.Pattern[str]
    act: _Act


class Protocol:
    """Requests in, responses out; safe to use from several threads.

    Args:
        service: the batch operations.
        runtime: the on-demand operations.
        listing: the operations of models and inference profiles.
        faults: what goes wrong with responses.
        clock: dates responses, judges signatures, and waits for delays.
        keys: the key pair that signs requests; None takes every request.
        rng: makes the request ids.
    """

    def __init__(
        self,
        service: Service,
        runtime: Runtime,
        listing: ModelListing,
        faults: Faults,
        clock: Clock,
        keys: tuple[str, str] | None,
        rng: random.Random,
    ) -> None:
        self._service, self._runtime, self._listing = service, runtime, listing
        self._faults, self._clock, self._keys, self._rng = faults, clock, keys, rng
        self._operations = [
            _operation("CreateModelInvocationJob", "POST", "/model-invocation-job", self._create),
            _operation("ListModelInvocationJobs", "GET", "/model-invocation-jobs", self._list),
            _operation("StopModelInvocationJob", "POST", "/model-invocation-job/(.+)/stop", self._stop),
            _operation("GetModelInvocationJob", "GET", "/model-invocation-job/(.+)", self._get),
            _operation("ListFoundationModels", "GET", "/foundation-models", self._list_models),
            _operation("GetFoundationModel", "GET", "/foundation-models/(.+)", self._get_model),
            _operation(
                "GetFoundationModelAvailability",
                "GET",
                "/foundation-model-availability/(.+)",
                self._availability,
            ),
            _operation("ListInferenceProfiles", "GET", "/inference-profiles", self._list_profiles),
            _operation("GetInferenceProfile", "GET", "/inference-profiles/(.+)", self._get_profile),
            _operation("CountTokens", "POST", "/model/(.+)/count-tokens", self._count_tokens),
            _operation("InvokeModel", "POST", "/model/(.+)/invoke", self._invoke),
            _operation("Converse", "POST", "/model/(.+)/converse", self._converse),
        ]

    def rejected(self, request: Request) -> Response | None:
        """What a request gets whose head alone shows that it gets nothing else; None if its body is needed."""
        operation, _ = self._find(request)
        try:
            if operation is None:
                raise ServiceError("UnknownOperationException", "Unknown operation")
            if self._keys:
                check_sender(self._keys, self._clock.wall(), request.headers)
        except ServiceError as error:
            return self._error(error)
        return None

    def handle(self, request: Request) -> Response:
        """Do what the request asks, after the delay that a fault may want.

        Raises:
            ResponseLostError: as a fault wants.
        """
        if delay := self.delay(request):
            self._clock.sleep(delay)
        return self.respond(request)

    def delay(self, request: Request) -> float:
        """Seconds that a fault delays the request; each call counts."""
        operation, _ = self._find(request)
        if operation is None:
            return 0.0
        fault = self._faults.strike(Kind.DELAY, operation=operation.name, job_name=_job_name(request.body))
        return fault.delay if fault else 0.0

    def respond(self, request: Request) -> Response:
        """Do what the request asks, at once.

        Raises:
            ResponseLostError: as a fault wants.
        """
        operation, argument = self._find(request)
        try:
            if operation is None:
                raise ServiceError("UnknownOperationException", "Unknown operation")
            if self._keys:
                now = self._clock.wall()
                check_signature(self._keys, now, request.method, request.url, request.headers, request.body)
            content, headers = self._struck(operation, argument, request)
        except ServiceError as error:
            return self._error(error)
        return self._response(200, content, headers)

    def _struck(
        self, operation: _Operation, argument: str, request: Request
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The operation, and what the faults make of it."""
        name, job_name, faults = operation.name, _job_name(request.body), self._faults
        if fault := faults.strike(Kind.ERROR, operation=name, job_name=job_name):
            raise ServiceError(fault.error, fault.message)
        done = operation.act(request, argument)
        if faults.strike(Kind.ANSWER_LOST, operation=name, job_name=job_name):
            raise ResponseLostError
        if fault := faults.strike(Kind.ERROR_AFTER, operation=name, job_name=job_name):
            raise ServiceError(fault.error, fault.message)
        return done

    def _find(self, request: Request) -> tuple[_Operation | None, str]:
        """The operation of a request, and what its path names."""
        path = unquote(urlsplit(request.url).path)
        for operation in self._operations:
            if operation.method == request.method and (found := operation.path.fullmatch(path)):
                return operation, unquote(found[1]) if found.groups() else ""
        return None, ""

    def _create(self, request: Request, _: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._service.create(request.json()), {}

    def _get(self, _: Request, identifier: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._service.get(identifier), {}

    def _list(self, request: Request, _: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._service.list(request.query()), {}

    def _stop(self, _: Request, identifier: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._service.stop(identifier), {}

    def _invoke(self, request: Request, model_id: str) -> tuple[dict[str, Any], dict[str, str]]:
        tier = request.headers.get("x-amzn-bedrock-service-tier")
        reply = self._runtime.invoke(model_id, request.json(), tier)
        return reply.body, {
            "x-amzn-bedrock-input-token-count": str(reply.input_tokens),
            "x-amzn-bedrock-output-token-count": str(reply.output_tokens),
            **({"x-amzn-bedrock-service-tier": tier} if tier else {}),
        }

    def _converse(self, request: Request, model_id: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._runtime.converse(model_id, request.json()), {}

    def _count_tokens(self, request: Request, model_id: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._runtime.count_tokens(model_id, request.json()), {}

    def _list_models(self, request: Request, _: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._listing.list_models(request.query()), {}

    def _get_model(self, _: Request, identifier: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._listing.get_model(identifier), {}

    def _availability(self, _: Request, identifier: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._listing.availability(identifier), {}

    def _list_profiles(self, request: Request, _: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._listing.list_profiles(request.query()), {}

    def _get_profile(self, _: Request, identifier: str) -> tuple[dict[str, Any], dict[str, str]]:
        return self._listing.get_profile(identifier), {}

    def _error(self, error: ServiceError) -> Response:
        return self._response(error.status, {"message": error.message}, {"x-amzn-errortype": error.header})

    def _response(self, status: int, content: dict[str, Any], headers: dict[str, str]) -> Response:
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        own = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-amzn-requestid": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            "date": format_datetime(self._clock.wall(), usegmt=True),
        }
        return Response(status, {**own, **headers}, body)


def _operation(name: str, method: str, path: str, act: _Act) -> _Operation:
    return _Operation(name, method, re.compile(path, re.DOTALL), act)


def _job_name(body: bytes) -> str:
    """The name in a Create's body, for faults of one job's."""
    try:
        return str(json.loads(body).get("jobName", "")) if body else ""
    except (ValueError, AttributeError, RecursionError):
        return ""
