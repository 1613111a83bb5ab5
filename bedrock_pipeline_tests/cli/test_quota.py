"""Command `quota`: of one model, of all, and what it says where nothing is known."""

import json

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline_tests.cli.test_commands import run


def test_a_model_that_nothing_was_launched_for_has_bedrocks_default(deployment: Deployment) -> None:
    done = run("quota", "amazon.nova-lite-v1:0")
    assert (done.exit_code, "0 of 20 slots in use" in done.stdout) == (0, True)
    assert "bedrock-pipeline quota amazon.nova-lite-v1:0 --max-jobs N" in done.stderr
    [shown] = json.loads(run("quota", "amazon.nova-lite-v1:0", "--json").stdout)
    assert (shown["max_jobs"], shown["used"]) == (20, 0)
    assert "Did you mean amazon.nova-lite-v1:0?" in run("quota", "nova-lite").stderr
    assert "bedrock-pipeline quota MODEL --max-jobs N" in run("quota").stderr
    assert deployment.ledger.quota_groups.all() == [], "a look changes nothing"


def test_a_limit_for_a_model_that_nothing_was_launched_for_may_be_mistyped(deployment: Deployment) -> None:
    mistyped = run("quota", "amazon.nova-light-v1:0", "--max-jobs", "5")
    assert mistyped.exit_code == 0
    assert "its limit is set. Did you mean amazon.nova-lite-v1:0?" in " ".join(mistyped.stderr.split())
    assert run("quota", "amazon.nova-light-v1:0", "--max-jobs", "6").stderr == ""


def test_one_of_several_groups(deployment: Deployment) -> None:
    for model, most in (("amazon.nova-lite-v1:0", "5"), ("amazon.nova-pro-v1:0", "6")):
        assert run("quota", model, "--max-jobs", most).exit_code == 0
    done = run("quota", "us.amazon.nova-pro-v1:0")  # a profile of the model has its group
    assert ("nova-pro" in done.stdout, "of 6 slots" in done.stdout, "nova-lite" in done.stdout) == (
        True,
        True,
        False,
    )
    assert done.stderr == ""
    assert len(json.loads(run("quota", "--json").stdout)) == 2


@pytest.mark.parametrize("words", [("--max-jobs", "5"), ("--region", "us-east-1")])
def test_a_limit_needs_its_model(words: tuple[str, ...]) -> None:
    done = run("quota", *words)
    assert (done.exit_code, "need MODEL" in done.stderr) == (2, True)
