"""What is judged where nothing here can be broken: old servers, standbys, poolers, access to models, checks that hang."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bedrock_pipeline.aws.account import Quota
from bedrock_pipeline.aws.model_access import Availability
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.doctor import examine as examination
from bedrock_pipeline.doctor.checks import CREDENTIALS, Check
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, Level, ok
from bedrock_pipeline.doctor.model import judge_access
from bedrock_pipeline.doctor.postgres import judge_database
from bedrock_pipeline.doctor.quotas import of_model
from bedrock_pipeline.ledger.inspection import DatabaseFacts, read_database
from bedrock_pipeline_tests.faults.test_connections import pooled_dsn as pooled_dsn

GOOD = DatabaseFacts(
    version=160014,
    version_text="16.14",
    role="r",
    database="d",
    pooled=False,
    standby=False,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    has_schema=True,
    missing_migrations=(),
    missing_rights=(),
    may_create_schema=True,
)


@pytest.mark.parametrize(
    ("facts", "level", "found"),
    [
        (GOOD, Level.OK, "Postgres 16.14"),
        (replace(GOOD, version=120000, version_text="12.0"), Level.FAIL, "Postgres 12.0 is too old"),
        (replace(GOOD, standby=True), Level.FAIL, "read-only standby"),
        (
            replace(GOOD, has_schema=False, may_create_schema=False, missing_migrations=("0001",)),
            Level.FAIL,
            "may not create a schema",
        ),
        (replace(GOOD, has_schema=False, missing_migrations=("0001",)), Level.FAIL, "0001 was not applied"),
    ],
)
def test_databases(facts: DatabaseFacts, level: Level, found: str) -> None:
    assert [one for one in judge_database(facts) if one.level is level and found in one.found]


def test_a_pooler_is_noticed(pooled_dsn: str, empty_dsn: str) -> None:
    behind, direct = read_database(pooled_dsn), read_database(empty_dsn)
    assert (behind.pooled, direct.pooled) == (True, False)
    assert "PgBouncer" in judge_database(behind)[-1].found


GRANTED = Availability("AVAILABLE", "AUTHORIZED", "AVAILABLE", "AVAILABLE")


@pytest.mark.parametrize(
    ("availability", "found"),
    [
        (GRANTED, "The account may use m"),
        (replace(GRANTED, agreement="NOT_AVAILABLE"), "the agreement is NOT_AVAILABLE"),
        (replace(GRANTED, agreement="PENDING"), "the agreement is PENDING"),
        (replace(GRANTED, authorization="NOT_AUTHORIZED"), "the account is NOT_AUTHORIZED"),
        (replace(GRANTED, entitlement="NOT_AVAILABLE"), "the entitlement is NOT_AVAILABLE"),
        (replace(GRANTED, region="NOT_AVAILABLE"), "the region is NOT_AVAILABLE"),
    ],
)
def test_access_to_a_model(availability: Availability, found: str) -> None:
    judged = judge_access("m", availability)
    assert found in judged.found
    assert (judged.level is Level.OK) == (availability == GRANTED)
    assert bool(judged.fix) == (availability != GRANTED)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Claude 3.5 Haiku", "claude-3-5-haiku-20241022-v1:0"),
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001-v1:0"),
        ("Claude 3.5 Sonnet v2", "claude-3-5-sonnet-20241022-v2:0"),
        ("Titan Text Embeddings V2", "Titan Text Embeddings V2"),
        ("Mistral Small", "Mistral Small"),
        ("OpenAI GPT OSS 120b", "gpt-oss-120b-1:0"),
        ("Nova Micro V1", "nova-micro-v1:0"),
        ("Llama 3.1 70B Instruct", "llama3-1-70b-instruct-v1:0"),
    ],
)
def test_quotas_are_found_by_the_name_of_the_model(name: str, model: str) -> None:
    def quota(of: str) -> Quota:
        return Quota(f"Records per batch inference job for {of}", "L-1", 1.0, adjustable=True)

    others = [
        quota("Claude 3 Haiku"),
        quota("Claude 3.5 Sonnet"),
        quota("Llama 3.1 8B Instruct"),
        quota("Nova Pro V1"),
    ]
    assert of_model([*others, quota(name)], {model}) == {"max_records": quota(name)}


def test_no_check_is_stopped_by_another(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()

    def hangs(_: Examination) -> list[Finding]:
        hanging.wait()
        return []

    def breaks(_: Examination) -> list[Finding]:
        raise ZeroDivisionError("a secret")

    checks = (
        CREDENTIALS,
        Check("hangs", hangs),
        Check("breaks", breaks),
        Check("fine", lambda _: [ok("fine", "Fine.")]),
        Check("needed", breaks, essential=True),
        Check("awaited", hangs, essential=True),
    )
    monkeypatch.setattr(examination, "CHECKS", checks)
    found = {one.check: one for one in examination.examine(Examination(deployment), timeout_s=1)}
    hanging.set()
    assert list(found) == ["credentials", "hangs", "breaks", "fine", "needed", "awaited"]
    assert (found["hangs"].level, found["hangs"].found) == (Level.WARN, "No answer within 1 seconds.")
    assert (found["breaks"].level, found["breaks"].found) == (
        Level.WARN,
        "The check ended with ZeroDivisionError.",
    )
    assert found["fine"].level is Level.OK
    assert {found[name].level for name in ("needed", "awaited")} == {Level.FAIL}, "nothing works without"
