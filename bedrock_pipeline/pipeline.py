"""What a user writes: a pipeline of datasets (`Pipeline`); that of a queue is in `queue_pipeline`.

Definitions and their validation, and what a single dataset may change. No I/O, no Dagster.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, field_validator

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.job_options import JobOptions
from bedrock_pipeline.models import AnswerFormat, Family, ModelRequest, Turn, family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.body_rules import BodyRules, with_room
from bedrock_pipeline.models.catalog import (
    answers_of,
    card_of,
    check_answers,
    check_body_known,
    check_inputs,
    check_model_id,
    check_tier,
    with_defaults,
    with_limit,
)
from bedrock_pipeline.models.family import AnswerBy, Json
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.models.structured import AnswerSchema, why_not_bound
from bedrock_pipeline.prompts.template import Template, is_blank
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.job_tags import check_tags
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.raised_limit import RaisedLimit, check_factor, check_has_limit
from bedrock_pipeline.records.result_schema import RESERVED, check_carry
from bedrock_pipeline.records.table_names import table_names_problem
from bedrock_pipeline.settings import PriceOverride
from bedrock_pipeline.sources import CsvFormat, Destination, SourceLike, Table, UpstreamAsset
from bedrock_pipeline.sources.attachment_roots import AttachmentRoots
from bedrock_pipeline.user_model import UserModel

#: What happens to fewer records than a job needs (docs/records.md).
BelowMinimum = Literal["on_demand", "pad", "hold", "fail"]


class BasePipeline(UserModel):
    """What pipelines of datasets and of queues have in common: name, model, limits, retries, prices."""

    #: The fields that a dataset may set differently, in the ledger's `datasets.request`.
    dataset_settings: ClassVar[frozenset[str]] = frozenset({"below_minimum"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    """Prefix of every asset, partition and ledger key: `[a-z][a-z0-9_]{0,39}`."""
    model_id: str = Field(min_length=1, max_length=2048)
    """Id or ARN of a foundation model, inference profile or custom model."""
    check_model: bool = True
    """Whether an error is raised for what the built-in catalog of models excludes (`bedrock-pipeline models`): a model
    without batch inference, an id that needs an inference profile, parameters that the model rejects; and whether records
    are rejected whose request bodies the model would reject (docs/prompts.md). Turn it off where the catalog is out of
    date."""
    family: str | None = None
    """The model family (`claude`, `nova`, …) whose request format the model uses; None: derived from the model id."""
    invocation: Literal["InvokeModel", "Converse"] = "InvokeModel"
    """`Converse` sends request bodies of the Converse API instead of the model's own."""
    limits: Limits | None = None
    """Limits of its jobs; None: Bedrock's defaults for the model."""
    quota_group: str | None = None
    """The model whose slots its jobs use, where `model_id` does not name it (the ARN of an application inference profile),
    or any name for slots of their own; None: the model of `model_id`."""
    job_tags: dict[str, str] = Field(default_factory=dict)
    """Tags of its jobs, beside those of the deployment (docs/aws.md)."""
    job_options: JobOptions | None = None
    """Role, output bucket, owners, output KMS key, VPC and name prefix of its jobs, in place of the deployment's (docs/aws.md)."""
    timeout_hours: int = Field(default=72, ge=24, le=168)
    """Hours after which Bedrock lets a job expire."""
    below_minimum: BelowMinimum = "on_demand"
    """What happens to fewer records than a job needs, in a dataset, a flush or a retry round: sent one by one at the
    on-demand price (`on_demand`), filled up with filler records that are paid for (`pad`), kept until an operator
    decides or more records come (`hold`), or an error (`fail`)."""
    on_demand_tier: Literal["default", "flex"] = "default"
    """The service tier of on-demand calls: `flex` is cheaper and slower, for models that have it (docs/costs.md)."""
    max_record_attempts: int = Field(default=3, ge=1, le=20)
    """How often a record is sent automatically; after that, an error of its own is final, and any other waits for an operator."""
    accept_incomplete: tuple[Incomplete, ...] = ()
    """Kinds of incomplete responses that count as answers all the same: `cut-off`, `declined`, `filtered`, `context-full`,
    `paused`, `malformed`, `broken-off`, `empty`; otherwise each is a final error of its record (docs/records.md)."""
    retry_incomplete: tuple[Incomplete, ...] = ()
    """Kinds of incomplete responses whose records are sent again, up to `max_record_attempts`, as they are but for
    `max_tokens_factor`."""
    max_tokens_factor: float = Field(default=1.0, ge=1, le=100)
    """By what the limit of tokens is multiplied each time that a response which was cut off is sent again, up to what the
    model can write as the catalog knows it; it needs `cut-off` in `retry_incomplete`."""
    count_tokens: bool = False
    """Whether Bedrock counts the input tokens of a sample of the requests (CountTokens, free of charge) before they are
    submitted, so that estimates and `max_cost_usd` are by its count, for models that have it (docs/costs.md)."""
    keep_raw_output: bool = False
    """Whether the results keep the model's whole output as JSON."""
    prices: dict[str, PriceOverride] = Field(default_factory=dict)
    """Prices of models by id or ARN, where the built-in ones are wrong or missing."""
    dagster: Any = Field(default=None, exclude=True, repr=False)
    """A `DagsterOptions`: partitions, asset keys, owners, tags, checks and so on in Dagster (docs/dagster.md)."""

    @property
    def model_family(self) -> Family:
        """The family whose request bodies are sent."""
        return family_of(self.model_id, converse=self.invocation == "Converse", name=self.family)

    @property
    def body_rules(self) -> BodyRules:
        """What its model rejects in request bodies."""
        return BodyRules(self.model_family, self.model_id, self.check_model)

    @property
    def effective_limits(self) -> Limits:
        """The limits in force."""
        card = card_of(self.model_id)
        return self.limits or (Limits(max_records=card.max_records) if card else Limits())

    @property
    def raised_limit(self) -> RaisedLimit:
        """How the limit of tokens is raised for a response that was cut off."""
        card = card_of(self.model_id)
        return RaisedLimit(
            self.model_family.limits, self.max_tokens_factor, card.max_output if card else None
        )

    def group_in(self, region: str, account: str | None) -> QuotaGroup:
        """The quota group whose slots this pipeline's jobs use in a region of an account."""
        return QuotaGroup.named(self.quota_group or self.model_id, region, account)

    def answer_columns(self) -> AnswerColumns | None:
        """The result columns of a structured response; None without a response schema."""
        return None

    def _check(self) -> None:
        if both := sorted({*self.accept_incomplete} & {*self.retry_incomplete}):
            raise ValueError(f"accept_incomplete and retry_incomplete both have {', '.join(both)}")
        try:
            check_tags(self.job_tags)
        except ValueError as error:
            raise ValueError(f"job_tags: {error}") from None
        if self.check_model:
            check_model_id(self.model_id, converse=self.invocation == "Converse")
            check_tier(self.model_id, self.on_demand_tier)
        if self.max_tokens_factor > 1:
            check_factor(self.retry_incomplete, self.model_family.name, self.model_family.limits)

    def for_dataset(self, request: dict[str, Any]) -> Self:
        """This pipeline with the settings of one dataset.

        Raises:
            ConfigurationError: a setting is not one of `dataset_settings`, or its value is not valid.
        """
        if unknown := request.keys() - self.dataset_settings:
            raise ConfigurationError(
                f"A dataset of pipeline {self.name!r} cannot set {', '.join(sorted(unknown))}.",
                f"It can set {', '.join(sorted(self.dataset_settings))}.",
            )
        try:
            return self.model_validate({**dict(self), **request})
        except ConfigurationError as error:
            raise ConfigurationError(
                f"The settings of the dataset do not fit pipeline {self.name!r}. {error.what}",
                "Launch it with other settings.",
            ) from None


