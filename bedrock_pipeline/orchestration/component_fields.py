"""The fields of the components: those of a pipeline, as YAML can write them, each with its description and an example.

What belongs here: which fields a `defs.yaml` has, what is resolved in them, and what is passed on untouched.
"""

import re
from decimal import Decimal
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.sources import Table, UpstreamAsset

#: Texts with `{{ column }}`, which are the pipeline's to fill: Dagster would render them to nothing.
PROMPTS: Final = frozenset({"prompt", "system", "examples"})
#: Fields that YAML cannot write; the options of Dagster have fields of their own.
_LEFT_OUT: Final = frozenset({"dagster"})
_NAMED: Final = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)")
_OBJECT: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
#: What is not written in the annotation of a field.
_TYPES: Final[dict[str, Any]] = {
    "name": str | None,
    "source": str | list[str] | Table | UpstreamAsset | None,
    "render": str | None,
    "answer_schema": dict[str, Any] | str | None,
}
#: An example of each field.
EXAMPLES: Final[dict[str, Any]] = {
    "name": "reviews",
    "model_id": "us.anthropic.claude-3-5-haiku-20241022-v1:0",
    "check_model": False,
    "family": "claude",
    "invocation": "Converse",
    "limits": {"max_records": 20000, "max_jobs": 4},
    "quota_group": "anthropic.claude-3-5-haiku-20241022-v1:0",
    "timeout_hours": 24,
    "job_tags": {"cost-center": "1234"},
    "job_options": {"output_bucket": "my-outputs", "output_kms_key_id": "alias/outputs"},
    "below_minimum": "hold",
    "on_demand_tier": "flex",
    "max_record_attempts": 2,
    "accept_incomplete": ["cut-off"],
    "retry_incomplete": ["cut-off"],
    "max_tokens_factor": 2,
    "count_tokens": True,
    "keep_raw_output": True,
    "prices": {"my-model": {"input_per_million": 0.8, "output_per_million": 4}},
    "source": "s3://my-bucket/reviews/{dataset}/*.parquet",
    "prompt": "Is this review positive or negative? One word.\n\n{{ text }}",
    "messages": "conversation",
    "render": "my_project.prompts.render_review",
    "render_version": "2",
    "model_input": "body",
    "system": "You answer in {{ language }}.",
    "examples": [["Great phone", "positive"]],
    "parameters": {"max_tokens": 5, "temperature": 0},
    "images": ["photo"],
    "documents": ["contract"],
    "attachment_roots": ["s3://my-bucket/scans"],
    "answer_schema": "my_project.answers.Review",
    "answer_by": "tool",
    "record_id": "review_id",
    "carry": ["product"],
    "column_types": {"zip_code": "string"},
    "csv": {"delimiter": ";"},
    "missing_columns": "null",
    "null_text": "unknown",
    "ask_identical_once": False,
    "max_cost_usd": 25,
    "daily": True,
    "publish_to": {"kind": "delta", "location": "s3://my-bucket/tables/reviews"},
    "flush_policy": {"batch_size": 1000, "max_age_s": 3600},
}
#: What a field means in YAML beyond its description.
_IN_YAML: Final[dict[str, str]] = {
    "name": " Default: the name of the folder with the defs.yaml, with underscores for other characters.",
    "source": " In YAML: no function; `kind: sql`, `delta` or `iceberg` with its fields; or `asset: raw/reviews` (docs/dagster.md).",
    "render": " In YAML: its dotted name.",
    "answer_schema": " In YAML: a JSON schema, or the dotted name of a pydantic model.",
}


def fields_of(pipeline: type[BasePipeline]) -> dict[str, Any]:
    """The fields of a component for a kind of pipeline, as `pydantic.create_model` takes them."""
    return {
        name: _field(name, field) for name, field in pipeline.model_fields.items() if name not in _LEFT_OUT
    }


def pipeline_fields(component: BaseModel, pipeline: type[BasePipeline]) -> dict[str, Any]:
    """The values of a component's fields as those of its pipeline.

    Raises:
        ConfigurationError: a dotted name leads to nothing.
    """
    fields: dict[str, Any] = {}
    for name in pipeline.model_fields.keys() - _LEFT_OUT:
        value = getattr(component, name)
        if name == "render" and value is not None:
            value = _imported(name, value)
        elif name == "answer_schema" and isinstance(value, str) and _OBJECT.fullmatch(value.strip()):
            value = _imported(name, value.strip())
        elif name == "source" and isinstance(value, dict) and "asset" in value:
            value = UpstreamAsset.model_validate(value)
        elif name == "max_cost_usd" and value is not None:
            value = Decimal(str(value))
        fields[name] = value
    return fields


def _type_of(name: str, field: FieldInfo) -> Any:
    """The type of a field in YAML, with the constraints of the pipeline's."""
    found = _TYPES.get(name)
    annotation = _listed(field.annotation) if found is None else found
    return Annotated[annotation, *field.metadata] if field.metadata else annotation


def _listed(annotation: Any) -> Any:
    """The annotation with lists for tuples and floats for decimals, which YAML does not have."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Decimal:
        return float
    if origin is tuple:
        one = parts[:1] if parts[-1] is Ellipsis else parts
        return list[Union[tuple(map(_listed, one))]]  # type: ignore[misc]  # noqa: UP007  # of as many as there are
    if origin in (Union, UnionType):
        return Union[tuple(map(_listed, parts))]  # noqa: UP007
    return annotation


def _field(name: str, field: FieldInfo) -> tuple[Any, Any]:
    resolver = dg.Resolver(
        _untouched if name in PROMPTS else _resolved,
        model_field_type=_type_of(name, field),
        inject_before_resolve=False,
        description=f"{' '.join((field.description or '').split())}{_IN_YAML.get(name, '')}",
        examples=[EXAMPLES[name]],
    )
    default = (
        None
        if name == "name"
        else ...
        if field.is_required()
        else field.get_default(call_default_factory=True)
    )
    return Annotated[Any, resolver], default


def _untouched(_context: dg.ResolutionContext, value: Any) -> Any:
    return value


def _resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """The value with its templates rendered. Text without one stays text: Dagster would make a number of "007"."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return {key: _resolved(context.at_path(key), one) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(context.at_path(number), one) for number, one in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if unknown := {*_NAMED.findall(value)} - context.scope.keys():  # Dagster would render it to nothing
        raise ResolutionException(
            f"{value!r} names {', '.join(sorted(unknown))}, which the component has not. The key of a dataset is written "
            "{dataset}, in single braces."
        )
    return context.resolve_value(value)


def _imported(field: str, name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{field}: {name!r} cannot be imported: {error}.",
            "Give the dotted name of what a module of yours has.",
        ) from error
