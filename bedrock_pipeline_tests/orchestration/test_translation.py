"""`translate` gets the spec that an asset has, also where others refer to it, and its errors name it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from bedrock_pipeline import AssetStep, DagsterOptions, Pipeline, UpstreamAsset, build_definitions
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import STEPS
from bedrock_pipeline.queue_pipeline import QueuePipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
DAILY = dg.DailyPartitionsDefinition(start_date="2026-11-01")
_Translate = Callable[[dg.AssetSpec, AssetStep], dg.AssetSpec]


def pipeline(translate: _Translate) -> Pipeline:
    return Pipeline(
        name="p",
        model_id=CLAUDE,
        source=UpstreamAsset(asset="raw"),
        prompt="{{ text }}",
        dagster=DagsterOptions(translate=translate, partitions_def=DAILY),
    )


@pytest.mark.parametrize(
    "of_spec",
    [
        lambda spec: spec.description.split()[0],
        lambda spec: spec.group_name,
        lambda spec: "-".join(sorted(spec.kinds)),
        lambda spec: str(len(spec.tags)),
        lambda spec: spec.code_version or "none",
        lambda spec: type(spec.partitions_def).__name__,
        lambda spec: str(len(spec.metadata)),
    ],
    ids=["description", "group", "kinds", "tags", "code version", "partitions", "metadata"],
)
@pytest.mark.parametrize("kind", [Pipeline, QueuePipeline])
def test_a_key_of_what_a_spec_has_is_the_same_wherever_the_asset_is_named(
    of_spec: Callable[[dg.AssetSpec], str], kind: type
) -> None:
    def translate(spec: dg.AssetSpec, step: AssetStep) -> dg.AssetSpec:
        return spec.replace_attributes(key=[of_spec(spec), step.name])

    one = (
        pipeline(translate)
        if kind is Pipeline
        else QueuePipeline(name="p", model_id=CLAUDE, dagster=DagsterOptions(translate=translate))
    )
    names, graph = Names.of(one), build_definitions([one]).resolve_asset_graph()
    steps = [step for step in STEPS if kind is Pipeline or step != "input_dataset"]
    for before, step in zip([None, *steps], steps, strict=False):
        assert step == names.asset(step).path[-1]
        assert before is None or names.asset(before) in graph.get(names.asset(step)).parent_keys


def _raises(spec: dg.AssetSpec, step: AssetStep) -> Any:
    raise KeyError(step.name)


@pytest.mark.parametrize(
    ("translate", "says"),
    [
        (_raises, "fails for input_dataset.*KeyError"),
        (lambda spec, _: spec.replace_attributes(owners=["nobody's"]), "fails for input_dataset.*owner"),
        (lambda _, __: None, "returns a NoneType for input_dataset"),
        (
            lambda spec, step: spec.replace_attributes(key=["ab"[bool(list(spec.deps))], step.name]),
            "gives input_dataset the key 'b/input_dataset'.*'a/input_dataset'.*deps",
        ),
    ],
    ids=["raises", "no owner", "nothing", "a key of deps"],
)
def test_an_error_of_a_translation_names_the_pipeline_and_the_translation(
    translate: _Translate, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"Pipeline 'p': translate {says}"):
        build_definitions([pipeline(translate)])
