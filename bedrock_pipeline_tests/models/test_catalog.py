"""The catalog: what it says, that it agrees with the emulator's, and what it excludes when a pipeline is defined."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.emulator.models.catalog import catalog as emulated
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.frozen_settings import freeze, thaw
from bedrock_pipeline.models.catalog import ModelCard, card_of, catalog, similar
from bedrock_pipeline.models.registry import FAMILIES, family_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

HAIKU_45 = "anthropic.claude-haiku-4-5-20251001-v1:0"
OPUS_5 = "global.anthropic.claude-opus-5"
ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
#: AWS, "Supported Regions and models for batch inference", every model of the table, as of October 2026.
ON_THE_PAGE = {
    *("amazon.nova-2-multimodal-embeddings-v1:0", "amazon.nova-2-lite-v1:0", "amazon.nova-lite-v1:0"),
    *(
        "amazon.nova-micro-v1:0",
        "amazon.nova-premier-v1:0",
        "amazon.nova-pro-v1:0",
        "amazon.titan-embed-image-v1",
    ),
    *("amazon.titan-embed-text-v2:0", "anthropic.claude-3-haiku-20240307-v1:0"),
    *("anthropic.claude-3-opus-20240229-v1:0", "anthropic.claude-3-sonnet-20240229-v1:0"),
    *("anthropic.claude-3-5-haiku-20241022-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    *("anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic.claude-3-7-sonnet-20250219-v1:0", HAIKU_45),
    *("anthropic.claude-opus-4-5-20251101-v1:0", "anthropic.claude-opus-4-6-v1", "anthropic.claude-opus-5"),
    *("anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    *("anthropic.claude-sonnet-4-6", "deepseek.v3.2", "deepseek.v3-v1:0", "google.gemma-3-12b-it"),
    *("google.gemma-3-27b-it", "google.gemma-3-4b-it", "meta.llama3-1-405b-instruct-v1:0"),
    *("meta.llama3-1-70b-instruct-v1:0", "meta.llama3-1-8b-instruct-v1:0", "meta.llama3-2-11b-instruct-v1:0"),
    *("meta.llama3-2-1b-instruct-v1:0", "meta.llama3-2-3b-instruct-v1:0", "meta.llama3-2-90b-instruct-v1:0"),
    *("meta.llama3-3-70b-instruct-v1:0", "meta.llama4-maverick-17b-instruct-v1:0"),
    *("meta.llama4-scout-17b-instruct-v1:0", "minimax.minimax-m2", "minimax.minimax-m2.1"),
    *("mistral.devstral-2-123b", "mistral.magistral-small-2509", "mistral.ministral-3-14b-instruct"),
    *(
        "mistral.ministral-3-8b-instruct",
        "mistral.ministral-3-3b-instruct",
        "mistral.mistral-large-2407-v1:0",
    ),
    *("mistral.mistral-large-3-675b-instruct", "mistral.mistral-small-2402-v1:0"),
    *("mistral.voxtral-mini-3b-2507", "mistral.voxtral-small-24b-2507", "moonshot.kimi-k2-thinking"),
    *("moonshotai.kimi-k2.5", "nvidia.nemotron-nano-12b-v2", "nvidia.nemotron-nano-9b-v2"),
    *("nvidia.nemotron-nano-3-30b", "openai.gpt-oss-safeguard-120b", "openai.gpt-oss-safeguard-20b"),
    *(
        "openai.gpt-oss-120b-1:0",
        "openai.gpt-oss-20b-1:0",
        "qwen.qwen3-235b-a22b-2507-v1:0",
        "qwen.qwen3-32b-v1:0",
    ),
    *("qwen.qwen3-coder-480b-a35b-v1:0", "qwen.qwen3-coder-next", "qwen.qwen3-next-80b-a3b"),
    *("qwen.qwen3-vl-235b-a22b", "qwen.qwen3-coder-30b-a3b-v1:0", "zai.glm-4.7", "zai.glm-4.7-flash"),
}


def test_the_catalog_has_the_emulators_models() -> None:
    assert catalog().keys() == emulated().cards.keys()


def test_the_models_with_batch_inference_are_those_of_the_page_of_aws() -> None:
    assert {card.id for card in catalog().values() if card.batch == "yes"} == ON_THE_PAGE


@pytest.mark.parametrize("model_id", sorted(catalog()))
def test_a_card_agrees_with_the_emulators(model_id: str) -> None:
    """Each was written from AWS's pages for itself; where they differ, one is wrong."""
    ours, theirs = catalog()[model_id], emulated().cards[model_id]
    assert ours.batch == theirs.batch
    assert (ours.bare, ours.bare_regions, ours.profiles) == (
        theirs.bare,
        theirs.bare_regions,
        theirs.profiles,
    )
    assert (ours.flex, ours.counts_tokens, ours.min_records) == (
        theirs.flex,
        theirs.counts_tokens,
        theirs.min_records,
    )
    assert ours.converse == bool(theirs.converse)
    assert ours.context in (None, theirs.max_input)
    if not theirs.vectors:
        assert ours.family == theirs.family
        assert set(ours.input) == set(theirs.input) & {"text", "image", "document"}
    if ours.answers:
        assert ("schema" in ours.answers, "tool" in ours.answers) == (theirs.structured, theirs.forced_tool)
    if ours.family == "claude":
        assert (ours.effort, ours.prefill) == (theirs.effort, theirs.prefill)
        assert set(ours.thinking or ()) == set(theirs.thinking)
    assert (ours.sampling, ours.thinks) == (theirs.sampling, theirs.thinks)
    assert ours.max_output in (None, theirs.max_output)


