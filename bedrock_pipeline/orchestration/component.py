"""Components: a pipeline or a queue by a `defs.yaml`, thin over `build_definitions`.

A subclass may override `get_asset_spec` and `execute`.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeVar, Union

import dagster as dg
from dagster.components.resolved.core_models import (
    DailyPartitionsDefinitionModel,
    HourlyPartitionsDefinitionModel,
    StaticPartitionsDefinitionModel,
    TimeWindowPartitionsDefinitionModel,
    WeeklyPartitionsDefinitionModel,
    resolve_partitions_def,
)
from dagster.components.resolved.errors import ResolutionException
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field, PrivateAttr, create_model

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.build import build_definitions
from bedrock_pipeline.orchestration.component_fields import fields_of, pipeline_fields
from bedrock_pipeline.orchestration.daily import DailySchedule
from bedrock_pipeline.orchestration.options import AssetStep, DagsterOptions, StepContext
from bedrock_pipeline.orchestration.scaffolding import BatchScaffolder, QueueScaffolder
from bedrock_pipeline.orchestration.thresholds import Thresholds
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

if TYPE_CHECKING:  # their fields are made from those of the pipelines

    class _BatchFields(dg.Model):
        """The fields of a `Pipeline`."""

    class _QueueFields(dg.Model):
        """The fields of a `QueuePipeline`."""
else:
    _BatchFields = create_model("_BatchFields", __base__=dg.Model, **fields_of(Pipeline))
    _QueueFields = create_model("_QueueFields", __base__=dg.Model, **fields_of(QueuePipeline))

_T = TypeVar("_T")
#: The fields that an error of a pipeline is about, or at least mentions.
_ABOUT: Final = re.compile(r"(?:^|[:;] )([a-z_]+)(?:\.[\w.]+)?(?:: | is )")
_MENTIONED: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_]+")
_PARTITIONS: Final[dict[str, type[dg.Resolvable]]] = {
    "hourly": HourlyPartitionsDefinitionModel,
    "daily": DailyPartitionsDefinitionModel,
    "weekly": WeeklyPartitionsDefinitionModel,
    "time_window": TimeWindowPartitionsDefinitionModel,
    "static": StaticPartitionsDefinitionModel,
}
#: Dagster's models accept any text as their type, so that the first one that fits would be taken.
_BY_TYPE: Final[Any] = Annotated[
    Union[  # noqa: UP007  # of as many as there are
        tuple(
            create_model(
                f"{kind.title().replace('_', '')}Partitions",
                __base__=one.model(),
                type=(Literal[kind], ...),  # type: ignore[arg-type]  # a type that is made here
            )
            for kind, one in _PARTITIONS.items()
        )
    ],
    Field(discriminator="type"),
]


class _PipelineComponent(dg.Component, dg.Resolvable, dg.Model):
    """What the components have in common: how Dagster shows the assets, and how it runs the steps."""

    kind: ClassVar[type[BasePipeline]]

    translation: Annotated[
        TranslationFn[AssetStep] | None,
        TranslationFnResolver[AssetStep](
            lambda step: {"step": step.name, "pipeline": step.pipeline, "model_id": step.model_id}
        ).with_outer_resolver(
            dg.Resolver.default(
                description="Changes of the assets: key, key_prefix, group_name, tags, owners, metadata, kinds, description, "
                "automation_condition. `{{ step }}` is input_dataset, batch_chunks, submitted_jobs, parsed_results or "
                "results; `{{ pipeline }}`, `{{ model_id }}` and `{{ spec }}` can be used too. An automation condition "
                "concerns the steps that prepare a dataset: input_dataset and batch_chunks.",
                examples=[{"group_name": "reviews", "owners": ["team:nlp"], "tags": {"tier": "gold"}}],
            )
        ),
    ] = None
    checks: Annotated[
        Any,
        dg.Resolver(
            lambda _, value: Thresholds.model_validate(value),
            model_field_type=Thresholds,
            description="What the asset checks of the results tolerate; null leaves a check out (docs/dagster.md).",
            examples=[{"failed": 0.01, "cut_off": None, "blocking": True}],
        ),
    ] = Thresholds()
    preview_rows: Annotated[
        int,
        dg.Resolver.default(
            description="How many rows of published results the UI shows, with values cut short; 0 for sensitive data.",
            examples=[0],
        ),
    ] = 5
    #: Knows the lines of the file, which Dagster forgets before the definitions are built.
    _read_in: dg.ResolutionContext | None = PrivateAttr(default=None)

    def get_asset_spec(self, spec: dg.AssetSpec, step: AssetStep) -> dg.AssetSpec:
        """The spec that the asset of a step gets: as the translation says. Override it to change specs in Python.

        Args:
            spec: as the pipeline has it.
            step: what the asset is made for.
        """
        return self.translation(spec, step) if self.translation else spec

    def execute(self, context: StepContext, step: AssetStep, work: Callable[[], _T]) -> _T:
        """Run the work of a step. Override it to do something before, after or around it.

        Args:
            context: of the run.
            step: what runs.
            work: the step, to be called once; what it returns must be returned.
        """
        del context, step
        return work()

    def pipeline(self, folder: str = "") -> BasePipeline:
        """The pipeline that the fields describe.

        Args:
            folder: the name of the folder with the `defs.yaml`, which is the default of `name`.

        Raises:
            ConfigurationError: names each field that is wrong.
        """
        fields = pipeline_fields(self, self.kind)
        fields["name"] = fields["name"] or _NOT_IN_NAMES.sub("_", folder.lower())
        return self.kind.model_validate({**fields, "dagster": self._options()})

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the pipeline; the names of its sensors begin with its own.

        Raises:
            dagster.components.resolved.errors.ResolutionException: names the file, the line and the field that is wrong.
        """
        try:
            if not self.name and context.component_path.instance_key not in (None, 0):  # type: ignore[attr-defined]
                raise ConfigurationError(
                    "name: only the first document of a file can do without one.",
                    "Give each further one a `name`.",
                )
            pipeline = self.pipeline(context.path.name)
            return build_definitions([pipeline], prefix=f"{pipeline.name}_")
        except ConfigurationError as error:
            read = self._read_in or context.resolution_context
            raise ResolutionException(_located(read, type(self), error)) from error

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """The component of a `defs.yaml`.

        Raises:
            dagster.components.resolved.errors.ResolutionException: names the file, the line and the field that is wrong.
        """
        found: Self = super().resolve_from_model(context, model)
        found._read_in = context
        try:
            found.pipeline("unnamed")
        except ConfigurationError as error:
            raise ResolutionException(_located(context, cls, error)) from error
        return found

    def _options(self) -> DagsterOptions:
        return DagsterOptions(
            translate=self.get_asset_spec,
            execute=self.execute,
            thresholds=self.checks,
            preview_rows=self.preview_rows,
        )


