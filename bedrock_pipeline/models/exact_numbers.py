"""Numbers of responses with all of their digits.

A JSON reader makes floats of numbers with a point, and of integers beyond 64 bits. Here, a number that a float does not
hold stays an integer, or becomes a `Decimal`; every other is what `orjson` makes of it.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from bedrock_pipeline.models.answer_class import EXACT
from bedrock_pipeline.models.family import Json

#: What JSON has wherever a float does not hold a number: sixteen digits and points in a row; both are one byte in `_ALIKE`.
_LONG: Final = b"0" * 16
_ALIKE: Final = bytes.maketrans(b"123456789.", b"0000000000")
#: The integers that `orjson` reads and writes.
_INTEGERS: Final = range(-(2**63), 2**64)
#: Longest number that is written without an exponent.
_DIGITS: Final = 100


def loads(text: str | bytes) -> Any:
    """A value of JSON, with its numbers exact.

    Raises:
        orjson.JSONDecodeError: the text is not JSON.
    """
    value = orjson.loads(text)
    if not _may_be_long(text.encode() if isinstance(text, str) else text):
        return value
    try:
        return json.loads(text, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError):  # thousands of digits; deep nesting, which orjson takes
        return value


def loads_of(texts: bytes) -> Callable[[str | bytes], Any]:
    """`loads` for these texts, one after the other here: a faster function, if none of them has a number that is long."""
    return loads if _may_be_long(texts) else orjson.loads


def dumps(value: Any) -> bytes:
    """JSON of a value that `loads` read.

    Raises:
        orjson.JSONEncodeError: it nests too deeply.
    """
    return orjson.dumps(value, default=_fragment)


def settled(value: Any, schema: Any) -> Any:
    """A value without decimals: text where the schema marks them as `EXACT`, and floats elsewhere."""
    return _without_decimals(value, schema) if has_decimals(value) else value


def options(schema: Any) -> list[Json]:
    """The alternatives of a schema, and itself."""
    if not isinstance(schema, Mapping):
        return []
    choices = [one for name in ("anyOf", "oneOf") for one in schema.get(name, ())]
    return [*(inner for one in choices for inner in options(one)), schema]


def has_decimals(value: Any) -> bool:
    """Whether there is a decimal in a value, which few have."""
    kind = type(value)
    if kind is dict:
        return any(map(has_decimals, value.values()))
    return any(map(has_decimals, value)) if kind is list else kind is Decimal


def _without_decimals(value: Any, schema: Any) -> Any:
    if isinstance(value, Decimal):
        return _settled(value, schema)
    if isinstance(value, list):
        return [_without_decimals(one, _first(schema, "items", None)) for one in value]
    if isinstance(value, Mapping):
        return {
            name: _without_decimals(one, _first(schema, "properties", name)) for name, one in value.items()
        }
    return value


def _first(schema: Any, keyword: str, name: str | None) -> Any:
    """The schema of an element or a member, from the first alternative that has one."""
    for one in options(schema):
        inner = one.get(keyword)
        if name is not None and isinstance(inner, Mapping):
            inner = inner.get(name)
        if inner is None and name is not None:
            inner = one.get("additionalProperties")
        if isinstance(inner, Mapping):
            return inner
    return None


def _settled(value: Decimal, schema: Any) -> str | float:
    exact = any(EXACT in one for one in options(schema)) and abs(value.adjusted()) < _DIGITS
    return format(value, "f") if exact else float(value)


def _may_be_long(text: bytes) -> bool:
    return _LONG in text.translate(_ALIKE)


def _number(text: str) -> int | float | Decimal:
    if not _may_be_long(text.encode()):
        # As in a text without long ones: also 1e-400, which a float rounds to zero.
        short: int | float = orjson.loads(text)
        return short
    near = float(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent that no Decimal has, and that a float rounds to zero
        return near
    if "." not in text and "e" not in text.lower():
        whole = int(text)
        return whole if whole in _INTEGERS else exact
    if exact == Decimal(repr(near)):
        return near
    if abs(exact) < 2**64 and exact == int(exact) and int(exact) in _INTEGERS:
        return int(exact)
    return exact


def _fragment(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError
