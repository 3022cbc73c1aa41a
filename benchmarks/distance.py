"""A storage that answers in 20 ms, as one at the other end of a network does, and the least its answers could take."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from benchmarks.turns import Lap
from benchmarks.workloads import BATCH
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About
from chuk_artifacts.storage.memory import MemoryStorage

ANSWER_SECONDS = 0.020
_OF_MIXED = 0.8


class SlowStorage(MemoryStorage):
    """Bytes in memory, whose reads and writes take 20 ms and no processor.

    Args:
        parallel: how many calls are worth running side by side.

    """

    blocks = True
    distant = True

    def __init__(self, parallel: int) -> None:
        super().__init__()
        self.parallel = parallel

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write, late."""
        time.sleep(ANSWER_SECONDS)
        return super().put(key, data, exclusive=exclusive, about=about)

    def get(self, key: str) -> bytes:
        """Return all bytes, late."""
        time.sleep(ANSWER_SECONDS)
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
        """Copy, late, with one request."""
        time.sleep(ANSWER_SECONDS)
        self._write(target, super().get(source), exclusive=exclusive)
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove, late, if there is anything to."""
        if keys:
            time.sleep(ANSWER_SECONDS)
            super().delete(keys)


class Ideal:
    """What takes the least time that calls could take which wait for answers, so many at once.

    Args:
        workload: what is called.
        count: how many callers there are.
        parallel: how many answers a batch waits for at once.

    """

    def __init__(self, workload: str, count: int, parallel: int) -> None:
        self._waits = math.ceil(BATCH / parallel) if "batch" in workload else 1
        self._share = _OF_MIXED if workload == "mixed" else 1
        self._count = count

    def lap(self, calls: int) -> Lap:
        """Take no time, and tell how long it would be."""
        waits = math.ceil(calls * self._share / self._count) * self._waits
        return Lap(calls, waits * ANSWER_SECONDS)
