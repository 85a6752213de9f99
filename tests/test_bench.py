"""The measurements: what is timed is what it says, engines take turns, and the arithmetic on the times is right."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import json
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.schedules import step_config
from mamlkit.study.bench import breakdown, growth, peak, timing, workloads
from mamlkit.study.bench.growth import Point
from mamlkit.study.bench.iteration import Iteration, obstacle
from mamlkit.study.bench.records import about, flop, processor, records
from mamlkit.study.bench.timing import Timing
from mamlkit.study.bench.worker import Sample, peak_mib, worker
from mamlkit.study.bench.workloads import EPOCH, WORKLOADS, Work

TINY = Config(filters=3, n_way=2, q_query=1, n_tasks=2, n_steps=2, device="cpu")
MIB = 2**20


@pytest.mark.parametrize(
    ("name", "sizes", "gflop"),
    [
        ("W1", (5, 1, 1, 8), 38),
        ("W2", (20, 1, 1, 8), 151),
        ("W3", (20, 1, 1, 8), 188),
        ("W4", (20, 1, 1, 8), 56.5),
        ("W5", (5, 5, 15, 4), 106),
        ("W0", (5, 1, 1, 4), 0.389),
    ],
)
def test_each_work_has_its_episodes_and_its_arithmetic(name: str, sizes: tuple[int, ...], gflop: float) -> None:
    work = WORKLOADS[name]
    config, step = work.config, step_config(work.config, EPOCH)
    assert (config.n_way, config.k_shot, config.q_query, config.n_tasks) == sizes
    assert (config.filters, config.image_size, config.n_steps, config.inner_lr) == (
        8 if name == "W0" else 64,
        28,
        5,
        0.1,
    )
    assert step.second_order == (name != "W4")
    assert step.loss_weights == ((0.2,) * 5 if name == "W3" else (0, 0, 0, 0, 1))
    assert (config.learn_inner_lrs, config.per_step_bn, config.per_step_stats) == (name == "W3",) * 3
    assert flop(work) / 1e9 == pytest.approx(gflop, rel=0.02)


def test_an_unknown_work_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"work = 'W6' is unknown.* choose one of W1, W2, W3, W4, W5, W0"):
        workloads.choose("W1,W6")


@pytest.mark.parametrize("module", [workloads, breakdown, growth], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("changes", [{}, {"learn_inner_lrs": True, "multi_step_loss": True}, {"second_order": False}])
def test_every_engine_takes_the_same_adam_step(changes: dict[str, bool]) -> None:
    learners = []
    for engine in ("naive", "eager", "vmap"):
        iterate = Iteration(engine, dataclasses.replace(TINY, dtype="float64", **changes))
        start = iterate.learner.params["head.weight"].clone()
        iterate()
        assert not torch.equal(iterate.learner.params["head.weight"], start)
        learners.append(iterate.learner)
    naive, *others = learners
    for other in others:
        for name in ("convs.1.weight", "norms.2.weight", "head.weight"):
            assert torch.allclose(naive.params[name], other.params[name], rtol=0, atol=1e-9), name
    assert [learner.config.engine for learner in others] == ["eager", "vmap"]
    moved = [learner.buffers["norms.0.running_mean"].abs().max().item() > 0 for learner in learners]
    assert moved == [False, True, True]  # the textbook loop is another: it records no statistics


def test_a_step_that_is_not_finite_is_no_timing() -> None:
    with pytest.raises(InputError, match="meta-gradient of the engine naive is not finite"):
        Iteration("naive", dataclasses.replace(TINY, inner_lr=1e30))()


def test_the_obstacle_is_the_reason_that_an_engine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler" in obstacle("compiled", TINY)
    assert obstacle("naive", TINY) == obstacle("vmap", TINY) == ""


def test_a_worker_times_iterations_and_counts_its_own_memory_alone() -> None:
    ballast = b"x" * (700 * MIB)
    assert peak_mib() > len(ballast) / MIB
    with worker("naive", TINY) as run:
        first, second = run(), run()
    assert first.ms > 0
    assert 50 < first.peak_mib <= second.peak_mib < 700


def test_a_worker_that_ends_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with worker("compiled", TINY) as run, pytest.raises(InputError, match=r"the engine compiled ended: .*no C"):
        run()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Workers whose n-th iteration takes n milliseconds (engine a) or n squared (any other), and who ran when."""
    order: list[str] = []

    @contextlib.contextmanager
    def fake(engine: str, config: Config) -> Iterator[Callable[[], Sample]]:
        def run() -> Sample:
            order.append(engine)
            n = float(order.count(engine))
            return Sample(n if engine == "a" else n**2, 100 + n)

        yield run

    monkeypatch.setattr(timing, "worker", fake)
    return order


def test_engines_take_turns_and_the_warm_up_does_not_count(turns: list[str]) -> None:
    seen: list[int] = []
    a, b = timing.time_in_turns([("a", TINY), ("b", TINY)], 5, lambda: seen.append(len(turns)))
    assert turns == ["a", "b"] * (timing.WARM_UP + 5)
    assert a == Timing("a", (3, 4, 5, 6, 7), 107)
    assert (a.median, a.iqr) == (5, 2)
    assert (b.median, b.iqr) == (25, 36 - 16)
    assert len(seen) == 10


