"""The exercises of notebook 04."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "4.1",
    "toy_msl_gradient(theta, a, b, c, rate, weights)",
    "Go through the weights: take an inner step, theta = theta - rate * c * (theta - a), then add this step's part.",
    "After k steps the slope of the query loss is theta - b, and d theta_k / d theta_0 is (1 - rate * c) ** k.",
    "Keep a number chain = 1.0; at each step chain *= 1 - rate * c, and gradient += weight * chain * (theta - b).",
)
def check_toy_msl_gradient(toy: Callable[[float, float, float, float, float, Sequence[float]], float]) -> None:
    """Accept the closed form or autograd; name the common mistakes."""
    cases = [(1.0, 3.0, -1.0, 2.0, 0.1, (0.2, 0.3, 0.5)), (-0.5, 0.25, 2.0, 4.0, 0.3, (0.1, 0.9))]
    for theta, a, b, c, rate, weights in cases:
        got = float(returned(toy(theta, a, b, c, rate, weights)))
        slopes, chains = _walk(theta, a, b, c * rate, len(weights))
        parts = {
            "only the last loss is in it: add the part of each step's loss.": [weights[-1] * slopes[-1] * chains[-1]],
            "that is the plain sum: multiply the part of each step by its weight.": _products(slopes[1:], chains[1:]),
            "that is the first-order gradient: the factors d theta_k / d theta_0 are missing.": _products(
                weights, slopes[1:]
            ),
            "its first loss is that of theta_0; take the inner step first, then add its loss.": _products(
                weights, slopes, chains
            ),
            "every part has the whole chain of the last step; the k-th loss has k factors.": _products(
                weights, slopes[1:], chains[-1:] * len(weights)
            ),
        }
        for sentence, wrong in parts.items():
            require(abs(got - sum(wrong)) > 1e-6, sentence)
        right = sum(_products(weights, slopes[1:], chains[1:]))
        require(
            abs(got - right) < 1e-5, f"for theta = {theta:g} it is {got:.4g}; a finite difference gives {right:.4g}."
        )


@exercise(
    "4.2",
    "query_passes(n_steps, epochs, ramp)",
    "During the ramp each inner step has a query pass; afterwards only the last one has.",
    "ramp epochs with n_steps passes each, and epochs - ramp epochs with one.",
)
def check_query_passes(query_passes: Callable[[int, int, int], int]) -> None:
    """Accept the count of the last commit's schedule; name the counts of the first release and of plain MAML."""
    for n_steps, epochs, ramp in ((5, 100, 10), (3, 40, 8)):
        got = returned(query_passes(n_steps, epochs, ramp))
        case = f"query_passes({n_steps}, {epochs}, {ramp}) is {got:g}"
        require(got != epochs, f"{case}; that is plain MAML. In the first {ramp} epochs every step has a pass.")
        require(got != epochs * n_steps, f"{case}; that is the first release. Here the ramp ends.")
        right = ramp * n_steps + epochs - ramp
        require(got != right + ramp, f"{case}; that is {ramp} too many: one epoch has n_steps passes or one, not both.")
        require(got == right, f"{case}; count the epochs of the ramp and those after it apart.")


def _walk(theta: float, a: float, b: float, decay: float, n_steps: int) -> tuple[list[float], list[float]]:
    """Return theta_k - b and d theta_k / d theta_0 for k = 0..K."""
    slopes, chains = [theta - b], [1.0]
    for _ in range(n_steps):
        theta -= decay * (theta - a)
        slopes.append(theta - b)
        chains.append(chains[-1] * (1 - decay))
    return slopes, chains


def _products(*rows: Sequence[float]) -> list[float]:
    """Return the elementwise products, up to the length of the shortest row."""
    products = [1.0] * min(map(len, rows))
    for row in rows:
        products = [product * value for product, value in zip(products, row)]
    return products
