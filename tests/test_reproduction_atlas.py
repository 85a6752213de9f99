"""Which runs make the atlas: every network, method, number of steps and rate, and nothing else differs."""

from __future__ import annotations

import doctest

import pytest

from mamlkit.study.reproduction import atlas
from mamlkit.study.reproduction.plan import Plan, make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan("atlas", "laptop", "", (), {})


def test_it_has_at_least_seven_hundred_runs_with_three_seeds_in_every_cell(plan: Plan) -> None:
    assert len(plan.cells) >= 700
    assert plan.seeds == (0, 1, 2)
    assert plan.dataset == "glyphs"
    assert len(atlas.by_name()) == len(plan.settings) == 5 * 7 * 3 * 3
    assert max(atlas.RATES) <= 0.4
    assert doctest.testmod(atlas).attempted == 1


def test_every_cell_has_its_own_steps_rate_and_network_and_the_budget_of_all_others(plan: Plan) -> None:
    budgets = set()
    for setting in plan.settings:
        config, place = setting["config"], atlas.by_name()[setting["name"]]
        assert (config["n_steps"], config["inner_lr"]) == (place.steps, place.rate)
        deep = place.network not in ("conv4", "strided")
        assert config["backbone"] == ("deep" if deep else "conv4")
        assert config["batch_norm"] == (place.network not in ("plain", "skips"))
        assert config["skips"] == (place.network == "skips")
        assert config["max_pool"] == (place.network != "strided")
        names = ("epochs", "iterations_per_epoch", "filters", "n_tasks", "q_query", "outer_lr", "n_way", "k_shot")
        budgets.add(tuple(config[name] for name in names))
    assert budgets == {(5, 24, 16, 2, 3, 0.001, 5, 1)}


def test_a_method_differs_from_maml_in_its_fix_alone(plan: Plan) -> None:
    configs = {setting["name"]: setting["config"] for setting in plan.settings}
    plain = configs["plain-maml-5steps-rate0.4"]
    changes = {
        method: {key: value for key, value in config.items() if value != plain[key]}
        for method in atlas.METHODS
        for config in [configs[f"plain-{method}-5steps-rate0.4"]]
    }
    assert changes == {
        "maml": {},
        "first-order": {"second_order": False},
        "msl": {"multi_step_loss": True, "msl_share": 1.0},
        "da": {"first_order_share": 1 / 3},
        "lslr": {"learn_inner_lrs": True},
        "clip": {"grad_clip": 10.0},
        "mamlpp": {
            "learn_inner_lrs": True,
            "cosine_lr": True,
            "first_order_share": 1 / 3,
            "multi_step_loss": True,
        },
    }
    assert configs["norm-mamlpp-5steps-rate0.4"]["per_step_bn"]
