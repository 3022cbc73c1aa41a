"""Latency of 20 ms: a slow storage in memory, the least time its answers take, and a bucket behind a slow link."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.plan import Effort
from benchmarks.servers import BUCKET_NAME, MissingError, Servers
from benchmarks.turns import Turn
from benchmarks.workloads import BATCH, KIB
from chuk_artifacts import ArtifactStore
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About
from chuk_artifacts.storage.memory import MemoryStorage
from tests.servers.proxy import Proxy

LINK = "link20ms/store/1KiB"
LATENCY_SECONDS = 0.020
_MIXED_SHARE = 0.8  # of the mixed calls, those that ask the storage
_SESSION = "bench"


def rows(effort: Effort) -> Rows:
    """Return the rows outside the grid."""
    return {LINK: partial(_link, effort)}


def _link(effort: Effort, folder: Path) -> Result:
    """Store in a bucket behind a proxy that delays each answer, beside a client as boto3 makes it."""
    with contextlib.ExitStack() as ending:
        try:
            server = Servers(folder, ending).bucket
        except MissingError as error:
            return Result(name=LINK, skipped=str(error))
        proxy = ending.enter_context(Proxy(int(urlsplit(server.url).port or 0)))
        proxy.delay = LATENCY_SECONDS
        url, data, keys = f"http://127.0.0.1:{proxy.port}", b"x" * KIB, map(str, itertools.count())
        plain: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        store = ending.enter_context(ArtifactStore(storage_provider="s3", bucket=BUCKET_NAME, endpoint_url=url))
        return compare_calls(
            LINK,
            lambda: store.store(data, session_id=_SESSION),
            lambda: plain.put_object(Bucket=BUCKET_NAME, Key=f"far/{next(keys)}", Body=data),
            seconds=2 * effort.slow_turn_seconds,
            rounds=effort.rounds,
            parameters={"server": server.name},
        )


class SlowStorage(MemoryStorage):
    """Bytes in memory; each read and write takes 20 ms and no processor time.

    Args:
        parallel: the number of calls that are worth running in parallel.

    """

    blocks = True
    remote = True

    def __init__(self, parallel: int) -> None:
        super().__init__()
        self.parallel = parallel

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write after 20 ms."""
        time.sleep(LATENCY_SECONDS)
        return super().put(key, data, exclusive=exclusive, about=about)

    def get(self, key: str) -> bytes:
        """Return all bytes after 20 ms."""
        time.sleep(LATENCY_SECONDS)
        return super().get(key)

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        exclusive: bool = False,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy after 20 ms, with one request."""
        time.sleep(LATENCY_SECONDS)
        self._write(target, super().get(source), exclusive=exclusive)
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Delete after 20 ms; without keys, return at once."""
        if keys:
            time.sleep(LATENCY_SECONDS)
            super().delete(keys)


class Ideal:
    """The floor of the slow storage: a computed time, the least that its answers could take.

    Args:
        workload: the name of the workload.
        count: the number of callers.
        parallel: how many answers a batch waits for at once.

    """

    def __init__(self, workload: str, count: int, parallel: int) -> None:
        self._waits = math.ceil(BATCH / parallel) if "batch" in workload else 1
        self._share = _MIXED_SHARE if workload == "mixed" else 1
        self._count = count

    def turn(self, calls: int) -> Turn:
        """Return the computed time at once."""
        waits = math.ceil(calls * self._share / self._count) * self._waits
        return Turn(calls, waits * LATENCY_SECONDS)
