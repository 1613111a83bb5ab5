"""The options that say what is sent to a model: a command has those of a pipeline's settings of these names.

What belongs here: the options, and the settings of a dataset that follow from them.
"""

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
from pydantic import ValidationError

from bedrock_pipeline.cli.group import SETTINGS, RejectedOptionError
from bedrock_pipeline.cli.output import Count, JsonObject, csv_option
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.known_names import check_request_names
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.catalog import check_body_known, check_output_known, similar, with_limit
from bedrock_pipeline.models.family import AnswerBy, Family
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.dataset_request import check_request
from bedrock_pipeline.sources import DeltaTable, IcebergTable, SqlQuery, absolute_location, open_location
from bedrock_pipeline.sources.finding import Objects
from bedrock_pipeline.sources.location import FilesSource

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SCHEMA_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_TABLE_OPTIONS: Final = ("sql", "dsn_env", "driver", "delta", "iceberg")
#: How the errors of pipelines write a field: with a value, before a colon, or by a name that is no word of the sentence.
_FIELD: Final = re.compile(r"(?<![.\w'])(?:limits\.)?(?:([a-z_]+)(?:='(\w+)'|(?=: ))|([a-z]+_[a-z_]+)\b)")
#: Which body a model gets.
body_options: Final = (
    click.option("--family", help="Model family whose request format is used; default: the model's."),
    click.option(
        "--invocation",
        type=click.Choice(["InvokeModel", "Converse"]),
        help="Whether bodies are the model's own or those of the Converse API.",
    ),
)
_OPTIONS: Final = (
    click.option("--prompt", help="Template of the user message, with {{ column }}."),
    click.option("--messages", help="Column with messages, a list of role and content, instead of a prompt."),
    click.option("--model-input", help="Column with the whole request body, instead of a prompt."),
    click.option("--system", help="Template of the system prompt."),
    click.option(
        "--example",
        "examples",
        nargs=2,
        multiple=True,
        metavar="USER ASSISTANT",
        help="Templates of a user message and of the answer to it, which precede the prompt; repeatable.",
    ),
    click.option("--image", "images", multiple=True, help="Column with images; repeatable."),
    click.option("--document", "documents", multiple=True, help="Column with documents; repeatable."),
    click.option(
        "--attachment-root",
        "attachment_roots",
        multiple=True,
        metavar="PLACE",
        help="Folder or s3:// URI beneath which cells may name images and documents; repeatable.",
    ),
    click.option("--parameters", type=JsonObject(), help="All model parameters, as a JSON object."),
    click.option(
        "--max-tokens",
        type=Count(min=1),
        help="The most tokens of a response; other parameters stay as they are.",
    ),
    *body_options,
    click.option(
        "--schema",
        type=_SCHEMA_FILE,
        help="File with the JSON schema of the responses; its properties become columns.",
    ),
    click.option(
        "--answer-by",
        type=click.Choice(get_args(AnswerBy)),
        help="How the schema is requested; default: as the model has it.",
    ),
    click.option("--record-id", help="Column with the record ids; default: derived from the row's content."),
    click.option("--carry", multiple=True, help="Column to copy into the results; repeatable."),
    click.option("--null-text", help="Text of a null in the prompt; without it the row is rejected."),
    csv_option,
    click.option(
        "--column-type",
        "column_types",
        nargs=2,
        multiple=True,
        metavar="COLUMN TYPE",
        help="Type of a column of CSV or JSON: string, int64, float64 or bool; repeatable.",
    ),
    click.option(
        "--missing-columns",
        type=click.Choice(["error", "null"]),
        help="Whether a column that some files do not have is an error, or null in their rows.",
    ),
)


def request_options(command: _Command) -> _Command:
    """All of them."""
    return with_options(_OPTIONS, command)


