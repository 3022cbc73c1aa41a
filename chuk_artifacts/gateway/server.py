"""A small HTTP server for a WSGI application: in a daemon thread of its own, or in the foreground.

It hands a request to the application while the content still arrives, so that an upload of the wrong type or length is
refused at its first byte and nothing of it is spooled to the disk. It keeps no connection alive and speaks no TLS:
before it meets the internet it belongs behind a proxy.

One thread reads the heads of all requests, so that a client that has not sent one costs no thread. When all connections
are in use, one that has waited for its request for a while gives way to a new client; when each has a request, or has
just been opened, new clients queue in the kernel.
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
    """What clients may take of the process.

    Attributes:
        connections: how many are open at once, each with at most one thread. An open one is one descriptor, and a
            download takes another for its file.
        head_bytes: the greatest length of a request's head in bytes: request line and header.
        head_seconds: how long a client may take to send a head, or go on sending after its answer, in seconds.
        idle_seconds: how long a client may do so, in seconds, when others queue for its connection.
        wait_seconds: how long a client may keep a request waiting in all after that, in seconds.
        bytes_per_second: how many bytes that a client sends or takes earn it another second, up to *wait_seconds*.

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
        since: when it began to be one, by the monotonic clock.
        until: when it is closed.
        head: what has come of its request; None: it is answered, and what it still sends is thrown away, because a
            connection that is closed with unread bytes may lose the answer.

    """

    since: float
    until: float
    head: Head | None


class Server:
    """Serves an application, each request in a thread of its own, from the moment it is made until it is closed.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port to listen on; 0: any free one.
        limits: what clients may take of this process.

    Attributes:
        url: where it can be reached, without a slash at the end.

    Raises:
        OSError: the address can't be listened on.

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
        self.url = f"http://[{host}]:{self._address[1]}" if ":" in host else f"http://{host}:{self._address[1]}"
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
        self._thread = thread  # now that it can be joined: an interrupt may come before it starts

    def run(self) -> None:
        """Serve until :meth:`close` is called elsewhere."""
        self._runner = threading.current_thread()
        try:
            while not self._closing:
                self._turn()
        finally:
            self._closing = True
            self._release()
            self._ended.set()

    def close(self) -> None:
        """Stop listening; harmless the second time. A request that is being answered goes on."""
        self._closing = True
        if self._runner is None:
            self._release()
        elif self._runner is threading.current_thread():  # as it is, when it collects the last reference to a store
            return
        elif self._thread is not None:
            self._thread.join()
        else:
            self._ended.wait()

    def before_fork(self) -> None:
        """Do nothing: there is nothing half-done that a child could see."""

    def after_fork(self, *, child: bool) -> None:
        """Let go of the parent's port and connections in a *child*, which has no thread to serve them."""
        if child:
            self._closing = True
            self._thread = self._runner = None
            self._release()
            for connection in self._busy:
                connection.close()

    def _release(self) -> None:
        """Close the port, and the connections that have no thread."""
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
        """Wait for a client, or for a moment, and do what there is to do."""
        now = time.monotonic()
        while self._answered:
            self._linger(self._answered.popleft(), now)
        for connection in [connection for connection, waiting in self._waiting.items() if waiting.until <= now]:
            self._give_up(connection)
        self._accept_or_not(now)
        ready = [key.fileobj for key, _ in self._selector.select(_POLL_SECONDS)]
        for connection in self._waiting.keys() & ready:
            self._read(connection)
        if self._listening in ready:  # after the others, so that none gives way whose request has just come
            self._accept()

    def _accept_or_not(self, now: float) -> None:
        """Leave new clients in the kernel's queue while each connection has a request, or none can be opened."""
        wanted = now >= self._pause_until and (self._has_room() or self._gives_way(now) is not None)
        if wanted and not self._accepting:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listening)
        self._accepting = wanted

    def _has_room(self) -> bool:
        return len(self._busy) + len(self._waiting) < self._limits.connections

    def _gives_way(self, now: float) -> socket.socket | None:
        """Return the connection that has waited longest without a thread, if that is long enough."""
        for connection, waiting in self._waiting.items():
            return connection if waiting.since + self._limits.idle_seconds <= now else None
        return None

    def _accept(self) -> None:
        now = time.monotonic()
        if not self._has_room():
            connection = self._gives_way(now)
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
        """Close a connection whose time is over."""
        if self._waiting[connection].head:
            with contextlib.suppress(OSError):
                connection.send(refusal(HTTPStatus.REQUEST_TIMEOUT))
        self._drop(connection)

    def _read(self, connection: socket.socket) -> None:
        """Read what a client has sent, and go on with its request when the head is complete."""
        head = self._waiting[connection].head
        try:
            data = connection.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data, head = b"", None
        if data and head is not None:
            self._advance(connection, head, data)
        elif head:  # it ends in the middle
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
        except RuntimeError:  # the process may have no more threads
            self._busy.discard(connection)
            self._refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE)

    def _refuse(self, connection: socket.socket, status: HTTPStatus) -> None:
        _log.debug("gateway: refused a request: %s", status)
        with contextlib.suppress(OSError):
            connection.send(refusal(status))
            connection.shutdown(socket.SHUT_WR)
        self._linger(connection, time.monotonic())

    def _linger(self, connection: socket.socket, now: float) -> None:
        """Throw away what a client still sends, so that it can read its answer."""
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
        except (ArtifactStoreError, OSError) as error:  # the store failed, which is logged, or the client went away
            _log.debug("gateway: broken off: %s", error)
        finally:
            with contextlib.suppress(OSError):
                exchange.fail(HTTPStatus.INTERNAL_SERVER_ERROR)
                connection.shutdown(socket.SHUT_WR)
            _log.debug("gateway: %s %s %s", request.method, request.path, exchange.status)
            self._part(connection, finished=content.finished)

    def _part(self, connection: socket.socket, *, finished: bool) -> None:
        """Close a connection that is answered, or leave that to the other thread when the client still sends."""
        if not finished and not self._closing:
            self._answered.append(connection)
            if not self._closing:
                return
        connection.close()
        self._busy.discard(connection)
