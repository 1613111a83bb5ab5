"""What a dataset costs: estimated, capped and as it turned out, over the real Postgres, S3 and emulator."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc
import pytest

from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.prepare.estimate_dataset import estimate_dataset
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.publish.publish_dataset import Publication, publish_dataset
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline.queue.flush_queue import flush_queue
from bedrock_pipeline.settings import PriceOverride
from bedrock_pipeline.submit.invoke_on_demand import Answered
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.journey.test_main_job import (
    CLAUDE,
    finish,
    pipeline,
    prepare,
    published_table,
    wait_for_jobs,
    write_rows,
)
from bedrock_pipeline_tests.queue.test_queue import config, task

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN, UNPRICED = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-image-v1"


def counted_by_bedrock(deployment: Deployment) -> tuple[int, int]:
    """Tokens of all jobs of dataset `d`, as their manifests count them."""
    tokens = [0, 0]
    for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1):
        assert chunk.frozen_request is not None
        assert chunk.job_arn is not None
        folder = output_folder(chunk.frozen_request, chunk.job_arn)
        manifest = json.loads(deployment.objects.get(f"{folder}manifest.json.out"))
        tokens[0] += manifest["inputTokenCount"]
        tokens[1] += manifest["outputTokenCount"]
    assert tokens[0] > 0
    return tokens[0], tokens[1]


def run(deployment: Deployment, one: Pipeline) -> Publication:
    return finish(deployment, one, prepare(deployment, one))


@pytest.mark.parametrize(
    ("model_id", "parameters", "per_million"),
    [(CLAUDE, {}, ("0.25", "1.25")), (TITAN, {"dimensions": 256}, ("0.02", "0"))],
    ids=["claude", "embeddings"],
)
def test_a_dataset_costs_what_its_tokens_cost(
    deployment: Deployment,
    tmp_path: Path,
    model_id: str,
    parameters: dict[str, object],
    per_million: tuple[str, str],
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 450), model_id=model_id, parameters=parameters)
    published = run(deployment, one)
    read, written = counted_by_bedrock(deployment)
    on_demand = (read * Decimal(per_million[0]) + written * Decimal(per_million[1])) / 1_000_000
    assert read > 0
    assert (published.input_tokens, published.output_tokens) == (read, written)
    assert (published.cost_usd, published.on_demand_cost_usd) == (on_demand / 2, on_demand)
    chunks = deployment.ledger.chunks.of_dataset("p", "d", 1)
    assert len(chunks) == 2
    assert sum(chunk.cost_usd or 0 for chunk in chunks) == on_demand / 2
    table = published_table(deployment, published)
    assert table["cost_usd"].null_count == 0
    assert pc.sum(table["cost_usd"]).as_py() == pytest.approx(float(on_demand) / 2)
    assert pc.sum(table["on_demand_cost_usd"]).as_py() == pytest.approx(float(on_demand))


def test_an_unknown_price_is_null_everywhere_until_it_is_given(
    deployment: Deployment, tmp_path: Path
) -> None:
    assert price_of(UNPRICED, NOW) is None
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 120), model_id=UNPRICED)
    take_snapshot(deployment, one, "d")
    report = pack_dataset(deployment, one, "d")
    assert report.estimate.input_tokens > 0
    assert (report.estimate.cost_usd, report.estimate.on_demand_cost_usd) == (None, None)
    published = finish(deployment, one, [chunk.chunk_key for chunk in report.chunks])
    assert (published.cost_usd, published.on_demand_cost_usd) == (None, None)
    assert published_table(deployment, published)["cost_usd"].null_count == 120
    price = PriceOverride(input_per_million=Decimal("0.1"), output_per_million=Decimal(0))
    given = one.model_copy(update={"prices": {UNPRICED: price}})
    estimate = estimate_dataset(deployment, given, "other", NOW)
    assert estimate.cost_usd == estimate.input_tokens * Decimal("0.05") / 1_000_000


def test_an_estimate_is_the_same_before_and_after_packing(deployment: Deployment, tmp_path: Path) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 1000), parameters={"max_tokens": 50})
    before = estimate_dataset(deployment, one, "d", NOW)
    take_snapshot(deployment, one, "d")
    report = pack_dataset(deployment, one, "d")
    assert before == report.estimate == estimate_dataset(deployment, one, "d", NOW)
    assert (before.records, before.bytes) == (1000, report.bytes)
    assert (before.jobs, before.waves) == (4, 2), "two slots"
    assert before.output_tokens == 50_000
    assert before.cost_usd is not None
    assert before.on_demand_cost_usd == 2 * before.cost_usd


def test_what_earlier_datasets_needed_corrects_the_next_estimate(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 300), parameters={"max_tokens": 1000})
    guessed = estimate_dataset(deployment, one, "next", NOW)
    published = run(deployment, one)
    corrected = estimate_dataset(deployment, one, "next", NOW)
    assert guessed.output_tokens == 300_000
    assert published.output_tokens < 10_000
    assert corrected.input_tokens == pytest.approx(published.input_tokens, rel=0.01)
    assert corrected.output_tokens == pytest.approx(published.output_tokens, rel=0.01)
    assert published.cost_usd is not None
    assert corrected.cost_usd is not None
    assert float(corrected.cost_usd) == pytest.approx(float(published.cost_usd), rel=0.01)


@pytest.mark.parametrize("invocation", ["InvokeModel", "Converse"])
def test_tokens_that_bedrock_counts_correct_the_first_estimate_and_the_cap(
    deployment: Deployment, tmp_path: Path, invocation: str
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 300)
    plain = pipeline(path, model_id=HAIKU_45, parameters={"max_tokens": 50}, invocation=invocation)
    one = plain.model_copy(update={"count_tokens": True})
    guessed = estimate_dataset(deployment, plain, "d", NOW).input_tokens
    estimate = estimate_dataset(deployment, one, "d", NOW)
    published = run(deployment, one)
    assert estimate.input_tokens == pytest.approx(published.input_tokens, rel=0.03)
    assert guessed != pytest.approx(published.input_tokens, rel=0.05)
    assert estimate.counted is not None
    assert (estimate.counted.requests, estimate.counted.problem) == (20, None)
    assert estimate.counted.estimated / estimate.counted.counted == pytest.approx(
        guessed / published.input_tokens, rel=0.03
    )
    [chunk] = deployment.ledger.chunks.of_dataset("p", "d", 1)
    assert chunk.estimated_input_tokens == estimate.input_tokens, "by which max_cost_usd counts"


@pytest.mark.parametrize(
    ("checked", "why"), [(True, "Bedrock does not count"), (False, "support counting tokens")]
)
def test_what_bedrock_does_not_count_is_estimated_from_the_text(
    deployment: Deployment, tmp_path: Path, checked: bool, why: str
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 120), model_id=TITAN, check_model=checked)
    estimate = estimate_dataset(deployment, one.model_copy(update={"count_tokens": True}), "d", NOW)
    assert estimate.counted is not None
    assert why in (estimate.counted.problem or "")
    assert estimate.input_tokens == estimate_dataset(deployment, one, "d", NOW).input_tokens


def test_a_dataset_stops_at_its_cap_and_goes_on_when_an_operator_approves(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 1000)
    whole = estimate_dataset(deployment, pipeline(path), "d", NOW).cost_usd
    assert whole is not None
    one = pipeline(path, max_cost_usd=whole * 35 / 100)  # chunks of 300, 300, 300 and 100 records
    keys = prepare(deployment, one)
    outcomes = [submit_chunk(deployment, "p", key) for key in keys]
    assert [type(outcome) for outcome in outcomes] == [Submitted, NotNow, NotNow, NotNow]
    assert "bedrock-pipeline approve p d --up-to" in getattr(outcomes[1], "reason", "")
    wait_for_jobs(deployment)
    assert deployment.ledger.submissions.due(["p"], 10) == []
    deployment.ledger.spending.approve("p", "d", whole * 2, "somebody")
    assert finish(deployment, one, keys).succeeded == 1000


def few(path: Path, **changes: object) -> Pipeline:
    """A dataset below the minimum."""
    return pipeline(write_rows(path / "rows.jsonl", 37), **changes)


@pytest.mark.parametrize(("policy", "jobs", "factor"), [("on_demand", 0, 2), ("pad", 1, 1), ("hold", 0, 1)])
def test_few_records_are_estimated_as_their_policy_sends_them(
    deployment: Deployment, tmp_path: Path, policy: str, jobs: int, factor: int
) -> None:
    one = few(tmp_path, below_minimum=policy)
    estimate = estimate_dataset(deployment, one, "d", NOW)
    assert (estimate.jobs, estimate.waves) == (jobs, jobs)
    assert estimate.records == (100 if policy == "pad" else 37), "filler records are paid for too"
    assert estimate.on_demand_cost_usd is not None
    assert estimate.cost_usd == estimate.on_demand_cost_usd * factor / 2
    take_snapshot(deployment, one, "d")
    assert pack_dataset(deployment, one, "d").estimate.cost_usd == estimate.cost_usd


def test_on_demand_calls_cost_twice_as_much_and_are_held_to_the_cap(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = few(tmp_path)
    cost = estimate_dataset(deployment, one, "d", NOW).cost_usd
    assert cost is not None
    capped = few(tmp_path, max_cost_usd=cost * 9 / 10)
    [key] = prepare(deployment, capped)
    waiting = submit_chunk(deployment, "p", key)
    assert isinstance(waiting, NotNow)
    assert "bedrock-pipeline approve p d --up-to" in waiting.reason
    assert deployment.ledger.submissions.due(["p"], 10) == []
    deployment.ledger.spending.approve("p", "d", cost, "somebody")
    assert [chunk.chunk_key for chunk in deployment.ledger.submissions.due(["p"], 10)] == [key]
    assert isinstance(submit_chunk(deployment, "p", key), Answered)
    collect_chunk(deployment, capped, key)
    published = publish_dataset(deployment, capped, "d")
    price = price_of(CLAUDE, NOW)
    assert price is not None
    assert published.input_tokens > 0
    on_demand = price.cost(published.input_tokens, published.output_tokens, "on-demand")
    assert (published.cost_usd, published.on_demand_cost_usd) == (on_demand, on_demand)


def test_the_next_round_is_estimated_and_held_to_the_cap(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    one = pipeline(write_rows(tmp_path / "rows.jsonl", 300), max_cost_usd=1)
    [key] = prepare(deployment, one)
    control.add_fault(
        "record_error", record_ids=[f"r{n}" for n in range(120)], error_code=429, message="busy"
    )
    try:
        assert isinstance(submit_chunk(deployment, "p", key), Submitted)
        wait_for_jobs(deployment)
    finally:
        control.clear_faults()
    report = collect_chunk(deployment, one, key)
    assert (report.tally.retryable, report.tally.cost_usd is not None) == (120, True)
    [later] = start_retry_round(deployment, one, "d").chunks
    assert later.estimate is not None
    assert later.estimate.cost_usd is not None
    assert float(later.estimate.output_tokens / later.records) == pytest.approx(
        report.tally.output_tokens / report.tally.answered, rel=0.02
    ), "corrected by what round 1 needed"
    assert report.tally.cost_usd is not None
    together = report.tally.cost_usd + later.estimate.cost_usd
    deployment.ledger.spending.approve("p", "d", together * 99 / 100, "somebody")
    assert isinstance(submit_chunk(deployment, "p", later.chunk_key), NotNow)
    assert deployment.ledger.submissions.due(["p"], 10) == []
    deployment.ledger.spending.approve("p", "d", together, "somebody")
    assert isinstance(submit_chunk(deployment, "p", later.chunk_key), Submitted)


def test_a_queues_day_is_estimated(deployment: Deployment) -> None:
    made = config(batch_size=1000)
    one = made.pipeline()
    with BedrockQueue(made) as queue:
        queue.enqueue_many(task(number) for number in range(150))
        [flushed] = flush_queue(deployment, one)
        [chunk] = flushed.chunks
        assert chunk.estimate is not None
        assert chunk.estimate.output_tokens == 150 * 64
        assert isinstance(submit_chunk(deployment, one.name, chunk.chunk_key), Submitted)
