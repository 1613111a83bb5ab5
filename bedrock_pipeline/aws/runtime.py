"""Bedrock's on-demand inference.

Which calls are made, and what follows, is decided in `submit/invoke_on_demand.py`.
"""

import base64
from typing import TYPE_CHECKING, Any

import orjson

from bedrock_pipeline.aws.errors import AwsError, Classification, translated
from bedrock_pipeline.records.error_codes import ErrorKind

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class BedrockRuntime:
    """On-demand calls through one client (`clients.runtime_client`); safe to use from several threads."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client

    def invoke(self, model_id: str, body: bytes, *, converse: bool = False) -> bytes:
        """Send one call, in one HTTP attempt: from a body as in `modelInput` of a batch record to JSON as in `modelOutput`.

        Raises:
            AwsError: there is no response.
        """
        parameters = _converse_parameters(model_id, body) if converse else {}
        with translated("invoke the model"):
            if not converse:
                response = self._client.invoke_model(
                    modelId=model_id, body=body, contentType="application/json", accept="application/json"
                )
                return response["body"].read()
            output = self._client.converse(**parameters)
        return orjson.dumps(
            {name: value for name, value in output.items() if name != "ResponseMetadata"}, default=_encoded
        )


def _converse_parameters(model_id: str, body: bytes) -> dict[str, Any]:
    """The SDK's parameters for a Converse body; the SDK takes images and documents as bytes and encodes them itself."""
    try:
        parameters = orjson.loads(body)
        for message in parameters.get("messages", ()):
            for block in message.get("content", ()):
                for part in block.values():
                    source = part.get("source") if isinstance(part, dict) else None
                    if isinstance(source, dict) and isinstance(source.get("bytes"), str):
                        source["bytes"] = base64.b64decode(source["bytes"])
        if not parameters.keys() & {"modelId", "self"}:
            return {"modelId": model_id, **parameters}
    except (AttributeError, TypeError, ValueError):  # of any member's shape, of JSON or of base64
        pass
    problem = "the body is not a request of the Converse operation"
    raise AwsError(
        f"Could not invoke the model: {problem}.",
        "",
        Classification(ErrorKind.INVALID, "InvalidBody", problem),
    )


def _encoded(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
