"""What `status --watch` shows: whole lines, as many as fit."""

import io

import pytest

from bedrock_pipeline.cli.watch import Frames, that_fit


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["a", "b"], ["a", "b"]),
        (["x" * 21, "b"], ["x" * 21, "b"]),  # three rows of ten
        (["x" * 31, "b"], ["… and 2 more lines"]),
        (["a", "b", "c", "d", "e"], ["a", "b", "c", "… and 2 more lines"]),
        (["", "", "", ""], ["", "", "", ""]),
    ],
)
def test_no_line_is_broken(lines: list[str], shown: list[str]) -> None:
    assert that_fit(lines, width=10, height=5) == shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_each_frame_in_the_place_of_the_last_and_a_file_what_has_changed() -> None:
    uri = f"s3://bucket/{'k' * 200}"
    terminal, file = _Terminal(), io.StringIO()
    for out in (terminal, file):
        frames = Frames(out)
        for lines in (["a", uri], ["a", uri], ["b", uri]):
            frames.show(lines)
    assert terminal.getvalue().count("\x1b[H") == 3
    assert terminal.getvalue().count("\x1b[2J") == 1
    assert terminal.getvalue().count(uri) == 3
    assert file.getvalue() == f"a\n{uri}\n\nb\n{uri}\n"
