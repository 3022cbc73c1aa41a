"""Interrupts at every line: what tests of Ctrl-C, SIGALRM and the soft time limits of task queues share."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import chuk_artifacts


class Interrupt(KeyboardInterrupt):
    """What arrives in the midst of a call."""


class TimeLimit(Exception):  # noqa: N818 - it stands for such as celery's SoftTimeLimitExceeded
    """What arrives in the midst of a call, and is an ``Exception``: a handler of signals may raise any."""


def interrupted(
    function: Callable[[], object],
    package: ModuleType = chuk_artifacts,
    kind: type[BaseException] = Interrupt,
) -> Iterator[str]:
    """Call *function* again and again, interrupted at the first line that it executes in *package*, the second, ….

    Yield after each interrupted call, and end with the first call that completes. Two lines protect nothing in Python:
    the one at which a ``with`` block ends (``__exit__`` is skipped), and that of a ``try:`` in another (all handlers of
    the function are). Only the calling thread is interrupted, and the collector is off: Python hides what is raised in
    the functions that it calls. The exception is kept while the test goes on, and with it what its traceback refers to,
    as a debugger or a log may do.

    Args:
        function: what is called; each call stands for itself, so it makes what it needs.
        package: interrupts come in its modules, and not in what they call.
        kind: the class of the exception.

    Yields:
        where it was interrupted, for messages: file, line and function.

    Raises:
        AssertionError: the interrupt did not reach the caller.

    """
    folder = str(Path(str(package.__file__)).parent)
    for number in itertools.count(1):
        error = _interrupt(function, number, folder, kind)
        if error is None:
            return
        yield str(error)


def _interrupt(
    function: Callable[[], object], number: int, folder: str, kind: type[BaseException]
) -> BaseException | None:
    """Call *function* and interrupt it at a line; return the interrupt, or None when it has fewer lines."""
    lines = itertools.count(1)
    places: list[str] = []

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        return on_line if frame.f_code.co_filename.startswith(folder) else None

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and next(lines) == number:
            code = frame.f_code
            places.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
            raise kind(places[0])
        return on_line

    before = sys.gettrace()
    gc.disable()
    sys.settrace(on_call)  # Python takes it away again when it raises
    try:
        function()
    except kind as error:
        assert places, "an interrupt of another call"
        return error
    else:
        assert not places, f"interrupted at {places[0]}, and the caller never heard of it"
    finally:
        sys.settrace(before)
        gc.enable()
    return None
