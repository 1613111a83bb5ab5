"""A task, its rules, and its line in a job's input.

Format of the line: "Format and upload your batch inference data" in the Amazon Bedrock user guide.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.models.body_rules import BodyRules
from bedrock_pipeline.records.bounded_texts import named
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.record_ids import LONGEST_OF_TASK, record_id_of, wire_id

#: Readers of JSON stop somewhere; this is below what ours and others can read and write.
_DEEPEST: Final = 200
_HALF = "it contains half a surrogate pair, which UTF-8 cannot encode"


class InvalidTaskError(InvalidInputError):
    """A task cannot become a record.

    Attributes:
        field: the invalid field: `record_id`, `model_input`, or `task`.
    """

    def __init__(self, field: str, reason: str, fix: str = "") -> None:
        super().__init__(f"{field}: {reason}.", fix)
        self.field = field


@dataclass(frozen=True, slots=True)
class BedrockTask:
    """One request to the queue's model.

    Attributes:
        record_id: the caller's identifier, which the result carries.
        model_input: the model's request body.
    """

    record_id: str
    model_input: Mapping[str, Any] = field(repr=False)


def task_of(given: BedrockTask | Mapping[str, Any]) -> BedrockTask:
    """A task from a `BedrockTask` or a mapping, with Bedrock's names (`recordId`) or Python's (`record_id`).

    Raises:
        InvalidTaskError: a field is missing or unknown.
    """
    if isinstance(given, BedrockTask):
        return given
    if not isinstance(given, Mapping):
        raise InvalidTaskError(
            "task", f"a {type(given).__name__} is not a task", "Give an object, or in Python a BedrockTask."
        )
    values = dict(given)
    taken = {}
    for name, theirs in (("record_id", "recordId"), ("model_input", "modelInput")):
        found = [values.pop(key) for key in (name, theirs) if key in values]
        if len(found) != 1:
            raise InvalidTaskError(name, "it is missing" if not found else f"it is given as {theirs} too")
        taken[name] = found[0]
    if values:
        raise InvalidTaskError("task", f"it has an unknown field: {min(map(named, values))}")
    return BedrockTask(**taken)


def encoded(task: BedrockTask, limits: Limits, rules: BodyRules) -> NewTask:
    """The task as its line.

    Raises:
        InvalidTaskError: it breaks a rule of record ids, is not JSON or is too large, or the model would reject its body.
    """
    if not isinstance(task.record_id, str):
        raise InvalidTaskError("record_id", f"a {type(task.record_id).__name__} is not a string")
    record_id, reason = record_id_of(task.record_id, LONGEST_OF_TASK)
    if record_id is None:
        raise InvalidTaskError("record_id", reason)
    if not isinstance(task.model_input, Mapping):
        raise InvalidTaskError(
            "model_input",
            f"a {type(task.model_input).__name__} is not a mapping",
            "Give the model's request body, an object.",
        )
    if not task.model_input:
        raise InvalidTaskError("model_input", "it is empty", "Give the model's request body, an object.")
    try:
        record_id.encode()
    except UnicodeEncodeError:
        raise InvalidTaskError("record_id", _HALF) from None
    try:
        record = {"recordId": wire_id(record_id), "modelInput": dict(task.model_input)}
        text = json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        line = text.encode() + b"\n"
    except UnicodeEncodeError:
        raise InvalidTaskError("model_input", _HALF) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTaskError("model_input", f"it is not JSON ({_kind(error)})") from None
    _check_members(task.model_input)
    if problem := rules.problem(task.model_input):
        raise InvalidTaskError(
            "model_input",
            problem,
            "Correct the body, or set check_model=False (`enqueue --no-check-model`) if the catalog is out of date.",
        )
    if len(line) > limits.max_record_bytes:
        raise InvalidTaskError(
            "model_input",
            f"the record has {len(line)} bytes, more than max_file_size_bytes ({limits.max_file_bytes})",
        )
    return NewTask(record_id, line)


def _check_members(body: Mapping[str, Any]) -> None:
    """Members have names, and are not too deep; level by level: recursion would end before what `json` has written does."""
    depth, level = 0, list[Any]([dict(body)])
    while level:
        depth, inner = depth + 1, list[Any]()
        for one in level:
            if isinstance(one, dict):
                # Of a number `json` makes text, which may be the name of another member.
                if not all(isinstance(name, str) for name in one):
                    raise InvalidTaskError("model_input", "it has a member whose name is not a string")
                inner += one.values()
            else:
                inner += one
        level = [one for one in inner if isinstance(one, dict | list | tuple)]
    if depth > _DEEPEST:
        raise InvalidTaskError("model_input", f"it is nested more than {_DEEPEST} deep")


def _kind(error: Exception) -> str:
    """The message of `json` about a type or number, which contains no value of the task."""
    if isinstance(error, TypeError):
        return str(error)
    return "NaN or infinite" if "Out of range" in str(error) else "nested too deeply or in itself"
