"""The floor in memory: fsspec's memory filesystem, a dictionary and a hash."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable

from fsspec.implementations.memory import MemoryFileSystem

from benchmarks.floors import RECORD, bare_signature
from benchmarks.workloads import BATCH, Once, Work, Workloads, files_of

_PLACE = "grid/sandbox/session"


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


class MemoryFloor(Workloads):
    """Bare calls in memory.

    Args:
        size: how many bytes a file has.
        listed: how many records are there to list.

    """

    def __init__(self, size: int, listed: int) -> None:
        self._data = b"x" * size
        self._listed = listed
        self._fs = MemoryFileSystem(global_store=False, skip_instance_cache=True)
        self._records: dict[str, str] = {}

    def store(self) -> Work:
        """Hash and keep."""
        return Work(memory_store(self._data))

    def retrieve(self) -> Work:
        """Read and hash."""
        return Work(memory_retrieve(self._data))

    def metadata(self) -> Work:
        """Look up in a dictionary."""
        records, names = self._records, itertools.cycle(self._stored(files_of(len(self._data))))
        return Work(lambda: records[next(names)])

    def copy(self) -> Work:
        """Let another name have the same bytes, with a record."""
        fs, records, names = self._fs, self._records, itertools.cycle(self._stored(files_of(len(self._data))))

        def call() -> None:
            source, target = next(names), os.urandom(16).hex()
            fs.cp_file(f"/{_PLACE}/{source}", f"/{_PLACE}/{target}")
            records[target] = records[source]

        return Work(call)

    def update(self) -> Work:
        """Do what a store does: bytes never change in place."""
        return self.store()

    def delete(self) -> Work:
        """Remove bytes and record."""
        fs, records, names = self._fs, self._records, Once(self._stored)

        def call() -> None:
            name = names.next()
            del records[name]
            fs.rm_file(f"{_PLACE}/{name}")

        return Work(call, names.ready)

    def listing(self, limit: int) -> Work:
        """Look up the first of many ordered names."""
        names = [f"file-{number:07}.bin" for number in range(self._listed)]
        records = dict.fromkeys(names, RECORD)
        return Work(lambda: [records[name] for name in names[:limit]])

    def store_batch(self) -> Work:
        """Store 100, one after the other."""
        return _repeated(memory_store(self._data))

    def retrieve_batch(self) -> Work:
        """Read 100, one after the other."""
        return _repeated(memory_retrieve(self._data))

    def presign(self) -> Work:
        """Sign what was looked up."""
        record = self.metadata().call
        return Work(lambda: bare_signature(record()))

    def _stored(self, count: int) -> list[str]:
        names = [os.urandom(16).hex() for _ in range(count)]
        for name in names:
            self._fs.pipe_file(f"{_PLACE}/{name}", self._data)
            self._records[name] = RECORD
        return names


def _repeated(call: Callable[[], object]) -> Work:
    return Work(lambda: [call() for _ in range(BATCH)])
