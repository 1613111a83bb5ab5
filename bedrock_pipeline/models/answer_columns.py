"""Structured responses as typed columns."""

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

import orjson
import pyarrow as pa

from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.answer_class import DECIMAL, LOCAL_DATE_TIME, AnswerSchemaError
from bedrock_pipeline.models.exact_numbers import loads_of
from bedrock_pipeline.models.family import AnswerBy, Json
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
#: Digits of a decimal column, and those after the point where the schema does not say.
_DIGITS: Final = 38
_PLACES: Final = 18
#: Wide enough for every decimal column.
_CONTEXT: Final = Context(prec=2 * _DIGITS)
#: Prefix for a property whose name another column has.
PREFIX = "answer_"
#: Relative error of a float.
_NEAR: Final = Decimal("1e-16")
#: Pydantic's mark of a computed field.
_COMPUTED: Final = "readOnly"
#: Metadata of a column that holds JSON text, which readers and the UI show.
_JSON_TEXT: Final = {"description": "JSON text: its values have no single type"}

#: Raised by values that do not fit; `orjson`'s error for deep nesting is a TypeError, an AnswerInvalidError a ValueError.
_MISFITS: Final = (TypeError, ValueError, OverflowError, InvalidOperation)
_UNCERTAIN: Final = (*_MISFITS, RecursionError)

#: Turns a value of JSON, not null, into one of the column; raises an error that is a ValueError or TypeError.
_Fit: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Column:
    """A type, and how values of JSON become values of it."""

    arrow: pa.DataType
    fit: _Fit
    #: The type whose values are written as they are.
    kept: type | None = None

    def value(self, value: Any) -> Any:
        """A value of the column; null stays null."""
        return value if value is None or type(value) is self.kept else self.fit(value)

    def values(self, values: list[Any]) -> list[Any]:
        """The same of many; nothing is done for one where nothing has to be done for any."""
        if self.kept and {*map(type, values)} <= {self.kept, type(None)}:
            return values
        return [self.value(one) for one in values]


@dataclass(frozen=True, slots=True)
class CertainAnswers:
    """Some of many texts.

    Attributes:
        places: the number of each among the texts.
        given: the JSON of each.
        columns: their values, column by column.
    """

    places: list[int]
    given: list[Any]
    columns: list[list[Any]]


