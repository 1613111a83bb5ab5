"""Output lines into rows of results.

What belongs here: joining Bedrock's lines with the chunk's index by record id, in any order, and accounting for
every record. Source of the lines' form: "View the results of a batch inference job", Bedrock user guide.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import orjson
import pyarrow as pa

from bedrock_pipeline.models import Answer, Family
from bedrock_pipeline.models.family import AnswerShapeError
from bedrock_pipeline.models.prices import Asked, Price
from bedrock_pipeline.models.structured import AnswerInvalidError
from bedrock_pipeline.records.answers import AnswerColumns
from bedrock_pipeline.records.ids import wire_id
from bedrock_pipeline.records.leftovers import INVALID_ANSWER, LeftoverWriter

#: So many record ids or reasons tell a person what is wrong.
FEW = 5
#: Rows of a batch of results.
BATCH_ROWS = 4096
_FIELDS: Final = (
    ("status", pa.string()),
    ("output_text", pa.string()),
    ("embedding", pa.list_(pa.float32())),
    ("tool_use", pa.string()),
    ("content_blocks", pa.string()),
    ("raw_output", pa.string()),
    ("stop_reason", pa.string()),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    ("on_demand_cost_usd", pa.float64()),
    ("error_code", pa.string()),
    ("error_message", pa.string()),
    ("model_id", pa.string()),
    ("chunk_key", pa.string()),
    ("job_arn", pa.string()),
    ("round", pa.int32()),
    ("answered_by", pa.string()),
)
#: Columns of an index that are not carried along: the wire id and the chunk of round 1 stand in later rounds' alone.
INDEX_ONLY: Final = frozenset({"record_id", "wire_id", "origin"})
#: Names that a carried column cannot have.
RESERVED: Final = INDEX_ONLY | frozenset(name for name, _ in _FIELDS)


@dataclass(slots=True)
class Accounting:
    """Every record of a chunk, counted once; and what was odd about the lines.

    answered + final_errors + leftovers = records, once `rows` is exhausted.

    Attributes:
        records: without filler records.
        fillers: filler records of the chunk, and how many of them were answered.
        unusable: answers that were paid for and are none: of another shape than the family's, or breaking the schema.
        input_tokens: filler records and unusable answers included, as they are paid for too.
        reasons: of final errors, a few at the most.
        examples: a few ids of records with a final error.
        cost_usd: of every answer that was read; None where the price is unknown, or an answer tells no tokens.
        on_demand_cost_usd: what on-demand calls would have cost in their place.
    """

    records: int
    answered: int = 0
    final_errors: int = 0
    leftovers: int = 0
    fillers: int = 0
    fillers_answered: int = 0
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    malformed: int = 0
    unusable: int = 0
    lines: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    on_demand_cost_usd: Decimal | None = Decimal(0)
    reasons: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)

    def failed(self, record_id: str, reason: str) -> None:
        """Count a final error."""
        self.final_errors += 1
        if len(self.examples) < FEW:
            self.examples.append(record_id)
        if len(self.reasons) < FEW:
            self.reasons.add(reason)

    def charge(self, answer: Answer, facts: "ChunkFacts") -> None:
        """Count an answer that was paid for."""
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        self.cost_usd = _plus(self.cost_usd, facts.cost_of(answer, facts.asked))
        self.on_demand_cost_usd = _plus(self.on_demand_cost_usd, facts.cost_of(answer, "on-demand"))


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """What is the same in every row of a chunk.

    Attributes:
        no_answer: code and message for a record that has no line.
        keep_raw: whether the whole answer is kept as JSON.
        again: whether a record that ends with this code is asked again; its error is final otherwise.
        columns: columns of structured answers; None where none are asked for.
        price: None where nobody knows it.
        asked: by a batch job, or by on-demand calls.
    """

    family: Family
    model_id: str
    chunk_key: str
    job_arn: str | None
    round: int
    no_answer: tuple[str, str]
    keep_raw: bool = False
    again: Callable[[str], bool] = lambda _: False
    columns: AnswerColumns | None = None
    price: Price | None = None
    asked: Asked = "batch"

    def cost_of(self, answer: Answer, asked: Asked) -> Decimal | None:
        """What an answer costs, asked in this way; None where nobody knows."""
        if self.price is None or answer.input_tokens is None or answer.output_tokens is None:
            return None
        return self.price.cost(answer.input_tokens, answer.output_tokens, asked)


@dataclass(frozen=True, slots=True)
class _Error:
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a record; an answer that is unusable has an error too.

    Attributes:
        values: of the columns of a structured answer.
        raw: the whole answer as JSON, where it is kept.
        was_answered: whether the model answered, usably or not.
    """

    answer: Answer = field(default_factory=Answer)
    error: _Error | None = None
    values: tuple[Any, ...] | None = None
    raw: str | None = None
    was_answered: bool = False


