"""Definitions of pipelines: errors name the pipeline and the field, and say what is expected."""

from typing import Any

import pytest

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.queue import BedrockQueueConfig
from bedrock_pipeline.queue_pipeline import FlushPolicy, QueuePipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "give one of prompt"),
        ({"prompt": "{{ a }}", "model_input": "body"}, "give one of prompt"),
        ({"model_input": "body", "images": ["photo"]}, "images: they need a prompt"),
        ({"prompt": "{{ a }}", "timeout_hours": 1}, "timeout_hours: .* greater than or equal to 24"),
        ({"prompt": "{{ a }}", "limits": {"min_record": 1}}, "limits.min_record: there is no such field"),
        (
            {"prompt": "{{ a }}", "max_token": 5, "max_record_attempts": 0},
            "max_record_attempts: .*; max_token: ",
        ),
        ({"prompt": "{{ a }}", "model_id": "unknown.model", "answer_schema": "{}"}, "answer_schema|schema"),
        (
            {"prompt": "{{ a }}", "model_id": "amazon.nova-lit-v1:0"},
            "model_id: the request body of 'amazon.nova-lit-v1:0' is not known; did you mean amazon.nova-lite-v1:0, ",
        ),
    ],
)
def test_an_invalid_pipeline_is_named_with_each_wrong_field(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Pipeline 'docs': .*({problem})") as raised:
        Pipeline.model_validate({"name": "docs", "model_id": CLAUDE, **changes})
    assert "docs/reference/pipeline.md" in raised.value.fix


@pytest.mark.parametrize(
    ("carry", "problem"),
    [
        ("status", "carry: the results have a column 'status' of their own; rename"),
        ("Status", None),
        ("RECORD_ID", None),
        ("embedding_int8", "carry: the results have a column 'embedding_int8' of their own"),
        ("__filename", "carry: Arrow has a column '__filename' of its own in each dataset"),
        ("record_id", None),
        ("__FileName", None),
    ],
)
def test_no_carried_column_has_the_name_of_one_of_the_results(carry: str, problem: str | None) -> None:
    settings = {"name": "docs", "model_id": CLAUDE, "prompt": "{{ a }}", "record_id": "record_id"}
    if problem is None:
        Pipeline.model_validate({**settings, "carry": [carry]})
        return
    with pytest.raises(ConfigurationError, match=problem):
        Pipeline.model_validate({**settings, "carry": [carry]})
    docs = Pipeline.model_validate(settings)
    with pytest.raises(ConfigurationError, match=problem):
        docs.for_dataset({"carry": [carry]})


def test_a_property_of_the_answer_that_has_the_name_of_another_column_is_prefixed() -> None:
    answer = {"type": "object", "properties": {name: {"type": "string"} for name in ("Status", "CITY", "n")}}
    answer["required"] = list(answer["properties"])
    docs = Pipeline(name="docs", model_id=CLAUDE, prompt="{{ a }}", carry=("City",), answer_schema=answer)
    columns = docs.answer_columns()
    assert columns is not None
    assert [field.name for field in columns.fields] == ["answer_Status", "answer_CITY", "n"]


@pytest.mark.parametrize("field", sorted(Pipeline.model_fields.keys() - BasePipeline.model_fields.keys()))
def test_a_queue_has_no_field_about_input(field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"QueuePipeline 'q': {field}: a queue has no such field"):
        QueuePipeline.model_validate({"name": "q", "model_id": CLAUDE, field: "x"})


def test_a_dataset_sets_what_its_pipeline_allows() -> None:
    docs = Pipeline(name="docs", model_id=CLAUDE, prompt="{{ a }}")
    assert docs.for_dataset({"model_input": "body"}).prompt is None
    queue = QueuePipeline(name="q", model_id=CLAUDE)
    assert queue.for_dataset({"below_minimum": "pad"}).below_minimum == "pad"
    for pipeline, setting in ((docs, "name"), (queue, "prompt")):
        with pytest.raises(ConfigurationError, match=f"pipeline '{pipeline.name}' cannot set {setting}"):
            pipeline.for_dataset({setting: "x"})
    with pytest.raises(ConfigurationError, match=r"do not fit pipeline 'docs'.*give one of prompt"):
        docs.for_dataset({"prompt": "{{ a }}", "model_input": "body"})


@pytest.mark.parametrize("model", [Pipeline, QueuePipeline, FlushPolicy, BedrockQueueConfig])
def test_every_field_has_a_description(model: type[Pipeline]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []
