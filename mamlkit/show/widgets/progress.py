"""A progress bar for a page; it disappears at the end and leaves no output behind."""

from __future__ import annotations

from collections.abc import Callable

from IPython.display import HTML, display


def show_progress(total: int) -> Callable[[int], None]:
    """Show an empty progress bar in the running cell.

    Args:
        total: the number of items.

    Returns:
        A function to call with the number of finished items; at ``total`` the bar disappears.

    Writes: an output of the running cell.
    """
    handle = display(HTML(""), display_id=True)

    def done(count: int) -> None:
        handle.update(HTML(f"<progress value={count} max={total}></progress>" if count < total else ""))

    return done
