"""`local`: the embedded default without Dagster, for programs of one's own.

What belongs here: starting it in the background, ending it, and printing its variables.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import click
import psutil

from bedrock_pipeline.local import Stack, StackConfig, default_home, environment, read_endpoints
from bedrock_pipeline.local.extra import require_local
from bedrock_pipeline.local.home import LocalError
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.stages.context import open_context

_START_SECONDS = 90
_PID = "holder.pid"


@click.group()
def local() -> None:
    """Postgres, S3 and the Bedrock emulator on this machine."""


@local.command()
@click.option("--speed", default=60.0, show_default=True, help="How much faster than Bedrock jobs run.")
def up(speed: float) -> None:
    """Start it in the background."""
    require_local()
    home = default_home()
    if read_endpoints(home) is None:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "up.log").open("wb") as log:
            command = [sys.executable, "-m", "bedrock_pipeline", "local", "hold", "--speed", str(speed)]
            holder = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "BEDROCK_PIPELINE_HOME": str(home)},
            )
        deadline = time.monotonic() + _START_SECONDS
        while read_endpoints(home) is None:
            if holder.poll() is not None or time.monotonic() > deadline:
                raise LocalError("The embedded default did not start.", f"See {home / 'up.log'}.")
            time.sleep(0.1)
    click.echo(f'running at {home}; use it with: eval "$(bedrock-pipeline local env)"')


@local.command(hidden=True)
@click.option("--speed", default=60.0)
def hold(speed: float) -> None:
    """Run it in the foreground until SIGTERM (what `up` starts)."""
    home = default_home()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with Stack(StackConfig(home, emulator=("--speed", str(speed)))) as stack:
        os.environ.update(environment(stack.endpoints))
        with open_context(Settings.from_environment()) as context:
            context.ledger.migrate()
        (home / _PID).write_text(str(os.getpid()))
        done.wait()
        (home / _PID).unlink(missing_ok=True)


@local.command()
def down() -> None:
    """End it; what it stored stays."""
    home = default_home()
    if read_endpoints(home) is None:
        click.echo("not running")
        return
    pid = home / _PID
    if not pid.exists():
        raise LocalError("It was started by `dev` or `demo`.", "End that command with Ctrl-C.")
    holder = psutil.Process(int(pid.read_text()))
    holder.terminate()
    holder.wait(60)
    click.echo("ended")


@local.command()
def env() -> None:
    """Print `export` lines with which any program finds it."""
    endpoints = read_endpoints(default_home())
    if endpoints is None:
        raise LocalError("The embedded default is not running.", "Start it with `bedrock-pipeline local up`.")
    for name, value in environment(endpoints).items():
        click.echo(f"export {name}={shlex.quote(value)}")
