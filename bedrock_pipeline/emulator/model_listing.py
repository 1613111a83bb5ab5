"""Which models and inference profiles a region has.

What belongs here: what the operations of foundation models and inference profiles answer. HTTP is `protocol.py`'s.
Source: "ListFoundationModels", "GetFoundationModel", "GetFoundationModelAvailability", "ListInferenceProfiles" and
"GetInferenceProfile", Amazon Bedrock
API reference, and responses that users show.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.models import ModelCard, Models, parse_model_id
from bedrock_pipeline.emulator.models.catalog import arns_invoked, catalog, partition_of, sources

_CREATED: Final = "2026-01-01T00:00:00Z"
_PAGE = 100


class ModelListing:
    """The models of one account and region.

    Args:
        models: which models there are.
    """

    def __init__(self, models: Models, region: str, account: str) -> None:
        self._models, self._region, self._account = models, region, account

    def list_models(self, query: dict[str, str]) -> dict[str, Any]:
        """ListFoundationModels: those of the region, by provider, output and the way to invoke them."""
        check("ListFoundationModels", dict(query))
        summaries = [self._summary(card) for card in self._models.listed() if self._has(card)]
        return {"modelSummaries": [one for one in summaries if _matches(one, query)]}

    def get_model(self, identifier: str) -> dict[str, Any]:
        """GetFoundationModel, by id or ARN."""
        check("GetFoundationModel", {"modelIdentifier": identifier})
        named = parse_model_id(identifier)
        card = None if named.geography else catalog().cards.get(named.name)
        if card is None or named.region not in (None, self._region):
            raise invalid("The provided model identifier is invalid.")
        return {"modelDetails": self._summary(card)}

    def availability(self, identifier: str) -> dict[str, Any]:
        """GetFoundationModelAvailability: every account may use every model of the region."""
        check("GetFoundationModelAvailability", {"modelId": identifier})
        model = self.get_model(identifier)["modelDetails"]
        return {
            "modelId": model["modelId"],
            "agreementAvailability": {"status": "AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }

    def list_profiles(self, query: dict[str, str]) -> dict[str, Any]:
        """ListInferenceProfiles: those that AWS defines, page by page; there are none of an application."""
        given: dict[str, Any] = dict(query)
        if "type" in given:
            given["typeEquals"] = given.pop("type")
        if "maxResults" in given:
            given["maxResults"] = (
                int(given["maxResults"]) if given["maxResults"].isdigit() else given["maxResults"]
            )
        check("ListInferenceProfiles", given)
        profiles = [] if given.get("typeEquals") == "APPLICATION" else list(self._profiles())
        start, end = (
            _start(given.get("nextToken")),
            _start(given.get("nextToken")) + given.get("maxResults", _PAGE),
        )
        more = (
            {"nextToken": base64.urlsafe_b64encode(str(end).encode()).decode()} if end < len(profiles) else {}
        )
        return {"inferenceProfileSummaries": profiles[start:end], **more}

    def get_profile(self, identifier: str) -> dict[str, Any]:
        """GetInferenceProfile, by id or ARN."""
        check("GetInferenceProfile", {"inferenceProfileIdentifier": identifier})
        for profile in self._profiles():
            if identifier in (profile["inferenceProfileId"], profile["inferenceProfileArn"]):
                return profile
        raise ServiceError(
            "ResourceNotFoundException", "The provided inference profile identifier was not found."
        )

    def _profiles(self) -> Iterator[dict[str, Any]]:
        for card in self._models.listed():
            for geography in card.profiles:
                if self._region not in sources(geography, self._region):
                    continue
                profile_id = f"{geography}.{card.id}"
                arn, *models = arns_invoked(profile_id, self._region, self._account)
                places = ", ".join(filter(None, (model.split(":")[3] for model in models)))
                yield {
                    "inferenceProfileName": f"{geography.upper()} {_name(card)}",
                    "description": f"Routes requests to {_name(card)} in {places}.",
                    "createdAt": _CREATED,
                    "updatedAt": _CREATED,
                    "inferenceProfileArn": arn,
                    "models": [{"modelArn": model} for model in models],
                    "inferenceProfileId": profile_id,
                    "status": "ACTIVE",
                    "type": "SYSTEM_DEFINED",
                }

    def _has(self, card: ModelCard) -> bool:
        places = (sources(geography, self._region) for geography in card.profiles)
        return self._models.takes_bare(card, self._region) or any(self._region in place for place in places)

    def _summary(self, card: ModelCard) -> dict[str, Any]:
        bare = self._models.takes_bare(card, self._region)
        return {
            "modelArn": f"arn:{partition_of(self._region)}:bedrock:{self._region}::foundation-model/{card.id}",
            "modelId": card.id,
            "modelName": _name(card),
            "providerName": catalog().providers[card.id.partition(".")[0]],
            "inputModalities": [kind.upper() for kind in card.input if kind != "document"],
            "outputModalities": ["EMBEDDING" if card.vectors else "TEXT"],
            "responseStreamingSupported": not card.vectors,
            "customizationsSupported": [],
            "inferenceTypesSupported": ["ON_DEMAND" if bare else "INFERENCE_PROFILE"],
            "modelLifecycle": {"status": "LEGACY" if card.legacy else "ACTIVE"},
        }


def _matches(summary: dict[str, Any], query: dict[str, str]) -> bool:
    provider = query.get("byProvider", summary["providerName"])
    listed = {
        "byOutputModality": "outputModalities",
        "byInferenceType": "inferenceTypesSupported",
        "byCustomizationType": "customizationsSupported",
    }
    return provider.lower() == summary["providerName"].lower() and all(
        query[name] in summary[member] for name, member in listed.items() if name in query
    )


def _name(card: ModelCard) -> str:
    return card.short.replace("-", " ").title()


def _start(token: str | None) -> int:
    try:
        return int(base64.urlsafe_b64decode(token)) if token else 0
    except (ValueError, binascii.Error):
        raise invalid("The nextToken is not valid") from None
