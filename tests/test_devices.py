"""Mac and GPU without one at hand: what is computed where, on a device that is as strict as either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerator import DEVICE, Accelerator, OnDevice
from click.testing import CliRunner
from scripts import load_script
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils import _pytree as pytree

from mamlkit import Config, Episode, ImageStore, InputError, MetaLearner, configure, engines
from mamlkit.__main__ import main
from mamlkit.core import networks
from mamlkit.core.episodes import as_bytes
from mamlkit.core.schedules import step_config
from mamlkit.datasets.drawings import Sheet
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.game import make_game
from mamlkit.show.live.theatre import Theatre
from mamlkit.show.live.travel import travel
from mamlkit.show.live.wall import Wall, answer
from mamlkit.show.widgets.pad import DrawingPad
from mamlkit.show.widgets.theatre import TrainingTheatre
from mamlkit.show.widgets.travel import TravelExplorer
from mamlkit.training import learner, parallel
from mamlkit.training.diagnostics import bn_drift, trace_batch
from mamlkit.training.evaluation import evaluate_norms, mean_ci95
from mamlkit.training.parallel import Ranks, choose_backend, joined
from mamlkit.training.trainer import Trainer, make_sampler

SIZES: dict[str, Any] = dict(n_way=2, q_query=1, eval_query=2, filters=3, n_steps=2, n_tasks=2, tasks_per_chunk=2)
LENGTH: dict[str, Any] = dict(epochs=2, iterations_per_epoch=2, val_episodes=3, test_episodes=3, ensemble=1)
ON_CPU = configure("mamlpp", **SIZES, **LENGTH, device="cpu", engine="vmap")
CONFIG = replace(ON_CPU, device="mps")
SHAPE = (1, 28, 28)
check_device = load_script(Path(__file__).parents[1] / "data" / "check_device.py")


@pytest.fixture
def no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every device be torch's ``meta``, on which there are shapes alone: a number that is read is an error."""
    monkeypatch.setattr(learner, "pick_device", lambda name: DEVICE)


@pytest.fixture
def accelerator(no_numbers: None) -> Iterator[Accelerator]:
    """Let every device be an accelerator without float64."""
    with Accelerator() as mode:
        yield mode


def make(config: Config = CONFIG) -> MetaLearner:
    return MetaLearner.from_config(config, SHAPE)


def draw(store: ImageStore) -> Episode:
    return make_sampler(store, CONFIG, "train").batch(0, 2)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_accelerator_has_no_float64_and_mixes_with_numbers_alone(accelerator: Accelerator) -> None:
    x = torch.ones(3, device=DEVICE)
    assert (x * 2.0 + torch.tensor(1.0)).cpu().tolist() == [3.0] * 3
    assert x.cpu().double().dtype == torch.float64
    for convert in (Tensor.double, lambda x: x.to("cpu", torch.float64), lambda x: torch.zeros(3).double().copy_(x)):
        with pytest.raises(TypeError, match="doesn't support float64"):
            convert(x)
    with pytest.raises(TypeError, match="doesn't support float64"):
        torch.zeros(3, dtype=torch.float64, device=DEVICE)
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    with pytest.raises(RuntimeError, match="numpy"):
        x.numpy()
    waits = accelerator.waits
    assert float(x.sum()) == 3.0
    assert accelerator.waits == waits + 1


def test_a_training_on_the_accelerator_has_the_numbers_of_the_cpu(glyphs: ImageStore, no_numbers: None) -> None:
    with Accelerator():
        there = Trainer.from_config(CONFIG, glyphs)
        assert all(type(value) is OnDevice for value in there.learner.state().values() if value.dim())
        found = [replace(record, seconds=0.0) for record in there.epochs()]
        state = {name: value.cpu() for name, value in there.learner.state().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "pick_device", torch.device)
        here = Trainer.from_config(ON_CPU, glyphs)
        assert found == [replace(record, seconds=0.0) for record in here.epochs()]
    assert all(torch.equal(state[name], value) for name, value in here.learner.state().items())


@pytest.mark.usefixtures("accelerator")
def test_train_resume_and_evaluate_run_on_the_accelerator(tmp_path: Path) -> None:
    sizes = [
        item
        for key, value in {**SIZES, **LENGTH, "device": "mps"}.items()
        for item in (f"--{key.replace('_', '-')}", str(value))
    ]
    folders = [str(tmp_path / name) for name in ("straight", "resumed")]
    for folder in folders:
        run("train", "--recipe", "mamlpp", *sizes, "--out", folder)
    for name in ("result.json", "checkpoints/epoch-0002.safetensors"):
        (tmp_path / "resumed" / name).unlink()
    run("train", "--resume", folders[1])
    first, second = (
        json.loads(run("evaluate", folder, "--ensemble", "1", "--json"))["evaluations"] for folder in folders
    )
    assert first == second
    assert set(first) == {"batch", "running"}


