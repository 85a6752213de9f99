"""Prefetching: the same results in the same order, one ahead and no further, and no thread that stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.training.prefetch import draw, prefetch

SECONDS = 60  # that a thread is waited for, on a busy machine too


@dataclass
class Drawing:
    """A slow function that writes down what was asked of it, and fails for some."""

    bad: tuple[int, ...] = ()
    asked: list[int] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)
    begun: dict[int, threading.Event] = field(default_factory=lambda: {key: threading.Event() for key in range(10)})

    def __call__(self, key: int) -> int:
        self.asked.append(key)
        self.threads.add(threading.current_thread())
        self.begun[key].set()
        if key in self.bad:
            raise InputError(f"{key} is bad")
        return key**2

    def assert_over(self) -> None:
        assert not any(thread.is_alive() for thread in self.threads)


def test_every_result_comes_once_and_in_order_from_one_other_thread() -> None:
    drawing = Drawing()
    with prefetch(drawing, range(10)) as results:
        assert list(results) == [key**2 for key in range(10)]
    assert drawing.asked == list(range(10))
    assert len(drawing.threads) == 1
    assert threading.current_thread() not in drawing.threads
    drawing.assert_over()


def test_the_next_result_is_drawn_while_the_caller_has_the_one_before_and_none_further() -> None:
    drawing = Drawing()
    with prefetch(drawing, range(4)) as results:
        for key, _ in enumerate(results):
            assert key == 3 or drawing.begun[key + 1].wait(SECONDS)
            assert not drawing.begun[key + 2].wait(0.02)


def test_nothing_is_drawn_before_the_first_result_is_asked_for_nor_where_there_are_no_keys() -> None:
    drawing = Drawing()
    with prefetch(drawing, range(4)):
        pass
    with prefetch(drawing, []) as results:
        assert list(results) == []
    assert drawing.asked == []


def take(drawing: Drawing, into: list[int], until: Callable[[int], None] = lambda result: None) -> None:
    """Prefetch and keep what comes, each result while the next is drawn."""
    with prefetch(drawing, range(9)) as results:
        for number, result in enumerate(results):
            assert drawing.begun[number + 1].wait(SECONDS)
            until(result)
            into.append(result)


def test_an_error_is_raised_as_it_is_when_its_result_is_due() -> None:
    drawing, seen = Drawing(bad=(2,)), []
    with pytest.raises(InputError, match="2 is bad"):
        take(drawing, seen)
    assert seen == [0, 1]  # the second was used although the third had failed already
    assert drawing.asked == [0, 1, 2]
    drawing.assert_over()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_the_thread_ends_where_the_caller_is_interrupted(error: type[BaseException]) -> None:
    def interrupt(result: int) -> None:
        if result == 1:
            raise error("enough")

    drawing, seen = Drawing(), []
    with pytest.raises(error, match="enough"):
        take(drawing, seen, interrupt)
    assert seen == [0]
    assert drawing.asked == [0, 1, 2]
    drawing.assert_over()


def test_a_result_that_is_being_drawn_is_waited_for_when_the_caller_leaves() -> None:
    begun, finished = threading.Event(), threading.Event()

    def slow(key: int) -> int:
        if key:
            begun.set()
            threading.Event().wait(0.1)
            finished.set()
        return key

    with prefetch(slow, range(9)) as results:
        assert next(results) == 0
        assert begun.wait(SECONDS)
    assert finished.is_set()


@dataclass
class Fixed:
    """A sampler that always returns the same."""

    returned: Any

    def batch(self, first_index: int, n_tasks: int) -> Any:
        return self.returned


X, Y = torch.zeros(2, 3), torch.zeros(2, 1)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ((X, Y, X, Y), "a tuple; an Episode is needed"),
        (Episode(X[:1], Y, X, Y), r"support_x of shape \[1, 3\] for 2 tasks; \[2, \.\.\.\] is needed"),
        (Episode(X, Y, X, torch.zeros(())), r"query_y of shape \[\] for 2 tasks; \[2, \.\.\.\] is needed"),
        (Episode((X, None), Y, X, Y), "support_x with a NoneType; tensors are needed"),  # type: ignore[arg-type]
        (Episode({"x": X, "n": 3}, Y, X, Y), "support_x with a int; tensors are needed"),  # type: ignore[arg-type]
        (Episode(X.numpy(), Y, X, Y), "support_x with a ndarray; tensors are needed"),  # type: ignore[arg-type]
    ],
)
def test_tasks_that_no_trainer_can_take_are_refused(returned: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^the sampler Fixed returns {sentence}$"):
        draw(Fixed(returned), 0, 2)


def test_tasks_of_any_tensors_are_drawn_as_they_are() -> None:
    whole: Any = Episode([{"x": X}], Y, (X, X), Y)  # type: ignore[arg-type]
    assert draw(Fixed(whole), 0, 2) is whole
