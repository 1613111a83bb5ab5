"""Prices by model id: those of genai-prices, halved for batch; overridden; unknown."""

import socket
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from bedrock_pipeline.models.catalog import catalog
from bedrock_pipeline.pricing.prices import Price, Rate, price_of
from bedrock_pipeline.settings import PriceOverride, Settings

AT = datetime(2026, 11, 24, tzinfo=UTC)
MILLION = 1_000_000
HAIKU_3 = "anthropic.claude-3-haiku-20240307-v1:0"
HAIKU_45 = "anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"


def known(model_id: str) -> Price:
    price = price_of(model_id, AT)
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("model_id", "per_input", "per_output"),
    [
        (HAIKU_3, "0.25", "1.25"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_3}", "0.25", "1.25"),
        (f"us.{HAIKU_45}", "1.1", "5.5"),
        (f"global.{HAIKU_45}", "1", "5"),
        (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.{HAIKU_45}", "1", "5"),
        ("apac.amazon.nova-lite-v1:0", "0.06", "0.24"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "0.72", "0.72"),
        ("mistral.mistral-large-2402-v1:0", "4", "12"),
        (TITAN, "0.02", "0"),
        # Of the catalog.
        ("deepseek.v3.2", "0.62", "1.85"),
        ("arn:aws:bedrock:us-west-2::foundation-model/zai.glm-4.7-flash", "0.07", "0.4"),
    ],
)
def test_known_models_and_half_of_it_for_a_batch(model_id: str, per_input: str, per_output: str) -> None:
    price = known(model_id)
    assert price.cost(MILLION, 0, "on-demand") == Decimal(per_input)
    assert price.cost(0, MILLION, "on-demand") == Decimal(per_output)
    assert price.cost(MILLION, MILLION) == (Decimal(per_input) + Decimal(per_output)) / 2


@pytest.mark.parametrize(
    "model_id", [HAIKU_3, f"global.{HAIKU_45}", "global.anthropic.claude-haiku-5-5", TITAN]
)
@pytest.mark.parametrize("tokens", [1, 1_000, 100_000, 100_001, 500_000])
def test_a_request_costs_what_the_package_says(model_id: str, tokens: int) -> None:
    """Also where long requests have a higher rate."""
    expected = calc_price(
        Usage(input_tokens=tokens, output_tokens=200),
        model_id,
        provider_id="aws",
        genai_request_timestamp=AT,
    ).total_price
    assert known(model_id).cost(tokens, 200, "on-demand") == expected


@pytest.mark.parametrize(
    "model_id",
    [
        "acme.model-v1:0",
        "cohere.embed-english-v3",
        "amazon.titan-embed-image-v1",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/deepseek.v3.2/a1b2c3d4e5f6",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
        f"arn:aws:bedrock:us-east-1:123456789012:custom-model/{HAIKU_3}/a1b2c3d4e5f6",
    ],
)
def test_an_unknown_price_is_none_and_never_nothing(model_id: str) -> None:
    assert price_of(model_id, AT) is None


@pytest.mark.parametrize(
    ("model_id", "key"),
    [
        ("cohere.embed-english-v3", "cohere.embed-english-v3"),
        (f"us.{HAIKU_45}", HAIKU_45),
        (f"us.{HAIKU_45}", f"us.{HAIKU_45}"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
            "a1b2c3d4e5f6",
        ),
    ],
)
def test_an_override_wins(model_id: str, key: str) -> None:
    override = PriceOverride.model_validate(
        {"input_per_million": 2, "output_per_million": "0.5", "batch_discount": "0.25"}
    )
    price = price_of(model_id, AT, {key: override})
    assert price is not None
    assert price.cost(MILLION, MILLION, "on-demand") == Decimal("2.5")
    assert price.cost(MILLION, MILLION) == Decimal("1.875")


def test_the_catalog_has_prices_only_where_the_package_has_none_and_every_model_of_text_with_jobs_has_one() -> (
    None
):
    for card in catalog().values():
        price = price_of(card.ids[0], AT)
        if card.price is not None:
            with pytest.raises(LookupError):
                calc_price(Usage(), card.id, provider_id="aws", genai_request_timestamp=AT)
        assert price is not None or card.batch != "yes" or "embed" in card.family, card.id


def test_requests_of_one_size_are_priced_at_their_own_rate() -> None:
    price = Price(
        batch=(Rate(0, Decimal(1), Decimal(0)), Rate(100, Decimal(2), Decimal(0))),
        on_demand=(Rate(0, Decimal(1), Decimal(0)),),
    )
    assert price.cost(1000, 0, requests=10) == 1000, "100 tokens each: not above 100"
    assert price.cost(1010, 0, requests=10) == 2020
    assert price.cost(0, 0, requests=0) == 0


def test_no_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", fail)
    assert price_of("amazon.nova-pro-v1:0", AT) is not None


def test_overrides_come_from_the_environment_and_settings_stay_hashable() -> None:
    settings = Settings.resolve(
        environment={
            "BUCKET": "b",
            "ROLE_ARN": "r",
            "BEDROCK_PIPELINE_PRICES": '{"acme.model": {"input_per_million": "0.1"}}',
        }
    )
    assert dict(settings.prices)["acme.model"].input_per_million == Decimal("0.1")
    assert hash(settings)