@pytest.mark.usefixtures("accelerator")
def test_the_tour_runs_on_the_accelerator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"filters": 3, "n_tasks": 2, "q_query": 1, "eval_query": 1, "val_episodes": 2, "test_episodes": 2}
    monkeypatch.setattr("mamlkit.commands.tour.SIZES", sizes)
    out = tmp_path / "tour.html"
    said = run("tour", "--n-way", "2", "--epochs", "1", "--iterations-per-epoch", "1", "--out", str(out))
    assert "MAML++" in said
    assert out.is_file()


@pytest.mark.usefixtures("accelerator")
def test_scores_and_intervals_are_computed_on_the_cpu(glyphs: ImageStore) -> None:
    found = evaluate_norms([make(), make()], make_sampler(glyphs, CONFIG, "test"), 3)
    assert all(0 <= evaluation.accuracy <= 1 for evaluation in found.values())
    assert mean_ci95(torch.tensor([0.5, 0.75]).to(DEVICE))[0] == 0.625


@pytest.mark.usefixtures("accelerator")
def test_the_theatre_its_figure_and_diagnostics_run_on_the_accelerator(glyphs: ImageStore) -> None:
    theatre = Theatre(CONFIG, glyphs, look_every=2)
    figure = TrainingTheatre(lambda recipe, rate: theatre, {"mamlpp": "MAML++"}, ahead=3)
    theatre.set_rate(0.2)
    theatre.advance()
    seen = figure.theatre.snapshot()
    assert (len(seen["loss"]), len(seen["at"])) == (4, 3)
    rows = bn_drift(trace_batch(theatre.learner, draw(glyphs)))
    assert np.isfinite([row["shift"] for row in rows]).all()


@pytest.mark.usefixtures("accelerator")
def test_live_pages_run_on_the_accelerator(glyphs: ImageStore) -> None:
    start, sampler = make(), make_sampler(glyphs, CONFIG, "test")
    episode = sampler.episode(0)
    assert Classifier(start, episode.support_x).probabilities(episode.query_x).device == DEVICE
    assert make_game(glyphs, {"start": start}, lambda picture: picture, n_rounds=1, n_way=2, seed=0).rounds
    assert answer(Wall({}, glyphs, sampler, (), ()), {"start": start}, episodes=2).accuracy("start")[0] <= 1
    TravelExplorer({"start": travel(start, episode, grid=3)})
    strokes = {str(i): (((10, 10), (90, 20 + 50 * i)),) for i in range(2)}
    shares, _ = DrawingPad({"start": start}).answer(Sheet(strokes, strokes["0"]), "start")
    assert shares.shape == (3, 2)


@pytest.mark.usefixtures("accelerator")
def test_pictures_of_the_accelerator_become_bytes() -> None:
    assert as_bytes(torch.full((2, 2), 0.5, device=DEVICE)).tolist() == [[128, 128]] * 2


def test_a_step_waits_for_the_device_once(glyphs: ImageStore, accelerator: Accelerator) -> None:
    one = make(replace(CONFIG, grad_clip=1.0))
    step = one.meta_step(draw(glyphs), 0)
    before = accelerator.waits
    assert one.apply(step, 0)
    assert accelerator.waits == before + 1


def test_the_statistics_are_folded_without_a_wait(glyphs: ImageStore, accelerator: Accelerator) -> None:
    one, before = make(), accelerator.waits
    one.meta_step(draw(glyphs), 0)
    assert accelerator.waits == before


@pytest.mark.usefixtures("no_numbers")
@pytest.mark.parametrize("settings", [{"engine": "eager", "tasks_per_chunk": 0}, {"engine": "vmap"}, {"memory": "low"}])
def test_on_the_meta_device_every_engine_makes_its_tensors_there(settings: dict[str, Any], glyphs: ImageStore) -> None:
    one = make(replace(CONFIG, **settings))
    step = one.meta_step(draw(glyphs), 0)
    assert {tensor.device for tensor in pytree.tree_leaves(tuple(step))} == {DEVICE}
    assert all(step.buffers[name].shape == value.shape for name, value in one.buffers.items())


