"""Output lines into rows of results.

Lines are joined with the chunk's index by record id, in any order. Without an index, every line gives a row.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, islice, repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.collect.fast_parser import Run, read_runs
from bedrock_pipeline.collect.line_parser import (
    MalformedError,
    Outcome,
    error_outcome,
    read_line,
    response_outcome,
    vector_lengths,
)
from bedrock_pipeline.collect.line_reader import Lines
from bedrock_pipeline.collect.retry_policy import RetryWriter
from bedrock_pipeline.collect.tally import Charge, ChunkMetadata, TallyCounter
from bedrock_pipeline.kernel import Responses
from bedrock_pipeline.prepare.snapshot.column_rules import fillers_among, wire_ids
from bedrock_pipeline.pricing.answer_costs import costs_of
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.records.result_schema import COLUMNS, WIRE_ID, ResultRow, carried, result_schema
from bedrock_pipeline.system import ExecutorFactory, threads

#: The type of the vectors in the column `embedding`.
FLOAT = "float"
# Lines with vectors that are looked at to find their length.
_LOOK = 1000
# Rows of a batch of errors.
_BATCH = 4096
# In place of the row of a record that is not in the index.
_UNKNOWN = -1


def rows(
    buffers: Iterable[memoryview],
    index: pa.Table | None,
    metadata: ChunkMetadata,
    counter: TallyCounter,
    dimension: int | None,
    retryable: RetryWriter | None = None,
    executor: ExecutorFactory = threads,
) -> Iterator[pa.RecordBatch]:
    """Batches of results: responses in the order of the lines, then errors and missing records, by index.

    The first response of a record counts; a response beats an error, whichever comes first.

    Args:
        buffers: lines of all output files (`collect.line_reader`), in any order.
        index: the chunk's index: `record_id`, from the second attempt on `wire_id` and `origin`, and carried columns;
            filler records at its end give no rows. None: every line gives a row, under the id that it has.
        metadata: what all rows share.
        counter: counts up while rows are yielded.
        dimension: length of the vectors; None if responses have none, or several.
        retryable: takes the records that are retried; they give no rows.
        executor: makes the threads that read.
    """
    if metadata.price is None:
        counter.cost_usd = counter.on_demand_cost_usd = None
    join = (
        _EachLine(metadata, counter, dimension)
        if index is None
        else _Join(index, metadata, counter, dimension)
    )
    for run in read_runs(buffers, metadata, dimension, executor):
        counter.lines += len(run[0])
        yield from join.responses(run)
    yield from join.others(retryable)


def lengths_of(buffers: Iterable[memoryview], metadata: ChunkMetadata) -> dict[str, int | None]:
    """The types of the vectors in lines, `FLOAT` among them, and their lengths; None for a type that has several.

    Bodies of the user's own may request several, so every line is looked at. Otherwise all requests are alike, and the
    length that most lines have is right.
    """
    found: dict[str, Counter[int]] = {}
    lines = chain.from_iterable(Lines.of(data) for data in buffers) if metadata.family.embeds else ()
    every = filter(None, (vector_lengths(line, metadata.family) for line in lines))
    for lengths in every if metadata.own_bodies else islice(every, _LOOK):
        for kind, length in lengths.items():
            found.setdefault(kind, Counter())[length] += 1
    several = {kind for kind, lengths in found.items() if metadata.own_bodies and len(lengths) > 1}
    return {
        kind: None if kind in several else lengths.most_common(1)[0][0] for kind, lengths in found.items()
    }


class _Rows(ABC):
    """Makes rows of the results from runs of lines."""

    def __init__(
        self, carry: pa.Schema, metadata: ChunkMetadata, counter: TallyCounter, dimension: int | None
    ) -> None:
        self._metadata = metadata
        self._counter = counter
        self._dimension = dimension
        self._schema = result_schema(carry, dimension, metadata.response_fields)

    @abstractmethod
    def responses(self, run: Run) -> Iterator[pa.RecordBatch]:
        """Rows of the responses in a run of lines, in their order."""

    @abstractmethod
    def others(self, retryable: RetryWriter | None) -> Iterator[pa.RecordBatch]:
        """Rows of the remaining records."""

    def _single(self, run: Run) -> Iterator[tuple[int, str, Outcome]]:
        """Number, wire id and outcome of the lines that are not plain."""
        lines, plain = run
        others = np.ones(len(lines), dtype=bool)
        if plain:
            others[plain.lines] = False
        for number in map(int, np.flatnonzero(others)):
            try:
                yield number, *read_line(lines[number], self._metadata, self._dimension)
            except MalformedError:
                self._counter.malformed += 1

    def _in_line_order(
        self,
        single: list[tuple[int, int, Outcome]],
        plain: Responses | None,
        places: npt.NDArray[np.int64],
        index: pa.Table,
    ) -> Iterator[pa.RecordBatch]:
        """Rows of single lines (number, row of the index, outcome) and of plain responses with their rows of the index."""
        parts, numbers = [], []
        if single:
            outcomes = [(row, outcome) for _, row, outcome in single]
            parts.append(_outcome_batch(outcomes, index, self._metadata, self._schema))
            numbers.append(np.array([number for number, _, _ in single], np.int64))
        if plain:
            parts.append(_plain_batch(self._charged(plain), places, index, self._metadata, self._schema))
            numbers.append(plain.lines)
        if len(parts) == 1:
            yield parts[0]
        elif parts:
            order = np.argsort(np.concatenate(numbers), kind="stable")
            yield from pa.Table.from_batches(parts).take(pa.array(order)).combine_chunks().to_batches()

    def _charged(self, plain: Responses) -> dict[str, pa.Array]:
        """The columns of plain responses with their costs, which are counted."""
        columns = {
            name: column
            for batch in (plain.rows, plain.values)
            if batch is not None
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        tokens, price = (columns["input_tokens"], columns["output_tokens"]), self._metadata.price
        columns["cost_usd"], total = costs_of(price, *tokens, self._metadata.mode)
        columns["on_demand_cost_usd"], on_demand = costs_of(price, *tokens, "on-demand")
        read, written = (pc.sum(column).as_py() or 0 for column in tokens)
        self._counter.charge(Charge(read, written, total, on_demand))
        return columns


class _EachLine(_Rows):
    """Without an index: a row for each line that has a record id, duplicates too."""

    def __init__(self, metadata: ChunkMetadata, counter: TallyCounter, dimension: int | None) -> None:
        super().__init__(pa.schema([]), metadata, counter, dimension)

    def responses(self, run: Run) -> Iterator[pa.RecordBatch]:
        counter, single, plain = self._counter, list(self._single(run)), run[1]
        for _, wire, outcome in single:
            counter.answered += not outcome.failed
            if outcome.charge:
                counter.charge(outcome.charge)
            if outcome.failed:
                counter.failed(wire, outcome.row.error_code or "", outcome.reason)
        many = len(plain.lines) if plain else 0
        counter.answered += many
        counter.records += len(single) + many
        ids = pa.array([wire for _, wire, _ in single], pa.string())
        index = pa.table({"record_id": pa.concat_arrays([ids, plain.rows["wire_id"]]) if plain else ids})
        numbered = [(number, row, outcome) for row, (number, _, outcome) in enumerate(single)]
        yield from self._in_line_order(numbered, plain, len(single) + np.arange(many), index)

    def others(self, retryable: RetryWriter | None) -> Iterator[pa.RecordBatch]:
        del retryable  # nothing is known to be missing
        yield from ()


class _Join(_Rows):
    """With an index: every record of it ends once."""

    def __init__(
        self, index: pa.Table, metadata: ChunkMetadata, counter: TallyCounter, dimension: int | None
    ) -> None:
        super().__init__(carried(index.schema), metadata, counter, dimension)
        self._index = index
        self._ids: list[str] = index["record_id"].to_pylist()
        self._positions = _positions(index)
        self._answered = np.zeros(index.num_rows, dtype=bool)
        self._errors: dict[int, Outcome] = {}
        counter.fillers = fillers_among(index["record_id"])
        counter.records = index.num_rows - counter.fillers

    def responses(self, run: Run) -> Iterator[pa.RecordBatch]:
        single = []
        for number, wire, outcome in self._single(run):
            row = self._positions.get(wire)
            if row is None:
                self._counter.unknown += 1
            else:
                single.append((number, row, outcome))
        plain, places = self._alone(run[1], single)
        single.sort(key=lambda one: one[0])
        kept = [one for one in single if self._counts(one[1], one[2])]
        yield from self._in_line_order(kept, plain, places, self._index)

    def others(self, retryable: RetryWriter | None) -> Iterator[pa.RecordBatch]:
        counter, no_answer = self._counter, error_outcome(*self._metadata.no_answer)
        pending: list[tuple[int, Outcome]] = []
        for row in map(int, np.flatnonzero(~self._answered[: counter.records])):
            counter.missing += row not in self._errors
            outcome = self._errors.get(row, no_answer)
            code = outcome.row.error_code or ""
            if retryable and self._metadata.is_retried(outcome.row):
                counter.retryable += 1
                retryable.add(Rejection(row, code, self._ids[row]))
                continue
            counter.failed(self._ids[row], code, outcome.reason)
            pending.append((row, outcome))
            if len(pending) == _BATCH:
                yield _outcome_batch(pending, self._index, self._metadata, self._schema)
                pending = []
        if pending:
            yield _outcome_batch(pending, self._index, self._metadata, self._schema)

    def _alone(
        self, plain: Responses | None, single: list[tuple[int, int, Outcome]]
    ) -> tuple[Responses | None, npt.NDArray[np.int64]]:
        """Count the plain responses that are their record's only line so far; others, and fillers, join `single`.

        Returns:
            Those that were counted, and their rows of the index.
        """
        if plain is None:
            return None, np.empty(0, np.int64)
        wires = plain.rows["wire_id"].to_pylist()
        places = np.fromiter(map(self._positions.get, wires, repeat(_UNKNOWN)), np.int64, len(wires))
        alone = (places != _UNKNOWN) & (places < self._counter.records)
        alone[alone] = ~self._answered[places[alone]]
        if taken := {row for _, row, _ in single} | self._errors.keys():
            alone &= ~np.isin(places, list(taken))
        alone &= _single(places)
        for number in map(int, np.flatnonzero(~alone)):
            if places[number] == _UNKNOWN:
                self._counter.unknown += 1
            else:
                outcome = self._outcome_of(plain, number)
                single.append((int(plain.lines[number]), int(places[number]), outcome))
        counted = places[alone]
        if not len(counted):
            return None, counted
        self._answered[counted] = True
        self._counter.answered += len(counted)
        return plain if alone.all() else plain.take(np.flatnonzero(alone)), counted

    def _outcome_of(self, plain: Responses, number: int) -> Outcome:
        """A plain response by itself."""
        [row] = plain.rows.slice(number, 1).to_pylist()
        del row["wire_id"]
        values = None
        if plain.values is not None:
            values = tuple(column[number].as_py() for column in plain.values.columns)
        return response_outcome(ResultRow("succeeded", **row), self._metadata, values)

    def _counts(self, row: int, outcome: Outcome) -> bool:
        """Count an outcome; whether it is the response that gives the record's row."""
        counter = self._counter
        if self._answered[row] or (outcome.failed and row in self._errors):
            counter.duplicates += 1
            return False
        if outcome.charge:
            counter.charge(outcome.charge)
        if outcome.failed:
            counter.unusable += outcome.charge is not None
            self._errors[row] = outcome
            return False
        if row in self._errors:
            counter.duplicates += 1
            counter.unusable -= self._errors.pop(row).charge is not None
        self._answered[row] = True
        if row >= counter.records:
            counter.fillers_answered += 1
            return False
        counter.answered += 1
        return True


