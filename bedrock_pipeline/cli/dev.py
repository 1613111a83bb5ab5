"""Commands `dev`, everything on this machine with Dagster's UI, and `emulator`, the Bedrock emulator alone."""

import sys
from contextlib import suppress

import click

from bedrock_pipeline.cli.output import Count, console
from bedrock_pipeline.cli.pipelines import check_module, own_models_option, speed_option
from bedrock_pipeline.local import default_home
from bedrock_pipeline.local.extra import require_local


@click.command()
@click.option(
    "-m", "--module", default="bedrock_pipeline.definitions", show_default=True, help="Your code location."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=3000,
    show_default=True,
    help="The UI's port; 0 for a free one.",
)
@speed_option(60.0)
@click.option(
    "--poll-seconds",
    type=Count(min=1),
    default=5,
    show_default=True,
    help="Seconds between two polls of Bedrock.",
)
@own_models_option
def dev(module: str, port: int, speed: float, poll_seconds: int, own_models: tuple[str, ...]) -> None:
    """Run everything on this machine, with Dagster's UI.

    That is Postgres, S3, the Bedrock emulator and Dagster, until Ctrl-C.

    Example: bedrock-pipeline dev --module my_pipelines
    """
    from bedrock_pipeline.cli.services import running, stop_event

    check_module(module)
    stop = stop_event(starting=True)
    home = default_home()
    console.print(f"No AWS setting is needed: everything runs on this machine, in {home}.", soft_wrap=True)
    with (
        suppress(KeyboardInterrupt),
        running(
            home, module=module, speed=speed, poll_seconds=poll_seconds, ui_port=port, own_models=own_models
        ) as services,
    ):
        stop.starting = False
        console.print(f"Dagster's UI: {services.url} (Ctrl-C ends everything)", soft_wrap=True)
        stop.wait_while(services.require_running)
    console.print("Ended. The same command goes on from here.")
    sys.exit(stop.exit_code)


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> None:
    """Run the Bedrock emulator alone.

    Example: bedrock-pipeline emulator --port 4567 --data emulator
    """
    require_local()
    from bedrock_pipeline.emulator import main as serve  # here: it needs the extra

    sys.exit(serve(arguments))
