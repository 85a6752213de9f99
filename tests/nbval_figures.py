"""A plugin beside nbval: it compares the numbers of explorers, which the comparison of texts passes over."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import nbformat
import numpy as np
import pytest


def figures(notebook: nbformat.NotebookNode) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """Return (kind, HTML, its arrays by name) of every explorer in the outputs."""
    return [figure for cell in notebook.cells for figure in explorers(cell.get("outputs", []))]


def explorers(outputs: Iterable[Any]) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    for output in outputs:
        page = output.get("data", {}).get("text/html", "")
        kind = re.search(r'data-mamlkit="(\w+)"', page)
        if kind:
            spec = json.loads(html.unescape(re.search(r'data-spec="([^"]*)"', page)[1]))
            payload = base64.b64decode(re.search(r'data-payload="([^"]*)"', page)[1])
            yield kind[1], page, unpack(spec["arrays"], payload)


def unpack(layout: dict, payload: bytes) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(
            payload, {"f4": "<f4", "u1": "u1"}[part["kind"]], int(np.prod(part["shape"])), part["offset"]
        )
        for name, part in layout.items()
    }


def difference(made: Iterable[Any], committed: Iterable[Any]) -> str:
    """Return which numbers of which explorer differ, or nothing."""
    for (kind, _, ours), (_, _, theirs) in zip(explorers(made), explorers(committed), strict=True):
        for name in ours.keys() | theirs.keys():
            if name not in ours or name not in theirs:
                return f"{kind}: only one has {name}"
            if not np.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-6, equal_nan=True):
                return f"{kind}: {name}"
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    yield
    if found := difference(item.test_outputs or [], item.cell.outputs):
        pytest.fail(f"other numbers in {found}", pytrace=False)
