"""What a user writes down: a pipeline.

What belongs here: the definition of a pipeline, its validation, and what a single dataset may change about it.
No work, no Dagster.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.models import AnswerFormat, Family, ModelRequest, family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.records.limits import Limits, default_limits
from bedrock_pipeline.records.result_schema import RESERVED
from bedrock_pipeline.settings import PriceOverride
from bedrock_pipeline.sources import Source

#: What becomes of fewer records than a job may have (docs/answers.md, "Below the minimum").
BelowMinimum = Literal["on_demand", "pad", "hold", "fail"]
#: What a dataset may set differently from its pipeline, in the ledger's `datasets.request`.
DATASET_SETTINGS = frozenset(
    {
        "source",
        "prompt",
        "model_input",
        "model_id",
        "system",
        "parameters",
        "family",
        "invocation",
        "images",
        "answer_schema",
        "answer_by",
        "record_id",
        "carry",
        "column_types",
        "below_minimum",
        "max_cost_usd",
    }
)


#: What a queue does not have: its tasks bring their bodies, and each day is open, so that nobody can cap what it costs.
_NOT_OF_A_QUEUE = (
    *(
        "source",
        "prompt",
        "model_input",
        "system",
        "parameters",
        "images",
        "answer_schema",
        "record_id",
        "carry",
    ),
    *("column_types", "null_text", "daily", "max_cost_usd"),
)


class DatasetRequestError(BedrockPipelineError, ValueError):
    """A dataset was launched with settings that its pipeline cannot have."""


class FlushPolicy(BaseModel):
    """When the tasks that wait in a queue become jobs, without being asked for.

    Attributes:
        batch_size: as soon as so many tasks wait.
        max_bytes: as soon as their lines are so many bytes; None never.
        max_age_s: as soon as one has waited for so many seconds; None never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=100, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)
    max_age_s: float | None = Field(default=None, gt=0)


