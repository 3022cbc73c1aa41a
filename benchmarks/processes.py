"""Rows in processes of their own: the start of an interpreter, and the memory that a stream takes.

``python -m benchmarks.processes FOLDER BYTES`` is the process of the row ``stream``: memory that other rows have freed
would be used again and hide what the stream takes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import attrs

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.plan import Effort, size_name
from benchmarks.targets import ADDED_MS
from benchmarks.turns import PeakMemory
from benchmarks.workloads import MIB
from chuk_artifacts import ArtifactStore

_COMMANDS = {"start/import": ("-c", "import chuk_artifacts"), "start/help": ("-m", "chuk_artifacts", "--help")}
_CHUNK = b"x" * MIB


def rows(effort: Effort) -> Rows:
    """Return the rows."""
    stream = f"stream/filesystem/{size_name(effort.stream_bytes)}"
    return {
        stream: partial(_stream, stream, effort),
        **{name: partial(_start, name, effort) for name in _COMMANDS},
    }


def _start(name: str, effort: Effort, folder: Path) -> Result:
    """Start interpreters beside ones that do nothing; the median of the differences is what the package adds.

    Their bytecode is kept in *folder*, as an installed package keeps it beside its modules.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ours, bare = _interpreter(environment, *_COMMANDS[name]), _interpreter(environment, "-c", "pass")
    result = compare_calls(name, ours, bare, seconds=0, rounds=effort.starts)
    added = statistics.median(ours - bare for ours, bare in zip(result.method_us, result.floor_us, strict=True))
    return attrs.evolve(result, figures={ADDED_MS: added / 1e3}, processor_us=None, growth_bytes=None)


def _interpreter(environment: Mapping[str, str], *arguments: str) -> Callable[[], object]:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def _stream(name: str, effort: Effort, folder: Path) -> Result:
    command = [sys.executable, "-m", "benchmarks.processes", str(folder), str(effort.stream_bytes)]
    growth, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Result(
        name=name,
        calls=1,
        a_second=1 / float(seconds),
        growth_bytes=None if growth == "None" else int(growth),
        parameters={"size_bytes": effort.stream_bytes},
    )


def main() -> None:
    """Store and read a stream on disk, and print by how many bytes the process grew, and the seconds."""
    folder, size = sys.argv[1], int(sys.argv[2])
    with ArtifactStore(storage_provider="filesystem", fs_root=folder) as store:
        store.retrieve(store.store(iter([_CHUNK])))
        peak, begin = PeakMemory(), time.perf_counter()
        artifact_id = store.store(_chunks(size))
        streamed = sum(len(chunk) for chunk in store.stream(artifact_id))
        if streamed != size:
            raise SystemExit(f"the stream returned {streamed} bytes instead of {size}")
        print(peak.growth(), time.perf_counter() - begin)


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, len(_CHUNK)):
        yield _CHUNK[: size - start]


if __name__ == "__main__":
    main()
