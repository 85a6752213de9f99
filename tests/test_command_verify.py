"""``mamlkit verify``: it prints the differences it found, and its exit code tells whether they are small."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mamlkit.__main__ import main
from mamlkit.study.golden import CASES

CASE = "mamlpp_one_shot_five_way"


def run(folder: Path) -> Result:
    return CliRunner().invoke(main, ["verify", "--golden", str(folder)])


def change(path: Path, name: str, by: float) -> None:
    """Add ``by`` to the first number of one array of a golden file."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] += by
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    path.write_bytes(stream.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CASES / f"{CASE}.npz", tmp_path / f"{CASE}.npz")
    return tmp_path


def test_the_packaged_cases_agree() -> None:
    result = CliRunner().invoke(main, ["verify"])
    assert result.exit_code == 0
    n_cases = len(list(CASES.glob("*.npz")))
    assert n_cases >= 9
    assert f"{n_cases} cases, all agree to 1e-10" in result.stdout


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "query_logits_last_step",
        "grad/conv1.weight",
        "grad_inner_lr/head.weight",
        "after_adam/norm2.gamma",
        "after_adam_inner_lr/conv0.weight",
        "running_after/norm3.var",
    ],
)
def test_a_number_that_is_off_by_a_billionth_makes_it_fail(folder: Path, name: str) -> None:
    change(folder / f"{CASE}.npz", name, 1e-9)
    result = run(folder)
    assert result.exit_code == 1
    assert "NOT ALL AGREE" in result.stdout
    assert "the largest difference is 1.0e-09" in result.stdout


def test_a_number_that_is_not_one_makes_it_fail(folder: Path) -> None:
    change(folder / f"{CASE}.npz", "loss", np.nan)
    assert run(folder).exit_code == 1


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        result = run(place)
        assert result.exit_code == 2
        assert str(place) in result.stderr.replace("\n", "")


def test_a_file_that_is_no_case_is_refused_by_name(folder: Path) -> None:
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    result = run(folder)
    assert result.exit_code == 2
    assert "broken.npz is not a golden case" in result.stderr
