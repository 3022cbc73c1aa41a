"""A small HTTP server for a WSGI application: in a daemon thread of its own, or in the foreground.

It is Werkzeug's threaded server, because that hands a request to the application while the body still arrives, so that
an upload of the wrong type or length is refused at its first byte and nothing of it is spooled to the disk. It keeps no
connection alive and speaks no TLS: before it meets the internet it belongs behind a proxy.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler, make_server

from chuk_artifacts.fork import watch
from chuk_artifacts.log import log as _log

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_POLL_SECONDS = 0.05
_BACKLOG = 128


class Server:
    """Serves an application, each request in a thread of its own, from the moment it is made until it is closed.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port to listen on; 0: any free one.

    Attributes:
        url: where it can be reached, without a slash at the end.

    Raises:
        OSError: the address can't be listened on.

    """

    def __init__(self, app: WSGIApplication, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to listen: who connects from now on is served as soon as there is somebody to do so."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listening:
            self._server = make_server(host, port, app, threaded=True, request_handler=_Handler, fd=listening.fileno())
        self._server.timeout = _POLL_SECONDS
        self.url = f"http://[{host}]:{self._server.port}" if ":" in host else f"http://{host}:{self._server.port}"
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        watch(self)

    def start(self) -> None:
        """Serve from a daemon thread, which ends with the process."""
        self._thread = threading.Thread(target=self.run, name="chuk-artifacts-gateway", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Serve until :meth:`close` is called elsewhere."""
        try:
            while not self._closing.is_set():
                self._server.handle_request()
        finally:
            self._server.server_close()

    def close(self) -> None:
        """Stop listening; harmless the second time. A request that is being answered goes on."""
        self._closing.set()
        if self._thread is None:
            self._server.server_close()
        elif self._thread is not threading.current_thread():  # as it is, when it collects the last reference to a store
            self._thread.join()

    def before_fork(self) -> None:
        """Do nothing: there is nothing half-done that a child could see."""

    def after_fork(self, *, child: bool) -> None:
        """Let go of the parent's port in a *child*, which has no thread to serve it."""
        if child:
            self._thread = None
            self.close()


class _Handler(WSGIRequestHandler):
    """Reads and answers one request. What it logs holds no query, because that is where signatures are."""

    timeout = 60
    """Seconds that a client may leave us waiting."""

    disable_nagle_algorithm = True

    def version_string(self) -> str:
        """Name the software, not its version."""
        return "chuk-artifacts"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log method, path and status."""
        path = getattr(self, "path", "").partition("?")[0]
        _log.debug("gateway: %s %s %s", self.command, path, code)

    def log_error(self, format: str, *args: Any) -> None:
        """Log nothing: this would be told of a request that is no HTTP, and repeat it."""
