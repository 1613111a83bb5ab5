"""One way to a setting: what is given, else the environment's, else the embedded stack's, else the default."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dagster_aws.s3 import S3Resource
from pydantic import BaseModel, ValidationError

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.local import Endpoints, environment
from bedrock_pipeline.orchestration.operator_jobs import ApproveConfig, LaunchConfig
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.thresholds import Thresholds
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue import BedrockQueueConfig
from bedrock_pipeline.queue_pipeline import FlushPolicy
from bedrock_pipeline.settings import PLACES, InvalidSettingError, NotConfiguredError, Settings
from bedrock_pipeline.throttle_backoff import ThrottleBackoff

_AWS = {"BUCKET": "b", "ROLE_ARN": "arn:aws:iam::1:role/r"}
_HIDDEN = "hidden-word"


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no embedded stack runs."""
    return {"BEDROCK_PIPELINE_HOME": str(tmp_path)}


@pytest.fixture
def here(stack_endpoints: Endpoints) -> dict[str, str]:
    """An environment in which the embedded stack runs, and nothing is said about AWS."""
    return {"BEDROCK_PIPELINE_HOME": str(stack_endpoints.home)}


@pytest.mark.parametrize(
    ("given", "variables", "name", "value"),
    [
        ({}, {}, "region", "us-east-1"),
        ({}, {"AWS_DEFAULT_REGION": "eu-west-1"}, "region", "eu-west-1"),
        ({}, {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}, "region", "eu-west-2"),
        ({}, {"AWS_REGION": "eu-west-2", "BEDROCK_PIPELINE_REGION": "eu-west-3"}, "region", "eu-west-3"),
        ({"region": "us-west-2"}, {"BEDROCK_PIPELINE_REGION": "eu-west-3"}, "region", "us-west-2"),
        ({"region": None}, {"BEDROCK_PIPELINE_REGION": "eu-west-3"}, "region", "eu-west-3"),
        ({}, {"AWS_REGION": ""}, "region", "us-east-1"),
        ({}, {"BEDROCK_PIPELINE_BUCKET": "ours"}, "bucket", "ours"),
        ({}, {"AWS_ENDPOINT_URL": "http://every"}, "bedrock_endpoint_url", "http://every"),
        (
            {},
            {"AWS_ENDPOINT_URL": "http://every", "AWS_ENDPOINT_URL_S3": "http://s3"},
            "s3_endpoint_url",
            "http://s3",
        ),
        (
            {},
            {"AWS_ENDPOINT_URL_S3": "http://s3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "s3_endpoint_url",
            None,
        ),
        ({}, {"BEDROCK_PIPELINE_LEASE_S": "99"}, "lease_s", 99),
        ({"lease_s": 98}, {"BEDROCK_PIPELINE_LEASE_S": "99"}, "lease_s", 98),
    ],
)
def test_what_is_given_comes_before_variables_and_ours_before_others(
    nowhere: dict[str, str], given: dict[str, Any], variables: dict[str, str], name: str, value: object
) -> None:
    assert getattr(Settings.resolve(given, {**nowhere, **_AWS, **variables}), name) == value


def test_the_resource_and_a_queue_go_by_the_same_rule(
    nowhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they do not give comes from the environment, also where they name bucket and role."""
    given = {"bucket": "other", "role_arn": "arn:aws:iam::1:role/other", "region": "us-west-2"}
    variables = {
        "BEDROCK_PIPELINE_LEASE_S": "99",
        "BEDROCK_PIPELINE_POLL_INTERVAL_S": "77",
        "BEDROCK_PIPELINE_INPUT_PREFIX": "in",
        "BEDROCK_PIPELINE_DATABASE_DSN": f"host=h password={_HIDDEN}",
    }
    for name, value in {**nowhere, **_AWS, **variables}.items():
        monkeypatch.setenv(name, value)
    expected = Settings.resolve(given)
    assert (expected.lease_s, expected.poll_interval_s, expected.input_prefix) == (99, 77, "in")
    assert expected.database_dsn.get_secret_value() == f"host=h password={_HIDDEN}"
    assert DeploymentResource(s3=S3Resource(), **given).settings() == expected
    config = BedrockQueueConfig(
        model_id="m", s3_input_bucket=given["bucket"], role_arn=given["role_arn"], region=given["region"]
    )
    assert config.settings() == expected
    assert config.poll_s(expected) == 77
    assert BedrockQueueConfig(model_id="m", poll_interval_ms=50).poll_s(expected) == 0.05
    alone = DeploymentResource(s3=S3Resource(), database_dsn=f"host=own password={_HIDDEN}").settings()
    assert (alone.bucket, alone.database_dsn.get_secret_value()) == ("b", f"host=own password={_HIDDEN}")
    assert _HIDDEN not in repr(alone)


def test_without_an_aws_setting_all_places_are_the_embedded_stacks(
    here: dict[str, str], stack_endpoints: Endpoints
) -> None:
    """Variables that every AWS program reads say nothing about it; those of ours that say no place do."""
    others = {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "PGHOST": "nowhere",
        "BEDROCK_PIPELINE_LEASE_S": "99",
    }
    settings = Settings.resolve({}, {**here, **others})
    expected = Settings.resolve({**stack_endpoints.settings(), "lease_s": 99}, {})
    assert settings == expected
    assert settings.s3_endpoint_url == stack_endpoints.s3_endpoint_url
    beside = Settings.resolve({"database_dsn": "host=own"}, here)
    assert beside == expected.model_copy(
        update={"database_dsn": beside.database_dsn, "lease_s": beside.lease_s}
    )


def test_the_embedded_stack_names_every_place(stack_endpoints: Endpoints) -> None:
    """What it left out would come from somewhere else."""
    assert stack_endpoints.settings().keys() == PLACES
    assert {Settings.variables(name)[0] for name in PLACES} <= environment(stack_endpoints).keys()
    assert Settings.resolve({}, environment(stack_endpoints)) == Settings.resolve(
        stack_endpoints.settings(), {}
    )


@pytest.mark.parametrize(
    ("given", "variables", "said"),
    [
        ({}, {"BUCKET": "b"}, "BUCKET is set, but not ROLE_ARN"),
        ({"bucket": "b"}, {}, "bucket is set, but not ROLE_ARN"),
        ({}, {"BEDROCK_PIPELINE_DATABASE_DSN": "host=production"}, "DATABASE_DSN is set, but not BUCKET and"),
    ],
)
def test_half_a_deployment_on_aws_is_not_completed_with_half_of_one_here(
    here: dict[str, str], given: dict[str, Any], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(NotConfiguredError, match=said):
        Settings.resolve(given, {**here, **variables})


def test_nothing_is_there(nowhere: dict[str, str]) -> None:
    with pytest.raises(NotConfiguredError, match="BUCKET and ROLE_ARN not set") as raised:
        Settings.resolve({}, nowhere)
    assert "bedrock-pipeline dev" in str(raised.value.fix)
    partial = Settings.resolve({}, {**nowhere, "BEDROCK_PIPELINE_POLL_INTERVAL_S": "7"}, partial=True)
    assert (partial.bucket, partial.role_arn, partial.poll_interval_s) == ("", "", 7)


@pytest.mark.parametrize(
    ("variables", "named", "reason"),
    [
        ({"BEDROCK_PIPELINE_LEASE_S": _HIDDEN}, "BEDROCK_PIPELINE_LEASE_S", "valid integer"),
        ({"BEDROCK_PIPELINE_LEASE_S": "1"}, "BEDROCK_PIPELINE_LEASE_S", "greater than or equal to 5"),
        ({"AWS_RETRY_MODE": _HIDDEN}, "AWS_RETRY_MODE", "'standard', 'adaptive' or 'legacy'"),
        ({"BEDROCK_PIPELINE_PRICES": f"{{{_HIDDEN}"}, "BEDROCK_PIPELINE_PRICES", "not JSON"),
        (
            {"BEDROCK_PIPELINE_PRICES": f'{{"m": {{"input_per_million": "{_HIDDEN}"}}}}'},
            "BEDROCK_PIPELINE_PRICES",
            "input_per_million",
        ),
        (
            {"BEDROCK_PIPELINE_THROTTLE_BACKOFF": '{"multiplier": 0}'},
            "BEDROCK_PIPELINE_THROTTLE_BACKOFF.multiplier",
            "greater",
        ),
        (
            {"BEDROCK_PIPELINE_DATABASE_DSN": f"postgresql//user:{_HIDDEN}@h/db"},
            "BEDROCK_PIPELINE_DATABASE_DSN",
            "no libpq connection string",
        ),
        ({"BEDROCK_PIPELINE_ACCESS_KEY_ID": _HIDDEN}, "secret_access_key", "both, or neither"),
    ],
)
def test_an_error_names_the_variable_and_what_is_wrong_and_not_its_value(
    nowhere: dict[str, str], variables: dict[str, str], named: str, reason: str
) -> None:
    with pytest.raises(InvalidSettingError) as raised:
        Settings.resolve({}, {**nowhere, **_AWS, **variables})
    assert named in str(raised.value)
    assert reason in str(raised.value)
    assert _HIDDEN not in repr(raised.value)
    assert raised.value.__cause__ is None


_URI = "without s3:// and without a prefix; prefixes are settings of their own"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"bucket": "s3://name"}, _URI),
        ({"bucket": "name/"}, _URI),
        ({"output_bucket": "name/prefix"}, _URI),
        ({"bucket": "arn:aws:s3:::name/prefix"}, _URI),
        ({"bucket": "arn:aws:s3:us-east-1:123456789012:accesspoint/mine"}, "alias (NAME-…-s3alias)"),
        ({"bucket": "arn:aws:s3::123456789012:accesspoint/mine.mrap"}, "alias (NAME-…-s3alias)"),
        ({"bucket": "My_Bucket"}, "lower-case letters, digits, hyphens and dots"),
        ({"input_prefix": "s3://name/prefix"}, "give the prefix alone"),
        ({"output_prefix": "a//b"}, "between single slashes"),
        ({"work_prefix": "/"}, "between single slashes"),
        ({"results_prefix": "of the team"}, "between single slashes"),
    ],
)
def test_what_is_no_bucket_and_no_prefix_is_rejected_with_what_to_write(
    given: dict[str, str], reason: str
) -> None:
    """Each would fail at the first upload, or worse, at the first job."""
    with pytest.raises(InvalidSettingError) as raised:
        Settings.resolve({"bucket": "name", "role_arn": "r", **given}, {})
    [(name, value)] = given.items()
    assert str(raised.value).startswith(f"{name}: ")
    assert reason in str(raised.value)
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"bucket": "arn:aws-us-gov:s3:::name"}, "name"),
        ({"bucket": "mine-0123456789abcdef-s3alias"}, "mine-0123456789abcdef-s3alias"),
        ({"input_prefix": "/a/b/"}, "a/b"),
        ({"results_prefix": "team-a"}, "team-a"),
    ],
)
def test_a_bucket_and_a_prefix_are_kept_in_one_form(given: dict[str, str], read: str) -> None:
    [name] = given
    assert getattr(Settings.resolve({"bucket": "name", "role_arn": "r", **given}, {}), name) == read


def test_a_variable_in_small_letters_is_none_of_ours(stack_endpoints: Endpoints) -> None:
    """Also not one that comes after its likeness in capitals, from which the environment of the embedded stack was cleaned."""
    small = {
        "bedrock_pipeline_bucket": "b",
        "bedrock_pipeline_database_dsn": "host=prod",
        "bucket": "x",
        "aws_region": "y",
    }
    ours = environment(stack_endpoints)
    assert Settings.resolve(environment={**ours, **small}) == Settings.resolve(environment=ours)


def test_the_constructor_reads_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Settings(bucket="b", role_arn="r").region == "us-east-1"


_WITH_NUMBERS: tuple[type[BaseModel], ...] = (
    *(Settings, ThrottleBackoff, Pipeline, BedrockQueueConfig),
    *(FlushPolicy, Thresholds, LaunchConfig, ApproveConfig),
)


@pytest.mark.parametrize("model", _WITH_NUMBERS)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_setting_is_infinite_or_no_number(model: type[BaseModel], number: float) -> None:
    """Neither an interval of Postgres nor arithmetic has these."""
    kinds = (float, Decimal, float | None, Decimal | None)
    names = [name for name, field in model.model_fields.items() if field.annotation in kinds]
    assert names
    with pytest.raises((ValidationError, ConfigurationError)) as raised:
        model.model_validate(dict.fromkeys(names, number))
    assert all(name in str(raised.value) for name in names)


def test_every_setting_is_described() -> None:
    """The table in the docs is made of it."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    for name in Settings.model_fields:
        assert Settings.variables(name)[0] == f"BEDROCK_PIPELINE_{name.upper()}"
