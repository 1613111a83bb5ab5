"""The operations of on-demand inference.

What belongs here: what InvokeModel, Converse and CountTokens answer. HTTP is `protocol.py`'s. Sources: "Service tiers for
optimizing performance and cost" and "Monitor your token usage by counting tokens", Amazon Bedrock user guide, and the
errors that users report.
"""

import base64
import binascii
import json
from typing import Any, Final

from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.models import Body, BodyError, Models, Reply, parse_model_id

_LATENCY_MS = 1
_TIERS: Final = ("default", "flex", "priority", "reserved")


class Runtime:
    """Bedrock's on-demand inference."""

    def __init__(self, models: Models, region: str) -> None:
        self._models, self._region = models, region

    def invoke(self, model_id: str, body: Body, tier: str | None = None) -> Reply:
        """InvokeModel: the native body, the native answer."""
        self._check_model(model_id, tier)
        try:
            return self._models.answer(model_id, body)
        except BodyError as error:
            raise _as_error(error) from error

    def converse(self, model_id: str, body: Body) -> dict[str, Any]:
        """Converse."""
        check("Converse", {**body, "modelId": model_id}, service="bedrock-runtime")
        tier = (body.get("serviceTier") or {}).get("type")
        self._check_model(model_id, tier)
        served = {"serviceTier": {"type": tier}} if tier else {}
        try:
            return {
                **served,
                **self._models.converse(model_id, body).body,
                "metrics": {"latencyMs": _LATENCY_MS},
            }
        except BodyError as error:
            raise _as_error(error) from error

    def count_tokens(self, model_id: str, request: Body) -> dict[str, Any]:
        """CountTokens: what a request would be charged for as input; of bare ids of some models alone."""
        check("CountTokens", {**request, "modelId": model_id}, service="bedrock-runtime")
        card = self._models.card(model_id)
        if card is None or not card.counts_tokens or model_id != card.id:
            raise invalid("The provided model doesn't support counting tokens.")
        given = request["input"]
        try:
            if "converse" in given:
                return {"inputTokens": self._models.converse(model_id, given["converse"]).input_tokens}
            body = json.loads(base64.b64decode(given["invokeModel"]["body"], validate=True))
            return {"inputTokens": self._models.answer(model_id, body).input_tokens}
        except (binascii.Error, ValueError):
            raise invalid("The request body is not JSON") from None
        except BodyError as error:
            raise _as_error(error) from error

    def _check_model(self, model_id: str, tier: str | None) -> None:
        card, named = self._models.card(model_id), parse_model_id(model_id)
        if card is None or (named.geography and not self._models.takes_profile(card, named, self._region)):
            raise invalid("The provided model identifier is invalid.")
        if not named.geography and not self._models.takes_bare(card, self._region):
            raise invalid(
                f"Invocation of model ID {named.name} with on-demand throughput isn\u2019t supported. Retry your request "
                "with the ID or ARN of an inference profile that contains this model."
            )

        if tier not in (None, *_TIERS):
            raise invalid("service tier provided is invalid")
        if tier == "reserved":
            raise invalid("Reservation not found.")
        if tier not in (None, "default") and not card.flex:
            raise invalid("The provided service tier is not supported for this model.")


def _as_error(error: BodyError) -> ServiceError:
    return ServiceError("AccessDeniedException", str(error)) if error.code == 403 else invalid(str(error))
