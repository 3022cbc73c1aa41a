"""By how much this process grows: the kernel's own account of its resident memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak to what is resident now
_KIB = 1024


class Watch:
    """Watches the peak from the moment it is made.

    The peak is ``VmHWM`` of Linux, set back at the beginning; ``getrusage`` would tell that of the whole life of the
    process. Memory that was freed before and is used again counts for nothing.
    """

    def __init__(self) -> None:
        self._before: int | None = None
        with contextlib.suppress(OSError):
            _RESET.write_text(_RESET_PEAK, "ascii")
            self._before = _bytes_of("VmRSS")

    def growth(self) -> int | None:
        """Return by how many bytes the process was larger, at its largest, or None where nobody tells."""
        return None if self._before is None else max(0, _bytes_of("VmHWM") - self._before)


def _bytes_of(name: str) -> int:
    (line,) = (line for line in _STATUS.read_text("ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) * _KIB
