"""What a model rejects in a body is said before the job: one rule for prompts, given bodies and queue tasks.

Sources: Anthropic, "Adaptive thinking", "Extended thinking", "What's new" of each release, "Vision"; AWS, "Converse",
"Process multiple prompts with batch inference", "Amazon Titan Embeddings Text", "Cohere Embed v3", "API restrictions"; and what
users report of jobs all of whose records failed.
"""

import base64
from typing import Any

import orjson
import pyarrow as pa
import pytest

from bedrock_pipeline.emulator.models import BodyError, Models
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.renderer import Renderer
from bedrock_pipeline.prepare.requests.request_template import NotRenderableError, RequestTemplate
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.queue import BedrockQueueConfig
from bedrock_pipeline.queue.task import BedrockTask, InvalidTaskError, encoded
from bedrock_pipeline.records.limits import Limits

HAIKU3 = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
SONNET45 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET46 = "us.anthropic.claude-sonnet-4-6"
OPUS5 = "us.anthropic.claude-opus-5"
OPUS55 = "us.anthropic.claude-opus-5-5"
OPUS45 = "us.anthropic.claude-opus-4-5-20251101-v1:0"
NOVA2 = "us.amazon.nova-2-lite-v1:0"
NOVA, LLAMA, QWEN = "amazon.nova-lite-v1:0", "meta.llama3-1-70b-instruct-v1:0", "qwen.qwen3-32b-v1:0"
MICRO, GPT = "amazon.nova-micro-v1:0", "openai.gpt-oss-20b-1:0"
HAIKU35 = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
NOVA_EMBED, TITAN_IMAGE = "amazon.nova-2-multimodal-embeddings-v1:0", "amazon.titan-embed-image-v1"
COHERE4 = "us.cohere.embed-v4:0"
TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"
TOOL = {"tools": [{"name": "t", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}


FORCED = {
    "tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object", "properties": {}}}}}],
    "toolChoice": {"any": {}},
}


def thinking(kind: str, **more: Any) -> dict[str, Any]:
    return {"thinking": {"type": kind, **more}}


def reasoning(effort: str) -> dict[str, Any]:
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


