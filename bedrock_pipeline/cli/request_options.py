"""The options that say what is sent to a model: a command has those of a pipeline's settings of these names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click

from bedrock_pipeline.cli.output import JsonObject, csv_option
from bedrock_pipeline.models.family import AnswerBy

_Command = TypeVar("_Command", bound=Callable[..., Any])
SCHEMA_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
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
    click.option("--parameters", type=JsonObject(), help="Model parameters as a JSON object."),
    *body_options,
    click.option(
        "--schema",
        type=SCHEMA_FILE,
        help="File with the JSON schema of the responses; its properties become columns.",
    ),
    click.option(
        "--answer-by",
        type=click.Choice(get_args(AnswerBy)),
        help="How the schema is requested; default: as the model has it.",
    ),
    click.option("--record-id", help="Column with the record ids; default: derived from the row's content."),
    click.option("--carry", multiple=True, help="Column to copy into the results; repeatable."),
    csv_option,
)


def request_options(command: _Command) -> _Command:
    """All of them."""
    return with_options(_OPTIONS, command)


def with_options(options: tuple[Callable[[Any], Any], ...], command: _Command) -> _Command:
    """A command with several options, which its help shows in this order."""
    for option in reversed(options):
        command = option(command)
    return command
