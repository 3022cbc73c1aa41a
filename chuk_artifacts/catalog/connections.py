"""Connections to one SQLite file: pooled, at rest while the process forks, and given back after an interrupt anywhere.

SQLite keeps the locks of a file in the process. A child that inherits an open connection inherits the belief to hold
locks that the operating system did not pass on, even for the connections it opens itself, so that its parent may take
away the write-ahead log under it (https://sqlite.org/howtocorrupt.html, section 2.6). Hence none is open during a fork.

An interrupt (Ctrl-C, a signal handler that raises) may come at any line, also at the line that gives back what an
earlier one took, and ``with`` forgets its ``__exit__`` when it comes between the block and that. Hence work is passed
to functions that clean up twice: in ``finally``, and once more when that was interrupted. They take nothing before a
``try`` that lies within another: an interrupt at its line passes by all handlers of the function.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from chuk_artifacts.catalog.guard import check_database, check_place, make_private
from chuk_artifacts.catalog.reserve import Reserve, free_bytes
from chuk_artifacts.errors import SessionError
from chuk_artifacts.folders import make_private_folders, sync_folder
from chuk_artifacts.fork import watch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PRIVATE_FILE = 0o600
_FEW_BYTES = 128 * 1024  # with less room on the disk, SQLite may report the lack of it as any error of the disk
_WRITABLE = "mode=rw"
_READ_ONLY = "mode=ro"
_PRIMARY = 0xFF  # https://sqlite.org/rescode.html: the primary result code of an extended one


class Connection(sqlite3.Connection):
    """A connection of a pool.

    Attributes:
        read_only: whether it was opened to read only, because the file can't be written.
        frozen: for a connection that relies on it that nothing is written: what the files were like; otherwise None.

    """

    read_only = False
    frozen: tuple[object, ...] | None = None


class Mutex:
    """A lock of one thread at a time, free again after an interrupt at any line."""

    def __init__(self, subject: str) -> None:
        """Make it; *subject* says in an error what it is for."""
        self._lock = threading.RLock()  # only its holder can release it, so that it can be released once too often
        self._holder = 0
        self._subject = subject

    def run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Return what *work* returns, while no other thread is here.

        Raises:
            SessionError: this thread is here already: it was interrupted by a signal handler that calls this again.

        """
        thread = threading.get_ident()
        if self._holder == thread:
            raise SessionError(f"{self._subject} by this thread already, which a signal handler has interrupted")
        try:
            with self._lock:
                self._holder = thread
                result = work(*arguments)
                self._holder = 0
                return result
        except BaseException:
            if self._holder == thread:
                self._holder = 0
            with contextlib.suppress(RuntimeError):  # mostly it is released
                self._lock.release()
            raise


_opening = Mutex("a catalog is being opened")


