"""One turn: many calls in one thread, in several, or in tasks; their time, processor time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import attrs

Call = Callable[[], Any]

_clock = time.perf_counter
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak to the current resident memory
_KIB = 1024


@attrs.frozen
class Turn:
    """What the calls of one turn cost.

    Attributes:
        calls: the number of calls.
        seconds: from the begin of the first call to the end of the last.
        latencies: the duration of each call in seconds.
        processor: the processor time of all threads of this process, in seconds.
        growth: the peak of resident memory minus what was resident before, in bytes; None where it is unknown.

    """

    calls: int
    seconds: float
    latencies: Sequence[float] = ()
    processor: float = 0.0
    growth: int | None = None

    @property
    def each(self) -> float:
        """The seconds of the turn divided by its calls, however many of them ran in parallel."""
        return self.seconds / self.calls


class Driver(Protocol):
    """Makes the calls of a turn.

    Attributes:
        count: the number of callers.

    """

    count: int

    def run(self, call: Call, calls: int) -> Turn:
        """Make *calls* calls, a multiple of *count*."""
        ...

    def close(self) -> None:
        """Release the threads."""
        ...


class Threads:
    """Makes the calls in *count* threads, each one call after the other; one thread is the current one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def run(self, call: Call, calls: int) -> Turn:
        """Make the calls."""
        with _measured(calls) as (walks, turns):
            if self._pool is None:
                walks.append(_walk(call, calls))
            else:
                walks.extend(self._pool.map(_walk, [call] * self.count, [calls // self.count] * self.count))
        return turns[0]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class Tasks:
    """Makes the calls in *count* tasks of an event loop, each one call after the other; a call returns an awaitable.

    Args:
        count: the number of tasks.
        runner: the runner of the loop; it stays open.

    """

    def __init__(self, count: int, runner: asyncio.Runner) -> None:
        self.count = count
        self._runner = runner

    def run(self, call: Call, calls: int) -> Turn:
        """Make the calls."""
        return self._runner.run(self._run(call, calls))

    async def _run(self, call: Call, calls: int) -> Turn:
        with _measured(calls) as (walks, turns):
            walks.extend(await asyncio.gather(*(_awaited_walk(call, calls // self.count) for _ in range(self.count))))
        return turns[0]

    def close(self) -> None:
        """Leave the loop to its owner."""


def in_pool(call: Call, runner: asyncio.Runner, pool: ThreadPoolExecutor) -> Call:
    """Return a call that awaits a blocking one in a thread: the least that an async face of it could do."""
    loop = runner.get_loop()
    return lambda: loop.run_in_executor(pool, call)


def inline(call: Call) -> Call:
    """Return a call that awaits one that can't block, without a thread."""

    async def awaited() -> object:
        return call()

    return awaited


class PeakMemory:
    """The peak of this process's resident memory since the object was made.

    It is Linux's ``VmHWM``, reset at the beginning; ``getrusage`` returns the peak of the whole life of the process.
    Memory that was freed before and is used again does not count.
    """

    def __init__(self) -> None:
        self._before: int | None = None
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text(_RESET_PEAK, "ascii")
            self._before = _memory("VmRSS")

    def growth(self) -> int | None:
        """Return the peak minus what was resident before, in bytes; None where the system does not report it."""
        return None if self._before is None else max(0, _memory("VmHWM") - self._before)


def _memory(field: str) -> int:
    (line,) = (line for line in _STATUS.read_text("ascii").splitlines() if line.startswith(field))
    return int(line.split()[1]) * _KIB


@contextlib.contextmanager
def _measured(calls: int) -> Iterator[tuple[list[list[float]], list[Turn]]]:
    """Measure the block, which adds the moments at which its calls began and ended, and then add a turn."""
    walks: list[list[float]] = []
    turns: list[Turn] = []
    gc.collect()
    peak = PeakMemory()
    processor, begin = time.process_time(), _clock()
    yield walks, turns
    seconds, used = _clock() - begin, time.process_time() - processor
    growth = peak.growth()
    latencies = [end - start for walk in walks for start, end in itertools.pairwise(walk)]
    turns.append(Turn(calls, seconds, latencies, used, growth))


def _walk(call: Call, calls: int) -> list[float]:
    """Make calls, and return when the first began and when each ended: the clock is read once a call."""
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
