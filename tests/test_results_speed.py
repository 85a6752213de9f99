"""The committed measurements of speed: complete, as fast as they were promised to be, and the same in the README."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scripts import load_script

from mamlkit.core.config import Config
from mamlkit.study.bench import load, ui
from mamlkit.study.bench.records import Record

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "data" / "results" / "speed"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(ROOT / "data" / "show_speed.py")


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SPEED / name).read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, str], Record]:
    return {(row["work"], row["engine"]): Record(**row) for row in read("records.json")["records"]}


def test_every_file_says_what_its_numbers_depend_on() -> None:
    for name in ("records.json", "growth.json", "profile.json"):
        content = read(name)
        assert content["versions"].keys() >= {"python", "torch", "mamlkit"}
        assert content["threads"] == 2
        assert content["processor"]
        assert content["samples"] >= 3
        for config in content["configs"].values():
            Config.from_dict(config)


def test_the_compiled_engine_is_at_least_twice_as_fast_as_the_textbook_loop(
    records: dict[tuple[str, str], Record],
) -> None:
    for work in ("W1", "W2", "W3"):
        assert records[work, "compiled"].speedup_over_naive >= 2.0
        assert records[work, "compiled"].peak_mib <= 1.05 * records[work, "naive"].peak_mib


def test_memory_is_flat_in_the_steps_and_time_is_linear_in_steps_and_tasks() -> None:
    points = {
        (point["axis"], point["value"], point["engine"], point["memory"]): point
        for point in read("growth.json")["points"]
    }

    def ms(axis: str, value: int, memory: str = "normal") -> float:
        return float(points[axis, value, "compiled", memory]["ms_median"])

    few, many = (points["n_steps", steps, "compiled", "low"]["peak_mib"] for steps in (5, 40))
    assert many <= 1.5 * few
    for memory in ("normal", "low"):
        first, last = (ms("n_steps", b, memory) - ms("n_steps", a, memory) for a, b in ((5, 20), (20, 40)))
        assert last / 20 == pytest.approx(first / 15, rel=0.15)
    each = [ms("n_tasks", tasks) / tasks for tasks in (4, 8, 16, 32)]
    assert max(each) <= 1.15 * min(each)


def test_the_shares_of_the_profile_add_up() -> None:
    works = read("profile.json")["works"]
    assert works.keys() >= {"W1", "W2", "W3"}
    for name, found in works.items():
        assert sum(found["shares"].values()) == pytest.approx(1.0)
        assert found["shares"]["convolution"] > (0.5 if name != "W0" else 0.2)  # W0 has 8 filters


def test_every_engine_trains_to_the_same_accuracy_within_the_interval(script: ModuleType) -> None:
    runs = read("engines.json")["runs"]
    assert runs.keys() >= {"eager", "vmap", "compiled", "compiled, memory low", "compiled, autocast"}
    eager, half = script.interval(runs["eager"])
    for way, ones in runs.items():
        assert {one["episodes"] for one in ones} == {600}
        assert [one["seed"] for one in ones] == [0, 1, 2]
        mean, own_half = script.interval(ones)
        if way == "compiled, autocast":  # less exact: its cost is told in the README, and is small
            assert abs(mean - eager) <= 0.02
        else:
            assert abs(mean - eager) <= math.hypot(half, own_half), way


def test_a_busy_machine_costs_no_more_than_was_promised_and_a_quiet_one_next_to_nothing() -> None:
    content = read("load.json")
    assert content["samples"] >= 9
    assert content["cores"] == content["threads"] == 2
    assert {(row["work"], row["engine"]) for row in content["rows"]} == {
        (work, engine) for work in load.works() for engine in ("eager", "vmap", "compiled")
    }
    for row in content["rows"]:
        assert row["ratio"] == row["beside_ms"] / row["quiet_ms"] <= load.MOST
        assert row["cost"] == row["quiet_ms"] / row["torchs_own_ms"] - 1
    assert np.median([row["cost"] for row in content["rows"]]) <= load.MOST_COST  # a row alone varies by more


def test_the_waits_of_a_reader_are_complete_and_judged_by_their_bounds() -> None:
    content = read("ui.json")
    assert content["versions"].keys() >= {"python", "torch", "mamlkit"}
    assert content["processor"]
    assert content["threads"] >= 1
    assert 0 <= content["busy_share"] <= 1
    rows = [ui.Row(row["what"], row["where"], tuple(row["ms"])) for row in content["rows"]]
    assert [row.to_dict() for row in rows] == [{**row, "ms": tuple(row["ms"])} for row in content["rows"]]
    assert {row.what for row in rows} == {*ui.BOUNDS, ui.READY}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {row.where for row in rows if row.what == ui.FIRST} == notebooks


def test_the_table_of_waits_has_the_median_of_all_samples_and_the_slowest_page(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ui.Row(ui.SLIDER, "a", (1.0, 2.0, 3.0)), ui.Row(ui.SLIDER, "b", (50.0,) * 2), ui.Row(ui.READY, "c", (9.0,))]
    (tmp_path / "ui.json").write_text(json.dumps({"rows": [row.to_dict() for row in rows]}))
    monkeypatch.setattr(script, "SPEED", tmp_path)
    assert script.waits_table().splitlines()[-2:] == [
        f"| {ui.SLIDER} | 2 | 3 | 50 | 100 |",
        f"| {ui.READY} | 1 | 9 | 9 |  |",
    ]


def test_the_readme_has_these_tables(script: ModuleType) -> None:
    [section] = script.SECTION.findall((ROOT / "README.md").read_text("utf-8"))
    assert section == script.section()


def test_the_picture_of_growth_is_of_these_points() -> None:
    picture = Image.open(SPEED / "growth.png")
    about = json.loads(picture.text["Description"])
    content = read("growth.json")
    assert about == {key: content[key] for key in about}
    assert np.asarray(picture.convert("L")).std() > 5
