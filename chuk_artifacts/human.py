"""Sizes and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024
_TEN = 10
_PERIODS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_LEAST = 2  # of a period, before the next smaller one says more


def size_text(size: int) -> str:
    """Return a length in bytes for people, such as ``1.2 MiB``."""
    value, unit = float(size), 0
    while round(value) >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    digits = f"{value:.1f}" if unit and value < _TEN else f"{value:.0f}"
    return f"{digits} {_UNITS[unit]}"


def seconds_left(moment: str) -> float:
    """Return how long it is until a moment, in seconds."""
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


def expiry_text(moment: str | None) -> str:
    """Return when something expires for people: ``never``, or the time left, such as ``in 23 h``."""
    if moment is None:
        return "never"
    left = seconds_left(moment)
    if left <= 0:
        return "expired"
    for unit, seconds in _PERIODS:
        if left >= _LEAST * seconds:
            return f"in {left / seconds:.0f} {unit}"
    return "in 1 s"


def moment_text(moment: str | None) -> str:
    """Return a moment in UTC without fractions of a second; ``never`` for None."""
    return "never" if moment is None else moment[:19]
