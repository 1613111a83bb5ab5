"""Every example loads, and what users see of the definitions changes only together with its kept text."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.code_location import pipelines_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.orchestration.definitions_text import ALL, EXAMPLES, path_of, text

BIN = Path(sys.executable).parent
PROJECTS = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.mark.parametrize("name", sorted(ALL))
def test_definitions_are_as_their_kept_text_says(name: str) -> None:
    kept = path_of(name)
    assert text(ALL[name]()) == kept.read_text(), (
        f"{kept.name} is another: python -m bedrock_pipeline_tests.orchestration.definitions_text writes it again"
    )


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize(
    "command", [("dg", "check", "yaml"), ("dg", "check", "defs"), ("dg", "list", "defs", "--json")]
)
def test_each_example_passes_the_checks_of_dg(project: str, command: tuple[str, ...], tmp_path: Path) -> None:
    checked(command, EXAMPLES / project, tmp_path)


def test_the_workspace_is_valid(tmp_path: Path) -> None:
    command = ("dagster", "definitions", "validate", "-w", str(EXAMPLES.parent / "workspace.yaml"))
    assert "Validation successful" in checked(command, EXAMPLES.parent, tmp_path)


def test_the_pipelines_of_a_dg_project_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "dg_project" / "src"))
    found = pipelines_of("reviews_project.definitions")["reviews"]
    assert isinstance(found, Pipeline)
    assert found.carry == ("product",)
    with pytest.raises(ConfigurationError, match=r"'reviews_project\.nothing' cannot be imported"):
        pipelines_of("reviews_project.nothing")


def test_there_is_an_example() -> None:
    assert "dg_project" in PROJECTS


def checked(command: tuple[str, ...], folder: Path, home: Path) -> str:
    """What a command prints in a folder, with a Dagster of its own and no setting of this package."""
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "DAGSTER_HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
