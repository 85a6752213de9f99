"""A bar in a page for what takes more than a moment; when all is done it is gone, and leaves no output behind."""

from __future__ import annotations

from collections.abc import Callable

from IPython.display import HTML, display


def show_progress(total: int) -> Callable[[int], None]:
    """Show an empty bar in the running cell.

    Args:
        total: how many things there are to do.

    Returns:
        A function to call with how many are done; with ``total`` the bar disappears.

    Writes: an output of the running cell.
    """
    handle = display(HTML(""), display_id=True)

    def done(count: int) -> None:
        handle.update(HTML(f"<progress value={count} max={total}></progress>" if count < total else ""))

    return done
