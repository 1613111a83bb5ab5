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

from bedrock_pipeline.collect.fast_parser import PlainAnswers, PlainReader
from bedrock_pipeline.collect.line_parser import (
    MalformedError,
    Outcome,
    RecordError,
    read_line,
    vector_length,
)
from bedrock_pipeline.collect.line_reader import Lines
from bedrock_pipeline.collect.result_rows import outcome_batch, plain_batch
from bedrock_pipeline.collect.retry_writer import LeftoverWriter
from bedrock_pipeline.collect.tally import Accounting, ChunkFacts
from bedrock_pipeline.concurrency import ahead, in_order
from bedrock_pipeline.models import Answer, Family
from bedrock_pipeline.pricing.answer_costs import costs_of
from bedrock_pipeline.records.record_ids import wire_id
from bedrock_pipeline.records.result_schema import carried, result_schema

#: Threads that read plain answers.
WORKERS = 2
# Lines that are looked at to learn the length of the vectors.
_LOOK = 1000
# Errors that are given out at once.
_PENDING = 4096


def rows(
    lines: Iterable[memoryview],
    index: pa.Table,
    facts: ChunkFacts,
    accounting: Accounting,
    dimension: int | None,
    leftovers: LeftoverWriter | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of results: answers in the order of the lines, then errors and what is missing, by index.

    The first answer of a record counts; an answer beats an error, whichever comes first.

    Args:
        lines: buffers of lines of all output files (`collect.line_reader`), in any order.
        index: the chunk's index: `record_id`, in later rounds `wire_id` and `origin`, and carried columns; rows
            beyond `accounting.records` are filler records, which give no rows.
        facts: what all rows share.
        accounting: counted up while rows are given out.
        dimension: length of the vectors; None where answers are none.
        leftovers: gets the records that are asked again; they give no rows.
    """
    join = _Join(index, facts, accounting, dimension)
    for block, plain in _read(lines, facts):
        accounting.lines += len(block)
        yield from join.answers(block, plain)
    yield from join.others(leftovers)


def rows_of_lines(
    lines: Iterable[memoryview], facts: ChunkFacts, accounting: Accounting, dimension: int | None
) -> Iterator[pa.RecordBatch]:
    """Batches of results where there is no index: a row for every line that tells its record, in their order.

    Args:
        lines: buffers of lines of output files.
        facts: what all rows share.
        accounting: counted up while rows are given out; `records` too.
        dimension: length of the vectors; None where answers are none.
    """
    schema = result_schema(pa.schema([]), dimension, facts.answer_fields)
    if facts.price is None:
        accounting.cost_usd = accounting.on_demand_cost_usd = None
    for block, plain in _read(lines, facts):
        accounting.lines += len(block)
        single = list(_read_singly(block, plain, facts, accounting, dimension))
        for _, wire, outcome in single:
            if outcome.was_answered:
                accounting.charge(outcome.answer, facts)
            if outcome.error:
                accounting.failed(wire, str(outcome.error))
        parts = [_without_index(single, facts, schema)] if single else []
        order = [np.array([line for line, _, _ in single], np.int64)]
        if plain:
            index = pa.table({"record_id": plain.wire_ids})
            costs = _charged(plain, facts, accounting)
            parts.append(plain_batch(plain, np.arange(len(plain.lines)), costs, index, facts, schema))
            order.append(plain.lines)
        accounting.records += sum(part.num_rows for part in parts)
        yield from _in_line_order([part for part in parts if part.num_rows], order)
    accounting.answered = accounting.records - accounting.final_errors


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


def _read(lines: Iterable[memoryview], facts: ChunkFacts) -> Iterator[tuple[Lines, PlainAnswers | None]]:
    """Runs of lines with the plain answers among them, read ahead."""
    reader = PlainReader(facts.family.plain) if facts.family.plain and facts.only_text else None

    def read(data: memoryview) -> list[tuple[Lines, PlainAnswers | None]]:
        return list(reader.read(data)) if reader else [(Lines.of(data), None)]

    return chain.from_iterable(in_order(read, ahead(iter(lines)), WORKERS))


def _read_singly(
    block: Lines,
    plain: PlainAnswers | None,
    facts: ChunkFacts,
    accounting: Accounting,
    dimension: int | None,
) -> Iterator[tuple[int, str, Outcome]]:
    """Number, wire id and outcome of the lines that are not plain."""
    others = np.ones(len(block), dtype=bool)
    if plain:
        others[plain.lines] = False
    for number in map(int, np.flatnonzero(others)):
        try:
            yield number, *read_line(block[number], facts, dimension)
        except MalformedError:
            accounting.malformed += 1


def _without_index(
    single: list[tuple[int, str, Outcome]], facts: ChunkFacts, schema: pa.Schema
) -> pa.RecordBatch:
    index = pa.table({"record_id": pa.array([wire for _, wire, _ in single], pa.string())})
    return outcome_batch([(row, one[2]) for row, one in enumerate(single)], index, facts, schema)


def _charged(plain: PlainAnswers, facts: ChunkFacts, accounting: Accounting) -> tuple[pa.Array, pa.Array]:
    """Count what plain answers cost; the cost of each, as it was asked and on demand."""
    tokens = plain.input_tokens, plain.output_tokens
    costs, total = costs_of(facts.price, *tokens, facts.asked)
    on_demand, on_demand_total = costs_of(facts.price, *tokens, "on-demand")
    read, written = (pc.sum(counts).as_py() or 0 for counts in tokens)
    accounting.charge_all(read, written, total, on_demand_total)
    return costs, on_demand


class _Join:
    """A chunk's index, and what is known of its records so far."""

    def __init__(
        self, index: pa.Table, facts: ChunkFacts, accounting: Accounting, dimension: int | None
    ) -> None:
        self._index = index
        self._facts = facts
        self._accounting = accounting
        self._dimension = dimension
        self._schema = result_schema(carried(index.schema), dimension, facts.answer_fields)
        self._ids: list[str] = index["record_id"].to_pylist()
        self._positions = _positions(index, self._ids)
        self._answered = np.zeros(index.num_rows, dtype=bool)
        self._errors: dict[int, Outcome] = {}
        accounting.fillers = index.num_rows - accounting.records
        if facts.price is None:
            accounting.cost_usd = accounting.on_demand_cost_usd = None

    def answers(self, block: Lines, plain: PlainAnswers | None) -> Iterator[pa.RecordBatch]:
        """Rows of the answers in a run of lines, in their order."""
        single = self._single(block, plain)
        many, places = self._apart(plain, single)
        single.sort(key=lambda one: one[0])
        kept = [(line, row, outcome) for line, row, outcome in single if self._counts(row, outcome)]
        parts = (
            [
                outcome_batch(
                    [(row, outcome) for _, row, outcome in kept], self._index, self._facts, self._schema
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

    def others(self, leftovers: LeftoverWriter | None) -> Iterator[pa.RecordBatch]:
        """Rows of the records without an answer, by index; those that are asked again are left over."""
        accounting, no_answer = self._accounting, RecordError(*self._facts.no_answer)
        pending: list[tuple[int, Outcome]] = []
        for row in map(int, np.flatnonzero(~self._answered[: accounting.records])):
            accounting.missing += row not in self._errors
            outcome = self._errors.get(row, Outcome())
            error = outcome.error or no_answer
            if leftovers and self._facts.again(error.code):
                accounting.leftovers += 1
                leftovers.add(row, self._ids[row], error.code)
                continue
            accounting.failed(self._ids[row], str(error))
            pending.append((row, replace(outcome, error=error)))
            if len(pending) == _PENDING:
                yield outcome_batch(pending, self._index, self._facts, self._schema)
                pending = []
        if pending:
            yield outcome_batch(pending, self._index, self._facts, self._schema)

    def _single(self, block: Lines, plain: PlainAnswers | None) -> list[tuple[int, int, Outcome]]:
        """Number, row and outcome of the lines that are not plain."""
        found = []
        for number, wire, outcome in _read_singly(
            block, plain, self._facts, self._accounting, self._dimension
        ):
            row = self._positions.get(wire)
            if row is None:
                self._accounting.unknown += 1
            else:
                found.append((number, row, outcome))
        return found

    def _apart(
        self, plain: PlainAnswers | None, single: list[tuple[int, int, Outcome]]
    ) -> tuple[PlainAnswers | None, npt.NDArray[np.int64]]:
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
                self._accounting.unknown += 1
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
        accounting = self._accounting
        if self._answered[row] or (outcome.error and row in self._errors):
            accounting.doubled += 1
            return False
        if outcome.was_answered:
            accounting.charge(outcome.answer, self._facts)
        if outcome.error:
            accounting.unusable += outcome.was_answered
            self._errors[row] = outcome
            return False
        if row in self._errors:
            accounting.doubled += 1
            accounting.unusable -= self._errors.pop(row).was_answered
        self._answered[row] = True
        if row >= accounting.records:
            accounting.fillers_answered += 1
            return False
        accounting.answered += 1
        return True

    def _plain_rows(
        self, plain: PlainAnswers, places: npt.NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Count plain answers; their rows, without those of filler records, and the lines that they stand in."""
        accounting, facts = self._accounting, self._facts
        self._answered[places] = True
        costs = _charged(plain, facts, accounting)
        batch = plain_batch(plain, places, costs, self._index, facts, self._schema)
        real = places < accounting.records
        accounting.answered += int(real.sum())
        accounting.fillers_answered += int((~real).sum())
        if real.all():
            return batch, plain.lines
        return batch.filter(pa.array(real)), plain.lines[real]


def _outcome_of(plain: PlainAnswers, number: int) -> Outcome:
    """A plain answer by itself."""
    answer = Answer(
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
