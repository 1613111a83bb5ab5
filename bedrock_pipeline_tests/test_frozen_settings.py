"""What is frozen at a launch, field by field: a change of content is another version, which is bought again."""

from typing import Any

import pytest
from pydantic import BaseModel

from bedrock_pipeline.frozen_settings import freeze
from bedrock_pipeline.pipeline import Pipeline

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
PRICE = {"input_per_million": 1, "output_per_million": 1}


def render(_: dict[str, Any]) -> str:
    return "a"


class Answer(BaseModel):
    number: int


#: Fields that decide the responses, with another value than `BASE` has.
CONTENT: dict[str, dict[str, Any]] = {
    "name": {"name": "q"},
    "model_id": {"model_id": f"us.{HAIKU}"},
    "family": {"family": "raw", "prompt": None, "model_input": "body"},
    "invocation": {"invocation": "Converse"},
    "prompt": {"prompt": "{{ b }}"},
    "messages": {"prompt": None, "messages": "chat"},
    "render": {"prompt": None, "render": render},
    "render_version": {"prompt": None, "render": render, "render_version": "2"},
    "model_input": {"prompt": None, "model_input": "body"},
    "system": {"system": "Be brief."},
    "examples": {"examples": [("a", "b")]},
    "parameters": {"parameters": {"max_tokens": 5}},
    "images": {"images": ["photo"]},
    "documents": {"documents": ["page"]},
    "answer_schema": {"answer_schema": Answer},
    "carry": {"carry": ["n"]},
    "null_text": {"null_text": "none"},
    "ask_identical_once": {"ask_identical_once": False},
}
#: Fields that are a limit, a price or a policy.
POLICY: dict[str, dict[str, Any]] = {
    "check_model": {"check_model": False},
    "limits": {"limits": {"max_records": 500}},
    "quota_group": {"quota_group": "mine"},
    "timeout_hours": {"timeout_hours": 24},
    "below_minimum": {"below_minimum": "pad"},
    "on_demand_tier": {"on_demand_tier": "flex", "check_model": False},
    "max_record_attempts": {"max_record_attempts": 1},
    "accept_incomplete": {"accept_incomplete": ["cut-off"]},
    "retry_incomplete": {"retry_incomplete": ["cut-off"]},
    "max_tokens_factor": {"max_tokens_factor": 2.0, "retry_incomplete": ["cut-off"]},
    "count_tokens": {"count_tokens": True},
    "keep_raw_output": {"keep_raw_output": True},
    "prices": {"prices": {HAIKU: PRICE}},
}
#: What is compared with, where a value needs another one beside it.
BASES: dict[str, dict[str, Any]] = {
    "render_version": CONTENT["render"],
    "on_demand_tier": POLICY["check_model"],
    "max_tokens_factor": POLICY["retry_incomplete"],
}
#: Fields that change neither: where the input is, what may be changed at any time, what has no meaning afterwards.
NEITHER: dict[str, dict[str, Any]] = {
    "source": {"source": "s3://b/in.parquet"},
    "attachment_roots": {"attachment_roots": ["s3://b/photos"]},
    "max_cost_usd": {"max_cost_usd": "1"},
}


def frozen(changes: dict[str, Any]) -> tuple[str, str]:
    one = {"name": "p", "model_id": HAIKU, "prompt": "{{ a }}", **changes}
    found = freeze(Pipeline.model_validate(one))
    return found.content_digest, found.digest


@pytest.mark.parametrize("field", CONTENT)
def test_another_value_of_content_is_other_content(field: str) -> None:
    assert frozen(CONTENT[field])[0] != frozen(BASES.get(field, {}))[0]
    assert frozen(CONTENT[field]) == frozen(CONTENT[field])


@pytest.mark.parametrize("field", POLICY)
def test_another_limit_price_or_policy_is_frozen_and_buys_nothing_again(field: str) -> None:
    base, changed = frozen(BASES.get(field, {})), frozen(POLICY[field])
    assert changed[0] == base[0]
    assert changed[1] != base[1]


@pytest.mark.parametrize("field", NEITHER)
def test_what_an_operator_may_change_is_not_frozen(field: str) -> None:
    assert frozen(NEITHER[field]) == frozen({})


def test_what_every_request_has_in_common_is_content() -> None:
    one = Pipeline(name="p", model_id=HAIKU, prompt="{{ a }}")
    assert freeze(one, b"a").content_digest != freeze(one, b"b").content_digest
