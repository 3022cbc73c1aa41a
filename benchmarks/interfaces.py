"""Rows of the other interfaces: ``artifact://`` for fsspec, and signed URLs."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.local_floors import bare_signature
from benchmarks.plan import Effort, size_name
from benchmarks.workloads import KIB, MIB
from chuk_artifacts import ArtifactStore
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.signing import DOWNLOAD, Grant, Signer
from chuk_artifacts.source import StoreItem

_SIZES = (KIB, 64 * KIB, MIB)
_FILES = 100
_COLUMNS = 10


def rows(effort: Effort) -> Rows:
    """Return the rows."""
    files = {
        f"artifact-{storage}/{method}/{size_name(size)}": partial(_files, storage, method, size, effort)
        for storage in ("memory", "filesystem")
        for method in ("cat_file", "pipe_file")
        for size in _SIZES
    }
    listing = f"artifact-filesystem/ls100/among{effort.listed}"
    scan = f"artifact-filesystem/parquet/{size_name(effort.large_bytes)}"
    return {
        **files,
        listing: partial(_ls, listing, effort),
        scan: partial(_scan, scan, effort),
        "signing/sign": partial(_signing, "sign", effort),
        "signing/check": partial(_signing, "check", effort),
    }


# artifact://


def _files(storage: str, method: str, size: int, effort: Effort, folder: Path) -> Result:
    """Read or write files, beside the store's method that does the same."""
    options: dict[str, Any] = {"fs_root": folder / "artifacts"} if storage == "filesystem" else {}
    with ArtifactStore(storage_provider=storage, **options) as store:
        ours, floor = (_reads if method == "cat_file" else _writes)(store, b"x" * size)
        return compare_calls(
            f"artifact-{storage}/{method}/{size_name(size)}",
            ours,
            floor,
            seconds=effort.turn_seconds,
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
    """List a folder of 100 entries in a session with many others, beside the same folder in one with few."""
    entries = [f"m/{number:03}" for number in range(90)] + [f"m/{number:03}/x" for number in range(100, 110)]
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "listing") as store:
        fs = ArtifactFileSystem(store)
        for session, others in (("few", effort.listed // 100), ("many", effort.listed)):
            names = (f"{parent}/{number:06}" for parent in ("a", "m/100", "z") for number in range(others // 3))
            whole = itertools.chain(entries, names)
            while batch := [StoreItem(data=b"", filename=name) for name in itertools.islice(whole, 1000)]:
                store.store_batch(batch, session)
        return compare_calls(
            name,
            lambda: fs.ls("many/m"),
            lambda: fs.ls("few/m"),
            seconds=effort.turn_seconds,
            rounds=effort.rounds,
            parameters={"listed": effort.listed},
        )


def _scan(name: str, effort: Effort, folder: Path) -> Result:
    """Scan a Parquet file through ``artifact://``, beside ``file://``."""
    try:
        parquet = _write_parquet(folder / "scan.parquet", effort.large_bytes)
    except ImportError as error:
        return Result(name=name, skipped=f"pyarrow and numpy are needed: {error}")
    local = fsspec.filesystem("file")
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "scan") as store:
        artifacts = ArtifactFileSystem(store)
        artifacts.put_file(folder / "scan.parquet", "bench/scan.parquet")

        def scan(fs: Any, path: str) -> None:
            with fs.open(path, "rb") as file:
                parquet.read_table(file, use_threads=False)

        return compare_calls(
            name,
            lambda: scan(artifacts, "bench/scan.parquet"),
            lambda: scan(local, str(folder / "scan.parquet")),
            seconds=effort.turn_seconds,
            rounds=effort.long_rounds,
            size=effort.large_bytes,
            parameters={"size_bytes": effort.large_bytes},
        )


def _write_parquet(path: Path, size: int) -> Any:
    """Write a table of random numbers of about *size* bytes, and return the module that wrote it."""
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    np: Any = importlib.import_module("numpy")
    random = np.random.default_rng(0)
    table = arrow.table({f"c{number}": random.random(size // 8 // _COLUMNS) for number in range(_COLUMNS)})
    parquet.write_table(table, path, compression="none", use_dictionary=False)
    return parquet


# Signed URLs


def _signing(method: str, effort: Effort, _: Path) -> Result:
    """Sign a URL, or check one, beside the bare HMAC."""
    signer, grant, now = Signer(["k" * 64], "sandbox"), Grant("0" * 32), time.time()
    path, _sign, query = signer.sign(DOWNLOAD, grant, now + 60).partition("?")
    calls: dict[str, Callable[[], object]] = {
        "sign": lambda: signer.sign(DOWNLOAD, grant, now + 60),
        "check": lambda: signer.check(DOWNLOAD, path, query, now),
    }
    return compare_calls(
        f"signing/{method}",
        calls[method],
        lambda: bare_signature("0" * 32),
        seconds=effort.turn_seconds,
        rounds=effort.rounds,
    )
