"""The bare calls under a verb: what it could cost at least."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from fsspec.implementations.memory import MemoryFileSystem

_RECORD = "r" * 700  # about as long as a record in JSON


def memory_store(data: bytes) -> Callable[[], object]:
    """Return a call that makes 32 hex digits, hashes *data* and keeps it in fsspec's memory filesystem."""
    fs = MemoryFileSystem(global_store=False, skip_instance_cache=True)

    def call() -> str:
        name = os.urandom(16).hex()
        digest = hashlib.sha256(data).hexdigest()
        fs.pipe_file(f"grid/sandbox/session/{name}", data)
        return digest

    return call


def memory_retrieve(data: bytes) -> Callable[[], object]:
    """Return a call that reads from fsspec's memory filesystem and hashes."""
    fs = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    fs.pipe_file("grid/sandbox/session/name", data)
    return lambda: hashlib.sha256(fs.cat_file("grid/sandbox/session/name")).hexdigest()


def file_store(data: bytes, folder: Path) -> Callable[[], object]:
    """Return a call that writes a temporary file, moves it in place, and inserts one row into SQLite."""
    connection = _database(folder)
    target = folder / "grid" / "sandbox" / "session"
    target.mkdir(parents=True)
    place = str(target)

    def call() -> None:
        name = f"{place}/{os.urandom(16).hex()}"
        descriptor = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, data)
        os.close(descriptor)
        os.replace(f"{name}.tmp", name)
        connection.execute("INSERT INTO artifacts VALUES (?, ?, ?)", (name, "session", _RECORD))

    return call


def file_retrieve(data: bytes, folder: Path) -> Callable[[], object]:
    """Return a call that reads one row of SQLite and one file, and hashes."""
    connection = _database(folder)
    names = [os.urandom(16).hex() for _ in range(1000)]
    for name in names:
        (folder / name).write_bytes(data)
        connection.execute("INSERT INTO artifacts VALUES (?, ?, ?)", (name, "session", _RECORD))
    each = itertools.cycle(names)
    place = str(folder)

    def call() -> str:
        name = next(each)
        connection.execute("SELECT record FROM artifacts WHERE artifact_id = ?", (name,)).fetchone()
        descriptor = os.open(f"{place}/{name}", os.O_RDONLY)
        content = os.read(descriptor, len(data) + 1)
        os.close(descriptor)
        return hashlib.sha256(content).hexdigest()

    return call


def _database(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE artifacts (artifact_id TEXT PRIMARY KEY, session_id TEXT, record TEXT)")
    return connection
