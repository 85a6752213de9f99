"""Configurations stored by earlier runs: read and compare them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mamlkit.core.config import Config
from mamlkit.core.contradictions import ALLOWED
from mamlkit.core.errors import InputError

# Options that change how a run is computed, but not its result.
HOW = {"device", "engine", "tasks_per_chunk", "memory"}


def read_config(values: Mapping[str, Any], source: Path | str) -> Config:
    """Return a stored configuration; an option that it lacks, because it is older, has its default value.

    Args:
        values: options by name, as ``Config.to_dict`` returned them.
        source: the place where they are stored, for error messages.

    Raises:
        InputError: an option is unknown, as in a file of a newer version, or its value is not allowed.
    """
    unknown = sorted(values.keys() - {field.name for field in dataclasses.fields(Config)})
    if unknown:
        raise InputError(
            f"{source} has the option {unknown[0]} = {values[unknown[0]]!r}, which this version of mamlkit does not "
            "know; read it with the version that wrote it, or a newer one"
        )
    if values.get("backbone") == "mlp":  # earlier versions accepted these settings, which had no effect
        values = {**values, **ALLOWED["backbone", "mlp"]}
    try:
        return Config(**values)
    except InputError as error:
        raise InputError(f"{source} has an invalid configuration: {error}") from error


def differing(kept: Config, needed: Config) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ between two configurations, except those in ``HOW``: name -> (kept, needed)."""
    theirs, ours = kept.to_dict(), needed.to_dict()
    return {key: (theirs[key], ours[key]) for key in ours if key not in HOW and theirs[key] != ours[key]}
