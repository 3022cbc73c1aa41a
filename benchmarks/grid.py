"""The grid: workloads by sizes by backends by faces, each row beside its floor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from benchmarks.comparison import Driven, Result, Side, compare
from benchmarks.distance import Ideal, SlowStorage
from benchmarks.local_floors import DiskFloor, MemoryFloor
from benchmarks.plan import AIO, BACKENDS, BUCKET, DISK, POSTGRES, REDIS, SLOW, Combination, Effort, combinations
from benchmarks.servers import BUCKET_NAME, MissingError, Servers
from benchmarks.service_floors import BucketFloor, RedisRecords, ServiceFloor
from benchmarks.turns import Tasks, Threads, in_pool, inline
from benchmarks.workloads import WORKLOADS, StoreWorkloads, Work, Workloads, fill
from chuk_artifacts import ArtifactStore, aio

_MANY_FILES, _FEW_FILES = 1000, 100  # putting many files into a bucket takes long
_LISTED = "listed"
_GATEWAY = "http://localhost"  # never called; without it the first URL would start a gateway


def names(effort: Effort) -> list[str]:
    """Return the names of all rows."""
    return [row.name for row in combinations(effort)]


def run(chosen: Collection[str], effort: Effort, folder: Path) -> Iterator[Result]:
    """Measure the rows with these names; rows of one store follow each other."""
    rows = [row for row in combinations(effort) if row.name in chosen]
    rows.sort(key=lambda row: (BACKENDS.index(row.backend), row.connections))
    with contextlib.ExitStack() as ending:
        servers = Servers(folder, ending)
        for (backend, connections), some in itertools.groupby(rows, lambda row: (row.backend, row.connections)):
            yield from _run(backend, connections, list(some), effort, servers)


def _run(backend: str, connections: int, rows: list[Combination], effort: Effort, servers: Servers) -> Iterator[Result]:
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        try:
            opened = ending.enter_context(open_store(backend, connections, servers, folder, effort))
        except MissingError as error:
            yield from (Result(name=row.name, skipped=str(error)) for row in rows)
            return
        for row in rows:
            yield _measure(row, opened, effort)


def _measure(row: Combination, opened: OpenStore, effort: Effort) -> Result:
    """Measure one row, and remove what it stored."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        sides = _Sides(row, opened, Path(folder), ending)
        return compare(
            row.name,
            sides.method(),
            sides.floor(),
            seconds=effort.slow_turn_seconds if row.backend == SLOW else effort.turn_seconds,
            blocking=sides.blocking() if row.face == AIO else None,
            count=row.count,
            size=row.size,
            rounds=effort.long_rounds if row.is_steady else effort.rounds,
            parameters=_parameters(row, opened),
        )


def _parameters(row: Combination, opened: OpenStore) -> dict[str, Any]:
    parameters = {
        "backend": row.backend,
        "workload": row.workload,
        "size_bytes": row.size,
        "face": row.face,
        "count": row.count,
        "connections": row.connections,
    }
    if row.workload.startswith("list"):
        parameters["listed"] = opened.listed
    if row.backend == BUCKET:
        parameters["server"] = opened.servers.bucket.name
    return parameters


class _Sides:
    """The sides of a row.

    Args:
        row: the row.
        opened: its store.
        folder: for files.
        ending: the stack that removes everything when it closes.

    """

    def __init__(self, row: Combination, opened: OpenStore, folder: Path, ending: contextlib.ExitStack) -> None:
        self._row = row
        self._opened = opened
        self._folder = folder
        self._ending = ending

    def method(self) -> Side:
        """Return the store's method, through the face of the row."""
        if self._row.face == AIO:
            return Driven(Tasks(self._row.count, self._opened.runner), self._work(self._opened.view))
        return self.blocking()

    def blocking(self) -> Side:
        """Return the blocking method, in as many threads."""
        return self._in_threads(self._work(self._opened.store))

    def floor(self) -> Side:
        """Return the bare calls, driven as the method is; for the slow storage, the least time that it could take."""
        row = self._row
        if row.backend == SLOW:
            return Ideal(row.workload, row.count, row.connections)
        bare = self._opened.floor(row.size, self._folder, row.count)
        self._ending.callback(bare.close)
        work = WORKLOADS[row.workload](bare)
        return self._in_tasks(work) if row.face == AIO else self._in_threads(work)

    def _work(self, face: object) -> Work:
        workloads = self._opened.workloads(face, self._row.size, self._folder)
        self._ending.callback(workloads.close)
        return WORKLOADS[self._row.workload](workloads)

    def _in_threads(self, work: Work) -> Side:
        threads = Threads(self._row.count)
        self._ending.callback(threads.close)
        return Driven(threads, work)

    def _in_tasks(self, work: Work) -> Side:
        """Return bare calls that are awaited: in threads if the store's calls may block, else inline."""
        runner, call = self._opened.runner, inline(work.call)
        if self._opened.blocks:
            pool = self._ending.enter_context(ThreadPoolExecutor(self._row.count))
            call = in_pool(work.call, runner, pool)
        return Driven(Tasks(self._row.count, runner), Work(call, work.ready))


