"""The table of an evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mamlkit.commands import tables
from mamlkit.core.config import Config
from mamlkit.runs.folder import RunFolder
from mamlkit.training.evaluation import Evaluation


@pytest.mark.parametrize(("norm_eval", "marked"), [("batch", "transductive) *"), ("running", "non-transductive) *")])
def test_the_table_has_both_figures_and_marks_the_headline(
    norm_eval: str, marked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(Path("run"), Config(norm_eval=norm_eval), {"recipe": "mamlpp"})
    found = {
        "batch": Evaluation(0.9765, 0.0021, 0.1, 600, "batch"),
        "running": Evaluation(0.5, 0.01, 2.0, 60, "running"),
    }
    tables.show_evaluations(folder, found, [7, 9])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "mamlpp on glyphs, 5-way 1-shot, mean logits of epochs 7, 9" in text
    assert re.search(r"97\.65 ± 0\.21 +0\.1000 +600", text)
    assert re.search(r"50\.00 ± 1\.00 +2\.0000 +60", text)
    assert text.count(" *") == 2  # the row and its explanation
    assert marked.rsplit(maxsplit=1)[-1] in text


def test_one_epoch_is_named_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(Path("run"), Config(), {"recipe": "maml"})
    tables.show_evaluations(folder, {"batch": Evaluation(0.9, 0.01, 0.1, 6, "batch")}, [3])
    assert "5-way 1-shot, epoch 3" in capsys.readouterr().out
