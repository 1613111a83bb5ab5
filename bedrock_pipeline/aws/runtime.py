"""Bedrock's on-demand inference.

Which calls are made, and what follows, is decided in `submit/invoke_on_demand.py`.
"""

import base64
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from bedrock_pipeline.aws.errors import AwsError, Classification, translated
from bedrock_pipeline.aws.inference_profiles import InferenceProfiles
from bedrock_pipeline.models.model_ids import bare_model, profile_in
from bedrock_pipeline.records.error_codes import ErrorKind

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


#: The service tiers of on-demand calls that this package uses.
Tier = Literal["default", "flex"]
#: Words of ValidationExceptions that are about the model, the account or the tier, whatever the body says; as users
#: report them.
_ABOUT_THE_MODEL: Final = re.compile(
    r"model identifier is invalid|marked by provider as legacy|not authorized to perform this action"
    r"|service tier (?:provided )?is (?:invalid|not supported)",
    re.IGNORECASE,
)
_NEEDS_PROFILE: Final = re.compile(r"with on-demand throughput isn.t supported", re.IGNORECASE)
_NOT_COUNTED: Final = "support counting tokens"
#: What CountTokens takes of a Converse body.
_COUNTED: Final = ("messages", "system", "toolConfig", "additionalModelRequestFields")


class NeedsProfileError(AwsError):
    """On-demand calls cannot use a model by this id, only by an inference profile."""


class ModelUnusableError(AwsError):
    """On-demand calls cannot use this model, or not in this tier, whatever the request says."""


class NotCountedError(AwsError):
    """Bedrock does not count the tokens of this model's requests."""


class BedrockRuntime:
    """On-demand calls through one client (`clients.runtime_client`); safe to use from several threads.

    Args:
        client: the client.
        profiles: the region's inference profiles; None if they cannot be listed.
    """

    def __init__(self, client: "BedrockRuntimeClient", profiles: InferenceProfiles | None = None) -> None:
        self._client = client
        self._profiles = profiles
        self._resolved: dict[str, str] = {}

    def invoke(self, model_id: str, body: bytes, *, converse: bool = False, tier: Tier = "default") -> bytes:
        """Send one call, in one HTTP attempt: from a body as in `modelInput` of a batch record to JSON as in `modelOutput`.

        Raises:
            NeedsProfileError: the model is used by an inference profile only.
            ModelUnusableError: the model cannot be used, for a reason that is not the body's.
            AwsError: there is no response.
        """
        parameters = _converse_parameters(model_id, body) if converse else {}
        try:
            with translated("invoke the model"):
                if not converse:
                    tiered: dict[str, Any] = {} if tier == "default" else {"serviceTier": tier}
                    response = self._client.invoke_model(
                        modelId=model_id,
                        body=body,
                        contentType="application/json",
                        accept="application/json",
                        **tiered,
                    )
                    return response["body"].read()
                if tier != "default":
                    parameters["serviceTier"] = {"type": tier}
                output = self._client.converse(**parameters)
        except AwsError as error:
            raise _of_the_model(error) from error.__cause__
        return orjson.dumps(
            {name: value for name, value in output.items() if name != "ResponseMetadata"}, default=_encoded
        )

    def resolved(self, model_id: str) -> str:
        """The profile that `resolve` found for a model in this process; otherwise the id itself."""
        return self._resolved.get(model_id, model_id)

    def resolve(self, model_id: str, region: str, known: Iterable[str] = ()) -> str | None:
        """The inference profile of a model that stays in the region's geography, as Bedrock lists them; None if there is none.

        Args:
            model_id: id or ARN of a foundation model.
            region: the region of the calls.
            known: the profiles that are used if Bedrock's cannot be listed.
        """
        try:
            listed: Iterable[str] = self._profiles.of(bare_model(model_id)) if self._profiles else known
        except AwsError:  # a permission that only this needs
            listed = known
        profile = profile_in(region, listed)
        if profile:
            self._resolved[model_id] = profile
        return profile

    def count_tokens(self, model: str, body: bytes, *, converse: bool = False) -> int:
        """The input tokens that a request would be charged for; it is not sent to the model, and costs nothing.

        Args:
            model: a bare model id; profiles and ARNs are not counted.
            body: as in `modelInput` of a batch record.
            converse: whether it is a body of Converse.

        Raises:
            NotCountedError: Bedrock does not count the tokens of this model.
            AwsError: there is no response.
        """
        given: dict[str, Any] = {"invokeModel": {"body": body}}
        if converse:
            parameters = _converse_parameters(model, body)
            given = {"converse": {name: parameters[name] for name in _COUNTED if name in parameters}}
        try:
            with translated("count the tokens"):
                counted: int = self._client.count_tokens(modelId=model, input=given)["inputTokens"]  # type: ignore[arg-type]  # of either kind
                return counted
        except AwsError as error:
            if _NOT_COUNTED in error.classification.message:
                raise NotCountedError(error.what, error.fix, error.classification) from error.__cause__
            raise


def _of_the_model(error: AwsError) -> AwsError:
    """The same error, told apart if it concerns the model and not the body."""
    message = error.classification.message
    if error.kind is ErrorKind.INVALID and _NEEDS_PROFILE.search(message):
        return NeedsProfileError(error.what, error.fix, error.classification)
    if error.kind is ErrorKind.INVALID and _ABOUT_THE_MODEL.search(message):
        return ModelUnusableError(error.what, error.fix, error.classification)
    return error


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
