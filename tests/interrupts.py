"""Interrupts at every line, for tests of Ctrl-C, SIGALRM and the soft time limits of task queues."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import chuk_artifacts

Place = tuple[int, int, int]
"""A line: how it was reached, its number, how often it was executed in the call."""

_TIMES = 2


class Interrupt(KeyboardInterrupt):
    """An exception that arrives during a call."""


class TimeLimit(Exception):  # noqa: N818 - it stands for such as celery's SoftTimeLimitExceeded
    """An ``Exception`` that arrives during a call: a signal handler may raise any."""


def interrupted(
    function: Callable[[], object],
    package: ModuleType = chuk_artifacts,
    kind: type[BaseException] = Interrupt,
) -> Iterator[str]:
    """Call *function* again and again, each time interrupted at another line that it executes in *package*.

    Yield after each interrupted call, and end with the first call that completes. A line counts as another one when it
    is reached by other calls, and when it is executed for the second time in a call, as the body of a loop is. From the
    third time on it is not: that would try the same again.

    Two lines protect nothing in Python: the one at which a ``with`` block ends (``__exit__`` is skipped), and that of a
    ``try:`` in another (all handlers of the function are). Only the calling thread is interrupted, and the collector is
    off: Python hides what is raised in the functions that it calls. The exception is kept while the test goes on, and
    with it what its traceback refers to, as a debugger or a log may do.

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
    tried: set[Place] = set()
    while (error := _interrupt(function, tried, folder, kind)) is not None:
        yield str(error)


def _interrupt(
    function: Callable[[], object], tried: set[Place], folder: str, kind: type[BaseException]
) -> BaseException | None:
    """Call *function*, interrupt it at a place that was not tried, and add that; return None after the last place."""
    times: Counter[tuple[int, int]] = Counter()
    ways: dict[FrameType | None, int] = {}
    places: list[str] = []

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(folder):
            return None
        caller: FrameType | None = frame.f_back
        while caller is not None and caller not in ways:
            caller = caller.f_back
        way = ways[frame] = hash((ways.get(caller), caller and caller.f_lineno, code))

        def on_line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "return":
                ways.pop(frame, None)
            if event == "line" and not places:
                line = (way, frame.f_lineno)
                times[line] += 1
                place = (*line, min(times[line], _TIMES))
                if place not in tried:
                    tried.add(place)
                    places.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
                    raise kind(places[0])
            return on_line

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
        ways.clear()
        gc.enable()
    return None