def test_the_peak_is_that_of_the_fastest_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(peak, "time", SimpleNamespace(perf_counter=lambda: 1e-3 * next(ticks)))
    flop = 2 * 160 * 14 * 14 * 64 * 64 * 9  # of the largest, in one tick of a millisecond
    assert peak.convolution_peak(0.01) == pytest.approx(flop / 1e-3 / 1e9)


def test_a_record_sets_times_against_the_textbook_loop_and_the_convolutions() -> None:
    work = Work("T", "tiny", TINY)
    naive, fast = records(work, [Timing("naive", (40, 50, 60), 400), Timing("vmap", (10, 10, 14), 300)], peak=2.0)
    assert fast._asdict() == {
        "work": "T",
        "engine": "vmap",
        "ms_median": 10,
        "ms_spread": 2,
        "speedup_over_naive": 5,
        "gflops": pytest.approx(flop(work) / 10e-3 / 1e9),
        "peak_share": pytest.approx(flop(work) / 10e-3 / 1e9 / 2),
        "peak_mib": 300,
    }
    assert (naive.speedup_over_naive, naive.ms_median) == (1, 50)


def test_what_the_numbers_depend_on_is_kept() -> None:
    kept = json.loads(json.dumps(about({"T": TINY.to_dict()}, 7)))
    assert kept["configs"]["T"] == TINY.to_dict()
    assert kept["versions"].keys() >= {"python", "torch", "mamlkit"}
    assert (kept["threads"], kept["samples"]) == (torch.get_num_threads(), 7)
    assert kept["processor"] == processor() != ""


def test_the_breakdown_counts_each_kind() -> None:
    x, w, square = torch.rand(8, 32, 28, 28), torch.rand(32, 32, 3, 3), torch.rand(700, 700)

    def iterate() -> None:
        F.conv2d(x, w)
        square @ square

    shares, longest = breakdown.breakdown(iterate)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["convolution"] > 0
    assert shares["matrix products"] > 0
    assert shares["allocation"] > 0
    assert shares["convolution"] + shares["matrix products"] > 0.5
    assert shares["fused elementwise"] == 0
    assert "aten::mm" in longest
    assert list(longest.values()) == sorted(longest.values(), reverse=True)


def test_growth_measures_each_line_at_each_size_until_the_textbook_loop_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[tuple[str, Config]] = []

    def fake(contenders: list[tuple[str, Config]], samples: int) -> list[Timing]:
        timed.extend(contenders)
        return [Timing(engine, (1e3 * c.n_steps * c.n_tasks,) * samples, 10.0 * c.n_tasks) for engine, c in contenders]

    monkeypatch.setattr(growth, "time_in_turns", fake)
    monkeypatch.setattr(growth, "AXES", {"n_steps": (1, 2, 4), "n_tasks": (1, 4)})
    seen: list[None] = []
    points = growth.measure(dataclasses.replace(TINY, n_tasks=1), ("naive", "compiled"), 2, lambda: seen.append(None))
    found = {(p.axis, p.value, p.engine, p.memory): (p.ms_median, p.peak_mib) for p in points}
    for memory in ("normal", "low"):
        lines = [key for key in found if key[2:] == ("compiled", memory)]
        assert [key[:2] for key in lines] == [("n_steps", n) for n in (1, 2, 4)] + [("n_tasks", n) for n in (1, 4)]
    assert found["n_tasks", 4, "compiled", "low"] == (8000, 40)
    assert [key[:2] for key in found if key[2] == "naive"] == [*(("n_steps", n) for n in (1, 2, 4)), ("n_tasks", 1)]
    assert [(c.n_steps, c.n_tasks, c.memory) for engine, c in timed if engine == "compiled"][-1] == (2, 4, "low")
    assert len(seen) == 5


def test_the_drawing_of_growth_shows_the_points_in_seconds_and_gibibytes() -> None:
    points = [
        Point(axis, value, engine, memory, 1e3 * value, 0.0, 512.0)
        for axis, values in growth.AXES.items()
        for value in values
        for engine, memory in growth.LINES
    ]
    figure = Figure()
    growth.draw(figure, points, title="W1")
    time, _, memory, last = figure.axes
    assert "(s)" in time.get_ylabel()
    assert "GiB" in memory.get_ylabel()
    assert (memory.get_xlabel(), last.get_xlabel()) == ("inner steps", "tasks")
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len({line.get_linestyle() for line in lines}) == len(lines) == 3
    assert time.get_lines()[0].get_xydata().tolist() == [[n, n] for n in growth.AXES["n_steps"]]
    assert set(last.get_lines()[2].get_ydata()) == {0.5}
    assert [text.get_text() for text in time.get_legend().get_texts()] == ["compiled", "compiled, memory low", "naive"]
