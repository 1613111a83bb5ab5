"""On-demand calls and their model: an id that needs an inference profile, one that cannot be used, a service tier."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models.model_ids import profile_in
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.submit.submit_chunk import SubmissionRejectedError, submit_chunk
from bedrock_pipeline_tests.journey.driven import finish, pipeline, rows_file
from bedrock_pipeline_tests.submit.test_below_minimum import packed

HAIKU_45, GPT_OSS = "anthropic.claude-haiku-4-5-20251001-v1:0", "openai.gpt-oss-20b-1:0"
NOVA_PRO = "us.amazon.nova-pro-v1:0"
FEW = 20


def few(folder: Path, model_id: str, **changes: Any) -> Pipeline:
    texts = [f"Number {n}" for n in range(FEW)]
    return pipeline(folder, texts, model_id=model_id, check_model=False, **changes)


def succeeded(rows: list[dict[str, Any]]) -> bool:
    return Counter(row["status"] for row in rows) == {"succeeded": FEW}


@pytest.mark.parametrize("invocation", ["InvokeModel", "Converse"])
@pytest.mark.parametrize("listed", [True, False])
def test_an_id_that_on_demand_calls_cannot_use_is_replaced_by_its_profile(
    deployment: Deployment, control: Control, tmp_path: Path, invocation: str, listed: bool
) -> None:
    if not listed:  # the caller may not list them: the catalog has them
        control.add_fault("error", operation="ListInferenceProfiles", error="AccessDeniedException")
    assert succeeded(finish(deployment, few(tmp_path, HAIKU_45, invocation=invocation)))
    assert deployment.runtime.resolved(HAIKU_45) == f"us.{HAIKU_45}"


@pytest.mark.parametrize(
    ("model_id", "said", "reason"),
    [
        (
            GPT_OSS,
            f"Invocation of model ID {GPT_OSS} with on-demand throughput isn\u2019t supported.",
            "No inference profile of openai.gpt-oss-20b-1:0 in the geography of us-east-1 was found: name one",
        ),
        (
            HAIKU_45,  # the profile that was found is rejected likewise
            "Invocation of model ID x with on-demand throughput isn't supported.",
            f"No inference profile of us.{HAIKU_45}",
        ),
        (GPT_OSS, "The provided model identifier is invalid.", "model identifier is invalid"),
        (GPT_OSS, "Your account is not authorized to perform this action.", "not authorized to perform"),
    ],
)
def test_what_concerns_the_model_is_no_records_error_and_waits_for_an_operator(
    deployment: Deployment, control: Control, tmp_path: Path, model_id: str, said: str, reason: str
) -> None:
    one = few(tmp_path, model_id)
    [key] = packed(deployment, one)
    control.add_fault("error", operation="InvokeModel", error="ValidationException", message=said)
    with pytest.raises(SubmissionRejectedError, match=reason):
        submit_chunk(deployment, "p", key)
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert (chunk.status, chunk.answered, chunk.final_errors) == ("failed", None, None)
    control.clear_faults()
    assert deployment.ledger.interventions.retry_rejected("p", "d") == 1
    assert succeeded(finish(deployment, one))


def test_what_concerns_a_record_is_its_own_error_and_costs_no_other_its_answer(
    deployment: Deployment, tmp_path: Path
) -> None:
    def body(n: int) -> dict[str, Any]:
        content: Any = [{"text": f"Number {n}"}] if n != 3 else 5  # which the SDK itself rejects
        return {"messages": [{"role": "user", "content": content}]}

    rows_file(tmp_path / "rows.jsonl", [{"id": f"r{n}", "n": n, "body": body(n)} for n in range(FEW)])
    changes = {"source": str(tmp_path / "rows.jsonl"), "record_id": "id", "carry": ("n",)}
    one = Pipeline.model_validate(
        {
            "name": "p",
            "model_id": NOVA_PRO,
            "model_input": "body",
            "invocation": "Converse",
            "check_model": False,
            **changes,
        }
    )
    rows = finish(deployment, one)
    assert {row["n"]: row["error_code"] for row in rows} == {n: "400" if n == 3 else None for n in range(FEW)}


def test_a_parameter_that_converse_does_not_have_is_an_error_where_the_pipeline_is_defined() -> None:
    settings = {"name": "p", "model_id": NOVA_PRO, "prompt": "{{ a }}", "invocation": "Converse"}
    for parameters in ({"top_k": 5}, {"topK": 5}, {"inferenceConfig": {"topK": 5}}):
        with pytest.raises(ConfigurationError, match="the Converse API has no top_k"):
            Pipeline.model_validate({**settings, "parameters": parameters})
    fields = {"inferenceConfig": {"topK": 20}}
    Pipeline.model_validate(
        {**settings, "parameters": {"additionalModelRequestFields": fields, "max_tokens": 5}}
    )


@pytest.mark.parametrize("invocation", ["InvokeModel", "Converse"])
def test_calls_of_the_tier_flex_cost_half(deployment: Deployment, tmp_path: Path, invocation: str) -> None:
    rows = finish(deployment, few(tmp_path, NOVA_PRO, on_demand_tier="flex", invocation=invocation))
    assert succeeded(rows)
    assert all(row["cost_usd"] == pytest.approx(row["on_demand_cost_usd"] / 2) for row in rows)
    [chunk] = deployment.ledger.chunks.of_dataset("p", "d", 1)
    assert chunk.estimated_cost_usd is not None
    assert chunk.cost_usd == pytest.approx(Decimal(str(sum(row["cost_usd"] for row in rows))))


def test_a_tier_that_the_model_does_not_have_is_told_before_and_otherwise_waits(
    deployment: Deployment, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigurationError, match=r"on_demand_tier: anthropic.claude-haiku.* has no service tier flex"
    ):
        Pipeline(name="p", model_id=f"us.{HAIKU_45}", prompt="{{ a }}", on_demand_tier="flex")
    [key] = packed(deployment, few(tmp_path, f"us.{HAIKU_45}", on_demand_tier="flex"))
    with pytest.raises(SubmissionRejectedError, match="service tier is not supported"):
        submit_chunk(deployment, "p", key)


@pytest.mark.parametrize(
    ("region", "profiles", "chosen"),
    [
        ("us-west-2", ["global.m.x", "us.m.x", "eu.m.x"], "us.m.x"),
        ("us-west-2", ["global.m.x"], None),  # data would leave the geography
        ("eu-central-1", ["us.m.x", "eu.m.x"], "eu.m.x"),
        ("ap-northeast-1", ["apac.m.x", "jp.m.x"], "jp.m.x"),
        ("ap-northeast-1", ["apac.m.x", "au.m.x"], "apac.m.x"),
        ("ap-southeast-2", ["apac.m.x", "au.m.x"], "au.m.x"),
        ("us-gov-west-1", ["us.m.x", "us-gov.m.x"], "us-gov.m.x"),
        ("ca-central-1", ["us.m.x"], "us.m.x"),
        ("sa-east-1", ["global.m.x", "us.m.x"], None),
    ],
)
def test_the_profile_that_stays_closest_to_a_region(
    region: str, profiles: list[str], chosen: str | None
) -> None:
    assert profile_in(region, profiles) == chosen
