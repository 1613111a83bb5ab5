"""The pipelines of a module, as commands that need their definitions find them."""

import re
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bedrock_pipeline.cli.output import Number
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.pipeline import BasePipeline, Pipeline

_OWN_MODEL: Final = re.compile(r"[^=]+=([\w.]+):\w+")
P = TypeVar("P", bound=BasePipeline)
_Command = TypeVar("_Command", bound=Callable[..., Any])
module_option = click.option(
    "-m",
    "--module",
    default="bedrock_pipeline.definitions",
    show_default=True,
    help="Python module that defines PIPELINE.",
)


def _check_own_models(
    _ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    for one in given:
        found = _OWN_MODEL.fullmatch(one)
        if found is None:
            raise click.BadParameter(f"{one!r} is not of the form ID=module:function.")
        check_module(found[1])
    return given


#: The option of commands that start the emulator.
own_models_option = click.option(
    "--model",
    "own_models",
    multiple=True,
    metavar="ID=MODULE:FUNCTION",
    callback=_check_own_models,
    help="A model of your own, for the emulator: a function from a request's body to its response's; repeatable.",
)


def speed_option(default: float) -> Callable[[_Command], _Command]:
    """The option of every command that starts the emulator."""
    return click.option(
        "--speed",
        type=Number(min=0, min_open=True),
        default=default,
        show_default=True,
        help="How much faster than Bedrock the emulated jobs run.",
    )


def check_module(module: str) -> None:
    """Check that there is a module of this name, without importing more of it than the packages around it.

    Raises:
        NotFoundError: there is none; names what is near in the current folder.
    """
    if _is_there(module):
        return
    folder = Path.cwd()
    here = {one.stem for one in folder.glob("*.py")} | {
        one.parent.name for one in folder.glob("*/__init__.py")
    }
    near = get_close_matches(module, sorted(here), n=1)
    raise NotFoundError(
        f"There is no module {module!r}.",
        f"Did you mean {near[0]!r}?" if near else "Name one in the current folder, or one that is installed.",
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (
        ModuleNotFoundError
    ) as error:  # of a package around it; or of what that imports, reported when it is loaded
        return not f"{module}.".startswith(f"{error.name}.")
    except Exception:  # whatever the package around it raises, it does so again when it is loaded
        return True


def pipeline_in(module: str, name: str) -> BasePipeline:
    """A pipeline, of datasets or of a queue, of a module.

    Raises:
        NotFoundError: there is no such module, or it has none of this name.
    """
    from bedrock_pipeline.orchestration.code_location import pipelines_of  # it imports Dagster

    check_module(module)
    return _named(pipelines_of(module), module, name)


def dataset_pipeline_in(module: str, name: str) -> Pipeline:
    """A pipeline of datasets of a module.

    Raises:
        NotFoundError: the module has none of this name.
    """
    from bedrock_pipeline.orchestration.code_location import pipelines_of

    check_module(module)
    found = {key: one for key, one in pipelines_of(module).items() if isinstance(one, Pipeline)}
    return _named(found, module, name)


def _named(pipelines: Mapping[str, P], module: str, name: str) -> P:
    if name not in pipelines:
        file = getattr(sys.modules.get(module), "__file__", None)
        raise NotFoundError(
            f"Module {module}{f' ({file})' if file else ''} has no pipeline {name!r}.",
            f"It has: {', '.join(pipelines) or 'none'}; name yours with --module.",
        )
    return pipelines[name]
