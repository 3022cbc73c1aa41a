"""The threads that the calls of an async store run in, and the account of what runs there."""

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
    """The threads of one store, which its views share. A child of a fork starts its own.

    Calls that wait for data of an event loop have threads to themselves: a slow upload must not hold up the others, and
    one that reads from the same store would wait for itself.

    Args:
        count: how many there are at most, and how many more for uploads.

    """

    def __init__(self, count: int) -> None:
        """Begin with none: they start when they are needed."""
        self.count = count
        self._open = True
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Future[Any], Calls] = {}
        self._verbs = ThreadPoolExecutor(self.count, "chuk-artifacts-aio")
        self._uploads = ThreadPoolExecutor(self.count, "chuk-artifacts-upload")

    def submit(self, calls: Calls, work: Callable[[], R], *, upload: bool = False) -> Future[R]:
        """Begin *work* on account of *calls*.

        Raises:
            ArtifactStoreError: they are closed.

        """
        with self._lock:
            if calls.closed or not self._open:
                raise ArtifactStoreError("store is closed")
            future = (self._uploads if upload else self._verbs).submit(work)
            self._running[future] = calls
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._running.pop(future, None)

    def end(self, calls: Calls, timeout: float | None) -> None:
        """Take no more work of *calls*, and return when all they began has ended, or raise after *timeout* seconds."""
        with self._lock:
            calls.closed = True
            running = [future for future, owner in self._running.items() if owner is calls]
        _wait(running, timeout)

    def end_all(self, timeout: float | None) -> None:
        """Take no more work, and return when all has ended, or raise after *timeout* seconds."""
        with self._lock:
            self._open = False
            running = list(self._running)
        _wait(running, timeout)
        self._uploads.shutdown()
        self._verbs.shutdown()

    def before_fork(self) -> None:
        """Do nothing: what happens in the threads is none of the child's."""

    def after_fork(self, *, child: bool) -> None:
        """Forget threads and work in a *child*, which has neither."""
        if child:
            self._begin()


class Calls:
    """The calls of one async store, or of one view of it, and its only way into the threads.

    A call sees the context variables of the task that makes it. Cancelling the task stops the wait, not the call,
    unless that has not begun.

    Args:
        workers: where they run.

    """

    def __init__(self, workers: Workers) -> None:
        """See the class."""
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
        """Call *function*, which gives something back, in a thread; here, when the store is closed."""
        try:
            return self.workers.submit(self, function)
        except ArtifactStoreError:
            function()
            done: Future[None] = Future()
            done.set_result(None)
            return done

    async def close(self, close_store: Callable[[], None], *, all_views: bool, timeout: float | None) -> None:  # noqa: ASYNC109 - waited in a thread
        """Take no more calls, wait for those under way, and with *all_views* for those of all; call *close_store*.

        Raise :class:`ArtifactStoreError` when they have not ended after *timeout* seconds.
        """

        def close() -> None:
            if all_views:
                self.workers.end_all(timeout)
            else:
                self.workers.end(self, timeout)
            close_store()

        closer = ThreadPoolExecutor(1, "chuk-artifacts-close")  # its thread is none of those it waits for
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
    """Return the result of *work*, which goes on when this wait is cancelled.

    It does what ``asyncio.wrap_future`` does, without a second future and a second turn of the loop.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(_: Future[R]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_end, ended)

    work.add_done_callback(tell)
    await ended
    return work.result()


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