def with_options(options: tuple[Callable[[Any], Any], ...], command: _Command) -> _Command:
    """A command with several options, which its help shows in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def dataset_request(
    *, source: str | None = None, model: str | None = None, schema: Path | None = None, **options: Any
) -> dict[str, Any]:
    """The settings of a dataset as the ledger keeps them, from the options of a command; paths become absolute.

    Raises:
        UsageError: the options name several inputs, or a query without its database.
        ArgumentError: a family, a column's type or a field of `--csv` is unknown.
        RejectedOptionError: the results cannot have a column that is to be copied into them.
        AnswerSchemaError: the file contains no JSON schema that can be used.
    """
    table = _table(source, {name: options.pop(name, None) for name in _TABLE_OPTIONS})
    types = dict(options.pop("column_types", ()))
    request = {name: _as_kept(value) for name, value in options.items()}
    request["column_types"] = types or None
    check_request_names(request)
    try:
        check_request(request)
    except ValueError as error:
        raise _rejected(str(error)) from None
    request["model_id"] = model
    request["attachment_roots"] = [absolute_location(root) for root in request.get("attachment_roots") or ()]
    if source is not None:
        request["source"] = absolute_location(source)
    elif table is not None:
        request["source"] = table.model_dump(exclude_none=True)
    if schema is not None:
        request["answer_schema"] = _read_schema(schema)
    return {name: value for name, value in request.items() if value is not None and value != []}


def pipeline_of_options(name: str, request: dict[str, Any], **own: Any) -> Pipeline:
    """The pipeline that options alone describe, without one in code.

    Raises:
        RejectedOptionError: they do not fit each other; names them as they are written on the command line.
    """
    settings = {"name": name, **request, **own}
    if limit := settings.pop("max_tokens", None):
        settings["parameters"] = with_limit(settings.get("parameters", {}), limit)
    try:
        return Pipeline.model_validate(settings)
    except ConfigurationError as error:
        raise _rejected(error.what) from error


def check_model_option(model: str | None, request: dict[str, Any]) -> None:
    """Check an id that is given without its pipeline, which may know its family: one that looks like a known one is mistyped.

    Raises:
        RejectedOptionError: it is; names what is near.
    """
    if model is None or "model_input" in request or not similar(model):
        return
    try:
        converse = request.get("invocation") == "Converse"
        check_body_known(model, family_of(model, converse=converse, name=request.get("family")))
    except ConfigurationError as error:
        raise _rejected(error.what) from error


def output_family(model: str, family: str | None, invocation: str | None) -> Family:
    """The family whose output is read, by the options of `parse`.

    Raises:
        BodyError: there is no family of that name.
        RejectedOptionError: the model has none that is known, and none is named.
    """
    found = family_of(model, converse=invocation == "Converse", name=family)
    try:
        if family is None:
            check_output_known(model, found)
    except ConfigurationError as error:
        raise _rejected(error.what) from error
    return found


def files_of(
    pipeline: Pipeline, location: str | Sequence[str], objects: Objects | None = None
) -> FilesSource:
    """The files of a location, read as a pipeline says; without S3 they are on this machine."""
    return open_location(
        location,
        objects,  # type: ignore[arg-type]  # a local file needs no S3
        dict(pipeline.column_types),
        csv=pipeline.csv,
        missing_columns=pipeline.missing_columns,
    )


def _rejected(what: str) -> RejectedOptionError:
    """An error of a pipeline, whose fields are written as the options of the current command."""
    called = click.get_current_context()
    flags = {SETTINGS.get(one.name or "", one.name or ""): one.opts[0] for one in called.command.params}

    def as_option(found: re.Match[str]) -> str:
        flag = flags.get(found[1] or found[3])
        return found[0] if flag is None else f"{flag} {found[2] or ''}".rstrip()

    said = _FIELD.sub(as_option, re.sub(r"^Pipeline '\w+': ", "", what)).rstrip(".")
    return RejectedOptionError(f"{said}.", f"The options are explained by `{called.command_path} --help`.")


def flags_of(names: Collection[str]) -> list[str]:
    """The options of the current command that set these parameters, as its help shows them."""
    return [one.opts[0] for one in click.get_current_context().command.params if one.name in names]


def _as_kept(value: Any) -> Any:
    """Tuples as lists, which they are once they are kept as JSON."""
    return [_as_kept(one) for one in value] if isinstance(value, tuple) else value


def _table(source: str | None, given: dict[str, str | None]) -> SqlQuery | DeltaTable | IcebergTable | None:
    """The table that options name; None if they name none."""
    sql, dsn_env, delta, iceberg = (given[name] for name in ("sql", "dsn_env", "delta", "iceberg"))
    inputs = {"--input": source, "--sql": sql, "--delta": delta, "--iceberg": iceberg}
    if len(both := [name for name, value in inputs.items() if value]) > 1:
        raise click.UsageError(f"{' and '.join(both)} each name an input: give one.")
    if bool(sql) != bool(dsn_env) or (given["driver"] and not sql):
        raise click.UsageError(
            "--sql needs --dsn-env, the variable with its database's DSN; --driver goes with both."
        )
    try:
        if sql and dsn_env:
            return SqlQuery(query=sql, dsn_env=dsn_env, driver=given["driver"])
    except ValidationError as error:
        wrong = {str(one["loc"][0]).replace("_", "-") for one in error.errors()}
        raise click.UsageError(
            f"--{', --'.join(sorted(wrong))}: it is a name of letters, digits and _."
        ) from None
    if delta:
        return DeltaTable(location=absolute_location(delta))
    if iceberg:
        catalog, separator, table = iceberg.rpartition(":")
        return IcebergTable(table=table, catalog=catalog) if separator else IcebergTable(table=table)
    return None


def _read_schema(file: Path) -> str:
    """The schema as text: the order of its properties, in which models answer, would not survive a JSON column."""
    text = file.read_text(encoding="utf-8")
    AnswerSchema.from_text(text)  # reports an error here rather than in a run
    return text
