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
from bedrock_pipeline.pipeline import Pipeline, QueuePipeline

HAIKU_45 = "anthropic.claude-haiku-4-5-20251001-v1:0"
OPUS_5 = "global.anthropic.claude-opus-5"
ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
#: No source shows batch inference of the first ones; the emulator has no body for the last.
NOT_EMULATED = {
    *("mistral.devstral-2-123b", "openai.gpt-oss-safeguard-20b", "openai.gpt-oss-safeguard-120b"),
    *("qwen.qwen3-coder-next", "zai.glm-5", "minimax.minimax-m2.5", "nvidia.nemotron-super-3-120b"),
    "amazon.nova-2-multimodal-embeddings-v1:0",
}
FAMILY_NAMES = {"titan_embed": "titan-embed", "cohere_embed": "cohere-embed"}


def test_the_catalog_has_the_emulators_models() -> None:
    theirs = emulated().cards
    assert catalog().keys() - theirs.keys() == NOT_EMULATED
    assert theirs.keys() - catalog().keys() == set()


@pytest.mark.parametrize("model_id", sorted(catalog().keys() - NOT_EMULATED))
def test_a_card_agrees_with_the_emulators(model_id: str) -> None:
    """Each was written from AWS's pages for itself; where they differ, one is wrong."""
    ours, theirs = catalog()[model_id], emulated().cards[model_id]
    assert ours.batch == theirs.batch
    assert ours.bare == ("bare" in theirs.ids)
    assert bool(ours.profiles) >= (theirs.ids == ("profile",))
    if not ours.family.startswith(("cohere-embed", "titan-embed-image", "raw")):
        assert ours.family == FAMILY_NAMES.get(theirs.family, theirs.family)
        assert set(ours.input) == set(theirs.input) & {"text", "image"}
    if ours.answers:
        assert ("schema" in ours.answers, "tool" in ours.answers) == (theirs.structured, theirs.forced_tool)
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
    unknown = run("openai.gpt-oss-120b")
    assert unknown.exit_code == 1
    assert "a pipeline can use it, unchecked" in unknown.stderr
    assert "openai.gpt-oss-120b-1:0" in unknown.stderr
    assert "Sources read on" in run().stderr


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["models", *words])


def test_a_model_that_the_catalog_does_not_have_is_not_checked() -> None:
    parameters = {"temperature": 0, "top_p": 0.5, "max_tokens": 10**6}
    Pipeline(name="docs", model_id="anthropic.claude-haiku-9", prompt="{{ a }}", parameters=parameters)
    assert card_of("anthropic.claude-haiku-9") is None
    assert "openai.gpt-oss-120b-1:0" in similar("openai.gpt-oss-120b")
