"""The two operations of on-demand inference.

What belongs here: what InvokeModel and Converse answer. HTTP is `routes.py`'s.
"""

from typing import Any

from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.models import Body, BodyError, Models, Reply, parse_model_id

_LATENCY_MS = 1


class Runtime:
    """Bedrock's on-demand inference."""

    def __init__(self, models: Models, region: str) -> None:
        self._models, self._region = models, region

    def invoke(self, model_id: str, body: Body) -> Reply:
        """InvokeModel: the native body, the native answer."""
        self._check_model(model_id)
        try:
            return self._models.answer(model_id, body)
        except BodyError as error:
            raise _as_error(error) from error

    def converse(self, model_id: str, body: Body) -> dict[str, Any]:
        """Converse."""
        check("Converse", {**body, "modelId": model_id}, service="bedrock-runtime")
        self._check_model(model_id)
        try:
            return {**self._models.converse(model_id, body).body, "metrics": {"latencyMs": _LATENCY_MS}}
        except BodyError as error:
            raise _as_error(error) from error

    def _check_model(self, model_id: str) -> None:
        card, named = self._models.card(model_id), parse_model_id(model_id)
        if card is None or (named.geography and not self._models.takes_profile(card, named, self._region)):
            raise invalid("The provided model identifier is invalid.")
        if not named.geography and not self._models.takes_bare(card, self._region):
            raise invalid(
                f"Invocation of model ID {named.name} with on-demand throughput isn\u2019t supported. Retry your request "
                "with the ID or ARN of an inference profile that contains this model."
            )


def _as_error(error: BodyError) -> ServiceError:
    return ServiceError("AccessDeniedException", str(error)) if error.code == 403 else invalid(str(error))
