"""The two operations of on-demand inference.

What belongs here: what InvokeModel and Converse answer. HTTP is `routes.py`'s.
"""

from typing import Any

from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import invalid
from bedrock_pipeline.emulator.models import Body, BodyError, Models, Reply

_LATENCY_MS = 1


class Runtime:
    """Bedrock's on-demand inference."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def invoke(self, model_id: str, body: Body) -> Reply:
        """InvokeModel: the native body, the native answer."""
        self._must_know(model_id)
        try:
            return self._models.answer(model_id, body)
        except BodyError as error:
            raise invalid(str(error)) from error

    def converse(self, model_id: str, body: Body) -> dict[str, Any]:
        """Converse."""
        check("Converse", {**body, "modelId": model_id}, service="bedrock-runtime")
        self._must_know(model_id)
        try:
            return {**self._models.converse(model_id, body).body, "metrics": {"latencyMs": _LATENCY_MS}}
        except BodyError as error:
            raise invalid(str(error)) from error

    def _must_know(self, model_id: str) -> None:
        if not self._models.supports(model_id):
            raise invalid("The provided model identifier is invalid.")
