"""One training run as a folder: its configuration, its metrics, its checkpoints and, at the end, its result.

    run.json                    recipe, configuration with every field, command, versions, the data's SHA-256
    config.toml                 the configuration again, for mamlkit train --config; never read back
    metrics.jsonl               one line for each meta-iteration, one for each epoch
    checkpoints/                the last epoch and the best ones, as epoch-0007.safetensors
    result.json                 accuracy with its interval, and all that is needed to get it again

A run that was killed at any moment goes on from its last whole epoch; what came after that is written again. So does
one of format 1, whose checkpoints are ``.npz`` archives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.problem import Problem
from mamlkit.core.system.files import append_whole, discard, dump_json, write_whole
from mamlkit.core.system.locks import lock_for
from mamlkit.core.system.versions import versions
from mamlkit.runs import checkpoints, metrics, origin
from mamlkit.runs.configurations import read_config
from mamlkit.training.history import EpochRecord, best_epochs
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer

FORMAT = 2
READABLE = (1, FORMAT)
RUN_KEYS = ("format", "recipe", "config", "command", "versions", "data_sha256")
DYING_SECONDS = 20  # that a killed program's children may take to end
NAME = "epoch-{:04}"
CHECKPOINT = re.compile(r"epoch-(\d{4,})\.(safetensors|npz)")


class RunFolder:
    """A run on disk.

    Attributes:
        path: the folder.
        config: what the run was started with.
        about: ``recipe``, ``command``, ``versions``, ``data_sha256`` and ``network``, see ``mamlkit.runs.origin``;
            ``versions`` are those it began with.
        problem: the problem that was handed to it, or None: the configuration names the network.
    """

    def __init__(self, path: Path, config: Config, about: dict[str, Any], *, problem: Problem | None = None) -> None:
        self.path, self.config, self.about, self.problem = path, config, about, problem
        self._metrics, self._checkpoints = path / "metrics.jsonl", path / "checkpoints"
        self._release: Callable[[], object] = _no_lock

    @classmethod
    def create(
        cls,
        path: Path,
        config: Config,
        store: ImageStore,
        *,
        recipe: str,
        command: str,
        problem: Problem | None = None,
    ) -> RunFolder:
        """Begin a run in a folder that is new, or holds no file of a run.

        Args:
            path: the folder.
            config: of the run.
            store: the data.
            recipe, command: what the run is, in words.
            problem: a problem of the user's own, which must be handed to ``open`` again; None: the configuration's.

        Raises:
            InputError: the folder holds a run already, or other files of these names, or cannot be written.

        Writes: ``run.json``.
        """
        cls.check_free(path)
        about = {
            "format": FORMAT,
            "recipe": recipe,
            "command": command,
            "versions": versions(),
            "data_sha256": store.sha256,
            "network": origin.describe(config, problem),
        }
        write_whole(path / "run.json", dump_json({**about, "config": config.to_dict()}, indent=2))  # now it is a run
        return cls(path, config, about, problem=problem)

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a folder in which no run can begin.

        Raises:
            InputError: the folder holds a run already, or other files of these names.
        """
        if (path / "run.json").exists():
            raise InputError(
                f"--out {path} holds a run already; go on with it by --resume {path}, or choose another folder"
            )
        for name in ("config.toml", "metrics.jsonl", "checkpoints"):
            if (path / name).exists():
                raise InputError(f"--out {path} holds {name} but no run; move it away, or choose another folder")

    @classmethod
    def open(cls, path: Path, problem: Problem | None = None) -> RunFolder:
        """Open the folder of a run.

        Args:
            path: the folder.
            problem: the one that was handed to the run when it began, if one was.

        Raises:
            InputError: the folder holds no run, or one of another version.
        """
        file = path / "run.json"
        if not file.is_file():
            raise InputError(f"{path} holds no run (there is no {file}); give a folder that mamlkit train made")
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            missing = [key for key in RUN_KEYS if key not in about]
            if missing:
                raise InputError(f"{file} is damaged: it lacks {', '.join(missing)}")
            if about["format"] not in READABLE:
                raise InputError(f"{file} has format {about['format']}; this version of mamlkit reads 1 and {FORMAT}")
            config = read_config(about.pop("config"), file)
        except (OSError, *metrics.JSON_ERRORS) as error:
            if isinstance(error, InputError) and str(error).startswith(str(file)):
                raise
            raise InputError(f"{file} is damaged ({error}); restore a copy of it, or train again") from error
        return cls(path, config, about, problem=problem)

    def save(self, trainer: Trainer) -> None:
        """Keep the epoch that a trainer has just done, and drop checkpoints that nobody needs any more.

        Raises:
            InputError: the disk is full; what was kept before is still whole.

        Writes: ``metrics.jsonl``, then ``checkpoints/``: a run killed in between lacks only the checkpoint. After the
            last epoch the lock is released.
        """
        record = trainer.history[-1]
        append_whole(self._metrics, metrics.encode(record))
        path = self._checkpoints / f"{NAME.format(record.epoch)}{checkpoints.SUFFIX}"
        checkpoints.save(path, trainer.learner, record.epoch)
        self._prune(trainer.history)
        if trainer.ended:
            self._release()

    def restore(self, trainer: Trainer) -> None:
        """Bring a new trainer to the last whole epoch, which may be the start, and the folder too.

        From here on no other program can go on with the run, until its last epoch is saved or this program ends.

        Raises:
            InputError: a file of the run is damaged or of another configuration, or another program goes on with it.

        Writes: the trainer; ``.lock``; ``config.toml``; ``metrics.jsonl`` and ``checkpoints/`` as that epoch left them.
        """
        self._release()
        self._release = lock_for(self, self.path, "run", seconds=DYING_SECONDS)
        history = self.history()
        if history:
            checkpoints.restore(self._checkpoint(len(history)), trainer.learner, len(history))
        trainer.history = history
        self._prune(history)
        write_whole(self.path / "config.toml", tomli_w.dumps(self.config.to_dict()).encode())
        write_whole(self._metrics, b"".join(map(metrics.encode, history)))
        if trainer.ended:
            self._release()

    def history(self) -> list[EpochRecord]:
        """Return the epochs that were kept whole: those in ``metrics.jsonl`` up to the last checkpoint.

        Raises:
            InputError: ``metrics.jsonl`` is damaged, or lacks an epoch of which there is a checkpoint.
        """
        done = max(saved_epochs(self.path), default=0)
        records = metrics.read(self._metrics)
        if len(records) < done:
            raise InputError(f"{self._metrics} ends with epoch {len(records)}; the last checkpoint is of epoch {done}")
        return records[:done]

    def learners(self, epochs: list[int], image_shape: tuple[int, int, int]) -> list[MetaLearner]:
        """Return the learners of some saved epochs, as for an ensemble.

        Raises:
            InputError: a checkpoint is missing or damaged, or the network is not found.
        """
        learners, problem = [], self.find_problem(image_shape)
        for epoch in epochs:
            learner = MetaLearner(problem, self.config)
            checkpoints.restore(self._checkpoint(epoch), learner, epoch)
            learners.append(learner)
        return learners

    def find_problem(self, image_shape: tuple[int, int, int]) -> Problem:
        """Return the problem of the run, at the weights of its seed.

        Raises:
            InputError: the network is not found, see ``mamlkit.runs.origin.find``.

        Writes: ``sys.path``, where the network is the user's own.
        """
        if self.problem is not None:
            return self.problem
        origin.find(self.about.get("network", {}), self.config, self.path)
        return Problem.from_config(self.config, image_shape)

    def finish(self, result: dict[str, Any]) -> None:
        """Write ``result.json``."""
        write_whole(self.path / "result.json", dump_json(result, indent=2) + b"\n")

    def _checkpoint(self, epoch: int) -> Path:
        return checkpoints.find(self._checkpoints, NAME.format(epoch))

    def _prune(self, history: Sequence[EpochRecord]) -> None:
        """Delete the checkpoints of all epochs but the last and the best; one that is open elsewhere goes later."""
        needed = {self._checkpoint(epoch) for epoch in (len(history), *best_epochs(history, self.config.ensemble))}
        for file in self._checkpoints.glob("epoch-*"):
            if CHECKPOINT.fullmatch(file.name) and file not in needed:
                discard(file)


def saved_epochs(path: Path) -> set[int]:
    """Return the epochs of which the folder of a run has a checkpoint."""
    names = (CHECKPOINT.fullmatch(file.name) for file in (path / "checkpoints").glob("epoch-*"))
    return {int(name[1]) for name in names if name}


def _no_lock() -> None:
    """Release nothing: a folder that only was opened has no lock, and can be sent to another process."""
