"""The floor on a disk: a file written and moved in place, and one statement of SQLite."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.effort import MIB
from benchmarks.floors import RECORD, bare_signature
from benchmarks.verbs import large_file
from benchmarks.workloads import BATCH, Once, Work, Workloads, files_of

_Execute = Callable[[str, Sequence[Any]], sqlite3.Cursor]
_SELECT = "SELECT record FROM artifacts WHERE artifact_id = ?"
_JSON = json.dumps({"record": RECORD})


def file_store(data: bytes, folder: Path, count: int = 1) -> Callable[[], object]:
    """Return a call that writes a temporary file, moves it in place, and inserts one row into SQLite."""
    write = _Database(folder, count).write
    place = _place(folder)

    def call() -> None:
        name = f"{place}/{os.urandom(16).hex()}"
        descriptor = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, data)
        os.close(descriptor)
        os.replace(f"{name}.tmp", name)
        write("INSERT INTO artifacts VALUES (?, ?, ?)", (name, "session", RECORD))

    return call


def file_retrieve(data: bytes, folder: Path, count: int = 1) -> Callable[[], object]:
    """Return a call that reads one row of SQLite and one file, and hashes."""
    database = _Database(folder, count)
    each = itertools.cycle(_stored(database, data, folder, files_of(len(data))))
    read, place = database.read, str(folder)

    def call() -> str:
        name = next(each)
        read(_SELECT, (name,)).fetchone()
        descriptor = os.open(f"{place}/{name}", os.O_RDONLY)
        content = os.read(descriptor, len(data) + 1)
        os.close(descriptor)
        return hashlib.sha256(content).hexdigest()

    return call


class DiskFloor(Workloads):
    """Bare calls on a disk.

    Args:
        size: how many bytes a file has.
        listed: how many records are there to list.
        folder: for all files.
        count: how many threads there are.

    """

    def __init__(self, size: int, listed: int, folder: Path, count: int) -> None:
        self._size = size
        self._listed = listed
        self._count = count
        self._folders = (folder / f"bare-{number}" for number in itertools.count())

    def store(self) -> Work:
        """Write a file and a row."""
        return Work(file_store(self._data(), self._folder(), self._count))

    def retrieve(self) -> Work:
        """Read a row and a file, and hash."""
        return Work(file_retrieve(self._data(), self._folder(), self._count))

    def metadata(self) -> Work:
        """Read a row."""
        folder = self._folder()
        database = self._database(folder)
        each = itertools.cycle(_stored(database, b"x", folder, files_of(self._size)))
        return Work(lambda: json.loads(database.read(_SELECT, (next(each),)).fetchone()[0]))

    def copy(self) -> Work:
        """Read a row, copy a file, move it in place and insert a row."""
        folder = self._folder()
        database, place = self._database(folder), _place(folder)
        each = itertools.cycle(_stored(database, self._data(), folder, files_of(self._size)))

        def call() -> None:
            source, size = next(each), self._size
            database.read(_SELECT, (source,)).fetchone()
            name = _write(place, _read(f"{folder}/{source}", size))
            database.write("INSERT INTO artifacts VALUES (?, ?, ?)", (name, "session", RECORD))

        return Work(call)

    def update(self) -> Work:
        """Read a row, write a file and update the row."""
        folder, data = self._folder(), self._data()
        database, place = self._database(folder), _place(folder)
        each = Once(lambda count: _stored(database, b"x", folder, count))

        def call() -> None:
            name = each.next()
            database.read(_SELECT, (name,)).fetchone()
            _write(place, data)
            database.write("UPDATE artifacts SET record = ? WHERE artifact_id = ?", (RECORD, name))

        return Work(call, each.ready)

    def delete(self) -> Work:
        """Delete a row and a file."""
        folder, data = self._folder(), self._data()
        database = self._database(folder)
        each = Once(lambda count: _stored(database, data, folder, count))

        def call() -> None:
            name = each.next()
            database.write("DELETE FROM artifacts WHERE artifact_id = ?", (name,))
            os.unlink(f"{folder}/{name}")

        return Work(call, each.ready)

    def listing(self, limit: int) -> Work:
        """Read the first rows of many by an index; nothing is decoded."""
        database = self._database(self._folder())
        database.fill((f"file-{number:07}.bin", "session", _JSON) for number in range(self._listed))
        database.write("CREATE INDEX places ON artifacts (session_id, artifact_id)", ())
        order = "SELECT record FROM artifacts WHERE session_id = ? ORDER BY artifact_id LIMIT ?"
        return Work(lambda: database.read(order, ("session", limit)).fetchall())

    def store_batch(self) -> Work:
        """Write 100 files, and 100 rows in one transaction."""
        folder, data = self._folder(), self._data()
        database, place = self._database(folder), _place(folder)
        return Work(lambda: database.fill((_write(place, data), "session", RECORD) for _ in range(BATCH)))

    def retrieve_batch(self) -> Work:
        """Read 100 rows with one statement, and 100 files, and hash them."""
        folder, data = self._folder(), self._data()
        database = self._database(folder)
        names = _stored(database, data, folder, BATCH)
        order = f"SELECT record FROM artifacts WHERE artifact_id IN ({', '.join('?' * BATCH)})"

        def call() -> list[str]:
            database.read(order, names).fetchall()
            return [hashlib.sha256(_read(f"{folder}/{name}", len(data))).hexdigest() for name in names]

        return Work(call)

    def presign(self) -> Work:
        """Read a row and sign."""
        record = self.metadata().call
        return Work(lambda: bare_signature(str(len(record()))))

    def upload(self) -> Work:
        """Read a file in pieces, hash and write these, move the file in place and insert a row."""
        folder = self._folder()
        database, place, source = self._database(folder), _place(folder), large_file(folder, self._size)
        each = itertools.count()

        def call() -> None:
            _copy(source, f"{place}/large")
            database.write("INSERT INTO artifacts VALUES (?, ?, ?)", (str(next(each)), "session", RECORD))

        return Work(call)

    def download(self) -> Work:
        """Read a row and a file in pieces, hash and write these, and move the file in place."""
        folder = self._folder()
        database, source = self._database(folder), large_file(folder, self._size)

        def call() -> None:
            database.read(_SELECT, ("large",)).fetchone()
            _copy(source, f"{folder}/down")

        return Work(call)

    def _database(self, folder: Path) -> _Database:
        return _Database(folder, self._count)

    def _data(self) -> bytes:
        return b"x" * self._size

    def _folder(self) -> Path:
        folder = next(self._folders)
        folder.mkdir(parents=True)
        return folder


class _Database:
    """A database; several threads read it with a connection each, and take turns with one for writing.

    Attributes:
        read: executes a statement that reads.
        write: executes one that writes.

    """

    def __init__(self, folder: Path, count: int = 1) -> None:
        self._path = folder / "floor.sqlite3"
        self._connection = self._connect()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("CREATE TABLE artifacts (artifact_id TEXT PRIMARY KEY, session_id TEXT, record TEXT)")
        self._writing = threading.Lock()
        self._local = threading.local()
        self.read: _Execute = self._connection.execute if count == 1 else self._read_beside_others
        self.write: _Execute = self._connection.execute if count == 1 else self._write_in_turn

    def fill(self, rows: Iterable[tuple[str, str, str]]) -> None:
        with self._writing, self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO artifacts VALUES (?, ?, ?)", rows)

    def _write_in_turn(self, statement: str, values: Sequence[Any], /) -> sqlite3.Cursor:
        with self._writing:
            return self._connection.execute(statement, values)

    def _read_beside_others(self, statement: str, values: Sequence[Any], /) -> sqlite3.Cursor:
        try:
            connection: sqlite3.Connection = self._local.connection
        except AttributeError:
            connection = self._local.connection = self._connect()
        return connection.execute(statement, values)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _place(folder: Path) -> str:
    target = folder / "grid" / "sandbox" / "session"
    target.mkdir(parents=True)
    return str(target)


def _stored(database: _Database, data: bytes, folder: Path, count: int) -> list[str]:
    names = [os.urandom(16).hex() for _ in range(count)]
    for name in names:
        (folder / name).write_bytes(data)
    database.fill((name, "session", _JSON) for name in names)
    return names


def _write(place: str, data: bytes) -> str:
    name = f"{place}/{os.urandom(16).hex()}"
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
        while piece := file.read(MIB):
            sha256.update(piece)
            copy.write(piece)
    os.replace(f"{target}.tmp", target)
