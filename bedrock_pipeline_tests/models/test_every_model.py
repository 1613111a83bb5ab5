"""Every model of the catalog, in both kinds of jobs.

The emulator's model, which was written from AWS's pages for itself, takes what a pipeline of it sends, and rejects what the
catalog rejects; the response is read back in full.
"""

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from bedrock_pipeline.emulator.models import BodyError, Models
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models.catalog import ModelCard, catalog
from bedrock_pipeline.models.registry import family_of
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.attachments import Attachment
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline_tests.emulator.client import BUCKET
from bedrock_pipeline_tests.emulator.world import World

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 50
SCHEMA = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string", "maxLength": 10_000},
        "number": {"type": "integer", "minimum": 0},
        "place": {"oneOf": [{"type": "string", "format": "city"}, {"type": "null"}]},
    },
    "required": ["reasoning", "number"],
}
ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "system": {"system": "be brief"},
    "images": {"images": ["photo"]},
    "by default": {"answer_schema": SCHEMA},
    "tool": {"answer_schema": SCHEMA, "answer_by": "tool"},
    "schema": {"answer_schema": SCHEMA, "answer_by": "schema"},
    "sampling": {"parameters": {"temperature": 0.5, "top_p": 0.9}},
    "longest": {"parameters": {"max_tokens": 200_000}},
}
CARDS = [card for card in catalog().values() if card.batch != "no" and card.family != "raw"]


def pipeline(card: ModelCard, invocation: str, asked: str, **changes: Any) -> Pipeline:
    settings = {"name": "p", "model_id": card.ids[0], "prompt": "Say {{ a }}", "invocation": invocation}
    return Pipeline.model_validate({**settings, **ASKED[asked], **changes})


def body_of(one: Pipeline) -> dict[str, Any]:
    photo = Attachment("png", "", PNG)
    line = RequestTemplate.of(one).line("r", {"a": "a word"}, [photo] if one.images else [])
    body: dict[str, Any] = orjson.loads(line)["modelInput"]
    return body


def answered(one: Pipeline) -> dict[str, Any]:
    """What the emulator's model answers to the pipeline's record in a job."""
    models = Models()
    answer = models.converse if one.invocation == "Converse" else models.answer
    body: dict[str, Any] = orjson.loads(orjson.dumps(answer(one.model_id, body_of(one), batch=True).body))
    return body


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("invocation", ["InvokeModel", "Converse"])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_the_model_takes_what_its_pipeline_sends(card: ModelCard, invocation: str, asked: str) -> None:
    family = family_of(card.id, converse=invocation == "Converse")
    if family_of(card.id).embeds and (invocation == "Converse" or asked in ("sampling", "longest")):
        return
    if asked == "schema" and card.family == "chat" and "schema" not in card.answers:
        return  # what they answer to response_format is not known; the emulator takes it
    try:
        one = pipeline(card, invocation, asked)
    except ConfigurationError:
        unchecked = pipeline_or_none(card, invocation, asked)
        if unchecked is not None:  # the family could render it, so it is the catalog that rejects the model
            with pytest.raises(BodyError):
                answered(unchecked)
        return
    if asked == "longest" and card.max_output is None:
        return  # no source has the model's limit
    answer = family.answer(answered(one))
    if family.embeds:
        assert answer.embedding
        return
    assert answer.stop_reason in ("end_turn", "stop", "tool_use", "tool_calls")
    assert answer.output_tokens or card.family == "mistral"
    if one.answer_format:
        assert AnswerSchema(SCHEMA).read(answer)[0]["number"] >= 0
        assert bool(answer.tool_use) is (one.answer_format.by == "tool")
    else:
        assert "a word" in (answer.text or "")
    if asked == "images":
        assert base64.b64encode(PNG).decode() in orjson.dumps(body_of(one)).decode()


