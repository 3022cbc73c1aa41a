"""The method: the sides of a row take turns in one run; a ratio compares two turns of one round."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from benchmarks.turns import Driver, Threads, Turn
from benchmarks.workloads import MIB, Work

_MAX_BYTES_A_TURN = 256 * MIB
_PERCENTILES = (50, 90, 99)

Rows = Mapping[str, Callable[[Path], "Result"]]
"""Functions that measure a row, by the row's name; the argument is a folder for its files."""


@attrs.frozen
class Ratio:
    """The ratio of two sides in each round."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"median": self.median, "least": min(self.rounds), "most": max(self.rounds), "rounds": [*self.rounds]}


@attrs.frozen(kw_only=True)
class Result:
    """A measured row.

    Attributes:
        name: the name of the row.
        parameters: the parts of its name, and what the name leaves out.
        calls: the calls of one turn.
        a_second: calls a second, in the median of the turns.
        latencies_us: percentiles of all calls in µs: ``p50``, ``p90`` and ``p99``.
        processor_us: processor time of a call in µs, over all threads of this process; None if another process works.
        growth_bytes: the largest growth of the process in a turn, in bytes; None where it is unknown.
        method_us: the µs a call of the method, in each turn.
        floor_us: the same for the floor.
        ratio: the rate of the method to the rate of the floor.
        to_blocking: the rate of an awaited method to the rate of the blocking one in as many threads.
        figures: other figures by name.
        skipped: why the row was not measured, or None.

    """

    name: str
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    calls: int = 0
    a_second: float | None = None
    latencies_us: Mapping[str, float] = attrs.field(factory=dict)
    processor_us: float | None = None
    growth_bytes: int | None = None
    method_us: Sequence[float] = ()
    floor_us: Sequence[float] = ()
    ratio: Ratio | None = None
    to_blocking: Ratio | None = None
    figures: Mapping[str, float] = attrs.field(factory=dict)
    skipped: str | None = None

    def figure(self, name: str) -> float | None:
        """Return the figure of a target: the median of a ratio, or one of the other figures."""
        if name in self.figures:
            return self.figures[name]
        ratio: Ratio | None = {"ratio": self.ratio, "to_blocking": self.to_blocking}.get(name)
        return None if ratio is None else ratio.median

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        values = attrs.asdict(self, recurse=False)
        ratios = {name: each and each.to_dict() for name in ("ratio", "to_blocking") for each in [values[name]]}
        return {**values, **ratios}


class Side(Protocol):
    """A side of a row: it takes turns with the others."""

    def turn(self, calls: int) -> Turn:
        """Make *calls* calls."""
        ...


@attrs.frozen
class Driven:
    """A side that a driver calls."""

    driver: Driver
    work: Work

    def turn(self, calls: int) -> Turn:
        """Prepare the calls, which is not measured, and make them."""
        self.work.ready(calls)
        return self.driver.run(self.work.call, calls)


def compare(
    name: str,
    method: Side,
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
        name: the name of the row.
        method: what is measured.
        floor: the bare calls under it.
        seconds: the approximate length of a turn.
        rounds: the number of rounds.
        blocking: the blocking method, if *method* is an awaited one.
        count: the number of callers.
        size: the bytes that a call handles.
        parameters: for the result.

    Returns:
        the measured row.

    """
    sides = [method, floor] if blocking is None else [method, floor, blocking]
    taken = take_turns(sides, seconds=seconds, rounds=rounds, count=count, size=size)
    turns = [each[0] for each in taken]
    calls = turns[0].calls
    return Result(
        name=name,
        parameters=parameters or {},
        calls=calls,
        a_second=1 / statistics.median(turn.each for turn in turns),
        latencies_us=_latencies(turns),
        processor_us=sum(turn.processor for turn in turns) / (calls * len(turns)) * 1e6,
        growth_bytes=max((turn.growth for turn in turns if turn.growth is not None), default=None),
        method_us=[turn.each * 1e6 for turn in turns],
        floor_us=[each[1].each * 1e6 for each in taken],
        ratio=Ratio([each[1].seconds / each[0].seconds for each in taken]),
        to_blocking=None if blocking is None else Ratio([each[2].seconds / each[0].seconds for each in taken]),
    )


def take_turns(sides: Sequence[Side], *, seconds: float, rounds: int, count: int, size: int) -> list[list[Turn]]:
    """Return the turns of each round, in the order of the sides; the first side decides how many calls a turn has.

    Args:
        sides: what takes turns.
        seconds: the approximate length of a turn.
        rounds: the number of rounds.
        count: the number of callers.
        size: the bytes that a call handles.

    """
    most = max(1, _MAX_BYTES_A_TURN // max(1, size * count))
    with _little_garbage():
        calls = _warm_up(sides[0], count, most, seconds)
        for other in sides[1:]:
            other.turn(calls)
        return [_round(sides, calls, backwards=bool(number % 2)) for number in range(rounds)]


def compare_calls(
    name: str,
    method: Callable[[], object],
    floor: Callable[[], object],
    *,
    seconds: float,
    rounds: int,
    size: int = 0,
    parameters: Mapping[str, Any] | None = None,
) -> Result:
    """Measure a row outside the grid: two calls, each repeated in the current thread; arguments as of ``compare``."""
    ours, bare = Driven(Threads(1), Work(method)), Driven(Threads(1), Work(floor))
    return compare(name, ours, bare, seconds=seconds, rounds=rounds, size=size, parameters=parameters)


def _warm_up(method: Side, count: int, most: int, seconds: float) -> int:
    """Make more and more calls until it is clear how many fill a turn, and return that number."""
    each = 1
    turn = method.turn(count)
    while turn.seconds < seconds / 2 and each < most:
        each = max(each + 1, min(most, 4 * each, round(each * seconds / turn.seconds)))
        turn = method.turn(each * count)
    return count * max(1, min(most, round(each * seconds / turn.seconds)))


@contextlib.contextmanager
def _little_garbage() -> Iterator[None]:
    """Let the collector look only at new objects: not again and again at those that a row prepared."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _round(sides: Sequence[Side], calls: int, *, backwards: bool) -> list[Turn]:
    """Give each side a turn; every other round runs backwards, so that no side is always warmed by the same one."""
    turns = [side.turn(calls) for side in (reversed(sides) if backwards else sides)]
    return turns[::-1] if backwards else turns


def _latencies(turns: Sequence[Turn]) -> dict[str, float]:
    ordered = sorted(latency for turn in turns for latency in turn.latencies)
    return {f"p{percent}": ordered[(len(ordered) - 1) * percent // 100] * 1e6 for percent in _PERCENTILES}
