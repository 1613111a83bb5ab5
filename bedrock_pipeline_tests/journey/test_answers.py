"""Answers in the shape that the user wants, over the real Postgres, S3 and emulator: typed fields, and vectors."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, Field

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.emulator.models import claude
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.emulator.client import emulator
from bedrock_pipeline_tests.journey import driven
from bedrock_pipeline_tests.journey.test_main_job import finish, prepare, published_table

ROWS = 120


class Unit(StrEnum):
    DOLLARS = "dollars"
    EGGS = "eggs"


class Step(BaseModel):
    says: str


class Solution(BaseModel):
    """The solution of a word problem."""

    reasoning: str
    number: int = Field(ge=0)
    confidence: float
    unit: Unit | None = None
    checked: bool = False
    intermediate: list[int]
    steps: list[Step]
    status: str


COLUMNS = {
    "reasoning": pa.string(),
    "number": pa.int64(),
    "confidence": pa.float64(),
    "unit": pa.string(),
    "checked": pa.bool_(),
    "intermediate": pa.list_(pa.int64()),
    "steps": pa.list_(pa.struct([("says", pa.string())])),
    "answer_status": pa.string(),
}


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Word problems with their solutions, one a line."""
    path = tmp_path / "problems.jsonl"
    rows = [
        {
            "model_request": f"A hen lays {n} eggs a day, {n % 7} are eaten. How many are left in {n % 5} days?",
            "answer": f"{n} - {n % 7} = {n - n % 7}. #### {(n - n % 7) * (n % 5)}",
        }
        for n in range(ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def pipeline(source: Path, **changes: object) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "us.anthropic.claude-3-5-haiku-20241022-v1:0",
            "source": str(source),
            "prompt": "{{ model_request }}",
            "carry": ("answer",),
            "limits": Limits(min_records=100, max_records=200),
            **changes,
        }
    )


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"model_id": HAIKU_45},
        {"model_id": HAIKU_45, "answer_by": "tool"},
        {"model_id": HAIKU_45, "invocation": "Converse"},
        {"model_id": "amazon.nova-lite-v1:0"},
        {"model_id": "openai.gpt-oss-120b-1:0"},
        {"model_id": "minimax.minimax-m2.1"},
        {"model_id": "qwen.qwen3-32b-v1:0", "invocation": "Converse"},
    ],
    ids=str,
)
def test_fields_of_answers_become_typed_columns(
    deployment: Deployment, problems: Path, how: dict[str, str]
) -> None:
    one = pipeline(problems, answer_schema=Solution, **how)
    table = published_table(deployment, finish(deployment, one, prepare(deployment, one)))
    assert {name: table.schema.field(name).type for name in COLUMNS} == COLUMNS
    rows = table.to_pylist()
    assert (len(rows), {row["status"] for row in rows}) == (ROWS, {"succeeded"})
    assert len({row["reasoning"] for row in rows}) > ROWS / 2, "answers differ as questions do"
    for row in rows:
        assert row["number"] >= 0
        assert row["unit"] in (None, "dollars", "eggs")
        assert row["checked"] in (True, False), "a default that is not given is filled in"
        assert row["steps"][0]["says"]
        assert row["input_tokens"] > 0 < row["output_tokens"]
    used = [row["tool_use"] and json.loads(row["tool_use"])[0]["name"] for row in rows]
    assert set(used) == ({"answer"} if one.answer_format.by == "tool" else {None})  # type: ignore[union-attr]


def as_claude(body: dict[str, Any]) -> dict[str, Any]:
    """A model for the emulator."""
    return claude.answer(body).body


