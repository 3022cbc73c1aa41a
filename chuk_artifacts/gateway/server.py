"""A small HTTP server for a WSGI application, in a daemon thread of its own or in the foreground.

The application gets a request while its content still arrives. It can refuse an upload of the wrong type or length at
the first byte, and no upload is spooled to disk. The server keeps no connection alive and speaks no TLS: on the
internet, put a proxy in front of it.

One thread reads the heads of all requests, so an idle client costs no thread; each complete request gets a thread. When
all connections are in use, a new client replaces the client that has been idle for longest, if for more than
``idle_seconds``. While every connection has a request, or is new, further clients queue in the kernel.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import attrs

from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.fork import watch
from chuk_artifacts.gateway.http1 import Content, Exchange, Head, RefusedError, Request, Wire, refusal
from chuk_artifacts.log import log as _log

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_POLL_SECONDS = 0.05
_BACKLOG = 128
_PIECE = 64 * 1024

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # no state in the kernel that a fork shares


@attrs.frozen(kw_only=True)
class Limits:
    """What clients may use of the process.

    Attributes:
        connections: how many connections are open at once. Each costs at most one thread and one descriptor, and a
            download one more for its file.
        head_bytes: the greatest length of a request's head (request line and header) in bytes.
        head_seconds: how long a client may take to send a head, or go on sending after its answer, in seconds.
        idle_seconds: how long in seconds when other clients queue for its connection.
        wait_seconds: how long a client may keep a request waiting in all after its head, in seconds.
        bytes_per_second: how many bytes, sent or received, earn a client another second, up to *wait_seconds*.

    """

    connections: int = 100
    head_bytes: int = 16 * 1024
    head_seconds: float = 10
    idle_seconds: float = 0.5
    wait_seconds: float = 60
    bytes_per_second: float = 1024


@attrs.define(eq=False)
class _Waiting:
    """A connection without a thread.

    Attributes:
        since: when it was opened, or answered, by the monotonic clock.
        until: when to close it.
        head: the bytes of its request so far; None: the request is answered. What the client still sends is then read
            and dropped, because closing a connection with unread bytes resets it, and the client may lose the answer.

    """

    since: float
    until: float
    head: Head | None


class Server:
    """Serves an application, each request in a thread of its own.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port to listen on; 0: any free one.
        limits: what clients may use of this process.

    Attributes:
        url: the URL of the server, without a slash at the end.

    Raises:
        OSError: the system refuses the address or the port.

    """

    def __init__(
        self, app: WSGIApplication, host: str = "127.0.0.1", port: int = 0, *, limits: Limits | None = None
    ) -> None:
        """Bind and listen; connections queue until :meth:`start` or :meth:`run`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._app = app
        self._limits = limits or Limits()
        self._listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listening.setblocking(False)
        self._address: tuple[str, int] = self._listening.getsockname()[:2]
        self.url: str = f"http://[{host}]:{self._address[1]}" if ":" in host else f"http://{host}:{self._address[1]}"
        self._selector = _Selector()
        self._accepting = False
        self._pause_until = 0.0
        self._waiting: dict[socket.socket, _Waiting] = {}
        self._busy: set[socket.socket] = set()
        self._answered: deque[socket.socket] = deque()
        self._closing = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._runner: threading.Thread | None = None
        watch(self)

    def start(self) -> None:
        """Serve from a daemon thread, which ends with the process."""
        thread = threading.Thread(target=self.run, name="chuk-artifacts-gateway", daemon=True)
        thread.start()
        self._thread = thread  # not before it starts: an interrupt may come between, and `close` joins it

    def run(self) -> None:
        """Serve until another thread, or a signal handler, calls :meth:`close`."""
        self._runner = threading.current_thread()
        try:
            while not self._closing:
                self._turn()
        finally:
            self._closing = True
            self._release()
            self._ended.set()

    def close(self) -> None:
        """Stop listening; harmless the second time. Requests that have a thread are answered to their end."""
        self._closing = True
        if self._runner is None:
            self._release()
        elif (
            self._runner is threading.current_thread()
        ):  # the garbage collector runs in any thread, and closes dropped stores
            return
        elif self._thread is not None:
            self._thread.join()
        else:
            self._ended.wait()

    def before_fork(self) -> None:
        """Leave all as it is: a child sees no half-done change."""

    def after_fork(self, *, child: bool) -> None:
        """Close the copies of the parent's port and connections in a *child*, which has no thread to serve them."""
        if child:
            self._closing = True
            self._thread = self._runner = None
            self._release()
            for connection in self._busy:
                connection.close()

    def _release(self) -> None:
        """Close the port and the connections without a thread."""
        self._listening.close()
        for connection in self._waiting:
            connection.close()
        self._waiting.clear()
        with contextlib.suppress(IndexError):
            while True:
                self._answered.popleft().close()
        self._selector.close()

    # The thread that accepts

    def _turn(self) -> None:
        """Wait a moment for clients; read, accept, and close what is overdue."""
        now = time.monotonic()
        while self._answered:
            self._linger(self._answered.popleft(), now)
        for connection in [connection for connection, waiting in self._waiting.items() if waiting.until <= now]:
            self._give_up(connection)
        self._accept_or_not(now)
        ready = [key.fileobj for key, _ in self._selector.select(_POLL_SECONDS)]
        for connection in self._waiting.keys() & ready:
            self._read(connection)
        if self._listening in ready:  # after the reads: a client whose request has just arrived is not idle
            self._accept()

    def _accept_or_not(self, now: float) -> None:
        """Leave new clients in the kernel's queue while all connections are busy or no more can be opened."""
        wanted = now >= self._pause_until and (self._has_free() or self._longest_idle(now) is not None)
        if wanted and not self._accepting:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listening)
        self._accepting = wanted

    def _has_free(self) -> bool:
        return len(self._busy) + len(self._waiting) < self._limits.connections

    def _longest_idle(self, now: float) -> socket.socket | None:
        """Return the connection that has been idle for longest, if that is more than ``idle_seconds``."""
        for connection, waiting in self._waiting.items():  # oldest first
            return connection if waiting.since + self._limits.idle_seconds <= now else None
        return None

    def _accept(self) -> None:
        now = time.monotonic()
        if not self._has_free():
            connection = self._longest_idle(now)
            if connection is None:
                return
            self._drop(connection)
        try:
            connection, _ = self._listening.accept()
        except OSError:  # the client is gone, or the process has too many files open
            self._pause_until = now + _POLL_SECONDS
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait(connection, _Waiting(now, now + self._limits.head_seconds, Head(self._limits.head_bytes)))

    def _wait(self, connection: socket.socket, waiting: _Waiting) -> None:
        self._waiting[connection] = waiting
        self._selector.register(connection, selectors.EVENT_READ)

    def _forget(self, connection: socket.socket) -> None:
        del self._waiting[connection]
        self._selector.unregister(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _give_up(self, connection: socket.socket) -> None:
        """Close an overdue connection; a client in the middle of its head gets a 408."""
        if self._waiting[connection].head:
            with contextlib.suppress(OSError):
                connection.send(refusal(HTTPStatus.REQUEST_TIMEOUT))
        self._drop(connection)

    def _read(self, connection: socket.socket) -> None:
        """Read what a client has sent, and start its request when the head is complete."""
        head = self._waiting[connection].head
        try:
            data = connection.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data, head = b"", None
        if data and head is not None:
            self._advance(connection, head, data)
        elif head:  # the client ended in the middle of it
            self._forget(connection)
            self._refuse(connection, HTTPStatus.BAD_REQUEST)
        elif not data:
            self._drop(connection)

    def _advance(self, connection: socket.socket, head: Head, data: bytes) -> None:
        try:
            complete = head.add(data)
        except RefusedError as error:
            self._forget(connection)
            self._refuse(connection, error.status)
            return
        if complete is not None:
            self._forget(connection)
            self._hand_over(connection, *complete)

    def _hand_over(self, connection: socket.socket, request: Request, rest: bytes) -> None:
        self._busy.add(connection)
        thread = threading.Thread(target=self._answer, args=(connection, request, rest), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system refuses another thread
            self._busy.discard(connection)
            self._refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE)

    def _refuse(self, connection: socket.socket, status: HTTPStatus) -> None:
        _log.debug("gateway: refused a request: %s", status)
        with contextlib.suppress(OSError):
            connection.send(refusal(status))
            connection.shutdown(socket.SHUT_WR)
        self._linger(connection, time.monotonic())

    def _linger(self, connection: socket.socket, now: float) -> None:
        """Read and drop what a client still sends, so that it can read its answer."""
        connection.setblocking(False)
        self._busy.discard(connection)
        self._wait(connection, _Waiting(now, now + self._limits.head_seconds, None))

    # The threads of the requests

    def _answer(self, connection: socket.socket, request: Request, rest: bytes) -> None:
        limits = self._limits
        wire = Wire(connection, rest, limits.wait_seconds, limits.bytes_per_second)
        content, exchange = Content(wire, request), Exchange(wire)
        try:
            client = connection.getpeername()[:2]
            environ = request.as_wsgi(self._address, client) | {"wsgi.input": content}
            exchange.run(self._app, environ)
        except (ArtifactStoreError, OSError) as error:  # a failed store, logged already, or a client that left
            _log.debug("gateway: broken off: %s", error)
        finally:
            with contextlib.suppress(OSError):
                exchange.fail(HTTPStatus.INTERNAL_SERVER_ERROR)
                connection.shutdown(socket.SHUT_WR)
            _log.debug("gateway: %s %s %s", request.method, request.path, exchange.status)
            self._part(connection, finished=content.finished)

    def _part(self, connection: socket.socket, *, finished: bool) -> None:
        """Close an answered connection, or hand it back to the accepting thread if the client may still send."""
        if not finished and not self._closing:
            self._answered.append(connection)
            if not self._closing:
                return
        connection.close()
        self._busy.discard(connection)
