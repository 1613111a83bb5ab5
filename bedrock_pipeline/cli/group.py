"""The group of all commands: imports a command only when it is used, and prints its errors."""

import errno
import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from bedrock_pipeline.errors import ArgumentError, BedrockPipelineError, NotFoundError

_INTERRUPTED: Final = 130  # as shells say it: 128 and the number of the signal
#: What goes on after Ctrl-C, and how to come back.
_AFTER_INTERRUPTION: Final = {
    "demo": "What was done is stored. The same command goes on from there.",
    "enqueue": "Tasks that were added stay in the queue; the same command with --replace adds the others.",
    "wait": "The jobs go on. The same command waits for them again.",
}


class RejectedOptionError(BedrockPipelineError):
    """The value of an option is rejected: the exit code is that of a wrong argument, but how a command is written is not in question."""


#: Options whose settings have other names.
SETTINGS: Final = {"model": "model_id", "schema": "answer_schema"}
#: How an error says which setting to change: behind such a verb, so that no column of that name is meant.
_SETTING: Final = re.compile(
    r"(?i:(?<=\bset )|(?<=\blower )|(?<=\braise )|(?<=\bleave out ))(?:limits\.)?([a-z_]+)\b|`(csv)`"
)


def named_by_options(fix: str, command: click.Command | None) -> str:
    """What to do, with the settings that a command has an option for under the option's name."""
    params = command.params if command else ()
    flags = {
        SETTINGS.get(one.name or "", one.name or ""): one.opts[0]
        for one in params
        if isinstance(one, click.Option)
    }
    return _SETTING.sub(lambda found: flags.get(found[1] or found[2], found[0]), fix)


#: What to do about an error of the file system, by its number.
_AFTER_SYSTEM_ERROR: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free space there, or name another place."),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Change its permissions, or name another place."),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "A part of this path is a file: name another path."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files (`ulimit -n`)."),
    errno.EROFS: "Name another place: nothing can be written there.",
    errno.ENOENT: "Check the path.",
    errno.EFBIG: "Raise the limit of the size of files (`ulimit -f`), or name another place.",
    errno.EISDIR: "Name a file in it.",
}


class SystemCallError(BedrockPipelineError):
    """The operating system could not do something with a file.

    Args:
        error: what Python raised; its text is the system's, or Arrow's with the system's number.
    """

    def __init__(self, error: OSError) -> None:
        place = error.filename if error.filename is not None else "A file cannot be read or written"
        fix = _AFTER_SYSTEM_ERROR.get(error.errno or 0, "Check the path, and the file system that it is on.")
        super().__init__(f"{place}: {os.strerror(error.errno or 0)}.", fix)

    @classmethod
    def is_of_files(cls, error: OSError) -> bool:
        """Whether an error is of the file system, not of a connection or of an output that nobody reads any more."""
        return error.errno is not None and (error.filename is not None or error.errno in _AFTER_SYSTEM_ERROR)


class CommandGroup(click.Group):
    """Commands that are imported when they are used, so that none waits for what only others need.

    Errors of this package are printed as two lines: what happened, what to do; after `--json` also as an object of these.

    Args:
        modules: the module of each command, whose function has the command's name.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the base class's
        """The names of the commands, sorted."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # the same
        """The command of this name; None if there is none."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = getattr(import_module(self._modules[cmd_name]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: there is none; names what is near.
        """
        name = args[0]
        if name not in self._modules and (near := get_close_matches(name, self._modules, n=1)):
            ctx.fail(f"No such command {name!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            SystemExit: 2 after an unknown name or a rejected value, as after a wrong option; 1 after another error of this
                package; 130 after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            after = _AFTER_INTERRUPTION.get(ctx.invoked_subcommand or "", "")
            click.echo(f"\nInterrupted. {after}".rstrip(), err=True)
            sys.exit(_INTERRUPTED)
        except click.UsageError as error:
            from bedrock_pipeline.cli.output import print_json_error

            called = error.ctx or ctx
            print_json_error(ctx, error.format_message(), f"See `{called.command_path} --help`.")
            raise
        except BedrockPipelineError as error:
            self._fail(ctx, error)
        except OSError as error:
            if not SystemCallError.is_of_files(error):
                raise
            self._fail(ctx, SystemCallError(error))

    def _fail(self, ctx: click.Context, error: BedrockPipelineError) -> NoReturn:
        from rich.console import Console  # here: `--help` and `--version` do without rich
        from rich.text import Text

        from bedrock_pipeline.cli.output import print_json_error, printable

        # Not the commands' own, which `--quiet` silences. Brackets in a message are no markup of rich's.
        console = Console(stderr=True, markup=False, emoji=False)
        console.print(
            Text.assemble(("Error:", "red"), f" {printable(error.what)}"), highlight=False, soft_wrap=True
        )
        notes = getattr(error, "__notes__", ())  # where it happened
        fix = named_by_options(error.fix, self.get_command(ctx, ctx.invoked_subcommand or ""))
        for line in filter(None, (*notes, fix)):
            console.print(printable(line), highlight=False, soft_wrap=True)
        print_json_error(ctx, " ".join((error.what, *notes)), fix)
        sys.exit(2 if isinstance(error, (NotFoundError, ArgumentError, RejectedOptionError)) else 1)
