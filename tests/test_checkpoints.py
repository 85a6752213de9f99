"""Checkpoints of both formats: all comes back, nothing is executed, and a damaged or foreign one is refused by name."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import same
from torch import Tensor

from mamlkit import Config, ImageStore, InputError, MetaLearner, Problem, Trainer, configure
from mamlkit.core.networks import MLP
from mamlkit.runs import checkpoints

TINY = configure(
    "mamlpp", n_way=2, filters=3, n_steps=2, n_tasks=2, epochs=2, iterations_per_epoch=2, val_episodes=2, eval_query=2
)
SMALL = configure("maml+lslr", n_steps=2)
SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def trained(glyphs: ImageStore) -> MetaLearner:
    """A learner after one epoch; for reading only."""
    trainer = Trainer.from_config(TINY, glyphs)
    next(trainer.epochs())
    return trainer.learner


@pytest.fixture
def new(trained: MetaLearner, tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "epoch.safetensors", trained, 1)
    return tmp_path / "epoch.safetensors"


@pytest.fixture
def old(new: Path, tmp_path: Path) -> Path:
    """The same checkpoint as older versions wrote it."""
    header, state = checkpoints.read(new)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state.items()}
    np.savez(tmp_path / "epoch.npz", **{"header": np.array(json.dumps(header)), **arrays})
    return tmp_path / "epoch.npz"


@pytest.fixture(params=["new", "old"])
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def fresh(**values: Any) -> MetaLearner:
    return MetaLearner.from_config(Config.from_dict(values, TINY), SHAPE)


def snapshot(learner: MetaLearner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state().items()}


def refused(path: Path, sentence: str, learner: MetaLearner | None = None) -> None:
    """Check that ``restore`` says the sentence, in one line, and leaves the learner as it was."""
    learner = learner or fresh()
    before = snapshot(learner)
    with pytest.raises(InputError, match=sentence) as caught:
        checkpoints.restore(path, learner, 1)
    assert "\n" not in str(caught.value)
    assert same(before, snapshot(learner))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arrays of a checkpoint, its header as a dictionary; a checksum is made anew."""
    header, state = checkpoints.read(path)
    arrays: dict[str, Any] = {"header": header, **{name: tensor.numpy() for name, tensor in state.items()}}
    change(arrays)
    header = arrays.pop("header")
    if path.suffix == ".npz":
        text = np.array(json.dumps(header)) if isinstance(header, dict) else header
        np.savez(path, **{"header": text, **arrays})
    else:
        checkpoints._write(path, header, {name: torch.from_numpy(array) for name, array in arrays.items()})


def test_everything_comes_back_with_the_number_of_epochs(trained: MetaLearner, path: Path) -> None:
    learner = fresh()
    assert not same(snapshot(learner), snapshot(trained))
    checkpoints.restore(path, learner, 1)
    assert same(snapshot(learner), snapshot(trained))
    assert same(learner.params, trained.params)
    assert same(learner.buffers, trained.buffers)
    assert torch.equal(learner.inner_lrs, trained.inner_lrs)
    assert sum(name.startswith("adam/") for name in learner.state()) == 3 * (len(trained.params) + 1)


def test_a_restored_learner_goes_on_bit_for_bit(trained: MetaLearner, path: Path, glyphs: ImageStore) -> None:
    batch = Trainer.from_config(TINY, glyphs).train.batch(100, 2)
    learners = [fresh(), fresh()]
    for learner in learners:
        checkpoints.restore(path, learner, 1)
        assert learner.apply(learner.meta_step(batch, epoch=1), epoch=1)
    assert same(*(snapshot(learner) for learner in learners))
    without_moments = fresh()
    without_moments.load_state({k: v for k, v in trained.state().items() if not k.startswith("adam/")})
    without_moments.apply(without_moments.meta_step(batch, epoch=1), epoch=1)
    assert not same(snapshot(without_moments), snapshot(learners[0]))
    assert snapshot(learners[0])["adam/0/step"] == 3


def test_a_learner_that_never_stepped_has_a_checkpoint_too(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "start.safetensors", fresh(), 0)
    checkpoints.restore(tmp_path / "start.safetensors", fresh(), 0)


def test_equal_learners_have_equal_files(trained: MetaLearner, new: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "again.safetensors", trained, 1)
    assert (tmp_path / "again.safetensors").read_bytes() == new.read_bytes()


def test_other_tools_read_the_tensors_and_the_header(trained: MetaLearner, new: Path) -> None:
    with safe_open(new, framework="numpy") as file:
        assert sorted(file.keys()) == sorted(trained.state())
        header = json.loads(file.metadata()["header"])
    assert (header["epoch"], header["config"]) == (1, TINY.to_dict())