@dg.scaffold_with(BatchScaffolder)
class BedrockBatchComponent(_PipelineComponent, _BatchFields):
    """Batch inference on AWS Bedrock: a table of inputs becomes a table with the model's response to every row.

    Makes the assets input_dataset, batch_chunks, submitted_jobs, parsed_results and results, their checks, jobs and sensors.
    """

    kind: ClassVar[type[BasePipeline]] = Pipeline

    schedule: Annotated[
        Any,
        dg.Resolver(
            lambda _, value: DailySchedule.model_validate(value),
            model_field_type=DailySchedule,
            description="With `daily: true`: when a day is launched, and how many missed days are (docs/dagster.md).",
            examples=[{"timezone": "Europe/Berlin", "at": "06:00", "catch_up_days": 3}],
        ),
    ] = DailySchedule()
    partitions_def: Annotated[
        Any,
        dg.Resolver(
            resolve_partitions_def,
            model_field_type=_BY_TYPE | None,
            description="Partitions of the datasets, a dataset each; default: dynamic ones, which a launch adds.",
            examples=[{"type": "daily", "start_date": "2026-01-01"}],
        ),
    ] = None

    def _options(self) -> DagsterOptions:
        return replace(super()._options(), partitions_def=self.partitions_def, daily=self.schedule)


@dg.scaffold_with(QueueScaffolder)
class BedrockQueueComponent(_PipelineComponent, _QueueFields):
    """A durable queue for batch inference on AWS Bedrock: programs enqueue requests, Dagster flushes them into jobs.

    Makes the assets batch_chunks, submitted_jobs, parsed_results and results, their checks, jobs and sensors.
    """

    kind: ClassVar[type[BasePipeline]] = QueuePipeline


def _located(context: dg.ResolutionContext, component: type, error: ConfigurationError) -> str:
    """The error with the file, the line and the text of the field that it names first."""
    names = component.model_fields if issubclass(component, BaseModel) else {}
    mentioned = [*_ABOUT.findall(error.what), *_MENTIONED.findall(error.what)]
    field = next((name for name in mentioned if name in names), None)
    where = ""
    if context.source_position_tree:
        at = context.at_path(field) if field else context
        place = context.source_position_tree.source_error(
            yaml_path=at.path, inline_error_message=error.what, value_error=True
        )
        where = f"{place.file_name}:{place.start_line_no} - {place.location}\n{place.snippet}\n"
    return f"{where}{error}"
