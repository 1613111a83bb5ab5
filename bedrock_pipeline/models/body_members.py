"""The members that the request body of each family has, and which of them it must have.

What belongs here: names alone. What values they can have is in `member_values.py`, and what depends on the model in
`body_rules.py`.
"""

from collections.abc import Mapping
from typing import Final

#: Members of each family's body; a body with another one is rejected. Bodies of `chat` differ from model to model.
MEMBERS: Final[Mapping[str, frozenset[str]]] = {
    "claude": frozenset(
        [
            "anthropic_version",
            "anthropic_beta",
            "max_tokens",
            "messages",
            "system",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "metadata",
            "context_management",
        ]
    ),
    "converse": frozenset(
        [
            "messages",
            "system",
            "inferenceConfig",
            "toolConfig",
            "outputConfig",
            "guardrailConfig",
            "additionalModelRequestFields",
            "promptVariables",
            "additionalModelResponseFieldPaths",
            "requestMetadata",
            "performanceConfig",
            "serviceTier",
        ]
    ),
    "nova": frozenset(
        [
            "schemaVersion",
            "messages",
            "system",
            "inferenceConfig",
            "toolConfig",
            "reasoningConfig",
            "additionalModelRequestFields",
        ]
    ),
    "llama": frozenset({"prompt", "max_gen_len", "temperature", "top_p", "images"}),
    "mistral": frozenset({"prompt", "messages", "max_tokens", "temperature", "top_p", "top_k", "stop"}),
    "titan-embed": frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"}),
    "titan-embed-image": frozenset({"inputText", "inputImage", "embeddingConfig"}),
    "nova-embed": frozenset({"schemaVersion", "taskType", "singleEmbeddingParams"}),
    "cohere-embed": frozenset({"texts", "images", "input_type", "truncate", "embedding_types"}),
    "cohere-embed-v4": frozenset(
        [
            *("texts", "images", "inputs", "input_type", "truncate", "embedding_types"),
            *("output_dimension", "max_tokens"),
        ]
    ),
}
INFERENCE: Final[Mapping[str, frozenset[str]]] = {
    "converse": frozenset({"maxTokens", "temperature", "topP", "stopSequences"}),
    "nova": frozenset({"maxTokens", "temperature", "topP", "topK", "stopSequences", "reasoningConfig"}),
}
#: Members of objects within the body.
NESTED: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "titan-embed-image": {"embeddingConfig": frozenset({"outputEmbeddingLength"})},
    "nova-embed": {
        "singleEmbeddingParams": frozenset(
            {"embeddingPurpose", "embeddingDimension", "text", "image", "video", "audio"}
        )
    },
}
#: Members that only other families have, for bodies of `chat`.
NOT_CHAT: Final = frozenset(
    [
        "inferenceConfig",
        "maxTokens",
        "topP",
        "topK",
        "stopSequences",
        "stop_sequences",
        "max_gen_len",
        "prompt",
        "inputText",
        "system",
        "anthropic_version",
        "thinking",
        "toolConfig",
        "output_config",
        "anthropic_beta",
        "outputConfig",
        "reasoningConfig",
        "schemaVersion",
        "additionalModelRequestFields",
    ]
)
#: What must be there besides the conversation.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "claude": ("anthropic_version", "max_tokens", "messages"),
    "converse": ("messages",),
    "nova": ("messages",),
    "chat": ("messages",),
    "llama": ("prompt",),
    "titan-embed": ("inputText",),
}
#: How other families than Claude and Converse name the most tokens of a response.
MAX_TOKENS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "llama": ("max_gen_len",),
    "mistral": ("max_tokens",),
}
