"""Parameters that fail every record, or that another setting makes, are errors where the pipeline is defined.

Sources: as in `member_values.py`; Anthropic, "Extended thinking" (`top_p` while Claude thinks).
"""

import itertools
from typing import Any

import pytest

from bedrock_pipeline.errors import BedrockPipelineError, ConfigurationError
from bedrock_pipeline.models.body_members import INFERENCE, MEMBERS, NESTED
from bedrock_pipeline.models.member_values import known_paths
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline_tests.models.test_body_rules import SONNET4, body_of, thinking

HAIKU, SONNET37 = "anthropic.claude-3-haiku-20240307-v1:0", "us.anthropic.claude-3-7-sonnet-20250219-v1:0"
OPUS5 = "us.anthropic.claude-opus-5"
NOVA, NOVA2, MICRO = "amazon.nova-lite-v1:0", "us.amazon.nova-2-lite-v1:0", "amazon.nova-micro-v1:0"
LLAMA, GPT, MISTRAL = (
    "us.meta.llama3-3-70b-instruct-v1:0",
    "openai.gpt-oss-20b-1:0",
    "mistral.mistral-small-2402-v1:0",
)
TITAN, TITAN_IMAGE = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-image-v1"
NOVA_EMBED, COHERE, COHERE4 = (
    "amazon.nova-2-multimodal-embeddings-v1:0",
    "cohere.embed-english-v3",
    "us.cohere.embed-v4:0",
)
#: A model of each family, and Converse.
FAMILIES = {
    "claude": SONNET37,
    "nova": NOVA2,
    "chat": GPT,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "titan-embed": TITAN,
    "titan-embed-image": TITAN_IMAGE,
    "nova-embed": NOVA_EMBED,
    "cohere-embed": COHERE,
    "cohere-embed-v4": COHERE4,
}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}


def defined(model: str, parameters: dict[str, Any], **changes: Any) -> Pipeline:
    given = {"name": "p", "model_id": model, "prompt": "{{ a }}", "parameters": parameters}
    return Pipeline.model_validate({**given, **changes})


