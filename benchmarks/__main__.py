"""``python -m benchmarks``: each method beside its floor; ``benchmarks/README.md`` explains the rows."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import distance, gateways, grid, interfaces, moving, peers, processes, report, sessions
from benchmarks.comparison import Result, Rows
from benchmarks.plan import FULL, QUICK, Effort
from benchmarks.targets import judge

SCHEMA = 2
_OTHERS = (sessions, interfaces, gateways, distance, moving, peers, processes)


class NothingMatchesError(Exception):
    """No row matches a pattern."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table.

    Args:
        arguments: the command line's arguments; None: those of the process.

    """
    parser = _parser()
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    others = {name: measure for module in _OTHERS for name, measure in module.rows(effort).items()}
    try:
        wanted = _matching([*grid.names(effort), *others], options.only)
        if options.plot:
            report.pyplot()
    except (NothingMatchesError, report.NoMatplotlibError) as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(wanted))
        return
    _run(wanted, others, effort, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Methods of the store beside the bare calls under them."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, fewer and shorter rounds")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help="only rows whose names have these parts: memory/store/1KiB, aio32, '*redis/list*'",
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--plot", metavar="FILE", help="plot throughput over concurrency to FILE (png, svg, pdf)")
    parser.add_argument("--list", action="store_true", help="print the names of the rows without measuring them")
    return parser


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that match one of the patterns; without patterns, all.

    A pattern matches a name if its parts, between slashes, match as many adjacent parts of the name:
    ``memory/store/1KiB``, ``store``, ``aio32``, ``*redis/list*``.

    Raises:
        NothingMatchesError: a pattern matches no name.

    """
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            raise NothingMatchesError(f"no row matches {pattern!r}: see --list")
    return [name for name in names if not patterns or any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    starts = range(len(parts) - len(wanted) + 1)
    return any(all(map(fnmatchcase, parts[start : start + len(wanted)], wanted)) for start in starts)


def _run(wanted: Sequence[str], others: Rows, effort: Effort, options: argparse.Namespace) -> None:
    """Measure rows; an interrupted run keeps the rows that it finished."""
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "only": options.only,
        **report.environment(),
    }
    results: dict[str, Result] = {}
    print(report.head())
    try:
        for result in _with_progress(_measured(wanted, others, effort), len(wanted)):
            results[result.name] = result
            print(report.line(result), flush=True)
    finally:
        _write(about, results, complete=len(results) == len(wanted), path=options.json)
    print("\n" + report.targets(judge(results)))
    if options.plot:
        report.draw(results.values(), options.plot)


def _measured(wanted: Collection[str], others: Rows, effort: Effort) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="chuk-bench-") as folder:
        yield from grid.run(wanted, effort, Path(folder))
    for name in wanted:
        if name in others:
            with tempfile.TemporaryDirectory(prefix="chuk-bench-") as folder:
                yield others[name](Path(folder))


def _with_progress(results: Iterator[Result], count: int) -> Iterator[Result]:
    """Write progress to stderr: on a terminal in one line, which the table overwrites."""
    begin = time.monotonic()
    before, after = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    for number, result in enumerate(results, 1):
        sys.stderr.write(before)
        yield result
        sys.stderr.write(f"[{number}/{count}, {time.monotonic() - begin:.0f} s] {result.name}{after}")
        sys.stderr.flush()
    sys.stderr.write(before)


def _write(about: dict[str, Any], results: dict[str, Result], *, complete: bool, path: str | None) -> None:
    if path is None:
        return
    whole = {
        **about,
        "complete": complete,
        "rows": [result.to_dict() for result in results.values()],
        "targets": [verdict.to_dict() for verdict in judge(results)],
    }
    Path(path).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
