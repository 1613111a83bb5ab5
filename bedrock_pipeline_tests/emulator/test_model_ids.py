"""What a model id names: a model, a profile and its regions; and the switches for ids that the catalog does not know."""

import pytest

from bedrock_pipeline.emulator.behaviour import Behaviour, ModelFeatures, UnknownModels
from bedrock_pipeline.emulator.models import Models, Reply, parse_model_id
from bedrock_pipeline.emulator.models.catalog import arns_invoked, catalog
from bedrock_pipeline_tests.emulator.test_models import CLOSED, HAIKU_3, NOVA, STRICT, ask, claude, schema

ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"


@pytest.mark.parametrize(
    ("model_id", "name", "geography"),
    [
        (HAIKU_3, HAIKU_3, None),
        ("deepseek.v3.2", "deepseek.v3.2", None),
        (f"us.{HAIKU_3}", HAIKU_3, "us"),
        ("sa.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0", "sa"),
        (f"latam.{HAIKU_3}", HAIKU_3, "latam"),
        ("us.newcomer.model-1", "newcomer.model-1", "us"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}", NOVA, None),
        (f"{ACCOUNT}:inference-profile/us-gov.{HAIKU_3}", HAIKU_3, "us-gov"),
        (f"{ACCOUNT}:custom-model/{NOVA}/abcdefghijkl", NOVA, None),
        (f"{ACCOUNT}:application-inference-profile/abcdefghijkl", "abcdefghijkl", None),
        ("acme.model-v1:0", "acme.model-v1:0", None),
    ],
)
def test_what_an_id_names(model_id: str, name: str, geography: str | None) -> None:
    found = parse_model_id(model_id)
    assert (found.name, found.geography) == (name, geography)


def test_a_profile_invokes_the_model_in_each_of_its_regions() -> None:
    assert arns_invoked(f"us.{HAIKU_3}", "us-east-1", "123456789012") == [
        f"{ACCOUNT}:inference-profile/us.{HAIKU_3}",
        *(
            f"arn:aws:bedrock:us-{place}::foundation-model/{HAIKU_3}"
            for place in ("east-1", "east-2", "west-2")
        ),
    ]
    assert arns_invoked(HAIKU_3, "us-east-1", "123456789012") == [
        f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_3}"
    ]


def test_switches_of_models() -> None:
    body, later = claude(**schema(CLOSED)), "us.anthropic.claude-haiku-6"
    assert ask(HAIKU_3, body, Models()) == "output_config.format: Extra inputs are not permitted"
    any_features = Models(behaviour=Behaviour(model_features=ModelFeatures.ANY))
    assert isinstance(ask(HAIKU_3, body, any_features), Reply), "an old model has what new ones have"
    assert ask(later, body) == "The provided model identifier is invalid."
    by_family = Models(behaviour=Behaviour(unknown_models=UnknownModels.FAMILY))
    assert isinstance(ask(later, body, by_family), Reply)
    assert not by_family.supports("acme.model-v1:0")
    nova_pro = catalog().cards["amazon.nova-pro-v1:0"]
    assert by_family.takes_profile(nova_pro, parse_model_id("sa.amazon.nova-pro-v1:0"), "sa-east-1")
    assert not STRICT.takes_profile(nova_pro, parse_model_id("sa.amazon.nova-pro-v1:0"), "sa-east-1")


@pytest.mark.parametrize(
    ("model_id", "region", "taken"),
    [
        (f"us.{HAIKU_3}", "us-west-2", True),
        (f"us.{HAIKU_3}", "eu-west-1", False),
        (f"global.{HAIKU_3}", "us-west-2", False),  # it has no such profile
        ("global.anthropic.claude-opus-5", "sa-east-1", True),
        ("us.qwen.qwen3-32b-v1:0", "us-west-2", False),
        (HAIKU_3, "us-west-2", True),
        ("anthropic.claude-opus-5", "us-west-2", False),
        # Its own id has batch inference in one region, says AWS's page; profiles in all others.
        ("anthropic.claude-sonnet-4-6", "eu-west-2", True),
        ("anthropic.claude-sonnet-4-6", "us-west-2", False),
    ],
)
def test_under_which_ids_a_region_has_a_model(model_id: str, region: str, taken: bool) -> None:
    named = parse_model_id(model_id)
    card = catalog().cards[named.name]
    found = STRICT.takes_profile(card, named, region) if named.geography else STRICT.takes_bare(card, region)
    assert found is taken
