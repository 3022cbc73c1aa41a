"""``python -m benchmarks.many_files``: 10,000 small files through ``artifact://``, beside ``file://``.

The store is on the local disk, with records in SQLite. Both sides run in one process, one after the other, and are
measured by processor time, which other programs on the machine change little; the time that passed stands beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from chuk_artifacts import ArtifactStore
from chuk_artifacts.filesystem import ArtifactFileSystem

_FILES_IN_A_FOLDER = 100
_BYTES = 100


class Cost(NamedTuple):
    """What a call took, in seconds.

    Attributes:
        processor: of the processor.
        passed: by the clock.

    """

    processor: float
    passed: float

    @classmethod
    def of(cls, call: Callable[[], object]) -> Cost:
        """Make a call, and return what it took."""
        processor, passed = time.process_time(), time.perf_counter()
        call()
        return cls(time.process_time() - processor, time.perf_counter() - passed)


def calls(fs: Any, root: str, source: str, target: str, names: list[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the calls that are measured, each with its name, in an order in which each finds its files.

    Args:
        fs: the filesystem.
        root: the folder in it to work in.
        source: a local folder with the files.
        target: a local folder to copy them to.
        names: their paths in these folders.

    """
    paths = [f"{root}/a/{name}" for name in names]
    yield "put recursive", partial(fs.put, source, f"{root}/a", recursive=True)
    yield "exists", partial(_each, fs.exists, paths)
    yield "info", partial(_each, fs.info, paths)
    yield "open().read()", partial(_each, partial(_read, fs), paths)
    yield "cat_file", partial(_each, fs.cat_file, paths)
    yield "find", partial(fs.find, f"{root}/a")
    yield "glob", partial(fs.glob, f"{root}/a/*/*.txt")
    yield "get recursive", partial(fs.get, f"{root}/a", target, recursive=True)
    yield "cp recursive", partial(fs.cp, f"{root}/a", f"{root}/b", recursive=True)
    yield "mv recursive", partial(fs.mv, f"{root}/b", f"{root}/c", recursive=True)
    yield "rm recursive", partial(fs.rm, f"{root}/c", recursive=True)


def _each(call: Callable[[str], object], paths: list[str]) -> None:
    for path in paths:
        call(path)


def _read(fs: Any, path: str) -> None:
    with fs.open(path) as file:
        file.read()


def main() -> None:
    """Measure, and print a line for each call."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000, help="how many files")
    parser.add_argument("--folder", help="where the files are written; default: the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, local = Path(folder, "source"), Path(folder, "local")
        names = [f"d{number % _FILES_IN_A_FOLDER:02}/f{number:06}.txt" for number in range(options.files)]
        for name in names:
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(_BYTES))
        local.mkdir()
        with ArtifactStore(
            storage_provider="filesystem", fs_root=f"{folder}/store", session_provider="sqlite", sandbox_id="bench"
        ) as store:
            theirs = calls(fsspec.filesystem("file"), str(local), str(source), f"{folder}/theirs", names)
            ours = calls(ArtifactFileSystem(store), "bench", str(source), f"{folder}/ours", names)
            print(f"{'call':14} {'file:// s':>10} {'artifact:// s':>14} {'ratio':>7} {'by the clock':>13}")
            for (name, their_call), (_, our_call) in zip(theirs, ours, strict=True):
                their, our = Cost.of(their_call), Cost.of(our_call)
                ratios = f"{our.processor / their.processor:7.2f} {our.passed / their.passed:13.2f}"
                print(f"{name:14} {their.processor:10.3f} {our.processor:14.3f} {ratios}", flush=True)


if __name__ == "__main__":
    main()