#: Model, invocation, parameters, and the setting and the way out that the error names.
SETTINGS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        SONNET4,
        "InvokeModel",
        {**thinking("enabled", budget_tokens=2000), **TOOL},
        "does not think when a tool",
    ),
    (
        SONNET4,
        "InvokeModel",
        {**thinking("enabled", budget_tokens=2000), "max_tokens": 2000},
        "raise max_tokens",
    ),
    (
        SONNET4,
        "InvokeModel",
        thinking("enabled", budget_tokens=500),
        "budget_tokens is not a whole number from 1,024",
    ),
    (
        SONNET4,
        "InvokeModel",
        {**thinking("enabled", budget_tokens=2000), "temperature": 0.5},
        "temperature can only",
    ),
    (
        SONNET4,
        "InvokeModel",
        thinking("adaptive"),
        "does not take thinking.type=adaptive; set thinking.type=enabled",
    ),
    (
        HAIKU3,
        "InvokeModel",
        thinking("enabled", budget_tokens=2000),
        "thinking.type=enabled; leave out thinking",
    ),
    (OPUS5, "InvokeModel", thinking("enabled", budget_tokens=2000), "enabled; set thinking.type=adaptive"),
    (OPUS55, "InvokeModel", thinking("disabled"), "always thinks; leave out thinking"),
    (OPUS55, "InvokeModel", TOOL, "does not take forced tools"),
    (SONNET45, "InvokeModel", {"temperature": 0.5, "top_p": 0.9}, "only one of temperature and top_p"),
    (SONNET45, "Converse", {"temperature": 0.5, "top_p": 0.9}, "only one of temperature and top_p"),
    (OPUS5, "InvokeModel", {"temperature": 0.5}, "does not take temperature; leave it out"),
    (OPUS5, "Converse", {"top_p": 0.5}, "does not take top_p; leave it out"),
    (SONNET4, "InvokeModel", {"max_tokens": 64_001}, "writes at most 64,000 tokens"),
    (NOVA, "InvokeModel", {"max_tokens": 10_001}, "writes at most 10,000 tokens"),
    (NOVA, "Converse", {"max_tokens": 10_001}, "writes at most 10,000 tokens"),
    (LLAMA, "InvokeModel", {"max_tokens": 8_193}, "writes at most 8,192 tokens"),
    (QWEN, "InvokeModel", {"max_tokens": 0}, "not a whole number from 1 on"),
    (HAIKU3, "Converse", {"topK": 5}, "no top_k; give it in additionalModelRequestFields"),
    (HAIKU3, "Converse", {"top_k": 5}, "no top_k; give it in additionalModelRequestFields"),
    (
        HAIKU3,
        "Converse",
        {"inferenceConfig": {"topK": 5}},
        "no top_k; give it in additionalModelRequestFields",
    ),
    (HAIKU3, "Converse", {"toolConfig": {"tools": []}}, "have no tools; leave out toolConfig"),
    (
        SONNET4,
        "Converse",
        {"additionalModelRequestFields": thinking("enabled", budget_tokens=2000), "max_tokens": 1500},
        "raise max_tokens",
    ),
    (SONNET4, "InvokeModel", {"output_config": {"effort": "low"}}, "output_config.effort; leave it out"),
    (OPUS45, "InvokeModel", {"output_config": {"effort": "max"}}, "set low, medium or high"),
    (
        SONNET4,
        "Converse",
        {"additionalModelRequestFields": {"output_config": {"effort": "low"}}},
        "output_config.effort; leave it out",
    ),
    (NOVA2, "InvokeModel", {**reasoning("high"), "temperature": 0.5}, "takes no temperature beside"),
    (NOVA2, "InvokeModel", {**reasoning("high"), "max_tokens": 500}, "takes no maxTokens beside"),
    (NOVA2, "InvokeModel", {"inferenceConfig": {**reasoning("high"), "topP": 0.5}}, "takes no topP beside"),
    (
        NOVA2,
        "Converse",
        {"additionalModelRequestFields": reasoning("high"), "top_p": 0.5},
        "takes no topP beside",
    ),
    (
        NOVA2,
        "Converse",
        {"additionalModelRequestFields": {**reasoning("high"), "inferenceConfig": {"topK": 5}}},
        "takes no topK beside",
    ),
    (NOVA2, "InvokeModel", reasoning("much"), "maxReasoningEffort is not low, medium or high"),
    (
        NOVA2,
        "InvokeModel",
        {**reasoning("low"), "toolConfig": FORCED},
        "not documented that Nova reasons when",
    ),
    (QWEN, "InvokeModel", {"output_config": {"effort": "low"}}, "bodies of chat have no output_config"),
    (NOVA, "InvokeModel", reasoning("low"), "only Nova 2 has reasoningConfig"),
    (NOVA, "Converse", {"additionalModelRequestFields": reasoning("low")}, "only Nova 2 has reasoningConfig"),
    (
        HAIKU3,
        "InvokeModel",
        {"anthropic_version": "2023-06-01"},
        "anthropic_version is not bedrock-2023-05-31",
    ),
    (HAIKU3, "InvokeModel", {"modelId": HAIKU3}, "bodies of claude have no modelId"),
    (NOVA, "InvokeModel", {"max_gen_len": 5}, "bodies of nova have no max_gen_len"),
    (LLAMA, "InvokeModel", {"top_k": 5}, "bodies of llama have no top_k"),
    (TITAN, "InvokeModel", {"truncate": "END"}, "bodies of titan-embed have no truncate"),
    (COHERE, "InvokeModel", {"normalize": True}, "bodies of cohere-embed have no normalize"),
]


