"""The targets of the rows, as data, and whether a run met them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from benchmarks.comparison import Result
from benchmarks.plan import DISK, POSTGRES, REDIS

ADDED_MS = "added_ms"
PROCESSOR = "processor"

_UNITS = {
    "ratio": "of the floor",
    "to_blocking": "of blocking",
    ADDED_MS: "ms more than python -c pass",
    PROCESSOR: "of the processor time of boto3",
}
_HOLDS = {"at least": operator.ge, "at most": operator.le}


@attrs.frozen
class Target:
    """What a row should reach.

    Attributes:
        row: the name of the row.
        figure: the name of its figure.
        how: ``at least`` or ``at most``.
        bound: the bound of the figure.
        server: the bucket server that the target is about, or None for any.

    """

    row: str
    figure: str
    how: str
    bound: float
    server: str | None = None


def _ratio(row: str, bound: float, server: str | None = None) -> Target:
    return Target(row, "ratio", "at least", bound, server)


TARGETS = (
    _ratio("memory/store/1KiB/blocking1", 0.45),
    _ratio("memory/retrieve/1KiB/blocking1", 0.60),
    _ratio("filesystem+sqlite/store/1KiB/blocking1", 0.60),
    _ratio("filesystem+sqlite/retrieve/1KiB/blocking1", 0.60),
    _ratio("memory+redis/metadata/blocking1", 0.80),
    _ratio("memory+redis/store/1KiB/blocking1", 0.80),
    _ratio("memory+postgres/metadata/blocking1", 0.80),
    _ratio("memory+postgres/store/1KiB/blocking1", 0.75),
    _ratio("s3+redis/store/1KiB/blocking1", 0.95, "rgw"),
    _ratio("s3+redis/retrieve/1KiB/blocking1", 0.95, "rgw"),
    _ratio("link20ms/store/1KiB", 1.6, "rgw"),
    _ratio("peers/retrieve/1KiB/1", 1.5, "rgw"),
    _ratio("peers/retrieve/1KiB/16", 2.0, "rgw"),
    _ratio("peers/store/1KiB/1", 1.15, "rgw"),
    _ratio("peers/store/1KiB/16", 1.35, "rgw"),
    _ratio("peers/retrieve/256KiB/1", 1.25, "rgw"),
    _ratio("peers/retrieve/256KiB/16", 1.6, "rgw"),
    Target("peers/retrieve/1KiB/1", PROCESSOR, "at most", 0.50, "rgw"),
    Target("peers/store/1KiB/1", PROCESSOR, "at most", 0.50, "rgw"),
    _ratio("filesystem+sqlite/upload/256MiB/blocking1", 0.90),
    _ratio("filesystem+sqlite/download/256MiB/blocking1", 0.90),
    _ratio("s3+redis/upload/256MiB/blocking1", 0.90, "rgw"),
    _ratio("s3+redis/download/256MiB/blocking1", 0.90, "rgw"),
    _ratio("gateway-uvicorn/download/256MiB", 0.90),
    _ratio("gateway-gunicorn/download/256MiB", 0.90),
    _ratio("gateway-gunicorn-gthread/download/256MiB", 0.90),
    _ratio("slow20ms/store_batch/1KiB/blocking1", 0.85),
    _ratio("slow20ms/retrieve_batch/1KiB/blocking1", 0.85),
    Target("memory/store/1KiB/aio1", "to_blocking", "at least", 0.70),
    Target("memory/retrieve/1KiB/aio1", "to_blocking", "at least", 0.70),
    Target("memory/metadata/aio1", "to_blocking", "at least", 0.70),
    _ratio("slow20ms/store/1KiB/aio32", 0.90),
    _ratio("slow20ms/retrieve/1KiB/aio32", 0.90),
    _ratio("filesystem+sqlite/migrate/1KiB", 1 / 1.2),
    _ratio("slow20ms/migrate/1KiB", 1 / 1.2),
    _ratio("filesystem+sqlite/list100/blocking1", 1 / 3),  # less than three times the bare SQL
    *(_ratio(f"{backend}/page/among100000", 1 / 1.5) for backend in (DISK, REDIS, POSTGRES)),
    Target("start/import", ADDED_MS, "at most", 60),
    Target("start/help", ADDED_MS, "at most", 150),
)


@attrs.frozen
class Verdict:
    """Whether a run met a target.

    Attributes:
        target: the target.
        seen: the figure of the run, or None if the run did not measure it.

    """

    target: Target
    seen: float | None

    @property
    def word(self) -> str:
        """``met``, ``missed`` or ``not measured``."""
        if self.seen is None:
            return "not measured"
        return "met" if _HOLDS[self.target.how](self.seen, self.target.bound) else "missed"

    @property
    def wanted(self) -> str:
        """The target in words."""
        return f"{self.target.how} {self.target.bound:.4g} {_UNITS[self.target.figure]}"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**attrs.asdict(self.target), "seen": self.seen, "verdict": self.word}


def judge(results: Mapping[str, Result]) -> Iterator[Verdict]:
    """Iterate over the verdicts on all targets, given the results by name."""
    for target in TARGETS:
        result = results.get(target.row)
        server = result and result.parameters.get("server")
        counts = result is not None and (target.server is None or server == target.server)
        yield Verdict(target, result.figure(target.figure) if result is not None and counts else None)