#: Model, parameters, settings, and what the error says.
ERRORS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # What other settings make, whatever the catalog says.
    (HAIKU, {"system": "s"}, {"check_model": False}, "parameters.system"),
    (HAIKU, {"system": "s"}, {"system": "t"}, "Give it in system"),
    (HAIKU, {"messages": []}, {}, "Give it in prompt, messages or examples"),
    (HAIKU, {"system": "s"}, {"invocation": "Converse"}, "parameters.system"),
    (NOVA, {"system": []}, {}, "parameters.system"),
    (GPT, {"system": "s"}, {"check_model": False}, "parameters.system"),
    (LLAMA, {"prompt": "p"}, {}, "parameters.prompt"),
    (MISTRAL, {"prompt": "p"}, {}, "parameters.prompt"),
    (TITAN, {"inputText": "t"}, {}, "parameters.inputText"),
    (TITAN_IMAGE, {"inputImage": "i"}, {}, "Give it in images"),
    (COHERE, {"texts": []}, {}, "parameters.texts"),
    (COHERE4, {"inputs": []}, {}, "parameters.inputs"),
    (NOVA_EMBED, {"text": {"truncationMode": "END"}}, {}, "parameters.text"),
    # The same twice.
    (HAIKU, {"max_tokens": 5, "maxTokens": 7}, {"invocation": "Converse"}, "max_tokens and maxTokens"),
    (NOVA, {"max_tokens": 5, "inferenceConfig": {"maxTokens": 7}}, {}, "inferenceConfig.maxTokens"),
    (LLAMA, {"max_tokens": 5, "max_gen_len": 7}, {}, "max_tokens and max_gen_len"),
    # Inputs and APIs that the model does not have.
    (TITAN, {}, {"invocation": "Converse"}, "invocation: amazon.titan-embed-text-v2:0 has no Converse API"),
    (
        MICRO,
        {},
        {"invocation": "Converse", "documents": ["d"]},
        "documents: amazon.nova-micro-v1:0 takes only text",
    ),
    (
        "deepseek.v3.2",
        {},
        {"invocation": "Converse", "documents": ["d"]},
        "documents: deepseek.v3.2 takes only text",
    ),
    (
        NOVA,
        {},
        {"invocation": "Converse", "documents": ["d"], "prompt": " "},
        "needs a text beside documents",
    ),
    # Values.
    (HAIKU, {"max_tokens": None}, {}, "max_tokens is not a whole number from 1 on"),
    (HAIKU, {"max_tokens": 1.5}, {}, "max_tokens is not a whole number"),
    (HAIKU, {"max_tokens": True}, {}, "max_tokens is not a whole number"),
    (HAIKU, {"temperature": 1.5}, {}, "temperature is not a number from 0 to 1"),
    (HAIKU, {"temperature": "0.5"}, {}, "temperature is not a number from 0 to 1"),
    (HAIKU, {"top_p": 2}, {}, "top_p is not"),
    (HAIKU, {"stop_sequences": "END"}, {}, "stop_sequences is not a list of texts"),
    (HAIKU, {"stop_sequences": [" "]}, {}, "stop_sequences is not a list of texts that are not blank"),
    (SONNET37, {"thinking": "x"}, {}, "thinking.type is none of"),
    (SONNET37, {"thinking": {"type": "foo"}}, {}, "thinking.type is none of"),
    (SONNET37, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_p": 0.5}, {}, "at least 0.95"),
    (HAIKU, {"temperature": 1.5}, {"invocation": "Converse"}, "inferenceConfig.temperature is not"),
    (NOVA, {"top_p": None}, {}, "inferenceConfig.topP is not"),
    (NOVA, {"top_k": 129}, {}, "inferenceConfig.topK is not a whole number from 0 to 128"),
    (
        NOVA,
        {"stop_sequences": ["x"] * 2501},
        {},
        "inferenceConfig.stopSequences is not a list of at most 2,500",
    ),
    (HAIKU, {"max_tokens": 5}, {"prompt": None, "model_input": "b"}, "parameters: a body in model_input"),
    (NOVA, {"reasoningConfig": {"type": "enabled"}}, {}, "only Nova 2 has reasoningConfig"),
    (NOVA, {"inferenceConfig": {"reasoningConfig": {"type": "enabled"}}}, {}, "only Nova 2"),
    (GPT, {"stream": True}, {}, "stream is not false"),
    (GPT, {"n": 2}, {}, "n is not 1"),
    (LLAMA, {"temperature": 2}, {}, "temperature is not"),
    (TITAN, {"embeddingTypes": ["int8"]}, {}, "embeddingTypes is not a list of float, binary"),
    (TITAN, {"normalize": "yes"}, {}, "normalize is not true or false"),
    (TITAN_IMAGE, {"foo": 5}, {}, "bodies of titan-embed-image have no foo"),
    (TITAN_IMAGE, {"embeddingConfig": {"foo": 5}}, {}, "embeddingConfig has no foo"),
    (NOVA_EMBED, {"max_tokens": 5}, {}, "singleEmbeddingParams has no max_tokens"),
    (NOVA_EMBED, {"embeddingPurpose": "X"}, {}, "singleEmbeddingParams.embeddingPurpose is not"),
    (NOVA_EMBED, {"truncationMode": "Y"}, {}, "truncationMode is not"),
    (COHERE4, {"foo": 5}, {}, "bodies of cohere-embed-v4 have no foo"),
    (COHERE4, {"embedding_types": ["floats"]}, {}, "embedding_types is not a list of float"),
    (COHERE, {"embedding_types": ["floats"]}, {}, "embedding_types is not a list of float"),
    # Types on which the rest relies, whatever the catalog says.
    *(
        (
            NOVA2,
            {"inferenceConfig": value},
            {"check_model": False},
            "parameters.inferenceConfig is not an object",
        )
        for value in (None, 5, "x")
    ),
    (
        TITAN_IMAGE,
        {"embeddingConfig": "x"},
        {"check_model": False},
        "parameters.embeddingConfig is not an object",
    ),
    (TITAN, {"embeddingTypes": None}, {"check_model": False}, "parameters.embeddingTypes is not a list"),
    (TITAN, {"embeddingTypes": "binary"}, {"prompt": None, "model_input": "b"}, "parameters.embeddingTypes"),
    (
        COHERE,
        {"embedding_types": "float"},
        {"check_model": False},
        "parameters.embedding_types is not a list",
    ),
    (COHERE4, {"embedding_types": 5}, {"check_model": False}, "parameters.embedding_types is not a list"),
    (HAIKU, {"temperature": float("nan")}, {"check_model": False}, "a value that JSON does not have"),
    (HAIKU, {"metadata": 2**64}, {"check_model": False}, "a value that JSON does not have"),
    # A part of the structured response that both set.
    (OPUS5, {"output_config": {"format": {}}}, {"answer_schema": SCHEMA}, "output_config.format"),
    (OPUS5, {"output_config": None}, {"answer_schema": SCHEMA}, "output_config"),
]


