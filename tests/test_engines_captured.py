"""The closed form as a CUDA graph, without a GPU: the same code is run again where a graph would be replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_engines import episodes
from tiny import AS_GOLDEN
from torch.utils import _pytree as pytree

from mamlkit import Config, Episode, InputError, MetaLearner
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.schedules import StepConfig
from mamlkit.engines import captured, closed_form, inner_step
from mamlkit.engines.captured import Recording
from mamlkit.training import learner

SHAPE = (1, 28, 28)
DOUBLE = dataclasses.replace(AS_GOLDEN, dtype="float64", engine="compiled")
FIXES = {"per_step_bn": True, "per_step_stats": True, "multi_step_loss": True, "learn_inner_lrs": True}


class Recorder:
    """A recording that computes again; it counts recordings and replays."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0
        self.change: Callable[[MetaStep], None] = lambda step: None

    def __call__(self, compute: Callable[[], MetaStep]) -> Recording:
        self.recordings += 1
        outputs = compute()

        def replay() -> None:
            self.replays += 1
            for leaf, new in zip(pytree.tree_leaves(outputs), pytree.tree_leaves(compute()), strict=True):
                leaf.copy_(new)
            self.change(outputs)

        return Recording(outputs, replay)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Let the CPU and torch's ``meta`` device be GPUs."""
    made = Recorder()
    monkeypatch.setattr(captured, "DEVICES", ("cpu", "meta"))
    monkeypatch.setattr(captured, "record", made)
    return made


def leaves(step: MetaStep) -> list[torch.Tensor]:
    return pytree.tree_leaves(tuple(step))


def other(batch: Episode) -> Episode:
    return batch._replace(support_x=batch.support_x.flip(0), query_x=1 - batch.query_x)


@pytest.mark.parametrize("fixes", [{}, FIXES, {"second_order": False}, {"memory": "low"}, {"max_pool": False}])
def test_a_replay_has_the_numbers_of_eager_for_every_batch(recorder: Recorder, fixes: dict[str, Any]) -> None:
    config = dataclasses.replace(DOUBLE, **fixes)
    ours = MetaLearner.from_config(config, SHAPE)
    reference = MetaLearner.from_config(dataclasses.replace(config, engine="eager"), SHAPE)
    for batch in (episodes(torch.float64), other(episodes(torch.float64))):
        found, expected = (each.meta_step(batch, 0) for each in (ours, reference))
        assert ours.choice is not None
        assert ours.choice.engine == "compiled"
        for a, b in zip(leaves(found), leaves(expected), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
        assert ours.apply(found, 0) == reference.apply(expected, 0) is True
    assert recorder.recordings == 2, "one for the comparison, one for the training"
    assert recorder.replays == 3


def test_a_setting_of_another_epoch_is_recorded_anew(recorder: Recorder) -> None:
    ours = MetaLearner.from_config(dataclasses.replace(DOUBLE, **FIXES, msl_share=1.0, epochs=2), SHAPE)
    for epoch in (0, 0, 1, 1):
        ours.meta_step(episodes(torch.float64), epoch)
    assert recorder.recordings == 3


def test_the_results_of_a_replay_stay_when_the_next_comes(recorder: Recorder) -> None:
    ours = MetaLearner.from_config(DOUBLE, SHAPE)
    first = ours.meta_step(episodes(torch.float64), 0)
    before = [leaf.clone() for leaf in leaves(first)]
    ours.meta_step(other(episodes(torch.float64)), 0)
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(leaves(first), before, strict=True))


def test_a_replay_that_gives_a_nan_is_a_refused_step(recorder: Recorder) -> None:
    ours = MetaLearner.from_config(DOUBLE, SHAPE)
    ours.choose_engine(episodes(torch.float64))

    def spoil(step: MetaStep) -> None:
        step.gradient.model["head.bias"].fill_(torch.nan)

    recorder.change = spoil
    before = {name: tensor.clone() for name, tensor in ours.state().items()}
    assert not ours.apply(ours.meta_step(episodes(torch.float64), 0), 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state().items())


