"""Which jobs Bedrock counts together, by the id of their model."""

import pytest

from bedrock_pipeline.models.quota_group import QuotaGroup, base_model, default_max_jobs, others_by_group

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
_BEDROCK = "arn:aws:bedrock:us-east-1"
CUSTOM = f"{_BEDROCK}:111122223333:custom-model/{CLAUDE}/abcdefghijkl"
ITSELF = (
    CUSTOM,
    f"{_BEDROCK}:111122223333:application-inference-profile/abcdefghijkl",
    f"{_BEDROCK}:111122223333:provisioned-model/abcdefghijkl",
    f"{_BEDROCK}:111122223333:imported-model/abcdefghijkl",
    "amazon.titan-embed-text-v2:0",
    "ai21.jamba-1-5-large-v1:0",
    "slots of their own",
)


@pytest.mark.parametrize(
    "model_id",
    [
        CLAUDE,
        f"{_BEDROCK}::foundation-model/{CLAUDE}",
        f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{CLAUDE}",
        *(
            f"{geography}.{CLAUDE}"
            for geography in (
                "us",
                "eu",
                "apac",
                "global",
                "us-gov",
                "jp",
                "au",
                "ca",
                "mx",
                "latam",
                "me-south",
            )
        ),
        f"{_BEDROCK}:111122223333:inference-profile/us.{CLAUDE}",
        f"{_BEDROCK}:111122223333:inference-profile/global.{CLAUDE}",
    ],
)
def test_every_id_of_a_base_model_is_of_its_group(model_id: str) -> None:
    assert base_model(model_id) == CLAUDE
    assert QuotaGroup.named(model_id, "us-east-1") == QuotaGroup(CLAUDE, "us-east-1")


@pytest.mark.parametrize("model_id", ITSELF)
def test_an_id_that_names_no_base_model_has_a_group_of_its_own(model_id: str) -> None:
    assert base_model(model_id) == model_id


@pytest.mark.parametrize("name", [CLAUDE, *ITSELF, "works in us-east-1 of 123"])
@pytest.mark.parametrize("account", [None, "111122223333"])
def test_a_key_is_parsed_to_what_it_was(name: str, account: str | None) -> None:
    group = QuotaGroup(name, "us-gov-west-1", account)
    assert QuotaGroup.of(str(group)) == group


def test_another_region_or_account_is_another_group() -> None:
    groups = {
        QuotaGroup.named(CLAUDE, region, account)
        for region in ("us-east-1", "eu-west-1")
        for account in (None, "111122223333", "444455556666")
    }
    assert len({str(group) for group in groups}) == 6


def test_a_text_that_is_no_key_is_not_parsed() -> None:
    with pytest.raises(ValueError, match="not the key"):
        QuotaGroup.of(CLAUDE)


def test_default_limits_are_bedrocks() -> None:
    assert (default_max_jobs(CLAUDE), default_max_jobs(CUSTOM)) == (20, 3)


def test_jobs_of_others_count_for_each_group_that_has_their_model() -> None:
    here, own = (
        QuotaGroup(CLAUDE, "us-east-1", "1" * 12),
        QuotaGroup("slots of their own", "us-east-1", "1" * 12),
    )
    elsewhere = QuotaGroup(CLAUDE, "eu-west-1", "1" * 12)
    counted = others_by_group(
        {CLAUDE: 3, "another": 4},
        "us-east-1",
        "1" * 12,
        [(here, f"us.{CLAUDE}"), (own, CLAUDE), (own, "another"), (elsewhere, CLAUDE)],
    )
    assert counted == {str(here): 3, str(own): 7, str(QuotaGroup("another", "us-east-1", "1" * 12)): 4}
