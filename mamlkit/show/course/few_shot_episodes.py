"""The exercises of notebook 02."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.core.episodes import Episode
from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "2.1",
    "split_classes(images, k_shot)",
    "The first k_shot images of each class are support, the rest query: images[:, :k_shot] and images[:, k_shot:].",
    "flatten(0, 1) joins the class axis and the image axis; class after class stays together.",
    "Labels: torch.arange(n_way).repeat_interleave(k_shot) gives 0 0 .. 1 1 ..",
)
def check_split_classes(split_classes: Callable[[Tensor, int], Episode]) -> None:
    """Accept any split that is disjoint, complete and correctly labelled."""
    n_way, per_class, k_shot = 3, 5, 2
    images = (
        torch.arange(n_way * per_class, dtype=torch.float32).reshape(n_way, per_class, 1, 1, 1).expand(-1, -1, 1, 2, 2)
    )
    support_x, support_y, query_x, query_y = returned(split_classes(images, k_shot))
    sizes = (len(support_x), len(query_x))
    require(
        sizes == (6, 9), f"for 3 classes of 5 images and k_shot = 2 the sets have {sizes} images; 6 and 9 are right."
    )
    require(support_x.shape[1:] == (1, 2, 2), f"support_x has shape {list(support_x.shape)}; [6, 1, 2, 2] is right.")
    require(len(support_y) == 6 and len(query_y) == 9, "each image needs one label.")
    support, query = support_x[:, 0, 0, 0].long(), query_x[:, 0, 0, 0].long()  # the number of each image
    shared = set(support.tolist()) & set(query.tolist())
    require(not shared, f"{len(shared)} images are in both sets; the query set must be unseen.")
    require(len({*support.tolist(), *query.tolist()}) == 15, "some images are in neither set.")
    classes = torch.cat([support, query]) // per_class
    require(
        torch.equal(classes, torch.cat([support_y, query_y])), "a label is not the place of the image's class, 0 to 2."
    )


@exercise(
    "2.2",
    "relabel(support_y, query_y, permutation)",
    "permutation[label] is the new label, and a tensor can be the index of another.",
    "return permutation[support_y], permutation[query_y]",
)
def check_relabel(relabel: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Accept any function that renames the labels of both sets consistently."""
    support_y, query_y = torch.tensor([0, 1, 2, 3]), torch.tensor([3, 3, 0, 1, 2])
    permutation = torch.tensor([2, 0, 3, 1])
    new_support, new_query = returned(relabel(support_y, query_y, permutation))
    require(support_y.tolist() == [0, 1, 2, 3], "it changed the labels it was given; return new ones.")
    inverse = torch.argsort(permutation)
    backwards = torch.equal(new_support, inverse[support_y])
    require(not backwards, "label 0 should become permutation[0]; this is the inverse permutation.")
    require(torch.equal(new_support, permutation[support_y]), "a support label is not permutation[label].")
    require(
        torch.equal(new_query, permutation[query_y]),
        "the query labels were not renamed as the support labels were, so the task has no right answer any more.",
    )
