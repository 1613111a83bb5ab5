"""Ordinary answers, many at a time.

What belongs here: from lines to columns by the paths that a family declares (`models.plain`): by the kernel, or where
there is none by Arrow's JSON reader over what follows `"modelOutput"`, so that the request, which every line repeats,
is not parsed. A line that does not fit in every respect is left for the careful way (`collect.join`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from bedrock_pipeline.collect.line_reader import Lines
from bedrock_pipeline.kernel import MOST_BYTES, ResponseReader, Responses, library
from bedrock_pipeline.models.plain import ONLY, Path, Plain
from bedrock_pipeline.prepare.snapshot.column_rules import not_utf8

_OUTPUT = "modelOutput"
# A quote inside of a string has a backslash before it, so this is a name.
_KEY = f'"{_OUTPUT}":'.encode()
# Some services write the id first, others last.
_ID_FIRST = re.compile(rb'\{"recordId":\s*"[^"\\]*",')


@dataclass(frozen=True, slots=True)
class PlainResponses:
    """Answers that are nothing but text, as columns of one length.

    Attributes:
        lines: which of the lines they are, by number.
        wire_ids: text.
        texts: text, never null.
        stop_reasons: text or null.
        input_tokens: whole numbers or null.
        output_tokens: whole numbers or null.
    """

    lines: npt.NDArray[np.int64]
    wire_ids: pa.Array
    texts: pa.Array
    stop_reasons: pa.Array
    input_tokens: pa.Array
    output_tokens: pa.Array

    def take(self, places: npt.NDArray[np.int64]) -> "PlainResponses":
        """Some of them."""
        at = pa.array(places)
        columns = self.wire_ids, self.texts, self.stop_reasons, self.input_tokens, self.output_tokens
        return PlainResponses(self.lines[places], *(column.take(at) for column in columns))


class PlainReader:
    """Reads the plain answers among lines.

    Args:
        plain: where they have what.
    """

    def __init__(self, plain: Plain) -> None:
        kernel = library()
        self._kernel = ResponseReader(kernel, plain) if kernel else None
        self._arrow = _ArrowReader(plain)

    def read(self, data: memoryview) -> Iterator[tuple[Lines, PlainResponses | None]]:
        """The lines of a buffer, in one or more runs, and the plain answers among each; None where there is none."""
        if self._kernel and len(data) <= MOST_BYTES:
            for start, found in self._kernel.read(data):
                yield Lines(data[start : start + int(found.ends[-1])], found.ends), _valid(found)
        else:
            lines = Lines.of(data)
            yield lines, self._arrow.read(lines)


def _valid(found: Responses) -> PlainResponses | None:
    """Those whose text is UTF-8."""
    columns = found.ids, found.texts, found.stop_reasons, found.input_tokens, found.output_tokens
    answers = PlainResponses(found.lines, *columns)
    broken = not_utf8(pa.RecordBatch.from_arrays(list(columns[:3]), ["id", "text", "stop_reason"]))
    if broken:
        answers = answers.take(np.delete(np.arange(len(found.lines)), broken))
    return answers if len(answers.lines) else None


class _ArrowReader:
    """The way without the kernel."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain
        unless = b"|".join(b'"%b"' % re.escape(name) for name in plain.unless)
        self._unless = re.compile(unless) if unless else None
        paths = [plain.text, plain.stop_reason, *([plain.block_type] if plain.block_type else [])]
        tree: dict[str, Any] = {}
        for path, kind in (
            *((path, pa.string()) for path in paths),
            (plain.input_tokens, pa.int64()),
            (plain.output_tokens, pa.int64()),
        ):
            _plant(tree, path, kind)
        fields = [("recordId", pa.string()), (_OUTPUT, _type_of(tree))]
        self._parsing = pa_json.ParseOptions(
            explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
        )

    def read(self, lines: Iterable[bytes]) -> PlainResponses | None:
        """The plain answers among lines."""
        numbers, outputs = [], []
        for number, line in enumerate(lines):
            output = self._output(line)
            if output:
                numbers.append(number)
                outputs.append(output)
        parts = [part for part in self._parsed(np.array(numbers, np.int64), outputs) if part is not None]
        if not parts:
            return None
        lists = [[getattr(part, name) for part in parts] for name in PlainResponses.__slots__]
        return PlainResponses(np.concatenate(lists[0]), *(pa.concat_arrays(columns) for columns in lists[1:]))

    def _output(self, line: bytes) -> bytes | None:
        """A line without its request; None where it has no output, or not just one."""
        at = line.find(_KEY)
        end = -1 if line.endswith(b"}\n") else None
        if at < 0 or not (end or line.endswith(b"}")) or (self._unless and self._unless.search(line, at)):
            return None
        before = _ID_FIRST.match(line)
        return (before[0] if before else b"{") + line[at:end]

    def _parsed(
        self, numbers: npt.NDArray[np.int64], outputs: list[bytes]
    ) -> Iterator[PlainResponses | None]:
        """In halves, where one of them cannot be parsed, until that one is alone."""
        if not outputs:
            return
        try:
            yield self._columns(numbers, outputs)
        except (pa.ArrowInvalid, _OddError):
            if len(outputs) > 1:
                half = len(outputs) // 2
                yield from self._parsed(numbers[:half], outputs[:half])
                yield from self._parsed(numbers[half:], outputs[half:])

    def _columns(self, numbers: npt.NDArray[np.int64], outputs: list[bytes]) -> PlainResponses | None:
        # Each begins with an object's brace; at a line that begins with null Arrow's reader ends the process.
        data = b"\n".join(outputs)
        table = pa_json.read_json(
            pa.BufferReader(data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=self._parsing,
        )
        if table.num_rows != len(outputs):
            raise _OddError  # two objects on one line
        [batch] = table.combine_chunks().to_batches(max_chunksize=len(outputs))
        batch.validate(full=True)  # the reader takes text for UTF-8
        plain, output = self._plain, batch[_OUTPUT]
        ids, texts = batch["recordId"], _at(output, plain.text)
        tokens = [_at(output, path) for path in (plain.input_tokens, plain.output_tokens)]
        fits = pc.and_(pc.is_valid(ids), pc.is_valid(texts))
        for counts in tokens:
            fits = pc.and_(fits, pc.fill_null(pc.greater_equal(counts, 0), True))  # noqa: FBT003  # Arrow's parameter
        if plain.block_type:
            fits = pc.and_(fits, pc.fill_null(pc.equal(_at(output, plain.block_type), "text"), False))  # noqa: FBT003
        answers = PlainResponses(numbers, ids, texts, _at(output, plain.stop_reason), *tokens)
        kept = np.flatnonzero(fits.to_numpy(zero_copy_only=False))
        if len(kept) == len(outputs):
            return answers
        return answers.take(kept) if len(kept) else None


class _OddError(ValueError):
    """Lines that are not one object each."""


def _plant(tree: dict[str, Any], path: Path, kind: pa.DataType) -> None:
    *way, last = path
    for name in way:
        tree = tree.setdefault(name, {})
    tree[last] = kind


def _type_of(tree: Any) -> pa.DataType:
    if not isinstance(tree, dict):
        return tree
    if ONLY in tree:
        return pa.list_(_type_of(tree[ONLY]))
    return pa.struct([(name, _type_of(below)) for name, below in tree.items()])


def _at(column: pa.Array, path: Path) -> pa.Array:
    """The values at a path; null where something on the way is null, or a list has not just one element."""
    for name in path:
        if name == ONLY:
            alone = pc.fill_null(pc.equal(pc.list_value_length(column), 1), False)  # noqa: FBT003  # Arrow's parameter
            if not pc.all(alone).as_py():
                column = pc.if_else(alone, column, pa.scalar([None], column.type))
            column = column.flatten()
        else:
            column = pc.struct_field(column, name)
    return column
