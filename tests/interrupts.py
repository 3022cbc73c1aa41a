"""Interrupts at every line, for tests of Ctrl-C, SIGALRM and the soft time limits of task queues."""

from __future__ import annotations

import gc
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import chuk_artifacts

Place = tuple[int, int, int]
"""A line: how it was reached, its number, how often it was executed in the call."""

_TIMES = 2
one_in = 3
"""How many lines there are to one that is interrupted. Methods share most lines, and each leaves out others."""


class Interrupt(KeyboardInterrupt):
    """An exception that arrives during a call."""


class TimeLimit(Exception):  # noqa: N818 - it represents exceptions like celery's SoftTimeLimitExceeded
    """An ``Exception`` that arrives during a call: a signal handler may raise any."""


def interrupted(
    function: Callable[[], object],
    package: ModuleType = chuk_artifacts,
    kind: type[BaseException] = Interrupt,
) -> Iterator[str]:
    """Call *function* repeatedly, each time interrupted at another line that it executes in *package*.

    Yield after each interrupted call, and end with the first call that completes. A line counts again when other calls
    lead to it, and when a call executes it for the second time, as in a loop. Later executions do not count: they would
    repeat the same case. Of the lines, one in ``one_in`` is tried, by its number and the name of the test.

    No code can protect two lines in Python: the end of a ``with`` block (``__exit__`` is skipped), and the line of a
    nested ``try:`` (all handlers of the function are skipped). Only the calling thread is interrupted, and garbage
    collection is off, because Python hides exceptions in finalizers. The exception, and so everything that its
    traceback refers to, stays alive during the rest of the test, as with a debugger or a log.

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
    first = zlib.crc32(os.environ["PYTEST_CURRENT_TEST"].encode())
    tried: set[Place] = set()
    while (error := _interrupt(function, tried, folder, kind, first)) is not None:
        yield str(error)


def _interrupt(
    function: Callable[[], object], tried: set[Place], folder: str, kind: type[BaseException], first: int
) -> BaseException | None:
    """Call *function*, and interrupt it at a line that is not in *tried* yet; return None if it completes.

    The lines are those whose number leaves the same remainder as *first* when it is divided by ``one_in``.
    """
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
            if event == "line" and not places and (frame.f_lineno - first) % one_in == 0:
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
    sys.settrace(on_call)  # Python removes it again when it raises
    try:
        function()
    except kind as error:
        assert places, "an interrupt of another call"
        return error
    else:
        assert not places, f"interrupted at {places[0]}, but the caller got no exception"
    finally:
        sys.settrace(before)
        ways.clear()
        gc.enable()
    return None
