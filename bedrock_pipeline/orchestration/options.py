"""How Dagster shows a pipeline, partitions it and runs its steps.

What belongs here: options that only Dagster needs, which a pipeline carries unread to the assets, jobs and sensors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import dagster as dg

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.daily import DailySchedule
from bedrock_pipeline.orchestration.thresholds import Thresholds
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.records.keys import dataset_of

#: The steps of a pipeline, each with an asset of its name.
STEPS: Final = ("input_dataset", "batch_chunks", "submitted_jobs", "parsed_results", "results")
#: The steps that prepare a dataset. An automation condition concerns these; the others follow by the sensors.
PREPARATION: Final = ("input_dataset", "batch_chunks")
#: Key in the metadata of an asset with the name of its pipeline.
PIPELINE_METADATA: Final = "bedrock_pipeline/pipeline"

#: Of a run of the step's asset, or of a run that does many steps.
StepContext = dg.AssetExecutionContext | dg.OpExecutionContext
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class AssetStep:
    """What the asset of a step is made for.

    Attributes:
        name: `input_dataset`, `batch_chunks`, `submitted_jobs`, `parsed_results` or `results`.
        pipeline: the name of its pipeline.
        model_id: of the pipeline.
    """

    name: str
    pipeline: str
    model_id: str


@dataclass(frozen=True, kw_only=True)
class DagsterOptions:
    """Options of a pipeline in Dagster: `Pipeline(dagster=DagsterOptions(…))`.

    Attributes:
        partitions_def: partitions of the datasets, of any kind but dynamic; None: dynamic ones, a dataset each.
            The dataset of a partition has the partition's key, in which what a dataset's key cannot have is replaced
            (docs/dagster.md).
        translate: from the spec of an asset to the one that it gets: key, group, tags, owners, metadata, kinds, automation.
            An automation condition is taken for `input_dataset` and `batch_chunks` alone.
        execute: runs the work of a step, a function without arguments, and returns what that returned.
        thresholds: of the asset checks of the results.
        preview_rows: how many rows of published results their metadata show, with values cut short; 0 for sensitive data.
        daily: when the schedule of a pipeline with `daily=True` launches a day.
    """

    partitions_def: dg.PartitionsDefinition | None = None
    translate: Callable[[dg.AssetSpec, AssetStep], dg.AssetSpec] | None = None
    execute: Callable[[StepContext, AssetStep, Callable[[], Any]], Any] | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    preview_rows: int = 5
    daily: DailySchedule = field(default_factory=DailySchedule)

    def __post_init__(self) -> None:
        """Reject partitions that cannot be those of datasets, and numbers that mean nothing."""
        own = self.partitions_def
        if self.preview_rows < 0:
            raise ConfigurationError(
                f"DagsterOptions: preview_rows is {self.preview_rows}.", "Give 0 or more; 0 shows no row."
            )
        if isinstance(own, dg.StaticPartitionsDefinition):
            for key in own.get_partition_keys():
                dataset_of(key)
        if isinstance(own, dg.MultiPartitionsDefinition) and any(
            isinstance(one.partitions_def, dg.DynamicPartitionsDefinition) for one in own.partitions_defs
        ):
            raise ConfigurationError(
                "DagsterOptions: partitions_def has a dynamic dimension.",
                "Leave it out: the datasets of a pipeline without one are dynamic, with any keys.",
            )
        if isinstance(self.partitions_def, dg.DynamicPartitionsDefinition):
            raise ConfigurationError(
                "DagsterOptions: partitions_def is dynamic, which datasets are by themselves.",
                "Leave it out, and name the upstream asset in the pipeline's source (docs/dagster.md).",
            )


def options_of(pipeline: BasePipeline) -> DagsterOptions:
    """The options of a pipeline.

    Raises:
        ConfigurationError: the pipeline's `dagster` is something else.
    """
    options = pipeline.dagster
    if options is None:
        return DagsterOptions()
    if not isinstance(options, DagsterOptions):
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: dagster is a {type(options).__name__}.", "Give a DagsterOptions."
        )
    return options


def with_options(pipeline: BasePipeline, **changes: Any) -> BasePipeline:
    """The pipeline with other options."""
    return pipeline.model_copy(update={"dagster": replace(options_of(pipeline), **changes)})


def step_of(pipeline: BasePipeline, name: str) -> AssetStep:
    """The step of a pipeline."""
    return AssetStep(name=name, pipeline=pipeline.name, model_id=pipeline.model_id)


def translated(pipeline: BasePipeline, name: str, spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec that the asset of a step gets.

    Raises:
        ConfigurationError: the translation fails, or changes the partitions.
    """
    translate = options_of(pipeline).translate
    try:
        found = translate(spec, step_of(pipeline, name)) if translate else spec
    except Exception as error:  # the user's own function
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: translate fails for {name} ({type(error).__name__}: {error}).",
            "Correct the function; its spec has deps only in the asset itself, not where others refer to it.",
        ) from error
    if not isinstance(found, dg.AssetSpec):
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: translate returns a {type(found).__name__} for {name}.",
            "Return an AssetSpec, such as spec.replace_attributes(…).",
        )
    if found.partitions_def != spec.partitions_def:
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: the translation of {name} changes its partitions.",
            "Give DagsterOptions(partitions_def=…), or partitions_def in defs.yaml.",
        )
    if name not in PREPARATION and found.automation_condition != spec.automation_condition:
        found = found.replace_attributes(automation_condition=spec.automation_condition)
    return found.merge_attributes(metadata={PIPELINE_METADATA: pipeline.name})


def execute(pipeline: BasePipeline, context: StepContext, name: str, work: Callable[[], _T]) -> _T:
    """Run the work of a step, by the pipeline's own `execute` if it has one.

    Raises:
        ConfigurationError: it returns something else than the work did, with which the run would be green and show nothing.
    """
    hook = options_of(pipeline).execute
    if hook is None:
        return work()
    done: list[_T] = []

    def recorded() -> _T:
        done.append(work())
        return done[-1]

    result: _T = hook(context, step_of(pipeline, name), recorded)
    if not any(result is one for one in done):
        what = "returns something else than its work()" if done else "does not call its work()"
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: execute {what}, in step {name}.",
            "End the function `execute` with `return work()`, or keep what work() returned and return that.",
        )
    return result
