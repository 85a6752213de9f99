"""The contents of a run's folder, to compare two of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def contents(folder: Path) -> dict[str, Any]:
    """Return all that a run has kept, without what the clock says."""
    kept: dict[str, Any] = {path.name: path.read_bytes() for path in folder.glob("*.toml")}
    for path in (folder / "checkpoints").iterdir():
        kept[path.name] = path.read_bytes()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    kept["metrics.jsonl"] = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    result = json.loads((folder / "result.json").read_bytes())
    kept["result.json"] = {**result, "minutes": None, "curves": {**result["curves"], "minutes": None}}
    return kept