@attrs.define(slots=False)
class OpenStore:
    """An open store of a backend.

    Attributes:
        backend: the name of the backend.
        store: the blocking store.
        view: its async view.
        runner: the runner of the loop for the view.
        servers: the servers of the run.
        listed: the number of artifacts in the session that is listed.

    """

    backend: str
    store: ArtifactStore
    view: aio.ArtifactStore
    runner: asyncio.Runner
    servers: Servers
    listed: int

    @property
    def blocks(self) -> bool:
        """Whether its calls may block, so that its async view sends them to threads."""
        core = self.store.scope.core
        return core.storage.blocks or core.catalog.blocks

    def workloads(self, face: Any, size: int, folder: Path) -> StoreWorkloads:
        """Return the workloads of *face*: the store or its view."""
        most = _FEW_FILES if self.backend == BUCKET else _MANY_FILES
        return StoreWorkloads(
            self.store, face, size=size, folder=folder, listed=lambda: self._listed_session, most=most
        )

    def floor(self, size: int, folder: Path, count: int) -> Workloads:
        """Return the bare calls under the store, for *count* callers."""
        if self.backend == DISK:
            return DiskFloor(size, self.listed, folder, count)
        if self.backend == REDIS:
            return ServiceFloor(MemoryFloor(size, self.listed), self.listed, RedisRecords(self.servers.redis_url))
        if self.backend == POSTGRES:
            from benchmarks.postgres_floor import PostgresRecords  # noqa: PLC0415 - where its driver is

            records = PostgresRecords(self.servers.postgres_url)
            return ServiceFloor(MemoryFloor(size, self.listed), self.listed, records)
        if self.backend == BUCKET:
            bare = BucketFloor(size, folder, self.store, BUCKET_NAME)
            return ServiceFloor(bare, self.listed, RedisRecords(self.servers.redis_url))
        return MemoryFloor(size, self.listed)

    @cached_property
    def _listed_session(self) -> str:
        fill(self.store, _LISTED, self.listed)
        return _LISTED


@contextlib.contextmanager
def open_store(backend: str, connections: int, servers: Servers, folder: Path, effort: Effort) -> Iterator[OpenStore]:
    """Open a store, and close it at the end.

    Args:
        backend: the name of the backend.
        connections: the connections that the store keeps.
        servers: start when the backend needs them.
        folder: for the store's files.
        effort: how much the run measures.

    Raises:
        MissingError: a server that the backend needs is not installed.

    """
    options = _options(backend, servers, folder)
    with _slow_memory(connections) if backend == SLOW else contextlib.nullcontext():
        store = ArtifactStore(gateway_url=_GATEWAY, max_connections=connections, **options)
    with asyncio.Runner() as runner:
        view = aio.ArtifactStore.wrap(store)
        try:
            yield OpenStore(backend, store, view, runner, servers, effort.listed)
        finally:
            runner.run(view.close())


def _slow_memory(connections: int) -> contextlib.AbstractContextManager[object]:
    """Let a new store open the slow storage in place of memory: no provider is slow on purpose.

    A store sizes its thread pool by its storage, so replacing the storage of an open store would come too late.
    """
    return mock.patch("chuk_artifacts.storage.memory.MemoryStorage", partial(SlowStorage, connections))


def _options(backend: str, servers: Servers, folder: Path) -> dict[str, Any]:
    """Return the arguments for a store, and start the servers that it needs."""
    in_redis = {"session_provider": "redis"}
    if backend == DISK:
        return {"storage_provider": "filesystem", "fs_root": folder / "store"}
    if backend == REDIS:
        return {**in_redis, "redis_url": servers.redis_url}
    if backend == POSTGRES:
        return {"session_provider": "postgres", "postgres_url": servers.postgres_url}
    if backend == BUCKET:
        in_bucket = {"storage_provider": "s3", "bucket": BUCKET_NAME, "endpoint_url": servers.bucket.url}
        return {**in_redis, **in_bucket, "redis_url": servers.redis_url}
    return {}
