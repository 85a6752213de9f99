"""``mamlkit tour``, really run, small: its table, its page, and what it refuses."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mamlkit.__main__ import main

SMALL = ["--n-way", "2", "--epochs", "2", "--iterations-per-epoch", "2"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tour", *arguments])


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """One tour for all tests, with fewer filters and episodes."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"filters": 4, "n_tasks": 2, "q_query": 1, "eval_query": 1, "val_episodes": 4, "test_episodes": 4}
        patch.setattr("mamlkit.commands.tour.SIZES", sizes)
        patch.setenv("CXX", sys.executable)  # passes for a compiler: the reason is the length of the tour
        out = tmp_path_factory.mktemp("tour") / "new folder" / "report.html"
        result = run(*SMALL, "--out", str(out))
        assert result.exit_code == 0, result.output
        return result, out.read_text(encoding="utf-8")


def test_the_table_has_accuracy_with_interval_seconds_and_gradient_range_of_both(tour: tuple[Result, str]) -> None:
    accuracy, number = r"\d+\.\d\d ± \d+\.\d\d", r"[\d.e+-]+"
    row = rf"^ +(MAML\S*) +{accuracy} +{accuracy} +\d+ +{number} to {number} +0 *$"
    assert re.findall(row, tour[0].stdout, re.MULTILINE) == ["MAML", "MAML++"]


def test_every_epoch_of_both_methods_is_told_in_turn(tour: tuple[Result, str]) -> None:
    told = re.findall(r"^(MAML(?:\+\+)?) epoch (\d)/2", tour[0].stdout, re.MULTILINE)
    assert told == [("MAML", "1"), ("MAML++", "1"), ("MAML", "2"), ("MAML++", "2")]


def test_the_engine_is_named_with_its_reason_and_both_methods_take_it(tour: tuple[Result, str]) -> None:
    [why] = re.findall(r"^engine (\w+): (.+)$", tour[0].stdout, re.MULTILINE)
    assert why[0] == "vmap"
    assert "8 iterations of" in why[1]  # two epochs of two, of each method
    assert re.findall(r"^engine = &#34;(\w+)&#34;|^engine = \"(\w+)\"", tour[1], re.MULTILINE)


def test_the_time_left_is_told_after_every_epoch_of_both(tour: tuple[Result, str]) -> None:
    lines = [line for line in tour[0].stdout.splitlines() if " epoch " in line or line.endswith(" s left")]
    assert [line.split()[0] for line in lines] == ["MAML", "MAML++", "about"] * 2


def test_the_page_has_the_same_numbers_as_the_table_and_the_pictures(tour: tuple[Result, str]) -> None:
    result, page = tour
    accuracies = re.findall(r"\d+\.\d\d ± \d+\.\d\d", page)
    assert len(accuracies) == 4
    assert all(accuracy in result.stdout for accuracy in accuracies)
    assert len(re.findall("<img ", page)) == 5
    for title in ("Accuracy", "meta-gradient", "inner loop", "Batch norm", "inner rates"):
        assert re.search(f"<h2>[^<]*{title}", page), title
    assert "inner_lr = 0.1" in page
    assert re.search(r"SHA-256 of the data: [0-9a-f]{64}", page)


def test_the_footer_is_the_command_again(tour: tuple[Result, str]) -> None:
    [words] = re.findall(r"Made by: mamlkit tour (.*?)\. SHA", tour[1])
    given = dict(zip(words.split()[::2], words.split()[1::2]))
    assert given == {
        "--dataset": "glyphs", "--n-way": "2", "--epochs": "2", "--iterations-per-epoch": "2", "--seed": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "glyph"], "'glyph' is not one of 'glyphs', 'omniglot'"),
        (["--n-way", "500"], "n_way = 500 is more than the 210 classes in the test split of glyphs"),
        (["--epochs", "0"], "epochs = 0 is out of range; 1 or more is allowed"),
    ],
)
def test_bad_options_end_in_one_sentence_and_write_nothing(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    result = run(*arguments, "--out", str(tmp_path / "report.html"))
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(*SMALL, "--out", str(tmp_path / "file" / "report.html"))
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert "report.html" in result.stderr
    assert "epoch" not in result.stdout