@pytest.mark.usefixtures("no_numbers")
def test_on_the_meta_device_evaluation_and_the_classifier_make_their_tensors_there(glyphs: ImageStore) -> None:
    one = make()
    batch = one.to_device(draw(glyphs))
    logits = one.query_logits(batch, ("batch", "running"))
    assert (logits.shape, logits.device) == ((2, 2, 4, 2), DEVICE)
    classifier = Classifier(one, batch.support_x[0])
    for norm in ("batch", "running"):
        assert classifier.probabilities(batch.query_x[0], norm).device == DEVICE


def test_the_compiled_engine_is_refused_on_a_device_and_taken_for_the_cpu_of_a_mac(
    glyphs: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engines.compiler, "cxx", lambda: "clang++")
    batch = draw(glyphs)
    for device, there, engine in (("mps", DEVICE, "vmap"), ("auto", torch.device("cpu"), "compiled")):
        config = replace(ON_CPU, device=device, engine="compiled")
        own = Episode(*(part.to(there) for part in batch))
        assert engines.choose(make(ON_CPU).problem, config, own).engine == engine
        assert learner.pick_device(device).type == {"mps": "mps", "auto": "cpu"}[device]


def test_mps_with_float64_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    sentence = "dtype = 'float64' does not exist on device = 'mps'; 'float32' is allowed there"
    with pytest.raises(InputError, match=f"^{sentence}$"):
        Config(device="mps", dtype="float64")
    out = tmp_path / "run"
    result = CliRunner().invoke(main, ["train", "--device", "mps", "--dtype", "float64", "--out", str(out)])
    assert (result.exit_code, out.exists()) == (2, False)
    assert sentence in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("cuda", "nccl", "backend"),
    [
        (False, False, "gloo"),
        (True, False, "gloo"),
        (True, True, "cpu:gloo,cuda:nccl"),
        (False, True, "gloo"),
    ],
)
def test_torchrun_takes_nccl_only_where_there_are_cuda_and_nccl(
    cuda: bool, nccl: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_backend(cuda=cuda, nccl=nccl) == backend
    asked, begin = [], dist.init_process_group

    def init(name: str, **place: Any) -> None:
        asked.append(name)
        begin(re.sub("gloo|nccl", "fake", name), **place)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: nccl)
    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(parallel, "rendezvous", lambda url: iter([(FakeStore(), 1, 2)]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with joined() as ranks:
        assert ranks == Ranks(1, 2, 1)
        assert ranks.total([torch.ones(2)])[0].shape == (2,)
    assert asked == [backend]


def test_tensors_of_a_device_without_nccl_go_through_the_cpu(
    glyphs: ImageStore, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[torch.device] = []
    monkeypatch.setattr(dist, "all_reduce", lambda flat: sent.append(flat.device))
    monkeypatch.setattr(dist, "all_gather", lambda shares, flat: sent.append(flat.device))
    monkeypatch.setattr(dist, "get_backend_config", lambda: "cpu:gloo,meta:gloo")
    one = make()
    step = one.meta_step(draw(glyphs), 0)
    whole = Ranks(0, 2, 0).combine(step, one.buffers, step_config(CONFIG, 0))
    assert {device.type for device in sent} == {"cpu"}
    assert {tensor.device for tensor in pytree.tree_leaves(tuple(whole))} == {DEVICE}
    monkeypatch.setattr(dist, "get_backend_config", lambda: f"cpu:gloo,{DEVICE.type}:nccl")
    Ranks(0, 2, 0).total([step.loss])
    assert sent[-1] == DEVICE


def test_weights_are_drawn_from_the_seed_and_no_generator_of_a_gpu_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CONFIG.seed)
        expected = dict(networks.build(ON_CPU, SHAPE).named_parameters())

    def seeded(seed: int) -> None:
        pytest.fail("a generator of a GPU is seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    monkeypatch.setattr(torch.mps, "manual_seed", seeded)
    params = make(ON_CPU).params
    assert all(torch.equal(params[name], value) for name, value in expected.items())


@pytest.mark.long
def test_the_check_of_a_device_passes_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    rows = check_device.check("cpu", filters=3, iterations=2, episodes=4)
    assert [row.name for row in rows if not row.ok] == []
    assert len(rows) >= 6


def test_the_check_of_a_device_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(check_device.main, ["--device", "cuda"])
    assert result.exit_code == 2
    assert "device = 'cuda' is not on this machine" in result.stderr


def test_the_check_fails_with_one_where_a_row_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_device, "check", lambda device: [check_device.Row("train", False, "1", "0")])
    result = CliRunner().invoke(check_device.main, ["--device", "cpu"])
    assert result.exit_code == 1
    assert "failed" in result.stdout
