"""A start adapted to a few pictures: the same numbers as the library's own evaluation, each query by itself."""

from __future__ import annotations

import pytest
import torch

from mamlkit import Config, Episode, InputError, MetaLearner
from mamlkit.show.live.classifier import Classifier

CONFIG = Config(n_way=4, filters=3, n_steps=3, per_step_bn=True, per_step_stats=True, dtype="float64", device="cpu")


@pytest.fixture
def learner() -> MetaLearner:
    learner = MetaLearner.from_config(CONFIG, (1, 28, 28))
    generator = torch.Generator().manual_seed(1)
    for name, buffer in learner.buffers.items():  # recorded statistics of their own for each step
        learner.buffers[name] = buffer + torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype)
    learner.inner_lrs.add_(torch.rand(learner.inner_lrs.shape, generator=generator, dtype=torch.float64))
    return learner


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_last_row_is_what_the_library_says_of_the_recorded_statistics(learner: MetaLearner) -> None:
    support, query = pictures(4), pictures(5, 1)
    episode = Episode(support, torch.arange(4), query, torch.zeros(5, dtype=torch.int64))
    with torch.no_grad():
        [[expected]] = learner.query_logits(Episode(*(x[None] for x in episode)), ["running"])
    shares = Classifier(learner, support).probabilities(query, "running")
    assert shares.shape == (5, 4, 4)
    assert torch.allclose(shares[:, -1], expected.softmax(-1), rtol=0, atol=1e-12)


def test_by_the_batch_a_query_is_normalised_together_with_the_support_set(learner: MetaLearner) -> None:
    support, query = pictures(4), pictures(1, 1)
    classifier = Classifier(learner, support)
    batch = torch.cat([support, query])
    with torch.no_grad():
        logits, _ = learner.problem.forward(classifier.steps[-1], learner.buffers, batch, 2)
    assert torch.allclose(classifier.probabilities(query)[0, -1], logits[-1].softmax(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_no_answer_depends_on_another_query(learner: MetaLearner, norm: str) -> None:
    classifier, queries = Classifier(learner, pictures(4)), pictures(6, 1)
    alone = torch.cat([classifier.probabilities(query[None], norm) for query in queries])
    assert torch.allclose(classifier.probabilities(queries, norm), alone, rtol=0, atol=1e-12)


def test_the_first_row_is_the_start_and_every_step_moves_it(learner: MetaLearner) -> None:
    classifier = Classifier(learner, pictures(4))
    assert all(torch.equal(classifier.steps[0][name], value) for name, value in learner.params.items())
    shares = classifier.probabilities(pictures(1, 1))[0]
    assert all(not torch.allclose(one, other) for one, other in zip(shares, shares[1:]))


def test_a_start_for_more_classes_serves_fewer_and_is_not_changed(learner: MetaLearner) -> None:
    before = {name: value.clone() for name, value in learner.params.items()}
    shares = Classifier(learner, pictures(2)).probabilities(pictures(3, 1))
    assert shares.shape == (3, 4, 2)
    assert torch.allclose(shares.sum(-1), torch.ones(3, 4, dtype=torch.float64))
    assert all(torch.equal(before[name], value) for name, value in learner.params.items())


@pytest.mark.parametrize("n_way", [1, 5])
def test_too_few_and_too_many_classes_are_refused(learner: MetaLearner, n_way: int) -> None:
    with pytest.raises(InputError, match=f"^there are {n_way} classes; this start serves 2 to 4$"):
        Classifier(learner, pictures(n_way))


def test_another_norm_is_refused(learner: MetaLearner) -> None:
    with pytest.raises(InputError, match="batch"):
        Classifier(learner, pictures(2)).probabilities(pictures(1), "layer")
