"""The options of ``mamlkit train``: one for each field of the configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import click

from mamlkit.core.config import FIELD_TYPES, Config
from mamlkit.runs.command_line import flag


class FieldOption(click.Option):
    """An option that sets one field of the configuration; its default is None."""

    def __init__(self, _: Sequence[str], field: dataclasses.Field[Any]) -> None:
        self.group: str = field.metadata["group"]
        name, kind = flag(field.name), FIELD_TYPES[field.name]
        choices = field.metadata["choices"]
        shown = f"[{'|'.join(choices)}; default: {field.default}]" if choices else f"[default: {field.default}]"
        if kind is bool:
            shown = f"[default: {'on' if field.default else 'off'}]"
        super().__init__(
            [f"{name}/--no-{name[2:]}" if kind is bool else name],
            type=kind,
            default=None,
            help=f"{field.metadata['help']}  {shown}",
            metavar=None if kind is bool else "NAME" if choices else kind.__name__.upper(),
        )


class GroupedCommand(click.Command):
    """A command whose help groups the configuration's options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option for each field of the configuration to a command."""
    for field in reversed(dataclasses.fields(Config)):  # decorators apply from the bottom up
        function = click.option(f"--{field.name}", cls=FieldOption, field=field)(function)
    return function
