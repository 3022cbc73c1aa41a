"""What was found out of a row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

Rows = Mapping[str, Callable[[Path], "Result"]]
"""What measures each of several rows, by its name, with a folder for its files."""


@attrs.frozen
class Ratio:
    """How two sides of a row stand to each other.

    Attributes:
        rounds: that of each round.

    """

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
    """A row.

    Attributes:
        name: which.
        parameters: what its name says, and what it does not.
        calls: how many calls there were in a turn.
        a_second: calls a second, in the median of the turns.
        latencies_us: of all calls, in µs, by ``p50``, ``p90`` and ``p99``.
        processor_us: processor time of a call in µs, all threads of this process; None where another one works.
        growth_bytes: by how much the process grew in a turn, at most, or None where that is not known.
        verb_us: the µs a call of each turn.
        floor_us: the same of the floor.
        ratio: the rate of the verb to that of the floor.
        to_blocking: the rate of an awaited verb to that of the blocking one in as many threads.
        figures: what else there is to tell, by name.
        skipped: why there is nothing to tell, or None.

    """

    name: str
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    calls: int = 0
    a_second: float | None = None
    latencies_us: Mapping[str, float] = attrs.field(factory=dict)
    processor_us: float | None = None
    growth_bytes: int | None = None
    verb_us: Sequence[float] = ()
    floor_us: Sequence[float] = ()
    ratio: Ratio | None = None
    to_blocking: Ratio | None = None
    figures: Mapping[str, float] = attrs.field(factory=dict)
    skipped: str | None = None

    def figure(self, name: str) -> float | None:
        """Return the figure of a target: a ratio's median, or one of the figures."""
        if name in self.figures:
            return self.figures[name]
        ratio: Ratio | None = {"ratio": self.ratio, "to_blocking": self.to_blocking}.get(name)
        return None if ratio is None else ratio.median

    def to_dict(self) -> dict[str, Any]:
        """Return all for JSON."""
        values = attrs.asdict(self, recurse=False)
        ratios = {name: each and each.to_dict() for name in ("ratio", "to_blocking") for each in [values[name]]}
        return {**values, **ratios}