class Pipeline(BaseModel):
    """A named set-up: where records come from, the prompt, the model, the limits.

    Either `prompt` (a template with `{{ column }}`) or `model_input` (a column that holds the whole body); or neither,
    where it is a queue, whose tasks bring their bodies (`docs/queue.md`).

    Attributes:
        name: prefix of every asset, partition and ledger key: `[a-z][a-z0-9_]{0,39}`.
        model_id: a foundation model, inference profile or custom model, by id or ARN.
        source: a file, glob, folder or s3:// location, in which `{dataset}` stands for the dataset's key; or a
            function from the key to a `Source`. None: each dataset names its own when it is launched.
        record_id: column with the record ids; None derives them from the content.
        carry: columns that are carried along into the results.
        parameters: model parameters such as `max_tokens` and `temperature`.
        family: whose bodies the model takes, where its id does not tell: `claude`, `nova`, …
        invocation: `Converse` for Converse's body in place of the model's own.
        images: columns with images: bytes, data URI, base64, s3:// URI or absolute path, or a list of them.
        answer_schema: a pydantic model or a JSON schema, also as text; its properties become columns (`docs/models.md`).
        answer_by: how the model is asked to keep it: by a `tool` that it must use, or by `schema`, the service's
            structured output.
        limits: limits of the model in this account; None takes Bedrock's defaults.
        quota_group: jobs of one group share the slots; None means this model in this region.
        timeout_hours: hours after which Bedrock gives a job up.
        null_text: what a null becomes in a prompt; None rejects the record.
        below_minimum: what becomes of a dataset, or of retryable records, with fewer records than a job needs: asked one by
            one at the on-demand price, padded with filler records, held for a person, or failed.
        max_record_attempts: how often a record is asked at the most; what is unanswered then has a final error.
        ask_identical_once: whether records with the same request share one answer; turn it off to sample.
        keep_raw_output: whether the results keep the model's whole answer as JSON.
        max_cost_usd: what a dataset may cost; nothing is submitted beyond it until a person approves (`docs/costs.md`).
        prices: of models by id or ARN, where the known ones are wrong or missing.
        daily: whether a schedule launches a dataset a day, its key the date.
        queue: makes it a queue, with a dataset a day to which each flush adds chunks.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or not valid, or fields contradict each other.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    model_id: str = Field(min_length=1, max_length=2048)
    source: str | list[str] | Callable[[str], Source] | None = None
    prompt: str | None = None
    model_input: str | None = None
    system: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    family: str | None = None
    invocation: Literal["InvokeModel", "Converse"] = "InvokeModel"
    images: tuple[str, ...] = ()
    answer_schema: type[BaseModel] | dict[str, Any] | str | None = None
    answer_by: Literal["tool", "schema"] = "tool"
    record_id: str | None = None
    carry: tuple[str, ...] = ()
    column_types: dict[str, str] = Field(default_factory=dict)
    null_text: str | None = None
    limits: Limits | None = None
    quota_group: str | None = None
    timeout_hours: int = Field(default=72, ge=24, le=168)
    below_minimum: BelowMinimum = "on_demand"
    max_record_attempts: int = Field(default=3, ge=1, le=20)
    ask_identical_once: bool = True
    keep_raw_output: bool = False
    max_cost_usd: Decimal | None = Field(default=None, gt=0)
    prices: dict[str, PriceOverride] = Field(default_factory=dict)
    daily: bool = False
    queue: FlushPolicy | None = None

    @field_validator("carry", "images", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> Self:
        if self.queue:
            given = [name for name in _NOT_OF_A_QUEUE if getattr(self, name)]
            if given:
                raise ValueError(f"a queue's tasks bring their bodies: it has no {', '.join(given)}")
            return self
        if (self.prompt is None) == (self.model_input is None):
            raise ValueError("give either prompt (a template) or model_input (a column with the whole body)")
        if self.images and self.prompt is None:
            raise ValueError("images go with a prompt; a body in model_input holds its own")
        return self

    @model_validator(mode="after")
    def _what_the_model_takes(self) -> Self:
        self.answer_columns()
        if self.answer_schema is not None and (self.model_family.embeds or self.model_family.name == "raw"):
            raise ValueError(
                f"answer_schema: answers of {self.model_id} cannot be read (family {self.model_family.name}); "
                "say whose bodies the model takes with family or invocation"
            )
        if self.prompt is not None and self.model_family.name != "raw":
            images = ("",) if self.images else ()
            self.model_family.check(
                ModelRequest(self.prompt, self.system, images=images, answer=self.answer_format)
            )
        return self

    @property
    def model_family(self) -> Family:
        """The family whose bodies are sent."""
        return family_of(self.model_id, converse=self.invocation == "Converse", name=self.family)

    @property
    def answer_format(self) -> AnswerFormat | None:
        """The form of a structured answer; None where none is asked for."""
        schema = self._answer_schema()
        return AnswerFormat(schema.schema, self.answer_by) if schema else None

    def answer_columns(self) -> AnswerColumns | None:
        """The columns of a structured answer; None where none is asked for.

        Raises:
            AnswerSchemaError: the schema cannot be asked for.
        """
        schema = self._answer_schema()
        return AnswerColumns(schema, {*RESERVED, *self.carry}) if schema else None

    def _answer_schema(self) -> AnswerSchema | None:
        if isinstance(self.answer_schema, str):
            return AnswerSchema.from_text(self.answer_schema)
        return None if self.answer_schema is None else AnswerSchema(self.answer_schema)

    @property
    def effective_limits(self) -> Limits:
        """The limits that are in force."""
        return self.limits or default_limits(self.model_id)

    def slots_of(self, region: str) -> str:
        """The quota group whose slots this pipeline's jobs use."""
        return self.quota_group or f"{self.model_id} in {region}"

    def for_dataset(self, request: dict[str, Any]) -> "Pipeline":
        """This pipeline with what one dataset sets differently.

        Raises:
            DatasetRequestError: the request names something that a dataset may not set, or a value that is not valid.
        """
        if unknown := request.keys() - DATASET_SETTINGS:
            raise DatasetRequestError(
                f"A dataset cannot set {', '.join(sorted(unknown))}.",
                f"It can set {', '.join(sorted(DATASET_SETTINGS))}.",
            )
        changes = dict(request)
        if changes.get("prompt"):
            changes.setdefault("model_input", None)
        elif changes.get("model_input"):
            changes.setdefault("prompt", None)
        try:
            return Pipeline.model_validate({**dict(self), **changes})
        except ValidationError as error:
            said = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
            raise DatasetRequestError(
                f"What the dataset sets does not go with pipeline {self.name!r}: {said}.".replace("..", "."),
                "Launch it with other settings.",
            ) from None
