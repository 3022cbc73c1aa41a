"""The method: the sides of a row take turns in one run, and the ratio is that of turns side by side."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs

from benchmarks.effort import MIB
from benchmarks.result import Ratio, Result
from benchmarks.turns import Driver, Lap, Threads
from benchmarks.workloads import Work

_MOST_BYTES_A_LAP = 256 * MIB
_PERCENTS = (50, 90, 99)


class Side(Protocol):
    """What takes turns."""

    def lap(self, calls: int) -> Lap:
        """Make *calls* calls."""
        ...


@attrs.frozen
class Driven:
    """Work, and what makes its calls."""

    driver: Driver
    work: Work

    def lap(self, calls: int) -> Lap:
        """Prepare the calls, which does not count, and make them."""
        self.work.ready(calls)
        return self.driver.run(self.work.call, calls)


def one_by_one(work: Work) -> Driven:
    """Return the side that makes calls one after the other."""
    return Driven(Threads(1), work)


def compare(
    name: str,
    verb: Side,
    floor: Side,
    *,
    seconds: float,
    rounds: int,
    blocking: Side | None = None,
    count: int = 1,
    size: int = 0,
    parameters: Mapping[str, Any] | None = None,
) -> Result:
    """Measure a row.

    Args:
        name: which.
        verb: what is measured.
        floor: what it is measured against.
        seconds: how long a turn lasts, about.
        rounds: how many there are.
        blocking: the same verb, not awaited, as another measure.
        count: how many calls there are at once.
        size: how many bytes a call handles.
        parameters: for the result.

    Returns:
        the row.

    """
    most = max(1, _MOST_BYTES_A_LAP // max(1, size * count))
    sides = [verb, floor] if blocking is None else [verb, floor, blocking]
    with _little_garbage():
        calls = _warm_up(verb, count, most, seconds)
        for other in sides[1:]:
            other.lap(calls)
        turns = [_turn(sides, calls, backwards=bool(number % 2)) for number in range(rounds)]
    laps = [turn[0] for turn in turns]
    return Result(
        name=name,
        parameters=parameters or {},
        calls=calls,
        a_second=1 / statistics.median(lap.each for lap in laps),
        latencies_us=_latencies(laps),
        processor_us=sum(lap.processor for lap in laps) / (calls * len(laps)) * 1e6,
        growth_bytes=max((lap.growth for lap in laps if lap.growth is not None), default=None),
        verb_us=[lap.each * 1e6 for lap in laps],
        floor_us=[turn[1].each * 1e6 for turn in turns],
        ratio=Ratio([turn[1].seconds / turn[0].seconds for turn in turns]),
        to_blocking=None if blocking is None else Ratio([turn[2].seconds / turn[0].seconds for turn in turns]),
    )


def _warm_up(verb: Side, count: int, most: int, seconds: float) -> int:
    """Make more and more calls, until it is known how many fill a turn, and return that."""
    each = 1
    lap = verb.lap(count)
    while lap.seconds < seconds / 2 and each < most:
        each = max(each + 1, min(most, 4 * each, round(each * seconds / lap.seconds)))
        lap = verb.lap(each * count)
    return count * max(1, min(most, round(each * seconds / lap.seconds)))


@contextlib.contextmanager
def _little_garbage() -> Iterator[None]:
    """Let the collector look only at what is made meanwhile: not again and again at what was prepared."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _turn(sides: Sequence[Side], calls: int, *, backwards: bool) -> list[Lap]:
    """Let each side take its turn, in every other round the last one first: none is always warmed by the same one."""
    laps = [side.lap(calls) for side in (reversed(sides) if backwards else sides)]
    return laps[::-1] if backwards else laps


def _latencies(laps: Sequence[Lap]) -> dict[str, float]:
    ordered = sorted(latency for lap in laps for latency in lap.latencies)
    return {f"p{percent}": ordered[(len(ordered) - 1) * percent // 100] * 1e6 for percent in _PERCENTS}