def result_schema(carry: pa.Schema, dimension: int | None, columns: AnswerColumns | None = None) -> pa.Schema:
    """Columns of the results; the embedding has a fixed size where it is known."""
    types = dict(_FIELDS)
    if dimension:
        types["embedding"] = pa.list_(pa.float32(), dimension)
    return pa.schema(
        [("record_id", pa.string()), *carry, *(columns.fields if columns else ()), *types.items()]
    )


def carried(index: pa.Schema) -> pa.Schema:
    """The carried columns of an index."""
    return pa.schema([field for field in index if field.name not in INDEX_ONLY])


def rows(
    lines: Iterable[bytes],
    index: pa.Table,
    facts: ChunkFacts,
    accounting: Accounting,
    dimension: int | None,
    leftovers: LeftoverWriter | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of results: answers in the order of the lines, then errors and what is missing, by index.

    The first answer of a record counts; an answer beats an error, whichever comes first.

    Args:
        lines: lines of all output files, in any order.
        index: the chunk's index: `record_id`, in later rounds `wire_id` and `origin`, and carried columns; rows
            beyond `accounting.records` are filler records, which give no rows.
        facts: what all rows share.
        accounting: counted up while rows are given out.
        dimension: length of the vectors; None where answers are none.
        leftovers: gets the records that are asked again; they give no rows.
    """
    if facts.price is None:
        accounting.cost_usd = accounting.on_demand_cost_usd = None
    ids = index["record_id"].to_pylist()
    positions = _positions(index, ids)
    answered = bytearray(index.num_rows)
    errors: dict[int, _Outcome] = {}
    schema = result_schema(carried(index.schema), dimension, facts.columns)
    accounting.fillers = index.num_rows - accounting.records
    pending: list[tuple[int, _Outcome]] = []
    for line in lines:
        accounting.lines += 1
        read = _read(line, positions, facts, accounting, dimension)
        if read is None:
            continue
        row, outcome = read
        if answered[row] or (outcome.error and row in errors):
            accounting.doubled += 1
            continue
        if outcome.was_answered:
            accounting.charge(outcome.answer, facts)
        if outcome.error:
            accounting.unusable += outcome.was_answered
            errors[row] = outcome
            continue
        if row in errors:
            accounting.doubled += 1
            accounting.unusable -= errors.pop(row).was_answered
        answered[row] = 1
        if row >= accounting.records:
            accounting.fillers_answered += 1
            continue
        accounting.answered += 1
        pending.append((row, outcome))
        if len(pending) == BATCH_ROWS:
            yield _batch(pending, index, facts, schema)
            pending = []
    no_answer = _Error(*facts.no_answer)
    for row in range(accounting.records):
        if answered[row]:
            continue
        accounting.missing += row not in errors
        outcome = errors.get(row, _Outcome())
        error = outcome.error or no_answer
        if leftovers and facts.again(error.code):
            accounting.leftovers += 1
            leftovers.add(row, ids[row], error.code)
            continue
        accounting.failed(ids[row], str(error))
        pending.append((row, replace(outcome, error=error)))
        if len(pending) == BATCH_ROWS:
            yield _batch(pending, index, facts, schema)
            pending = []
    if pending:
        yield _batch(pending, index, facts, schema)


def _positions(index: pa.Table, ids: list[str]) -> dict[str, int]:
    if "wire_id" in index.column_names:
        return {wire: row for row, wire in enumerate(index["wire_id"].to_pylist())}
    return {wire_id(record_id): row for row, record_id in enumerate(ids)}


def vector_length(line: bytes, family: Family) -> int | None:
    """Length of the vector that a line answers with; None where it holds none."""
    try:
        output = _parsed(line)["modelOutput"]
        return len(family.answer(output).embedding or []) or None if isinstance(output, Mapping) else None
    except (ValueError, KeyError, TypeError):  # AnswerShapeError is a ValueError
        return None


def manifest_discrepancies(manifest: Mapping[str, Any], accounting: Accounting) -> list[str]:
    """Where the manifest's counts differ from the lines."""
    read = {
        "totalRecordCount": accounting.records + accounting.fillers,
        "successRecordCount": accounting.answered + accounting.fillers_answered + accounting.unusable,
        "inputTokenCount": accounting.input_tokens,
        "outputTokenCount": accounting.output_tokens,
    }
    return [
        f"{name} is {manifest[name]} in the manifest and {count} in the lines"
        for name, count in read.items()
        if name in manifest and manifest[name] != count
    ]


def _read(
    line: bytes,
    positions: Mapping[str, int],
    facts: ChunkFacts,
    accounting: Accounting,
    dimension: int | None,
) -> tuple[int, _Outcome] | None:
    try:
        record = _parsed(line)
        row = positions.get(record["recordId"])
    except (ValueError, KeyError, TypeError):
        accounting.malformed += 1
        return None
    if row is None:
        accounting.unknown += 1
        return None
    output = record.get("modelOutput")
    if output is None:
        return row, _Outcome(error=_error(record.get("error")))
    return row, _outcome(output, facts, dimension)


def _outcome(output: object, facts: ChunkFacts, dimension: int | None) -> _Outcome:
    """What a model's output is worth; the tokens of an answer that is unusable were paid for too."""
    answer, values, error = Answer(), None, None
    try:
        if not isinstance(output, Mapping):
            raise AnswerShapeError("the answer is no object")
        answer = facts.family.answer(output)
        length = len(answer.embedding or [])
        if dimension and length != dimension:
            answer = replace(answer, embedding=None)
            raise AnswerShapeError(f"the vector has {length} numbers, not {dimension}")
        values = facts.columns.values(answer) if facts.columns else None
    except AnswerShapeError as problem:
        error = _Error("answer-shape", str(problem))
    except AnswerInvalidError as problem:
        error = _Error(INVALID_ANSWER, str(problem))
    keep = facts.keep_raw or facts.family.name == "raw"
    raw = orjson.dumps(output).decode() if keep else None
    return _Outcome(answer, error, values, raw, was_answered=True)


def _parsed(line: bytes) -> Any:
    """A line's JSON. Half a surrogate pair, which a cut-off answer can end in, costs a character, not the answer."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        lenient = json.loads(line.decode(errors="replace"))
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode(errors="replace"))


def _error(error: object) -> _Error:
    """Bedrock documents a code and a message; whatever else stands there is kept as far as it can be read."""
    if not isinstance(error, Mapping):
        return _Error("unknown", error if isinstance(error, str) else "")
    return _Error(str(error.get("errorCode", "unknown")), str(error.get("errorMessage", "")))


def _batch(
    pending: list[tuple[int, _Outcome]],
    index: pa.Table,
    facts: ChunkFacts,
    schema: pa.Schema,
) -> pa.RecordBatch:
    taken = index.take([row for row, _ in pending]).combine_chunks()
    answers = [outcome.answer for _, outcome in pending]
    errors = [outcome.error for _, outcome in pending]
    count = len(pending)
    values: dict[str, Any] = {
        "status": ["failed" if error else "succeeded" for error in errors],
        "output_text": [answer.text for answer in answers],
        "embedding": [answer.embedding for answer in answers],
        "tool_use": [_json(answer.tool_use or None) for answer in answers],
        "content_blocks": [_json(answer.content) for answer in answers],
        "raw_output": [outcome.raw for _, outcome in pending],
        "stop_reason": [answer.stop_reason for answer in answers],
        "input_tokens": [answer.input_tokens for answer in answers],
        "output_tokens": [answer.output_tokens for answer in answers],
        "cost_usd": [_float(facts.cost_of(answer, facts.asked)) for answer in answers],
        "on_demand_cost_usd": [_float(facts.cost_of(answer, "on-demand")) for answer in answers],
        "error_code": [error.code if error else None for error in errors],
        "error_message": [error.message if error else None for error in errors],
        "model_id": [facts.model_id] * count,
        "chunk_key": [facts.chunk_key] * count,
        "job_arn": [facts.job_arn] * count,
        "round": [facts.round] * count,
        "answered_by": [None] * count,
    }
    for number, column in enumerate(facts.columns.fields if facts.columns else ()):
        values[column.name] = [outcome.values and outcome.values[number] for _, outcome in pending]
    columns = [
        taken[field.name].combine_chunks()
        if field.name in taken.column_names
        else pa.array(values[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays([_flat(column) for column in columns], schema=schema)


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _plus(total: Decimal | None, cost: Decimal | None) -> Decimal | None:
    return None if total is None or cost is None else total + cost


def _float(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _flat(column: Any) -> pa.Array:
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
