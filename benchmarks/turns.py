"""One turn: many calls, in one thread, in several, or in tasks, and what they cost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import attrs

from benchmarks import resident

Call = Callable[[], Any]

_clock = time.perf_counter


@attrs.frozen
class Lap:
    """What one turn took.

    Attributes:
        calls: how many calls there were.
        seconds: from the beginning of the first to the end of the last.
        latencies: how long each call took, in seconds.
        processor: the processor time of all threads of this process, in seconds.
        growth: by how many bytes the process was larger at its largest than before, or None where that is not known.

    """

    calls: int
    seconds: float
    latencies: Sequence[float] = ()
    processor: float = 0.0
    growth: int | None = None

    @property
    def each(self) -> float:
        """How many seconds one call took of the turn, with others beside it."""
        return self.seconds / self.calls


class Driver(Protocol):
    """What makes the calls of a turn.

    Attributes:
        count: how many are under way at once.

    """

    count: int

    def run(self, call: Call, calls: int) -> Lap:
        """Make *calls* calls, a multiple of *count*."""
        ...

    def close(self) -> None:
        """Give back the threads."""
        ...


class Threads:
    """Makes the calls in *count* threads, each one after the other; one thread is the present one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def run(self, call: Call, calls: int) -> Lap:
        """Make the calls."""
        with _measured(calls) as (walks, laps):
            if self._pool is None:
                walks.append(_walk(call, calls))
            else:
                walks.extend(self._pool.map(_walk, [call] * self.count, [calls // self.count] * self.count))
        return laps[0]

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown()


class Tasks:
    """Makes the calls in *count* tasks of one event loop, each one after the other; each returns an awaitable.

    Args:
        count: how many tasks.
        runner: whose loop it is.

    """

    def __init__(self, count: int, runner: asyncio.Runner) -> None:
        self.count = count
        self._runner = runner

    def run(self, call: Call, calls: int) -> Lap:
        """Make the calls."""
        return self._runner.run(self._run(call, calls))

    async def _run(self, call: Call, calls: int) -> Lap:
        with _measured(calls) as (walks, laps):
            walks.extend(await asyncio.gather(*(_awaited_walk(call, calls // self.count) for _ in range(self.count))))
        return laps[0]

    def close(self) -> None:
        """Do nothing: the loop is another's."""


def hops(call: Call, runner: asyncio.Runner, pool: ThreadPoolExecutor) -> Call:
    """Return what sends a bare call to a thread, which is the least that an async face of it could do."""
    loop = runner.get_loop()
    return lambda: loop.run_in_executor(pool, call)


def at_once(call: Call) -> Call:
    """Return what awaits a bare call that can't block, without a hop."""

    async def awaited() -> object:
        return call()

    return awaited


@contextmanager
def _measured(calls: int) -> Iterator[tuple[list[list[float]], list[Lap]]]:
    """Measure the block, which gives the moments at which calls began and ended, and give back a lap."""
    walks: list[list[float]] = []
    laps: list[Lap] = []
    gc.collect()
    watch = resident.Watch()
    processor, begin = time.process_time(), _clock()
    yield walks, laps
    seconds, used = _clock() - begin, time.process_time() - processor
    growth = watch.growth()
    latencies = [end - start for walk in walks for start, end in itertools.pairwise(walk)]
    laps.append(Lap(calls, seconds, latencies, used, growth))


def _walk(call: Call, calls: int) -> list[float]:
    """Make calls, and return when the first began and when each ended: one look at the clock a call."""
    moments = [_clock()]
    for _ in range(calls):
        call()
        moments.append(_clock())
    return moments


async def _awaited_walk(call: Call, calls: int) -> list[float]:
    moments = [_clock()]
    for _ in range(calls):
        await call()
        moments.append(_clock())
    return moments
