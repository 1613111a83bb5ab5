"""One line of output into the outcome of its record.

This is the scalar rule, which reads a line of any shape; `fast_parser` reads ordinary lines many at a time and gives the
same. Lines are written by a model, and so by whoever wrote the prompt: whatever they hold, at most their own record
fails. Source of the form of lines: "View the results of a batch inference job", Amazon Bedrock user guide.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from bedrock_pipeline.collect.retry_policy import INVALID_ANSWER
from bedrock_pipeline.collect.tally import Charge, ChunkMetadata
from bedrock_pipeline.models import Family, ModelResponse
from bedrock_pipeline.models.exact_numbers import dumps, loads, settled
from bedrock_pipeline.models.family import ResponseShapeError
from bedrock_pipeline.models.structured import AnswerInvalidError
from bedrock_pipeline.records.bounded_texts import shortened
from bedrock_pipeline.records.error_codes import MEANINGS, Incomplete, incomplete_kind
from bedrock_pipeline.records.result_schema import ResultRow

_LONGEST_CODE: Final = 100
_LONGEST_MESSAGE: Final = 4000
#: Of a vector; models give at most 3,072. A column of fixed size has as many for a record without one.
_MOST_NUMBERS: Final = 8192
#: Code of a response that is not of its family's shape, or cannot be kept.
SHAPE: Final = "answer-shape"
#: A string that is not closed reaches to the end, so that none is looked at twice.
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
#: An escape of a string: a surrogate pair, half of one (the group), or another.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_RECORD_ID = re.compile(rb'"recordId"\s*:\s*"([^"\\]*)"')
#: What Postgres and terminals do not take in a message.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A response or an error of a record; an unusable response is both.

    Attributes:
        row: its row of the results.
        values: of the columns of a structured response.
        charge: what was paid; None if the model did not respond.
    """

    row: ResultRow
    values: tuple[Any, ...] | None = None
    charge: Charge | None = None

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return self.row.error_code is not None

    @property
    def reason(self) -> str:
        """Code and message of the error."""
        return ": ".join(filter(None, (self.row.error_code, self.row.error_message)))


class MalformedError(ValueError):
    """A line is invalid JSON, or has no record id."""


class _UnreadableError(ValueError):
    """A line is valid JSON as far as can be seen, but beyond what a JSON reader takes."""


class _ModelFailedError(ValueError):
    """An output is an error of the model; its arguments are code and message."""


def error_outcome(code: str, message: str) -> Outcome:
    """The outcome of a record without a response."""
    return Outcome(ResultRow("failed", error_code=_code(code), error_message=_message(message)))


def response_outcome(
    row: ResultRow, metadata: ChunkMetadata, values: tuple[Any, ...] | None = None
) -> Outcome:
    """The outcome of a record whose model responded, with what that cost."""
    read, written, price = row.input_tokens, row.output_tokens, metadata.price
    if price is None or read is None or written is None:
        return Outcome(row, values, Charge(read or 0, written or 0, None, None))
    cost = price.cost(read, written, metadata.mode)
    on_demand = price.cost(read, written, "on-demand")
    row = row._replace(cost_usd=float(cost), on_demand_cost_usd=float(on_demand))
    return Outcome(row, values, Charge(read, written, cost, on_demand))


def read_line(line: bytes, metadata: ChunkMetadata, dimension: int | None) -> tuple[str, Outcome]:
    """The wire id of a line, and the outcome of its record.

    Raises:
        MalformedError: the line is invalid JSON, or has no record id.
    """
    try:
        # Numbers keep their digits, but for vectors, which have floats whatever their digits are.
        is_exact = metadata.keeps_output or not metadata.family.embeds
        record = _parsed(line, loads if is_exact else orjson.loads)
    except _UnreadableError as error:
        return _record_id(line), error_outcome(SHAPE, str(error))
    if not isinstance(record, Mapping) or not isinstance(wire_id := record.get("recordId"), str):
        raise MalformedError
    output = record.get("modelOutput")
    if output is None:
        return wire_id, _bedrock_error(record.get("error"))
    return wire_id, _outcome(output, metadata, dimension)


def vector_lengths(line: bytes, family: Family) -> dict[str, int]:
    """Lengths of the vectors in a line, by their type; nothing if there are none."""
    try:
        output = _parsed(line)["modelOutput"]
        response = family.answer(output) if isinstance(output, Mapping) else ModelResponse()
    except (
        ValueError,
        KeyError,
        TypeError,
    ):  # all errors of this module and ResponseShapeError are ValueErrors
        return {}
    vectors: dict[str, Sequence[float]] = {"float": response.embedding or [], **response.vectors}
    return {kind: len(vector) for kind, vector in vectors.items() if 0 < len(vector) <= _MOST_NUMBERS}


def _response(output: object, family: Family) -> ModelResponse:
    """What a family reads in an output.

    Raises:
        ResponseShapeError: the output does not have its shape.
        _ModelFailedError: it is an error of the model in place of a response.
    """
    if not isinstance(output, Mapping):
        raise ResponseShapeError("the answer is not an object")
    try:
        return family.answer(settled(output, None) if family.embeds else output)
    except ResponseShapeError:
        error = output.get("error")
        if isinstance(error, Mapping):
            code = _text(error.get("type")) or _text(error.get("code"))
            raise _ModelFailedError(code or "unknown", _text(error.get("message"))) from None
        raise


