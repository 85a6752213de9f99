"""The option --until: the next occurrence of a time of day, a later date, and clear errors for everything else."""

from __future__ import annotations

import datetime as dt

import click
import pytest

from mamlkit.commands import until
from mamlkit.commands.until import Deadline, DeadlineError, read
from mamlkit.core.errors import InputError

NOON = dt.datetime(2026, 5, 4, 12, 0).astimezone()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until, "now", lambda: NOON)


def parsed(value: str) -> dt.datetime | None:
    return read(click.Context(click.Command("x")), click.Option(["--until"]), value).when


@pytest.mark.parametrize(
    ("value", "day", "hour"),
    [("13:30", 4, 13), ("07:00", 5, 7), ("7:00", 5, 7), ("12:00", 5, 12), ("2026-05-06T07:30", 6, 7)],
)
def test_a_time_of_day_is_its_next_occurrence_and_a_date_is_itself(value: str, day: int, hour: int) -> None:
    when = parsed(value)
    assert when is not None
    assert (when.day, when.hour) == (day, hour)
    assert when > NOON


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("2026-05-04T11:59", "--until 2026-05-04T11:59 is in the past; a later time is allowed"),
        ("2026-05-04", "--until 2026-05-04 is in the past; a later time is allowed"),
        ("tomorrow", "--until tomorrow is not a time; write it as 07:00 or as 2027-01-31T07:00"),
        ("25:00", "--until 25:00 is not a time; write it as 07:00 or as 2027-01-31T07:00"),
        ("2026-13-01", "--until 2026-13-01 is not a time; write it as 07:00 or as 2027-01-31T07:00"),
    ],
)
def test_a_time_in_the_past_or_no_time_is_refused(value: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(value)
    assert str(error.value) == sentence


def test_a_deadline_is_reached_at_its_time_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(NOON + dt.timedelta(seconds=1))
    deadline.check()
    monkeypatch.setattr(until, "now", lambda: NOON + dt.timedelta(seconds=1))
    with pytest.raises(DeadlineError):
        deadline.check()
    assert parsed("") is None
    Deadline(None).check()