class Connections:
    """A pool of connections, each in the hands of one thread at a time.

    A file that can't be written is opened to read only. One that another user could have made or changed is refused.

    Args:
        path: the database file; it and its folder are made when they are missing, for nobody but the user.
        timeout: how long SQLite waits for another process before it raises, in seconds.
        prepare: called with each new connection.
        sync: whether the name of a new file is on the disk before it is used.

    Attributes:
        reserve: the room that is kept free for the file.
        size: the length of the file in bytes when a connection was last lent.

    """

    def __init__(self, path: str, timeout: float, prepare: Callable[[Connection], None], *, sync: bool) -> None:
        """Open nothing yet."""
        self.reserve: Reserve = Reserve(path)
        self._path = path
        self.size: int = 0
        self._uri = Path(os.path.abspath(path)).as_uri()
        self._timeout = timeout
        self._prepare = prepare
        self._sync = sync
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle: list[Connection] = []
        self._lent: dict[int, list[Connection]] = {}
        self._file: tuple[int, int] | None = None
        self._resting = False
        self._closed = False
        watch(self)

    @property
    def open(self) -> bool:
        """Whether there are connections, idle or in use."""
        return bool(self._idle or self._lent)

    def lend(self, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Return what *work* returns when it is called with a connection and *arguments*.

        A transaction that *work* leaves open is rolled back.

        Raises:
            SessionError: the file was removed or replaced while it was open.

        """
        loan: list[Connection] = []
        try:
            try:
                connection = self._take(loan)
                if connection.frozen is not None:
                    return self._use_frozen(loan, work, *arguments)
                return work(connection, *arguments)
            finally:
                self._give(loan)
        except BaseException:
            self._give(loan)  # it may have been interrupted; otherwise it does nothing
            raise

    def close(self) -> None:
        """Close the idle connections, and those in use when they come back; harmless the second time."""
        self._closed = True
        self._close_idle()
        self.reserve.refill()

    def before_fork(self) -> None:
        """Lend no more, wait for those in use, and close them all."""
        self._lock.acquire()
        self._resting = True
        while self._lent:
            self._changed.wait()
        self._close_idle()

    def after_fork(self, *, child: bool) -> None:
        """Lend again."""
        self._resting = False
        self._changed.notify_all()
        self._lock.release()

    def _use_frozen(self, loan: list[Connection], work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        while True:
            state = loan[0].frozen
            try:
                result = work(loan[0], *arguments)
            except sqlite3.Error:
                if state in {None, self._state()}:
                    raise
            else:
                if state in {None, self._state()}:
                    return result
            self._give(loan)  # another process can write after all, and did
            self._take(loan)

    def _take(self, loan: list[Connection]) -> Connection:
        self._lent[id(loan)] = loan  # first, so that a fork either waits for it or is noticed here
        if self._resting:
            self._wait_for_fork(loan)
        if self._file is not None:
            self._check_file(self._file)
        try:
            loan.append(self._idle.pop())
        except IndexError:
            loan.append(self._open())
        return loan[0]

    def _give(self, loan: list[Connection]) -> None:
        """Take a connection back; harmless the second time, so that it can be repeated when it was interrupted."""
        if loan:
            if loan[0].frozen is None and roll_back(loan[0]):
                self._idle.append(loan.pop())  # one line: it is never in both, nor does it stay in none
            else:
                loan.pop().close()
        self._lent.pop(id(loan), None)
        if self._closed:
            self._close_idle()
        if self._resting:
            with self._lock:
                self._changed.notify_all()

    def _wait_for_fork(self, loan: list[Connection]) -> None:
        with self._lock:
            self._lent.pop(id(loan), None)
            self._changed.notify_all()
            while self._resting:
                self._changed.wait()
            self._lent[id(loan)] = loan

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _check_file(self, file: tuple[int, int]) -> None:
        """Raise ``SessionError`` when the path leads to another file than *file*, by device and inode."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            raise SessionError(f"catalog {self._path!r} was removed while it was open: close this store") from None
        if (status.st_dev, status.st_ino) != file:
            raise SessionError(
                f"catalog {self._path!r} was replaced by another file while it was open: close this store, and open"
                " another one"
            )
        self.size = status.st_size

    def _open(self) -> Connection:
        if self._file is None:
            self._make_file()
        is_wide = check_database(self._path)
        connection = self._open_checked()
        if is_wide:
            make_private(self._path)
        return connection

    def _open_checked(self) -> Connection:
        if is_writable(self._path):
            return self._open_on_full_disk(_WRITABLE)
        try:
            return self._connect(_READ_ONLY)
        except sqlite3.OperationalError as error:
            if code_of(error) not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
                raise
        return self._open_frozen()

    def _open_on_full_disk(self, mode: str) -> Connection:
        """Open the file, with room from the reserve where the shared memory beside it finds none."""
        try:
            while True:
                try:
                    return self._connect(mode)
                except sqlite3.OperationalError as error:
                    if not (is_full(error, self._path) and self.reserve.release()):
                        raise
        finally:
            self.reserve.refill()

    def _open_frozen(self) -> Connection:
        """Open a file that can't be written and has no shared memory beside it: no process has it open.

        The connection takes no locks (https://sqlite.org/wal.html, "Read-Only Databases"), so that it must not be used
        when a file has changed. Where there is a log it is read into memory; SQLite would pass over it as *immutable*.
        """
        state = self._state()
        if os.name == "posix" and state[-1]:
            connection = self._connect(f"{_READ_ONLY}&vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE")
        else:
            connection = self._connect(f"{_READ_ONLY}&immutable=1")
        connection.frozen = state
        return connection

    def _connect(self, mode: str, pragma: str | None = None) -> Connection:
        made: list[Connection] = []
        try:
            _opening.run(self._open_file, mode, made)
            made[0].read_only = mode != _WRITABLE
            if pragma is not None:
                made[0].execute(pragma)
            self._prepare(made[0])
            return made[0]
        except BaseException:
            for connection in made:
                connection.close()
            raise

    def _open_file(self, mode: str, made: list[Connection]) -> None:
        before = _identity(self._path)
        made.append(
            sqlite3.connect(
                f"{self._uri}?{mode}",  # no mode that makes a file: one that vanishes here stays away
                uri=True,
                timeout=self._timeout,
                isolation_level=None,
                check_same_thread=False,
                factory=Connection,
            )
        )
        self._check_file(self._file or before)
        self._file = before

    def _make_file(self) -> None:
        """Make an empty file, unless there is one."""
        _opening.run(self._make_missing_file)

    def _make_missing_file(self) -> None:
        # closing a descriptor of a file drops the locks of every connection to it in this process
        if os.path.lexists(self._path):
            return
        folder = os.path.dirname(self._path)
        make_private_folders(folder, sync=self._sync)
        check_place(self._path)
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE_FILE))
        except FileExistsError:
            return
        if self._sync:
            sync_folder(folder)

    def _state(self) -> tuple[object, ...]:
        """Return what tells whether the database file or its log was changed; last the length of the log."""
        status = os.stat(self._path)
        try:
            log = os.stat(f"{self._path}-wal")
        except FileNotFoundError:
            log = None
        told = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return (*told, None, 0) if log is None else (*told, log.st_mtime_ns, log.st_size)


def roll_back(connection: sqlite3.Connection) -> bool:
    """End the transaction of a connection, if there is one; False when that fails."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def is_writable(path: str) -> bool:
    """Say whether this process can write a database file and what SQLite needs beside it."""
    beside = all(os.access(f"{path}{suffix}", os.W_OK) for suffix in ("-wal", "-shm"))
    return os.access(path, os.W_OK) and (beside or os.access(os.path.dirname(path) or ".", os.W_OK))


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of the driver's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY


def is_full(error: sqlite3.Error, path: str) -> bool:
    """Say whether an error means that there is no room on the disk."""
    code = code_of(error)
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return free_bytes(path) < _FEW_BYTES
    return code == sqlite3.SQLITE_FULL


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
