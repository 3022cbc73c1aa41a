"""``migrate`` beside reading and writing the same bytes without records: on a disk, and with 20 ms of latency."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.distance import SlowStorage
from benchmarks.plan import Effort
from benchmarks.workloads import KIB
from chuk_artifacts import ArtifactStore, migrate

DISK, SLOW = "filesystem+sqlite/migrate/1KiB", "slow20ms/migrate/1KiB"
_FILES = 400
_WORKERS = 8
_SANDBOX = "bench"


def rows(effort: Effort) -> Rows:
    """Return the rows, whose calls copy 400 files each."""
    return {DISK: partial(_on_disk, effort), SLOW: partial(_slow, effort)}


def _on_disk(effort: Effort, folder: Path) -> Result:
    numbers = itertools.count()

    def copy(copied: Callable[[ArtifactStore], object]) -> None:
        root = folder / f"target-{next(numbers)}"
        with ArtifactStore(storage_provider="filesystem", fs_root=root, sandbox_id=_SANDBOX) as target:
            copied(target)
        shutil.rmtree(root)

    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "source", sandbox_id=_SANDBOX) as source:
        return _compared(DISK, source, copy, effort, workers=1)


def _slow(effort: Effort, _folder: Path) -> Result:
    def copy(copied: Callable[[ArtifactStore], object]) -> None:
        with _slow_store() as target:
            copied(target)

    with _slow_store() as source:
        return _compared(SLOW, source, copy, effort, workers=_WORKERS)


def _slow_store() -> ArtifactStore:
    store = ArtifactStore(sandbox_id=_SANDBOX)
    store.scope.core.storage = SlowStorage(_WORKERS)
    return store


def _compared(
    name: str,
    source: ArtifactStore,
    copy: Callable[[Callable[[ArtifactStore], object]], None],
    effort: Effort,
    *,
    workers: int,
) -> Result:
    """Compare a migration with reads and writes of the storages alone, in as many threads."""
    session = source.session("bench")
    ids = session.store_batch([{"data": b"x" * KIB, "filename": f"{number}"} for number in range(_FILES)])
    keys = [one.key for one in session.list_by_session()]

    def bare(target: ArtifactStore) -> None:
        here, there = source.scope.core.storage, target.scope.core.storage
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(lambda key: there.put(key, here.get(key)), keys):
                pass

    def ours(target: ArtifactStore) -> None:
        report = migrate(source, target, max_workers=_WORKERS)
        if report.artifacts != len(ids):
            raise RuntimeError(f"not all were copied: {report}")

    return compare_calls(
        name, partial(copy, ours), partial(copy, bare), seconds=0, rounds=effort.long_rounds, size=_FILES * KIB
    )
