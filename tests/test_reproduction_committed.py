"""The committed reproductions: whole, as the command makes them, as good as promised, and the same in the README."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scripts import load_script

from mamlkit.core.episodes import ImageStore
from mamlkit.runs.configurations import HOW
from mamlkit.study.reproduction import measurements, summary
from mamlkit.study.reproduction.plan import make_plan

ROOT = Path(__file__).parents[1]
RUNS = {
    "omniglot-ablation-omniglot": (7, 3),
    "omniglot-ablation-glyphs": (7, 3),
    "stability-omniglot": (2, 10),
    "atlas-glyphs": (315, 3),
}
SMALL = 300_000  # bytes
LARGE = {"atlas-glyphs.parquet": 4_000_000}  # 945 runs with their configurations, which git compresses to a fifth


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(ROOT / "data" / "show_reproduction.py")


def test_every_table_has_all_of_its_runs_and_a_picture_is_small(script: ModuleType) -> None:
    assert {path.stem for path in script.RESULTS.glob("*.parquet")} == RUNS.keys()
    for name, (settings, seeds) in RUNS.items():
        frame = script.read(name)
        plan = measurements.plan_of(frame)
        assert f"{plan.table}-{plan.dataset}" == name
        assert (plan.scale, plan.parameters, plan.seeds) == ("laptop", {}, tuple(range(seeds)))
        assert frame.attrs["cells"].keys() == {cell.name for cell in plan.cells}
        assert summary.settings(frame).n_seeds.tolist() == [seeds] * settings
    assert all(path.stat().st_size < LARGE.get(path.name, SMALL) for path in script.RESULTS.iterdir())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: git does not know its commits")
def test_every_run_names_a_commit_of_this_repository(script: ModuleType) -> None:
    for name in RUNS:
        for commit in {record["versions"]["commit"] for record in script.read(name).attrs["cells"].values()}:
            known = subprocess.run(["git", "merge-base", "--is-ancestor", commit, "HEAD"], cwd=ROOT, check=False)
            assert known.returncode == 0, commit


@pytest.mark.parametrize("name", RUNS)
def test_the_command_still_makes_these_configurations(
    script: ModuleType, name: str, request: pytest.FixtureRequest
) -> None:
    plan = measurements.plan_of(script.read(name))
    if plan.dataset == "omniglot":
        store: ImageStore = request.getfixturevalue("omniglot")
        assert plan.data_sha256 == store.sha256
    again = make_plan(plan.table, plan.scale, plan.dataset, plan.seeds, plan.parameters)
    assert again.data_sha256 == plan.data_sha256
    for kept, made in zip(plan.settings, again.settings, strict=True):
        differing = {key for key in made["config"] if kept["config"][key] != made["config"][key]}
        assert differing <= HOW, kept["name"]


@pytest.mark.parametrize("name", ["omniglot-ablation-omniglot", "omniglot-ablation-glyphs"])
def test_mamlpp_is_above_maml_over_the_episodes_and_over_the_seeds(script: ModuleType, name: str) -> None:
    rows = {row.setting: row for row in summary.settings(script.read(name)).itertuples()}
    plain, plus = rows["maml"], rows["mamlpp"]
    assert plus.accuracy - plus.pooled > plain.accuracy + plain.pooled
    [gain] = [effect for effect in summary.effects(script.read(name)).itertuples() if effect.setting == "mamlpp"]
    assert gain.difference > gain.over_seeds  # the interval of the difference over seeds is above zero


@pytest.mark.parametrize("name", ["omniglot-ablation-omniglot", "omniglot-ablation-glyphs"])
def test_the_effect_of_each_fix_is_told_with_its_uncertainty_whether_it_helps_or_not(
    script: ModuleType, name: str
) -> None:
    effects = summary.effects(script.read(name))
    assert len(effects) == 6
    assert (effects.over_seeds > 0).all()
    [section] = script.SECTION.findall((ROOT / "README.md").read_text("utf-8"))
    for effect in effects.itertuples():
        told = f"{100 * effect.difference:+.2f} ± {100 * effect.over_seeds:.2f}, {effect.verdict}"
        assert told in section


def test_the_readme_has_the_tables_and_the_distance_from_the_paper_s_budget(script: ModuleType) -> None:
    [section] = script.SECTION.findall((ROOT / "README.md").read_text("utf-8"))
    assert section == script.section()
    assert "of its training tasks" in section


def test_the_readme_says_how_many_of_the_strided_runs_failed(script: ModuleType) -> None:
    failures = summary.failures(script.read("stability-omniglot"))
    assert (failures.n_runs.sum(), failures.either.sum()) == (20, 0)
    assert "None of the twenty did:" in " ".join((ROOT / "README.md").read_text("utf-8").split())


def test_the_pictures_are_of_these_tables_and_not_blank(script: ModuleType) -> None:
    assert {path.stem for path in script.RESULTS.glob("*.png")} == script.PICTURES.keys()
    for name in script.PICTURES:
        picture = Image.open(script.RESULTS / f"{name}.png")
        assert picture.info["Source"] == script.sha256(script.PICTURES[name][0])
        assert np.asarray(picture.convert("L")).std() > 5
