"""Tables that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from mamlkit.runs.folder import RunFolder
from mamlkit.show.numbers import percent
from mamlkit.training.evaluation import Evaluation

NORM_WORDS = {
    "batch": "the query set's own (transductive)",
    "running": "the recorded ones (non-transductive)",
}


def show_evaluations(folder: RunFolder, evaluations: Mapping[str, Evaluation], epochs: Sequence[int]) -> None:
    """Print the accuracy with both kinds of batch-norm statistics; mark the headline."""
    config = folder.config
    which = f"epoch {epochs[0]}" if len(epochs) == 1 else f"mean logits of epochs {', '.join(map(str, epochs))}"
    title = f"{folder.about['recipe']} on {config.dataset}, {config.n_way}-way {config.k_shot}-shot, {which}"
    table = Table("statistics that normalise", "accuracy (%)", "loss", "episodes", title=title)
    for norm, evaluation in evaluations.items():
        words = NORM_WORDS[norm] + (" *" if norm == config.norm_eval else "")
        accuracy = percent(evaluation.accuracy, evaluation.ci95)
        table.add_row(words, accuracy, f"{evaluation.loss:.4f}", str(evaluation.episodes))
    console = Console()
    console.print(table)
    console.print("* selected by norm_eval", highlight=False)
