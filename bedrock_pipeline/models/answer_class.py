"""Pydantic classes of structured responses: what is requested for one, and what its responses become.

Two schemas follow from a class, as pydantic has two: what its instances are read from (validation) is requested from the
model, and what they are written as (serialization) becomes columns. Aliases, serializers, excluded and computed fields
may make them differ.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    WrapSerializer,
)
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models.family import Json

#: Format of a string that is a decimal number, which JSON schema has no name for.
DECIMAL: Final = "decimal"
#: Format of a date and time that has no offset.
LOCAL_DATE_TIME: Final = "local-date-time"
#: Mark of a decimal in the schema that a class reads.
EXACT: Final = "x-exact"
#: In the schema of a column: the property of the response that it comes from, if that has another name.
SOURCE: Final = "x-source"
_SECRETS: Final = (Secret, SecretStr, SecretBytes)


class AnswerSchemaError(ConfigurationError, ValueError):
    """A schema cannot be requested."""


def requested(model: type[BaseModel]) -> Json:
    """The JSON schema of the responses that a class reads, with `EXACT` where they are decimals.

    Raises:
        AnswerSchemaError: there is none, or its names are not those that the class reads.
    """
    for owner, name, field in _fields(model, set()):
        if not _has_a_name(owner, field):
            raise AnswerSchemaError(
                f"answer_schema: {owner.__name__}.{name} is read from a path (AliasPath) alone, and no property of a response "
                "has that name.",
                "Give it an alias that is a name too, with AliasChoices.",
            )
        if _is_hidden(owner, name, field):
            raise AnswerSchemaError(
                f"answer_schema: {owner.__name__}.{name} is of a secret type, which is written as asterisks: its column would "
                "not have what the model wrote.",
                "Use str or bytes, give it a serializer that returns its value, or exclude it.",
            )
        if owner.model_config.get("regex_engine") == "python-re":
            raise _unbounded(f"{owner.__name__} has regex_engine python-re")
    try:
        return model.model_json_schema(by_alias=True, schema_generator=_Read)
    except PydanticUserError as error:
        raise _no_schema(model, error) from None


def written(model: type[BaseModel]) -> Json:
    """The JSON schema of what a class's instances are written as; `SOURCE` names the property where it is another.

    Raises:
        AnswerSchemaError: there is none, or a serializer does not say what it returns.
    """
    try:
        schema = model.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Written)
    except PydanticUserError as error:
        raise _no_schema(model, error) from None
    properties = dict(schema.get("properties", {}))
    for name, field in model.model_fields.items():
        column, source = field.serialization_alias or name, _name(field, name)
        if column in properties and column != source:
            properties[column] = {**properties[column], SOURCE: source}
    return {**schema, **({"properties": properties} if properties else {})}


class _Read(GenerateJsonSchema):
    """The validation schema with a mark on decimals, which are numbers or text in it."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {**super().decimal_schema(schema), EXACT: True}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        pattern = schema.get("pattern")
        if isinstance(pattern, re.Pattern):
            raise _unbounded(f"the pattern {pattern.pattern!r} is compiled")
        return super().str_schema(schema)


class _Written(GenerateJsonSchema):
    """The serialization schema with what columns need to know: decimals, and whether times have an offset."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        limits = {"maxDigits": schema.get("max_digits"), "decimalPlaces": schema.get("decimal_places")}
        return {
            "type": "string",
            "format": DECIMAL,
            **{name: limit for name, limit in limits.items() if limit is not None},
        }

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        written = super().datetime_schema(schema)
        if schema.get("tz_constraint") == "naive" and written.get("format") == "date-time":
            return {**written, "format": LOCAL_DATE_TIME}
        return written

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:
        """As pydantic has it, which takes the type of the field where a serializer does not say its own."""
        function = schema.get("function")
        if function and schema.get("return_schema") is None and not _is_pydantics(function):
            raise AnswerSchemaError(
                f"answer_schema: the serializer {getattr(function, '__qualname__', function)} does not say what it returns, so "
                "that its column has no type.",
                "Annotate its return type.",
            )
        return super().ser_schema(schema)


def _is_pydantics(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] in ("pydantic", "pydantic_core", "")


def _fields(
    model: type[BaseModel], seen: set[type[BaseModel]]
) -> Iterator[tuple[type[BaseModel], str, FieldInfo]]:
    """All fields of a class and of the classes in it."""
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model, name, field
        for inner in _classes(field.annotation):
            if inner not in seen:
                yield from _fields(inner, seen)


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    return (one for one in _types(annotation) if issubclass(one, BaseModel))


def _types(annotation: Any) -> Iterator[type]:
    """The types in an annotation, at any depth."""
    for one in (annotation, get_origin(annotation)):
        if isinstance(one, type):
            yield one
    for argument in get_args(annotation):
        yield from _types(argument)


def _is_hidden(owner: type[BaseModel], name: str, field: FieldInfo) -> bool:
    """Whether a field is written as asterisks: it is of a secret type, and no serializer of its own shows it."""
    if field.exclude or not any(issubclass(one, _SECRETS) for one in _types(field.annotation)):
        return False
    own = owner.__pydantic_decorators__
    named = {field for one in own.field_serializers.values() for field in one.info.fields}
    return not (
        own.model_serializers
        or named & {name, "*"}
        or any(isinstance(one, PlainSerializer | WrapSerializer) for one in field.metadata)
    )


def _has_a_name(owner: type[BaseModel], field: FieldInfo) -> bool:
    """Whether the class reads the field from a property whose name pydantic puts into the schema."""
    config = owner.model_config
    if field.validation_alias is None or config.get("validate_by_name") or config.get("populate_by_name"):
        return True
    return next(_names(field), None) is not None


def _name(field: FieldInfo, name: str) -> str:
    return next(_names(field), name)


def _names(field: FieldInfo) -> Iterator[str]:
    """The names of a field in what it is read from, the one of the schema in front."""
    alias = field.validation_alias
    for one in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(one, str):
            yield one
        elif isinstance(one, AliasPath) and len(one.path) == 1:
            yield str(one.path[0])


def _unbounded(what: str) -> AnswerSchemaError:
    return AnswerSchemaError(
        f"answer_schema: {what}, which pydantic searches with Python's re: some responses would take for ever.",
        "Give the pattern as text, for pydantic's own engine; what it does not have belongs into a validator.",
    )


def _no_schema(model: type[BaseModel], error: PydanticUserError) -> AnswerSchemaError:
    return AnswerSchemaError(
        f"answer_schema: {model.__name__} has no JSON schema: {error.message}.",
        "Use types that JSON has a form for.",
    )
