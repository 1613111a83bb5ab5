"""Progress of commands that take more than a moment: one line on a terminal, nothing in a pipe or after `--quiet`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bedrock_pipeline.cli.output import console
from bedrock_pipeline.sources import RowBatch, Source, notes_of

#: Characters of the bar, so that a line fits 80 columns.
_BAR_WIDTH = 16


class CommandProgress:
    """What a command has done so far, what it does a second and, where the total is known, how long it still takes.

    Attributes:
        bytes: that were last shown.
    """

    def __init__(self, bar: Progress, verb: str, noun: str, total: int | None) -> None:
        self._bar = bar
        self._verb, self._noun = verb, noun
        self._task = bar.add_task(verb, total=total)
        self.bytes = 0

    def __call__(self, done: int, size: int = 0) -> None:
        """Show how many are done, and their bytes."""
        self.bytes = size
        self._show(self._verb, done, self._noun, f", {size / 1e6:,.0f} MB" if size else "")

    def of_total(self, part: int, done: int) -> None:
        """Show how many are done, where the total counts something else, such as the bytes of a file."""
        self._show(self._verb, done, self._noun, "", part)

    def read_from(self, source: Source) -> Source:
        """The source, whose rows are counted as they are read."""
        return _CountedSource(source, self)

    def rows_read(self, rows: int) -> None:
        """Show how many rows of the input are read, before the command's own work begins."""
        self._show("read", rows, "rows", "")

    def _show(self, verb: str, done: int, noun: str, more: str, part: int | None = None) -> None:
        elapsed = self._bar.tasks[self._task].elapsed or 0
        rate = f", {done / elapsed:,.0f}/s" if elapsed >= 1 else ""
        self._bar.update(
            self._task,
            completed=done if part is None else part,
            description=f"{verb} {done:,} {noun}{more}{rate}",
        )


@contextmanager
def command_progress(verb: str, noun: str = "records", total: int | None = None) -> Iterator[CommandProgress]:
    """Show the progress of what the block does, until it ends.

    Args:
        verb: what was done to each, for example `packed`.
        noun: what is counted.
        total: how many there are, if that is known.
    """
    remaining = [TextColumn("left"), TimeRemainingColumn()] if total else []
    columns = BarColumn(_BAR_WIDTH), TextColumn("{task.description}"), TimeElapsedColumn(), *remaining
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield CommandProgress(bar, verb, noun, total)


class _CountedSource(Source):
    def __init__(self, source: Source, progress: CommandProgress) -> None:
        self._source, self._progress = source, progress

    def columns(self, needed: Sequence[str] = ()) -> list[str]:
        return self._source.columns(needed)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        rows = 0
        for batch in self._source.batches(columns):
            yield batch
            rows += batch.rows.num_rows
            self._progress.rows_read(rows)

    def notes(self) -> list[str]:
        return notes_of(self._source)
