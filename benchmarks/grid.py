"""The grid: workloads by sizes by backends by faces, each beside its floor."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.backends import Opened, opened
from benchmarks.plan import AIO, BUCKET, SLOW, Combination, combinations
from benchmarks.comparison import Driven, Side, compare
from benchmarks.effort import Effort
from benchmarks.result import Result
from benchmarks.servers import MissingError, Servers
from benchmarks.distance import Ideal
from benchmarks.turns import Tasks, Threads, at_once, hops
from benchmarks.workloads import WORKLOADS, Work


def names(effort: Effort) -> list[str]:
    """Return the names of all rows."""
    return [one.name for one in combinations(effort)]


def run(chosen: Collection[str], effort: Effort, folder: Path) -> Iterator[Result]:
    """Measure the rows of these names, those of one store together."""
    rows = [one for one in combinations(effort) if one.name in chosen]
    rows.sort(key=lambda one: one.connections)
    rows.sort(key=lambda one: [each.backend for each in combinations(effort)].index(one.backend))
    with contextlib.ExitStack() as ending:
        servers = Servers(folder, ending)
        for (backend, connections), some in itertools.groupby(rows, lambda one: (one.backend, one.connections)):
            yield from _run(backend, connections, list(some), effort, servers)


def _run(backend: str, connections: int, rows: list[Combination], effort: Effort, servers: Servers) -> Iterator[Result]:
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        try:
            store = ending.enter_context(opened(backend, connections, servers, folder, effort))
        except MissingError as error:
            yield from (Result(name=one.name, skipped=str(error)) for one in rows)
            return
        for one in rows:
            yield _measure(one, store, effort, servers)


def _measure(one: Combination, store: Opened, effort: Effort, servers: Servers) -> Result:
    """Measure one row, and remove what it left."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        sides = _Sides(one, store, Path(folder), ending)
        parameters = {
            "backend": one.backend,
            "workload": one.workload,
            "size_bytes": one.size,
            "face": one.face,
            "count": one.count,
            "connections": one.connections,
        }
        if one.workload.startswith("list"):
            parameters["listed"] = effort.listed
        if one.backend == BUCKET:
            parameters["server"] = servers.bucket.name
        return compare(
            one.name,
            sides.verb(),
            sides.floor(),
            seconds=effort.answers_seconds if one.backend == SLOW else effort.lap_seconds,
            blocking=sides.blocking() if one.face == AIO else None,
            count=one.count,
            size=one.size,
            rounds=effort.long_rounds if one.is_steady else effort.rounds,
            parameters=parameters,
        )


class _Sides:
    """The sides of a row.

    Args:
        one: the row.
        store: whose.
        folder: for files.
        ending: what removes all at the end.

    """

    def __init__(self, one: Combination, store: Opened, folder: Path, ending: contextlib.ExitStack) -> None:
        self._one = one
        self._store = store
        self._folder = folder
        self._ending = ending

    def verb(self) -> Side:
        """Return the verb, through the face of the row."""
        if self._one.face == AIO:
            return Driven(Tasks(self._one.count, self._store.runner), self._verb(self._store.view))
        return self.blocking()

    def blocking(self) -> Side:
        """Return the blocking verb, in as many threads."""
        return self._threads(self._verb(self._store.store))

    def floor(self) -> Side:
        """Return the bare calls, made as the verb is; of a storage that answers late, the least that takes."""
        one, store = self._one, self._store
        if one.backend == SLOW:
            return Ideal(one.workload, one.count, one.connections)
        bare = store.floor(one.size, self._folder, one.count)
        self._ending.callback(bare.close)
        work = WORKLOADS[one.workload](bare)
        return self._awaited(work) if one.face == AIO else self._threads(work)

    def _verb(self, face: object) -> Work:
        verbs = self._store.verbs(face, self._one.size, self._folder)
        self._ending.callback(verbs.close)
        return WORKLOADS[self._one.workload](verbs)

    def _threads(self, work: Work) -> Side:
        threads = Threads(self._one.count)
        self._ending.callback(threads.close)
        return Driven(threads, work)

    def _awaited(self, work: Work) -> Side:
        """Return bare calls that are awaited: in threads, if the store's calls may wait, else at once."""
        runner, call = self._store.runner, at_once(work.call)
        if self._store.blocks:
            pool = self._ending.enter_context(ThreadPoolExecutor(self._one.count))
            call = hops(work.call, runner, pool)
        return Driven(Tasks(self._one.count, runner), Work(call, work.ready))
