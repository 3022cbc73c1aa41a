"""Calls in other threads, which the caller makes itself where no thread can start any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from chuk_artifacts.errors import ProviderError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Call(Future[R]):
    """A call that is made once at most: by the one who takes it, a thread or the caller. Cancelling takes it too.

    A ``Future`` of an executor does not suffice: an executor that fails to start a thread keeps the call in its queue,
    and may make it later, and returns nothing by which to cancel it.

    The call sees the context variables of the thread or task that makes it, so that a span of OpenTelemetry has its
    parent there.

    Args:
        function: what is called.
        arguments: with what.

    """

    def __init__(self, function: Callable[[*Ts], R], *arguments: *Ts) -> None:
        """Call nothing yet."""
        super().__init__()
        context = copy_context()
        self._untaken: dict[str, Callable[[], R]] = {"call": lambda: context.run(function, *arguments)}

    def run(self) -> None:
        """Make the call, unless it is taken, and keep what comes of it."""
        try:
            call = self._untaken.pop("call", None)
            if call is None:
                return
            result = call()
            del call  # or what it holds stays in memory while others are told that it is done
            self.set_result(result)
            self.ended()
        except BaseException as error:
            self._untaken.clear()
            if self.done():  # it is not what was called that fails
                raise
            self.set_exception(error)
            self.ended()
            del self  # or the error holds this frame, this frame the call, and the call the error

    def cancel(self) -> bool:
        """Take the call, so that it is never made; return False if it is too late for that."""
        if self._untaken.pop("call", None) is None:
            return self.cancelled()
        super().cancel()
        self.set_running_or_notify_cancel()  # nothing else does, and `futures.wait` waits for that
        self.ended()
        return True

    def ended(self) -> None:
        """Do nothing. A subclass learns here that the call was made or cancelled.

        A callback of ``Future`` does not suffice: it swallows an interrupt.
        """


def _run(calls: list[Call[Any]]) -> None:
    """Make the only call of a list, which is empty then: the frames of an executor, and an error in them, keep it."""
    calls.pop().run()


def give_up(calls: Sequence[Call[R]]) -> None:
    """Cancel what has not begun, and wait for the rest."""
    for call in [call for call in calls if not call.cancel()]:
        call.exception()


class Threads:
    """Up to *count* threads, which start when there is something to do.

    When the interpreter ends, threads no longer start, though ``atexit`` functions and threads that are no daemons
    still run. From then on, and after :meth:`close`, the calling thread makes each call itself.

    Args:
        count: how many threads there are at most.
        name: what their names begin with.

    """

    def __init__(self, count: int, name: str) -> None:
        """Start none yet."""
        self._count = count
        self._name = name
        self.forget()

    def submit(self, function: Callable[[*Ts], R], *arguments: *Ts) -> Future[R]:
        """Return a call that has been started."""
        call = Call(function, *arguments)
        self.start(call)
        return call

    def start(self, call: Call[Any]) -> None:
        """Let a thread make a call.

        Raises:
            ProviderError: no thread can start, and the call will never be made.

        """
        try:
            if not self._closed:
                self._executor().submit(_run, [call])
                return
        except RuntimeError as error:  # in 3.13 some are a PythonFinalizationError; only the text tells them apart
            if "shutdown" not in str(error):
                if not call.cancel():  # a thread that runs already has taken it
                    return
                raise ProviderError(f"a thread can't start ({error}): raise the limit of processes") from error
        call.run()
        interrupt = call.exception()
        if interrupt is not None and not isinstance(interrupt, Exception):
            raise interrupt

    def each(self, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
        """Call *function* with each value, side by side.

        All calls end before this does. Then the first error, in the order of the values, is raised. When this is
        interrupted, or a thread can't start, calls that have not begun are not made.
        """
        calls: list[Call[R]] = []
        try:
            for value in values:
                calls.append(Call(function, value))
                self.start(calls[-1])
            for call in calls:
                call.exception()  # which waits
        except BaseException:
            give_up(calls)
            raise
        return [call.result() for call in calls]

    def close(self) -> None:
        """End the threads when they have made the calls that are under way; harmless the second time."""
        self._closed = True
        for executor in list(self._executors.values()):
            with contextlib.suppress(RuntimeError):  # called in one of the threads, which can't wait for itself
                executor.shutdown()

    def forget(self) -> None:
        """Begin anew, in the child of a fork, which has none of the threads."""
        self._closed = False
        self._executors: dict[str, ThreadPoolExecutor] = {}

    def _executor(self) -> ThreadPoolExecutor:
        """Return the executor; the first one that is made stays, also when several threads come at once."""
        if not self._executors:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most stores never need it

            self._executors.setdefault("only", ThreadPoolExecutor(self._count, self._name))
        return self._executors["only"]
