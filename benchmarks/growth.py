"""``python -m benchmarks.growth``: the cost of each method, and the bytes a record, as a catalog grows.

Half of the records, but at least 100, belong to one session, which is listed; the others belong to
sessions of 100. Bytes are in memory, so that only the catalog grows.
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

from benchmarks import report
from benchmarks.servers import MissingError, Servers
from benchmarks.turns import Threads, Turn
from benchmarks.workloads import KIB, WORKLOADS, StoreWorkloads, Work, fill
from chuk_artifacts import ArtifactStore, ArtifactStoreError

CATALOGS = ("sqlite", "redis", "postgres")
_COUNTS = (100, 10_000, 1_000_000)
_QUICK_COUNTS = (100, 10_000)
_METHODS = ("store", "retrieve", "metadata", "copy", "update", "delete", "list20", "list100", "store_batch", "presign")
_LARGE_SESSION = "large"
_SMALL_SESSION = 100
_WARM_UP_TURNS, _TURNS = 2, 9
_MAX_SECONDS = 3.0
_TURN_SECONDS = 0.05
_MAX_CALLS = 2000


@attrs.frozen
class Step:
    """The measurements at one size of a catalog.

    Attributes:
        catalog: the name of the catalog.
        records: the number of records.
        fill_seconds: the time it took to add the records that the step before did not have.
        bytes_a_record: bytes of the database file, or of the server's memory.
        method_us: the cost of each method in µs, the median of the turns; None if the method failed.

    """

    catalog: str
    records: int
    fill_seconds: float
    bytes_a_record: float
    method_us: dict[str, float | None]


@attrs.frozen
class _Catalog:
    """A store with an empty catalog, and a function that returns the catalog's size in bytes."""

    name: str
    store: ArtifactStore
    size: Callable[[], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description="The cost of each method as a catalog grows."
    )
    parser.add_argument("--quick", action="store_true", help="stop at 10,000 records")
    parser.add_argument("--only", nargs="+", choices=CATALOGS, default=list(CATALOGS), help="which catalogs")
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    options = parser.parse_args(arguments)
    counts = _QUICK_COUNTS if options.quick else _COUNTS
    whole: dict[str, Any] = {**report.environment(), "steps": []}
    for name in options.only:
        steps = list(_steps(name, counts))
        print(table(steps), flush=True)
        whole["steps"] += map(attrs.asdict, steps)
        if options.json:  # after each catalog: a long run may be interrupted
            Path(options.json).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


def table(steps: Sequence[Step]) -> str:
    """Return the table of one catalog."""
    if not steps:
        return ""
    lines = [f"\n{steps[0].catalog:18}" + "".join(f"{f'{step.records:,}':>14}" for step in steps) + f"{'growth':>10}"]
    for method in steps[0].method_us:
        costs = [step.method_us[method] for step in steps]
        row = "".join(f"{'failed':>14}" if cost is None else f"{cost:14,.1f}" for cost in costs)
        known = [cost for cost in costs if cost is not None]
        lines.append(f"{f'{method} µs':18}{row}{known[-1] / known[0] if len(known) == len(costs) else math.nan:10.2f}")
    lines.append(f"{'bytes a record':18}" + "".join(f"{step.bytes_a_record:14,.0f}" for step in steps))
    lines.append(f"{'filled in s':18}" + "".join(f"{step.fill_seconds:14,.1f}" for step in steps))
    return "\n".join(lines)


def _steps(name: str, counts: Sequence[int]) -> Iterator[Step]:
    """Fill a catalog step by step, and measure at each step."""
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chuk-growth-")))
        try:
            catalog = ending.enter_context(_opened(name, folder))
        except MissingError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return
        fill(catalog.store, _LARGE_SESSION, 0)  # creates what a catalog needs once
        empty, present = catalog.size(), 0
        for count in counts:
            begin = time.perf_counter()
            _fill(catalog.store, present, count)
            seconds, present = time.perf_counter() - begin, count
            a_record = (catalog.size() - empty) / count
            print(f"{name}: {count:,} records, filled in {seconds:.1f} s", file=sys.stderr, flush=True)
            yield Step(name, count, seconds, a_record, _measure(catalog.store, folder))


