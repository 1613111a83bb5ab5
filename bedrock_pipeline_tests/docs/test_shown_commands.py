"""Each line that the pages have a reader type: ours are run over the real Postgres, S3 and emulator; the others are read."""

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import botocore.session
import click
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore import xform_name
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.code_location import pipelines_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.docs.pages import ROOT, Found, shown_lines
from bedrock_pipeline_tests.docs.test_inputs import publish

_OURS: Final = re.compile(r"(?:cat (?P<given>\S+) \| |\.venv/bin/)?bedrock-pipeline (?P<words>.*)")
#: Ours that are only read here, with what runs them, or why nothing does.
_ONLY_READ: Final = {
    "demo": "end_to_end/test_hostile.py",
    "dev": "end_to_end/test_daemon.py",
    "doctor": "doctor/test_broken.py",
    "emulator": "emulator/test_kill.py",
    "local": "local/test_stack.py",
    "resolve": "submit/test_reconcile.py",
    "status --watch": "it ends by Ctrl-C only",
}
#: What stands for a value on the pages; those of jobs and chunks are known once there are some.
_VALUES: Final = {"PIPELINE": "reviews", "NAME": "reviews", "DATASET": "sample", "CHUNK": "sample--00000"}
_CLAUDE_OUTPUT: Final = {
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def ours() -> list[tuple[Found, str, str | None]]:
    """Our command lines: where, the words, and the file that is piped into it."""
    found = ((line, _OURS.fullmatch(line.text)) for line in shown_lines())
    return [(line, match["words"], match["given"]) for line, match in found if match]


def others() -> list[Found]:
    return [line for line in shown_lines() if not _OURS.fullmatch(line.text)]


def only_read(words: list[str]) -> str | None:
    """What runs a command elsewhere; None if it is run here."""
    named = words[0] if "--watch" not in words else f"{words[0]} --watch"
    return _ONLY_READ.get(named)


@pytest.fixture
def project(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project of the first steps with two published datasets, and the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["init", "reviews"]).exit_code == 0
    folder = tmp_path / "reviews"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    sample = (folder / "inputs/sample.jsonl").read_text()
    (folder / "inputs/2026-11-24.jsonl").write_text(sample)
    one = pipelines_of("my_pipelines")["reviews"]
    assert isinstance(one, Pipeline)
    for dataset in ("sample", "2026-11-24"):
        publish(deployment, one, dataset)
    for name in ("questions.jsonl", "problems.jsonl"):
        (folder / name).write_text("".join(json.dumps({"question": f"q{n}"}) + "\n" for n in range(120)))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (folder / "solution.json").write_text(json.dumps(schema))
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "a"}],
    }
    for start, name in ((0, "tasks.jsonl"), (40, "more.jsonl")):
        tasks = ({"recordId": f"t{start + n}", "modelInput": body} for n in range(40))
        (folder / name).write_text("".join(json.dumps(task) + "\n" for task in tasks))
    rows = {"id": [f"r{n}" for n in range(120)], "text": [f"text {n}" for n in range(120)]}
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    (folder / "outputs").mkdir()
    answered = {"recordId": "r0", "modelInput": body, "modelOutput": _CLAUDE_OUTPUT}
    (folder / "outputs/0.jsonl.out").write_text(json.dumps(answered) + "\n")
    yield folder
    sys.modules.pop("my_pipelines", None)


def test_every_command_of_ours_that_is_shown_does_what_it_is_shown_for(project: Path) -> None:
    values = dict(_VALUES)
    for line, text, given in ours():
        words = [values.get(word, word) for word in shlex.split(text.replace("JOB…", "JOB"))]
        if words[0] == "init" or only_read(words):
            continue
        stdin = (project / given).read_text() if given else None
        done = CliRunner().invoke(cli, words, input=stdin)
        assert done.exit_code == 0, f"{line.place}: {line.text}\n{done.output}{done.exception!r}"
        if words[0] == "flush":
            values["JOB"] = done.stdout.split()[0]