BITS = {
    "half": torch.tensor([1.5, math.nan, -0.0, 1e-40], dtype=torch.bfloat16),
    "zero-dimensional": torch.tensor(1 / 3, dtype=torch.float64),
    "count": torch.tensor(2**60 + 1),
    "flags": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "not finite": torch.tensor([math.inf, -math.inf, math.nan]),
}


def test_every_bit_of_every_kind_of_tensor_comes_back(tmp_path: Path) -> None:
    first, second = (MetaLearner(Problem(MLP(1, 1, hidden=(3,))), SMALL) for _ in range(2))
    first.buffers |= BITS | {"shared": BITS["not finite"]}
    second.buffers |= {name: torch.zeros_like(value) for name, value in first.buffers.items()}
    checkpoints.save(tmp_path / "kinds.safetensors", first, 0)
    checkpoints.restore(tmp_path / "kinds.safetensors", second, 0)
    for name, value in first.buffers.items():
        found = second.buffers[name]
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        assert torch.equal(*(x.flatten().view(torch.uint8) for x in (found, value))), name


def test_a_tensor_that_the_format_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    learner = MetaLearner(Problem(MLP(1, 1, hidden=(3,))), SMALL)
    learner.buffers["phase"] = torch.zeros(2, dtype=torch.complex128)
    with pytest.raises(InputError, match=r"^cannot write .*: the format cannot store the dtype torch\.complex128$"):
        checkpoints.save(tmp_path / "epoch.safetensors", learner, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_device_may_be_another(path: Path, trained: MetaLearner) -> None:
    learner = fresh(device="cpu")
    checkpoints.restore(path, learner, 1)
    assert same(snapshot(learner), snapshot(trained))


@pytest.mark.parametrize(
    ("key", "theirs", "ours"),
    [
        ("seed", 0, 1),
        ("n_way", 2, 3),
        ("filters", 3, 4),
        ("inner_lr", 0.1, 0.2),
        ("cosine_lr", True, False),
        ("dtype", "float32", "float64"),
        ("val_episodes", 2, 3),
    ],
)
def test_another_configuration_is_refused_with_the_key_and_both_values(
    path: Path, key: str, theirs: Any, ours: Any
) -> None:
    sentence = f"{path} has another configuration: its {key} is {theirs!r}, and {ours!r} is needed"
    refused(path, f"^{re.escape(sentence)}$", fresh(**{key: ours}))


def test_an_option_of_a_newer_version_is_refused(path: Path) -> None:
    edit(path, lambda arrays: arrays["header"]["config"].update(magic=7))
    sentence = "has the option magic = 7, which this version of mamlkit does not know; read it with the version that"
    refused(path, f"^{re.escape(str(path))} {sentence}")


def test_an_option_that_an_older_version_lacked_has_its_default(path: Path, trained: MetaLearner) -> None:
    edit(path, lambda arrays: [arrays["header"]["config"].pop(key) for key in ("autocast", "seed", "beta2")])
    refused(path, "its beta2 is 0.999, and 0.99 is needed")  # the default, and not the recipe's
    learner = fresh(beta2=0.999)
    checkpoints.restore(path, learner, 1)
    assert same(snapshot(learner), snapshot(trained))


def test_an_option_that_is_not_allowed_is_refused(path: Path) -> None:
    edit(path, lambda arrays: arrays["header"]["config"].update(n_way=1))
    refused(path, f"^{re.escape(str(path))} has an invalid configuration: n_way = 1 is out of range")


def test_another_format_is_refused_with_both_numbers(path: Path) -> None:
    edit(path, lambda arrays: arrays["header"].update(format=2))
    refused(path, f"^{re.escape(str(path))} has checkpoint format 2; this version of mamlkit reads 1$")


def test_a_network_with_other_layers_or_other_shapes_is_refused(tmp_path: Path) -> None:
    two, three, wide = (MetaLearner(Problem(MLP(1, 1, hidden=h)), SMALL) for h in ((3,), (3, 3), (4,)))
    checkpoints.save(tmp_path / "two.safetensors", two, 1)
    refused(
        tmp_path / "two.safetensors",
        r"two\.safetensors has inner rates of .*; this network adapts .*'layers\.1\.weight'",
        three,
    )
    refused(
        tmp_path / "two.safetensors", r"model/layers\.0\.weight has shape \[3, 1\]; this network needs \[4, 1\]", wide
    )


@pytest.mark.parametrize("key", ["format", "config", "epoch", "rows"])
def test_a_header_that_lacks_something_is_refused(path: Path, key: str) -> None:
    edit(path, lambda arrays: arrays["header"].pop(key))
    refused(path, rf"epoch\.\w+ is not a checkpoint: its header's {key} is missing or has another type$")


@pytest.mark.parametrize("name", ["model/head.weight", "buffers/norms.0.running_var", "inner_lrs"])
def test_a_tensor_that_is_missing_or_too_many_is_refused(path: Path, name: str) -> None:
    edit(path, lambda arrays: arrays.pop(name))
    refused(path, f"only one of them has {name}")
    edit(path, lambda arrays: arrays.update({name: np.zeros(1), "model/more": np.zeros(1)}))
    refused(path, "only one of them has model/more")


@pytest.mark.parametrize("moment", ["step", "exp_avg"])
def test_a_moment_of_adam_that_is_missing_is_refused(path: Path, moment: str) -> None:
    edit(path, lambda arrays: arrays.pop(f"adam/1/{moment}"))
    refused(path, f"adam/1/{moment}")


def test_a_file_cut_short_anywhere_is_refused_by_name(path: Path) -> None:
    whole = path.read_bytes()
    for cut in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        refused(path, rf"^{re.escape(str(path))} is not a complete checkpoint \(.*\); delete it, or restore a copy$")


def test_a_changed_byte_anywhere_is_refused(new: Path) -> None:
    whole = new.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for place in [*range(8), *range(8, header, 97), *range(header, len(whole), 401)]:
        new.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        refused(new, rf"^{re.escape(str(new))} is not a complete checkpoint \(.*\); delete it, or restore a copy$")


def test_a_file_of_another_program_is_refused(new: Path, trained: MetaLearner) -> None:
    for metadata in (None, {"format": "pt"}, {"header": "[]"}, {"header": "{"}):
        save_file(snapshot(trained), new, metadata)
        refused(new, r"is not a complete checkpoint \(")


def test_a_changed_byte_in_an_old_file_s_arrays_is_refused_or_changes_nothing(trained: MetaLearner, old: Path) -> None:
    path = old
    whole = path.read_bytes()
    refusals = 0
    for place in range(3, whole.index(b"PK\x01\x02"), 401):  # up to the archive's table of contents
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        learner = fresh()
        try:
            checkpoints.restore(path, learner, 1)
            assert same(snapshot(learner), snapshot(trained))
        except InputError as error:
            assert str(error).startswith(f"{path} is not a complete checkpoint (")  # noqa: PT017
            refusals += 1
    assert refusals > 30


@pytest.mark.parametrize(("offset", "bit"), [(8, 1), (10, 2)], ids=["encrypted", "compression"])
def test_a_damaged_table_of_contents_is_refused(old: Path, offset: int, bit: int) -> None:
    content = bytearray(old.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] ^= bit
    old.write_bytes(content)
    refused(old, "is not a complete checkpoint")


def test_a_compressed_copy_is_read_and_its_damage_is_seen(old: Path) -> None:
    with np.load(old) as archive:
        np.savez_compressed(old, **archive)
    checkpoints.restore(old, fresh(), 1)
    content = bytearray(old.read_bytes())
    start = content.index(b"header.npy") + len(b"header.npy") + 20  # after the name and zip's extra field
    content[start : start + 40] = bytes(40)
    old.write_bytes(content)
    refused(old, r"is not a complete checkpoint \(Error -3 while decompressing data")


def npy_file() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x05\x06" + bytes(18),
        b"hello\n",
        npy_file(),
    ],
    ids=["empty", "empty archive", "text", "one array"],
)
def test_another_kind_of_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, r"epoch\.\w+ is not a complete checkpoint")


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", r"the checkpoint .*absent\.safetensors is missing")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["header", "model/head.bias", "extra"])
def test_a_pickled_object_is_refused_and_not_executed(old: Path, tmp_path: Path, name: str) -> None:
    trap = tmp_path / "trap"
    edit(old, lambda arrays: arrays.update({name: np.array([Trap(trap)], dtype=object)}))
    with zipfile.ZipFile(old) as archive:
        assert b"mkdir" in archive.read(f"{name}.npy")
    refused(old, r"epoch\.npz is not a complete checkpoint \(.*allow_pickle")
    old.write_bytes(pickle.dumps(Trap(trap)))
    refused(old, r"epoch\.npz is not a complete checkpoint \(")
    assert not trap.exists()
    pickle.loads(old.read_bytes())
    assert trap.exists()  # the trap would have worked
