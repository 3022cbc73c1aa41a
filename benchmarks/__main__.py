"""``python -m benchmarks``: each verb beside its floor; ``benchmarks/README.md`` tells what it means."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import gateway, grid, interfaces, link, machine, plot, processes, report, signing, stream
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.result import Result, Rows
from benchmarks.selection import NothingMatchesError, chosen
from benchmarks.targets import judge

SCHEMA = 1
_OTHERS = (interfaces, gateway, signing, link, stream, processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table.

    Args:
        arguments: of the command line; None: those of the process.

    """
    parser = _parser()
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    others = {name: measure for module in _OTHERS for name, measure in module.rows(effort).items()}
    try:
        wanted = chosen([*grid.names(effort), *others], options.only)
        if options.plot:
            plot.drawer()
    except (NothingMatchesError, plot.NoMatplotlibError) as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(wanted))
        return
    _run(wanted, others, effort, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Verbs of the store beside the bare calls under them."
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
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--plot", metavar="FILE", help="draw throughput over concurrency there (png, svg, pdf)")
    parser.add_argument("--list", action="store_true", help="print the names of the rows, and measure nothing")
    return parser


def _run(wanted: Sequence[str], others: Rows, effort: Effort, options: argparse.Namespace) -> None:
    """Measure rows; what is finished is kept when the run is broken off."""
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "only": options.only,
        **machine.describe(),
    }
    results: dict[str, Result] = {}
    print(report.head())
    try:
        for result in _told(_measured(wanted, others, effort), wanted):
            results[result.name] = result
            print(report.line(result), flush=True)
    finally:
        _write(report, results, complete=len(results) == len(wanted), path=options.json)
    print("\n" + report.targets(judge(results)))
    if options.plot:
        plot.draw(results.values(), options.plot)


def _measured(wanted: Collection[str], others: Rows, effort: Effort) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="chuk-bench-") as folder:
        yield from grid.run(wanted, effort, Path(folder))
    for name in wanted:
        if name in others:
            with tempfile.TemporaryDirectory(prefix="chuk-bench-") as folder:
                yield others[name](Path(folder))


def _told(results: Iterator[Result], wanted: Sequence[str]) -> Iterator[Result]:
    """Tell on stderr how far it is: on a terminal in one line, which the table writes over."""
    begin = time.monotonic()
    before, after = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    for number, result in enumerate(results, 1):
        sys.stderr.write(before)
        yield result
        sys.stderr.write(f"[{number}/{len(wanted)}, {time.monotonic() - begin:.0f} s] {result.name}{after}")
        sys.stderr.flush()
    sys.stderr.write(before)


def _write(report: dict[str, Any], results: dict[str, Result], *, complete: bool, path: str | None) -> None:
    if path is None:
        return
    report |= {
        "complete": complete,
        "rows": [result.to_dict() for result in results.values()],
        "targets": [verdict.to_dict() for verdict in judge(results)],
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
