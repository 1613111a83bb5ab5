"""What a user's class does with a response, as its code runs: it costs that response at most."""

import gc
import sys
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, computed_field, field_validator, model_serializer

from bedrock_pipeline.models.structured import AnswerInvalidError
from bedrock_pipeline_tests.models.test_answer_columns import columns, schema, used


class Noted(BaseModel):
    """Notes whether Python looks for cycles while its code runs."""

    n: int

    @computed_field
    def is_searched(self) -> bool:
        return gc.isenabled()


@pytest.mark.parametrize("before", [True, False])
def test_memory_is_collected_as_before_and_while_code_of_a_class_runs(before: bool) -> None:
    """Its code may make what only a search for cycles frees, for each of thousands of responses."""
    gc.enable() if before else gc.disable()
    try:
        found = columns(Noted).certain(pa.array(['{"n":1}']))
        [*_] = columns(schema("n", n={"type": "integer"})).certain(pa.array(['{"n":1}', "{"])).places
        assert gc.isenabled() == before
    finally:
        gc.enable()
    assert found.columns == [[1], [before]]


class _Item(BaseModel):
    a: int


class _Serialized(BaseModel):
    a: int

    @model_serializer
    def made(self) -> _Item:
        found: Any = {0: None, 1: [1]}
        return found.get(self.a) if self.a in found else _Item(a=self.a)


class _Computed(BaseModel):
    a: int

    @computed_field
    def power(self) -> int:
        found: int = 10**self.a
        return found


class PanicException(BaseException):  # its name is Rust's
    """As a library in Rust raises it."""


class _Raising(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def known(cls, value: int) -> int:
        if errors := {0: PanicException, 1: RecursionError, 2: MemoryError}.get(value):
            raise errors
        if value == 4:
            sys.exit(3)
        return value


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (_Serialized, 0, "_Serialized makes no object"),
        (_Serialized, 1, "_Serialized makes no object"),
        (_Computed, 5_000, "_Computed raises ValueError"),
        (_Computed, 25, "beyond 64 bits"),
        (_Raising, 0, "_Raising raises PanicException"),
        (_Raising, 1, "_Raising raises RecursionError"),
        (_Raising, 2, "_Raising raises MemoryError"),
    ],
)
def test_whatever_a_class_makes_of_an_answer_costs_that_answer_alone(
    kind: type[BaseModel], value: int, said: str
) -> None:
    given = columns(kind)
    with pytest.raises(AnswerInvalidError, match=said):
        given.values(used({"a": value}))
    found = given.certain(pa.array(['{"a":3}', f'{{"a":{value}}}', '{"a":6}']))
    assert (found.places, found.columns[0]) == ([0, 2], [3, 6])


def test_a_class_that_ends_the_program_ends_it() -> None:
    with pytest.raises(SystemExit):
        columns(_Raising).values(used({"a": 4}))
