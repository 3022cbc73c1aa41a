"""``python -m benchmarks [--quick]``: each verb beside its floor, in interleaved rounds."""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import aio, bucket, filesystem, floor, redis_floor
from benchmarks.gateway import print_downloads, print_signatures
from chuk_artifacts import ArtifactStore

_KIB = 1024
_MIB = 1024 * _KIB


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Verbs beside the bare calls under them.")
    parser.add_argument("--quick", action="store_true", help="fewer calls, smaller streams")
    quick = parser.parse_args().quick
    calls, rounds = (200, 5) if quick else (2000, 11)
    print(f"{'workload':34}{'verb µs':>10}{'floor µs':>10}{'ratio':>8}{'spread':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for name, verb, bare in _workloads(Path(folder)):
            _compare(name, verb, bare, calls, rounds)
        print(f"{'artifact:// beside the store':34}{'call µs':>10}{'verb µs':>10}")
        for name, call, verb in filesystem.workloads(Path(folder)):
            _compare(name, call, verb, 100 if "MiB" in name else calls // 4, rounds)
        filesystem.print_listing(Path(folder), 3_000 if quick else 100_000)
        filesystem.print_scan(Path(folder), (16 if quick else 256) * _MIB, rounds)
        aio.main(Path(folder) / "aio", quick=quick)
    _print_stream(64 * _MIB if quick else 1024 * _MIB)
    with tempfile.TemporaryDirectory() as folder:
        print_downloads(Path(folder), 32 * _MIB if quick else 256 * _MIB, rounds)
    print_signatures(10 * calls)
    bucket.main(quick=quick)
    _print_import()


def _workloads(folder: Path) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    data = b"x" * _KIB
    with ArtifactStore() as store:
        yield "memory store 1 KiB", lambda: store.store(data, session_id="bench"), floor.memory_store(data)
        ids = itertools.cycle([store.store(data, session_id="bench") for _ in range(1000)])
        yield "memory retrieve 1 KiB", lambda: store.retrieve(next(ids)), floor.memory_retrieve(data)
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "store") as store:
        bare_folder = folder / "bare"
        bare_folder.mkdir()
        bare = floor.file_store(data, bare_folder)
        yield "filesystem+sqlite store 1 KiB", lambda: store.store(data, session_id="bench"), bare
        ids = itertools.cycle([store.store(data, session_id="bench") for _ in range(1000)])
        bare_folder = folder / "bare2"
        bare_folder.mkdir()
        bare = floor.file_retrieve(data, bare_folder)
        yield "filesystem+sqlite retrieve 1 KiB", lambda: store.retrieve(next(ids)), bare
    yield from redis_floor.workloads()


def _compare(name: str, verb: Callable[[], object], bare: Callable[[], object], calls: int, rounds: int) -> None:
    _seconds(verb, calls // 10)
    _seconds(bare, calls // 10)
    pairs = [(_seconds(verb, calls), _seconds(bare, calls)) for _ in range(rounds)]
    ratios = sorted(bare_time / verb_time for verb_time, bare_time in pairs)
    verb_median, bare_median = (statistics.median(times) * 1e6 for times in zip(*pairs, strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"{name:34}{verb_median:10.1f}{bare_median:10.1f}{statistics.median(ratios):8.2f}{spread:>16}")


def _seconds(call: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def _print_stream(size: int) -> None:
    """Store and stream a large file in a process of its own, and print by how much that grew."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.stream", folder, str(size)]
        growth = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{size // _MIB} MiB stored and streamed from disk: the process grew by {growth / _MIB:.1f} MiB")


def _print_import() -> None:
    """Print what importing the package adds to the start of an interpreter."""
    with_import, without = [], []
    for _ in range(15):
        without.append(_start("pass"))
        with_import.append(_start("import chuk_artifacts"))
    added = statistics.median(with_import) - statistics.median(without)
    print(f"import chuk_artifacts adds {added * 1e3:.0f} ms to {statistics.median(without) * 1e3:.0f} ms")


def _start(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
