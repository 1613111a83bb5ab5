"""What a model id or an ARN names."""

import re
from collections.abc import Iterable
from typing import Final

#: Providers of models, by the beginning of their models' ids.
PROVIDERS: Final = {
    "ai21": "AI21 Labs",
    "amazon": "Amazon",
    "anthropic": "Anthropic",
    "cohere": "Cohere",
    "deepseek": "DeepSeek",
    "google": "Google",
    "meta": "Meta",
    "minimax": "MiniMax",
    "mistral": "Mistral AI",
    "moonshot": "Moonshot AI",
    "moonshotai": "Moonshot AI",
    "nvidia": "NVIDIA",
    "openai": "OpenAI",
    "qwen": "Qwen",
    "stability": "Stability AI",
    "twelvelabs": "TwelveLabs",
    "writer": "Writer",
    "zai": "Z.AI",
}
#: A cross-region inference profile puts its geography before the model: `us.anthropic.…`. No provider has two letters.
_GEOGRAPHY: Final = re.compile(r"global|us-gov|apac|[a-z]{2}")
_FOUNDATION_MODEL: Final = ":foundation-model/"
#: The geographies of a region's inference profiles, by the beginning of its name; the narrowest first.
_GEOGRAPHIES: Final = (
    ("us-gov-", ("us-gov",)),
    ("us-", ("us",)),
    ("ca-", ("ca", "us")),
    ("eu-", ("eu",)),
    ("ap-northeast-1", ("jp", "apac")),
    ("ap-northeast-3", ("jp", "apac")),
    ("ap-southeast-2", ("au", "apac")),
    ("ap-southeast-4", ("au", "apac")),
    ("ap-", ("apac",)),
)


def without_geography(model_id: str) -> str:
    """The id of the model behind the id of a cross-region inference profile; any other id as it is."""
    place, _, rest = model_id.partition(".")
    if _GEOGRAPHY.fullmatch(place):
        return rest or model_id
    # AWS adds geographies: a word that is no provider's, before a provider's, is one.
    is_profile = place not in PROVIDERS and rest.partition(".")[0] in PROVIDERS
    return rest if is_profile and not model_id.startswith("arn:") else model_id


def bare_model(model_id: str) -> str:
    """The model behind an id, a profile's id, or the ARN of a foundation model, profile or custom model.

    For an ARN that does not name a model, such as an application inference profile's, this is its last part.
    """
    # The ARN of a custom model ends in `custom-model/<base model>/<id>`, the others in `<kind>/<model>`.
    name = model_id.split("/")[1] if model_id.startswith("arn:") and "/" in model_id else model_id
    return without_geography(name)


def is_bare(model_id: str) -> bool:
    """Whether it is a foundation model's own id or ARN, not a profile's or a custom model's."""
    if model_id.startswith("arn:"):
        return _FOUNDATION_MODEL in model_id
    return without_geography(model_id) == model_id


def profile_in(region: str, profiles: Iterable[str]) -> str | None:
    """The profile among those of one model that stays closest to a region; None if none stays in its geography.

    The global profile is not chosen: it may send data to any region, which only the pipeline's author can decide.
    """
    by_geography = {profile.partition(".")[0]: profile for profile in profiles}
    for start, geographies in _GEOGRAPHIES:
        if region.startswith(start):
            return next((by_geography[one] for one in geographies if one in by_geography), None)
    return None
