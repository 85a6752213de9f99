"""``mamlkit dash``: the live pages on a projector, served by Voila without code and without network access."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import click

from mamlkit.commands.course import copy_notebooks, find_notebook, notebooks_folder
from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import Lazy, check_installed, lazily

JUPYTER_DATA = Path(__file__).with_name("dash_template")  # Voila finds the template "mamlkit" here
PORT = 8866  # Voila's default
ANSWER_SECONDS = 1.0  # longest wait for a program on a port
ABANDONED = 1800  # seconds until a kernel without a connected page ends, for example after a crash of the browser
# Of JupyterLab's extensions, only those that widgets need; others may not work with Voila.
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]

PATH = re.compile(r"[\w.~%/@:+-]*")  # of --base-url

wall = lazily("mamlkit.show.live.wall")  # with scikit-image, which loads slowly
server = lazily("mamlkit.commands.dash_server")  # with Voila
traitlets = Lazy("traitlets.config")
tornado = Lazy("tornado.ioloop")


def pages_folder() -> Path:
    """Return the folder of the original live pages.

    Raises:
        InputError: this installation has no live pages.
    """
    folder = notebooks_folder() / "live"
    if not any(folder.glob("*.ipynb")):
        raise InputError(f"no live pages in {folder}; install mamlkit again, or run from a complete clone")
    return folder


def about_pages(folder: Path) -> list[dict[str, str]]:
    """Return the list entry of each page: ``file``, ``title``, and ``what``, one sentence about the reader's activity.

    A page begins with ``# Its title``, then ``**Minutes:** N.`` and this sentence.
    """
    pages = []
    for path in sorted(folder.glob("*.ipynb")):
        head = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
        title, _, text = head.partition("\n")
        what = re.search(r"\*\*Minutes:\*\*[ \d]+\. (.+?\.)(\s|$)", text, re.DOTALL)
        words = " ".join(what[1].split()) if what else ""
        pages.append({"file": path.name, "title": title.lstrip("# "), "what": words})
    return pages


def give_sheets(page: Path, sheets: Path) -> None:
    """Set the parameter ``folder`` of the copied page wall.

    Args:
        page: the copied page.
        sheets: folder of exported drawing sheets.

    Raises:
        InputError: the page cannot open the sheets, see ``mamlkit.show.live.wall.open_wall``.

    Writes: the copied page.
    """
    wall.open_wall(str(sheets), n_way=2, seed=0)
    notebook = json.loads(page.read_text("utf-8"))
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] = "".join(cell["source"]) + f"\nfolder = {os.path.realpath(os.path.expanduser(sheets))!r}"
    page.write_text(json.dumps(notebook), "utf-8")


def check_port(port: int) -> None:
    """Raise if the port cannot be used.

    Raises:
        InputError: a program listens on the port, or the port needs special rights.

    The port is free again afterwards.
    """
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS):
        raise InputError(f"--port {port} cannot be used (a program answers there); choose another")
    with socket.socket() as probe:
        # A server that has just ended is no obstacle. On Windows, SO_REUSEADDR would also accept a port in use.
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"--port {port} cannot be used ({error.strerror}); choose another") from error


def give_token(request: Any, **_: Any) -> None:
    """Send a browser the token that it needs to end its page's kernel; Voila itself sends it only with the list.

    Writes: a cookie of the answer to ``request``, a tornado ``RequestHandler``; Voila's other arguments are ignored.
    """
    _ = request.xsrf_token  # reading the token sets the cookie


class Place(NamedTuple):
    """Where the pages are found.

    Attributes:
        port: the port on this machine, the only one that can reach it.
        base: the path in front of every address that the browser uses, from ``/`` to ``/``.
        origin: scheme and host that the browser uses.
        names: hosts that requests may name beside those of loopback, see ``dash_server.Dashboard``.
    """

    port: int
    base: str
    origin: str
    names: tuple[str, ...]


def place_of(port: int, base_url: str) -> Place:
    """Return the place for ``--base-url``, or for a JupyterHub if this process runs on one.

    Args:
        port: see ``Place``.
        base_url: a path such as ``/user/x/proxy/8866/``, or a whole address such as ``https://hub.example/...``; empty:
            none was given.

    Raises:
        InputError: it is neither.
    """
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    parts = urlsplit(base_url or (f"{hub.rstrip('/')}/proxy/{port}/" if hub else "/"))
    if parts.query or parts.fragment or bool(parts.scheme) != bool(parts.netloc) or not PATH.fullmatch(parts.path):
        raise InputError(
            f"--base-url {base_url!r} is no place; give a path such as /user/me/proxy/{port}/, or a whole address such "
            f"as https://hub.example/user/me/proxy/{port}/"
        )
    base = "/".join(["", *filter(None, parts.path.split("/")), ""])
    # The browsers of a hub are on other machines: none of their pages can lead a name to loopback here.
    names = (parts.netloc.lower(),) if parts.netloc else (server.ANY,) if hub else ()
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "" if hub else f"http://localhost:{port}"
    return Place(port, base, origin, names)


def settings(folder: Path, place: Place, *, token: str, kernels: int) -> dict[str, dict[str, Any]]:
    """Return the settings of Voila, by class.

    Args:
        folder: folder of the copied pages.
        place: where the pages are found.
        token: the token that opens them.
        kernels: largest number of kernels at once.
    """
    own = {"root_dir": str(folder), "port": place.port, "port_retries": 0, "open_browser": False, "log_level": "ERROR"}
    page = {
        "template": "mamlkit",
        "classic_tree": True,
        "extension_allowlist": EXTENSIONS,
        "prelaunch_hook": give_token,
        "multi_kernel_manager_class": server.Kernels,
    }
    # A browser sends a cookie to every port of a host, so its name has the port: JupyterLab's must not take its place.
    cookie = {"cookie_name": f"mamlkit-dash-{place.port}", "cookie_options": {"SameSite": "Strict"}}
    variables = {"jinja_template_vars": {"pages": about_pages(folder)}}
    return {
        "Dashboard": {"names": list(place.names)},
        "Voila": {**own, "base_url": place.base, "token": token, "tornado_settings": variables},
        "VoilaConfiguration": page,
        "IdentityProvider": cookie,
        "Kernels": {"most": kernels},
        "MappingKernelManager": {"cull_idle_timeout": ABANDONED, "cull_interval": 60},
        "VoilaExecutor": {"cell_error_instruction": "Run the page in JupyterLab to see why: mamlkit lab"},
    }


def serve(chosen: dict[str, dict[str, Any]], address: str, *, browser: bool) -> None:
    """Serve the pages until Ctrl-C or a request to end this process.

    Writes: ``JUPYTER_PATH`` of this process, for Voila's template.
    """
    paths = (str(JUPYTER_DATA), os.environ.get("JUPYTER_PATH", ""))
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))
    dashboard = server.Dashboard(config=traitlets.Config(chosen))
    dashboard.initialize([])
    if browser:
        tornado.IOLoop.current().add_callback(webbrowser.open, address)  # as soon as the server listens
    dashboard.start()


@click.command(name="dash")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port of the server.")
@click.option("--sheets", type=click.Path(path_type=Path), help="Folder of exported sheets, for the page wall.")
@click.option("--no-browser", is_flag=True, help="Start the server and print its address; open no browser.")
@click.option(
    "--base-url",
    default="",
    metavar="URL",
    help="Path, or whole address, that a proxy puts before the pages; on a JupyterHub it is known.",
)
@click.option(
    "--kernels", type=click.IntRange(1, 1000), default=10, show_default=True, help="Most pages open at the same time."
)
@click.argument("page", default="")
def command(*, port: int, sheets: Path | None, no_browser: bool, base_url: str, kernels: int, page: str) -> None:
    """Open the live pages on a projector.

    PAGE is the first page to open, given by its name or the beginning of its name, such as draw; without PAGE, a list
    of the pages opens. The pages are copied to a temporary folder, so the originals never change. Ctrl-C ends the
    server.

    The address holds a token, as JupyterLab's does: without it, or the cookie that it leaves, no page opens. The token
    is new each time, or that of JUPYTER_TOKEN.

    mamlkit dash wall --sheets ~/our-sheets
    """
    check_installed("mamlkit dash", ("voila",), extra="dash")
    source = pages_folder()
    first = f"voila/render/{find_notebook(source, page)}" if page else ""
    place = place_of(port, base_url)
    check_port(port)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    address = f"{place.origin}{place.base}{first}?token={quote(token)}"
    with tempfile.TemporaryDirectory(prefix="mamlkit-dash-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        copy_notebooks(source, folder)
        if sheets is not None:
            give_sheets(folder / "wall.ipynb", sheets)
        click.echo(f"The live pages are at {address} (Ctrl-C ends the server).")
        serve(settings(folder, place, token=token, kernels=kernels), address, browser=not no_browser)
