"""``python -m benchmarks.fleet``: the load that one call puts on each part of a fleet on a bucket and Redis.

These figures and a provider's show which part is saturated first, and at how many calls a second.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import redis

from benchmarks.servers import BUCKET_NAME, Servers
from benchmarks.service_floors import client_of
from benchmarks.workloads import KIB, WORKLOADS, StoreWorkloads, Workloads
from chuk_artifacts import ArtifactStore

_METHODS = ("store", "retrieve", "metadata", "update", "delete", "list100", "presign")
_CALLS, _WARM_UP_CALLS, _LISTED = 500, 50, 1000


@attrs.frozen
class Demand:
    """The load of one call.

    Attributes:
        method: the name of the method.
        instance_us: processor time of the instance, in µs.
        redis_us: processor time of the Redis server's command thread, in µs, from its own statistics.
        redis_bytes: bytes to and from Redis.
        requests: requests to the bucket.

    """

    method: str
    instance_us: float
    redis_us: float
    redis_bytes: float
    requests: float


def main() -> None:
    """Measure, and print a table."""
    print("| method | instance µs | Redis µs | Redis bytes | bucket requests |\n|---|--:|--:|--:|--:|")
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chuk-fleet-")))
        servers = Servers(folder, ending)
        store = ending.enter_context(
            ArtifactStore(
                storage_provider="s3",
                bucket=BUCKET_NAME,
                endpoint_url=servers.bucket.url,
                session_provider="redis",
                redis_url=servers.redis_url,
            )
        )
        server = ending.enter_context(redis.Redis.from_url(servers.redis_url))
        store.store_batch([{"data": b"x"}] * _LISTED, session_id="listed")
        workloads = StoreWorkloads(store, store, size=KIB, folder=folder, listed=lambda: "listed")
        for demand in (_demand(method, workloads, store, server) for method in _METHODS):
            figures = (demand.instance_us, demand.redis_us, demand.redis_bytes, demand.requests)
            print(f"| {demand.method} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |", flush=True)


def _demand(method: str, workloads: Workloads, store: ArtifactStore, server: Any) -> Demand:
    work = WORKLOADS[method](workloads)
    work.ready(_CALLS + _WARM_UP_CALLS)
    _times(_WARM_UP_CALLS, work.call)
    requests: list[object] = []
    events = client_of(store).meta.events
    events.register("before-send.s3", lambda **_: requests.append(None), unique_id="fleet")
    before, begin = _spent(server), time.process_time()
    _times(_CALLS, work.call)
    seconds, after = time.process_time() - begin, _spent(server)
    events.unregister("before-send.s3", unique_id="fleet")
    spent_us, moved = (late - early for early, late in zip(before, after, strict=True))
    return Demand(method, seconds / _CALLS * 1e6, spent_us / _CALLS, moved / _CALLS, len(requests) / _CALLS)


def _spent(server: Any) -> Sequence[float]:
    """Return the server's time for the store's commands, in µs, and the bytes that it received and sent."""
    stats = server.info("stats")
    commands = server.info("commandstats")
    ours = sum(figures["usec"] for name, figures in commands.items() if name not in {"cmdstat_info", "cmdstat_hello"})
    return ours, stats["total_net_input_bytes"] + stats["total_net_output_bytes"]


def _times(count: int, call: Callable[[], object]) -> None:
    for _ in range(count):
        call()


if __name__ == "__main__":
    main()
