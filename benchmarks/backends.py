"""The stores of the grid, opened, each with the floor under it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks.plan import BUCKET, DISK, REDIS, SLOW
from benchmarks.effort import Effort
from benchmarks.floors.bucket import BucketFloor
from benchmarks.local_floors import DiskFloor
from benchmarks.floors.memory import MemoryFloor
from benchmarks.service_floors import RedisFloor
from benchmarks.records import fill
from benchmarks.servers import BUCKET as BUCKET_NAME
from benchmarks.servers import Servers
from benchmarks.distance import SlowStorage
from benchmarks.verbs import Verbs
from benchmarks.workloads import Workloads
from chuk_artifacts import ArtifactStore, aio

_MANY_FILES, _FEW_FILES = 1000, 100  # to put many into a bucket takes long
_LISTED = "listed"
_GATEWAY = "http://localhost"  # nobody asks it; or the first URL would start one


@attrs.define(slots=False)
class Opened:
    """A store, and what is measured beside it.

    Attributes:
        store: the blocking store.
        view: the async view of it.
        runner: the loop on which that runs.
        listed: how many artifacts its session to be listed has.
        floor: returns the bare calls, for files of a size, in a folder, for so many threads at once.
        most_files: of how many files one after the other is read.

    """

    store: ArtifactStore
    view: aio.ArtifactStore
    runner: asyncio.Runner
    listed: int
    floor: Callable[[int, Path, int], Workloads]
    most_files: int

    @property
    def blocks(self) -> bool:
        """Whether its calls may wait, so that its async view sends them to threads."""
        core = self.store.scope.core
        return core.storage.blocks or core.catalog.blocks

    def verbs(self, face: Any, size: int, folder: Path) -> Verbs:
        """Return the verbs of *face*."""
        return Verbs(
            self.store, face, size=size, folder=folder, listed=lambda: self._listed_session, most=self.most_files
        )

    @cached_property
    def _listed_session(self) -> str:
        fill(self.store, _LISTED, self.listed)
        return _LISTED


@contextlib.contextmanager
def opened(backend: str, connections: int, servers: Servers, folder: Path, effort: Effort) -> Iterator[Opened]:
    """Open a store, and close it at the end.

    Args:
        backend: its name.
        connections: how many it keeps.
        servers: where it finds what it needs.
        folder: for its files.
        effort: how much is measured.

    """
    store = ArtifactStore(gateway_url=_GATEWAY, max_connections=connections, **_options(backend, servers, folder))
    if backend == SLOW:
        store.scope.core.storage = SlowStorage(connections)
    with asyncio.Runner() as runner:
        view = aio.ArtifactStore.wrap(store)
        try:
            yield Opened(
                store=store,
                view=view,
                runner=runner,
                listed=effort.listed,
                floor=partial(_floor, store=store, backend=backend, servers=servers, listed=effort.listed),
                most_files=_FEW_FILES if backend == BUCKET else _MANY_FILES,
            )
        finally:
            runner.run(view.close())


def _options(backend: str, servers: Servers, folder: Path) -> dict[str, Any]:
    """Return the arguments of a store; what it needs is started."""
    records = {"session_provider": "redis"}
    if backend == DISK:
        return {"storage_provider": "filesystem", "fs_root": folder / "store"}
    if backend == REDIS:
        return {**records, "redis_url": servers.redis_url}
    if backend == BUCKET:
        where = {"storage_provider": "s3", "bucket": BUCKET_NAME, "endpoint_url": servers.bucket.url}
        return {**records, **where, "redis_url": servers.redis_url}
    return {}


def _floor(
    size: int, folder: Path, count: int, *, store: ArtifactStore, backend: str, servers: Servers, listed: int
) -> Workloads:
    if backend == DISK:
        return DiskFloor(size, listed, folder, count)
    if backend == REDIS:
        return RedisFloor(size, listed, servers.redis_url)
    if backend == BUCKET:
        more = {"bucket": BUCKET_NAME, "redis_url": servers.redis_url}
        return BucketFloor(size, listed, folder=folder, store=store, **more)
    return MemoryFloor(size, listed)