def test_a_model_whose_arn_does_not_tell_its_family_is_read_as_the_user_says(
    deployment: Deployment, problems: Path, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
    one = pipeline(problems, answer_schema=Solution, model_id=profile, family="claude")
    model = ("--model", f"abcdefghijkl={__name__}:as_claude")
    with emulator(stack_endpoints, tmp_path / "data", *model) as started:
        settings = deployment.settings.model_copy(update={"bedrock_endpoint_url": started.control.url})
        with open_deployment(settings) as here:
            table = published_table(here, finish(here, one, prepare(here, one)))
    assert table["status"].unique().to_pylist() == ["succeeded"]
    assert table["number"].null_count == 0


def test_a_schema_can_be_a_datasets_own_and_keeps_its_order(deployment: Deployment, problems: Path) -> None:
    """The order is the one in which models answer: the reasoning before the number."""
    number, reasoning = {"type": ["integer", "null"]}, {"type": "string"}
    schema = {"type": "object", "properties": {"reasoning": reasoning, "number": number}}
    one = pipeline(problems)
    request = {"answer_schema": json.dumps({**schema, "required": ["reasoning", "number"]})}
    deployment.ledger.datasets.request("p", "d", request, launch=False, new_version=False)
    table = published_table(deployment, finish(deployment, one, prepare(deployment, one)))
    assert table.schema.field("number").type == pa.int64()
    assert table["status"].unique().to_pylist() == ["succeeded"]
    assert list(json.loads(table["tool_use"][0].as_py())[0]["input"]) == ["reasoning", "number"]


@pytest.fixture
def breaking(control: Control) -> Iterator[None]:
    """Every fifth structured answer of a job breaks its schema."""
    control.add_fault("answer_invalid", rate=0.2)
    yield
    control.clear_faults()


@pytest.mark.usefixtures("breaking")
def test_an_answer_that_breaks_the_schema_is_a_record_error_that_was_paid_for(
    deployment: Deployment, problems: Path
) -> None:
    one = pipeline(problems, answer_schema=Solution, max_record_attempts=1)
    keys = prepare(deployment, one)
    table = published_table(deployment, finish(deployment, one, keys))
    rows = table.to_pylist()
    broken = [row for row in rows if row["status"] == "failed"]
    assert 5 < len(broken) < ROWS / 2
    assert {row["error_code"] for row in broken} == {"answer-invalid"}
    assert all("properties/" in row["error_message"] for row in broken), "it says which rule"
    assert all(row["number"] is None and row["input_tokens"] and row["tool_use"] for row in broken)
    chunk = deployment.ledger.chunks.by_key("p", keys[0])
    manifest = json.loads(
        deployment.objects.get(f"{output_folder(chunk.frozen_request, chunk.job_arn)}manifest.json.out")  # type: ignore[arg-type]
    )
    for name, paid in (("input_tokens", "inputTokenCount"), ("output_tokens", "outputTokenCount")):
        assert sum(row[name] for row in rows) == getattr(chunk, name) == manifest[paid]


@pytest.mark.usefixtures("breaking")
def test_what_broke_the_schema_is_asked_again(deployment: Deployment, problems: Path) -> None:
    rows = driven.finish(deployment, pipeline(problems, answer_schema=Solution))
    assert [row["status"] for row in rows] == ["succeeded"] * ROWS
    [first, again] = driven.chunks(deployment)
    assert set(driven.retryable(deployment, first).values()) == {"answer-invalid"}
    assert again.records == first.retryable == len([row for row in rows if row["attempt"] == 2])
    assert first.records == first.answered + first.retryable  # type: ignore[operator]  # it was collected


@pytest.mark.parametrize(
    ("model", "parameters", "size"),
    [
        ("amazon.titan-embed-text-v2:0", {"dimensions": 512}, 512),
        ("amazon.titan-embed-text-v2:0", {}, 1024),
    ],
)
def test_vectors_are_a_column_of_fixed_size_for_every_reader(
    deployment: Deployment, problems: Path, tmp_path: Path, model: str, parameters: dict[str, int], size: int
) -> None:
    one = pipeline(problems, model_id=model, parameters=parameters)
    published = finish(deployment, one, prepare(deployment, one))
    file = tmp_path / "part.parquet"
    [part] = published.files
    deployment.objects.download(part, file)
    arrow = pq.read_table(file)
    assert arrow.schema.field("embedding").type == pa.list_(pa.float32(), size)
    expected = arrow["embedding"][0].as_py()
    pandas = pd.read_parquet(file)
    assert (len(pandas), list(pandas["embedding"][0])) == (ROWS, expected)
    polars = pl.read_parquet(file)
    assert polars.schema["embedding"] == pl.Array(pl.Float32, size)
    assert polars["embedding"][0].to_list() == expected
    found = duckdb.execute(
        "SELECT count(*), min(len(embedding)), max(len(embedding)), "
        "sum(list_cosine_similarity(embedding, embedding)) FROM read_parquet($1)",
        [str(file)],
    ).fetchone()
    assert found is not None
    assert (*found[:3], round(found[3], 3)) == (ROWS, size, size, ROWS)
