"""Worker processes of ``chuk-artifacts serve``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from chuk_artifacts.cli.options import Run, ServeOptions
from chuk_artifacts.cli.output import fail

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from types import FrameType

_LOOK_SECONDS = 0.5


class Workers:
    """Processes that accept from one socket. One that is killed is replaced.

    Args:
        run: what each of them does, until it gets a signal.
        options: what they serve.
        listening: the socket.

    """

    def __init__(self, run: Run, options: ServeOptions, listening: socket.socket) -> None:
        """Start nothing yet."""
        self._arguments = run, options, listening
        self._started: list[BaseProcess] = []
        self._stopping = False

    def run(self, count: int, announce: Callable[[], None]) -> None:
        """Run *count* processes until this one is told to stop; then let them end what is under way."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        announce()
        for _ in range(count):
            self._start()
        while not self._stopping:
            wait([process.sentinel for process in self._started], _LOOK_SECONDS)
            self._replace()
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.join()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        process = spawning.Process(target=_work, args=self._arguments, daemon=True)
        process.start()
        self._started.append(process)

    def _replace(self) -> None:
        """Replace workers that were killed; one that fails by itself would fail again."""
        for process in self._started:
            if process.exitcode is not None and not self._stopping:
                if process.exitcode > 0:
                    fail(f"a worker failed with status {process.exitcode}")
                self._started = [other for other in self._started if other is not process]
                self._start()


def _work(run: Run, options: ServeOptions, listening: socket.socket) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with listening:
        run(options, listening)


def _end_with_parent() -> None:
    """Wait for the end of the command's own process, which may be killed, and then end this one as it would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
