"""Calls in other threads; the calling thread makes them itself once no thread can start any more."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from chuk_artifacts.errors import ProviderError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class _Wait:
    """Whether the result of a call is still waited for.

    Attributes:
        over: whether it is not.
        outer: that of the call in which the call was made, or None.

    """

    __slots__ = ("outer", "over")

    def __init__(self, outer: _Wait | None, *, over: bool = False) -> None:
        self.outer = outer
        self.over = over


_wait: ContextVar[_Wait | None] = ContextVar("chuk_artifacts_wait", default=None)


def is_given_up() -> bool:
    """Return whether the result of the present call is no longer waited for, so that it need not be repeated."""
    wait = _wait.get()
    while wait is not None and not wait.over:
        wait = wait.outer
    return wait is not None


@contextlib.contextmanager
def hurried_by_interrupt() -> Iterator[None]:
    """Let calls within clean up without repeating anything, while an interrupt such as Ctrl-C is being handled."""
    if not _is_interrupted():
        yield
        return
    token = _wait.set(_Wait(_wait.get(), over=True))
    try:
        yield
    finally:
        _wait.reset(token)


class Call(Future[R]):
    """A call that is made at most once, by the first thread that takes it. Cancelling takes it too.

    The ``Future`` of an executor does not suffice: an executor that fails to start a thread keeps the call in its
    queue, may make it later, and returns no future to cancel it with.

    The call sees the context variables of the thread or task that makes it, so that a span of OpenTelemetry has its
    parent there.

    Args:
        function: the function to call.
        arguments: its arguments.

    """

    def __init__(self, function: Callable[[*Ts], R], *arguments: *Ts) -> None:
        """Prepare the call; :meth:`run` makes it."""
        super().__init__()
        context = copy_context()
        self._wait = _Wait(_wait.get())
        context.run(_wait.set, self._wait)
        self._untaken: dict[str, Callable[[], R]] = {"call": lambda: context.run(function, *arguments)}

    def run(self) -> None:
        """Make the call, unless it was taken, and keep its result or exception."""
        try:
            call = self._untaken.pop("call", None)
            if call is None:
                return
            result = call()
            del call  # or its arguments stay in memory while waiters already continue
            self.set_result(result)
            self.ended()
        except BaseException as error:
            self._untaken.clear()
            if self.done():  # a callback failed, not the call
                raise
            self.set_exception(error)
            self.ended()
            del self  # or there is a cycle: the error, this frame, the call, the error

    def cancel(self) -> bool:
        """Take the call, so that it is never made; return False if it was taken before, and need not be repeated."""
        if self.withdraw():
            return True
        self._wait.over = True
        return self.cancelled()

    def withdraw(self) -> bool:
        """Take the call, so that it is never made; return False if it was taken before, which changes nothing."""
        if self._untaken.pop("call", None) is None:
            return self.cancelled()
        super().cancel()
        self.set_running_or_notify_cancel()  # `futures.wait` needs this state, and no executor sets it here
        self.ended()
        return True

    def ended(self) -> None:
        """Override to act when the call was made or cancelled.

        A callback of ``Future`` does not suffice: it swallows an interrupt.
        """


def _run(calls: list[Call[Any]]) -> None:
    """Empty a list of one call, and make it: frames of the executor keep the list, but no longer the call."""
    calls.pop().run()


def give_up(calls: Sequence[Call[R]]) -> None:
    """Cancel the calls that have not begun, and wait for the others; after an interrupt these repeat nothing."""
    take: Callable[[Call[R]], bool] = Call.cancel if _is_interrupted() else Call.withdraw
    for call in [call for call in calls if not take(call)]:
        call.exception()


def _is_interrupted() -> bool:
    """Return whether an interrupt, such as Ctrl-C, is being handled."""
    handled = sys.exc_info()[1]
    return handled is not None and not isinstance(handled, Exception)


class Threads:
    """Up to *count* threads, which start on demand.

    While the interpreter shuts down, threads no longer start, though ``atexit`` functions and non-daemon threads still
    run. From then on, and after :meth:`close`, the calling thread makes each call itself.

    Args:
        count: the largest number of threads.
        name: the prefix of their names.

    """

    def __init__(self, count: int, name: str) -> None:
        """Start no thread yet."""
        self._count = count
        self._name = name
        self.forget()

    def submit(self, function: Callable[[*Ts], R], *arguments: *Ts) -> Future[R]:
        """Start a call, and return it."""
        call = Call(function, *arguments)
        try:
            self.start(call)
        except BaseException:
            call.cancel()  # an interrupt may come after it has begun, when no caller knows it yet
            raise
        return call

    def start(self, call: Call[Any]) -> None:
        """Hand a call to a thread.

        Raises:
            ProviderError: no thread can start; the call is cancelled.

        """
        try:
            if not self._closed:
                self._executor().submit(_run, [call])
                return
        except RuntimeError as error:  # only some are a PythonFinalizationError, and only since 3.13
            if "shutdown" not in str(error):
                if not call.withdraw():  # a running thread has taken it
                    return
                raise ProviderError(f"a thread can't start ({error}): raise the limit of processes") from error
        call.run()
        interrupt = call.exception()
        if interrupt is not None and not isinstance(interrupt, Exception):
            raise interrupt

    def begin(self, function: Callable[[T], R], values: Sequence[T], calls: list[Call[R]]) -> None:
        """Start a call of *function* with each value, and append them to *calls*, which the caller waits for."""
        for value in values:
            calls.append(Call(function, value))
            self.start(calls[-1])

    def each(self, function: Callable[[T], R], values: Sequence[T]) -> list[R]:
        """Call *function* with each value, side by side, and return the results.

        Wait for all calls, then raise the first error in the order of the values. After an interrupt, or if a thread
        can't start, calls that have not begun are not made.
        """
        calls: list[Call[R]] = []
        try:
            self.begin(function, values, calls)
            for call in calls:
                call.exception()  # waits
        except BaseException:
            give_up(calls)
            raise
        return [call.result() for call in calls]

    def close(self) -> None:
        """Wait for the running calls, and end the threads; calling it again is harmless."""
        self._closed = True
        for executor in list(self._executors.values()):
            with contextlib.suppress(RuntimeError):  # called in one of the threads, which can't join itself
                executor.shutdown()

    def forget(self) -> None:
        """Start over in the child of a fork, which has none of the threads."""
        self._closed = False
        self._executors: dict[str, ThreadPoolExecutor] = {}

    def _executor(self) -> ThreadPoolExecutor:
        """Return the executor; if several threads make one at once, all use the first."""
        if not self._executors:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most stores never need it

            self._executors.setdefault("only", ThreadPoolExecutor(self._count, self._name))
        return self._executors["only"]
