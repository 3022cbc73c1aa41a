"""The open files of this process."""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE_SECONDS = 30


def open_below(root: Path) -> list[str]:
    """Return the files and folders at or below *root* that this process has open, after a collection."""
    gc.collect()
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # it belonged to the listing itself, or another thread closed it
            continue
        if target == str(root) or target.startswith(f"{root}/"):
            found.append(target)
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until a condition becomes true, and return whether it did."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
