"""The threads in which the calls of an async store run, and which calls are under way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.fork import watch

P = ParamSpec("P")
R = TypeVar("R")


_LOOK_SECONDS = 1.0
"""How often ``close`` checks whether the event loops of uploads still run."""


def running_loop() -> asyncio.AbstractEventLoop:
    """Return asyncio's running event loop. Each call asks for it before it begins anything.

    Raises:
        ArtifactStoreError: there is none, as under trio.

    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ArtifactStoreError(
            "chuk_artifacts.aio needs a running event loop of asyncio; under trio, call the methods of"
            " chuk_artifacts.ArtifactStore by to_thread.run_sync"
        ) from None


class Ticket(Future[None]):
    """An upload whose data a task is reading; done when the upload is over.

    Attributes:
        loop: the event loop of the task.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the upload."""
        super().__init__()
        self.loop = loop


class Workers:
    """The threads of one store, which its views share. After a fork the child starts its own.

    Args:
        count: the maximum number of threads.

    """

    def __init__(self, count: int) -> None:
        """Start no thread yet."""
        self.count = count
        self._open = True
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Future[Any], Calls] = {}
        self._executor = ThreadPoolExecutor(self.count, "chuk-artifacts-aio")

    def admit(self, calls: Calls) -> Ticket:
        """Begin an upload as one of *calls*; its task may submit work until its ticket is done.

        Raises:
            ArtifactStoreError: the store or this view of it is closed, or no event loop is running.

        """
        ticket = Ticket(running_loop())
        with self._lock:
            self._check_open(calls)
            self._running[ticket] = calls
        ticket.add_done_callback(self._ended)
        return ticket

    def submit(self, calls: Calls, work: Callable[[], R]) -> Future[R]:
        """Start *work* as one of *calls*.

        Raises:
            ArtifactStoreError: the store or this view of it is closed, and no upload is under way that needs the work.

        """
        with self._lock:
            if calls.ticket not in self._running:
                self._check_open(calls)
            future = self._executor.submit(work)
            self._running[future] = calls.account
        future.add_done_callback(self._ended)
        return future

    def _check_open(self, calls: Calls) -> None:
        if calls.closed or not self._open:
            raise ArtifactStoreError("store is closed")

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._running.pop(future, None)

    def end(self, calls: Calls, timeout: float | None) -> None:
        """Refuse new work of *calls*, and wait for their running work; raise after *timeout* seconds."""
        with self._lock:
            calls.closed = True
        self._wait(timeout, calls)

    def end_all(self, timeout: float | None) -> None:
        """Refuse new work, and wait for all running work; raise after *timeout* seconds."""
        with self._lock:
            self._open = False
        self._wait(timeout)
        self._executor.shutdown()

    def _under_way(self, calls: Calls | None) -> set[Future[Any]]:
        with self._lock:
            return {future for future, owner in self._running.items() if calls is None or owner is calls}

    def _wait(self, timeout: float | None, calls: Calls | None = None) -> None:
        """Wait for the work of *calls*, or for all work, also for what uploads submit meanwhile.

        An upload is given up when its event loop is found at rest twice: the loop may have ended for good.
        """
        end = None if timeout is None else time.monotonic() + timeout
        resting: set[Future[Any]] = set()
        while running := self._under_way(calls):
            left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, max(end - time.monotonic(), 0))
            running = wait(running, left).not_done
            if running and end is not None and time.monotonic() >= end:
                raise ArtifactStoreError(
                    f"{len(running)} calls are still under way after {timeout} seconds: close the store again later"
                )
            at_rest: set[Future[Any]] = {
                ticket for ticket in running if isinstance(ticket, Ticket) and not ticket.loop.is_running()
            }
            for ticket in at_rest & resting:
                self._ended(ticket)
            resting = at_rest

    def before_fork(self) -> None:
        """Leave the threads running; only the parent keeps them."""

    def after_fork(self, *, child: bool) -> None:
        """Start with a new pool in a *child*, where the threads do not exist."""
        if child:
            self._begin()


class Calls:
    """The calls of one async store or view, which run in the threads of the whole store.

    A call sees the context variables of the calling task. Cancelling the task stops the wait; the call goes on unless
    it has not started.

    Args:
        workers: the threads.
        ticket: the upload that they belong to, if any.
        account: the calls of the store or view that makes the upload; None: these.

    """

    def __init__(self, workers: Workers, ticket: Ticket | None = None, account: Calls | None = None) -> None:
        """Begin with no calls."""
        self.workers = workers
        self.ticket = ticket
        self.account: Calls = account or self
        self.closed = False

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, called in a thread."""
        loop, context = running_loop(), copy_context()
        work = self.workers.submit(self, lambda: context.run(function, *args, **kwargs))
        try:
            return await until(work, loop)
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

        loop = running_loop()
        closer = ThreadPoolExecutor(1, "chuk-artifacts-close")  # a thread of its own, as it waits for the others
        work = closer.submit(close)
        closer.shutdown(wait=False)
        await until(work, loop)


async def until(work: Future[R], loop: asyncio.AbstractEventLoop) -> R:
    """Wait for *work* and return its result; cancelling the wait does not cancel *work*.

    ``asyncio.wrap_future`` would do the same, but costs a second future and another iteration of the loop.
    """
    ended: asyncio.Future[None] = loop.create_future()

    def report(_: Future[R]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits
            loop.call_soon_threadsafe(_end, ended)

    work.add_done_callback(report)
    await ended
    return work.result()


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
