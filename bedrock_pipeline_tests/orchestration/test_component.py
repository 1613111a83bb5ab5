"""Components: what a `defs.yaml` says is what the pipeline does, and errors name the place."""

import re
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from bedrock_pipeline import AssetStep, BedrockBatchComponent, BedrockQueueComponent
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.component_fields import EXAMPLES, PROMPTS
from bedrock_pipeline.orchestration.options import options_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
CONTEXT = dg.ComponentTree.for_test().load_context
HERE = "bedrock_pipeline_tests.orchestration.test_component"


def batch(**attributes: Any) -> BedrockBatchComponent:
    given = {"name": "reviews", "model_id": CLAUDE, "source": "rows.jsonl", "prompt": "{{ text }}"}
    found: BedrockBatchComponent = BedrockBatchComponent.resolve_from_dict({**given, **attributes})
    return found


def pipeline(**attributes: Any) -> Pipeline:
    found = batch(**attributes).pipeline()
    assert isinstance(found, Pipeline)
    return found


def render_review(row: dict[str, Any]) -> str:
    return str(row["text"])


@pytest.mark.parametrize("component", [BedrockBatchComponent, BedrockQueueComponent])
def test_each_field_has_a_description_and_an_example_that_is_valid(
    component: type[BedrockBatchComponent | BedrockQueueComponent],
) -> None:
    schema = component.model().model_json_schema()
    assert set(component.kind.model_fields) - {"dagster"} <= schema["properties"].keys()
    for name, field in schema["properties"].items():
        assert field["description"].strip(), name
        assert field["examples"], name
        for example in field["examples"]:
            Draft202012Validator({**field, "$defs": schema["$defs"]}).validate(example)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "hourly", "start_date": "2026-01-01-00:00"}, dg.HourlyPartitionsDefinition),
        (
            {"type": "hourly", "start_date": "2026-01-01-00:00", "minute_offset": 15},
            dg.HourlyPartitionsDefinition,
        ),
        ({"type": "daily", "start_date": "2026-01-01"}, dg.DailyPartitionsDefinition),
        (
            {"type": "daily", "start_date": "2026-01-01", "hour_offset": 6, "timezone": "Europe/Berlin"},
            dg.DailyPartitionsDefinition,
        ),
        ({"type": "weekly", "start_date": "2026-01-01"}, dg.WeeklyPartitionsDefinition),
        ({"type": "weekly", "start_date": "2026-01-01", "day_offset": 1}, dg.WeeklyPartitionsDefinition),
        (
            {
                "type": "time_window",
                "start_date": "2026-01",
                "fmt": "%Y-%m",
                "cron_schedule": "0 0 1 * *",
            },
            dg.TimeWindowPartitionsDefinition,
        ),
        ({"type": "static", "partition_keys": ["eu", "us"]}, dg.StaticPartitionsDefinition),
        (None, type(None)),
    ],
    ids=str,
)
def test_partitions_of_each_type(given: dict[str, Any] | None, wanted: type) -> None:
    assert isinstance(batch(partitions_def=given).partitions_def, wanted)


@pytest.mark.parametrize(
    "given", [{"type": "dayly", "start_date": "2026-01-01"}, {"start_date": "2026-01-01"}, "daily", 7]
)
def test_partitions_of_an_unknown_type_are_an_error_that_names_the_types(given: object) -> None:
    with pytest.raises((ResolutionException, ValidationError), match=r"(?s)partitions_def") as raised:
        batch(partitions_def=given)
    if isinstance(given, dict) and "type" in given:
        assert "'weekly'" in str(raised.value)


def test_a_name_that_the_component_has_not_is_an_error_rather_than_nothing() -> None:
    """The key of a dataset is in single braces; `inputs/.jsonl` was read for each dataset."""
    with pytest.raises(ResolutionException, match="single braces"):
        batch(source="inputs/{{ dataset }}.jsonl")


def test_prompts_pass_through_untouched_and_other_templates_are_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REVIEWS", "s3://bucket/reviews")
    found = pipeline(
        source="{{ env.REVIEWS }}/{dataset}.jsonl",
        prompt="Say {{ text }}",
        system="In {{ language }}",
        examples=[["{{ a }}", "{{ b }}"]],
    )
    assert found.source == "s3://bucket/reviews/{dataset}.jsonl"
    assert (found.prompt, found.system) == ("Say {{ text }}", "In {{ language }}")
    assert found.examples == (("{{ a }}", "{{ b }}"),)
    assert {"prompt", "system", "examples"} == PROMPTS


def test_texts_that_look_like_numbers_stay_texts() -> None:
    assert pipeline(null_text="007", render_version="2").null_text == "007"


def test_what_python_writes_in_other_ways() -> None:
    found = pipeline(prompt=None, render=f"{HERE}.render_review", max_cost_usd=0.1, carry=["product"])
    assert found.render is render_review
    assert str(found.max_cost_usd) == "0.1"
    assert found.carry == ("product",)
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    assert pipeline(answer_schema=schema).structure is not None
    defaults = Pipeline(name="reviews", model_id=CLAUDE, source="rows.jsonl", prompt="{{ text }}")
    assert pipeline().model_dump() == defaults.model_dump()
    queue = BedrockQueueComponent.resolve_from_dict({"model_id": CLAUDE, "flush_policy": {"batch_size": 7}})
    made = queue.pipeline("My-Queue")
    assert isinstance(made, QueuePipeline)
    assert (made.name, made.flush_policy.batch_size) == ("my_queue", 7)


