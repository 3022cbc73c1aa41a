"""What the package adds to the start of an interpreter: an import, and the command line's help."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs

from benchmarks.comparison import compare, one_by_one
from benchmarks.effort import Effort
from benchmarks.result import Result, Rows
from benchmarks.workloads import Work

ADDED_MS = "added_ms"
_COMMANDS = {"start/import": ("-c", "import chuk_artifacts"), "start/help": ("-m", "chuk_artifacts", "--help")}


def rows(effort: Effort) -> Rows:
    """Return what measures the rows."""
    return {name: partial(_row, name, effort) for name in _COMMANDS}


def _row(name: str, effort: Effort, folder: Path) -> Result:
    """Start interpreters beside such as do nothing; what is added is the median of the rounds' differences.

    Their bytecode is kept in *folder*, as that of an installed package is beside it.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    verb, floor = _start(environment, *_COMMANDS[name]), _start(environment, "-c", "pass")
    result = compare(name, one_by_one(verb), one_by_one(floor), seconds=0, rounds=effort.starts)
    added = statistics.median(verb - floor for verb, floor in zip(result.verb_us, result.floor_us, strict=True))
    return attrs.evolve(result, figures={ADDED_MS: added / 1e3}, processor_us=None, growth_bytes=None)


def _start(environment: Mapping[str, str], *arguments: str) -> Work:
    command = [sys.executable, *arguments]
    return Work(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment))
