"""A TCP proxy that makes a network bad: slow, silent, or cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Self

_PIECE = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Stands on a port of its own between clients and the server on *port*; use it as a context manager.

    Attributes:
        port: where clients connect.
        delay: how many seconds each piece of an answer is held back.
        silent: whether all that is sent is swallowed, in both directions, while the connections stay.
        refusing: whether a new connection is cut at once.
        cut_after: None, or after how many more bytes of answers the connection that brings them is cut. It becomes
            None then: the next one works.
        accepted: how many connections there have been.
        round_trips: how often something was sent after an answer, or at first.

    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.silent = False
        self.refusing = False
        self.cut_after: int | None = None
        self.accepted = 0
        self.round_trips = 0
        self._has_answered = True
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Cut all connections."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _cut(each)

    def note(self) -> None:
        """Note the begin of a round trip."""
        self.round_trips += 1

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = None if self.refusing else socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                server = None
            if server is None:
                _cut(client)
                continue
            for end in (client, server):  # or what comes in two pieces waits for an acknowledgement in between
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if self._has_answered and not answers:
                    self.note()
                self._has_answered = answers
                if answers:
                    time.sleep(self.delay)
                if self.silent:
                    continue
                if answers and self.cut_after is not None and self.cut_after <= len(piece):
                    piece, self.cut_after = piece[: self.cut_after], None
                    target.sendall(piece)
                    break
                if answers and self.cut_after is not None:
                    self.cut_after -= len(piece)
                target.sendall(piece)
        _cut(source)
        _cut(target)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
