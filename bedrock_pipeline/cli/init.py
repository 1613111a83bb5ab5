"""Command `init`: a small project that runs as it is."""

import re
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import click

from bedrock_pipeline.cli.output import console
from bedrock_pipeline.errors import ConfigurationError

#: Where each file of the project goes.
_FILES: Final = {
    "my_pipelines.py": "my_pipelines.py",
    "sample.jsonl": "inputs/sample.jsonl",
    "README.md": "README.md",
    "gitignore": ".gitignore",
}
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_]+")
_NAME: Final = re.compile("[a-z][a-z0-9_]{0,39}")


@click.command()
@click.argument("name", required=False)
def init(name: str | None) -> None:
    """Write a small project that runs as it is.

    It has a pipeline, a sample input and a README. NAME is a new folder and the name of the pipeline; without it, the project is written into the current folder, and the
    pipeline is called after that.

    Example: bedrock-pipeline init reviews
    """
    folder = Path(name or ".")
    pipeline = _NOT_IN_NAMES.sub("_", folder.resolve().name.lower()).strip("_")
    if not _NAME.fullmatch(pipeline):
        raise ConfigurationError(
            f"{folder.resolve().name!r} cannot be the name of a pipeline.",
            "Choose one of at most 40 letters, digits and underscores that begins with a letter.",
        )
    if there := [target for target in _FILES.values() if (folder / target).exists()]:
        raise ConfigurationError(
            f"{folder.resolve()} already has {', '.join(there)}; nothing was written.",
            "Choose another name, or another folder.",
        )
    for source, target in _FILES.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = files("bedrock_pipeline.cli").joinpath("project", source).read_text()
        path.write_text(Template(text).safe_substitute(name=pipeline))
    console.print(
        f"Wrote {', '.join(_FILES.values())} in {folder.resolve()}.", soft_wrap=True, highlight=False
    )
    console.print("\nNext:", highlight=False)
    enter = [f"cd {shlex.quote(str(folder))}"] if name else []
    for command in (
        *enter,
        "bedrock-pipeline dev -m my_pipelines    # leave it running; Ctrl-C ends it",
        f"bedrock-pipeline launch {pipeline} sample    # in another terminal",
        f"bedrock-pipeline status {pipeline}",
        f"bedrock-pipeline show {pipeline} sample",
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False)
