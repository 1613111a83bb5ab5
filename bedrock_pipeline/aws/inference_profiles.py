"""The inference profiles that Bedrock defines in a region.

Which of them is used is decided in `models/model_ids.py` and `submit/invoke_on_demand.py`.
"""

from threading import Lock
from typing import TYPE_CHECKING

from bedrock_pipeline.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


class InferenceProfiles:
    """The profiles of one region, listed once; safe to use from several threads."""

    def __init__(self, client: "BedrockClient") -> None:
        self._client = client
        self._lock = Lock()
        self._by_model: dict[str, list[str]] | None = None

    def of(self, model: str) -> tuple[str, ...]:
        """The ids of the profiles that route to a model, given by its bare id.

        Raises:
            AwsError: they cannot be listed.
        """
        with self._lock:
            if self._by_model is None:
                self._by_model = self._listed()
            return tuple(self._by_model.get(model, ()))

    def _listed(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with translated("list the inference profiles"):
            pages = self._client.get_paginator("list_inference_profiles").paginate(
                typeEquals="SYSTEM_DEFINED"
            )
            for page in pages:
                for profile in page["inferenceProfileSummaries"]:
                    for model in {one["modelArn"].rpartition("/")[2] for one in profile["models"]}:
                        found.setdefault(model, []).append(profile["inferenceProfileId"])
        return found
