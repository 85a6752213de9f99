"""The server of ``mamlkit dash``: Voila, as closed as JupyterLab, under any prefix, with a limit of kernels."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler
from traitlets import Integer, List, Unicode
from voila.app import Voila

ANY = "*"  # as a name: every host


class Kernels(AsyncMappingKernelManager):
    """Kernels up to a limit."""

    most = Integer(10, help="Largest number of kernels at once.").tag(config=True)
    _starting = 0

    async def start_kernel(self, **kwargs: Any) -> str:  # type: ignore[override]
        """Start a kernel, unless as many as allowed run already."""
        if len(self) + self._starting >= self.most:
            text = f"{self.most} pages are open, as many as this server allows; close one, and load this page again"
            raise HTTPError(503, reason=text)
        self._starting += 1
        try:
            return await super().start_kernel(**kwargs)
        finally:
            self._starting -= 1


class Refusal(RequestHandler):
    """The answer to a request that is not for this server."""

    def initialize(self, sentence: str) -> None:
        """Take the sentence to say."""
        self.sentence = sentence

    def prepare(self) -> None:
        """Answer with 403 and the sentence, whatever was asked."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.sentence)


class Dashboard(Voila):  # type: ignore[misc]
    """Voila behind a check of each request's ``Host``, and of the ``Origin`` of each websocket."""

    names = List(Unicode(), help="Names of this server beside those of loopback.").tag(config=True)

    def init_handlers(self) -> list[Any]:
        """Return the handlers, with and without the prefix: some proxies take it away before they pass a request on."""
        prefixed = super().init_handlers() if self.base_url != "/" else []
        self.server_url = "/"
        return [*prefixed, *super().init_handlers()]

    def listen(self) -> None:
        """Serve until the end."""
        find = self.app.find_handler

        def closed(request: HTTPServerRequest, **kwargs: Any) -> Any:
            sentence = refusal(request, self.names)
            if sentence:
                return self.app.get_handler_delegate(request, Refusal, {"sentence": sentence})
            return find(request, **kwargs)

        self.app.find_handler = closed
        super().listen()


def refusal(request: HTTPServerRequest, names: Collection[str]) -> str:
    """Return why a request is refused, or nothing.

    A page of another site can reach this server by a name of its own that leads to loopback. Its requests carry that
    name as their ``Host``, and its websockets its own ``Origin``.

    Args:
        request: the request.
        names: names of this server beside those of loopback; ``ANY`` allows every name.
    """
    if not _known(request.host, names):
        return (
            f"This server does not answer to the name {request.host!r}. Open http://localhost at its port, or start it "
            "with --base-url and the whole address that the browser uses.\n"
        )
    if request.headers.get("Upgrade", "").lower() == "websocket":
        origin = urlsplit(request.headers.get("Origin", "")).netloc.lower()
        if not origin or (origin != request.host.lower() and origin not in names):
            return "A websocket of this server is for its own pages alone.\n"
    return ""


def _known(host: str, names: Collection[str]) -> bool:
    if ANY in names or host.lower() in names:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
