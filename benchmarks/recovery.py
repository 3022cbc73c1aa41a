"""``python -m benchmarks.recovery``: how fast a lost catalog is rebuilt, from local files and across a distance.

Local files are compared with the bare calls that no reindex can do without: list the folders, open each file, read its
attribute, and insert a row. At a distance each request of the storage takes 20 ms; the ideal is computed: one request
for each object, 32 side by side, after one for each 1,000 keys of a listing, and nothing else.

What the extended attribute of a local file costs a store is a ratio of stores with and without it, which alternate.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.distance import LATENCY_SECONDS, SlowStorage
from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.core import Core
from chuk_artifacts.operations import reindexing
from chuk_artifacts.source import StoreItem, Stream
from chuk_artifacts.storage import About, Description, StoredObject, local
from chuk_artifacts.threads import Threads

_PARALLEL = 32
_LISTED_AT_ONCE = 1000
_STORED_AT_ONCE = 500
_ROUNDS = 3
_STORES = 50  # in a round, with the attribute and without


class DistantStorage(SlowStorage):
    """A slow storage that keeps descriptions, and lists 1,000 keys with each request."""

    def __init__(self, parallel: int) -> None:
        super().__init__(parallel)
        self._descriptions: dict[str, Description] = {}

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write at once: filling the storage is not measured."""
        size, sha256 = super(SlowStorage, self).put(key, data, exclusive=exclusive)
        if about is not None:
            self._descriptions[key] = about(sha256, size)
        return size, sha256

    def description(self, key: str) -> Description | None:
        """Return the description after 20 ms."""
        time.sleep(LATENCY_SECONDS)
        return self._descriptions.get(key)

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing contains, after 20 ms."""
        time.sleep(LATENCY_SECONDS)
        return super().stat(key)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """List after 20 ms, and again after each 1,000 keys; objects of the last hour are looked at again."""
        for number, item in enumerate(super().list_objects(prefix)):
            if number % _LISTED_AT_ONCE == 0:
                time.sleep(LATENCY_SECONDS)
            yield attrs.evolve(item, modified=0.0)


def _fill(store: ArtifactStore, count: int) -> None:
    for first in range(0, count, _STORED_AT_ONCE):
        items: list[StoreItem] = [
            {"data": b"x" * 100, "filename": f"{number}.txt", "summary": "a summary", "meta": {"number": number}}
            for number in range(first, min(first + _STORED_AT_ONCE, count))
        ]
        store.store_batch(items, f"session{first}")


def _files(count: int) -> None:
    """Print what a file costs."""
    fastest = least = math.inf
    floor = math.inf
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
            _fill(store, count)
        for path in (root / "grid").rglob("*"):
            os.utime(path, (0, 0))  # objects of the last hour are looked at again
        for _ in range(_ROUNDS):
            for path in root.glob("catalog.sqlite3*"):
                path.unlink()
            with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
                begun, used = time.perf_counter(), time.process_time()
                store.reindex()
                fastest = min(fastest, time.perf_counter() - begun)
                least = min(least, time.process_time() - used)
            floor = min(floor, _bare(root / "grid", Path(folder) / "bare.sqlite3"))
        shutil.rmtree(root)
    print(f"{count} local files: {count / fastest:.0f} a second, {least / count * 1e6:.0f} µs of processor a file")
    print(f"  bare calls: {floor / count * 1e6:.0f} µs of processor a file, ratio {floor / least:.2f}")


def _bare(grid: Path, database: Path) -> float:
    """Return the processor time of the bare calls, in seconds."""
    database.unlink(missing_ok=True)
    begun = time.process_time()
    rows = []
    for folder, _, names in os.walk(grid):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            size = os.fstat(descriptor).st_size
            rows.append((name, folder, size, os.getxattr(descriptor, "user.chuk_artifacts").decode()))
            os.close(descriptor)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE artifacts (name TEXT PRIMARY KEY, folder TEXT, size INTEGER, description TEXT)")
    with connection:
        connection.executemany("INSERT INTO artifacts VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return time.process_time() - begun


def _attribute(count: int) -> None:
    """Print what storing 1 KiB takes with the attribute, in relation to storing it without."""
    rounds: list[list[tuple[float, float]]] = []
    data, kept = os.urandom(1024), local._HAS_ATTRIBUTES  # noqa: SLF001 - as on a system that has none
    with (
        tempfile.TemporaryDirectory() as folder,
        ArtifactStore(storage_provider="filesystem", fs_root=folder) as store,
    ):
        try:
            for number in range(max(count // _STORES // 2, 2)):
                took = {}
                for has_attribute in (number % 2 == 0, number % 2 == 1):
                    local._HAS_ATTRIBUTES = kept and has_attribute  # noqa: SLF001 - see above
                    begun, used = time.perf_counter(), time.process_time()
                    for _ in range(_STORES):
                        store.store(data)
                    took[has_attribute] = time.process_time() - used, time.perf_counter() - begun
                rounds.append([took[True], took[False]])
        finally:
            local._HAS_ATTRIBUTES = kept  # noqa: SLF001 - see above
    processor, wall = (statistics.median(one[0][i] / one[1][i] for one in rounds) for i in (0, 1))
    print(f"attribute of a local file: {processor:.3f} of the processor time of a store without it")
    print(f"  {wall:.3f} of the time of such a store")


def _distant(count: int) -> None:
    """Print how close a reindex at a distance comes to the ideal."""
    with ArtifactStore() as store:
        core: Core = store.scope.core
        core.storage = DistantStorage(_PARALLEL)
        core._threads = Threads(_PARALLEL, "distant")  # noqa: SLF001 - as many as the storage is worth
        _fill(store, count)
        core.catalog = MemoryCatalog(None)
        begun, used = time.perf_counter(), time.process_time()
        store.reindex()
        taken, used = time.perf_counter() - begun, time.process_time() - used
    ideal = (math.ceil(count / _PARALLEL) + math.ceil(count / _LISTED_AT_ONCE)) * LATENCY_SECONDS
    print(f"{count} objects at 20 ms, {_PARALLEL} side by side: {taken:.2f} s, {taken / ideal:.2f} of the ideal")
    print(f"  {used / count * 1e6:.0f} µs of processor an object")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description="How fast a catalog is rebuilt.")
    parser.add_argument("--count", type=int, default=10_000, help="how many objects (default: 10,000)")
    count = parser.parse_args().count
    reindexing.PAUSE_SECONDS = 0
    _files(count)
    _attribute(count)
    _distant(count)


if __name__ == "__main__":
    main()