@pytest.mark.parametrize(("model", "parameters", "changes", "said"), ERRORS)
def test_it_is_an_error_where_the_pipeline_is_defined(
    model: str, parameters: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        defined(model, parameters, **changes)
    assert said in raised.value.what


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (HAIKU, {"max_tokens": 5, "temperature": 1, "top_p": 0.5, "stop_sequences": ["END"], "top_k": 5}),
        (SONNET37, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_p": 0.95}),
        (NOVA2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}, "max_tokens": 5}),
        (GPT, {"stream": False, "n": 1, "temperature": 1.5, "stop": "END"}),
        (TITAN, {"embeddingTypes": ["float", "binary"], "normalize": False, "dimensions": 256}),
        (TITAN_IMAGE, {"embeddingConfig": {"outputEmbeddingLength": 384}}),
        (NOVA_EMBED, {"embeddingDimension": 256, "truncationMode": "END", "embeddingPurpose": "CLUSTERING"}),
        (COHERE4, {"embedding_types": ["int8", "float"], "output_dimension": 256, "truncate": "LEFT"}),
    ],
)
def test_ordinary_parameters_are_not(model: str, parameters: dict[str, Any]) -> None:
    RequestTemplate.of(defined(model, parameters)).line("r", {"a": "x"})


def test_parameters_and_the_structured_response_share_an_object() -> None:
    one = defined(OPUS5, {"output_config": {"effort": "low"}}, answer_schema=SCHEMA)
    line = RequestTemplate.of(one).line("r", {"a": "x"})
    assert b'"output_config":{"effort":"low","format":{"type":"json_schema"' in line


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 256, 2**63, 2**70, 0.5, 1e308, float("nan"), "", "x", "float"),
    *(
        [],
        [None],
        [1],
        ["float"],
        [[]],
        [{}],
        {},
        {"x": None},
        {"type": "enabled"},
        {"type": []},
        {"text": {}},
    ),
)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def paths_of(family: str) -> list[tuple[str, ...]]:
    names: set[tuple[str, ...]] = {(name,) for name in MEMBERS.get(family, ())}
    names |= {("inferenceConfig", name) for name in INFERENCE.get(family, ())}
    names |= {(place, name) for place, known in NESTED.get(family, {}).items() for name in known}
    names |= {(name,) for known in NESTED.get(family, {}).values() for name in known}
    names |= set(known_paths(family)) - {()}
    common = (
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "truncationMode",
        "tool_choice",
    )
    return sorted(names | {(name,) for name in common})


@pytest.mark.parametrize("check_model", [True, False])
@pytest.mark.parametrize("family", ["converse", *FAMILIES])
def test_any_json_value_of_a_known_parameter_defines_the_pipeline_or_raises_an_error_of_the_package(
    family: str, check_model: bool
) -> None:
    model = FAMILIES.get(family, SONNET37)
    changes = {"check_model": check_model, "invocation": "InvokeModel" if family in FAMILIES else "Converse"}
    for path, value in itertools.product(paths_of(family), VALUES):
        try:
            one = defined(model, nested(path, value), **changes)
        except BedrockPipelineError:
            continue
        assert RequestTemplate.of(one).line("r", {"a": "x"})
        assert one.model_family.vector_types(one.parameters) == () or one.model_family.embeds


def test_max_tokens_leaves_room_for_a_budget_of_thinking() -> None:
    """The default of 1,024 would be below every budget."""
    given = {"name": "p", "model_id": SONNET4, "prompt": "a"}
    one = Pipeline.model_validate({**given, "parameters": thinking("enabled", budget_tokens=2000)})
    assert body_of(one)["max_tokens"] == 3024


def test_a_model_that_the_catalog_does_not_have_is_checked_for_the_shape_of_its_body_alone() -> None:
    given = {"name": "p", "model_id": "anthropic.claude-next", "prompt": "a"}
    Pipeline.model_validate({**given, "parameters": {"max_tokens": 10**6, "temperature": 0.5, "top_p": 0.9}})
    with pytest.raises(ConfigurationError, match="bodies of claude have no nothing"):
        Pipeline.model_validate({**given, "parameters": {"nothing": 1}})
