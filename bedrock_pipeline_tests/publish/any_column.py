"""Names and types that a column may have, with the text of each cell written by hand: the reference shares no code."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

#: Ours, DuckDB's and Polars' own, keywords, twins by case or by form, and what breaks naive quoting.
NAMES = (
    *(
        "record_id",
        "RECORD_ID",
        "Record_Id",
        "position",
        "canonical",
        "images",
        "images_digest",
        "wire_id",
        "origin",
    ),
    *(
        "__position",
        "__canonical",
        "canonical_row",
        "leader_id",  # phrases: allow
        "leader_row",  # phrases: allow
        "c0",
        "C0",
        "c1",
        "n",
        "k0",
        "id",
        "h",
    ),
    *(
        "filename",
        "Filename",
        "FILENAME",
        "file_row_number",
        "file_index",
        "rowid",
        "row_nr",
        "literal",
        "len",
        "index",
    ),
    *(
        "select",
        "order",
        "from",
        "null",
        "true",
        "Name",
        "name",
        "NAME",
        "Text",
        "text",
        "reason",
        "n_1",
        "hashed",
    ),
    *(
        "é",
        "e\u0301",
        "É",
        "ı",  # noqa: RUF001  # a twin of i
        "I",
        "i",
        "ß",
        "SS",
        "ü",
        "日本",
        "\u200b",
        "\ufeff",
        " ",
        "  ",
        " name",
        "name ",
    ),
    *(
        "a.b",
        "a",
        "a.b.c",
        "a b",
        'a"b',
        "a'b",
        "a`b",
        "a\\b",
        "a\nb",
        "a\tb",
        "a\x00b",
        "\x00",
        "",
        "1",
        "0",
        "*",
    ),
    *(
        "{",
        "}",
        "$files",
        "%s",
        "hash(1)",
        "a;b",
        "--",
        "[0]",
        "a,b",
        "=a",
        "schema",
        "element",
        "list",
        "key_value",
    ),
)


@dataclass(frozen=True)
class Kind:
    """A type, and cells of it: how Arrow is given them, and what a prompt, JSON and a record id say.

    A text of None: the cell cannot be in a prompt. Without `ids` a record id is the text.
    """

    type: pa.DataType
    values: Sequence[Any]
    texts: Sequence[str | None]
    jsons: Sequence[str | None] = ()
    build: Callable[[list[Any], pa.DataType], pa.Array] = pa.array
    ids: Sequence[str | None] = ()

    def json(self, number: int) -> str | None:
        if self.jsons:
            return self.jsons[number]
        text = self.texts[number]
        return None if text is None else json.dumps(text, ensure_ascii=False)

    def array(self, numbers: Sequence[int | None]) -> pa.Array:
        return self.build([None if number is None else self.values[number] for number in numbers], self.type)


def _numbers(kind: pa.DataType, *values: Any) -> Kind:
    texts = [str(value) for value in values]
    return Kind(kind, values, texts, texts)


def _stored(storage: pa.DataType) -> Callable[[list[Any], pa.DataType], pa.Array]:
    """Arrow's integers, seen as another type: the only way to values that Python cannot hold."""
    return lambda values, kind: pa.array(values, storage).view(kind)