@pytest.mark.parametrize(
    ("line", "text"),
    [(line, text) for line, text, _ in ours() if only_read(shlex.split(text))],
    ids=lambda value: value.place if isinstance(value, Found) else "",
)
def test_a_command_that_is_run_elsewhere_is_read_by_what_reads_it(
    line: Found, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [_VALUES.get(word, word) for word in shlex.split(text)]
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line.place
        command = found
    command.make_context(command.name, words)  # raises for what it does not take


def test_what_runs_the_other_commands_is_there() -> None:
    tests = [place for place in _ONLY_READ.values() if place.endswith(".py")]
    assert [place for place in tests if not (ROOT / "bedrock_pipeline_tests" / place).exists()] == []


def _aws(words: list[str]) -> bool:
    """Whether an operation has the options; and whether the files are there that belong to the repository."""
    files = [word.removeprefix("file://") for word in words if re.match(r"(file://)?deploy/", word)]
    if not all((ROOT / file).exists() for file in files):
        return False
    if words[1] in ("s3", "cloudformation"):  # commands of the CLI's own, which are no operations
        return words[2] in ("cp", "ls", "deploy")
    service = "s3" if words[1] == "s3api" else words[1]
    model = botocore.session.get_session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[words[2]]).input_shape
    members = {f"--{xform_name(name, '-')}" for name in shape.members} if shape else set()
    return {word for word in words if word.startswith("--")} <= members


def _make(words: list[str]) -> bool:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return all(word in targets or "=" in word for word in words[1:])


def _pip(words: list[str]) -> bool:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    found = re.fullmatch(r"bedrock-pipeline\[(.+)\]", words[2])
    return found is not None and set(found[1].split(",")) <= extras.keys()


def _curl(words: list[str]) -> bool:
    control = (ROOT / "bedrock_pipeline/emulator/control.py").read_text()
    [url] = [word for word in words if word.startswith("http")]
    orjson.loads(words[-1])
    return f'"{url.rpartition("/")[2]}"' in control


def _dg(words: list[str]) -> bool:
    """Whether the test of a `dg` project runs it."""
    tested = (ROOT / "bedrock_pipeline_tests/end_to_end/test_dg_project.py").read_text()
    return ", ".join(f'"{word}"' for word in words[:3]) in tested


#: What reads the lines that begin with a word.
_READERS: Final[dict[str, Callable[[list[str]], bool]]] = {
    "aws": _aws,
    "curl": _curl,
    "dg": _dg,
    "docker": lambda words: (ROOT / words[words.index("-f") + 1]).exists(),
    "export": lambda words: all("=" in word for word in words[1:]),  # test_pages has the names of settings
    "make": _make,
    "pip": _pip,
}
#: Lines that depend on nothing of ours.
_PLAIN: Final = {
    *("cd reviews", "source .venv/bin/activate", "pipx install pre-commit", "pre-commit install", ".ci/run"),
    'eval "$(bedrock-pipeline local env)"',
    'eval "$(_BEDROCK_PIPELINE_COMPLETE=bash_source bedrock-pipeline)"',
    "_BEDROCK_PIPELINE_COMPLETE=fish_source bedrock-pipeline | source",
}


@pytest.mark.parametrize("line", others(), ids=lambda line: f"{line.place} {line.text[:40]}")
def test_a_line_for_another_program_fits_it(line: Found) -> None:
    if line.text in _PLAIN:
        return
    for part in line.text.split(" && "):
        words = shlex.split(part)
        assert words[0] in _READERS, f"{line.place}: no reader of {words[0]}"
        assert _READERS[words[0]](words), f"{line.place}: {part}"


def test_an_option_that_does_not_exist_is_noticed() -> None:
    assert len(ours()) > 40
    assert not _aws(shlex.split("aws bedrock list-model-invocation-jobs --state done"))
    assert not _make(["make", "nothing"])
    assert not _pip(shlex.split("pip install 'bedrock-pipeline[nothing]'"))
