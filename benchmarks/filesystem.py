"""What ``artifact://`` costs beside the store's own verbs, and beside ``file://``."""

from __future__ import annotations

import importlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec

from chuk_artifacts import ArtifactStore
from chuk_artifacts.filesystem import ArtifactFileSystem

_KIB = 1024
_SIZES = {"1 KiB": _KIB, "64 KiB": 64 * _KIB, "1 MiB": 1024 * _KIB}
_COLUMNS = 10

Workload = tuple[str, Callable[[], object], Callable[[], object]]


def workloads(folder: Path) -> Iterator[Workload]:
    """Iterate over each workload of the filesystem, with the verb of the store that does the same."""
    for name, options in (
        ("memory", {}),
        ("filesystem", {"storage_provider": "filesystem", "fs_root": folder / "artifacts"}),
    ):
        for size_name, size in _SIZES.items():
            with ArtifactStore(**options, sandbox_id=f"{size}") as store:  # type: ignore[arg-type]
                yield from _reads_and_writes(f"{name} {{}} {size_name}", store, b"x" * size)


def _reads_and_writes(name: str, store: ArtifactStore, data: bytes) -> Iterator[Workload]:
    fs = ArtifactFileSystem(store)
    count = itertools.count()
    ids = [store.store(data, filename=f"read/{number}", session_id="bench") for number in range(100)]
    numbers = itertools.cycle(range(len(ids)))
    yield (
        name.format("cat_file"),
        lambda: fs.cat_file(f"bench/read/{next(numbers)}"),
        lambda: store.retrieve(ids[next(numbers)]),
    )
    yield (
        name.format("pipe_file"),
        lambda: fs.pipe_file(f"bench/written/{next(count)}", data),
        lambda: store.store(data, filename=f"written/{next(count)}", session_id="bench"),
    )


def print_listing(folder: Path, many: int) -> None:
    """Print what it costs to list a folder of 100 entries among few and among many others, beside and below it."""
    entries = [f"m/{number:03}" for number in range(90)] + [f"m/{number:03}/x" for number in range(100, 110)]
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "listing") as store:
        fs = ArtifactFileSystem(store)
        for session, others in (("few", many // 100), ("many", many)):
            names = (f"{place}/{number:06}" for place in ("a", "m/100", "z") for number in range(others // 3))
            whole = itertools.chain(entries, names)
            while batch := [{"data": b"", "filename": name} for name in itertools.islice(whole, 1000)]:
                store.store_batch(batch, session)
        pairs = [(_median(lambda: fs.ls("many/m"), 1), _median(lambda: fs.ls("few/m"), 1)) for _ in range(21)]
    among_many, among_few = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    print(
        f"ls of 100 entries among {many} others: {among_many:.2f} ms, among {many // 100}: {among_few:.2f} ms,"
        f" ratio {statistics.median(few / most for most, few in pairs):.2f}"
    )


def print_scan(folder: Path, size: int, rounds: int) -> None:
    """Print what it costs to scan a Parquet file through ``artifact://``, beside ``file://``."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        np: Any = importlib.import_module("numpy")
    except ImportError as error:
        print(f"scan of a Parquet file: skipped, {error}")
        return
    rows = size // 8 // _COLUMNS
    random = np.random.default_rng(0)
    table = arrow.table({f"c{number}": random.random(rows) for number in range(_COLUMNS)})
    local = folder / "scan.parquet"
    parquet.write_table(table, local, compression="none", use_dictionary=False)
    fs = fsspec.filesystem("artifact", storage_provider="filesystem", fs_root=folder / "scan")
    fs.put_file(local, "bench/scan.parquet")

    def scan(fs: Any, path: str) -> None:
        with fs.open(path, "rb") as file:
            parquet.read_table(file, use_threads=False)

    files = fsspec.filesystem("file")
    pairs = [
        (_median(lambda: scan(fs, "bench/scan.parquet"), 1), _median(lambda: scan(files, str(local)), 1))
        for _ in range(rounds)
    ]
    ratio = statistics.median(bare / verb for verb, bare in pairs)
    through, beside = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"scan of {local.stat().st_size // _KIB // _KIB} MiB of Parquet, {_COLUMNS} columns:"
        f" artifact:// {through * 1e3:.0f} ms, file:// {beside * 1e3:.0f} ms, ratio {ratio:.2f}"
    )


def _median(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
