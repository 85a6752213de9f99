"""Build the notebooks from their sources: ``python notebooks/build.py [NAMES]`` (all of them: some minutes).

``source/NN_name.py`` (jupytext, py:percent) becomes ``NN_name.ipynb``, whose exercises are empty, and
``solutions/NN_name.ipynb``, whose exercises are solved; ``source/live/name.py``, which has no exercises, becomes
``live/name.ipynb``. All are run, and keep their outputs. In a source, an answer stands between two comments:

    def chance(n_way):
        # answer: a fraction
        return 1 / n_way
        # end of answer

which the reader sees as ``...  # your code here: a fraction``.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import click
import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from tqdm import tqdm

HERE = Path(__file__).parent
SOURCES = HERE / "source"
SOLUTIONS = HERE / "solutions"
ANSWER = re.compile(r"^( *)# answer: (.*)\n((?:.*\n)*?)\1# end of answer(?:\n|\Z)", re.MULTILINE)
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NEEDS_A_KERNEL = "application/vnd.jupyter.widget-view+json"  # reopened, it would say "model not found"


def names() -> list[str]:
    """Return the names of the course's notebooks, in order."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def pages() -> list[str]:
    """Return the names of the live pages, as ``"live/draw"``."""
    return sorted(f"live/{path.stem}" for path in (SOURCES / "live").glob("*.py"))


def build(name: str, *, solved: bool) -> NotebookNode:
    """Return a notebook from its source, not yet run.

    Args:
        name: as ``"03_exploding_gradients"`` or ``"live/draw"``.
        solved: with the answers, or with empty exercises.
    """
    notebook = jupytext.read(SOURCES / f"{name}.py", fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})
        if cell.cell_type == "code":
            cell.source = ANSWER.sub(r"\3" if solved else r"\1...  # your code here: \2" + "\n", cell.source + "\n")
            cell.source = cell.source.rstrip("\n")
        elif solved:  # from the folder of the solutions
            cell.source = cell.source.replace("](live/", "](../live/")
    return notebook


def place(name: str, *, solved: bool) -> Path:
    """Return where a notebook is committed."""
    return (SOLUTIONS if solved else HERE) / f"{name}.ipynb"


def run(notebook: NotebookNode) -> NotebookNode:
    """Run a notebook in the course's folder, and keep of its outputs what shows without a kernel."""
    NotebookClient(notebook, timeout=300, coalesce_streams=True, resources={"metadata": {"path": str(HERE)}}).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(NEEDS_A_KERNEL, None)
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
    return notebook


def smaller(png: str) -> str:
    """Return a picture, base64 as a notebook keeps it, with a palette of 128 colours: about a third of the size."""
    stream = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.quantize(128, method=Image.Quantize.MAXCOVERAGE).save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode() + "\n"


@click.command(help=__doc__)
@click.argument("chosen", nargs=-1, metavar="[NAMES]")
def main(chosen: tuple[str, ...]) -> None:
    """Build the notebooks whose names begin with one of ``chosen``; default: all."""
    every = [*((name, solved) for name in names() for solved in (False, True)), *((page, False) for page in pages())]
    wanted = [(name, solved) for name, solved in every if not chosen or name.startswith(chosen)]
    if not wanted:
        there = ", ".join([*names(), *pages()])
        raise click.BadParameter(f"no source begins with {' or '.join(chosen)}; there are {there}")
    for name, solved in tqdm(wanted):
        nbformat.write(run(build(name, solved=solved)), place(name, solved=solved))


if __name__ == "__main__":
    main()
