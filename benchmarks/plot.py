"""A picture of throughput over concurrency, blocking against awaited, one panel a backend."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any

from benchmarks.plan import AIO, BLOCKING
from benchmarks.result import Result

_STYLES = {BLOCKING: "-", AIO: "--"}
_WORKLOADS = {"store": "C0", "retrieve": "C1", "metadata": "C2", "mixed": "C3"}
_PANEL_INCHES = 4.2


class NoMatplotlibError(Exception):
    """The package that draws is not installed."""


def drawer() -> Any:
    """Return the module that draws.

    Raises:
        NoMatplotlibError: it is not installed.

    """
    try:
        importlib.import_module("matplotlib").use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise NoMatplotlibError("--plot needs matplotlib: pip install 'chuk-artifacts[bench]'") from error


def draw(results: Collection[Result], path: str) -> None:
    """Write the picture of what there is of short files to *path*; its ending says which format."""
    pyplot = drawer()
    points = [result for result in results if result.a_second and result.parameters.get("workload") in _WORKLOADS]
    least = min((result.parameters["size_bytes"] for result in points), default=0)
    points = [result for result in points if result.parameters["size_bytes"] == least]
    backends = list(dict.fromkeys(result.parameters["backend"] for result in points))
    figure, axes = pyplot.subplots(
        1, max(1, len(backends)), figsize=(_PANEL_INCHES * max(1, len(backends)), _PANEL_INCHES), squeeze=False
    )
    for axis, backend in zip(axes[0], backends, strict=False):
        _panel(axis, backend, [result for result in points if result.parameters["backend"] == backend])
    axes[0][0].set_ylabel(f"calls a second, files of {least} bytes")
    if backends:
        axes[0][0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


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
