"""``python -m benchmarks.fleet``: the load of one call on each part of a fleet, and what a fleet can carry.

The load is measured here: a bucket, and records in Redis and in PostgreSQL. The limits and prices of a provider are
arguments; their defaults are examples and no facts. From both follows which part is saturated first, at how many
operations a second, and what a million of these cost.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import redis

from benchmarks.servers import BUCKET_NAME, MissingError, Servers
from benchmarks.service_floors import client_of
from benchmarks.workloads import KIB, WORKLOADS, StoreWorkloads
from chuk_artifacts import ArtifactStore

_METHODS = ("store", "retrieve", "metadata", "update", "delete", "list100", "presign")
_MIX = {"retrieve": 0.7, "metadata": 0.2, "store": 0.1}
_FLEETS = (10, 100, 1000)
_CALLS, _WARM_UP_CALLS, _LISTED = 500, 50, 1000
_MILLION = 1e6
_HOUR = 3600

Spent = Callable[[], float]
"""Returns the processor time that a catalog's server has used so far, in µs."""


@attrs.frozen
class Demand:
    """The load of one call.

    Attributes:
        method: the name of the method.
        instance_us: processor time of the instance, in µs.
        catalog_us: processor time of the catalog's server, in µs.
        requests: requests to the bucket.

    """

    method: str
    instance_us: float
    catalog_us: float
    requests: float


