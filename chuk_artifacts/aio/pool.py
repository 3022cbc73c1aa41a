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
        future.set_running_or_notify_cancel()
        self._begin(thread, future, work)
        return future

    def _begin(self, thread: ThreadPoolExecutor, future: Future[Any], work: Callable[[], Any]) -> None:
        thread.submit(work).add_done_callback(partial(self._end, thread, future))

    def _end(self, thread: ThreadPoolExecutor, future: Future[Any], ended: Future[Any]) -> None:
        with self._lock:
            following = self._next()
            if following is None:
                self._resting.append(thread)
        error = ended.exception()
        if error is None:
            future.set_result(ended.result())
        else:
            future.set_exception(error)
        if following is not None:
            self._begin(thread, *following)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Return what has waited longest, and was not cancelled meanwhile."""
        while self._waiting:
            future, work = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                return future, work
        return None

    def shutdown(self) -> None:
        """Let the threads end. All work must have ended, and there may be no more."""
        for thread in self._threads:
            thread.shutdown()
