"""Connections to one SQLite file: pooled, and at rest while the process forks.

SQLite keeps the locks of a file in the process. A child that inherits an open connection inherits the belief to hold
locks that the operating system did not pass on, even for the connections it opens itself, so that its parent may take
away the write-ahead log under it (https://sqlite.org/howtocorrupt.html, section 2.6). Hence none is open during a fork.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable

from chuk_artifacts.fork import watch

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700

_opening = threading.Lock()


class Lent:
    """A context manager: a connection of a pool, which the end of the ``with`` block gives back."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    def __enter__(self) -> sqlite3.Connection:
        """Lend it."""
        self._connection = self._pool.take()
        return self._connection

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Give it back."""
        self._pool.give(self._connection)


class Connections:
    """A pool of connections, each in the hands of one thread at a time.

    Args:
        path: the database file; it and its folder are made when they are missing, for nobody but the user.
        timeout: how long a statement waits for another process, in seconds.
        prepare: called with each new connection.

    """

    def __init__(self, path: str, timeout: float, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open nothing yet."""
        self._path = path
        self._timeout = timeout
        self._prepare = prepare
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle: list[sqlite3.Connection] = []
        self._used = 0
        self._resting = False
        self._closed = False
        watch(self)

    def one(self) -> Lent:
        """Lend a connection, as a context manager; opens one when all others are lent."""
        return Lent(self)

    def take(self) -> sqlite3.Connection:
        """Lend a connection until it is given back."""
        with self._lock:
            while self._resting:
                self._changed.wait()
            self._used += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._open()
        except BaseException:
            self.give(None)
            raise

    def give(self, connection: sqlite3.Connection | None) -> None:
        """Take a connection back, or None from whom none could be opened for."""
        with self._lock:
            self._used -= 1
            if connection is not None:
                self._idle.append(connection)
            if self._closed:
                self._close_idle()
            if self._resting:
                self._changed.notify_all()

    def close(self) -> None:
        """Close the idle connections, and those in use when they come back; harmless the second time."""
        with self._lock:
            self._closed = True
            self._close_idle()

    def before_fork(self) -> None:
        """Lend no more, wait for those in use, and close them all."""
        self._lock.acquire()
        self._resting = True
        while self._used:
            self._changed.wait()
        self._close_idle()

    def after_fork(self, *, child: bool) -> None:
        """Lend again."""
        self._resting = False
        self._changed.notify_all()
        self._lock.release()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> sqlite3.Connection:
        with _opening:  # closing a descriptor of a file drops the locks of every connection to it in this process
            self._make_file()
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_file(self) -> None:
        if os.path.exists(self._path):
            return
        os.makedirs(os.path.dirname(self._path), _PRIVATE_FOLDER, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE_FILE))
