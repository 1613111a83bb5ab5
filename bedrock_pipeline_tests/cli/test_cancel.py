"""Command `cancel`: what it says to process the dataset after all, which then works, in each state."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.cli.test_commands import prepared, run
from bedrock_pipeline_tests.faults.worker import move_clock


def requested(deployment: Deployment, _folder: Path) -> None:
    run("launch", "p", "d")


def requested_with_options(deployment: Deployment, _folder: Path) -> None:
    run("launch", "p", "d", "--prompt", "{{ a }}")


def failed(deployment: Deployment, folder: Path) -> None:
    requested(deployment, folder)
    begun = deployment.ledger.datasets.begin_preparation("p", "d")
    deployment.ledger.datasets.fail_preparation(begun, begun.launch_id, "there is no such file")


def packed(deployment: Deployment, folder: Path) -> None:
    prepared(deployment, folder)


def submitted(deployment: Deployment, folder: Path) -> None:
    first, _ = prepared(deployment, folder)
    assert isinstance(submit_chunk(deployment, "p", first), Submitted)


@pytest.mark.parametrize(
    ("state", "command", "with_options"),
    [
        (requested, "launch p d", False),
        (requested_with_options, "launch p d", True),
        (failed, "launch p d", False),
        (packed, "launch p d", False),
        (submitted, "launch p d --new-version", False),
    ],
)
def test_what_was_cancelled_is_processed_after_all(
    deployment: Deployment,
    tmp_path: Path,
    state: Callable[[Deployment, Path], None],
    command: str,
    with_options: bool,
) -> None:
    state(deployment, tmp_path)
    done = run("cancel", "p", "d")
    given = ", with the options of the launch before" if with_options else ""
    assert done.stderr == f"To process it after all{given}: bedrock-pipeline {command}\n"
    assert run("cancel", "p", "d").stdout == "nothing to cancel\n" or state in (packed, submitted)
    options = ["--prompt", "{{ a }}"] if with_options else []
    again = run(*command.split(), *options, *(["--yes"] if "--new-version" in command else []))
    assert (again.exit_code, "launched version 2" in again.stdout) == (0, True), again.output


@pytest.mark.parametrize("state", [requested, failed])
def test_status_says_what_takes_a_mistake_off_its_list(
    deployment: Deployment, tmp_path: Path, state: Callable[[Deployment, Path], None]
) -> None:
    """A dataset that was launched under a wrong name: nothing serves its pipeline, or it has no input."""
    state(deployment, tmp_path)
    deployment.ledger.served_pipelines.seen(["p"] if state is failed else ["other"])
    shown = " ".join(run("status").stdout.split())
    assert "To take it off the list of datasets: bedrock-pipeline cancel p d" in shown
    assert "To take it off the list of datasets" in run("status", "p", "d").stdout
    [before] = deployment.ledger.versions.history("p", "d")
    move_clock(deployment, 120)
    assert run("cancel", "p", "d").exit_code == 0
    [after] = deployment.ledger.versions.history("p", "d")
    assert after.state_changed_at - before.state_changed_at >= timedelta(seconds=120)
    assert json.loads(run("status", "--json").stdout) == []
    assert "version 1: cancelled; by an operator" in run("status", "p", "d").stdout
    assert run("launch", "p", "d").exit_code == (0 if state is failed else 2)


def test_what_was_packed_stays_in_status(deployment: Deployment, tmp_path: Path) -> None:
    prepared(deployment, tmp_path)
    run("launch", "p", "d", "--new-version", "--yes")
    run("cancel", "p", "d")
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["version"], row["state"]) == (2, "cancelled")