class Pipeline(BasePipeline):
    """Datasets: where records come from, the prompt, the model, the limits.

    Give one of `prompt`, `messages`, `render` and `model_input` (docs/prompts.md).

    Raises:
        ConfigurationError: names the pipeline and each field that is wrong.
    """

    dataset_settings: ClassVar[frozenset[str]] = frozenset(
        (
            *("source", "prompt", "model_input", "model_id", "system", "parameters", "family", "invocation"),
            *(
                "messages",
                "examples",
                "documents",
                "images",
                "attachment_roots",
                "answer_schema",
                "answer_by",
                "record_id",
            ),
            *(
                "carry",
                "column_types",
                "csv",
                "missing_columns",
                "null_text",
                "below_minimum",
                "max_cost_usd",
            ),
            "max_tokens",  # one of the parameters; `parameters` are all of them
        )
    )

    source: str | list[str] | Table | UpstreamAsset | Callable[[str], SourceLike] | None = None
    """File, glob, folder or s3:// location, in which `{dataset}` stands for the dataset's key; a query or a table
    (`SqlQuery`, `DeltaTable`, `IcebergTable`); an `UpstreamAsset` of Dagster; or a function from the key to any of these
    but the last, to an Arrow table or reader, a data frame or a `Source`; None: each dataset gives its own when it is launched."""
    prompt: str | None = None
    """Template of the user message, with `{{ column }}` for the value of a column and `{{ column.field }}` for a field in
    it."""
    messages: str | None = None
    """Column that holds a conversation, a list of `role` and `content`, instead of `prompt`."""
    render: Callable[[dict[str, Any]], Any] | None = None
    """Function from a row, a dict, to its prompt or its list of messages, instead of `prompt`."""
    render_version: str = ""
    """Any text; change it when `render` changes, so that datasets are processed again."""
    model_input: str | None = None
    """Column that holds the whole request body as JSON, instead of `prompt`."""
    system: str | None = None
    """Template of the system prompt."""
    examples: tuple[tuple[str, str], ...] = ()
    """Pairs of templates, of a user message and the assistant's answer to it, that precede the prompt."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Model parameters such as `max_tokens` and `temperature`."""
    images: tuple[str, ...] = ()
    """Columns with images: bytes, data URI, base64, or beneath `attachment_roots` an s3:// URI or absolute path, or a list of
    these."""
    documents: tuple[str, ...] = ()
    """Columns with documents (PDF, Word, Excel, CSV, HTML, Markdown, text), given as images are."""
    attachment_roots: tuple[str, ...] = ()
    """Folders (absolute paths, s3:// URIs) beneath which cells may name images and documents; without one, the cells must
    contain them."""
    answer_schema: type[BaseModel] | dict[str, Any] | str | None = None
    """A pydantic model or a JSON schema (dict or text) of the response; its properties become columns
    (docs/models.md)."""
    answer_by: AnswerBy | None = None
    """How the model is made to follow the schema: by a `tool` that it must use, or by `schema`, Bedrock's structured
    output; None: by structured output if the model has it and it supports the schema, else by a tool."""
    record_id: str | None = None
    """Column with the record ids; None: derived from the row's content."""
    carry: tuple[str, ...] = ()
    """Columns that are copied into the results."""
    column_types: dict[str, str] = Field(default_factory=dict)
    """Types of columns by name, for CSV and JSON, where the detected ones are wrong."""
    csv: CsvFormat = CsvFormat()
    """How CSV files are written: delimiter, encoding and so on (docs/pipelines.md); what is not given is found in their
    beginning."""
    missing_columns: Literal["error", "null"] = "error"
    """Whether a column that some files of CSV or parquet do not have is an error, or null in their rows."""
    null_text: str | None = None
    """Text for a null in a prompt; None: the row is rejected."""
    ask_identical_once: bool = True
    """Whether records with identical requests are sent once and share the response; turn it off to sample."""
    max_cost_usd: Decimal | None = Field(default=None, gt=0, lt=10**12)
    """What a dataset may cost in US dollars; nothing is submitted beyond it until an operator approves
    (docs/costs.md)."""
    publish_to: Destination | None = None
    """A table of Delta Lake or Iceberg into which results are published too (docs/tables.md)."""
    daily: bool = False
    """Whether a schedule launches a dataset a day, whose key is the date of the day that has ended (docs/dagster.md)."""

    @field_validator("carry", "images", "documents", "attachment_roots", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    def _check(self) -> None:
        super()._check()
        ways = [
            name
            for name in ("prompt", "messages", "render", "model_input")
            if getattr(self, name) is not None
        ]
        if len(ways) != 1:
            raise ValueError(
                "give one of prompt (a template), messages (a column with messages), render (a function) and model_input "
                f"(a column with the whole body){', not ' + ' and '.join(ways) if ways else ''}"
            )
        if getattr(self.render, "__name__", "") == "<lambda>":
            raise ValueError("render: a lambda has no name to tell versions apart; define a function")
        if self.model_input is not None:
            for name in ("images", "documents", "examples", "system"):
                if getattr(self, name):
                    raise ValueError(f"{name}: they need a prompt; a body in model_input contains its own")
            if self.parameters and not self.model_family.embeds:
                raise ValueError(
                    "parameters: a body in model_input contains its own, and these would not be sent; write them into the "
                    "bodies, or leave them out"
                )
        if self.check_model and self.model_input is None:
            check_inputs(self.model_id, images=bool(self.images), documents=bool(self.documents))
        try:
            AttachmentRoots(self.attachment_roots)
        except ValueError as error:
            raise ValueError(f"attachment_roots: {error}") from None
        check_carry(self.carry, self.record_id)
        answers = self.answer_columns()
        names = [field.name for field in answers.fields] if answers else []
        if self.publish_to and (problem := table_names_problem(self.carry, names, self.publish_to.kind)):
            raise ValueError(f"publish_to: {problem}")
        if self.answer_schema is not None and (self.model_family.embeds or self.model_family.name == "raw"):
            raise ValueError(
                f"answer_schema: responses of {self.model_id} cannot be read (family {self.model_family.name}); "
                "give the model's request format with family or invocation"
            )
        if self.model_input is None:
            check_body_known(self.model_id, self.model_family)
            self._check_request()
        else:
            self.model_family.check_parameters(self.parameters)

    def _check_request(self) -> None:
        """Raise a ValueError if the model does not take the requests that the prompt makes."""
        templates = [("prompt", self.prompt), ("system", self.system)]
        templates += [("examples", text) for pair in self.examples for text in pair]
        for name, text in templates:
            if text is not None:
                Template(text, name)
        answer = self.answer_format
        if answer and self.check_model:
            check_answers(self.model_id, self.model_family, self.answer_by)
        if answer and answer.by == "schema" and (why := why_not_bound(answer.schema)):
            raise ValueError(
                f"answer_schema: structured output does not support that {why}; change it, or choose a model and an invocation "
                "with answer_by='tool'"
            )
        before = (Turn("user", ("",)), Turn("assistant", ("",))) if self.examples or self.messages else ()
        images = ("",) if self.images else ()
        model_request = ModelRequest(
            self.prompt or "", self.system, self.request_parameters, images, answer, before
        )
        self.model_family.check(model_request)
        if self.documents and "documents" not in self.model_family.takes:
            self.model_family.document("", "", b"")
        blank = self.prompt is not None and is_blank(self.prompt)
        if self.check_model and self.documents and blank and self.invocation == "Converse":
            raise ValueError("prompt: it is blank, but Converse needs a text beside documents; write one")
        body = self.model_family.body(model_request)
        if problem := self.body_rules.settings_problem(body):
            raise ValueError(f"parameters: {problem}, or set check_model=False if the catalog is out of date")
        if self.max_tokens_factor > 1:
            check_has_limit(body, self.model_family.limits)

    @property
    def request_parameters(self) -> dict[str, Any]:
        """The parameters of its requests: its own, and those that its model needs where it has none."""
        if self.model_input is not None:
            return self.parameters
        given = with_room(self.parameters) if self.model_family.name == "claude" else self.parameters
        return with_defaults(self.model_id, given)

    @property
    def answer_format(self) -> AnswerFormat | None:
        """The form of a structured response; None without a response schema."""
        if (schema := self.structure) is None:
            return None
        return AnswerFormat(schema.schema, self.answer_by or self._answer_by(schema.schema))

    def _answer_by(self, schema: Json) -> AnswerBy:
        """The best way that the model has for a schema."""
        ways = answers_of(self.model_id, self.model_family) or ("tool",)
        return next((way for way in ways if way == "tool" or not why_not_bound(schema)), ways[0])

    def answer_columns(self) -> AnswerColumns | None:
        """The result columns of a structured response; None without a response schema.

        Raises:
            AnswerSchemaError: the schema cannot be used.
        """
        if schema := self.structure:
            by = self.answer_by or self._answer_by(schema.schema)
            return AnswerColumns(schema, {*RESERVED, *self.carry}, by)
        return None

    @property
    def structure(self) -> AnswerSchema | None:
        """The schema of a structured response; None if there is none.

        Raises:
            AnswerSchemaError: it cannot be used.
        """
        if isinstance(self.answer_schema, str):
            return AnswerSchema.from_text(self.answer_schema)
        return None if self.answer_schema is None else AnswerSchema(self.answer_schema)

    def for_dataset(self, request: dict[str, Any]) -> Self:
        """This pipeline with the settings of one dataset; its `prompt`, `messages` or `model_input` replaces the pipeline's.

        Raises:
            ConfigurationError: a setting is not one of `dataset_settings`, or its value is not valid.
        """
        changes = dict(request)
        if (limit := changes.pop("max_tokens", None)) is not None:
            changes["parameters"] = with_limit(changes.get("parameters", self.parameters), limit)
        if any(changes.get(name) for name in ("prompt", "messages", "model_input")):
            others = {"prompt", "messages", "model_input", "render"} - changes.keys()
            return super(Pipeline, self.model_copy(update=dict.fromkeys(others))).for_dataset(changes)
        return super().for_dataset(changes)
