"""The values that known members of request bodies can have, by family, whatever the model is.

Sources, read on 2026-11-26 but for those in brackets, whose pages were not to be had then:
  - Claude: Anthropic's API reference of Messages (`temperature` from 0 to 1, `top_k` from 0 on, `effort`).
  - Converse: the service model of botocore, `InferenceConfiguration` (`maxTokens` from 1 on, `temperature` and `topP` from 0 to
    1, at most 2,500 stop sequences, none of them empty).
  - Nova: "Complete request schema" (`topK` from 0 to 128) and "Extended thinking", Amazon Nova user guides, as users quote them.
  - Mistral: "Mistral AI text completion", Amazon Bedrock user guide (its members; [their ranges]).
  - [Llama, chat completions, Titan, Cohere: "Inference request parameters and response fields for foundation models", Amazon
    Bedrock user guide; "Complete embeddings request and response schema", Amazon Nova user guide.]
Where they name no limit, the type alone is checked.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_pipeline.models.family import Json, Path


@dataclass(frozen=True, slots=True)
class Values:
    """What a member can be.

    Attributes:
        what: in words.
        fits: whether a value is one of these.
    """

    what: str
    fits: Callable[[Any], bool]


def value_problems(family: str, body: Json) -> Iterator[str]:
    """The members of a body whose values the family does not have; null is a value of none of them."""
    for path, values in _VALUES.get(family, {}).items():
        for found in _at(body, path):
            if not values.fits(found):
                yield f"{'.'.join(path)} is not {values.what}; correct it"


def known_paths(family: str) -> tuple[Path, ...]:
    """The members whose values are known."""
    return tuple(_VALUES.get(family, {}))


def _at(body: Json, path: Path) -> Iterator[Any]:
    """The value at a path, if there is one."""
    value: Any = body
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return
        value = value[name]
    yield value


def _number(low: float, high: float = math.inf) -> Values:
    what = f"a number from {low} to {high}" if high < math.inf else f"a number from {low} on"
    return Values(what, lambda value: type(value) in (int, float) and low <= value <= high)


def _whole(low: int, high: float = math.inf) -> Values:
    what = f"a whole number from {low} to {high}" if high < math.inf else f"a whole number from {low} on"
    return Values(what, lambda value: type(value) is int and low <= value <= high)


def _one_of(*allowed: Any) -> Values:
    words = " or ".join(filter(None, (", ".join(map(str, allowed[:-1])), str(allowed[-1]))))
    return Values(words, lambda value: any(type(value) is type(one) and value == one for one in allowed))


def _some_of(*allowed: str) -> Values:
    return Values(
        "a list of " + ", ".join(allowed),
        lambda value: (
            isinstance(value, list | tuple) and len(value) > 0 and all(one in allowed for one in value)
        ),
    )


_TRUTH: Final = Values("true or false", lambda value: isinstance(value, bool))
_OBJECT: Final = Values("an object", lambda value: isinstance(value, Mapping))
_LIST: Final = Values("a list", lambda value: isinstance(value, list | tuple))
_TEXTS: Final = Values(
    "a list of texts",
    lambda value: isinstance(value, list | tuple) and all(isinstance(one, str) and one for one in value),
)
_TEXT_OR_TEXTS: Final = Values(
    "a text or a list of texts", lambda value: isinstance(value, str) or _TEXTS.fits(value)
)
_SYSTEM: Final = Values("a text or a list of blocks", lambda value: isinstance(value, str | list))
_MOST_STOPS: Final = 2_500
_SHARE: Final = _number(0, 1)
_NOT_STREAMED: Final = Values("false, since batch jobs do not stream", lambda value: value is False)
_ONE: Final = Values("1, since a record has one response", lambda value: type(value) is int and value == 1)
_REASONING: Final = {
    (): _OBJECT,
    ("type",): _one_of("enabled", "disabled"),
    ("maxReasoningEffort",): _one_of("low", "medium", "high"),
}
_INFERENCE: Final[Mapping[Path, Values]] = {
    ("inferenceConfig",): _OBJECT,
    ("inferenceConfig", "maxTokens"): _whole(1),
    ("inferenceConfig", "temperature"): _SHARE,
    ("inferenceConfig", "topP"): _SHARE,
    ("inferenceConfig", "stopSequences"): Values(
        f"a list of at most {_MOST_STOPS:,} texts",
        lambda value: _TEXTS.fits(value) and len(value) <= _MOST_STOPS,
    ),
    ("messages",): _LIST,
    ("system",): _LIST,
    ("additionalModelRequestFields",): _OBJECT,
}
_COHERE: Final[Mapping[Path, Values]] = {
    ("texts",): _LIST,
    ("images",): _LIST,
    ("input_type",): _one_of("search_document", "search_query", "classification", "clustering", "image"),
    ("embedding_types",): _some_of("float", "int8", "uint8", "binary", "ubinary", "base64"),
}
_VALUES: Final[Mapping[str, Mapping[Path, Values]]] = {
    "claude": {
        ("anthropic_version",): _one_of("bedrock-2023-05-31"),
        ("max_tokens",): _whole(1),
        ("temperature",): _SHARE,
        ("top_p",): _SHARE,
        ("top_k",): _whole(0),
        ("stop_sequences",): Values(
            "a list of texts that are not blank",
            lambda value: _TEXTS.fits(value) and all(one.strip() for one in value),
        ),
        ("messages",): _LIST,
        ("system",): _SYSTEM,
        ("tools",): _LIST,
        ("tool_choice",): _OBJECT,
        ("output_config",): _OBJECT,
        ("output_config", "effort"): _one_of("low", "medium", "high", "xhigh", "max"),
        ("metadata",): _OBJECT,
    },
    "converse": _INFERENCE,
    "nova": {
        **_INFERENCE,
        ("inferenceConfig", "topK"): _whole(0, 128),
        **{
            (*place, "reasoningConfig", *path): values
            for place in ((), ("inferenceConfig",))
            for path, values in _REASONING.items()
        },
        ("toolConfig",): _OBJECT,
    },
    "chat": {
        ("max_tokens",): _whole(1),
        ("max_completion_tokens",): _whole(1),
        ("temperature",): _number(0, 2),
        ("top_p",): _SHARE,
        ("stop",): _TEXT_OR_TEXTS,
        ("stream",): _NOT_STREAMED,
        ("n",): _ONE,
        ("messages",): _LIST,
        ("tools",): _LIST,
    },
    "llama": {("max_gen_len",): _whole(1), ("temperature",): _SHARE, ("top_p",): _SHARE},
    "mistral": {
        ("max_tokens",): _whole(1),
        ("temperature",): _SHARE,
        ("top_p",): _SHARE,
        ("top_k",): _whole(0),
        ("stop",): _TEXTS,
    },
    "titan-embed": {
        ("dimensions",): _one_of(256, 512, 1024),
        ("normalize",): _TRUTH,
        ("embeddingTypes",): _some_of("float", "binary"),
    },
    "titan-embed-image": {
        ("embeddingConfig",): _OBJECT,
        ("embeddingConfig", "outputEmbeddingLength"): _one_of(256, 384, 1024),
    },
    "nova-embed": {
        ("singleEmbeddingParams",): _OBJECT,
        ("singleEmbeddingParams", "embeddingPurpose"): _one_of(
            *("GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "IMAGE_RETRIEVAL", "VIDEO_RETRIEVAL"),
            *("DOCUMENT_RETRIEVAL", "AUDIO_RETRIEVAL", "CLASSIFICATION", "CLUSTERING"),
        ),
        ("singleEmbeddingParams", "embeddingDimension"): _one_of(256, 384, 1024, 3072),
        ("singleEmbeddingParams", "text", "truncationMode"): _one_of("START", "END", "NONE"),
    },
    "cohere-embed": {**_COHERE, ("truncate",): _one_of("NONE", "START", "END")},
    "cohere-embed-v4": {
        **_COHERE,
        ("truncate",): _one_of("NONE", "LEFT", "RIGHT"),
        ("output_dimension",): _one_of(256, 512, 1024, 1536),
        ("max_tokens",): _whole(1),
    },
}
