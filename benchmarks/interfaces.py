"""What ``artifact://`` costs beside the store's own verbs, and beside ``file://``."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec

from benchmarks.comparison import compare, one_by_one
from benchmarks.effort import KIB, MIB, Effort, size_word
from benchmarks.result import Result, Rows
from benchmarks.workloads import Work
from chuk_artifacts import ArtifactStore
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.source import StoreItem

_SIZES = (KIB, 64 * KIB, MIB)
_FILES = 100
_COLUMNS = 10


def rows(effort: Effort) -> Rows:
    """Return what measures the rows."""
    small = {
        f"artifact-{storage}/{verb}/{size_word(size)}": partial(_small, storage, verb, size, effort)
        for storage in ("memory", "filesystem")
        for verb in ("cat_file", "pipe_file")
        for size in _SIZES
    }
    listing = f"artifact-filesystem/ls100/among{effort.listed}"
    scan = f"artifact-filesystem/parquet/{size_word(effort.large_bytes)}"
    return {**small, listing: partial(_ls, listing, effort), scan: partial(_scan, scan, effort)}


def _small(storage: str, verb: str, size: int, effort: Effort, folder: Path) -> Result:
    """Read or write files, beside the store's verb that does the same."""
    options: dict[str, Any] = {"fs_root": folder / "artifacts"} if storage == "filesystem" else {}
    with ArtifactStore(storage_provider=storage, **options) as store:
        ours, floor = (_reads if verb == "cat_file" else _writes)(store, b"x" * size)
        name = f"artifact-{storage}/{verb}/{size_word(size)}"
        return compare(
            name,
            one_by_one(Work(ours)),
            one_by_one(Work(floor)),
            seconds=effort.lap_seconds,
            rounds=effort.rounds,
            size=size,
            parameters={"size_bytes": size},
        )


def _reads(store: ArtifactStore, data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    fs = ArtifactFileSystem(store)
    ids = [store.store(data, filename=f"read/{number}", session_id="bench") for number in range(_FILES)]
    numbers = itertools.cycle(range(_FILES))
    return lambda: fs.cat_file(f"bench/read/{next(numbers)}"), lambda: store.retrieve(ids[next(numbers)])


def _writes(store: ArtifactStore, data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    fs = ArtifactFileSystem(store)
    count = itertools.count()
    return (
        lambda: fs.pipe_file(f"bench/written/{next(count)}", data),
        lambda: store.store(data, filename=f"written/{next(count)}", session_id="bench"),
    )


def _ls(name: str, effort: Effort, folder: Path) -> Result:
    """List a folder of 100 entries among many others, beside and below it, beside one among few."""
    entries = [f"m/{number:03}" for number in range(90)] + [f"m/{number:03}/x" for number in range(100, 110)]
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "listing") as store:
        fs = ArtifactFileSystem(store)
        for session, others in (("few", effort.listed // 100), ("many", effort.listed)):
            names = (f"{place}/{number:06}" for place in ("a", "m/100", "z") for number in range(others // 3))
            whole = itertools.chain(entries, names)
            while batch := [StoreItem(data=b"", filename=name) for name in itertools.islice(whole, 1000)]:
                store.store_batch(batch, session)
        return compare(
            name,
            one_by_one(Work(lambda: fs.ls("many/m"))),
            one_by_one(Work(lambda: fs.ls("few/m"))),
            seconds=effort.lap_seconds,
            rounds=effort.rounds,
            parameters={"listed": effort.listed},
        )


def _scan(name: str, effort: Effort, folder: Path) -> Result:
    """Scan a Parquet file through ``artifact://``, beside ``file://``."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        np: Any = importlib.import_module("numpy")
    except ImportError as error:
        return Result(name=name, skipped=f"pyarrow and numpy are needed: {error}")
    length = effort.large_bytes // 8 // _COLUMNS
    random = np.random.default_rng(0)
    table = arrow.table({f"c{number}": random.random(length) for number in range(_COLUMNS)})
    local = folder / "scan.parquet"
    parquet.write_table(table, local, compression="none", use_dictionary=False)
    fs = fsspec.filesystem("file")
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "scan") as store:
        artifacts = ArtifactFileSystem(store)
        artifacts.put_file(local, "bench/scan.parquet")

        def scan(fs: Any, path: str) -> None:
            with fs.open(path, "rb") as file:
                parquet.read_table(file, use_threads=False)

        return compare(
            name,
            one_by_one(Work(lambda: scan(artifacts, "bench/scan.parquet"))),
            one_by_one(Work(lambda: scan(fs, str(local)))),
            seconds=effort.lap_seconds,
            rounds=effort.long_rounds,
            size=effort.large_bytes,
            parameters={"size_bytes": effort.large_bytes},
        )
