"""``python -m benchmarks.growth``: what each verb costs, and how much room a record takes, as a catalog fills.

Half of the records, but not fewer than 100, are in one session, which is the one that is listed, the others in sessions
of 100. Bytes are in memory, so that what grows is the catalog's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import redis

from benchmarks import machine
from benchmarks.effort import KIB
from benchmarks.records import fill
from benchmarks.servers import MissingError, Servers
from benchmarks.turns import Lap, Threads
from benchmarks.verbs import Verbs
from benchmarks.workloads import WORKLOADS, Work
from chuk_artifacts import ArtifactStore, ArtifactStoreError

CATALOGS = ("sqlite", "redis")
_COUNTS = (100, 10_000, 1_000_000)
_QUICK_COUNTS = (100, 10_000)
_VERBS = ("store", "retrieve", "metadata", "copy", "update", "delete", "list20", "list100", "store_batch", "presign")
_LARGE_SESSION = "large"
_IN_SMALL = 100
_WARM_LAPS, _LAPS = 2, 9
_MOST_SECONDS = 3.0
_LAP_SECONDS = 0.05
_MOST_CALLS = 2000


@attrs.frozen
class Step:
    """What was found at one size of a catalog.

    Attributes:
        catalog: which.
        records: how many there were.
        fill_seconds: how long it took to add those that the step before did not have.
        bytes_a_record: of the database file, or of the server's memory.
        verb_us: what each verb cost in µs, the median of the laps; None when the store gave it up.

    """

    catalog: str
    records: int
    fill_seconds: float
    bytes_a_record: float
    verb_us: dict[str, float | None]


@attrs.frozen
class _Catalog:
    """A store with an empty catalog, and what tells how many bytes that takes."""

    name: str
    store: ArtifactStore
    size: Callable[[], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description="What grows with a catalog.")
    parser.add_argument("--quick", action="store_true", help="stop at 10,000 records")
    parser.add_argument("--only", nargs="+", choices=CATALOGS, default=list(CATALOGS), help="which catalogs")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    counts = _QUICK_COUNTS if options.quick else _COUNTS
    report: dict[str, Any] = {**machine.describe(), "steps": []}
    for name in options.only:
        steps = list(_steps(name, counts))
        print(table(steps), flush=True)
        report["steps"] += map(attrs.asdict, steps)
        if options.json:  # with what there is so far
            Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def table(steps: Sequence[Step]) -> str:
    """Return the table of one catalog."""
    if not steps:
        return ""
    lines = [f"\n{steps[0].catalog:18}" + "".join(f"{f'{step.records:,}':>14}" for step in steps) + f"{'growth':>10}"]
    for verb in steps[0].verb_us:
        costs = [step.verb_us[verb] for step in steps]
        row = "".join(f"{'given up':>14}" if cost is None else f"{cost:14,.1f}" for cost in costs)
        known = [cost for cost in costs if cost is not None]
        lines.append(f"{f'{verb} µs':18}{row}{known[-1] / known[0] if len(known) == len(costs) else math.nan:10.2f}")
    lines.append(f"{'bytes a record':18}" + "".join(f"{step.bytes_a_record:14,.0f}" for step in steps))
    lines.append(f"{'filled in s':18}" + "".join(f"{step.fill_seconds:14,.1f}" for step in steps))
    return "\n".join(lines)


def _steps(name: str, counts: Sequence[int]) -> Iterator[Step]:
    """Fill a catalog step by step, and measure at each."""
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chuk-growth-")))
        try:
            catalog = ending.enter_context(_opened(name, folder))
        except MissingError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return
        fill(catalog.store, _LARGE_SESSION, 0)  # so that what is needed once is there
        empty, there = catalog.size(), 0
        for count in counts:
            begin = time.perf_counter()
            _fill(catalog.store, there, count)
            seconds, there = time.perf_counter() - begin, count
            a_record = (catalog.size() - empty) / count
            print(f"{name}: {count:,} records, filled in {seconds:.1f} s", file=sys.stderr, flush=True)
            yield Step(name, count, seconds, a_record, _measure(catalog.store, folder))


def _fill(store: ArtifactStore, there: int, count: int) -> None:
    """Add records, of which *there* are there, until there are *count*."""
    before, after = _in_large(there), _in_large(count)
    fill(store, _LARGE_SESSION, after - before, first=before)
    for start in range(there - before, count - after, _IN_SMALL):
        fill(store, f"small-{start}", min(_IN_SMALL, count - after - start))


def _in_large(count: int) -> int:
    return min(count, max(_IN_SMALL, count // 2))


@contextlib.contextmanager
def _opened(name: str, folder: Path) -> Iterator[_Catalog]:
    options: dict[str, Any] = {"session_provider": name, "gateway_url": "http://localhost"}
    with contextlib.ExitStack() as ending:
        if name == "redis":
            options["redis_url"] = Servers(folder, ending).redis_url
            client: Any = ending.enter_context(redis.Redis.from_url(options["redis_url"]))
            yield _Catalog(name, ending.enter_context(ArtifactStore(**options)), lambda: client.info()["used_memory"])
        else:
            path = folder / "catalog.sqlite3"
            os.environ["SESSION_SQLITE_PATH"] = str(path)
            store = ending.enter_context(ArtifactStore(**options))
            yield _Catalog(name, store, lambda: _database_bytes(path))


def _database_bytes(path: Path) -> int:
    """Return the length of a database file with all that was written."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def _measure(store: ArtifactStore, folder: Path) -> dict[str, float | None]:
    """Return what each verb costs in µs."""
    costs: dict[str, float | None] = {}
    for name in _VERBS:
        verbs = Verbs(store, store, size=KIB, folder=folder, listed=lambda: _LARGE_SESSION)
        costs[name] = _cost(WORKLOADS[name](verbs))
        verbs.close()
    prefix = "file-0000"
    costs["list_files"] = _cost(Work(lambda: store.list_files(_LARGE_SESSION, prefix, limit=100)))
    costs["session_info"] = _cost(Work(lambda: store.get_session_info(_LARGE_SESSION)))
    costs["cleanup"] = _cost(Work(store.cleanup))
    costs["stats"] = _cost(Work(store.get_stats))  # the last: it counts all, and may keep a server busy
    return costs


def _cost(work: Work) -> float | None:
    """Return the median of the laps' means, in µs, or None when the store gives up.

    The first laps tell only how many calls fill one, unless they last too long to be repeated often.
    """
    driver, calls = Threads(1), 1
    laps: list[Lap] = []
    while len(laps) < _LAPS and sum(lap.seconds for lap in laps) < _MOST_SECONDS:
        try:
            work.ready(calls)
            laps.append(driver.run(work.call, calls))
        except ArtifactStoreError as error:
            print(f"given up: {error}", file=sys.stderr, flush=True)
            return None
        calls = max(1, min(_MOST_CALLS, round(_LAP_SECONDS / laps[-1].each)))
    return statistics.median(lap.each * 1e6 for lap in laps[_WARM_LAPS:] or laps)


if __name__ == "__main__":
    main()
