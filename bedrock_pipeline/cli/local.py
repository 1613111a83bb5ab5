"""Commands of `local`: the embedded stack without Dagster, for your own programs."""

import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click
import psutil

from bedrock_pipeline.cli.pipelines import own_models_option, speed_option
from bedrock_pipeline.cli.services import emulator_options, make_ledger, stop_event
from bedrock_pipeline.local import Endpoints, default_home, environment, read_endpoints
from bedrock_pipeline.local.endpoints import not_led_elsewhere
from bedrock_pipeline.local.extra import require_local
from bedrock_pipeline.local.home import LocalError, is_closed, is_locked, make_home, write_private
from bedrock_pipeline.local.stack import Stack, StackConfig

#: How long all parts together may take to end.
_END_SECONDS = 120
_PID = "holder.pid"
_MOST_LOG = 4_000


@click.group()
def local() -> None:
    """Postgres, S3 and the Bedrock emulator on this machine."""


@local.command()
@speed_option(60.0)
@own_models_option
def up(speed: float, own_models: tuple[str, ...]) -> None:
    """Start it in the background.

    Example: bedrock-pipeline local up
    """
    require_local()
    home = default_home()
    if read_endpoints(home) is None:
        make_home(home)
        if not is_locked(home):
            (home / _PID).unlink(missing_ok=True)  # of one that was killed
        log_began = _size(home / "up.log")
        with (home / "up.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "bedrock_pipeline", "local", "hold"]
            command += emulator_options(speed, own_models)
            holder = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**not_led_elsewhere(os.environ), "BEDROCK_PIPELINE_HOME": str(home)},
            )
        while not _is_up(home, holder, log_began):
            time.sleep(0.1)
    click.echo(f'running at {home}; use it with: eval "$(bedrock-pipeline local env)"')


def _is_up(home: Path, holder: "subprocess.Popen[bytes]", log_began: int) -> bool:
    """Whether it runs; each part has its own time to start.

    Raises:
        LocalError: it does not, and nobody starts it any more.
    """
    if read_endpoints(home) is not None:
        return True
    # Another `up` at this home, or `dev`, may have been faster.
    if holder.poll() is not None and not is_locked(home):
        with (home / "up.log").open("rb") as log:
            log.seek(log_began)
            said = log.read(_MOST_LOG).decode(errors="replace").strip().removeprefix("Error: ")
        raise LocalError("The embedded stack did not start.", said or f"See {home / 'up.log'}.")
    return False


@local.command(hidden=True)
@speed_option(60.0)
@click.option("--model", "own_models", multiple=True)
def hold(speed: float, own_models: tuple[str, ...]) -> None:
    """Run it in the foreground until SIGTERM (what `up` starts)."""
    home = default_home()
    stop = stop_event()
    with ExitStack() as parts:
        config = StackConfig(home, emulator=emulator_options(speed, own_models))
        stack = Stack(config, prepare=_prepare)
        parts.callback((home / _PID).unlink, missing_ok=True)  # last, so that `down` can wait for the end
        parts.enter_context(stack)
        stop.wait_while(stack.require_running)


def _prepare(endpoints: Endpoints) -> None:
    make_ledger(endpoints)
    write_private(endpoints.home / _PID, f"{os.getpid()} {psutil.Process().create_time()}")


@local.command()
def down() -> None:
    """End it; what it stored stays.

    Example: bedrock-pipeline local down
    """
    home = default_home()
    holder = _holder(home)
    if holder is None:
        if read_endpoints(home) is not None:
            raise LocalError("It was started by `dev` or `demo`.", "End that command with Ctrl-C.")
        click.echo("not running")
        return
    holder.terminate()
    try:
        holder.wait(_END_SECONDS)
    except psutil.TimeoutExpired:
        raise LocalError(
            f"Process {holder.pid} has not ended within {_END_SECONDS} s.", f"See {home / 'up.log'}."
        ) from None
    click.echo("ended")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _holder(home: Path) -> psutil.Process | None:
    """The process that `up` started; None where there is none, whatever process has its number now.

    Raises:
        LocalError: others can write into the home, and so could have named any process.
    """
    if home.exists() and not is_closed(home):
        raise LocalError(
            f"{home} belongs to another user, or others can write into it.",
            "End it as that user, or close the folder to others: chmod 700.",
        )
    try:
        pid, begun = (home / _PID).read_text().split()
        holder = psutil.Process(int(pid))
        return holder if abs(holder.create_time() - float(begun)) < 1 else None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


@local.command()
def env() -> None:
    """Print lines with which the programs of a shell find it.

    They also unset what would lead those elsewhere.

    Example: eval "$(bedrock-pipeline local env)"
    """
    home = default_home()
    endpoints = read_endpoints(home)
    if endpoints is None:
        raise LocalError(
            f"No embedded stack runs at {home}.",
            "Start it with `bedrock-pipeline local up`, or set BEDROCK_PIPELINE_HOME.",
        )
    variables = environment(endpoints)
    for name in sorted(os.environ.keys() - not_led_elsewhere(os.environ).keys() - variables.keys()):
        click.echo(f"unset {shlex.quote(name)}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