@pytest.mark.parametrize(("model", "invocation", "parameters", "said"), SETTINGS)
def test_what_follows_from_settings_is_an_error_where_the_pipeline_is_defined(
    model: str, invocation: str, parameters: dict[str, Any], said: str
) -> None:
    given = {
        "name": "p",
        "model_id": model,
        "prompt": "{{ a }}",
        "invocation": invocation,
        "parameters": parameters,
    }
    with pytest.raises(ConfigurationError) as raised:
        Pipeline.model_validate(given)
    assert said in raised.value.what
    assert "check_model=False" in raised.value.what
    Pipeline.model_validate({**given, "check_model": False})


def body_of(one: Pipeline) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(RequestTemplate.of(one).line("r", {}))["modelInput"]
    return body


@pytest.mark.parametrize(("model", "invocation", "parameters", "said"), SETTINGS)
def test_the_emulator_rejects_in_a_job_what_is_rejected_before_it(
    model: str, invocation: str, parameters: dict[str, Any], said: str
) -> None:
    given = {"name": "p", "model_id": model, "prompt": "a", "invocation": invocation, "check_model": False}
    body = body_of(Pipeline.model_validate({**given, "parameters": parameters}))
    models = Models()
    with pytest.raises(BodyError):
        (models.converse if invocation == "Converse" else models.answer)(model, body, batch=True)


@pytest.mark.parametrize(("model", "invocation", "parameters", "said"), SETTINGS)
def test_a_given_body_and_a_task_are_judged_by_the_same_rule(
    model: str, invocation: str, parameters: dict[str, Any], said: str
) -> None:
    given = {"name": "p", "model_id": model, "prompt": "a", "invocation": invocation, "check_model": False}
    body = body_of(Pipeline.model_validate({**given, "parameters": parameters}))
    bodies = Pipeline.model_validate({**given, "prompt": None, "model_input": "body", "check_model": True})
    with pytest.raises(NotRenderableError, match="column 'body': ") as raised:
        RequestTemplate.of(bodies).line("r", {"body": body})
    assert said in str(raised.value)
    if invocation == "InvokeModel":
        queue = BedrockQueueConfig(model_id=model).pipeline()
        with pytest.raises(InvalidTaskError, match="model_input: ") as other:
            encoded(BedrockTask("r", body), Limits(), queue.body_rules)
        assert said in other.value.what


def claude(*messages: Any, **members: Any) -> dict[str, Any]:
    """A body of Claude's whose messages are the user's and the assistant's in turn."""
    said = [{"role": ("user", "assistant")[n % 2], "content": one} for n, one in enumerate(messages)]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": said, **members}


def converse(*blocks: Any, **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}], **members}


def photo(size: int) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * size}}