def pipeline_or_none(card: ModelCard, invocation: str, asked: str) -> Pipeline | None:
    try:
        return pipeline(card, invocation, asked, check_model=False)
    except ConfigurationError:
        return None


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_structured_response_is_requested_as_the_model_takes_it_in_the_job(card: ModelCard) -> None:
    for invocation, ways in (("InvokeModel", card.answers), ("Converse", {"schema"} & {*card.answers})):
        if ways:
            form = pipeline(card, invocation, "by default").answer_format
            assert form is not None
            assert form.by == next(iter(ways))
        else:
            with pytest.raises(
                ConfigurationError,
                match="answer_schema" if card.converse or invocation != "Converse" else "invocation",
            ):
                pipeline(card, invocation, "by default")


def test_a_schema_that_structured_output_does_not_take_is_requested_by_a_tool() -> None:
    card = catalog()["openai.gpt-oss-120b-1:0"]
    open_object = {"type": "object", "properties": {"counts": {"type": "object"}}}
    form = pipeline(card, "InvokeModel", "text", answer_schema=open_object).answer_format
    assert form is not None
    assert form.by == "tool"
    for changes in ({"answer_by": "schema"}, {"invocation": "Converse"}):
        settings = {"invocation": "InvokeModel", **changes}
        with pytest.raises(ConfigurationError, match=r"counts is an object with keys of any name.*tool"):
            pipeline(card, settings.pop("invocation"), "text", answer_schema=open_object, **settings)


#: Models of which no price is known, since their images have one of their own: settings can give it (docs/costs.md).
UNPRICED = {"amazon.nova-2-multimodal-embeddings-v1:0", "amazon.titan-embed-image-v1"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "model_id", ["acme.model-v1", *(card.id for card in catalog().values() if card.family == "raw")]
)
def test_a_model_whose_body_is_not_known_names_the_other_ways(model_id: str) -> None:
    settings = {"name": "p", "model_id": model_id, "prompt": "Say {{ a }}"}
    with pytest.raises(ConfigurationError, match=r"is not known; name .*family='claude'.*model_input"):
        Pipeline.model_validate(settings)
    Pipeline.model_validate({**settings, "family": "claude"})


@pytest.mark.parametrize("invocation", ["InvokeModel", "Converse"])
@pytest.mark.parametrize(
    "card", [card for card in catalog().values() if card.batch == "yes"], ids=lambda card: card.id
)
def test_every_model_of_the_page_makes_a_round_trip_through_a_job(
    world: World, card: ModelCard, invocation: str
) -> None:
    """A job of a pipeline's own records: each is taken, read back in full, counted as the job counts it, and priced."""
    family = family_of(card.id, converse=invocation == "Converse")
    if card.family == "raw" or (family_of(card.id).embeds and invocation == "Converse"):
        assert card.converse is False
        return  # `test_a_model_whose_body_is_not_known_names_the_other_ways`
    one = pipeline(card, invocation, "text")
    template = RequestTemplate.of(one)
    lines = [template.line(f"r{n}", {"a": f"word {n}"}) for n in range(card.min_records)]
    world.objects[BUCKET, "in/a.jsonl"] = b"".join(lines)
    job = world.job(modelId=one.model_id, modelInvocationType=invocation)
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 0), world.records(job)["r0"]
    records = world.records(job)
    answers = {n: family.answer(records[f"r{n}"]["modelOutput"]) for n in range(len(lines))}
    manifest = orjson.loads(world.objects[BUCKET, f"out/{job['jobArn'][-12:]}/manifest.json.out"])
    if family.embeds:
        assert all(answer.embedding for answer in answers.values())
    else:
        assert all(str(answer.text).endswith(f"word {n}") for n, answer in answers.items())
    counted = [(answer.input_tokens, answer.output_tokens) for answer in answers.values()]
    for side, name in enumerate(("inputTokenCount", "outputTokenCount")):
        if None not in (values := [pair[side] for pair in counted]):  # some outputs have no counts
            assert sum(value or 0 for value in values) == manifest[name]
    price = price_of(one.model_id, datetime.now(UTC))
    assert (price is None) is (card.id in UNPRICED)
    if price:
        cost = price.cost(manifest["inputTokenCount"], manifest["outputTokenCount"], requests=len(lines))
        assert 0 < cost < price.cost(manifest["inputTokenCount"], manifest["outputTokenCount"], "on-demand")
