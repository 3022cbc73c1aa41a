"""``python -m benchmarks.fleet``: what one call asks of each part of a fleet on a bucket and Redis.

From these figures and those of a provider one can tell which part is busy first, and with how many calls a second.
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

from benchmarks.effort import KIB
from benchmarks.servers import BUCKET, Servers
from benchmarks.verbs import Verbs
from benchmarks.workloads import WORKLOADS
from chuk_artifacts import ArtifactStore

_VERBS = ("store", "retrieve", "metadata", "update", "delete", "list100", "presign")
_CALLS, _WARM_CALLS, _LISTED = 500, 50, 1000


@attrs.frozen
class Demand:
    """What one call of a verb asks for.

    Attributes:
        verb: which.
        instance_us: processor time of the instance, in µs.
        redis_us: time of the Redis server's one thread, in µs, as it tells it itself.
        redis_bytes: bytes to and from Redis.
        requests: requests to the bucket.

    """

    verb: str
    instance_us: float
    redis_us: float
    redis_bytes: float
    requests: float


def main() -> None:
    """Measure, and print a table."""
    print("| verb | instance µs | Redis µs | Redis bytes | bucket requests |\n|---|--:|--:|--:|--:|")
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chuk-fleet-")))
        servers = Servers(folder, ending)
        store = ending.enter_context(
            ArtifactStore(
                storage_provider="s3",
                bucket=BUCKET,
                endpoint_url=servers.bucket.url,
                session_provider="redis",
                redis_url=servers.redis_url,
            )
        )
        server = ending.enter_context(redis.Redis.from_url(servers.redis_url))
        store.store_batch([{"data": b"x"}] * _LISTED, session_id="listed")
        verbs = Verbs(store, store, size=KIB, folder=folder, listed=lambda: "listed")
        for demand in (_demand(verb, verbs, store, server) for verb in _VERBS):
            figures = (demand.instance_us, demand.redis_us, demand.redis_bytes, demand.requests)
            print(f"| {demand.verb} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |", flush=True)


def _demand(verb: str, verbs: Verbs, store: ArtifactStore, server: Any) -> Demand:
    work = WORKLOADS[verb](verbs)
    work.ready(_CALLS + _WARM_CALLS)
    _times(_WARM_CALLS, work.call)
    requests: list[object] = []
    storage: Any = store.scope.core.storage
    storage._client.meta.events.register("request-created.s3", lambda **_: requests.append(None), unique_id="fleet")  # noqa: SLF001
    before, begin = _spent(server), time.process_time()
    _times(_CALLS, work.call)
    seconds, after = time.process_time() - begin, _spent(server)
    storage._client.meta.events.unregister("request-created.s3", unique_id="fleet")  # noqa: SLF001
    spent_us, moved = (late - early for early, late in zip(before, after, strict=True))
    return Demand(verb, seconds / _CALLS * 1e6, spent_us / _CALLS, moved / _CALLS, len(requests) / _CALLS)


def _spent(server: Any) -> Sequence[float]:
    """Return how long the server has worked on the store's commands, in µs, and how many bytes went over its wire."""
    stats = server.info("stats")
    commands = server.info("commandstats")
    ours = sum(told["usec"] for name, told in commands.items() if name not in {"cmdstat_info", "cmdstat_hello"})
    return ours, stats["total_net_input_bytes"] + stats["total_net_output_bytes"]


def _times(count: int, call: Callable[[], object]) -> None:
    for _ in range(count):
        call()


if __name__ == "__main__":
    main()
