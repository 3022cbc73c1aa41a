"""What a run reports: the table of its rows, the machine it ran on, and a plot."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
from collections.abc import Collection, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.comparison import Ratio, Result
from benchmarks.plan import AIO, BLOCKING
from benchmarks.targets import Verdict
from benchmarks.workloads import MIB

_COLUMNS = ("calls/s", "p50 µs", "p90 µs", "p99 µs", "cpu µs", "MiB more", "floor µs", "ratio", "spread", "to blocking")
_WIDTHS = (10, 10, 10, 10, 9, 9, 10, 7, 14, 12)
_NAME = 46
_EXACT = 10  # below that, figures are ratios as a rule
_PACKAGES = ("attrs", "boto3", "botocore", "fsspec", "psycopg", "redis", "hiredis", "werkzeug", "moto", "pyarrow")
_PROGRAMS = ("redis-server", "psql", "radosgw")
_HERE = Path(__file__).parent
_STYLES = {BLOCKING: "-", AIO: "--"}
_WORKLOADS = {"store": "C0", "retrieve": "C1", "metadata": "C2", "mixed": "C3"}
_PANEL_INCHES = 4.2


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
        "" if result.growth_bytes is None else f"{result.growth_bytes / MIB:.1f}",
        _number(statistics.median(result.floor_us) if result.floor_us else None),
        "" if result.ratio is None else f"{result.ratio.median:.2f}",
        _spread(result.ratio),
        "" if result.to_blocking is None else f"{result.to_blocking.median:.2f}",
    )
    figures = "".join(f"  {name} {value:.{2 if abs(value) < _EXACT else 1}f}" for name, value in result.figures.items())
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
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004 - three digits are enough


def _spread(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"


def environment() -> dict[str, Any]:
    """Return the machine, the versions and the commit, for JSON."""
    return {
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load": os.getloadavg(),
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: _version(name) for name in _PACKAGES},
            **{name: _output(name, "--version") for name in _PROGRAMS},
        },
        "commit": _output("git", "rev-parse", "HEAD"),
        "changed": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _output(program: str, *arguments: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run([path, *arguments], cwd=_HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


class NoMatplotlibError(Exception):
    """Matplotlib is not installed."""


def pyplot() -> Any:
    """Return matplotlib's pyplot.

    Raises:
        NoMatplotlibError: matplotlib is not installed.

    """
    try:
        importlib.import_module("matplotlib").use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise NoMatplotlibError("--plot needs matplotlib: pip install '.[bench]'") from error


def draw(results: Collection[Result], path: str) -> None:
    """Plot throughput over concurrency, for the smallest files, blocking against awaited, one panel a backend.

    The suffix of *path* chooses the format.
    """
    plt = pyplot()
    points = [result for result in results if result.a_second and result.parameters.get("workload") in _WORKLOADS]
    least = min((result.parameters["size_bytes"] for result in points), default=0)
    points = [result for result in points if result.parameters["size_bytes"] == least]
    backends = list(dict.fromkeys(result.parameters["backend"] for result in points))
    figure, axes = plt.subplots(
        1, max(1, len(backends)), figsize=(_PANEL_INCHES * max(1, len(backends)), _PANEL_INCHES), squeeze=False
    )
    for axis, backend in zip(axes[0], backends, strict=False):
        _panel(axis, backend, [result for result in points if result.parameters["backend"] == backend])
    axes[0][0].set_ylabel(f"calls a second, files of {least} bytes")
    if backends:
        axes[0][0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _panel(axis: Any, backend: str, points: Collection[Result]) -> None:
    for workload, color in _WORKLOADS.items():
        for face, style in _STYLES.items():
            line = sorted(
                (result.parameters["count"], result.a_second)
                for result in points
                if (result.parameters["workload"], result.parameters["face"]) == (workload, face)
            )
            if line:
                axis.plot(*zip(*line, strict=True), style, color=color, marker="o", label=f"{workload}, {face}")
    axis.set_title(backend)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_xlabel("threads or tasks at once")
    axis.grid(visible=True, which="both", alpha=0.3)
