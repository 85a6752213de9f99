"""A run of an older version, with .npz checkpoints: it opens, is evaluated, goes on, and ends as it ended then.

``old_run`` was written by the version before safetensors (its commit is in ``run.json``), by the command there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from mamlkit import ImageStore, InputError, Trainer
from mamlkit.__main__ import main
from mamlkit.runs import checkpoints
from mamlkit.runs.folder import RunFolder, saved_epochs
from mamlkit.study.reproduction.plan import make_plan, merge, read_plan

OLD = Path(__file__).parent / "old_run"
EPOCHS = ["epoch-0001.npz", "epoch-0002.npz", "epoch-0003.npz"]
LACKED = ("autocast", "memory", "adapt", "eval_steps")  # the run has their defaults


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run, to go on with."""
    shutil.copytree(OLD, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def older(run: Path) -> Path:
    """The same run, as if by a version that did not have some of today's options."""
    change_configs(run, lambda config: [config.pop(key) for key in LACKED])
    return run


def change_configs(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the configuration in every file of a run that has it."""
    for path in (run / "run.json", run / "result.json"):
        content = json.loads(path.read_text("utf-8"))
        change(content["config"])
        path.write_text(json.dumps(content), "utf-8")
    for path in (run / "checkpoints").glob("*.npz"):
        with np.load(path) as archive:
            arrays: dict[str, Any] = dict(archive)
        header = json.loads(str(arrays["header"]))
        change(header["config"])
        np.savez(path, **{**arrays, "header": np.array(json.dumps(header))})


def mamlkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text("utf-8")))


def assert_evaluated_as_then(run: Path) -> None:
    done = mamlkit("evaluate", run, "--json")
    assert done.exit_code == 0, done.stderr
    found, kept = json.loads(done.stdout), result_of(OLD)
    assert found["tested_epochs"] == kept["tested_epochs"]
    assert found["accuracy"] == pytest.approx(kept["accuracy"], abs=1e-6)
    for norm, values in kept["evaluations"].items():
        assert found["evaluations"][norm] == pytest.approx(values, abs=1e-6)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def lose_the_third_epoch(run: Path) -> None:
    for name in ("checkpoints/epoch-0003.npz", "result.json"):
        (run / name).unlink()


def assert_third_epoch_as_then(run: Path) -> None:
    """Check that the third epoch, trained again, has the weights, metrics and result of the old one."""
    assert names(run) == [*EPOCHS[:2], "epoch-0003.safetensors"]
    header, found = checkpoints.read(run / "checkpoints" / "epoch-0003.safetensors")
    _, kept = checkpoints.read(OLD / "checkpoints" / "epoch-0003.npz")
    assert header["epoch"] == 3
    assert found.keys() == kept.keys()
    for name, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (kept[name].dtype, kept[name].shape), name
        assert torch.allclose(tensor, kept[name], rtol=0, atol=1e-6), name
    now, then = result_of(run), result_of(OLD)
    assert now.keys() == then.keys()
    assert now["evaluations"]["batch"] == pytest.approx(then["evaluations"]["batch"], abs=1e-6)
    assert now["evaluations"]["running"] == pytest.approx(then["evaluations"]["running"], abs=1e-6)
    assert now["tested_epochs"] == then["tested_epochs"]
    for name, curve in then["curves"].items():
        if name != "minutes":
            assert now["curves"][name] == pytest.approx(curve, abs=1e-5), name  # it was rounded


def test_the_run_is_of_glyphs_as_they_are_and_of_the_format_before(glyphs: ImageStore) -> None:
    about = json.loads((OLD / "run.json").read_text("utf-8"))
    assert (about["format"], about["data_sha256"]) == (1, glyphs.sha256)
    assert names(OLD) == EPOCHS
    assert not list(OLD.rglob(".lock"))


def test_evaluate_gives_the_accuracy_and_the_loss_that_were_stored(run: Path) -> None:
    assert_evaluated_as_then(run)


def test_its_last_epoch_trained_again_ends_in_the_same_weights_and_result(run: Path) -> None:
    lose_the_third_epoch(run)
    done = mamlkit("train", "--resume", run)
    assert done.exit_code == 0, done.stderr
    assert "2 of 3 epochs are done" in done.stdout
    assert_third_epoch_as_then(run)
    assert_evaluated_as_then(run)  # of checkpoints in both formats


def test_a_run_that_lacks_options_of_today_opens_resumes_and_is_evaluated(older: Path) -> None:
    assert RunFolder.open(older).config == RunFolder.open(OLD).config
    assert_evaluated_as_then(older)
    lose_the_third_epoch(older)
    done = mamlkit("train", "--resume", older)
    assert done.exit_code == 0, done.stderr
    assert_third_epoch_as_then(older)


@pytest.mark.parametrize("arguments", [("evaluate",), ("train", "--resume")])
def test_an_option_of_a_newer_version_is_one_sentence(run: Path, arguments: tuple[str, ...]) -> None:
    change_configs(run, lambda config: config.update(magic=7))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = mamlkit(*arguments, run)
    assert done.exit_code == 2
    words = " ".join(done.stderr.split())
    assert "run.json has the option magic = 7, which this version of mamlkit does not know; read it with the" in words
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_of_one_epoch_in_both_formats_the_newer_file_counts_and_the_older_goes(run: Path, glyphs: ImageStore) -> None:
    folder = RunFolder.open(run)
    [learner] = folder.learners([3], (1, 28, 28))
    learner.inner_lrs.fill_(0.5)
    checkpoints.save(run / "checkpoints" / "epoch-0003.safetensors", learner, 3)
    assert saved_epochs(run) == {1, 2, 3}
    trainer = Trainer.from_config(folder.config, glyphs)
    folder.restore(trainer)
    assert torch.equal(trainer.learner.inner_lrs, learner.inner_lrs)
    assert names(run) == [*EPOCHS[:2], "epoch-0003.safetensors"]


def test_old_checkpoints_that_are_no_longer_needed_are_removed(run: Path, glyphs: ImageStore) -> None:
    change_configs(run, lambda config: config.update(ensemble=1))
    folder = RunFolder.open(run)
    folder.restore(Trainer.from_config(folder.config, glyphs))
    assert names(run) == [EPOCHS[0], EPOCHS[2]]  # the best and the last


def change_settings(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plan = json.loads((folder / "plan.json").read_text("utf-8"))
    for setting in plan["settings"]:
        change(setting["config"])
    (folder / "plan.json").write_text(json.dumps(plan), "utf-8")


def test_a_plan_that_lacks_an_option_of_today_has_its_default_and_takes_more_seeds(tmp_path: Path) -> None:
    plan, more = (make_plan("stability", "smoke", "glyphs", seeds, {}) for seeds in ((0, 1), (2,)))
    plan.save(tmp_path)
    change_settings(tmp_path, lambda config: [config.pop(key) for key in LACKED])
    kept = read_plan(tmp_path)
    assert kept == plan
    assert merge(kept, more, tmp_path).seeds == (0, 1, 2)
    change_settings(tmp_path, lambda config: config.pop("n_tasks"))  # this grid's is not the default
    with pytest.raises(InputError, match=r"n_tasks of maml-strided is 4, not \d+; choose another folder$"):
        merge(read_plan(tmp_path), more, tmp_path)


def test_a_plan_with_an_option_of_a_newer_version_is_one_sentence(tmp_path: Path) -> None:
    make_plan("stability", "smoke", "glyphs", (0,), {}).save(tmp_path)
    change_settings(tmp_path, lambda config: config.update(magic=7))
    with pytest.raises(
        InputError, match=r"plan\.json has the option magic = 7, which this version of mamlkit does not"
    ):
        read_plan(tmp_path)


def test_a_plan_without_a_setting_of_today_is_one_sentence(tmp_path: Path) -> None:
    plan = make_plan("stability", "smoke", "glyphs", (0,), {})
    kept = type(plan)(**{**vars(plan), "settings": plan.settings[:1]})
    with pytest.raises(InputError, match=rf"^{tmp_path} holds results without the setting mamlpp-strided; choose"):
        merge(kept, plan, tmp_path)
