"""The pipelines of a module, as commands that need their definitions find them."""

from collections.abc import Mapping
from typing import TypeVar

import click

from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.pipeline import BasePipeline, Pipeline

P = TypeVar("P", bound=BasePipeline)
module_option = click.option(
    "-m",
    "--module",
    default="bedrock_pipeline.definitions",
    show_default=True,
    help="Python module that defines PIPELINE.",
)


def pipeline_in(module: str, name: str) -> BasePipeline:
    """A pipeline, of datasets or of a queue, of a module.

    Raises:
        NotFoundError: the module has none of this name.
    """
    from bedrock_pipeline.orchestration.code_location import pipelines_of  # it imports Dagster

    return _named(pipelines_of(module), module, name)


def dataset_pipeline_in(module: str, name: str) -> Pipeline:
    """A pipeline of datasets of a module.

    Raises:
        NotFoundError: the module has none of this name.
    """
    from bedrock_pipeline.orchestration.code_location import pipelines_of

    found = {key: one for key, one in pipelines_of(module).items() if isinstance(one, Pipeline)}
    return _named(found, module, name)


def _named(pipelines: Mapping[str, P], module: str, name: str) -> P:
    if name not in pipelines:
        raise NotFoundError(
            f"Module {module} has no pipeline {name!r}.",
            f"It has: {', '.join(pipelines) or 'none'}; name yours with --module.",
        )
    return pipelines[name]
