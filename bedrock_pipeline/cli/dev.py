"""`dev`: everything on this machine, with Dagster's UI, until Ctrl-C.

What belongs here: the command.
"""

import signal
import threading

import click

from bedrock_pipeline.cli.output import console
from bedrock_pipeline.local import default_home


@click.command()
@click.option(
    "-m", "--module", default="bedrock_pipeline.definitions", show_default=True, help="Your code location."
)
@click.option("--port", default=3000, show_default=True, help="The UI's port; 0 for a free one.")
@click.option(
    "--speed", default=60.0, show_default=True, help="How much faster than Bedrock the emulated jobs run."
)
@click.option("--poll-seconds", default=5, show_default=True, help="Seconds between two polls of Bedrock.")
def dev(module: str, port: int, speed: float, poll_seconds: int) -> None:
    """Run Postgres, S3, the Bedrock emulator and Dagster on this machine."""
    from bedrock_pipeline.cli.services import running

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    home = default_home()
    console.print(f"No AWS setting is needed: everything runs on this machine, in {home}.", soft_wrap=True)
    with running(home, module=module, speed=speed, poll_seconds=poll_seconds, ui_port=port) as services:
        console.print(f"Dagster's UI: {services.url} (Ctrl-C ends everything)")
        done.wait()
