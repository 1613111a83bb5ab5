"""The documentation fits the code: commands, options, links, examples, variables."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache

import click
import pytest

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue import BedrockQueueConfig
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.docs.generate import PROGRAM, commands, environment_variables, stale_pages
from bedrock_pipeline_tests.docs.pages import ROOT, Found, anchors, blocks, command_lines, links, pages

#: Variables of the project that are not settings of a deployment.
OTHER_VARIABLES = {"BEDROCK_PIPELINE_HOME", "BEDROCK_PIPELINE_KERNEL", "BEDROCK_PIPELINE_TEST_SEED"}


@cache
def _options_of_the_emulator() -> set[str]:
    """Its command line is a program of its own, which imports nothing of the rest."""
    done = subprocess.run(
        [sys.executable, "-m", "bedrock_pipeline.emulator", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))


def wrong_with(command_line: str) -> str | None:
    """What the command tree says against a command line; None if it is complete and its options exist.

    Names in capitals stand for values, and brackets for what is optional.
    """
    words = shlex.split(re.sub(r"[\[\]…]|, …", " ", command_line).rstrip("."))[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    if isinstance(command, click.Group):
        return None if not words else f"no option {words[0]}"
    if command.name == "emulator":
        known = _options_of_the_emulator()
    else:
        known = {
            "--help",
            *(flag for one in command.params if isinstance(one, click.Option) for flag in one.opts),
        }
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"no option {' '.join(unknown)}" if unknown else None


@pytest.mark.parametrize(
    "command", list(command_lines()), ids=lambda found: f"{found.place} {found.text[:60]}"
)
def test_every_command_line_exists(command: Found) -> None:
    assert wrong_with(command.text) is None, command.place


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_the_help_of_each_command_ends_with_an_example_that_is_not_wrapped(
    name: str, command: click.Command
) -> None:
    shown = command.get_help(click.Context(command, info_name=f"{PROGRAM} {name}", terminal_width=80))
    if name == "emulator":  # its help is argparse's
        shown = f"  {(command.help or '').rstrip().splitlines()[-1].strip()}"
    [example] = re.findall(r"^  Example: (.+)$", shown, re.MULTILINE)
    assert f"Example: {example}" in (command.help or "").rstrip().splitlines()[-1]
    [line] = re.findall(rf"{PROGRAM} {name}[^)]*", example)
    assert wrong_with(line) is None


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    """The site itself is built by `make lint`, in which a link that leads nowhere is an error."""
    with (ROOT / "zensical.toml").open("rb") as file:
        nav = json.dumps(tomllib.load(file)["project"]["nav"])
    listed = re.findall(r'"([\w/-]+\.md)"', nav)
    decisions = {f"decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("0*.md")}
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there - decisions)


def test_an_unknown_command_or_option_is_noticed() -> None:
    assert wrong_with("bedrock-pipeline lunch reviews") == "no command lunch"
    assert wrong_with("bedrock-pipeline launch reviews d --max-costs 1") == "no option --max-costs"
    assert wrong_with("bedrock-pipeline local sideways") == "no command sideways"
    assert len(list(command_lines())) > 40


def test_every_link_leads_somewhere() -> None:
    wrong = []
    for link in links():
        if link.text.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.text.partition("#")
        target = (link.page.parent / path).resolve() if path else link.page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(f"{link.place}: {link.text}")
    assert not wrong


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    targets: dict[object, list[str]] = {}
    for link in links():
        targets.setdefault(link.page, []).append(link.text.partition("#")[0])
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            todo += [
                (page.parent / t).resolve()
                for t in targets.get(page, ())
                if t.endswith(".md") and "://" not in t
            ]
    assert not {str(page.relative_to(ROOT)) for page in set(pages()) - reached}


@pytest.mark.parametrize("block", list(blocks("python")), ids=lambda found: found.place)
def test_every_python_example_compiles_with_fields_that_exist(block: Found) -> None:
    tree = ast.parse(block.text, filename=block.place)
    fields = {
        "Pipeline": set(Pipeline.model_fields),
        "BedrockQueueConfig": set(BedrockQueueConfig.model_fields),
        "BedrockTask": {"record_id", "model_input"},
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in fields:
            given = {keyword.arg for keyword in node.keywords}
            assert given <= fields[node.func.id], block.place


def test_every_variable_in_the_pages_is_a_setting() -> None:
    known = {variable for name in Settings.model_fields for variable in environment_variables(name)}
    named = {
        f"{page.relative_to(ROOT)}: {variable}"
        for page in pages()
        for variable in re.findall(r"\bBEDROCK_PIPELINE_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))
        if variable not in known | OTHER_VARIABLES
    }
    assert not named


def test_generated_pages_are_current() -> None:
    assert not [str(page) for page in stale_pages()]
