"""Child processes for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import chuk_artifacts

PROJECT = Path(__file__).parents[1]
_SECONDS = 120  # after which a child counts as hanging


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a child that imports the same package from any folder."""
    package = str(Path(chuk_artifacts.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, **variables}


def unmeasured() -> dict[str, str]:
    """Return the environment of a child without coverage, which would cost modules, memory, files and system calls."""
    return {name: value for name, value in environment().items() if not name.startswith("COVERAGE_")}


def run(code: str, *arguments: object, **options) -> str:
    """Run Python code to its end, and return its output."""
    done = subprocess.run(
        command(code, *arguments),
        **{"env": environment(), "capture_output": True, "text": True, "timeout": _SECONDS, **options},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start Python code that communicates by lines on standard input and output."""
    return subprocess.Popen(
        command(code, *arguments), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def command(code: str, *arguments: object) -> list[str]:
    """Return the command line of Python code."""
    return [sys.executable, "-c", dedent(code), *map(str, arguments)]