def _positions(index: pa.Table) -> dict[str, int]:
    """The row of each wire id."""
    if WIRE_ID in index.column_names:
        chunks = index[WIRE_ID].chunks
    else:
        chunks = [wire_ids(chunk) for chunk in index["record_id"].chunks]
    return dict(zip(chain.from_iterable(chunk.to_pylist() for chunk in chunks), count(), strict=False))


def _single(places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of some rows are there once."""
    _, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
    single: npt.NDArray[np.bool_] = (counts == 1)[inverse]
    return single


def _outcome_batch(
    outcomes: Sequence[tuple[int, Outcome]], index: pa.Table, metadata: ChunkMetadata, schema: pa.Schema
) -> pa.RecordBatch:
    """Rows of single records, each given with its row of the index."""
    values = dict(
        zip(ResultRow._fields, zip(*(outcome.row for _, outcome in outcomes), strict=True), strict=True)
    )
    for number, field in enumerate(metadata.response_fields):
        values[field.name] = tuple(outcome.values and outcome.values[number] for _, outcome in outcomes)
    columns = {
        field.name: pa.array(values[field.name], field.type) for field in schema if field.name in values
    }
    return _batch(columns, [row for row, _ in outcomes], index, metadata, schema)


def _plain_batch(
    columns: Mapping[str, pa.Array],
    places: npt.NDArray[np.int64] | Sequence[int],
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Rows of plain responses, given as the columns that these have, and the row of the index of each."""
    status = pa.repeat(pa.scalar("succeeded"), len(places))
    return _batch({"status": status, **columns}, places, index, metadata, schema)


def _batch(
    columns: Mapping[str, pa.Array],
    places: npt.NDArray[np.int64] | Sequence[int],
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Columns of records as they are given, carried columns from the index, the others one value for all rows."""
    taken = index.take(pa.array(places, pa.int64())).combine_chunks()

    def column(field: pa.Field) -> pa.Array:
        if field.name in taken.column_names:
            [chunk] = taken[field.name].chunks or [pa.array([], field.type)]
            return chunk
        if field.name in COLUMNS and COLUMNS[field.name].source == "chunk":
            return pa.repeat(pa.scalar(getattr(metadata, field.name), field.type), len(places))
        return columns[field.name] if field.name in columns else pa.nulls(len(places), field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in schema], schema=schema)
