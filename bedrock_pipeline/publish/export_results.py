"""Write results into one file: parquet, JSON Lines or CSV."""

import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bedrock_pipeline.errors import ArgumentError, ConfigurationError
from bedrock_pipeline.publish.plain_values import FORMULA, csv_cells, csv_type, json_values

#: The endings of the files that can be written.
FORMATS: Final = (".parquet", ".jsonl", ".csv")


def export_results(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    path: Path,
    *,
    escape_formulas: bool = False,
    progress: Callable[[int], object] = lambda _rows: None,
) -> int:
    """Write rows into a file, which appears when it is complete; nothing is left behind after an error.

    Args:
        schema: of the batches.
        batches: the rows.
        path: of the file; its ending decides the format. A file that is there is replaced.
        escape_formulas: see `csv_cells`.
        progress: called with the rows that were written so far.

    Returns:
        The number of rows.

    Raises:
        ArgumentError: another ending, or the folder does not exist.
        ConfigurationError: the folder cannot be written.
    """
    check_export(path)
    path = path.resolve()  # of a link, what it leads to is replaced
    temporary, rows = _temporary(path), 0
    try:
        with _writer(schema, temporary, path.suffix.lower(), escape_formulas) as write:
            for batch in batches:
                write(batch)
                rows += batch.num_rows
                progress(rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def check_export(path: Path) -> None:
    """Check where rows are to be written, before they are read.

    Raises:
        ArgumentError: another ending, the folder does not exist, or no file can replace what is there.
        ConfigurationError: the folder cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(
            f"{path.name!r} has none of the endings {', '.join(FORMATS)}.", "Name the file accordingly."
        )
    if not path.parent.is_dir():
        raise ArgumentError(
            f"No file can be written in {path.parent}: there is no such folder.",
            "Create the folder, or choose another; results can be written to this machine only.",
        )
    try:
        target = path.resolve()
    except RuntimeError:  # a link that leads to itself, for Python before 3.13
        target = path
    if not _can_be_replaced(target):
        raise ArgumentError(f"{path} is not a file that can be replaced.", "Choose another name.")
    _temporary(target).unlink()


def _can_be_replaced(path: Path) -> bool:
    """Whether it is a file, or nothing, or cannot be (a name that is too long)."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


def _temporary(path: Path) -> Path:
    """A new file beside another.

    Raises:
        ConfigurationError: there cannot be any.
    """
    made = path.with_name(f".{uuid4().hex}")  # which fits where the name does
    try:
        with suppress(FileNotFoundError):
            path.lstat()  # raises another error if its name is too long
        made.touch(exist_ok=False)
        with suppress(FileNotFoundError):  # who may not read it now may not read it then
            made.chmod(stat.S_IMODE(path.lstat().st_mode))
    except OSError as error:
        raise ConfigurationError(
            f"{path.name} cannot be written in {path.parent}: {error.strerror}.",
            "Choose another folder or name.",
        ) from error
    return made


def json_lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    """A batch as JSON, a line for each row."""
    names = batch.schema.names
    for row in zip(*map(json_values, batch.columns), strict=True):
        yield orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)


@contextmanager
def _writer(
    schema: pa.Schema, path: Path, suffix: str, escape_formulas: bool
) -> Iterator[Callable[[pa.RecordBatch], object]]:
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema) as parquet:
            yield parquet.write_batch
    elif suffix == ".csv":
        formula = re.compile(FORMULA) if escape_formulas else None
        names = [f"'{name}" if formula and formula.match(name) else name for name in schema.names]
        cells = pa.schema([(name, csv_type(kind)) for name, kind in zip(names, schema.types, strict=True)])
        with pa_csv.CSVWriter(path, cells) as table:
            yield lambda batch: table.write_batch(
                pa.record_batch(
                    [csv_cells(column, escape_formulas=escape_formulas) for column in batch.columns],
                    schema=cells,
                )
            )
    else:
        with path.open("wb") as file:
            yield lambda batch: file.writelines(json_lines(batch))