class AnswerColumns:
    """What a schema's responses are written as, in columns, in its order.

    A string, also an enumerated one, becomes text, or with a format a date, time, timestamp or decimal; an integer int64; a
    number float64; a boolean bool; an array a list; an object with named members, or a choice between such objects, a
    struct; everything else JSON text. An optional property that the response lacks is null. A property that has the name
    of another column, one of `taken`, in upper or lower case, is prefixed with `answer_`.

    Attributes:
        fields: the columns.
        by: how the responses were requested, and so where most of them have their JSON.

    Raises:
        AnswerSchemaError: the prefixed name is taken too.
    """

    def __init__(self, schema: AnswerSchema, taken: Collection[str], by: AnswerBy = "tool") -> None:
        self._schema = schema
        self.by = by
        self._columns = {name: _typed(one) for name, one in schema.columns["properties"].items()}
        others = {name.casefold() for name in taken}
        self._written = {name: column or _TEXT for name, column in self._columns.items()}
        names = [f"{PREFIX}{name}" if name.casefold() in others else name for name in self._columns]
        for name in names:
            if name.casefold() in others or names.count(name) > 1:
                raise AnswerSchemaError(
                    f"The answer's column {name!r} would be there twice.", "Rename the property."
                )
        self.fields = tuple(
            pa.field(name, column.arrow) if column else pa.field(name, pa.string(), metadata=_JSON_TEXT)
            for name, column in zip(names, self._columns.values(), strict=True)
        )

    def values(self, answer: ModelResponse) -> tuple[tuple[Any, ...], str | None]:
        """A response's values, one for each column; and what had to be taken off to read them, None if nothing.

        Raises:
            AnswerInvalidError: it breaks the schema, or a value does not fit its column.
        """
        fields, unwrapped = self._schema.read(answer)
        try:
            values = tuple([column.value(fields.get(name)) for name, column in self._written.items()])
        except _MISFITS:
            values = tuple(_fitted(column, fields.get(name), name) for name, column in self._written.items())
        return values, unwrapped

    def certain(self, texts: pa.Array) -> CertainAnswers:
        """Those of many texts that certainly keep the schema, with the values that `values` gives them; it decides about others."""
        # Values of JSON are in no cycles. Those of a class's code may be.
        with _no_search_for_cycles() if self._schema.is_plain else nullcontext():
            return self._certain(texts)

    def _certain(self, texts: pa.Array) -> CertainAnswers:
        kept: list[tuple[int, Any, Mapping[str, Any]]] = []
        cells = texts.cast(pa.binary()).to_pylist()
        read = loads_of(b"".join(cells))
        for place, cell in enumerate(cells):
            try:
                given = read(cell)
                fields = self._schema.certain_fields(given)
            except _UNCERTAIN:
                continue
            if fields is not None:
                kept.append((place, given, fields))
        try:
            return self._columns_of(kept)
        except _UNCERTAIN:
            return self._columns_of([one for one in kept if self._fits(one[2])])

    def _columns_of(self, kept: Sequence[tuple[int, Any, Mapping[str, Any]]]) -> CertainAnswers:
        columns = self._in_columns([fields for _, _, fields in kept])
        return CertainAnswers([place for place, _, _ in kept], [given for _, given, _ in kept], columns)

    def _in_columns(self, fields: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        return [column.values([one.get(name) for one in fields]) for name, column in self._written.items()]

    def _fits(self, fields: Mapping[str, Any]) -> bool:
        try:
            self._in_columns([fields])
        except _UNCERTAIN:
            return False
        return True


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Python does not look for cycles among the many objects that are made meanwhile, which takes a sixth of the time."""
    if not gc.isenabled():  # another thread may be in such a block; whoever comes out first ends it
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _fitted(column: _Column, value: Any, name: str) -> Any:
    """A value as its column's type; a pydantic class may write another type than its schema has."""
    try:
        return column.value(value)
    except AnswerInvalidError as error:
        raise AnswerInvalidError(f"{name} {error}") from None
    except _MISFITS:
        raise AnswerInvalidError(f"{name} does not fit its column") from None


def _typed(schema: Any) -> _Column | None:
    """The column of a property; None for JSON text."""
    options = [one for one in _options(schema) if one.get("type") != "null"]
    if options and all(_has_members(one) for one in options) and _differ(options):
        return _struct(options)
    if len(options) == 1 and options[0].get("type") == "array" and "prefixItems" not in options[0]:
        inner = _typed(options[0].get("items", True))
        return _list(inner) if inner else None
    scalars = [_scalar(one) for one in options]
    types = {one.arrow if one else None for one in scalars}
    if types == {pa.int64(), pa.float64()}:
        return _FLOAT
    return scalars[0] if len(types) == 1 else None


def _options(schema: Any) -> list[Json]:
    """A schema as alternatives of one type each; `{}` stands for anything."""
    if not isinstance(schema, dict) or "allOf" in schema:
        return [{}]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            computed = {name: schema[name] for name in (_COMPUTED,) if name in schema}
            return [{**option, **computed} for one in schema[choice] for option in _options(one)]
    kinds = schema.get("type")
    if kinds is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [...])
        kinds = list(dict.fromkeys(_NAMES.get(type(value), "") for value in values))
    return [{**schema, "type": kind} for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _has_members(schema: Json) -> bool:
    """Whether an object has members of given names only."""
    return (
        schema.get("type") == "object"
        and bool(schema.get("properties"))
        and schema.get("additionalProperties", False) is False
        and "patternProperties" not in schema
    )


def _differ(options: list[Json]) -> bool:
    """Whether no two members of alternatives have names that differ by case alone: many engines take them for one."""
    names = {name for option in options for name in option["properties"]}
    return len({name.casefold() for name in names}) == len(names)


def _struct(options: list[Json]) -> _Column:
    """The members of all alternatives; one of which these have several types is JSON text."""
    found: dict[str, list[_Column | None]] = {}
    for option in options:
        for name, one in option["properties"].items():
            found.setdefault(name, []).append(_typed(one))
    members = {name: _common(columns) or _TEXT for name, columns in found.items()}

    def fit(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError
        return {name: column.value(value.get(name)) for name, column in members.items()}

    return _Column(pa.struct([pa.field(name, one.arrow) for name, one in members.items()]), fit)


def _common(columns: list[_Column | None]) -> _Column | None:
    first = columns[0]
    return first if first and all(one and one.arrow == first.arrow for one in columns) else None


def _list(inner: _Column) -> _Column:
    def fit(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError
        if {*map(type, value)} <= {inner.kept}:
            return value
        return [inner.value(one) for one in value]

    return _Column(pa.list_(inner.arrow), fit)


def _scalar(schema: Json) -> _Column | None:
    kind = schema.get("type", "")
    if kind != "string":
        return {"integer": _INTEGER, "number": _FLOAT, "boolean": _BOOLEAN}.get(kind)
    if schema.get("format") == DECIMAL:
        return _decimal(schema.get("maxDigits"), schema.get("decimalPlaces"), rounds=_COMPUTED in schema)
    return _FORMATS.get(schema.get("format", ""), _STRING)


def _decimal(digits: int | None, places: int | None, *, rounds: bool) -> _Column:
    """As the schema has it; text if that is more than a decimal column holds.

    A value is rounded to its places if it is computed, or if that is no less exact than a float.
    """
    scale = min(_PLACES, digits or _PLACES) if places is None else places
    precision = max(digits or _DIGITS, scale)
    if precision > _DIGITS:
        return _STRING
    unit = Decimal(1).scaleb(-scale)
    too_long = (
        f"is a decimal of more digits than its column has, {precision - scale} before the point and {scale} after it; set "
        f"max_digits and decimal_places, above {_DIGITS} digits for a column of text"
    )

    def fit(value: Any) -> Decimal:
        given = Decimal(_only(value, str))
        rounded = given.quantize(unit, context=_CONTEXT)
        near = rounds or abs(rounded - given) <= abs(given) * _NEAR
        if not near or len(rounded.as_tuple().digits) > precision:
            raise AnswerInvalidError(too_long)
        return rounded

    return _Column(pa.decimal128(precision, scale), fit)


def _only(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if type(value) not in (int, float) or value != int(value):
        raise TypeError
    if not -(2**63) <= value < 2**63:
        raise AnswerInvalidError("is an integer beyond 64 bits")
    return int(value)


def _float(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _timestamp(value: Any) -> datetime:
    """In UTC, and taken as UTC without an offset."""
    read = datetime.fromisoformat(value)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _local_timestamp(value: Any) -> datetime:
    read = datetime.fromisoformat(value)
    if read.tzinfo is not None:
        raise ValueError
    return read


def _time(value: Any) -> time:
    """In UTC, and taken as UTC without an offset."""
    read = time.fromisoformat(value)
    return read if read.tzinfo is None else _at(read).astimezone(UTC).time()


def _at(read: time) -> datetime:
    return datetime.combine(date(2000, 1, 2), read)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


_TEXT = _Column(pa.string(), _text)
_STRING = _Column(pa.string(), lambda value: _only(value, str), str)
_INTEGER = _Column(pa.int64(), _integer)
_FLOAT = _Column(pa.float64(), _float, float)
_BOOLEAN = _Column(pa.bool_(), lambda value: _only(value, bool), bool)
#: Strings of these formats have a column of their own type.
_FORMATS: Final = {
    "date": _Column(pa.date32(), date.fromisoformat),
    "date-time": _Column(pa.timestamp("us", "UTC"), _timestamp),
    LOCAL_DATE_TIME: _Column(pa.timestamp("us"), _local_timestamp),
    "time": _Column(pa.time64("us"), _time),
}
