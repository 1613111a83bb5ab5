"""Models and inference profiles of a region, tokens counted beforehand, and service tiers, as boto3 calls them.

Sources: the operations' pages of the Amazon Bedrock API reference; "Monitor your token usage by counting tokens" and
"Service tiers for optimizing performance and cost", Amazon Bedrock user guide; the errors that users report.
"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline_tests.emulator.client import CLAUDE, claude
from bedrock_pipeline_tests.emulator.world import World

HAIKU_45, SONNET_46 = "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-sonnet-4-6"
NOVA_PRO, GPT_OSS = "amazon.nova-pro-v1:0", "openai.gpt-oss-20b-1:0"
TEXT: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "say a word"}]}]}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("filters", "models", "others"),
    [
        ({}, {CLAUDE, HAIKU_45, NOVA_PRO, GPT_OSS, "cohere.embed-v4:0"}, set()),
        ({"byProvider": "anthropic"}, {CLAUDE, HAIKU_45}, {NOVA_PRO}),
        ({"byInferenceType": "ON_DEMAND"}, {CLAUDE, NOVA_PRO}, {HAIKU_45, SONNET_46}),
        ({"byOutputModality": "EMBEDDING"}, {"amazon.nova-2-multimodal-embeddings-v1:0"}, {CLAUDE}),
        ({"byCustomizationType": "FINE_TUNING"}, set(), {CLAUDE}),
    ],
)
def test_models_are_listed_by_their_properties(
    world: World, filters: dict[str, str], models: set[str], others: set[str]
) -> None:
    summaries = world.bedrock.list_foundation_models(**filters)["modelSummaries"]
    found = {one["modelId"] for one in summaries}
    assert models <= found
    assert not others & found


def test_a_model_says_how_it_can_be_invoked(world: World) -> None:
    for model_id, ways in ((CLAUDE, ["ON_DEMAND"]), (HAIKU_45, ["INFERENCE_PROFILE"])):
        details = world.bedrock.get_foundation_model(modelIdentifier=model_id)["modelDetails"]
        assert (details["modelId"], details["inferenceTypesSupported"]) == (model_id, ways)
        assert (
            world.bedrock.get_foundation_model(modelIdentifier=details["modelArn"])["modelDetails"] == details
        )
        assert details["providerName"] == "Anthropic"
    for unknown in ("acme.model", f"us.{CLAUDE}", f"arn:aws:bedrock:eu-west-1::foundation-model/{CLAUDE}"):
        with pytest.raises(ClientError, match="The provided model identifier is invalid"):
            world.bedrock.get_foundation_model(modelIdentifier=unknown)


def test_profiles_are_listed_page_by_page_with_the_models_that_they_route_to(world: World) -> None:
    whole = world.bedrock.list_inference_profiles(maxResults=1000)["inferenceProfileSummaries"]
    pages = world.bedrock.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 7})
    assert [one for page in pages for one in page["inferenceProfileSummaries"]] == whole
    by_id = {one["inferenceProfileId"]: one for one in whole}
    assert {f"us.{HAIKU_45}", f"global.{HAIKU_45}"} <= by_id.keys()
    assert not any(name.startswith(("eu.", "jp.", "au.")) for name in by_id), "they are of other regions"
    us = by_id[f"us.{HAIKU_45}"]
    regions = ("us-east-1", "us-east-2", "us-west-2")
    assert [one["modelArn"] for one in us["models"]] == [
        f"arn:aws:bedrock:{region}::foundation-model/{HAIKU_45}" for region in regions
    ]
    for name in (us["inferenceProfileId"], us["inferenceProfileArn"]):
        found = world.bedrock.get_inference_profile(inferenceProfileIdentifier=name)
        assert {key: found[key] for key in us} == us
    assert world.bedrock.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"] == []
    with pytest.raises(world.bedrock.exceptions.ResourceNotFoundException):
        world.bedrock.get_inference_profile(inferenceProfileIdentifier=f"eu.{HAIKU_45}")
    with pytest.raises(ClientError, match="nextToken is not valid"):
        world.bedrock.list_inference_profiles(nextToken="what?")


def test_tokens_are_counted_as_the_model_would_charge_them(world: World) -> None:
    body = claude("count these words, please")
    counted = world.runtime.count_tokens(
        modelId=HAIKU_45, input={"invokeModel": {"body": json.dumps(body).encode()}}
    )
    said = json.loads(
        world.runtime.invoke_model(modelId=f"us.{HAIKU_45}", body=json.dumps(body))["body"].read()
    )
    assert counted["inputTokens"] == said["usage"]["input_tokens"] > 0
    by_converse = world.runtime.count_tokens(modelId=HAIKU_45, input={"converse": TEXT})
    assert (
        by_converse["inputTokens"]
        == world.runtime.converse(modelId=f"us.{HAIKU_45}", **TEXT)["usage"]["inputTokens"]
    )


@pytest.mark.parametrize(
    ("model_id", "given", "said"),
    [
        # github.com/pydantic/pydantic-ai/issues/4001: neither profiles nor ARNs
        (f"us.{HAIKU_45}", {"converse": TEXT}, "The provided model doesn't support counting tokens."),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_45}", {"converse": TEXT}, "doesn't support counting tokens"),
        ("anthropic.claude-opus-5", {"converse": TEXT}, "doesn't support counting tokens"),
        (NOVA_PRO, {"converse": TEXT}, "doesn't support counting tokens"),
        (HAIKU_45, {"invokeModel": {"body": json.dumps({**claude("a"), "x": 1}).encode()}}, "x: Extra inputs"),
        (HAIKU_45, {"invokeModel": {"body": b"{"}}, "The request body is not JSON"),
    ],
)  # fmt: skip
def test_what_count_tokens_rejects(world: World, model_id: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(world.runtime.exceptions.ValidationException, match=said):
        world.runtime.count_tokens(modelId=model_id, input=given)


@pytest.mark.parametrize(
    ("model_id", "tier", "said"),
    [
        (NOVA_PRO, "flex", None),
        (NOVA_PRO, "default", None),
        (CLAUDE, "default", None),
        # "service tier is not supported": what callers of the real service look for; the rest is not known
        (CLAUDE, "flex", "service tier is not supported"),
        (CLAUDE, "priority", "service tier is not supported"),
        # github.com/NousResearch/hermes-agent/pull/34476
        (NOVA_PRO, "reserved", "Reservation not found."),
    ],
)
def test_service_tiers_of_on_demand_calls(world: World, model_id: str, tier: str, said: str | None) -> None:
    native = json.dumps(claude("a") if model_id == CLAUDE else TEXT)

    def served() -> list[str]:
        invoked = world.runtime.invoke_model(modelId=model_id, body=native, serviceTier=tier)
        conversed = world.runtime.converse(modelId=model_id, **TEXT, serviceTier={"type": tier})
        return [invoked["serviceTier"], conversed["serviceTier"]["type"]]

    if said is None:
        assert served() == [tier, tier]
        return
    with pytest.raises(world.runtime.exceptions.ValidationException, match=said):
        served()
    with pytest.raises(world.runtime.exceptions.ValidationException, match=said):
        world.runtime.converse(modelId=model_id, **TEXT, serviceTier={"type": tier})
