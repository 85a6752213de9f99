"""The command line: ``mamlkit`` and ``python -m mamlkit``."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from mamlkit import __version__
from mamlkit.commands import bench, dash, data, doctor, evaluate, lab, reproduce, site, tour, train, verify
from mamlkit.commands import list as list_recipes
from mamlkit.core.errors import InputError


class BadInput(click.ClickException):
    """One sentence on standard error, exit code 2, no traceback."""

    exit_code = 2


class Group(click.Group):
    """The commands in the order a newcomer meets them; bad input ends in one sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, on a console that shows ``?`` for a character that it has not."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order they were added."""
        return list(self.commands)

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


for module in (tour, lab, dash, site, train, evaluate, reproduce, list_recipes, data, verify, bench, doctor):
    main.add_command(module.command)


if __name__ == "__main__":
    main()
