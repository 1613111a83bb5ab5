"""A thousand records of which some are declined, cut off, filtered or fenced: each is told apart, and none is bought twice as it was."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from bedrock_pipeline.cli.status_text import dataset_lines
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.orchestration.metadata import of_collection, whole_responses
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.pricing.prices import Price, PricedMode, price_of
from bedrock_pipeline_tests.emulator.client import emulator
from bedrock_pipeline_tests.journey import driven

RECORDS = 1000
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
#: 5 % declined, 5 % cut off, 5 % in a fence, 2 % filtered.
DECLINED = {*range(0, RECORDS, 20)}
CUT_OFF = {*range(1, RECORDS, 20)}
FENCED = {*range(2, RECORDS, 20)}
FILTERED = {*range(3, RECORDS, 50)}
LIMIT, ENOUGH = 100, 400


def model(body: dict[str, Any]) -> dict[str, Any]:
    """A model for the emulator, whose response depends on the number in the prompt."""
    found = re.search(r"number (\d+)", body["messages"][0]["content"][0]["text"])
    assert found
    number = int(found[1])
    text, stop, written = json.dumps({"n": number}), "end_turn", 7
    if number in DECLINED:
        text, stop, written = "", "refusal", 2
    elif number in CUT_OFF and body["max_tokens"] < ENOUGH:
        text, stop, written = text[:-2], "max_tokens", body["max_tokens"]
    elif number in FILTERED:
        text, stop, written = "", "content_filtered", 1
    elif number in FENCED:
        text = f"Here it is:\n```json\n{text}\n```"
    return {
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop,
        "usage": {"input_tokens": 20 + number % 3, "output_tokens": written},
    }


@pytest.fixture
def here(deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path) -> Iterator[Deployment]:
    """The deployment, with an emulator that has the model."""
    options = ("--model", f"abcdefghijkl={__name__}:model")
    with emulator(stack_endpoints, tmp_path / "data", *options) as started:
        url = started.control.url
        places = {"bedrock_endpoint_url": url, "bedrock_runtime_endpoint_url": url}
        with open_deployment(deployment.settings.model_copy(update=places)) as opened:
            yield opened


def pipeline(folder: Path, **changes: Any) -> Pipeline:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return driven.pipeline(
        folder,
        [f"Write about number {number}" for number in range(RECORDS)],
        model_id=PROFILE,
        family="claude",
        carry=(),
        answer_schema=schema,
        answer_by="schema",
        parameters={"max_tokens": LIMIT},
        prices={PROFILE: {"input_per_million": 3, "output_per_million": 15}},
        **changes,
    )


def requests(here: Deployment) -> list[tuple[ChunkRow, dict[str, Any]]]:
    """Every request that was sent, with its chunk."""
    return [(chunk, body) for chunk in driven.chunks(here) for body in driven.asked(here, chunk).values()]


def the_emulators_cost(here: Deployment, price: Price) -> Decimal:
    """By the manifests of its jobs, and the responses to its calls."""
    total = Decimal(0)
    for chunk in driven.chunks(here):
        mode: PricedMode = "on-demand" if chunk.mode == "on-demand" else "batch"
        if chunk.job_arn and chunk.frozen_request:
            folder = output_folder(chunk.frozen_request, chunk.job_arn)
            manifest = json.loads(here.objects.get(f"{folder}manifest.json.out"))
            total += price.cost(manifest["inputTokenCount"], manifest["outputTokenCount"], mode)
            continue
        usages = [model(body)["usage"] for body in driven.asked(here, chunk).values()]
        total += sum(price.cost(one["input_tokens"], one["output_tokens"], mode) for one in usages)
    return total


@pytest.mark.parametrize("again", [False, True])
def test_the_tally_tells_them_apart_and_nothing_is_bought_twice(
    here: Deployment, tmp_path: Path, again: bool
) -> None:
    changes = {"retry_incomplete": ("cut-off",), "max_tokens_factor": ENOUGH / LIMIT} if again else {}
    one = pipeline(tmp_path, **changes)
    rows = {int(row["record_id"][1:]): row for row in driven.finish(here, one)}
    codes = {"declined": len(DECLINED), "filtered": len(FILTERED)} | (
        {} if again else {"cut-off": len(CUT_OFF)}
    )

    assert set(rows) == {*range(RECORDS)}
    assert Counter(row["error_code"] for row in rows.values() if row["error_code"]) == codes
    answered = {number for number, row in rows.items() if row["status"] == "succeeded"}
    assert all(rows[number]["n"] == number for number in answered)
    assert {number for number in answered if rows[number]["answer_unwrapped"] == "fence"} == FENCED
    assert {rows[number]["answer_unwrapped"] for number in answered - FENCED} == {None}
    assert all(row["output_text"] for number, row in rows.items() if number in CUT_OFF), "the text so far"

    sent = requests(here)
    bought = Counter(orjson.dumps(body, option=orjson.OPT_SORT_KEYS) for _, body in sent)
    assert set(bought.values()) == {1}, "no request was sent twice word for word"
    assert len(bought) == RECORDS + (len(CUT_OFF) if again else 0)
    limits = {
        chunk.attempt: {body["max_tokens"] for c, body in sent if c.attempt == chunk.attempt}
        for chunk, _ in sent
    }
    assert limits == ({1: {LIMIT}, 2: {ENOUGH}} if again else {1: {LIMIT}})

    price = price_of(PROFILE, here.system.now(), one.prices)
    assert price is not None
    progress = here.ledger.datasets.progress("p", "d")
    assert progress.cost_usd == the_emulators_cost(here, price)

    [status] = here.ledger.status_report.datasets("p")
    assert (status.failed_by_code, status.failed) == (codes, sum(codes.values()))
    assert all(f"{count} {code}" in "\n".join(dataset_lines([status])) for code, count in codes.items())
    [first] = driven.chunks(here, 1)
    report = collect_chunk(here, one, first.chunk_key)
    assert report.tally.final_by_code == codes, "collected before, it is read from the ledger"
    check = whole_responses(report)
    assert not check.passed
    assert {name: value.value for name, value in check.metadata.items() if value.value} == codes
    assert "declined" in str(of_collection(report)["final_errors_by_code"])
