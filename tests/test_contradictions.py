"""Settings without a meaning: each is refused with its allowed value, and the defaults of the networks pass."""

from __future__ import annotations

from typing import Any

import pytest

from mamlkit.core import contradictions
from mamlkit.core.config import Config
from mamlkit.core.errors import InputError

CASES = [(field, value, name) for (field, value), allowed in contradictions.ALLOWED.items() for name in allowed]
NEEDED: dict[str, dict[str, Any]] = {"batch_norm": {"backbone": "deep"}}
ODD: dict[str, Any] = {"norm_eval": "running", "norm_train": "running"}
ODD |= {"adapt": "head", "memory": "low", "inner_rule": "adam"}


@pytest.mark.parametrize(("field", "value", "name"), CASES)
def test_a_setting_without_a_meaning_is_refused_by_name(field: str, value: str, name: str) -> None:
    only = contradictions.ALLOWED[field, value][name]
    odd = ODD[name] if name in ODD else not only if isinstance(only, bool) else only + 1
    values = {**Config().to_dict(), **contradictions.ALLOWED[field, value], field: value, **NEEDED.get(field, {})}
    Config(**values)
    with pytest.raises(InputError) as error:
        Config(**{**values, name: odd})
    assert str(error.value) == f"{name} = {odd!r} has no meaning for {field} = {value!r}; {only!r} is allowed"


def test_other_networks_and_methods_take_every_setting() -> None:
    odd = {"per_step_bn": True, "max_pool": False, "norm_eval": "running", "memory": "low", "adapt": "head"}
    assert Config(**odd).difference(Config()) == odd
