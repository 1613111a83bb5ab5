"""`bedrock-pipeline doctor` on the embedded stack: everything is ok, or says why it was not checked."""

import json
import sys
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.doctor.checks import CHECKS

MODULE = """
from bedrock_pipeline import Pipeline
reviews = Pipeline(name="reviews", model_id="us.anthropic.claude-haiku-4-5-20251001-v1:0", prompt="{{ text }}")
"""
#: What the embedded stack has something of.
THERE = {
    "clock",
    "bucket",
    "bucket prefixes",
    "bucket neighbours",
    "model",
    "model access",
    "jobs",
    "postgres",
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "doctored.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "doctored", raising=False)
    return "doctored"


def test_everything_is_ok_or_says_why_it_was_not_checked(deployment: Deployment, module: str) -> None:
    done = CliRunner().invoke(cli, ["doctor", "reviews", "-m", module])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("FAIL", "warn"))] == []
    assert all(len(line) <= 80 for line in lines), done.stdout
    for name in THERE:
        assert f"ok       {name.removesuffix(' prefixes')}" in done.stdout
    for check in CHECKS:
        if check.aws_alone:
            assert f"skipped  {check.name}: Not checked: " in done.stdout
    assert lines[-1].endswith("0 warn, 0 fail, 14 skipped"), lines[-1]
    assert list(deployment.objects.list(deployment.settings.uri(""))) == []  # the probe is gone


def test_another_deployment_beneath_the_same_prefixes_is_named(deployment: Deployment) -> None:
    settings = deployment.settings
    own, other = (
        settings.uri(settings.work_prefix, f"ledger-{one}.json")
        for one in (deployment.ledger.deployment_id, UUID(int=7))
    )
    for uri in own, other:
        deployment.objects.put(uri, b"{}")
    try:
        done = CliRunner().invoke(cli, ["doctor", "--json"])
    finally:
        deployment.objects.delete([own, other])
    [found] = [one for one in json.loads(done.stdout) if one["check"] == "bucket neighbours"]
    assert found["level"] == "warn"
    assert found["found"] == f"Another deployment writes beneath these prefixes, or did: {other}."


def test_without_a_pipeline_its_model_is_not_checked(deployment: Deployment) -> None:
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert found["model"] == {
        "check": "model",
        "level": "skipped",
        "found": "Not checked: name a PIPELINE.",
        "means": "",
        "fix": "",
    }


def test_an_unknown_pipeline_is_wrong_usage(deployment: Deployment, module: str) -> None:
    done = CliRunner().invoke(cli, ["doctor", "review", "-m", module])
    assert done.exit_code == 2
    assert "It has: reviews" in " ".join(done.output.split())