@pytest.mark.parametrize("card", catalog().values(), ids=lambda card: card.id)
def test_every_card_is_of_a_family_and_every_id_finds_it(card: ModelCard) -> None:
    assert card.family in {family.name for family in FAMILIES}
    assert card.ids, "it can be used under no id"
    for model_id in card.ids:
        assert card_of(model_id) is card
        assert family_of(model_id).name == card.family
    assert set(card.answers) <= family_of(card.id).takes
    assert "image" not in card.input or card.family == "llama" or "images" in family_of(card.id).takes


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_id": "us.anthropic.claude-opus-4-7"}, "claude-opus-4-7 has no batch inference"),
        ({"model_id": f"{ACCOUNT}:provisioned-model/abcdefghijkl"}, "not supported for provisioned"),
        ({"model_id": HAIKU_45}, rf"inference profile only; name us\.{HAIKU_45}, .* or global\.{HAIKU_45}"),
        ({"model_id": f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_45}"}, "inference profile only"),
        ({"parameters": {"temperature": 0, "top_p": 0.9}}, "only one of temperature and top_p"),
        (
            {"invocation": "Converse", "parameters": {"inferenceConfig": {"temperature": 0}, "topP": 0.9}},
            "only one of temperature and top_p",
        ),
        ({"parameters": {"max_tokens": 64_001}}, r"at most 64,000 tokens, less than max_tokens=64,001"),
        ({"model_id": OPUS_5, "parameters": {"temperature": 0.5}}, "does not take temperature"),
        ({"model_id": "us.amazon.nova-micro-v1:0", "images": ["photo"]}, "nova-micro-v1:0 takes only text"),
    ],
)
def test_what_the_catalog_excludes_is_an_error_unless_it_is_not_checked(
    changes: dict[str, Any], problem: str
) -> None:
    settings = {"name": "docs", "model_id": f"us.{HAIKU_45}", "prompt": "{{ a }}", "family": None, **changes}
    if "provisioned" in settings["model_id"]:
        settings["family"] = "claude"
    with pytest.raises(ConfigurationError, match=problem):
        Pipeline.model_validate(settings)
    assert Pipeline.model_validate({**settings, "check_model": False}).model_id == settings["model_id"]


def test_a_queue_is_checked_too() -> None:
    with pytest.raises(ConfigurationError, match="inference profile only"):
        QueuePipeline(name="q", model_id=HAIKU_45)


def test_what_was_launched_is_not_checked_by_a_later_catalog() -> None:
    launched = Pipeline(name="docs", model_id=HAIKU_45, prompt="{{ a }}", check_model=False)
    later = thaw(freeze(launched), Pipeline(name="docs", model_id=f"us.{HAIKU_45}", prompt="{{ a }}"))
    assert later.model_id == HAIKU_45


def test_the_command_lists_the_catalog() -> None:
    listed = json.loads(run("--json").stdout)
    assert [one["id"] for one in listed] == list(catalog())
    batch = {one["id"] for one in json.loads(run("--batch", "--json").stdout)}
    assert batch == {card.id for card in catalog().values() if card.batch == "yes"}
    [one] = json.loads(run(f"us.{HAIKU_45}", "--json").stdout)
    assert (one["provider"], one["answers"], one["ids"][0]) == (
        "Anthropic",
        ["schema", "tool"],
        f"us.{HAIKU_45}",
    )
    assert one["price"] == {"input_per_million": 0.55, "output_per_million": 2.75}
    unpriced = "amazon.titan-embed-image-v1"
    assert json.loads(run(unpriced, "--json").stdout)[0]["price"] is None
    assert "no price known" in " ".join(run(unpriced).stdout.split())
    unknown = run("openai.gpt-oss-120b")
    assert unknown.exit_code == 2
    assert "a pipeline can use it, unchecked" in unknown.stderr
    assert "openai.gpt-oss-120b-1:0" in unknown.stderr
    text = run().stdout
    assert "Sources read on" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "anthropic.claude-3-haiku-20240307-v1:0" in text.splitlines(), "an id stands alone on its line"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["models", *words])


def test_a_model_that_the_catalog_does_not_have_is_not_checked() -> None:
    parameters = {"temperature": 0, "top_p": 0.5, "max_tokens": 10**6}
    Pipeline(name="docs", model_id="anthropic.claude-haiku-9", prompt="{{ a }}", parameters=parameters)
    assert card_of("anthropic.claude-haiku-9") is None
    assert "openai.gpt-oss-120b-1:0" in similar("openai.gpt-oss-120b")
