"""A pool of threads that gives work to the warmest one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")


class Pool:
    """Threads of which the one that came to rest last is given the next work.

    A ``ThreadPoolExecutor`` of many gives it to the one that has rested longest, whose caches are cold, or to a new one
    when the last has told its result and not come to rest yet: half a hop more for each of several calls in a row. So
    here each thread is an executor of its own, and comes to rest before it tells.

    Args:
        count: how many threads there are at most; they start when they are needed.
        name: what their names begin with.

    """

    def __init__(self, count: int, name: str) -> None:
        """See the class."""
        self._count = count
        self._name = name
        self._lock = threading.Lock()
        self._threads: list[ThreadPoolExecutor] = []
        self._resting: list[ThreadPoolExecutor] = []
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[[], R]) -> Future[R]:
        """Begin *work* in a thread, now or as soon as one of them is free."""
        future: Future[R] = Future()
        with self._lock:
            if self._resting:
                thread = self._resting.pop()
            elif len(self._threads) < self._count:
                thread = ThreadPoolExecutor(1, f"{self._name}-{len(self._threads)}")
                self._threads.append(thread)
            else:
                self._waiting.append((future, work))
                return future
        thread.submit(self._run, thread, future, work)
        return future

    def _run(self, thread: ThreadPoolExecutor, *task: Any) -> None:
        while task:
            tell = _outcome(*task)
            with self._lock:
                task = self._waiting.popleft() if self._waiting else ()
                if not task:
                    self._resting.append(thread)
            tell()

    def shutdown(self) -> None:
        """Return when all work has ended. There may be no more."""
        for thread in self._threads:
            thread.shutdown()


def _outcome(future: Future[R], work: Callable[[], R]) -> Callable[[], None]:
    """Do *work*, unless it was cancelled, and return what tells *future* the outcome."""
    try:
        if not future.set_running_or_notify_cancel():
            return lambda: None
        return partial(future.set_result, work())
    except BaseException as error:  # noqa: BLE001 - who waits for the future raises it
        return partial(future.set_exception, error)
    finally:
        del future, work  # this frame is held by the error's traceback, and must not hold the future that holds that