@pytest.mark.parametrize(("dtype", "bound"), [("float64", "1e-09"), ("float32", "0.05")])
def test_a_recording_that_does_not_agree_with_eager_is_not_used(recorder: Recorder, dtype: str, bound: str) -> None:
    def double(step: MetaStep) -> None:
        step.gradient.model["head.weight"].mul_(2)

    recorder.change = double
    ours = MetaLearner.from_config(dataclasses.replace(DOUBLE, dtype=dtype), SHAPE)
    choice = ours.choose_engine(episodes(torch.float64))
    assert choice.engine == "vmap"
    [why] = choice.why
    assert why.startswith("engine vmap: compiled cannot be used, its first meta-gradient is ")
    assert why.endswith(f" of its norm off that of eager in float64; {bound} is allowed")


@pytest.mark.parametrize(("fits", "chunk"), [(4, 4), (3, 2), (1, 1)])
def test_a_graph_that_does_not_fit_computes_fewer_tasks_at_once_and_says_so(
    recorder: Recorder, fits: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, fits)
    batch = Episode(*(torch.cat([x, x]) for x in episodes(torch.float64)))
    ours = MetaLearner.from_config(dataclasses.replace(DOUBLE, n_tasks=4), SHAPE)
    choice = ours.choose_engine(batch)
    assert (choice.engine, choice.tasks_per_chunk) == ("compiled", chunk)
    said = f"4 tasks at once need more memory than the GPU has; {chunk} are computed at once"
    assert choice.why == ((said,) if chunk < 4 else ())
    ours.meta_step(batch, 0)


def test_a_task_that_does_not_fit_alone_leaves_the_engine(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0)
    choice = MetaLearner.from_config(DOUBLE, SHAPE).choose_engine(episodes(torch.float64))
    sentence = "engine vmap: compiled cannot be used, one task alone needs more memory than the GPU has"
    assert (choice.engine, choice.why) == ("vmap", (sentence,))


def short_of_memory(monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    """Let the closed form raise as a GPU does if more than ``fits`` tasks are computed at once."""
    whole = inner_step.inner_step

    def scarce(shape: closed_form.Shape, *arguments: Any, rates: torch.Tensor) -> inner_step.InnerStep:
        if shape.n_tasks > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(shape, *arguments, rates=rates)

    monkeypatch.setattr(inner_step, "inner_step", scarce)


def test_no_tensor_is_made_elsewhere_and_no_number_is_read(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "pick_device", lambda name: torch.device("meta"))
    config = dataclasses.replace(DOUBLE, dtype="float32", engine="compiled", **FIXES)
    ours = MetaLearner.from_config(config, SHAPE)
    batch = ours.to_device(episodes(torch.float32))
    engine = captured.make(ours.problem, config, 2)
    found = engine(ours.meta, ours.buffers, batch, StepConfig((0.5, 0.5)))
    assert {leaf.device.type for leaf in leaves(found)} == {"meta"}
    assert {name: tensor.shape for name, tensor in found.gradient.model.items()} == {
        name: tensor.shape for name, tensor in ours.params.items()
    }


def test_evaluation_answers_as_eager_does(recorder: Recorder) -> None:
    batch = episodes(torch.float64)
    answers = [
        MetaLearner.from_config(dataclasses.replace(DOUBLE, engine=engine), SHAPE).query_logits(
            batch, ["batch", "running"]
        )
        for engine in ("compiled", "eager")
    ]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device": "cpu"}, "tf32 has no meaning where device = 'cpu'; it is for float32 on cuda"),
        (
            {"device": "cuda", "dtype": "float64"},
            "tf32 has no meaning where dtype = 'float64'; it is for float32 on cuda",
        ),
    ],
)
def test_tf32_is_for_float32_on_cuda(changes: dict[str, Any], sentence: str) -> None:
    assert Config(tf32=True, device="cuda").tf32
    with pytest.raises(InputError, match=f"^{sentence}$"):
        Config(tf32=True, **changes)
