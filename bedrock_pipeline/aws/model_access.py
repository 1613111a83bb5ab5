"""What Bedrock says about a model or an inference profile in one region.

What belongs here: one call for each question. What an answer means is decided in `doctor`.
"""

from dataclasses import dataclass

from bedrock_pipeline.aws.clients import reading_client
from bedrock_pipeline.aws.errors import translated
from bedrock_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class FoundationModel:
    """A model as the region has it.

    Attributes:
        inference_types: `ON_DEMAND` where its own id can be used, `INFERENCE_PROFILE` where it cannot.
        legacy: whether AWS will withdraw it.
    """

    id: str
    name: str
    inference_types: tuple[str, ...]
    legacy: bool


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the account may use a model: each is AWS's own word for it."""

    agreement: str
    authorization: str
    entitlement: str
    region: str


@dataclass(frozen=True, slots=True)
class Profile:
    """An inference profile, and the ARNs of the models that it routes to."""

    id: str
    arn: str
    status: str
    models: tuple[str, ...]


class ModelAccess:
    """Models and inference profiles of the settings' region."""

    def __init__(self, settings: Settings) -> None:
        self.client = reading_client(settings)

    def model(self, identifier: str) -> FoundationModel:
        """A foundation model, by its id or ARN.

        Raises:
            AwsError: the region has none, or it may not be read.
        """
        with translated(f"get model {identifier}"):
            found = self.client.get_foundation_model(modelIdentifier=identifier)["modelDetails"]
        return FoundationModel(
            found["modelId"],
            found.get("modelName", found["modelId"]),
            tuple(found.get("inferenceTypesSupported", ())),
            found.get("modelLifecycle", {}).get("status") == "LEGACY",
        )

    def availability(self, model_id: str) -> Availability:
        """Whether the account may use a foundation model, by its bare id.

        Raises:
            AwsError: it may not be read.
        """
        with translated(f"get the availability of model {model_id}"):
            found = self.client.get_foundation_model_availability(modelId=model_id)
        return Availability(
            found["agreementAvailability"]["status"],
            found["authorizationStatus"],
            found["entitlementAvailability"],
            found["regionAvailability"],
        )

    def profile(self, identifier: str) -> Profile:
        """An inference profile, by its id or ARN.

        Raises:
            AwsError: the region has none, or it may not be read.
        """
        with translated(f"get inference profile {identifier}"):
            found = self.client.get_inference_profile(inferenceProfileIdentifier=identifier)
        return Profile(
            found["inferenceProfileId"],
            found["inferenceProfileArn"],
            found["status"],
            tuple(one["modelArn"] for one in found["models"]),
        )
