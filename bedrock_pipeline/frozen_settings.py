"""Settings that are frozen when something is launched, and the pipeline that they stand for later.

A version of a dataset is finished by what it was launched with, whatever the code says meanwhile: its records are sent again,
judged and priced by the pipeline that `thaw` makes. What cannot be frozen are the validators of a pydantic class: they apply
while the code's class still has the schema of the request.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.rows import DatasetRow, FrozenSettings
from bedrock_pipeline.models.structured import COLUMNS
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

#: What decides the responses, besides the snapshot. Everything else is a limit, a price or a policy.
_CONTENT: Final = (
    *("name", "model_id", "family", "invocation", "prompt", "model_input", "system", "parameters", "images"),
    *("documents", "messages", "examples", "render", "render_version"),
    *("answer_schema", "answer_by", "carry", "null_text", "ask_identical_once", "template"),
)
#: Where the input is, what an operator may change at any time, and what has no meaning after the launch.
_NOT_FROZEN: Final = frozenset(
    {"source", "attachment_roots", "render", "answer_schema", "daily", "flush_policy", "max_cost_usd"}
)
#: What a document has besides the fields of a pipeline.
_OWN: Final = frozenset({"kind", "template", "validators"})


def freeze(pipeline: BasePipeline, template: bytes = b"") -> FrozenSettings:
    """The settings of a pipeline as they are now.

    Args:
        pipeline: with the request of the dataset.
        template: what every request has in common, as rendered; it changes with the renderer of this package too.
    """
    document: dict[str, Any] = {
        "kind": "queue" if isinstance(pipeline, QueuePipeline) else "dataset",
        **pipeline.model_dump(mode="json", exclude=set(_NOT_FROZEN)),
        # Resolved: later defaults for the model must not apply.
        "limits": pipeline.effective_limits.model_dump(mode="json"),
        "template": hashlib.sha256(template).hexdigest(),
    }
    if pipeline.invocation != "Converse":
        document["family"] = pipeline.model_family.name
    if isinstance(pipeline, Pipeline):
        document["parameters"] = pipeline.request_parameters
        if pipeline.render is not None:
            document["render"] = name_of(pipeline.render)
    if isinstance(pipeline, Pipeline) and pipeline.answer_format:
        document["answer_schema"] = _schema_of(pipeline)
        document["answer_by"] = pipeline.answer_format.by
        if isinstance(pipeline.answer_schema, type):
            document["validators"] = (
                f"{pipeline.answer_schema.__module__}.{pipeline.answer_schema.__qualname__}"
            )
    return FrozenSettings(
        digest=_digest(document),
        content_digest=_digest({name: document.get(name) for name in _CONTENT}),
        document=orjson.dumps(document).decode(),
    )


def thaw(
    settings: FrozenSettings, code: BasePipeline | None = None, *, validates: bool = True
) -> BasePipeline:
    """The pipeline that was frozen.

    Args:
        settings: what was frozen.
        code: the pipeline of that name as the code has it now; its answer class is used if it still has the frozen schema.
            Its prices are used for models that had none.
        validates: whether that class judges responses; otherwise its schema does.
    """
    document = orjson.loads(settings.document)
    # What a later catalog says about the model must not stop what was launched.
    fields = {name: value for name, value in document.items() if name not in _OWN} | {"check_model": False}
    if document.get("render"):
        fields["render"] = _Rendered(document["render"])
    has_validators = validates and document.get("validators") and not lacks_validators(settings, code)
    if isinstance(code, Pipeline) and has_validators:
        fields["answer_schema"] = code.answer_schema
    if code is not None:
        fields["prices"] = {**code.prices, **fields["prices"]}
    kind = QueuePipeline if document["kind"] == "queue" else Pipeline
    # But records are rejected by the rules that were in force.
    return kind.model_validate(fields).model_copy(update={"check_model": document["check_model"]})


@dataclass(frozen=True, slots=True)
class _Rendered:
    """Stands for the function that rendered the prompts when the snapshot was taken."""

    name: str

    def __call__(self, row: dict[str, Any]) -> Any:  # noqa: ARG002  # the function's
        raise StateError(f"{self.name} has rendered this dataset.", "Launch it again to render it again.")


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function that is part of a version; its code is not."""
    if isinstance(function, _Rendered):
        return function.name
    kind = type(function)
    module = getattr(function, "__module__", kind.__module__)
    return f"{module}.{getattr(function, '__qualname__', kind.__qualname__)}"


def lacks_validators(settings: FrozenSettings, code: BasePipeline | None) -> str | None:
    """The answer class whose validators the code no longer has with the frozen schema; None if there is no such class."""
    document = orjson.loads(settings.document)
    name: str | None = document.get("validators")
    if name is None:
        return None
    if not isinstance(code, Pipeline) or not isinstance(code.answer_schema, type) or not code.answer_format:
        return name
    return None if _schema_of(code) == document["answer_schema"] else name


def pipeline_of(
    ledger: Ledger, digest: str, code: BasePipeline | None, row: DatasetRow | None = None
) -> BasePipeline:
    """The pipeline that a chunk or a version is finished by.

    Args:
        ledger: has the frozen settings.
        digest: of the chunk or the version.
        code: the pipeline as the code has it now.
        row: the dataset, if what an operator has decided about its current version applies too.
    """
    pipeline = thaw(ledger.versions.settings(digest), code)
    if row is None or row.below_minimum is None:
        return pipeline
    return pipeline.model_copy(update={"below_minimum": row.below_minimum})


def _schema_of(pipeline: Pipeline) -> str | None:
    """The schema of its responses, with that of their columns if it is another.

    As text: the order of the properties is the one in which models answer.
    """
    structure = pipeline.structure
    if structure is None:
        return None
    other = {} if structure.columns == structure.schema else {COLUMNS: structure.columns}
    return orjson.dumps({**structure.schema, **other}).decode()


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
