"""Structured responses: the requested schema, and whether a response follows it.

Source of what the service accepts: "Get validated JSON results from models", Amazon Bedrock user guide; "Tool use",
Amazon Nova user guide.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Self, TypeAlias

import orjson
from pydantic import BaseModel, ValidationError

from bedrock_pipeline.errors import is_of_called_code
from bedrock_pipeline.models.answer_class import EXACT, SOURCE, AnswerSchemaError, requested, written
from bedrock_pipeline.models.answer_rules import BY_NAME, DATA, closed, knowing, names_in, without
from bedrock_pipeline.models.certain_schema import certain
from bedrock_pipeline.models.exact_numbers import loads, settled
from bedrock_pipeline.models.family import AnswerFormat, Json, ModelResponse
from bedrock_pipeline.models.unwrap import Reading, readings

#: Name of the tool that a model must call.
TOOL: Final = "answer"
_TOOL_DESCRIPTION: Final = "Give the answer."
#: Keywords that say nothing about a response, so that beside a reference they replace those of its definition.
_ANNOTATIONS: Final = frozenset({"description", "default", "examples", "deprecated", "readOnly", "$comment"})
_UNBOUND: Final = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
#: Most places of a response that a message names.
_PLACES: Final = 5
#: Formats of strings that structured output supports; others are left out.
_FORMATS: Final = frozenset(
    {"date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
#: What structured output does not support in a regular expression: what looks around, refers back, or is a boundary.
_BEYOND_REGULAR: Final = re.compile(r"\(\?[=!<]|\\[bB1-9]")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
#: Annotation of a schema: the schema of its columns, if they are not its properties.
COLUMNS: Final = "x-columns"
#: Keywords without which a schema means something else, and that structured output does not support.
_UNSUPPORTED: Final = frozenset(
    {
        *("prefixItems", "patternProperties", "propertyNames", "contains", "not", "if", "dependentSchemas"),
        *("dependentRequired", "unevaluatedProperties", "unevaluatedItems"),
    }
)
Structure: TypeAlias = "type[BaseModel] | Json"
#: Raises an AnswerInvalidError if a value does not fit.
_Check: TypeAlias = Callable[[Any, ModelResponse], None]


class AnswerInvalidError(ValueError):
    """A response breaks its schema; the message names the rule, never what the model wrote."""


class AnswerSchema:
    """The schema of a structured response.

    Args:
        given: a pydantic model, whose own validators and defaults apply too; or a JSON schema, which may have another one
            for its columns as `COLUMNS`.

    Attributes:
        schema: JSON schema of an object, without references, and without titles, which cost tokens in each request.
        columns: JSON schema of the object that `read` returns.

    Raises:
        AnswerSchemaError: the schema is invalid, refers to itself or elsewhere, or is not of an object with properties.
    """

    def __init__(self, given: Structure) -> None:
        import jsonschema  # here: it costs a sixth of a second, and most pipelines have no answer_schema

        from bedrock_pipeline.models.bounded_rules import BoundedValidator, require_bounded

        self._model = given if isinstance(given, type) else None
        whole: Json = (
            without(requested(given), "pattern", _is_irregular) if isinstance(given, type) else given
        )
        try:
            jsonschema.Draft202012Validator.check_schema(whole)
        except jsonschema.SchemaError as error:
            raise AnswerSchemaError(
                f"answer_schema is not a JSON schema: {error.message}.", "It is read as draft 2020-12."
            ) from None
        self._marked = _inlined(whole, whole, ())
        self.schema: Json = without(self._marked, EXACT, lambda _: True)
        if self.schema.get("type") != "object" or not self.schema.get("properties"):
            raise AnswerSchemaError(
                "answer_schema is not of an object with properties.",
                'Its top is {"type": "object", "properties": {...}}; each property becomes a column.',
            )
        self.columns: Json = self.schema
        columns = written(given) if isinstance(given, type) else given.get(COLUMNS)
        if columns is not None:
            self.columns = _inlined(columns, columns, ())
        if self.columns.get("type") != "object" or not self.columns.get("properties"):
            raise AnswerSchemaError(
                "answer_schema is written as something without properties, of which columns could be made.",
                "Let its serializer return a class with fields, or leave the serializer out.",
            )
        self._properties = frozenset(names_in(self.schema))
        self._sources = [
            (name, one.get(SOURCE, name) if isinstance(one, Mapping) else name)
            for name, one in self.columns["properties"].items()
        ]
        #: Whether the values of a response that certainly keeps it are those of its JSON, by no code of a class.
        self.is_plain = self._model is None and all(name == source for name, source in self._sources)
        rules = self.schema
        if self._model is not None:  # pydantic checks these itself
            rules = without(without(rules, "uniqueItems", lambda _: True), "pattern", lambda _: True)
        require_bounded(rules)
        self._validator = BoundedValidator(rules)
        self._closed = BoundedValidator(closed(rules))
        self._certain = certain(closed(rules))
        self._knowing = BoundedValidator(knowing(rules))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A schema from its JSON.

        Raises:
            AnswerSchemaError: it is not a JSON object, or cannot be requested.
        """
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise AnswerSchemaError(
                f"The answer's schema is not JSON: {error}.", "Correct it; a schema is one JSON object."
            ) from error
        if not isinstance(given, dict):
            raise AnswerSchemaError(
                "The answer's schema is not a JSON object.",
                'It looks like {"type": "object", "properties": {...}}.',
            )
        return cls(given)

    def read(self, answer: ModelResponse) -> tuple[dict[str, Any], str | None]:
        """The values of a response's columns: of the input of the tool call, or else of the text as JSON.

        A reading has the members of the schema only; if there is none, then it may have others beside them. Of several
        tool calls, one has to keep the schema.

        Returns:
            The values; and what had to be taken off to read them (`models.unwrap`), None if nothing.

        Raises:
            AnswerInvalidError: there is none, it breaks the schema, or several tool calls keep it and differ.
        """
        try:
            return self._read(answer)
        except RecursionError:
            raise AnswerInvalidError("the answer nests too deeply") from None

    def certain_fields(self, given: Any) -> Mapping[str, Any] | None:
        """The values of the columns of a value of JSON that certainly keeps the schema, maybe with others; None if it may not.

        Raises:
            AnswerInvalidError: its class does not take it.
        """
        if not self._certain(given):
            return None
        return given if self.is_plain else self._written(given, ModelResponse())

    def _read(self, answer: ModelResponse) -> tuple[dict[str, Any], str | None]:
        if len(answer.tool_use) < 2:
            given, is_json = _given(answer)
            return self._read_one(given, answer, is_json=is_json)
        found, reasons = [], []
        for use in answer.tool_use:
            try:
                found.append(self._read_one(use["input"], answer, is_json=True))
            except AnswerInvalidError as error:
                reasons.append(error)
        if not found:
            raise reasons[0]
        if any(values != found[0][0] for values, _ in found):
            raise AnswerInvalidError(
                f"{len(found)} tool calls keep the schema, and differ: it is not known which is the answer"
            )
        return found[0]

    def _read_one(
        self, given: Any, answer: ModelResponse, *, is_json: bool
    ) -> tuple[dict[str, Any], str | None]:
        if is_json and self._certain(given):
            return self._written(given, answer), None
        plain: list[Reading] = [(given, ())] if is_json else []
        for check in (self._check_closed, self._check_known):
            for value, kinds in chain(plain, readings(given, self.schema)):
                with suppress(AnswerInvalidError):
                    return self._values(value, answer, check), ",".join(kinds) or None
        if not is_json:
            raise AnswerInvalidError(f"the answer is not JSON{_cut(answer)}")
        return self._values(given, answer, self._check_known), None  # raises the reason

    def _place(self, steps: tuple[int | str, ...]) -> str:
        """The properties on the way to a value; no key that the model chose."""
        named = ".".join(str(step) for step in steps if step in self._properties)
        return f"{named}: " if named else ""

    def _check_closed(self, value: Any, answer: ModelResponse) -> None:
        """Raise an AnswerInvalidError if a value breaks the schema, or has a member that it does not name."""
        if not self._closed.is_valid(value):
            raise AnswerInvalidError(f"the answer has other members than the schema{_cut(answer)}")

    def _check_known(self, value: Any, answer: ModelResponse) -> None:
        """Raise an AnswerInvalidError if a value breaks the schema, or has only members that it does not name."""
        if broken := self._validator.error(value):
            rule = "/".join(str(step) for step in broken.absolute_schema_path)
            raise AnswerInvalidError(f"the answer breaks the schema at {rule}{_cut(answer)}")
        if not self._knowing.is_valid(value):
            raise AnswerInvalidError(f"an object of the answer has no member of the schema{_cut(answer)}")

    def _values(self, value: Any, answer: ModelResponse, check: _Check) -> dict[str, Any]:
        value = settled(value, self._marked)
        check(value, answer)
        return self._written(value, answer)

    def _written(self, value: Any, answer: ModelResponse) -> dict[str, Any]:
        """The values of the columns of a value that keeps the schema."""
        if self._model is None:
            return {name: value.get(source) for name, source in self._sources}
        try:
            # As JSON: a strict class takes a date, an enumeration or a tuple only from there.
            instance = self._model.model_validate_json(orjson.dumps(value), by_alias=True)
            values: Any = instance.model_dump(mode="json", by_alias=True, warnings="none")
            half_pair = _has_half_pair(values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            kinds = ", ".join(sorted({self._place(one["loc"]) + one["type"] for one in details})[:_PLACES])
            raise AnswerInvalidError(
                f"{self._model.__name__} does not take the answer: {kinds}{_cut(answer)}"
            ) from None
        except BaseException as error:  # a validator of the user's class, or pydantic's limit of nesting
            if not is_of_called_code(error):
                raise
            raise AnswerInvalidError(
                f"{self._model.__name__} raises {type(error).__name__} for the answer{_cut(answer)}"
            ) from None
        if half_pair or not isinstance(values, dict):
            what = "text with half a surrogate pair" if half_pair else "no object"
            raise AnswerInvalidError(f"{self._model.__name__} makes {what} of the answer{_cut(answer)}")
        return values


def _has_half_pair(values: Any) -> bool:
    """Whether a text has half a surrogate pair: a class can make one of a response, and no column takes it."""
    try:
        orjson.dumps(values)
    except TypeError:  # or an integer beyond 64 bits, which may go into a column of floats
        return _HALF_PAIR.search(json.dumps(values, ensure_ascii=False)) is not None
    return False


def _given(answer: ModelResponse) -> tuple[Any, bool]:
    """What the response has as JSON, and True; or its text, if that is not JSON, and False."""
    if answer.tool_use:
        return answer.tool_use[0]["input"], True
    try:
        return loads(answer.text or ""), True
    except orjson.JSONDecodeError:
        return answer.text or "", False


def tool(answer: AnswerFormat) -> tuple[str, dict[str, Any]]:
    """Description and input schema of the tool; at its top level, Nova accepts only these three members."""
    top = {name: answer.schema[name] for name in ("type", "properties", "required") if name in answer.schema}
    return answer.schema.get("description", _TOOL_DESCRIPTION), top


def bound(schema: Any) -> Any:
    """A schema as structured output accepts it: objects are closed, and rules that it does not support are left out.

    These are bounds of numbers, lengths and counts, and formats; responses are still validated against the bounds. `oneOf`
    becomes `anyOf`.
    """
    if isinstance(schema, list):
        return [bound(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {
        "anyOf" if name == "oneOf" else name: {key: bound(one) for key, one in value.items()}
        if name in BY_NAME
        else value
        if name in DATA
        else bound(value)
        for name, value in schema.items()
        if not _left_out(name, value)
    }
    return {**inner, "additionalProperties": False} if "properties" in schema else inner


def why_not_bound(schema: Any, path: str = "answer_schema") -> str | None:
    """What structured output does not support in a schema, and `bound` cannot leave out; None if there is nothing."""
    if isinstance(schema, list):
        return _first(why_not_bound(one, f"{path}.{number}") for number, one in enumerate(schema))
    if not isinstance(schema, Mapping):
        return None
    kinds = schema.get("type")
    if "object" in ([kinds] if isinstance(kinds, str) else kinds or []) and "properties" not in schema:
        return f"{path} is an object with keys of any name"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"{path} has additionalProperties"
    if any(isinstance(value, list | Mapping) for value in schema.get("enum", ())):
        return f"{path} has an enum of objects or arrays"
    if named := sorted(_UNSUPPORTED & schema.keys()):
        return f"{path} has {named[0]}"
    return _first(
        _first(why_not_bound(one, f"{path}.{key}") for key, one in value.items())
        if name in BY_NAME
        else why_not_bound(value, path)
        for name, value in schema.items()
        if name not in DATA
    )


def _first(reasons: Iterable[str | None]) -> str | None:
    return next(filter(None, reasons), None)


def _left_out(name: str, value: Any) -> bool:
    return (
        name in _UNBOUND
        or name == "readOnly"
        or (name == "minItems" and value > 1)
        or (name == "format" and value not in _FORMATS)
        or (name == "pattern" and _BEYOND_REGULAR.search(str(value)) is not None)
    )


def _is_irregular(pattern: str) -> bool:
    """Whether Python cannot check a pattern: pydantic's may be of another language, and it checks them itself."""
    try:
        re.compile(pattern)
    except re.error:
        return True
    return False


def _cut(answer: ModelResponse) -> str:
    return f" (stop reason: {answer.stop_reason})" if answer.stop_reason in ("max_tokens", "length") else ""


def _inlined(node: Any, whole: Json, path: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inlined(one, whole, path) for one in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        beside = _inlined({name: value for name, value in node.items() if name != "$ref"}, whole, path)
        defined = _inlined(_target(node["$ref"], whole, path), whole, (*path, node["$ref"]))
        return _together(node["$ref"], defined, beside)
    return {
        name: {key: _inlined(one, whole, path) for key, one in value.items()}
        if name in BY_NAME
        else value
        if name in DATA
        else _inlined(value, whole, path)
        for name, value in node.items()
        if name not in ("$defs", "definitions", "$schema", "$id", "title", "discriminator", COLUMNS)
    }


def _together(reference: str, defined: Any, beside: Json) -> Any:
    """A definition with what stands beside a reference to it: both apply."""
    if not beside or not isinstance(defined, Mapping):
        return defined
    for name in defined.keys() & beside.keys():
        if name not in _ANNOTATIONS and not name.startswith("x-") and defined[name] != beside[name]:
            raise AnswerSchemaError(
                f"answer_schema has {name!r} beside a reference to {reference!r}, which has another.",
                "Write one schema with both rules in place of the reference.",
            )
    return {**defined, **beside}


def _target(reference: str, whole: Any, path: tuple[str, ...]) -> Any:
    if reference in path:
        raise AnswerSchemaError(
            "answer_schema refers to itself, which no model supports.", "Limit its depth: name each level."
        )
    target, local = whole, reference.removeprefix(str(whole.get("$id", "")))
    for step in local.removeprefix("#/").split("/"):
        if not local.startswith("#/") or not isinstance(target, Mapping) or step not in target:
            raise AnswerSchemaError(
                f"answer_schema refers to {reference!r}, which is not in it.", "Write the definition into it."
            )
        target = target[step]
    return target