def _fill(store: ArtifactStore, present: int, count: int) -> None:
    """Add records to the *present* ones until there are *count*."""
    before, after = _in_large_session(present), _in_large_session(count)
    fill(store, _LARGE_SESSION, after - before, first=before)
    for start in range(present - before, count - after, _SMALL_SESSION):
        fill(store, f"small-{start}", min(_SMALL_SESSION, count - after - start))


def _in_large_session(count: int) -> int:
    return min(count, max(_SMALL_SESSION, count // 2))


@contextlib.contextmanager
def _opened(name: str, folder: Path) -> Iterator[_Catalog]:
    options: dict[str, Any] = {"session_provider": name, "gateway_url": "http://localhost"}
    with contextlib.ExitStack() as ending:
        if name == "redis":
            options["redis_url"] = Servers(folder, ending).redis_url
            client: Any = ending.enter_context(redis.Redis.from_url(options["redis_url"]))
            yield _Catalog(name, ending.enter_context(ArtifactStore(**options)), lambda: client.info()["used_memory"])
        elif name == "postgres":
            url = options["postgres_url"] = Servers(folder, ending).postgres_url
            store = ending.enter_context(ArtifactStore(**options))
            yield _Catalog(name, store, lambda: _schema_bytes(url))
        else:
            path = folder / "catalog.sqlite3"
            os.environ["SESSION_SQLITE_PATH"] = str(path)
            store = ending.enter_context(ArtifactStore(**options))
            yield _Catalog(name, store, lambda: _database_bytes(path))


def _schema_bytes(url: str) -> int:
    """Return the size of all tables and indexes of the catalog, with fresh statistics for the server's planner."""
    import psycopg  # noqa: PLC0415 - where there is a server

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relnamespace = 'chuk_artifacts'::regnamespace AND relkind = 'r'"
        ).fetchone()
    return int(row[0]) if row else 0


def _database_bytes(path: Path) -> int:
    """Return the size of a database file that includes its write-ahead log."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def _measure(store: ArtifactStore, folder: Path) -> dict[str, float | None]:
    """Return the cost of each method in µs."""
    costs: dict[str, float | None] = {}
    for name in _METHODS:
        workloads = StoreWorkloads(store, store, size=KIB, folder=folder, listed=lambda: _LARGE_SESSION)
        costs[name] = _cost(WORKLOADS[name](workloads))
        workloads.close()
    prefix = "file-0000"
    costs["list_files"] = _cost(Work(lambda: store.list_files(_LARGE_SESSION, prefix, limit=100)))
    costs["session_info"] = _cost(Work(lambda: store.get_session_info(_LARGE_SESSION)))
    costs["cleanup"] = _cost(Work(store.cleanup))
    costs["stats"] = _cost(Work(store.get_stats))  # last: it counts everything, and may keep a server busy
    return costs


def _cost(work: Work) -> float | None:
    """Return the median of the turns' means in µs, or None if the store raises.

    The first turns only find out how many calls fill a turn, unless turns take too long for many of them.
    """
    driver, calls = Threads(1), 1
    turns: list[Turn] = []
    while len(turns) < _TURNS and sum(turn.seconds for turn in turns) < _MAX_SECONDS:
        try:
            work.ready(calls)
            turns.append(driver.run(work.call, calls))
        except ArtifactStoreError as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            return None
        calls = max(1, min(_MAX_CALLS, round(_TURN_SECONDS / turns[-1].each)))
    return statistics.median(turn.each * 1e6 for turn in turns[_WARM_UP_TURNS:] or turns)


if __name__ == "__main__":
    main()
