"""The calls of AWS that this process makes, noted where boto3 builds their requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.model import OperationModel

from bedrock_pipeline.aws import clients
from bedrock_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """One call of AWS."""

    service: str
    operation: str
    params: dict[str, Any]
    region: str


@dataclass
class Recorder:
    """Notes the calls of every client that the package makes while it records, by what they are for."""

    purpose: str = ""
    calls: dict[str, list[Call]] = field(default_factory=dict)

    @contextmanager
    def of(self, purpose: str) -> Iterator[None]:
        """What is called in the block is for this purpose."""
        before, self.purpose = self.purpose, purpose
        try:
            yield
        finally:
            self.purpose = before

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note the calls of all clients that are made from now on."""
        made = clients.session

        def session(settings: Settings) -> boto3.Session:
            found = made(settings)

            def note(params: dict[str, Any], model: OperationModel, **_: object) -> None:
                call = Call(model.service_model.service_name, model.name, dict(params), settings.region)
                self.calls.setdefault(self.purpose, []).append(call)

            found.events.register_first("before-parameter-build", note)
            return found

        monkeypatch.setattr(clients, "session", session)
