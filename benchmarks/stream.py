"""``python -m benchmarks.stream FOLDER BYTES``: store and stream a file on disk, and print the memory that took.

It is a program of its own, so that nothing that was measured before has left memory to be used again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.effort import Effort, size_word
from benchmarks.resident import Watch
from benchmarks.result import Result, Rows
from chuk_artifacts import ArtifactStore

_PIECE = b"x" * 1024 * 1024


def rows(effort: Effort) -> Rows:
    """Return what measures the row."""
    name = f"stream/filesystem/{size_word(effort.stream_bytes)}"
    return {name: partial(_row, name, effort)}


def _row(name: str, effort: Effort, folder: Path) -> Result:
    command = [sys.executable, "-m", "benchmarks.stream", str(folder), str(effort.stream_bytes)]
    growth, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Result(
        name=name,
        calls=1,
        a_second=1 / float(seconds),
        growth_bytes=None if growth == "None" else int(growth),
        parameters={"size_bytes": effort.stream_bytes},
    )


def main() -> None:
    """Run and print."""
    folder, size = sys.argv[1], int(sys.argv[2])
    with ArtifactStore(storage_provider="filesystem", fs_root=folder) as store:
        store.retrieve(store.store(iter([_PIECE])))
        watch, begin = Watch(), time.perf_counter()
        artifact_id = store.store(_pieces(size))
        streamed = sum(len(piece) for piece in store.stream(artifact_id))
        if streamed != size:
            raise SystemExit(f"{streamed} bytes came back instead of {size}")
        print(watch.growth(), time.perf_counter() - begin)


def _pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, len(_PIECE)):
        yield _PIECE[: size - start]


if __name__ == "__main__":
    main()
