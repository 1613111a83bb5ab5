"""One line of output into what became of its record.

What belongs here: reading any line whatever its shape, with care. Source of the lines' form: "View the results of a
batch inference job", Bedrock user guide. Ordinary lines are read many at a time (`plain`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from bedrock_pipeline.collect.retry_policy import INVALID_ANSWER
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.models import Family, ModelResponse
from bedrock_pipeline.models.family import ResponseShapeError
from bedrock_pipeline.models.structured import AnswerInvalidError


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why a record has no answer."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a record; an answer that is unusable has an error too.

    Attributes:
        values: of the columns of a structured answer.
        raw: the whole answer as JSON, where it is kept.
        was_answered: whether the model answered, usably or not.
    """

    answer: ModelResponse = field(default_factory=ModelResponse)
    error: RecordError | None = None
    values: tuple[Any, ...] | None = None
    raw: str | None = None
    was_answered: bool = False


class MalformedError(ValueError):
    """A line is no JSON, or does not tell its record."""


def read_line(line: bytes, metadata: ChunkMetadata, dimension: int | None) -> tuple[str, Outcome]:
    """The wire id of a line, and what became of its record.

    Raises:
        MalformedError: it has none.
    """
    try:
        record = _parsed(line)
        wire_id = record["recordId"]
        output = record.get("modelOutput")
        if not isinstance(wire_id, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MalformedError from None
    if output is None:
        return wire_id, Outcome(error=_error(record.get("error")))
    return wire_id, _outcome(output, metadata, dimension)


def vector_length(line: bytes, family: Family) -> int | None:
    """Length of the vector that a line answers with; None where it holds none."""
    try:
        output = _parsed(line)["modelOutput"]
        return len(family.answer(output).embedding or []) or None if isinstance(output, Mapping) else None
    except (ValueError, KeyError, TypeError):  # ResponseShapeError is a ValueError
        return None


def _outcome(output: object, metadata: ChunkMetadata, dimension: int | None) -> Outcome:
    """What a model's output is worth; the tokens of an answer that is unusable were paid for too."""
    answer, values, error = ModelResponse(), None, None
    try:
        if not isinstance(output, Mapping):
            raise ResponseShapeError("the answer is no object")
        answer = metadata.family.answer(output)
        length = len(answer.embedding or [])
        if dimension and length != dimension:
            answer = replace(answer, embedding=None)
            raise ResponseShapeError(f"the vector has {length} numbers, not {dimension}")
        values = metadata.columns.values(answer) if metadata.columns else None
    except ResponseShapeError as problem:
        error = RecordError("answer-shape", str(problem))
    except AnswerInvalidError as problem:
        error = RecordError(INVALID_ANSWER, str(problem))
    keep = metadata.keep_raw or metadata.family.name == "raw"
    raw = orjson.dumps(output).decode() if keep else None
    return Outcome(answer, error, values, raw, was_answered=True)


def _parsed(line: bytes) -> Any:
    """A line's JSON. Half a surrogate pair, which a cut-off answer can end in, costs a character, not the answer."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        lenient = json.loads(line.decode(errors="replace"))
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode(errors="replace"))


def _error(error: object) -> RecordError:
    """Bedrock documents a code and a message; whatever else stands there is kept as far as it can be read."""
    if not isinstance(error, Mapping):
        return RecordError("unknown", error if isinstance(error, str) else "")
    return RecordError(str(error.get("errorCode", "unknown")), str(error.get("errorMessage", "")))