def document(size: int, form: str = "pdf") -> dict[str, Any]:
    return {"document": {"format": form, "name": "d", "source": {"bytes": "A" * (size * 4 // 3)}}}


def paper(text: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}


def blank_document(data: bytes) -> dict[str, Any]:
    return {"document": {"format": "txt", "name": "d", "source": {"bytes": base64.b64encode(data).decode()}}}


def nova_photo() -> dict[str, Any]:
    return {"image": {"format": "png", "source": {"bytes": "AAAA"}}}


def nova_embed(text: str) -> dict[str, Any]:
    params = {"embeddingPurpose": "GENERIC_INDEX", "text": {"truncationMode": "NONE", "value": text}}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


LINKED = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
MB = 2**20
#: Bodies that a pipeline's own settings cannot make.
CONTENTS: list[tuple[str, str, dict[str, Any], str | None]] = [
    (HAIKU3, "InvokeModel", claude("a"), None),
    (HAIKU3, "InvokeModel", claude("a", "b"), None),
    (HAIKU3, "InvokeModel", claude(""), "message 1 has a blank text"),
    (
        HAIKU3,
        "InvokeModel",
        claude("a", "b", [{"type": "text", "text": " \n"}]),
        "message 3 has a blank text",
    ),
    (HAIKU3, "InvokeModel", claude([]), "message 1 is empty"),
    (HAIKU3, "InvokeModel", claude(), "messages is empty"),
    (HAIKU3, "InvokeModel", claude("a", system=" "), "the system prompt has a blank text"),
    (HAIKU3, "InvokeModel", claude("a " * 1_000_000), "more than the model's context window of 200,000"),
    (HAIKU3, "InvokeModel", claude("a " * 500_000), None),
    (SONNET46, "InvokeModel", claude("a " * 1_000_000), None),
    (SONNET46, "InvokeModel", claude("a", "b"), "does not continue a message of the assistant"),
    (
        SONNET4,
        "InvokeModel",
        claude("a", "b", max_tokens=3000, **thinking("enabled", budget_tokens=2000)),
        "does not continue a message of the assistant while it thinks",
    ),
    (HAIKU3, "InvokeModel", claude([photo(5 * MB)]), None),
    (HAIKU3, "InvokeModel", claude([photo(5 * MB + 4)]), "an image has more than 5,242,880 bytes in base64"),
    (HAIKU3, "InvokeModel", claude([photo(8)] * 101), "101 images are more than 100"),
    (HAIKU3, "Converse", converse({"text": ""}), "message 1 has a blank text"),
    (HAIKU3, "Converse", converse({"text": "a"}, *[document(8)] * 6), "6 documents are more than 5"),
    (HAIKU3, "Converse", converse({"text": "a"}, document(5 * MB)), "a document has more than 4.5 MB"),
    (SONNET4, "Converse", converse({"text": "a"}, document(5 * MB)), None),
    (
        SONNET4,
        "Converse",
        converse({"text": "a"}, document(5 * MB, "csv")),
        "a document has more than 4.5 MB",
    ),
    (NOVA, "Converse", converse({"text": "a"}, *[document(9 * MB, "docx")] * 3), "more than 25 MB together"),
    (QWEN, "InvokeModel", {"messages": [{"role": "user", "content": " "}]}, "message 1 has a blank text"),
    (LLAMA, "InvokeModel", {"prompt": "\t"}, "prompt has a blank text"),
    (TITAN, "InvokeModel", {"inputText": ""}, "inputText has a blank text"),
    (TITAN, "InvokeModel", {"inputText": "a" * 50_000}, None),
    (TITAN, "InvokeModel", {"inputText": "a" * 50_001}, "more than the 50,000 characters"),
    (
        COHERE,
        "InvokeModel",
        {"texts": ["a" * 2_049], "input_type": "search_query"},
        "more than the 2,048 characters",
    ),
    (COHERE, "InvokeModel", {"texts": ["a"] * 97, "input_type": "search_query"}, "more than 96 texts"),
    # What the model cannot be given.
    (
        HAIKU35,
        "InvokeModel",
        claude([photo(8)]),
        "message 1 has an image; the model takes only text and document",
    ),
    (HAIKU35, "InvokeModel", claude([paper("words"), {"type": "text", "text": "a"}]), None),
    (
        MICRO,
        "Converse",
        converse({"text": "a"}, document(8)),
        "message 1 has a document; the model takes only text",
    ),
    (MICRO, "InvokeModel", converse({"text": "a"}, nova_photo()), "message 1 has an image"),
    (GPT, "InvokeModel", {"messages": [{"role": "user", "content": [LINKED]}]}, "message 1 has an image"),
    (GPT, "Converse", converse({"text": "a"}, nova_photo()), "message 1 has an image"),
    (LLAMA, "Converse", converse({"text": "a"}, document(8)), None),
    # Documents beside no text, and blank ones.
    (NOVA, "Converse", converse(document(8)), "message 1 has a document and no text"),
    (NOVA, "Converse", converse(nova_photo()), None),
    (HAIKU3, "InvokeModel", claude([paper("words")]), None),
    (HAIKU3, "InvokeModel", claude([paper(" \n")]), "a document is blank"),
    (NOVA, "Converse", converse({"text": "a"}, blank_document(b" " * 100)), "a document is blank"),
    (NOVA, "Converse", converse({"text": "a"}, blank_document(b" " * 100 + b"x")), None),
    (NOVA, "Converse", converse({"text": "a"}, blank_document(b"")), "a document is blank"),
    # Embeddings.
    (NOVA_EMBED, "InvokeModel", nova_embed(" "), "text.value has a blank text"),
    (NOVA_EMBED, "InvokeModel", nova_embed("a" * 8_192), None),
    (NOVA_EMBED, "InvokeModel", nova_embed("a" * 8_193), "more than the 8,192 characters"),
    (TITAN_IMAGE, "InvokeModel", {"inputText": " "}, "inputText has a blank text"),
    (TITAN_IMAGE, "InvokeModel", {"inputImage": "AAAA"}, None),
    (COHERE4, "InvokeModel", {"texts": ["\t"], "input_type": "search_query"}, "texts has a blank text"),
    (
        COHERE4,
        "InvokeModel",
        {"inputs": [{"content": [{"type": "text", "text": " "}]}], "input_type": "search_query"},
        "input 1 has a blank text",
    ),
]


def check_row(model: str, invocation: str, body: dict[str, Any], said: str | None) -> None:
    """A given body is sent if nothing is said against it, else it is rejected, unless the check is off."""
    given = {"name": "p", "model_id": model, "model_input": "body", "invocation": invocation}
    template = RequestTemplate.of(Pipeline.model_validate(given))
    if said is None:
        template.line("r", {"body": body})
        return
    with pytest.raises(NotRenderableError) as raised:
        template.line("r", {"body": body})
    assert said in str(raised.value)
    RequestTemplate.of(Pipeline.model_validate({**given, "check_model": False})).line("r", {"body": body})


@pytest.mark.parametrize(("model", "invocation", "body", "said"), CONTENTS)
def test_what_follows_from_the_row_rejects_it(
    model: str, invocation: str, body: dict[str, Any], said: str | None
) -> None:
    check_row(model, invocation, body, said)


@pytest.mark.parametrize(
    ("model", "prompt", "value", "said"),
    [
        (HAIKU3, "{{ a }}", " \n", "message 1 has a blank text"),
        (HAIKU3, "{{ a }}", "\u00a0", None),
        (HAIKU3, "x{{ a }}", "", None),
        (HAIKU3, "{{ a }}", "a " * 1_000_000, "context window"),
        (TITAN, "{{ a }}", "a" * 50_001, "50,000 characters"),
        (TITAN, "{{ a }}", "a" * 50_000, None),
        (TITAN, "{{ a }}", "ü" * 50_000, "context window"),
        (COHERE, "{{ a }}", "a" * 2_049, "2,048 characters"),
        (COHERE, "{{ a }}", "", "blank text"),
        (NOVA_EMBED, "{{ a }}", " ", "blank text"),
        (NOVA_EMBED, "{{ a }}", "a" * 8_193, "8,192 characters"),
        (TITAN_IMAGE, "{{ a }}", " ", "blank text"),
        (COHERE4, "{{ a }}", " ", "blank text"),
    ],
)
@pytest.mark.parametrize("kernel", ["on", "off"])
def test_a_prompt_is_judged_by_the_same_rule_with_the_kernel_and_without(
    kernel: str, model: str, prompt: str, value: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    one = Pipeline.model_validate({"name": "p", "model_id": model, "prompt": prompt})
    records = Records(pa.array(["good", "bad"]), pa.RecordBatch.from_pydict({"a": ["a word", value]}), [0, 1])
    rendered = Renderer(RequestTemplate.of(one), pa.schema([]), Limits()).render(records)
    assert rendered.lines.records == (2 if said is None else 1)
    assert [said in rejection.reason for rejection in rendered.rejected if said] == [True] * (
        said is not None
    )