@pytest.mark.parametrize(
    ("line", "attributes"),
    [
        (4, 'parameters: {max_tokenz: 5}\nprompt: "{{ text }}"'),
        (4, "render: no.such.module"),
        (5, """prompt: "{{ text }}"\nanswer_schema: '{"type": "string"}'"""),
        (5, 'prompt: "{{ text }}"\nmax_tokens_factor: 2'),
    ],
)
def test_an_error_names_the_line_and_the_field(line: int, attributes: str) -> None:
    text = f"name: reviews\nmodel_id: {CLAUDE}\nsource: x.jsonl\n{attributes}\n"
    field = text.splitlines()[line - 1].partition(":")[0]
    with pytest.raises(ResolutionException, match=rf":{line} - {field}\n") as caught:
        BedrockBatchComponent.resolve_from_yaml(text)
    assert isinstance(caught.value.__cause__, ConfigurationError)


_PIPELINE = f"model_id: {CLAUDE}, prompt: '{{{{ text }}}}'"
_HOURS = "{type: hourly, start_date: 2026-01-01-00:00}"


@pytest.mark.parametrize(
    ("documents", "where"),
    [
        ([f"{_PIPELINE}, source: x, daily: true, partitions_def: {_HOURS}"], r":2 - attributes\.daily"),
        ([f"{_PIPELINE}, source: {{asset: reviews/results}}"], r":2 - attributes\.source"),
        ([f"{_PIPELINE}, source: x", f"{_PIPELINE}, source: x"], r":5 - attributes\.name"),
    ],
    ids=["hours as days", "its own results", "no name of its own"],
)
def test_an_error_that_only_the_definitions_have_names_its_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: list[str], where: str
) -> None:
    package = f"defs_{tmp_path.name.strip('_')}"  # one that no other test has imported
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / package / "reviews"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.dg]\ndirectory_type = 'project'\n[tool.dg.project]\nroot_module = 'shop'\n"
        f"defs_module = '{package}'\n"
    )
    (folder / "defs.yaml").write_text(
        "\n---\n".join(
            f"type: bedrock_pipeline.BedrockBatchComponent\nattributes: {{{one}}}" for one in documents
        )
    )
    with pytest.raises(Exception, match=r"reviews") as raised:
        dg.load_from_defs_folder(path_within_project=tmp_path)
    chain = [raised.value]
    while cause := chain[-1].__cause__:
        chain.append(cause)  # type: ignore[arg-type]
    assert any(
        isinstance(one, ResolutionException) and re.search(rf"reviews/defs\.yaml{where}", str(one))
        for one in chain
    ), chain


def test_a_translation_changes_assets_and_what_refers_to_them() -> None:
    component = batch(
        translation={
            "key_prefix": ["llm"],
            "group_name": "nlp",
            "owners": ["team:nlp"],
            "tags": {"tier": "gold"},
            "kinds": ["bedrock"],
            "metadata": {"contact": "{{ pipeline }} {{ step }}"},
            "automation_condition": "{{ dg.AutomationCondition.eager() }}",
        }
    )
    defs = component.build_defs(CONTEXT)
    graph = defs.resolve_asset_graph()
    results, chunks = (
        dg.AssetKey(["llm", "reviews", "results"]),
        dg.AssetKey(["llm", "reviews", "batch_chunks"]),
    )
    node = graph.get(results)
    assert (node.group_name, node.owners, node.tags["tier"]) == ("nlp", ["team:nlp"], "gold")
    assert node.metadata["contact"] == "reviews results"
    assert node.metadata["bedrock_pipeline/pipeline"] == "reviews"
    assert node.automation_condition is None
    assert graph.get(chunks).automation_condition is not None
    assert graph.get(results).parent_keys == {dg.AssetKey(["llm", "reviews", "parsed_results"])}
    assert graph.get(chunks).parent_keys == {dg.AssetKey(["llm", "reviews", "input_dataset"])}
    defs.get_repository_def().load_all_definitions()
    assert results in defs.resolve_job_def("reviews_publish").asset_layer.executable_asset_keys


class Audited(BedrockBatchComponent):
    """A component of somebody else, with a field of its own."""

    team: str = "nlp"

    def get_asset_spec(self, spec: dg.AssetSpec, step: AssetStep) -> dg.AssetSpec:
        return super().get_asset_spec(spec, step).replace_attributes(owners=[f"team:{self.team}"])

    def execute(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        step: AssetStep,
        work: Callable[[], Any],
    ) -> Any:
        context.log.info("%s of %s", step.name, step.pipeline)
        return super().execute(context, step, work)


def test_a_subclass_overrides_specs_and_adds_fields() -> None:
    component = Audited.resolve_from_dict(
        {"name": "reviews", "model_id": CLAUDE, "source": "x.jsonl", "prompt": "{{ text }}", "team": "search"}
    )
    specs = component.build_defs(CONTEXT).resolve_all_asset_specs()
    assert {tuple(spec.owners) for spec in specs} == {("team:search",)}


def test_several_components_stand_side_by_side() -> None:
    defs = dg.Definitions.merge(*(batch(name=name).build_defs(CONTEXT) for name in ("a", "b")))
    defs.get_repository_def().load_all_definitions()


def test_the_table_of_examples_has_no_field_that_is_gone() -> None:
    assert EXAMPLES.keys() == (Pipeline.model_fields.keys() | QueuePipeline.model_fields.keys()) - {"dagster"}


def test_the_schedule_and_the_preview_are_fields_of_their_own() -> None:
    found = options_of(
        pipeline(daily=True, preview_rows=0, schedule={"timezone": "Europe/Berlin", "at": "06:00"})
    )
    assert (found.daily.timezone, found.daily.at, found.daily.catch_up_days) == ("Europe/Berlin", time(6), 7)
    assert found.preview_rows == 0
