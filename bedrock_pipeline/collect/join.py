"""Output lines into rows of results.

What belongs here: joining Bedrock's lines with the chunk's index by record id, in any order: which answer counts, and
what becomes of a record without one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.collect.fast_parser import PlainReader, PlainResponses
from bedrock_pipeline.collect.line_parser import (
    MalformedError,
    Outcome,
    RecordError,
    read_line,
    vector_length,
)
from bedrock_pipeline.collect.line_reader import Lines
from bedrock_pipeline.collect.result_rows import outcome_batch, plain_batch
from bedrock_pipeline.collect.retry_writer import RetryWriter
from bedrock_pipeline.collect.tally import ChunkMetadata, Tally
from bedrock_pipeline.concurrency import ahead, in_order
from bedrock_pipeline.models import Family, ModelResponse
from bedrock_pipeline.pricing.answer_costs import costs_of
from bedrock_pipeline.records.record_ids import wire_id
from bedrock_pipeline.records.result_schema import carried, result_schema
from bedrock_pipeline.system import ExecutorFactory, threads

#: Threads that read plain answers.
WORKERS = 2
# Lines that are looked at to learn the length of the vectors.
_LOOK = 1000
# Errors that are given out at once.
_PENDING = 4096


def rows(
    lines: Iterable[memoryview],
    index: pa.Table,
    metadata: ChunkMetadata,
    tally: Tally,
    dimension: int | None,
    retryable: RetryWriter | None = None,
    executor: ExecutorFactory = threads,
) -> Iterator[pa.RecordBatch]:
    """Batches of results: answers in the order of the lines, then errors and what is missing, by index.

    The first answer of a record counts; an answer beats an error, whichever comes first.

    Args:
        lines: buffers of lines of all output files (`collect.line_reader`), in any order.
        index: the chunk's index: `record_id`, in later rounds `wire_id` and `origin`, and carried columns; rows
            beyond `tally.records` are filler records, which give no rows.
        metadata: what all rows share.
        tally: counted up while rows are given out.
        dimension: length of the vectors; None where answers are none.
        retryable: gets the records that are asked again; they give no rows.
        executor: makes the threads that read.
    """
    join = _Join(index, metadata, tally, dimension)
    for block, plain in _read(lines, metadata, executor):
        tally.lines += len(block)
        yield from join.answers(block, plain)
    yield from join.others(retryable)


def rows_of_lines(
    lines: Iterable[memoryview], metadata: ChunkMetadata, tally: Tally, dimension: int | None
) -> Iterator[pa.RecordBatch]:
    """Batches of results where there is no index: a row for every line that tells its record, in their order.

    Args:
        lines: buffers of lines of output files.
        metadata: what all rows share.
        tally: counted up while rows are given out; `records` too.
        dimension: length of the vectors; None where answers are none.
    """
    schema = result_schema(pa.schema([]), dimension, metadata.answer_fields)
    if metadata.price is None:
        tally.cost_usd = tally.on_demand_cost_usd = None
    for block, plain in _read(lines, metadata):
        tally.lines += len(block)
        single = list(_read_singly(block, plain, metadata, tally, dimension))
        for _, wire, outcome in single:
            if outcome.was_answered:
                tally.charge(outcome.answer, metadata)
            if outcome.error:
                tally.failed(wire, str(outcome.error))
        parts = [_without_index(single, metadata, schema)] if single else []
        order = [np.array([line for line, _, _ in single], np.int64)]
        if plain:
            index = pa.table({"record_id": plain.wire_ids})
            costs = _charged(plain, metadata, tally)
            parts.append(plain_batch(plain, np.arange(len(plain.lines)), costs, index, metadata, schema))
            order.append(plain.lines)
        tally.records += sum(part.num_rows for part in parts)
        yield from _in_line_order([part for part in parts if part.num_rows], order)
    tally.answered = tally.records - tally.final_errors


def dimension_of(lines: Iterable[memoryview], family: Family) -> tuple[int | None, Iterator[memoryview]]:
    """The length of the vectors that lines answer with, None where the first thousand have none; and the same lines."""
    rest, looked_at, seen = iter(lines), list[memoryview](), 0
    while family.embeds and seen < _LOOK and (data := next(rest, None)):
        looked_at.append(data)
        some = Lines.of(data)
        seen += len(some)
        length = next((length for line in some if (length := vector_length(line, family))), None)
        if length:
            return length, chain(looked_at, rest)
    return None, chain(looked_at, rest)


def _read(
    lines: Iterable[memoryview], metadata: ChunkMetadata, executor: ExecutorFactory = threads
) -> Iterator[tuple[Lines, PlainResponses | None]]:
    """Runs of lines with the plain answers among them, read ahead."""
    reader = PlainReader(metadata.family.plain) if metadata.family.plain and metadata.only_text else None

    def read(data: memoryview) -> list[tuple[Lines, PlainResponses | None]]:
        return list(reader.read(data)) if reader else [(Lines.of(data), None)]

    return chain.from_iterable(in_order(read, ahead(iter(lines), executor=executor), WORKERS, executor))


def _read_singly(
    block: Lines,
    plain: PlainResponses | None,
    metadata: ChunkMetadata,
    tally: Tally,
    dimension: int | None,
) -> Iterator[tuple[int, str, Outcome]]:
    """Number, wire id and outcome of the lines that are not plain."""
    others = np.ones(len(block), dtype=bool)
    if plain:
        others[plain.lines] = False
    for number in map(int, np.flatnonzero(others)):
        try:
            yield number, *read_line(block[number], metadata, dimension)
        except MalformedError:
            tally.malformed += 1


def _without_index(
    single: list[tuple[int, str, Outcome]], metadata: ChunkMetadata, schema: pa.Schema
) -> pa.RecordBatch:
    index = pa.table({"record_id": pa.array([wire for _, wire, _ in single], pa.string())})
    return outcome_batch([(row, one[2]) for row, one in enumerate(single)], index, metadata, schema)


def _charged(plain: PlainResponses, metadata: ChunkMetadata, tally: Tally) -> tuple[pa.Array, pa.Array]:
    """Count what plain answers cost; the cost of each, as it was asked and on demand."""
    tokens = plain.input_tokens, plain.output_tokens
    costs, total = costs_of(metadata.price, *tokens, metadata.asked)
    on_demand, on_demand_total = costs_of(metadata.price, *tokens, "on-demand")
    read, written = (pc.sum(counts).as_py() or 0 for counts in tokens)
    tally.charge_all(read, written, total, on_demand_total)
    return costs, on_demand


class _Join:
    """A chunk's index, and what is known of its records so far."""

    def __init__(self, index: pa.Table, metadata: ChunkMetadata, tally: Tally, dimension: int | None) -> None:
        self._index = index
        self._metadata = metadata
        self._tally = tally
        self._dimension = dimension
        self._schema = result_schema(carried(index.schema), dimension, metadata.answer_fields)
        self._ids: list[str] = index["record_id"].to_pylist()
        self._positions = _positions(index, self._ids)
        self._answered = np.zeros(index.num_rows, dtype=bool)
        self._errors: dict[int, Outcome] = {}
        tally.fillers = index.num_rows - tally.records
        if metadata.price is None:
            tally.cost_usd = tally.on_demand_cost_usd = None

    def answers(self, block: Lines, plain: PlainResponses | None) -> Iterator[pa.RecordBatch]:
        """Rows of the answers in a run of lines, in their order."""
        single = self._single(block, plain)
        many, places = self._apart(plain, single)
        single.sort(key=lambda one: one[0])
        kept = [(line, row, outcome) for line, row, outcome in single if self._counts(row, outcome)]
        parts = (
            [
                outcome_batch(
                    [(row, outcome) for _, row, outcome in kept], self._index, self._metadata, self._schema
                )
            ]
            if kept
            else []
        )
        order = [np.array([line for line, _, _ in kept], np.int64)]
        if many:
            batch, lines = self._plain_rows(many, places)
            parts.append(batch)
            order.append(lines)
        yield from _in_line_order([part for part in parts if part.num_rows], order)

    def others(self, retryable: RetryWriter | None) -> Iterator[pa.RecordBatch]:
        """Rows of the records without an answer, by index; those that are asked again are left over."""
        tally, no_answer = self._tally, RecordError(*self._metadata.no_answer)
        pending: list[tuple[int, Outcome]] = []
        for row in map(int, np.flatnonzero(~self._answered[: tally.records])):
            tally.missing += row not in self._errors
            outcome = self._errors.get(row, Outcome())
            error = outcome.error or no_answer
            if retryable and self._metadata.again(error.code):
                tally.retryable += 1
                retryable.add(row, self._ids[row], error.code)
                continue
            tally.failed(self._ids[row], str(error))
            pending.append((row, replace(outcome, error=error)))
            if len(pending) == _PENDING:
                yield outcome_batch(pending, self._index, self._metadata, self._schema)
                pending = []
        if pending:
            yield outcome_batch(pending, self._index, self._metadata, self._schema)

    def _single(self, block: Lines, plain: PlainResponses | None) -> list[tuple[int, int, Outcome]]:
        """Number, row and outcome of the lines that are not plain."""
        found = []
        for number, wire, outcome in _read_singly(block, plain, self._metadata, self._tally, self._dimension):
            row = self._positions.get(wire)
            if row is None:
                self._tally.unknown += 1
            else:
                found.append((number, row, outcome))
        return found

    def _apart(
        self, plain: PlainResponses | None, single: list[tuple[int, int, Outcome]]
    ) -> tuple[PlainResponses | None, npt.NDArray[np.int64]]:
        """The plain answers whose records nothing else is known of, with their rows; the others join the single ones."""
        nothing = np.empty(0, np.int64)
        if plain is None:
            return None, nothing
        places = [self._positions.get(wire) for wire in plain.wire_ids.to_pylist()]
        often = Counter(places)
        taken = {row for _, row, _ in single} | self._errors.keys()
        alone = []
        for number, row in enumerate(places):
            if row is None:
                self._tally.unknown += 1
            elif row in taken or often[row] > 1 or self._answered[row]:
                single.append((int(plain.lines[number]), row, _outcome_of(plain, number)))
            else:
                alone.append(number)
        if not alone:
            return None, nothing
        rows_ = np.array([places[number] for number in alone], np.int64)
        return plain if len(alone) == len(places) else plain.take(np.array(alone, np.int64)), rows_

    def _counts(self, row: int, outcome: Outcome) -> bool:
        """Count an outcome; whether it is the answer that gives the record's row."""
        tally = self._tally
        if self._answered[row] or (outcome.error and row in self._errors):
            tally.doubled += 1
            return False
        if outcome.was_answered:
            tally.charge(outcome.answer, self._metadata)
        if outcome.error:
            tally.unusable += outcome.was_answered
            self._errors[row] = outcome
            return False
        if row in self._errors:
            tally.doubled += 1
            tally.unusable -= self._errors.pop(row).was_answered
        self._answered[row] = True
        if row >= tally.records:
            tally.fillers_answered += 1
            return False
        tally.answered += 1
        return True

    def _plain_rows(
        self, plain: PlainResponses, places: npt.NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Count plain answers; their rows, without those of filler records, and the lines that they stand in."""
        tally, metadata = self._tally, self._metadata
        self._answered[places] = True
        costs = _charged(plain, metadata, tally)
        batch = plain_batch(plain, places, costs, self._index, metadata, self._schema)
        real = places < tally.records
        tally.answered += int(real.sum())
        tally.fillers_answered += int((~real).sum())
        if real.all():
            return batch, plain.lines
        return batch.filter(pa.array(real)), plain.lines[real]


def _outcome_of(plain: PlainResponses, number: int) -> Outcome:
    """A plain answer by itself."""
    answer = ModelResponse(
        text=plain.texts[number].as_py(),
        stop_reason=plain.stop_reasons[number].as_py(),
        input_tokens=plain.input_tokens[number].as_py(),
        output_tokens=plain.output_tokens[number].as_py(),
    )
    return Outcome(answer, was_answered=True)


def _in_line_order(
    parts: Sequence[pa.RecordBatch], lines: Sequence[npt.NDArray[np.int64]]
) -> Iterator[pa.RecordBatch]:
    if len(parts) == 1:
        yield parts[0]
    elif parts:
        order = np.argsort(np.concatenate(lines), kind="stable")
        yield from pa.Table.from_batches(parts).take(pa.array(order)).combine_chunks().to_batches()


def _positions(index: pa.Table, ids: list[str]) -> dict[str, int]:
    if "wire_id" in index.column_names:
        return {wire: row for row, wire in enumerate(index["wire_id"].to_pylist())}
    return {wire_id(record_id): row for row, record_id in enumerate(ids)}
