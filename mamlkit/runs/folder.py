"""A training run as a folder: its configuration, metrics and checkpoints and, at the end, its result.

    run.json                    recipe, configuration with every field, command, versions, the data's SHA-256
    config.toml                 the configuration again, for mamlkit train --config; mamlkit itself never reads it
    metrics.jsonl               one line for each meta-iteration, one for each epoch
    checkpoints/                the last epoch and the best ones, as epoch-0007.safetensors
    result.json                 accuracy with its interval, and everything needed to reproduce it

A run that was killed continues from its last complete epoch; later entries are written again. Runs of format 1, whose
checkpoints are ``.npz`` archives, are also continued.
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
DYING_SECONDS = 20  # time for the child processes of a killed program to end
NAME = "epoch-{:04}"
CHECKPOINT = re.compile(r"epoch-(\d{4,})\.(safetensors|npz)")


class RunFolder:
    """A run on disk.

    Attributes:
        path: the folder.
        config: the configuration that the run was started with.
        about: ``recipe``, ``command``, ``versions``, ``data_sha256`` and ``network``, see ``mamlkit.runs.origin``;
            ``versions`` are those at the start of the run.
        problem: the problem passed by the caller, or None if the configuration names the network.
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
        """Create a run in a folder that holds no files of a run.

        Args:
            path: the folder.
            config: the configuration of the run.
            store: the data.
            recipe, command: the recipe's name and the command line, recorded in ``run.json``.
            problem: a problem of the user's own, which must be passed to ``open`` again; None: the configuration's
                problem.

        Raises:
            InputError: the folder already holds a run or files with the same names, or cannot be written.

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
        """Raise unless a run can be created in the folder.

        Raises:
            InputError: the folder already holds a run, or files with the same names.
        """
        if (path / "run.json").exists():
            raise InputError(
                f"--out {path} already holds a run; continue it with --resume {path}, or choose another folder"
            )
        for name in ("config.toml", "metrics.jsonl", "checkpoints"):
            if (path / name).exists():
                raise InputError(f"--out {path} holds {name} but no run; move it away, or choose another folder")

    @classmethod
    def open(cls, path: Path, problem: Problem | None = None) -> RunFolder:
        """Open the folder of a run.

        Args:
            path: the folder.
            problem: the problem passed to ``create``, if there was one.

        Raises:
            InputError: the folder holds no run, or a run of another version.
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
        """Store the last epoch of a trainer, and delete checkpoints that are no longer needed.

        Raises:
            InputError: the disk is full; earlier files stay complete.

        Writes: ``metrics.jsonl``, then ``checkpoints/``; a run killed between the two lacks only the checkpoint. The
            lock is released after the last epoch.
        """
        record = trainer.history[-1]
        append_whole(self._metrics, metrics.encode(record))
        path = self._checkpoints / f"{NAME.format(record.epoch)}{checkpoints.SUFFIX}"
        checkpoints.save(path, trainer.learner, record.epoch)
        self._prune(trainer.history)
        if trainer.ended:
            self._release()

    def restore(self, trainer: Trainer) -> None:
        """Set a new trainer and the folder to the last complete epoch, which may be the start.

        Afterwards no other program can continue the run until its last epoch is saved or this program ends.

        Raises:
            InputError: a file of the run is damaged or has another configuration, or another program continues the run.

        Writes: the trainer; ``.lock``; ``config.toml``; ``metrics.jsonl`` and ``checkpoints/`` as of that epoch.
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
        """Return the complete epochs: those in ``metrics.jsonl`` up to the last checkpoint.

        Raises:
            InputError: ``metrics.jsonl`` is damaged, or lacks an epoch that has a checkpoint.
        """
        done = max(saved_epochs(self.path), default=0)
        records = metrics.read(self._metrics)
        if len(records) < done:
            raise InputError(f"{self._metrics} ends with epoch {len(records)}; the last checkpoint has epoch {done}")
        return records[:done]

    def learners(self, epochs: list[int], image_shape: tuple[int, int, int]) -> list[MetaLearner]:
        """Return the learners of several saved epochs, for example for an ensemble.

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
        """Return the problem of the run, with the initial weights of its seed.

        Raises:
            InputError: the network is not found, see ``mamlkit.runs.origin.find``.

        Writes: ``sys.path``, if the network is the user's own.
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
        """Delete all checkpoints except the last and the best; a file that another program uses is deleted later."""
        needed = {self._checkpoint(epoch) for epoch in (len(history), *best_epochs(history, self.config.ensemble))}
        for file in self._checkpoints.glob("epoch-*"):
            if CHECKPOINT.fullmatch(file.name) and file not in needed:
                discard(file)


def saved_epochs(path: Path) -> set[int]:
    """Return the epochs that have a checkpoint in the folder of a run."""
    names = (CHECKPOINT.fullmatch(file.name) for file in (path / "checkpoints").glob("epoch-*"))
    return {int(name[1]) for name in names if name}


def _no_lock() -> None:
    """Release nothing: a folder that was only opened has no lock, and can be sent to another process."""
