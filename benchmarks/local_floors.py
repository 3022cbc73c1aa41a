"""The floors in this process: fsspec's memory filesystem and a dictionary; files on disk and SQLite."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem

from benchmarks.workloads import BATCH, MIB, Once, Work, Workloads, files_read, large_file

RECORD = "r" * 700  # about as long as a record in JSON

_KEY = b"k" * 64
_FOLDER = "grid/sandbox/session"
_RECORD_JSON = json.dumps({"record": RECORD})
_SELECT = "SELECT record FROM artifacts WHERE artifact_id = ?"
_INSERT = "INSERT INTO artifacts VALUES (?, ?, ?)"

_Execute = Callable[[str, Sequence[Any]], sqlite3.Cursor]


def bare_signature(name: str) -> str:
    """Return a URL signed by an HMAC."""
    path = f"/v1/download/{name}?expires=1900000000"
    return f"http://localhost{path}&signature={hmac.digest(_KEY, path.encode(), hashlib.sha256).hex()}"


class MemoryFloor(Workloads):
    """Bare calls in memory.

    Args:
        size: the size of a file in bytes.
        listed: the number of records in the session that is listed.

    """

    def __init__(self, size: int, listed: int) -> None:
        self._data = b"x" * size
        self._listed = listed
        self._fs = _memory_filesystem()
        self._records: dict[str, str] = {}

    def store(self) -> Work:
        """Make 32 hex digits, hash the bytes and keep them."""
        fs, data = _memory_filesystem(), self._data

        def call() -> str:
            name = os.urandom(16).hex()
            digest = hashlib.sha256(data).hexdigest()
            fs.pipe_file(f"{_FOLDER}/{name}", data)
            return digest

        return Work(call)

    def retrieve(self) -> Work:
        """Read bytes and hash them."""
        fs, name = _memory_filesystem(), f"{_FOLDER}/name"
        fs.pipe_file(name, self._data)
        return Work(lambda: hashlib.sha256(fs.cat_file(name)).hexdigest())

    def metadata(self) -> Work:
        """Look up a key in a dictionary."""
        records, names = self._records, itertools.cycle(self._stored(files_read(len(self._data))))
        return Work(lambda: records[next(names)])

    def copy(self) -> Work:
        """Give the same bytes another name, with a record."""
        fs, records, names = self._fs, self._records, itertools.cycle(self._stored(files_read(len(self._data))))

        def call() -> None:
            source, target = next(names), os.urandom(16).hex()
            fs.cp_file(f"/{_FOLDER}/{source}", f"/{_FOLDER}/{target}")
            records[target] = records[source]

        return Work(call)

    def update(self) -> Work:
        """Do what ``store`` does, because bytes never change in place."""
        return self.store()

    def delete(self) -> Work:
        """Delete bytes and record."""
        fs, records, names = self._fs, self._records, Once(self._stored)

        def call() -> None:
            name = names.next()
            del records[name]
            fs.rm_file(f"{_FOLDER}/{name}")

        return Work(call, names.ready)

    def listing(self, limit: int) -> Work:
        """Look up the first of many ordered names."""
        names = [f"file-{number:07}.bin" for number in range(self._listed)]
        records = dict.fromkeys(names, RECORD)
        return Work(lambda: [records[name] for name in names[:limit]])

    def store_batch(self) -> Work:
        """Store 100 files, one after the other."""
        return _repeated(self.store())

    def retrieve_batch(self) -> Work:
        """Read 100 files, one after the other."""
        return _repeated(self.retrieve())

    def presign(self) -> Work:
        """Look up a record and sign."""
        record = self.metadata().call
        return Work(lambda: bare_signature(record()))

    def _stored(self, count: int) -> list[str]:
        names = [os.urandom(16).hex() for _ in range(count)]
        for name in names:
            self._fs.pipe_file(f"{_FOLDER}/{name}", self._data)
            self._records[name] = RECORD
        return names


def _memory_filesystem() -> MemoryFileSystem:
    return MemoryFileSystem(global_store=False, skip_instance_cache=True)


def _repeated(work: Work) -> Work:
    call = work.call
    return Work(lambda: [call() for _ in range(BATCH)])


class DiskFloor(Workloads):
    """Bare calls on a disk; each workload has a folder and a database of its own.

    Args:
        size: the size of a file in bytes.
        listed: the number of records in the session that is listed.
        folder: for all files.
        count: the number of threads.

    """

    def __init__(self, size: int, listed: int, folder: Path, count: int) -> None:
        self._size = size
        self._listed = listed
        self._count = count
        self._folders = (folder / f"bare-{number}" for number in itertools.count())

    def store(self) -> Work:
        """Write a file, move it into place, and insert a row."""
        folder, database = self._opened()
        target, data = _session_folder(folder), self._data
        return Work(lambda: database.write(_INSERT, (_write(target, data), "session", RECORD)))

    def retrieve(self) -> Work:
        """Read a row and a file, and hash."""
        folder, database = self._opened()
        names = itertools.cycle(_stored(database, self._data, folder, files_read(self._size)))
        read, source, size = database.read, str(folder), self._size

        def call() -> str:
            name = next(names)
            read(_SELECT, (name,)).fetchone()
            return hashlib.sha256(_read(f"{source}/{name}", size)).hexdigest()

        return Work(call)

    def metadata(self) -> Work:
        """Read a row."""
        folder, database = self._opened()
        names = itertools.cycle(_stored(database, b"x", folder, files_read(self._size)))
        return Work(lambda: json.loads(database.read(_SELECT, (next(names),)).fetchone()[0]))

    def copy(self) -> Work:
        """Read a row, copy a file, move it into place and insert a row."""
        folder, database = self._opened()
        target = _session_folder(folder)
        names = itertools.cycle(_stored(database, self._data, folder, files_read(self._size)))

        def call() -> None:
            source, size = next(names), self._size
            database.read(_SELECT, (source,)).fetchone()
            name = _write(target, _read(f"{folder}/{source}", size))
            database.write(_INSERT, (name, "session", RECORD))

        return Work(call)

    def update(self) -> Work:
        """Read a row, write a file and update the row."""
        folder, database = self._opened()
        target, data = _session_folder(folder), self._data
        names = Once(lambda count: _stored(database, b"x", folder, count))

        def call() -> None:
            name = names.next()
            database.read(_SELECT, (name,)).fetchone()
            _write(target, data)
            database.write("UPDATE artifacts SET record = ? WHERE artifact_id = ?", (RECORD, name))

        return Work(call, names.ready)

    def delete(self) -> Work:
        """Delete a row and a file."""
        folder, database = self._opened()
        data = self._data
        names = Once(lambda count: _stored(database, data, folder, count))

        def call() -> None:
            name = names.next()
            database.write("DELETE FROM artifacts WHERE artifact_id = ?", (name,))
            os.unlink(f"{folder}/{name}")

        return Work(call, names.ready)

    def listing(self, limit: int) -> Work:
        """Read the first rows of many by an index; decode nothing."""
        _, database = self._opened()
        database.fill((f"file-{number:07}.bin", "session", _RECORD_JSON) for number in range(self._listed))
        database.write("CREATE INDEX listing ON artifacts (session_id, artifact_id)", ())
        select = "SELECT record FROM artifacts WHERE session_id = ? ORDER BY artifact_id LIMIT ?"
        return Work(lambda: database.read(select, ("session", limit)).fetchall())

    def store_batch(self) -> Work:
        """Write 100 files, and 100 rows in one transaction."""
        folder, database = self._opened()
        target, data = _session_folder(folder), self._data
        return Work(lambda: database.fill((_write(target, data), "session", RECORD) for _ in range(BATCH)))

    def retrieve_batch(self) -> Work:
        """Read 100 rows with one statement, and 100 files, and hash them."""
        folder, database = self._opened()
        names, size = _stored(database, self._data, folder, BATCH), self._size
        select = f"SELECT record FROM artifacts WHERE artifact_id IN ({', '.join('?' * BATCH)})"

        def call() -> list[str]:
            database.read(select, names).fetchall()
            return [hashlib.sha256(_read(f"{folder}/{name}", size)).hexdigest() for name in names]

        return Work(call)

    def presign(self) -> Work:
        """Read a row and sign."""
        record = self.metadata().call
        return Work(lambda: bare_signature(str(len(record()))))

    def upload(self) -> Work:
        """Read a file in chunks, hash and write them, move the file into place and insert a row."""
        folder, database = self._opened()
        target, source = _session_folder(folder), large_file(folder, self._size)
        numbers = itertools.count()

        def call() -> None:
            _copy(source, f"{target}/large")
            database.write(_INSERT, (str(next(numbers)), "session", RECORD))

        return Work(call)

    def download(self) -> Work:
        """Read a row and a file in chunks, hash and write them, and move the file into place."""
        folder, database = self._opened()
        source = large_file(folder, self._size)

        def call() -> None:
            database.read(_SELECT, ("large",)).fetchone()
            _copy(source, f"{folder}/down")

        return Work(call)

    @cached_property
    def _data(self) -> bytes:
        return b"x" * self._size  # on demand: a large file has no use for it

    def _opened(self) -> tuple[Path, _Database]:
        folder = next(self._folders)
        folder.mkdir(parents=True)
        return folder, _Database(folder, self._count)


class _Database:
    """A database; several threads read it with a connection each, and share one for writing.

    Attributes:
        read: executes a statement that reads.
        write: executes a statement that writes.

    """

    def __init__(self, folder: Path, count: int) -> None:
        self._path = folder / "floor.sqlite3"
        self._connection = self._connect()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("CREATE TABLE artifacts (artifact_id TEXT PRIMARY KEY, session_id TEXT, record TEXT)")
        self._writing = threading.Lock()
        self._local = threading.local()
        self.read: _Execute = self._connection.execute if count == 1 else self._read_in_thread
        self.write: _Execute = self._connection.execute if count == 1 else self._write_locked

    def fill(self, rows: Iterable[tuple[str, str, str]]) -> None:
        with self._writing, self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_INSERT, rows)

    def _write_locked(self, statement: str, values: Sequence[Any], /) -> sqlite3.Cursor:
        with self._writing:
            return self._connection.execute(statement, values)

    def _read_in_thread(self, statement: str, values: Sequence[Any], /) -> sqlite3.Cursor:
        try:
            connection: sqlite3.Connection = self._local.connection
        except AttributeError:
            connection = self._local.connection = self._connect()
        return connection.execute(statement, values)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _session_folder(folder: Path) -> str:
    target = folder / _FOLDER
    target.mkdir(parents=True)
    return str(target)


def _stored(database: _Database, data: bytes, folder: Path, count: int) -> list[str]:
    names = [os.urandom(16).hex() for _ in range(count)]
    for name in names:
        (folder / name).write_bytes(data)
    database.fill((name, "session", _RECORD_JSON) for name in names)
    return names


def _write(folder: str, data: bytes) -> str:
    name = f"{folder}/{os.urandom(16).hex()}"
    descriptor = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, data)
    os.close(descriptor)
    os.replace(f"{name}.tmp", name)
    return name


def _read(name: str, size: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY)
    content = os.read(descriptor, size + 1)
    os.close(descriptor)
    return content


def _copy(source: Path, target: str) -> None:
    sha256 = hashlib.sha256()
    with source.open("rb") as file, open(f"{target}.tmp", "wb") as copy:
        while chunk := file.read(MIB):
            sha256.update(chunk)
            copy.write(chunk)
    os.replace(f"{target}.tmp", target)
