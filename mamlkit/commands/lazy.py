"""Load a slow module only when a command uses it; this is the one place where an import does not stand at the top."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


class Lazy:
    """A module that is imported when something of it is first asked for.

    ``importlib.util.LazyLoader`` is no help: it puts the module among ``sys.modules``, where torch asks each for
    something.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def lazily(name: str) -> Any:
    """Return a module that is imported when it is first used.

    Raises:
        ModuleNotFoundError: there is no module of that name.
    """
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name)
    return Lazy(name)