@attrs.frozen
class Capacity:
    """What a fleet can carry of the mix of operations.

    Attributes:
        instances: the number of instances.
        limits: the operations a second at which each part is saturated.
        price: the price of a million operations at the lowest of these.

    """

    instances: int
    limits: Mapping[str, float]
    price: float

    @property
    def first(self) -> str:
        """The part that is saturated first."""
        return min(self.limits, key=lambda part: self.limits[part])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print two tables for each catalog.

    Args:
        arguments: the command line's arguments; None: those of the process.

    """
    options = _parser().parse_args(arguments)
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chuk-fleet-")))
        servers = Servers(folder, ending)
        for name, open_catalog in {"Redis": _redis, "PostgreSQL": _postgres}.items():
            try:
                given, spent = open_catalog(servers, ending)
            except MissingError as error:
                print(f"\n{name}: skipped: {error}")
                continue
            demands = list(_demands(servers, given, spent, folder))
            _print_demands(name, demands)
            cores = 1 if name == "Redis" else options.postgres_cores
            _print_capacities(name, [capacity(demands, count, cores, options) for count in _FLEETS])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description="What a fleet can carry.")
    for name, default, meaning in (
        ("--processes", 2, "processes of an instance, which use a core each"),
        ("--postgres-cores", 8, "cores of the PostgreSQL server; Redis uses one"),
        ("--gets", 5500, "reads a second that one prefix of the bucket takes"),
        ("--puts", 3500, "writes a second that one prefix takes"),
        ("--prefixes", 1, "prefixes that the service has split the bucket into"),
        ("--instance-hour", 0.08, "price of an instance for an hour"),
        ("--catalog-hour", 0.40, "price of the catalog's server for an hour"),
        ("--million-gets", 0.40, "price of a million reads"),
        ("--million-puts", 5.00, "price of a million writes"),
    ):
        parser.add_argument(name, type=float, default=default, help=f"{meaning} (example: {default})")
    return parser


def _redis(servers: Servers, ending: contextlib.ExitStack) -> tuple[Mapping[str, Any], Spent]:
    """Return the options of records in Redis, and what measures its command thread, from its own statistics."""
    url = servers.redis_url
    server: Any = ending.enter_context(redis.Redis.from_url(url))

    def spent() -> float:
        commands = server.info("commandstats")
        return float(
            sum(figures["usec"] for name, figures in commands.items() if name not in {"cmdstat_info", "cmdstat_hello"})
        )

    return {"session_provider": "redis", "redis_url": url}, spent


def _postgres(servers: Servers, ending: contextlib.ExitStack) -> tuple[Mapping[str, Any], Spent]:
    """Return the options of records in PostgreSQL, and what measures its processes, but for the one that asks."""
    url = servers.postgres_url
    psycopg: Any = importlib.import_module("psycopg")
    connection: Any = ending.enter_context(psycopg.connect(url, autocommit=True))

    def spent() -> float:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
        return sum(map(_processor_us, (pid for (pid,) in found)))

    return {"session_provider": "postgres", "postgres_url": url}, spent


def _processor_us(pid: int) -> float:
    with contextlib.suppress(OSError):  # it has ended
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1000
    return 0.0


def _demands(servers: Servers, given: Mapping[str, Any], spent: Spent, folder: Path) -> Iterator[Demand]:
    options: Any = {"storage_provider": "s3", "bucket": BUCKET_NAME, "endpoint_url": servers.bucket.url}
    with ArtifactStore(**options, **given) as store:
        store.store_batch([{"data": b"x"}] * _LISTED, session_id="listed")
        workloads = StoreWorkloads(store, store, size=KIB, folder=folder, listed=lambda: "listed")
        for method in _METHODS:
            work = WORKLOADS[method](workloads)
            work.ready(_CALLS + _WARM_UP_CALLS)
            yield _demand(method, work.call, store, spent)


def _demand(method: str, call: Callable[[], object], store: ArtifactStore, spent: Spent) -> Demand:
    _times(_WARM_UP_CALLS, call)
    requests: list[object] = []
    events = client_of(store).meta.events
    events.register("before-send.s3", lambda **_: requests.append(None), unique_id="fleet")
    before, begin = spent(), time.process_time()
    _times(_CALLS, call)
    seconds = time.process_time() - begin
    used = spent() - before
    events.unregister("before-send.s3", unique_id="fleet")
    return Demand(method, seconds / _CALLS * _MILLION, used / _CALLS, len(requests) / _CALLS)


def _times(count: int, call: Callable[[], object]) -> None:
    for _ in range(count):
        call()


def capacity(demands: Sequence[Demand], instances: int, catalog_cores: float, options: argparse.Namespace) -> Capacity:
    """Return what a number of instances can carry.

    Args:
        demands: the load of each method.
        instances: the number of instances.
        catalog_cores: how many cores the catalog's server can use.
        options: limits and prices.

    """
    by_method = {demand.method: demand for demand in demands}

    def mixed(figure: str) -> float:
        return sum(share * float(getattr(by_method[method], figure)) for method, share in _MIX.items())

    puts = _MIX["store"] * by_method["store"].requests
    gets = mixed("requests") - puts
    limits = {
        "instances": instances * options.processes * _MILLION / mixed("instance_us"),
        "catalog": catalog_cores * _MILLION / mixed("catalog_us"),
        "bucket, reads": options.prefixes * options.gets / gets,
        "bucket, writes": options.prefixes * options.puts / puts,
    }
    servers = instances * options.instance_hour + options.catalog_hour
    hours = _MILLION / min(limits.values()) / _HOUR
    return Capacity(instances, limits, servers * hours + gets * options.million_gets + puts * options.million_puts)


def _print_demands(name: str, demands: Sequence[Demand]) -> None:
    print(f"\n| method | instance µs | {name} µs | bucket requests |\n|---|--:|--:|--:|")
    for demand in demands:
        figures = (demand.instance_us, demand.catalog_us, demand.requests)
        print(f"| {demand.method} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |", flush=True)


def _print_capacities(name: str, capacities: Sequence[Capacity]) -> None:
    mix = ", ".join(f"{share:.0%} {method}" for method, share in _MIX.items())
    parts = [*capacities[0].limits]
    print(f"\nOperations a second ({mix}) that saturate each part, with records in {name}:\n")
    print(
        f"| instances in use | {' | '.join(parts)} | first | price of a million |\n|--:|{'--:|' * len(parts)}---|--:|"
    )
    for found in capacities:
        limits = " | ".join(f"{found.limits[part]:,.0f}" for part in parts)
        print(f"| {found.instances:,} | {limits} | {found.first} | {found.price:.2f} |")


if __name__ == "__main__":
    main()
