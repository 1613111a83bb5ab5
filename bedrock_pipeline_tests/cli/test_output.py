"""What is printed is text, whatever data it has: no markup, no emoji, and none of a terminal's control characters."""

import inspect
from pathlib import Path

import click
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.progress import Progress, TextColumn

from bedrock_pipeline.cli import demo, output, progress, queue
from bedrock_pipeline.cli.group import CommandGroup
from bedrock_pipeline.errors import InvalidInputError

#: Each ends rich's markup that was never begun, makes a link, or becomes something else.
MARKUP = [
    "[/INST] yes",
    "[/x]",
    "[link=http://evil]here[/link]",
    "[red]a[/red]",
    ":smile:",
    "bedrock-pipeline[local]",
]


@pytest.mark.parametrize("text", MARKUP)
def test_the_demos_answers(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"record_id": text, "output_text": f"{text}\x1b[2J", "tool_use": None}
    pq.write_table(
        pa.Table.from_pylist([row], pa.schema([(name, pa.string()) for name in row])), tmp_path / "a.parquet"
    )
    demo._show({"dataset": text, "rejected": {text: 2}}, str(tmp_path / "a.parquet"), tmp_path)
    printed = capsys.readouterr().err
    assert f"dataset       {text}" in printed
    assert f"rejected      2 ({text})" in printed or f"({text})" in printed
    assert f"{text!r}: '{text}\\x1b[2J'" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("text", MARKUP)
def test_an_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        raise InvalidInputError(f"{text} is wrong.", f"Write {text} otherwise.")

    class Group(CommandGroup):  # which has no modules
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002  # the interface's
            return command

    result = CliRunner().invoke(Group(name="group", modules={}), ["command"])
    assert result.exit_code == 1
    printed = result.stderr + capsys.readouterr().err
    assert f"Error: {text} is wrong." in printed
    assert f"Write {text} otherwise." in printed


def test_no_column_of_a_progress_bar_reads_markup() -> None:
    for module in (demo, progress, queue):
        source = inspect.getsource(module)
        assert source.count("TextColumn(") == source.count(", markup=False)"), module.__name__
    with Progress(TextColumn("{task.description}", markup=False), console=output.console) as bar:
        bar.add_task("[/INST]")


@pytest.mark.parametrize(
    "hostile", ["\x1b]0;x\x07", "\x1b[2J", "\x9b2J", "\u202e", "\u2028", "\udcff", "\r", "\x00"]
)
def test_what_a_terminal_would_obey_is_shown_as_what_it_is_not(hostile: str) -> None:
    shown = output.printable(f"a{hostile}b\nça va 👩\u200d🚀")
    assert shown.startswith("a")
    assert shown.endswith("b\nça va 👩\u200d🚀")
    assert hostile not in shown
    if hostile != "\udcff":  # which is not JSON
        line = orjson.dumps({"text": f"{hostile} 👩\u200d🚀"})
        assert hostile not in output.escaped(line)
        assert orjson.loads(output.escaped(line)) == orjson.loads(line)


def test_an_error_with_names_of_a_strangers_file() -> None:
    @click.command()
    def command() -> None:
        raise InvalidInputError("Its columns are: na\x1b]0;owned\x07me, b\x1b[2J.", "See \udcff.csv.")

    class Group(CommandGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002  # the interface's
            return command

    result = CliRunner().invoke(Group(name="group", modules={}), ["command"])
    assert result.exit_code == 1
    assert "Its columns are: na�]0;owned�me, b�[2J." in result.stderr
    assert "See �.csv." in result.stderr
