"""The command line: ``mamlkit`` and ``python -m mamlkit``."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from mamlkit import __version__
from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import load_by_name

COMMANDS = {  # in the order a newcomer meets them; mamlkit/commands/NAME.py has the command, and is loaded for use only
    "tour": "Train MAML and MAML++ side by side, within three minutes on two cores.",
    "lab": "Open the course in JupyterLab, in a copy of your own.",
    "copy": "Copy the course into FOLDER, or update an earlier copy; start no server.",
    "dash": "Open the live pages on a projector.",
    "site": "Write the course as HTML into the folder OUT.",
    "train": "Meta-train one recipe and test it.",
    "evaluate": "Test the run in DIR on fixed episodes.",
    "reproduce": "Reproduce TABLE of the paper as a grid of runs, with seeds and intervals.",
    "list": "List the recipes as differences from their bases, or describe one RECIPE.",
    "data": "List the data sets, or fetch, check and open a data set.",
    "verify": "Recompute every golden case and print the largest absolute difference of each quantity.",
    "bench": "Time one meta-iteration (forward, meta-gradient, Adam) of each engine on each work.",
    "doctor": "Check this computer and this installation; exit with 1 if a check fails.",
}


class BadInput(click.ClickException):
    """One sentence on standard error, exit code 2, no traceback."""

    exit_code = 2


class Group(click.Group):
    """The commands, each loaded when it is used; bad input ends in one sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, on a console that shows ``?`` for a character that it has not."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        return load_by_name(f"mamlkit.commands.{cmd_name}:command") if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentences of the commands' help, without loading a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise BadInput(str(error)) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise BadInput(f"cannot use {error.filename}: {error.strerror}") from error


@click.group(
    name="mamlkit", cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="mamlkit")
def main() -> None:
    """Learn, see and reproduce MAML and MAML++.

    Begin with "mamlkit tour" (three minutes), then "mamlkit lab" (the course).
    """


if __name__ == "__main__":
    main()
