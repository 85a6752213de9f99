"""Import by name: the user's own functions, modules that load slowly, and packages of the extras.

This is the only module that imports anywhere else than at the top.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
from collections.abc import Sequence
from typing import Any

from mamlkit.core.errors import InputError, described


def load(name: str) -> Any:
    """Import a module, and return it.

    Raises:
        ModuleNotFoundError: there is no module of that name.
    """
    return importlib.import_module(name)


def load_by_name(name: str) -> Any:
    """Import a module and return its attribute, both named by ``"module:attribute"``.

    Args:
        name: a dotted module on Python's path, a colon, and an attribute of it, which may be dotted too.

    Raises:
        InputError: the name has another form, the module cannot be imported, or it has no such attribute.

    >>> load_by_name("math:sqrt")(9)
    3.0
    """
    module_name, colon, attribute = name.partition(":")
    parts = f"{module_name}.{attribute}".split(".")
    if not colon or not all(part.isidentifier() for part in parts) or module_name.endswith(".py"):
        raise InputError(f"{name!r} is not of the form module:attribute, such as 'my_networks:make'")
    try:
        module = load(module_name)
    except (Exception, SystemExit) as error:
        raise InputError(f"{name!r}: {_why_not_imported(module_name, error)}") from error
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError as error:
        raise InputError(f"{name!r}: the module {module_name} has no attribute {attribute!r}") from error


def check_installed(purpose: str, packages: Sequence[str], *, extra: str) -> None:
    """Raise unless the packages of an extra are installed; none of them is imported.

    Args:
        purpose: the user of the packages, at the beginning of the error sentence.
        packages: their names for ``import``.
        extra: the extra of mamlkit that installs them.

    Raises:
        InputError: a package is missing; the sentence has the command that installs it.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        raise InputError(f'{purpose} needs {names}; install with: pip install "mamlkit[{extra}]"')


class Lazy:
    """A module that is imported when one of its attributes is first used.

    ``importlib.util.LazyLoader`` does not work here: it puts the module into ``sys.modules``, and torch reads an
    attribute of every module there.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(load(self._name), attribute)


def lazily(name: str) -> Any:
    """Return a module that is imported when it is first used.

    Raises:
        ModuleNotFoundError: there is no module of that name.
    """
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name)
    return Lazy(name)


def _why_not_imported(module_name: str, error: BaseException) -> str:
    absent = error.name if isinstance(error, ModuleNotFoundError) else None
    if absent and f"{module_name}.".startswith(f"{absent}."):
        return f"there is no module {absent}; it must be installed, or lie in a folder of PYTHONPATH"
    return f"the module {module_name} cannot be imported ({described(error)})"
