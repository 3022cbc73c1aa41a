"""The threads of an async store, and which calls run in them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from chuk_artifacts.aio.supply import Supply
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.fork import watch

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """The threads of one store, which its views share. After a fork the child starts its own.

    Calls that wait for data from an event loop have a pool of their own: slow uploads must not delay other calls, and
    an upload that reads from the same store would wait for itself.

    Args:
        count: the maximum number of threads in each of the two pools.

    """

    def __init__(self, count: int) -> None:
        """Set up the pools; threads start on demand."""
        self.count = count
        self._open = True
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Future[Any], Calls] = {}
        self._threads = ThreadPoolExecutor(self.count, "chuk-artifacts-aio")
        self._uploads = ThreadPoolExecutor(self.count, "chuk-artifacts-upload")

    def submit(self, calls: Calls, work: Callable[[], R], *, upload: bool = False) -> Future[R]:
        """Start *work* as one of *calls*.

        Raises:
            ArtifactStoreError: the store or this view of it is closed.

        """
        with self._lock:
            if calls.closed or not self._open:
                raise ArtifactStoreError("store is closed")
            future = (self._uploads if upload else self._threads).submit(work)
            self._running[future] = calls
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._running.pop(future, None)

    def end(self, calls: Calls, timeout: float | None) -> None:
        """Refuse new work of *calls*, and wait for their running work; raise after *timeout* seconds."""
        with self._lock:
            calls.closed = True
            running = [future for future, owner in self._running.items() if owner is calls]
        _wait(running, timeout)

    def end_all(self, timeout: float | None) -> None:
        """Refuse new work, and wait for all running work; raise after *timeout* seconds."""
        with self._lock:
            self._open = False
            running = list(self._running)
        _wait(running, timeout)
        self._uploads.shutdown()
        self._threads.shutdown()

    def before_fork(self) -> None:
        """Leave the threads running; only the parent keeps them."""

    def after_fork(self, *, child: bool) -> None:
        """Start with new pools in a *child*, where the threads do not exist."""
        if child:
            self._begin()


class Calls:
    """The calls of one async store or view, which run in the threads of the whole store.

    A call sees the context variables of the calling task. Cancelling the task stops the wait; the call goes on unless
    it has not started.

    Args:
        workers: the threads.

    """

    def __init__(self, workers: Workers) -> None:
        """Begin with no calls."""
        self.workers = workers
        self.closed = False

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, called in a thread."""
        context = copy_context()
        work = self.workers.submit(self, lambda: context.run(function, *args, **kwargs))
        try:
            return await until(work)
        finally:
            work.cancel()

    async def feed(self, function: Callable[[Supply], R]) -> R:
        """Return ``function(supply)``, called in a thread, while this task serves the supply."""
        context, supply = copy_context(), Supply()
        work = self.workers.submit(self, lambda: context.run(function, supply), upload=True)
        try:
            return await supply.serve(work)
        finally:
            work.cancel()

    def release(self, function: Callable[[], None]) -> Future[None]:
        """Call *function*, which releases a resource, in a thread; call it directly when the store is closed."""
        try:
            return self.workers.submit(self, function)
        except ArtifactStoreError:
            function()
            done: Future[None] = Future()
            done.set_result(None)
            return done

    async def close(self, close_store: Callable[[], None], *, all_views: bool, timeout: float | None) -> None:  # noqa: ASYNC109 - waited in a thread
        """Refuse new calls, wait for running ones (with *all_views* those of all views), then call *close_store*.

        Raises:
            ArtifactStoreError: calls are still running after *timeout* seconds.

        """

        def close() -> None:
            if all_views:
                self.workers.end_all(timeout)
            else:
                self.workers.end(self, timeout)
            close_store()

        closer = ThreadPoolExecutor(1, "chuk-artifacts-close")  # a thread of its own, as it waits for the others
        work = closer.submit(close)
        closer.shutdown(wait=False)
        await until(work)


def _wait(running: Collection[Future[Any]], timeout: float | None) -> None:
    left = wait(running, timeout).not_done
    if left:
        raise ArtifactStoreError(
            f"{len(left)} calls are still under way after {timeout} seconds: close the store again later"
        )


async def until(work: Future[R]) -> R:
    """Wait for *work* and return its result; cancelling the wait does not cancel *work*.

    ``asyncio.wrap_future`` would do the same, but costs a second future and another iteration of the loop.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def wake(_: Future[R]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no task waits
            loop.call_soon_threadsafe(_end, ended)

    work.add_done_callback(wake)
    await ended
    return work.result()


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