def _outcome(output: object, metadata: ChunkMetadata, dimension: int | None) -> Outcome:
    """The outcome of a record whose model responded; the tokens of an unusable response were paid for too."""
    response, values, code, message = ModelResponse(), None, None, None
    tool_use = content_blocks = unwrapped = None
    try:
        response = _response(output, metadata.family)
        _check_lengths(response, metadata, dimension)
        tool_use, content_blocks = _json(response.tool_use or None), _json(response.content)
        if metadata.vectors:
            values = tuple(response.vectors.get(kind) for kind in metadata.vectors)
        if metadata.columns:
            values, unwrapped = metadata.columns.values(response)
    except _ModelFailedError as error:
        return error_outcome(*error.args)
    except ResponseShapeError as error:
        code, message = SHAPE, str(error)
    except AnswerInvalidError as error:
        code, message = INVALID_ANSWER, str(error)
    incomplete = _incomplete(response)
    if incomplete and (incomplete not in metadata.accepted or code == INVALID_ANSWER):
        code, message = incomplete.value, MEANINGS[incomplete]
        values = unwrapped = None
    try:
        raw_output = _json(output) if metadata.keeps_output else None
    except ResponseShapeError as error:
        raw_output, code, message = None, SHAPE, str(error)
    row = ResultRow(
        status="failed" if code else "succeeded",
        output_text=response.text,
        embedding=None if code else response.embedding,
        tool_use=tool_use,
        content_blocks=content_blocks,
        answer_unwrapped=unwrapped,
        raw_output=raw_output,
        stop_reason=response.stop_reason,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        error_code=code and _code(code),
        error_message=message and _message(message),
    )
    return response_outcome(row, metadata, values)


def _code(text: str) -> str:
    return shortened(_CONTROL.sub("\ufffd", text), _LONGEST_CODE)


def _message(text: str) -> str:
    return shortened(_CONTROL.sub("\ufffd", text), _LONGEST_MESSAGE)


def _incomplete(response: ModelResponse) -> Incomplete | None:
    """Why a response is not a whole answer; None if it is one."""
    if response.declined:
        return Incomplete.DECLINED
    return incomplete_kind(response.stop_reason) or (Incomplete.EMPTY if response.is_empty else None)


def _check_lengths(response: ModelResponse, metadata: ChunkMetadata, dimension: int | None) -> None:
    """Raise a ResponseShapeError if a vector does not fit its column, or has none."""
    vectors: dict[str, Sequence[float]] = {**response.vectors}
    if response.embedding is not None:
        vectors["float"] = response.embedding
    wanted = {"float": dimension, **metadata.vectors}
    for kind, vector in vectors.items():
        if len(vector) > _MOST_NUMBERS:
            raise ResponseShapeError(f"the vector has {len(vector)} numbers, more than {_MOST_NUMBERS}")
        if kind not in wanted:
            raise ResponseShapeError(f"it has a vector of type {kind}, which other responses do not have")
        if (length := wanted[kind]) and len(vector) != length:
            raise ResponseShapeError(f"the vector has {len(vector)} numbers, not {length}")


def _parsed(line: bytes, read: Callable[[bytes], Any] = orjson.loads) -> Any:
    """A line's JSON. Half a surrogate pair, with which a cut-off response can end, becomes a question mark.

    Raises:
        MalformedError: invalid JSON.
        _UnreadableError: nested too deeply, or with a number that no column holds.
    """
    try:
        return read(line)
    except orjson.JSONDecodeError:
        pass
    text = line.decode(errors="replace")
    try:
        return read(_ESCAPE.sub(_whole_or_question_mark, text).encode())
    except orjson.JSONDecodeError:
        pass
    try:
        lenient = json.loads(text)
    except json.JSONDecodeError:
        raise MalformedError from None
    except RecursionError:
        raise _UnreadableError("the line nests too deeply") from None
    except ValueError:  # Python's limit for the digits of an integer
        raise _UnreadableError("the line has a number that is too large") from None
    try:
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode(errors="replace"))
    except RecursionError:
        raise _UnreadableError("the line nests too deeply") from None
    except orjson.JSONDecodeError:  # infinity
        raise _UnreadableError("the line has a number that is too large, or NaN") from None


def _whole_or_question_mark(escape: re.Match[str]) -> str:
    return "?" if escape[1] else escape[0]


def _record_id(line: bytes) -> str:
    """The record id of a line that no JSON reader takes."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(line):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if depth == 1 and (found := _RECORD_ID.match(line, token.start())):
            return found[1].decode(errors="replace")
    raise MalformedError


def _bedrock_error(error: object) -> Outcome:
    """Bedrock documents a code and a message; anything else is kept as far as it is text, of several errors the first code."""
    errors = error if isinstance(error, list) else [error]
    fields = [one if isinstance(one, Mapping) else {"errorMessage": one} for one in errors]
    codes = (_text(one.get("errorCode")) or _text(one.get("code")) for one in fields)
    messages = (_text(one.get("errorMessage")) or _text(one.get("message")) for one in fields)
    return error_outcome(next(filter(None, codes), "unknown"), "; ".join(filter(None, messages)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) in (int, float, Decimal) else ""


def _json(value: object) -> str | None:
    if value is None:
        return None
    try:
        return dumps(value).decode()
    except orjson.JSONEncodeError:
        raise ResponseShapeError("the answer nests too deeply") from None
