"""``mamlkit bench`` on a tiny work: records alone as JSON, or tables and files; and what it refuses."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import AS_GOLDEN

from mamlkit.__main__ import main
from mamlkit.core.config import Config
from mamlkit.study.bench import growth, timing, workloads
from mamlkit.study.bench.iteration import Iteration
from mamlkit.study.bench.worker import Sample, peak_mib
from mamlkit.study.bench.workloads import Work

KEYS = ["work", "engine", "ms_median", "ms_spread", "speedup_over_naive", "gflops", "peak_share", "peak_mib"]
PROCESSES = ["in this process", pytest.param("in processes of their own", marks=pytest.mark.long)]
FILES = ["growth.json", "growth.png", "profile.json", "records.json"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One tiny work, one size in each direction, and a folder of its own."""
    monkeypatch.setattr(workloads, "WORKLOADS", {"T": Work("T", "tiny", AS_GOLDEN)})
    monkeypatch.setattr(growth, "AXES", {"n_steps": (1,), "n_tasks": (4,)})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(params=PROCESSES)
def engines_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that are timed in this process, which has torch loaded, or each in a fresh one as for a user."""

    @contextlib.contextmanager
    def here(engine: str, config: Config) -> Iterator[Callable[[], Sample]]:
        iterate = Iteration(engine, config)

        def run() -> Sample:
            begin = time.perf_counter()
            iterate()
            return Sample(1e3 * (time.perf_counter() - begin), peak_mib())

        yield run

    if request.param == "in this process":
        monkeypatch.setattr(timing, "worker", here)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.mark.usefixtures("engines_run", "no_compiler")
def test_json_is_one_list_of_records_and_nothing_else() -> None:
    result = CliRunner().invoke(main, ["bench", "--work", "T", "--samples", "2", "--json"])
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert [list(record) for record in records] == [KEYS] * 3
    assert [(record["work"], record["engine"]) for record in records] == [("T", x) for x in ("naive", "eager", "vmap")]
    naive, *_ = records
    for record in records:
        assert record["speedup_over_naive"] == pytest.approx(naive["ms_median"] / record["ms_median"])
        assert record["gflops"] > 0
        assert record["peak_mib"] > 50
        assert record["ms_spread"] >= 0
    assert result.stderr.count("compiled is left out: ") == 1
    assert "no C++ compiler" in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.long
@pytest.mark.usefixtures("engines_run", "compiled_cache")
def test_all_of_it_prints_tables_and_writes_files_that_say_what_they_depend_on() -> None:
    arguments = ["bench", "--work", "T", "--samples", "2", "--against", "eager", "--out", "there"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "left out" not in result.stderr
    for words in ("T: 3-way 2-shot, 2 queries per class, 2 tasks; tiny", "x eager", "4 tasks", "fused elementwise"):
        assert words in result.stdout
    [row] = [line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["eager"]]
    assert row[3] == "1.00"
    assert sorted(path.name for path in Path("there").iterdir()) == FILES
    found = {name: json.loads(Path("there", f"{name}.json").read_text()) for name in ("records", "growth", "profile")}
    description = Image.open("there/growth.png").text["Description"]
    for kept in (*found.values(), json.loads(description)):
        assert kept["configs"]["T"] == AS_GOLDEN.to_dict()
        assert kept["versions"].keys() >= {"python", "torch", "mamlkit"}
        assert kept.keys() >= {"threads", "processor", "samples"}
    assert [record["engine"] for record in found["records"]["records"]] == list(workloads.ENGINES)
    assert found["records"]["convolution_gflops"] > 0
    sizes = [("n_steps", 1), ("n_tasks", 4)]
    points = [(point["axis"], point["value"], point["engine"], point["memory"]) for point in found["growth"]["points"]]
    assert points == [(*size, *line) for size in sizes for line in growth.LINES]
    shares = found["profile"]["works"]["T"]["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares["convolution"], shares["fused elementwise"], shares["matrix products"]) > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--work", "T,W7"], "work = 'W7' is unknown; choose one of T"),
        (["--work", ""], "work = '' is unknown"),
        (["--work", "T", "--against", "compile"], "engine = 'compile' is unknown (did you mean 'compiled'?)"),
        (["--work", "T", "--against", "compiled"], "--against compiled is not possible: compiled is not used"),
        (["--work", "T", "--samples", "0"], "0 is not in the range x>=1"),
        (["--work", "T", "--out", "file"], "cannot write file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    arguments: list[str], sentence: str, no_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("a file")
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in " ".join(result.stderr.split())
