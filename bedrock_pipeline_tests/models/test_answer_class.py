"""Pydantic classes of structured responses: their columns have what pydantic itself makes of the same response."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    RootModel,
    computed_field,
    create_model,
    field_serializer,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from pydantic_core import to_jsonable_python

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.frozen_settings import freeze, lacks_validators, thaw
from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.answer_class import AnswerSchemaError
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema
from bedrock_pipeline.pipeline import Pipeline

HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Point(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    long_name: str
    weight: Decimal | None = None


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float
    label: str


class Square(BaseModel):
    kind: Literal["square"]
    side: int
    label: int


Shape = Annotated[Circle | Square, Field(discriminator="kind")]
#: Arrow can hold every one of these moments in every zone.
_MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001  # without a zone on purpose
_ZONES = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
_POINTS = st.builds(
    lambda name, weight: {"longName": name, "weight": weight},
    st.text(max_size=5),
    st.none() | st.decimals(-999, 999, places=3).map(str),
)
_SHAPES = st.one_of(
    st.builds(lambda r, s: {"kind": "circle", "radius": r, "label": s}, st.floats(0, 9), st.text(max_size=3)),
    st.builds(lambda n, m: {"kind": "square", "side": n, "label": m}, st.integers(0, 9), st.integers(0, 9)),
)
_DATES = st.dates()
#: Annotations of fields, and what a model may answer for each.
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**53), 2**53)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, st.text(max_size=10)),
    (bool, st.booleans()),
    (Decimal, st.decimals(-(10**12), 10**12, places=6).map(str)),
    (Annotated[Decimal, Field(max_digits=8, decimal_places=2)], st.decimals(0, 9999, places=2).map(str)),
    (date, _DATES),
    (datetime, _MOMENTS | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=_ZONES)),  # noqa: DTZ001
    (NaiveDatetime, _MOMENTS),
    (time, st.times()),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(["red", "blue"])),
    (Level, st.sampled_from([1, 2])),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Point, _POINTS),
    (list[Point], st.lists(_POINTS, max_size=2)),
    (Shape, _SHAPES),
    (list[Shape], st.lists(_SHAPES, max_size=3)),
    (Circle | Square, _SHAPES),
    (dict[str, int], st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2)),
    (tuple[int, str], st.tuples(st.integers(0, 9), st.text(max_size=3))),
    (list[list[int]], st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2)),
    (list[date], st.lists(_DATES, max_size=2)),
    (int | str, st.integers(0, 9) | st.text(max_size=3)),
]
#: How a field can be named, and the name that a response has for it.
NAMES: list[Callable[[str], tuple[dict[str, Any], str]]] = [
    lambda name: ({}, name),
    lambda name: ({"alias": f"{name}Alias"}, f"{name}Alias"),
    lambda name: ({"validation_alias": f"{name}In"}, f"{name}In"),
    lambda name: ({"serialization_alias": f"{name}Out"}, name),
    lambda name: ({"validation_alias": AliasChoices(AliasPath("x", 0), f"{name}A", "b")}, f"{name}A"),
    lambda name: ({"exclude": True}, name),
]


def expected(value: Any, arrow: pa.DataType) -> Any:
    """A value of `model_dump` as a cell, read without this package."""
    if value is None:
        return None
    if pa.types.is_struct(arrow):
        return {member.name: expected(value.get(member.name), member.type) for member in arrow}
    if pa.types.is_list(arrow):
        return [expected(one, arrow.value_type) for one in value]
    if isinstance(value, datetime) and arrow.tz:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, UUID):
        return str(value)
    return value.value if isinstance(value, StrEnum | IntEnum) else value


def cell_of(value: Any, arrow: pa.DataType, wanted: Any) -> Any:
    """A cell with its JSON text read, where the value is not text itself."""
    if pa.types.is_struct(arrow) and value is not None:
        return {
            member.name: cell_of(value[member.name], member.type, wanted[member.name]) for member in arrow
        }
    if pa.types.is_list(arrow) and value is not None:
        return [cell_of(one, arrow.value_type, other) for one, other in zip(value, wanted, strict=True)]
    if pa.types.is_string(arrow) and value is not None and (not isinstance(wanted, str) or value != wanted):
        read = json.loads(value)
        return tuple(read) if isinstance(wanted, tuple) else read
    return value


@settings(max_examples=150)
@given(data=st.data())
def test_columns_have_what_pydantic_makes_of_the_answer(data: st.DataObject) -> None:
    fields: dict[str, Any] = {}
    answer: dict[str, Any] = {}
    for number in range(data.draw(st.integers(1, 5))):
        annotation, values = data.draw(st.sampled_from(TYPES))
        settings_of, source = data.draw(st.sampled_from(NAMES))(f"field_{number}")
        optional = data.draw(st.booleans())
        fields[f"field_{number}"] = (
            (annotation | None, Field(None, **settings_of))
            if optional
            else (annotation, Field(**settings_of))
        )
        if not optional or data.draw(st.booleans()):
            answer[source] = to_jsonable_python(data.draw(values))
    fields["always"] = (int, 1)
    config = ConfigDict(strict=data.draw(st.booleans()), validate_by_name=data.draw(st.booleans()))
    made = create_model("Made", __config__=config, **fields)
    text = json.dumps(answer)
    wanted = made.model_validate_json(text, by_alias=True).model_dump(by_alias=True)
    columns = AnswerColumns(AnswerSchema(made), ())
    cells, unwrapped = columns.values(ModelResponse(text))
    assert unwrapped is None
    assert [field.name for field in columns.fields] == list(wanted)
    for field, cell in zip(columns.fields, cells, strict=True):
        [held] = pa.array([cell], field.type).to_pylist()
        want = expected(wanted[field.name], field.type)
        assert cell_of(held, field.type, want) == want, field


def one_column(model: type[BaseModel], answer: dict[str, Any]) -> dict[str, tuple[pa.DataType, Any]]:
    columns = AnswerColumns(AnswerSchema(model), ())
    cells, _ = columns.values(ModelResponse(json.dumps(answer)))
    return {field.name: (field.type, cell) for field, cell in zip(columns.fields, cells, strict=True)}


class Serialized(BaseModel):
    tags: list[str]
    number: int
    secret: int = Field(exclude=True)

    @field_serializer("tags")
    def _joined(self, value: list[str]) -> str:
        return ",".join(value)

    @field_serializer("number")
    def _named(self, value: int) -> str:
        return f"number {value}"

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def twice(self) -> int:
        return 2 * self.number


class Whole(BaseModel):
    n: int

    @model_serializer
    def _written(self) -> Point:
        return Point.model_validate({"longName": str(self.n)})


class ByAlias(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_alias=False, validate_by_name=True)

    some_name: int


class Root(RootModel[Circle]):
    pass


@pytest.mark.parametrize(
    ("model", "answer", "columns"),
    [
        (
            Serialized,
            {"tags": ["a", "b"], "number": 3, "secret": 4},
            {"tags": (pa.string(), "a,b"), "number": (pa.string(), "number 3"), "twice": (pa.int64(), 6)},
        ),
        (Whole, {"n": 3}, {"longName": (pa.string(), "3"), "weight": (pa.decimal128(38, 18), None)}),
        (ByAlias, {"someName": 3}, {"someName": (pa.int64(), 3)}),
        (
            Root,
            {"kind": "circle", "radius": 1, "label": "a"},
            {"kind": (pa.string(), "circle"), "radius": (pa.float64(), 1.0), "label": (pa.string(), "a")},
        ),
    ],
)
def test_what_an_instance_is_written_as_becomes_columns(
    model: type[BaseModel], answer: dict[str, Any], columns: dict[str, Any]
) -> None:
    assert one_column(model, answer) == columns


class ReadFromPath(BaseModel):
    n: int = Field(validation_alias=AliasPath("a", "b"))


class PathInside(BaseModel):
    inside: list[ReadFromPath | None]


class Untyped(BaseModel):
    tags: list[str]

    @field_serializer("tags")
    def _joined(self, value):  # type: ignore[no-untyped-def]  # the point of it
        return ",".join(value)


class NoJson(BaseModel):
    n: Callable[[], int]


class Nothing(BaseModel):
    n: int = Field(exclude=True)


class Scalar(BaseModel):
    n: int

    @model_serializer
    def _written(self) -> int:
        return self.n


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ReadFromPath, r"ReadFromPath\.n is read from a path"),
        (PathInside, r"ReadFromPath\.n is read from a path"),
        (Untyped, r"serializer Untyped\._joined does not say what it returns"),
        (NoJson, "NoJson has no JSON schema"),
        (Nothing, "without properties"),
        (Scalar, "without properties"),
    ],
)
def test_a_class_whose_columns_are_not_known_is_an_error_where_it_is_written(
    model: type[BaseModel], said: str
) -> None:
    with pytest.raises(AnswerSchemaError, match=said):
        AnswerSchema(model)
    with pytest.raises(ConfigurationError, match=said):
        Pipeline(name="p", model_id=HAIKU_45, prompt="a", answer_schema=model)


class Lying(BaseModel):
    n: int
    price: Decimal = Decimal(0)

    @field_serializer("n")
    def _named(self, value: int) -> str:
        return value  # type: ignore[return-value]  # the point of it


@pytest.mark.parametrize(
    ("model", "answer", "said"),
    [
        (Lying, {"n": 3}, "n does not fit its column"),
        (
            Point,
            {"longName": "a", "weight": "1e30"},
            "weight is a decimal of more digits than its column has, 20 before the point and 18 after it; set max_digits",
        ),
        (Point, {"longName": "a", "weight": "0.0000000000000000001"}, "weight is a decimal of more digits"),
    ],
)
def test_a_value_that_its_column_does_not_hold_makes_the_answer_invalid(
    model: type[BaseModel], answer: dict[str, Any], said: str
) -> None:
    with pytest.raises(AnswerInvalidError, match=said):
        one_column(model, answer)


def test_a_version_keeps_its_columns_when_the_class_is_gone() -> None:
    """Parts of one dataset have one schema, whether the code still had the class when they were collected or not."""
    code = Pipeline(name="p", model_id=HAIKU_45, prompt="a", answer_schema=Serialized, record_id="id")
    frozen = freeze(code)
    assert lacks_validators(frozen, code) is None
    without = code.model_copy(update={"answer_schema": Point})
    assert lacks_validators(frozen, without) is not None
    here, alone = thaw(frozen, code).answer_columns(), thaw(frozen, without).answer_columns()
    assert here is not None
    assert alone is not None
    assert alone.fields == here.fields
    thawed = thaw(frozen, without)
    assert isinstance(thawed, Pipeline)
    assert thawed.answer_format == code.answer_format, "what is requested stays the same"


class Renamed(BaseModel):
    label: int = Field(validation_alias="Label")
    score: int = Field(serialization_alias="Score")


def test_without_its_class_a_column_is_read_from_the_property_that_the_class_read() -> None:
    frozen = freeze(Pipeline(name="p", model_id=HAIKU_45, prompt="a", answer_schema=Renamed))
    columns = thaw(frozen).answer_columns()
    assert columns is not None
    assert [field.name for field in columns.fields] == ["label", "Score"]
    assert columns.values(ModelResponse('{"Label": 1, "score": 2}')) == ((1, 2), None)
