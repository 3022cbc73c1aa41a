"""File systems that a test mounts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import pytest


@contextlib.contextmanager
def mounted(place, *arguments):
    """Mount a file system at a path, or skip the test."""
    place.mkdir(exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount, on Linux")
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
