"""The group of commands: which there are, and that one is there without the others."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.group import CommandGroup, named_by_options
from bedrock_pipeline.cli.main import cli

_LOADED = """
import sys
from click.testing import CliRunner
from bedrock_pipeline.cli.main import cli
assert CliRunner().invoke(cli, ["pack", "--help"]).exit_code == 0
print(*sys.modules)
"""


def test_every_command_that_is_listed_is_there() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output
    assert "launch" in listed
    for line in listed.partition("Commands:")[2].split("\n  ")[1:]:
        name = line.split()[0]
        help_text = CliRunner().invoke(cli, [name, "--help"])
        assert help_text.exit_code == 0, name


def _options(group: click.Command, context: click.Context) -> Iterator[tuple[str, click.Option]]:
    for name in group.list_commands(context) if isinstance(group, click.Group) else ():
        command = group.get_command(context, name)  # type: ignore[attr-defined]  # it is a group
        assert command is not None
        yield from _options(command, context)
        yield from ((name, option) for option in command.params if isinstance(option, click.Option))


def test_an_option_that_is_a_number_takes_none_that_nothing_can_keep() -> None:
    """Neither Postgres nor arithmetic takes them, and NaN is within any range."""
    context, found = click.Context(cli), 0
    for name, option in _options(cli, context):
        kind = option.type
        if name == "pack" or not isinstance(kind, click.types.FloatParamType | click.types.IntParamType):
            continue  # `pack` keeps nothing in a ledger; its limits may be of many bytes
        found += 1
        for text in ("nan", "inf", "-inf", "1e400", "9" * 40):
            if isinstance(kind, click.types.FloatParamType) and text == "9" * 40:
                continue
            with pytest.raises(click.BadParameter):
                option.type_cast_value(context, text)
    assert found > 10


def test_what_is_not_a_command_is_told() -> None:
    result = CliRunner().invoke(cli, ["pakc"])
    assert result.exit_code == 2
    assert "No such command 'pakc'" in result.output


def test_a_command_on_files_waits_for_neither_dagster_nor_the_other_commands() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "bedrock_pipeline.cli.files" in loaded
    assert not {"dagster", "bedrock_pipeline.cli.datasets", "bedrock_pipeline.queue"} & set(loaded)


@pytest.mark.parametrize(
    ("fix", "wanted"),
    [
        (
            "Raise limits.max_job_bytes or lower limits.min_records.",
            "Raise --max-job-bytes or lower --min-records.",
        ),
        (
            "Set missing_columns to null, or leave out answer_schema.",
            "Set --missing-columns to null, or leave out --schema.",
        ),
        ("If quotes are escaped, give `escape` (`csv`).", "If quotes are escaped, give `escape` (--csv)."),
        (
            "Set on_demand_tier, which it has no option for.",
            "Set on_demand_tier, which it has no option for.",
        ),
        ("Its columns are: record_id, null_text.", "Its columns are: record_id, null_text."),
    ],
)
def test_what_to_do_is_said_with_the_options_of_the_command(fix: str, wanted: str) -> None:
    assert named_by_options(fix, cli.get_command(click.Context(cli), "pack")) == wanted


@click.command()
def wait() -> None:
    """Interrupted while it waits."""
    raise KeyboardInterrupt


def test_after_an_interruption_it_says_how_to_come_back() -> None:
    result = CliRunner().invoke(CommandGroup(modules={"wait": __name__}), ["wait"])
    assert result.exit_code == 130
    assert result.stderr.split("\n")[1] == (
        "Interrupted. The jobs go on. The same command waits for them again."
    )


def test_no_summary_in_the_list_of_commands_is_cut_short() -> None:
    for words in (["--help"], ["local", "--help"]):
        listed = CliRunner().invoke(cli, words, terminal_width=80).output.partition("Commands:")[2]
        assert "..." not in listed
        assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "code", "error", "fix"),
    [
        ("estimate p d -m nothing_like_it --json", 2, "There is no module", "Name one"),
        ("estimate --json", 2, "Give PIPELINE DATASET", "See `cli estimate --help`."),
        (
            "estimate --max-tokens 0 --json",
            2,
            "Invalid value for '--max-tokens'",
            "See `cli estimate --help`.",
        ),
        ("enqueue absent.jsonl --queue q --json", 2, "absent.jsonl", "See `cli enqueue --help`."),
        (
            "demo --input absent.csv --prompt {{a}} --model gpt-4 --json",
            2,
            "--model",
            "The options are explained",
        ),
        ("demo --input absent.csv --prompt {{a}} --json", 1, "absent.csv", "Check"),
        (
            "pack absent.csv --model amazon.nova-lite-v1:0 --prompt {{a}} --out o --json",
            1,
            "absent.csv",
            "Check",
        ),
    ],
)
def test_a_program_that_reads_json_gets_the_reason_as_json(
    words: str, code: int, error: str, fix: str
) -> None:
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == code, done.output
    said = json.loads(done.stdout)
    assert said.keys() == {"error", "fix"}
    assert error in said["error"]
    assert said["fix"].startswith(fix)
    assert said["error"] in done.stderr
