"""The runs of each table, and their sizes.

A table is a list of settings. The first setting of a task (way and shot) is the reference for the others of this task.
"""

from __future__ import annotations

from typing import Any

from mamlkit.study.reproduction import atlas, paper
from mamlkit.study.reproduction.table import Setting, Table

LABELS = {  # the rows of the ablation; to add a fix of your own, give its recipe a label here
    "maml": "MAML",
    "maml+msl": "MAML + multi-step loss",
    "maml+da": "MAML + derivative-order annealing",
    "maml+bn": "MAML + per-step batch norm",
    "maml+lslr": "MAML + learned inner rates",
    "maml+ca": "MAML + cosine annealing",
    "mamlpp": "MAML++",
}


def ablation(_: int) -> list[Setting]:
    """Return MAML, each fix alone, MAML++. Source: the ablation of section 4.3, 20-way 1-shot."""
    return [Setting(name, label, name) for name, label in LABELS.items()]


def omniglot(_: int) -> list[Setting]:
    """Return MAML and MAML++ on the four tasks of section 4.2."""
    return [
        Setting(f"{name}-{n_way}way-{k_shot}shot", LABELS[name], name, n_way, k_shot)
        for n_way in (5, 20)
        for k_shot in (1, 5)
        for name in ("maml", "mamlpp")
    ]


def mini_imagenet(_: int) -> list[Setting]:
    """Return MAML++ with 1 to 5 inner steps beside MAML with 5, and both 5-shot. Source: section 4.3."""
    steps = [
        Setting(f"mamlpp-1shot-{k}steps", f"MAML++, {k} inner step{'s' * (k > 1)}", "mamlpp", 5, 1, {"n_steps": k})
        for k in (1, 2, 3, 4, 5)
    ]
    five = [Setting(f"{name}-5shot", f"{LABELS[name]}, 5 inner steps", name, 5, 5) for name in ("maml", "mamlpp")]
    return [Setting("maml-1shot", "MAML, 5 inner steps", "maml", 5), *steps, *five]


def paper_vs_code(n_tasks: int) -> list[Setting]:
    """Return MAML++ as in ``mamlpp``, and with one change at a time to the text or to a version of the code.

    Not included: the scale of the meta-loss (a sum or a mean: Adam's step is the same up to its epsilon); the loss of
    the unadapted network (equation); rates per layer (text); a multi-step loss for the whole run, and frozen batch-norm
    weights of MAML (first code). Budgets are not compared either.
    """

    def knob(name: str, label: str, **overrides: Any) -> Setting:
        return Setting(name, label, "mamlpp", overrides=overrides)

    return [
        knob("mamlpp", "MAML++ (recipe mamlpp)"),
        knob("recorded-statistics", "recorded statistics normalise (text)", norm_eval="running"),
        knob("no-annealed-order", "second order from the start (last code)", first_order_share=0.0),
        knob("80-epochs", "first order for 80 of 150 epochs (first code)", first_order_share=80 / paper.EPOCHS),
        knob("beta2", "Adam with 0.999 (code)", beta2=0.999),
        knob("constant-rate", "constant outer rate (last code, mini-ImageNet)", cosine_lr=False),
        knob("half-the-tasks", "half the tasks in a meta-batch (last code)", n_tasks=max(1, n_tasks // 2)),
        knob("turned-episodes", "quarter turns in training only (code)", rotation="episodes"),
        knob("inner-rate", "inner rates start at 0.01 (last configurations, mini-ImageNet; unread)", inner_lr=0.01),
        knob("longer-msl", "multi-step loss for 15 % of the epochs (code, mini-ImageNet)", msl_share=0.15),
        knob("best-epoch", "the best epoch alone (first code)", ensemble=1),
        knob("five-epochs", "the best five epochs (last code)", ensemble=5),
        Setting(
            "mamlpp-authors",
            "all of the last code (recipe mamlpp-authors)",
            "mamlpp-authors",
            overrides={"n_tasks": max(1, n_tasks // 2)},
        ),
    ]


def stability(_: int) -> list[Setting]:
    """Return MAML and MAML++ with strided convolutions in place of pooling. Source: figure 1."""
    return [
        Setting(f"{name}-strided", f"{LABELS[name]}, strided", name, overrides={"max_pool": False})
        for name in ("maml", "mamlpp")
    ]


TABLES = {
    "omniglot-ablation": Table(
        "Each fix alone, and all of them",
        "What does each fix of MAML++ add to MAML by itself? No configuration that the authors published answers that.",
        "omniglot",
        ablation,
    ),
    "omniglot": Table(
        "MAML and MAML++ on Omniglot's four tasks", "5 and 20 classes, 1 and 5 examples of each.", "omniglot", omniglot
    ),
    "mini-imagenet": Table(
        "How many inner steps?", "MAML++ with one to five inner steps, beside MAML.", "mini-imagenet", mini_imagenet
    ),
    "paper-vs-code": Table(
        "Where the paper's text and the authors' code part",
        "MAML++ with one thing at a time as the text, the first or the last version of the code has it.",
        "omniglot",
        paper_vs_code,
    ),
    "stability": Table(
        "How often does training fail?",
        "Networks with strided convolutions, where the paper saw two of three runs of MAML become unstable.",
        "omniglot",
        stability,
        seeds=tuple(range(10)),
    ),
    "atlas": Table(
        "Where training breaks",
        "Which networks, inner rates and numbers of inner steps make MAML's training fail, and which fix prevents it?",
        "glyphs",
        atlas.settings,
        sizes=atlas.SIZES,
        in_notebooks=False,
        report="atlas.md",
    ),
}

# Every scale has the protocol of the recipes; only the values below are smaller than the paper's. A short run of
# a few hundred iterations needs a larger outer rate than one of 75,000: with the paper's 0.001 its cosine would end
# training early.
SCALES: dict[str, dict[str, Any]] = {
    "smoke": dict(
        epochs=3, iterations_per_epoch=4, val_episodes=8, test_episodes=20, n_tasks=2, filters=8, engine="vmap"
    ),
    "laptop": dict(
        epochs=24, iterations_per_epoch=50, val_episodes=100, test_episodes=600, n_tasks=4, filters=32, outer_lr=0.003
    ),
    "paper": dict(
        epochs=paper.EPOCHS,
        iterations_per_epoch=paper.ITERATIONS_PER_EPOCH,
        val_episodes=600,
        test_episodes=600,
        n_tasks=paper.TASKS["omniglot", 1],
    ),
}
ONE_QUERY = {"q_query": 1, "eval_query": 1}  # per class


def budget(scale: str, dataset: str, table: str = "") -> dict[str, Any]:
    """Return the fields of the configuration that a scale sets.

    At the scale of the paper, the recipes for mini-ImageNet have its tasks (4 or 2) and the code's 15 query images.

    Args:
        scale: a name in ``SCALES``.
        dataset: a name in ``mamlkit.datasets``.
        table: a name in ``TABLES`` whose own sizes apply; empty: none.

    Source: section 4.2; one query image per class comes from the authors' code, the text does not say.
    """
    if dataset == "mini-imagenet" and scale == "paper":
        return {key: value for key, value in SCALES[scale].items() if key != "n_tasks"}
    own = TABLES[table].sizes.get(scale, {}) if table else {}
    return {**SCALES[scale], **ONE_QUERY, **own}