def _extension(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def _cast(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind.value_type).dictionary_encode().cast(kind)


_TEXTS = ("a", "", 'ü\u2028\x00\n"\\', "日本")
_U = bytes(range(16))
_UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
_FAR = 9_000_000_000_000_000_000

SIMPLE = (
    *(Kind(kind, _TEXTS, _TEXTS) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    Kind(pa.dictionary(pa.int8(), pa.string()), _TEXTS, _TEXTS, build=_cast),
    Kind(pa.json_(), ("[1]", '{"a":1}'), ("[1]", '{"a":1}'), build=_extension),
    *(_numbers(kind, 0, 7, -128) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(_numbers(kind, 0, 255) for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    _numbers(pa.int64(), 2**53 + 1, 2**53, -(2**63)),
    _numbers(pa.uint64(), 2**64 - 1, 2**64 - 2),
    Kind(
        pa.float64(),
        (0.1, 3.0, 1e300, -0.0),
        ("0.1", "3", "1e+300", "0"),
        ("0.1", "3.0", "1e+300", "-0.0"),
    ),
    Kind(pa.float32(), (0.1, 3.0), ("0.1", "3"), ("0.1", "3.0")),
    Kind(pa.float16(), (0.5, 3.0), ("0.5", "3"), ("0.5", "3.0")),
    Kind(pa.bool_(), (True, False), ("true", "false"), ("true", "false")),
    Kind(pa.bool8(), (1, 0), ("true", "false"), ("true", "false"), build=_extension),
    Kind(
        pa.decimal128(38, 18),
        (Decimal("0E-18"), Decimal("1.5")),
        ("0", "1.5"),
        ("0", "1.5"),
        ids=("0.000000000000000000", "1.500000000000000000"),
    ),
    Kind(
        pa.decimal256(76, 2),
        (Decimal("1" + "0" * 59 + "1"), Decimal("12.34")),
        ("1" + "0" * 59 + "1", "12.34"),
        ("1" + "0" * 59 + "1", "12.34"),
        ids=("1" + "0" * 59 + "1.00", "12.34"),
    ),
    Kind(pa.decimal64(12, 3), (Decimal("1.5"),), ("1.5",), ("1.5",), ids=("1.500",)),
    Kind(pa.decimal32(5, 2), (Decimal("1.5"),), ("1.5",), ("1.5",), ids=("1.50",)),
    Kind(pa.date32(), (0, 20_000), ("1970-01-01", "2024-10-04"), build=_stored(pa.int32())),
    Kind(pa.date32(), (900_000_000,), ("2466086-04-22",), build=_stored(pa.int32())),
    Kind(
        pa.timestamp("us"),
        (0, 1_500_000, _FAR),
        ("1970-01-01 00:00:00", "1970-01-01 00:00:01.500000", "287168-08-24 16:00:00.000000"),
        build=_stored(pa.int64()),
    ),
    Kind(
        pa.timestamp("ns"),
        (0, 1),
        ("1970-01-01 00:00:00", "1970-01-01 00:00:00.000000001"),
        build=_stored(pa.int64()),
    ),
    Kind(
        pa.timestamp("ns", "UTC"),
        (0, 1),
        ("1970-01-01 00:00:00+00:00", "1970-01-01 00:00:00.000000001+00:00"),
        build=_stored(pa.int64()),
    ),
    Kind(
        pa.timestamp("ms", "UTC"),
        (0, _FAR // 1000),
        ("1970-01-01 00:00:00+00:00", "287168-08-24 16:00:00.000+00:00"),
        build=_stored(pa.int64()),
    ),
    Kind(pa.time32("ms"), (0, 1_500), ("00:00:00", "00:00:01.500000"), build=_stored(pa.int32())),
    Kind(pa.time64("us"), (0, 1_500_000), ("00:00:00", "00:00:01.500000"), build=_stored(pa.int64())),
    Kind(pa.time64("ns"), (0, 1), ("00:00:00", "00:00:00.000000001"), build=_stored(pa.int64())),
    Kind(pa.duration("us"), (0, 1_500_000), ("0:00:00", "0:00:01.500000"), build=_stored(pa.int64())),
    Kind(pa.duration("s"), (_FAR,), (f"{_FAR} s",), build=_stored(pa.int64())),
    Kind(pa.uuid(), (_U, _U[::-1]), (_UUID, "0f0e0d0c-0b0a-0908-0706-050403020100"), build=_extension),
    *(
        Kind(kind, (b"a\xff", b""), (None, None))
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    ),
    Kind(pa.binary(2), (b"ab",), (None,)),
)


def lists(one: Kind) -> Kind:
    """Lists of a kind."""
    jsons = [one.json(number) for number in range(len(one.values))]
    texts = [
        "[]",
        None if jsons[0] is None else f"[{jsons[0]},null]",
        None if None in jsons else f"[{','.join(map(str, jsons))}]",
    ]
    values = [[], [0, None], list(range(len(jsons)))]

    def build(cells: list[Any], kind: pa.DataType) -> pa.Array:
        flat = one.array([number for cell in cells for number in cell or ()])
        ends = [sum(len(cell or ()) for cell in cells[:row]) for row in range(len(cells) + 1)]
        return pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), flat, mask=pa.array([cell is None for cell in cells], pa.bool_())
        )

    return Kind(pa.list_(one.type), values, texts, texts, build)


def structs(one: Kind, *names: str) -> Kind:
    """Structs with a field of a kind under each of these names."""
    first = one.json(0)
    texts = [
        None
        if first is None
        else "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{first}" for name in names) + "}"
    ]

    def build(cells: list[Any], kind: pa.DataType) -> pa.Array:
        child = one.array([None if cell is None else 0 for cell in cells])
        return pa.StructArray.from_arrays(
            [child] * len(names), list(names), mask=pa.array([cell is None for cell in cells], pa.bool_())
        )

    return Kind(pa.struct([(name, one.type) for name in names]), [0], texts, texts, build)


def maps(one: Kind) -> Kind:
    """Maps from text to a kind."""
    first = one.json(0)
    texts = ["{}", None if first is None else f'{{"k":{first},"K":null}}']

    def build(cells: list[Any], kind: pa.DataType) -> pa.Array:
        keys = pa.array([key for cell in cells for key in ("kK" if cell else "")], pa.string())
        items = one.array([number for cell in cells for number in ((0, None) if cell else ())])
        ends = [sum(2 * bool(cell) for cell in cells[:row]) for row in range(len(cells) + 1)]
        return pa.MapArray.from_arrays(
            pa.array(ends, pa.int32()),
            keys,
            items,
            mask=pa.array([cell is None for cell in cells], pa.bool_()),
        )

    return Kind(pa.map_(pa.string(), one.type), [0, 1], texts, texts, build)
