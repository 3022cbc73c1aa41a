"""Where and with what a run was made."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sqlite3
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("attrs", "boto3", "botocore", "fsspec", "redis", "hiredis", "werkzeug", "moto", "pyarrow")
_PROGRAMS = ("redis-server", "radosgw")
_HERE = Path(__file__).parent


def describe() -> dict[str, Any]:
    """Return machine, versions and commit, for JSON."""
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
            **{name: _said(name, "--version") for name in _PROGRAMS},
        },
        "commit": _said("git", "rev-parse", "HEAD"),
        "changed": bool(_said("git", "status", "--porcelain", "--untracked-files=no")),
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


def _said(program: str, *arguments: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run([path, *arguments], cwd=_HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
