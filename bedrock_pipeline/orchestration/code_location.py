"""The pipelines of a code location, for commands that need their definitions without running Dagster."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Final

from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.workspace.autodiscovery import LoadableTarget, loadable_targets_from_loaded_module
from dagster._utils.test.definitions import LazyDefinitions

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import BasePipeline

_BUILT: Final[ContextVar[list[BasePipeline] | None]] = ContextVar("built", default=None)


def built(pipelines: Iterable[BasePipeline]) -> None:
    """Note the pipelines of a set of definitions, if somebody loads a code location for its pipelines."""
    collected = _BUILT.get()
    if collected is not None:
        collected.extend(pipelines)


def pipelines_of(module: str) -> dict[str, BasePipeline]:
    """The pipelines of a module, by name: its own, and those of the definitions that Dagster would load from it.

    Raises:
        ConfigurationError: there is no such module, or it names one that is not there.
    """
    with _collected() as found:
        try:
            loaded = import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"The module {module!r} cannot be imported: {error}.",
                "Name it as `dagster definitions validate -m` takes it, in the folder from which that works.",
            ) from error
        targets: Iterable[LoadableTarget] = ()
        with suppress(DagsterInvariantViolationError):  # it has no definitions, but maybe a pipeline
            targets = loadable_targets_from_loaded_module(loaded)
        for target in targets:
            definition = target.target_definition
            if isinstance(definition, LazyDefinitions):  # `@definitions`, as `dg` projects have it
                definition()
    own = [value for value in vars(loaded).values() if isinstance(value, BasePipeline)]
    return {pipeline.name: pipeline for pipeline in (*found, *own)}


@contextmanager
def _collected() -> Iterator[list[BasePipeline]]:
    """What is built during the block. Modules are also found in the current folder, as Dagster finds them."""
    found: list[BasePipeline] = []
    token, here = _BUILT.set(found), str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)  # last: a file there replaces no library
    try:
        yield found
    finally:
        if added:
            sys.path.remove(here)
        _BUILT.reset(token)
