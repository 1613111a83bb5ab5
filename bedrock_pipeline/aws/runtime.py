"""Bedrock's on-demand inference.

What belongs here: one call and one answer. Which calls are made, and what follows, stands in `submit/invoke_on_demand.py`.
"""

import base64
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_pipeline.aws.errors import Classification, classify
from bedrock_pipeline.errors import BedrockPipelineError

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class CallFailedError(BedrockPipelineError):
    """A call has no answer.

    Attributes:
        classification: what the error means.
        status: HTTP status of the answer; None where none arrived.
    """

    def __init__(self, classification: Classification, status: int | None) -> None:
        super().__init__(f"The model did not answer: {classification}.", "")
        self.classification = classification
        self.status = status


class BedrockRuntime:
    """On-demand calls through one client (`clients.runtime_client`); safe to use from several threads."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client

    def ask(self, model_id: str, body: bytes, *, converse: bool = False) -> bytes:
        """Send one call, in one HTTP attempt.

        Args:
            model_id: the model.
            body: the request body, as in `modelInput` of a batch record.
            converse: whether it is a body of the Converse operation rather than the model's own.

        Returns:
            The answer as JSON, as in `modelOutput` of a batch record.

        Raises:
            CallFailedError: there is none.
        """
        try:
            if not converse:
                answer = self._client.invoke_model(
                    modelId=model_id, body=body, contentType="application/json", accept="application/json"
                )
                return answer["body"].read()
            said = self._client.converse(modelId=model_id, **_decoded(orjson.loads(body)))
            return orjson.dumps(
                {name: value for name, value in said.items() if name != "ResponseMetadata"}, default=_encoded
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise CallFailedError(classify(error), status) from error
        except BotoCoreError as error:
            raise CallFailedError(classify(error), None) from error


def _decoded(body: Any) -> Any:
    """A Converse body for the SDK, which takes images and documents as bytes and encodes them itself."""
    for message in body.get("messages", ()):
        for block in message.get("content", ()):
            for part in block.values():
                source = part.get("source") if isinstance(part, dict) else None
                if isinstance(source, dict) and isinstance(source.get("bytes"), str):
                    source["bytes"] = base64.b64decode(source["bytes"])
    return body


def _encoded(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
