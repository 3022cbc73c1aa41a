"""The table for people."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from benchmarks.result import Ratio, Result
from benchmarks.targets import Verdict

_MIB = 1024 * 1024
_COLUMNS = ("calls/s", "p50 µs", "p90 µs", "p99 µs", "cpu µs", "MiB more", "floor µs", "ratio", "spread", "to blocking")
_WIDTHS = (10, 10, 10, 10, 9, 9, 10, 7, 14, 12)
_NAME = 46


def head() -> str:
    """Return the heads of the columns."""
    return f"{'row':{_NAME}}" + "".join(f"{column:>{width}}" for column, width in zip(_COLUMNS, _WIDTHS, strict=True))


def line(result: Result) -> str:
    """Return the line of a row."""
    if result.skipped is not None:
        return f"{result.name:{_NAME}} skipped: {result.skipped}"
    cells = (
        _number(result.a_second),
        *(_number(result.latencies_us.get(name)) for name in ("p50", "p90", "p99")),
        _number(result.processor_us),
        "" if result.growth_bytes is None else f"{result.growth_bytes / _MIB:.1f}",
        _number(statistics.median(result.floor_us) if result.floor_us else None),
        "" if result.ratio is None else f"{result.ratio.median:.2f}",
        _spread(result.ratio),
        "" if result.to_blocking is None else f"{result.to_blocking.median:.2f}",
    )
    figures = "".join(f"  {name} {value:.1f}" for name, value in result.figures.items())
    row = "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{f'{result.name:{_NAME}}{row}'.rstrip()}{figures}"


def targets(verdicts: Iterable[Verdict]) -> str:
    """Return the table of the targets."""
    lines = [f"{'target':{_NAME}}{'wanted':>44}{'seen':>9}"]
    for verdict in verdicts:
        seen = "" if verdict.seen is None else f"{verdict.seen:.2f}"
        lines.append(f"{verdict.target.row:{_NAME}}{verdict.wanted:>44}{seen:>9}  {verdict.word}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004 - three digits tell enough


def _spread(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"
