"""Fields of pydantic classes whose columns would not have what the model wrote: secrets, and decimals of many digits."""

import json
from decimal import Decimal
from typing import Annotated

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, PlainSerializer, Secret, SecretBytes, SecretStr, field_serializer

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.answer_class import AnswerSchemaError
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.models.test_answer_class import HAIKU_45, one_column


class Hidden(BaseModel):
    key: SecretStr | None = None


class HiddenInside(BaseModel):
    inner: list[Hidden]


class HiddenBytes(BaseModel):
    keys: dict[str, SecretBytes]


class HiddenNumber(BaseModel):
    pin: Secret[int]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Hidden, r"Hidden\.key is of a secret type, which is written as asterisks"),
        (HiddenInside, r"Hidden\.key is of a secret type"),
        (HiddenBytes, r"HiddenBytes\.keys is of a secret type"),
        (HiddenNumber, r"HiddenNumber\.pin is of a secret type"),
    ],
)
def test_a_secret_is_an_error_where_the_pipeline_is_defined(model: type[BaseModel], said: str) -> None:
    with pytest.raises(AnswerSchemaError, match=said):
        AnswerSchema(model)
    with pytest.raises(ConfigurationError, match=said):
        Pipeline(name="p", model_id=HAIKU_45, prompt="a", answer_schema=model)


class Vast(BaseModel):
    count: Decimal = Field(max_digits=50, decimal_places=2)


@pytest.mark.parametrize("digits", ["123456789012345678901234567890.25", "1" * 48 + ".5"])
def test_a_decimal_of_more_digits_than_a_column_of_decimals_has_is_text(digits: str) -> None:
    assert one_column(Vast, {"count": digits}) == {"count": (pa.string(), digits)}


class Shown(BaseModel):
    key: SecretStr
    pin: Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value(), return_type=str)]
    left_out: SecretStr = Field(default=SecretStr(""), exclude=True)

    @field_serializer("key")
    def _key(self, value: SecretStr) -> str:
        return value.get_secret_value()


def test_a_secret_that_a_serializer_shows_has_a_column() -> None:
    columns = AnswerColumns(AnswerSchema(Shown), ())
    assert [field.name for field in columns.fields] == ["key", "pin"]
    values, _ = columns.values(ModelResponse(json.dumps({"key": "a", "pin": "b"})))
    assert values == ("a", "b")
