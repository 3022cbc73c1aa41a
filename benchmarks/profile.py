"""``python -m benchmarks.profile``: where the time of one store and one retrieve goes, by layer.

The profiler slows Python functions more than C functions, so the shares lean to Python. The cost of a call is measured
without the profiler, and divided by these shares.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import re
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.grid import open_store
from benchmarks.plan import BACKENDS, QUICK, SLOW, size_name
from benchmarks.servers import MissingError, Servers
from benchmarks.turns import Threads
from benchmarks.workloads import KIB, WORKLOADS, Work

METHODS = ("store", "retrieve", "metadata")
_PROFILED = tuple(backend for backend in BACKENDS if backend != SLOW)
_CONNECTIONS = 32
_CALLS = 1000
_WARM_CALLS = 100
_LEAST_SHARE = 0.005

_Function = tuple[str, int, str]
_IN_C = "~"
# Layers of built-in functions, by the names that the profiler gives them; others count for their callers.
_LAYERS_IN_C = (
    (re.compile(r"hashlib|_sha|_hmac|HASH"), "hashes"),  # before ssl: OpenSSL makes them
    (re.compile(r"socket|epoll|poll|select\.|ssl"), "sockets"),
    (re.compile(r"sqlite3"), "SQLite"),
    (re.compile(r"posix\.|_io\.(open|FileIO)|io\.open"), "system calls on files"),
    (re.compile(r"json|encoder|scanner"), "json in C"),
    (re.compile(r"_thread\.|lock"), "locks"),
)
_HERE = str(Path(__file__).parent.parent)
_STDLIB = sysconfig.get_path("stdlib")


@attrs.frozen
class Attribution:
    """Where the time of a call goes.

    Attributes:
        backend: the name of the backend.
        method: the name of the method.
        microseconds: the cost of a call without the profiler.
        shares: the share of each layer; together they are 1.

    """

    backend: str
    method: str
    microseconds: float
    shares: Mapping[str, float]

    def to_markdown(self) -> str:
        """Return a table, the most expensive layer first."""
        title = f"**{self.backend}, {self.method}**: {self.microseconds:.1f} µs"
        lines = [title, "", "| layer | share | µs |", "|---|--:|--:|"]
        rest = 1.0
        for layer, share in sorted(self.shares.items(), key=lambda item: -item[1]):
            if share >= _LEAST_SHARE:
                lines.append(f"| {layer} | {share:.1%} | {share * self.microseconds:.1f} |")
                rest -= share
        if rest >= _LEAST_SHARE:
            lines.append(f"| others | {rest:.1%} | {rest * self.microseconds:.1f} |")
        return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile, and print tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where the time of a call goes.")
    parser.add_argument("--only", nargs="+", choices=_PROFILED, default=list(_PROFILED), help="which backends")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["store", "retrieve"], help="which methods")
    parser.add_argument("--size", type=int, default=KIB, help="the size of a file in bytes")
    parser.add_argument("--calls", type=int, default=_CALLS, help="the number of calls to profile")
    options = parser.parse_args(arguments)
    print(f"Files of {size_name(options.size)}, {options.calls} calls each.")
    with tempfile.TemporaryDirectory(prefix="chuk-profile-") as folder, contextlib.ExitStack() as ending:
        servers = Servers(Path(folder), ending)
        for backend in options.only:
            for attribution in _attributions(backend, servers, options):
                print(f"\n{attribution.to_markdown()}", flush=True)


def _attributions(backend: str, servers: Servers, options: argparse.Namespace) -> Iterator[Attribution]:
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        try:
            opened = ending.enter_context(open_store(backend, _CONNECTIONS, servers, folder, QUICK))
        except MissingError as error:
            print(f"{backend}: {error}", file=sys.stderr)
            return
        for method in options.methods:
            workloads = opened.workloads(opened.store, options.size, folder)
            yield _attribution(backend, method, WORKLOADS[method](workloads), options.calls)
            workloads.close()


def _attribution(backend: str, method: str, work: Work, calls: int) -> Attribution:
    threads = Threads(1)
    threads.run(work.call, _WARM_CALLS)
    turn = threads.run(work.call, calls)
    profiler = cProfile.Profile()
    profiler.runcall(_repeat, work, calls)
    return Attribution(backend, method, turn.each * 1e6, shares(pstats.Stats(profiler)))


def _repeat(work: Work, calls: int) -> None:
    for _ in range(calls):
        work.call()


def shares(stats: pstats.Stats) -> dict[str, float]:
    """Return the share of each layer in the profiled time, without the benchmark's own."""
    spent: Counter[str] = Counter()
    entries: dict[_Function, Any] = stats.stats  # type: ignore[attr-defined]
    for function, (_, _, own, _, callers) in entries.items():
        layer = _layer(function)
        if layer is not None:
            spent[layer] += own
            continue
        for caller, (_, _, part, _) in callers.items():
            spent[_layer(caller) or "built-in functions"] += part
    ours = {layer: seconds for layer, seconds in spent.items() if not layer.startswith("benchmarks")}
    total = sum(ours.values())
    return {layer: seconds / total for layer, seconds in ours.items()}


def _layer(function: _Function) -> str | None:
    """Return the layer of a function; None for a built-in one, which counts for its caller."""
    path, _, name = function
    if path == _IN_C:
        return next((layer for pattern, layer in _LAYERS_IN_C if pattern.search(name)), None)
    if path.startswith(_HERE):
        return path.removeprefix(f"{_HERE}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    _, packaged, package = path.partition("site-packages/")
    if packaged:
        return package.partition("/")[0].removesuffix(".py")
    if path.startswith("<"):
        return None
    return (
        f"stdlib {Path(path).relative_to(_STDLIB).parts[0].removesuffix('.py')}" if path.startswith(_STDLIB) else path
    )


if __name__ == "__main__":
    main()
