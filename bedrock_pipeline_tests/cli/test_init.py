"""`init`: what it writes runs as it is, and nothing is overwritten."""

import re
import runpy
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline_tests.docs.test_pages import wrong_with


def init(*words: str) -> Result:
    return CliRunner().invoke(cli, ["init", *words])


@pytest.mark.parametrize(("words", "name"), [(("My-Reviews",), "my_reviews"), ((), "shop_2")])
def test_the_project_runs_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deployment: Deployment,
    words: tuple[str, ...],
    name: str,
) -> None:
    folder = tmp_path / "Shop 2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = init(*words)
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(folder.joinpath(*words))
    written = runpy.run_path("my_pipelines.py")
    assert written["pipeline"].name == name
    dg.Definitions.validate_loadable(written["defs"])
    report = take_snapshot(deployment, written["pipeline"], "sample")
    assert (report.records, report.rejected) == (12, 0)
    shown = [
        line.strip() for line in done.output.splitlines() if line.strip().startswith("bedrock-pipeline ")
    ]
    commands = re.findall(r"^bedrock-pipeline .*$", Path("README.md").read_text(), re.MULTILINE)
    assert len(shown) == 4
    assert len(commands) == 7
    for command in [*shown, *commands]:
        assert wrong_with(command.partition("#")[0].strip()) is None
        assert "$" not in command
    assert ".bedrock-pipeline/" in Path(".gitignore").read_text()


@pytest.mark.parametrize("there", ["my_pipelines.py", "inputs/sample.jsonl"])
def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "reviews" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    done = init("reviews")
    assert done.exit_code == 1
    assert f"already has {there}" in " ".join(done.output.split())
    assert [found for found in (tmp_path / "reviews").rglob("*") if found.is_file()] == [path]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["1st", "-", "äöü", "r" * 41])
def test_a_name_that_no_pipeline_can_have_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = init("--", name)
    assert done.exit_code == 1, done.output
    assert "cannot be the name of a pipeline" in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())
