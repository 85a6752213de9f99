"""The option ``--until`` of long commands: a time at which to stop."""

from __future__ import annotations

import datetime as dt

import click

from mamlkit.core.errors import InputError


class DeadlineError(Exception):
    """The time of ``--until`` has come."""


class Deadline:
    """A time at which to stop, or none.

    Args:
        when: the time, with a time zone; None: never.
    """

    def __init__(self, when: dt.datetime | None) -> None:
        self.when = when

    def check(self) -> None:
        """Raise if the time has come.

        Raises:
            DeadlineError: it has.
        """
        if self.when is not None and now() >= self.when:
            raise DeadlineError


def now() -> dt.datetime:
    """Return the time of this machine's clock."""
    return dt.datetime.now().astimezone()


def read(_: click.Context, __: click.Parameter, value: str) -> Deadline:
    """Parse the option; a time of day is its next occurrence.

    Args:
        value: as ``"07:00"`` or ``"2027-01-31T07:00"``; empty: no deadline.

    Raises:
        InputError: the value is not a time, or lies in the past.
    """
    if not value:
        return Deadline(None)
    try:
        if "-" in value:
            when = dt.datetime.fromisoformat(value).astimezone()
        else:
            when = dt.datetime.combine(now(), dt.time.fromisoformat(value.zfill(len("07:00")))).astimezone()
            when += dt.timedelta(days=when <= now())
    except ValueError as error:
        raise InputError(f"--until {value} is not a time; write it as 07:00 or as 2027-01-31T07:00") from error
    if when <= now():
        raise InputError(f"--until {value} is in the past; a later time is allowed")
    return Deadline(when)


until_option = click.option(
    "--until", default="", callback=read, metavar="TIME", help="Stop at this time, as 07:00; continue later."
)
