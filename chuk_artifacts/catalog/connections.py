"""A pool of connections to one SQLite file: closed while the process forks, and returned after an interrupt anywhere.

SQLite tracks the locks of a file within the process. A child that inherits an open connection assumes locks that the
operating system did not pass on, even for connections that it opens itself, so that its parent may delete the
write-ahead log while the child uses it (https://sqlite.org/howtocorrupt.html, section 2.6). So all connections are
closed before a fork.

An interrupt (Ctrl-C, or a signal handler that raises) may come at any line, including the line that returns a
connection, and ``with`` skips ``__exit__`` if the interrupt comes between the block and that call. So work is passed to
functions that clean up twice: in ``finally``, and again if that was interrupted. They take nothing before a ``try``
that is inside another one: an interrupt at its line would skip all handlers of the function.
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
_FEW_BYTES = 128 * 1024  # with less free space, SQLite may report a full disk as any disk error
_WRITABLE = "mode=rw"
_READ_ONLY = "mode=ro"
_PRIMARY = 0xFF  # https://sqlite.org/rescode.html: the primary result code of an extended one


class Connection(sqlite3.Connection):
    """A connection of the pool.

    Attributes:
        read_only: whether it was opened read-only, because the file can't be written.
        frozen: the state of the files, for a connection that is valid only while they do not change; otherwise None.

    """

    read_only = False
    frozen: tuple[object, ...] | None = None


class Mutex:
    """A lock that is released even after an interrupt at any line."""

    def __init__(self, subject: str) -> None:
        """Make the lock; *subject* begins the message of an error."""
        self._lock = threading.RLock()  # only its holder can release it, so an extra release is safe
        self._holder = 0
        self._subject = subject

    def run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Hold the lock while *work* runs, and return its result.

        Raises:
            SessionError: this thread holds the lock: a signal handler interrupted it, and calls this again.

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
            with contextlib.suppress(RuntimeError):  # usually it is released already
                self._lock.release()
            raise


_opening = Mutex("a catalog is being opened")


class Connections:
    """A pool of connections, each lent to one thread at a time.

    A file that can't be written is opened read-only. A file that another user could have made or changed is refused.

    Args:
        path: the database file; it and its folder are made if missing, accessible only to this user.
        timeout: how long SQLite waits for another process before it raises, in seconds.
        prepare: called with each new connection.
        sync: whether the directory entry of a new file is on the disk before the file is used.

    Attributes:
        reserve: the disk space that is reserved for the file.
        size: the length of the file in bytes when a connection was last lent.

    """

    def __init__(self, path: str, timeout: float, prepare: Callable[[Connection], None], *, sync: bool) -> None:
        """Open no connection yet."""
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
        """Call *work* with a connection and *arguments*, and return its result.

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
            self._give(loan)  # the first call may have been interrupted; a second does nothing
            raise

    def close(self) -> None:
        """Close idle connections now, and the others when they are returned; calling it again is harmless."""
        self._closed = True
        self._close_idle()
        self.reserve.refill()

    def before_fork(self) -> None:
        """Stop lending, wait for the connections in use, and close all."""
        self._lock.acquire()
        self._resting = True
        while self._lent:
            self._changed.wait()
        self._close_idle()

    def after_fork(self, *, child: bool) -> None:
        """Start lending again."""
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
            self._give(loan)  # another process changed the files
            self._take(loan)

    def _take(self, loan: list[Connection]) -> Connection:
        self._lent[id(loan)] = loan  # first, so that a fork waits for it, or is noticed here
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
        """Take a connection back; calling it again is harmless, so an interrupted call can be repeated."""
        if loan:
            if loan[0].frozen is None and roll_back(loan[0]):
                self._idle.append(loan.pop())  # one line, so that the connection is never in both or in neither
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
        """Raise ``SessionError`` if the file at the path is not *file* (its device and inode)."""
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
        """Open the file; release the reserve if the disk is too full for the shared-memory file."""
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
        """Open a file that can't be written and has no shared-memory file: no process has it open.

        The connection takes no locks (https://sqlite.org/wal.html, "Read-Only Databases"), so it must not be used
        after a file has changed. If there is a write-ahead log, it is read into memory, since SQLite would ignore it in
        *immutable* mode.
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
                f"{self._uri}?{mode}",  # no mode that creates a file: a file deleted meanwhile stays deleted
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
        """Make an empty file, unless it exists."""
        _opening.run(self._make_missing_file)

    def _make_missing_file(self) -> None:
        # Closing a descriptor of a file drops the locks of every connection to it in this process.
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
        """Return a value that changes with the database file or its log; its last item is the length of the log."""
        status = os.stat(self._path)
        try:
            log = os.stat(f"{self._path}-wal")
        except FileNotFoundError:
            log = None
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return (*file, None, 0) if log is None else (*file, log.st_mtime_ns, log.st_size)


def roll_back(connection: sqlite3.Connection) -> bool:
    """Roll back the open transaction of a connection, if any; return False if that fails."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def is_writable(path: str) -> bool:
    """Return whether this process can write a database file, its log and its shared memory."""
    beside = all(os.access(f"{path}{suffix}", os.W_OK) for suffix in ("-wal", "-shm"))
    return os.access(path, os.W_OK) and (beside or os.access(os.path.dirname(path) or ".", os.W_OK))


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of the Python driver."""
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY


def is_full(error: sqlite3.Error, path: str) -> bool:
    """Return whether an error means that the disk is full."""
    code = code_of(error)
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return free_bytes(path) < _FEW_BYTES
    return code == sqlite3.SQLITE_FULL


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
