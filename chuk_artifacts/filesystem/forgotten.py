"""The end of files that their writers never closed: when they are collected, and when the interpreter exits.

A file that is dropped without ``close()`` ends as if it were closed then, as those of the local disk do. Three things
make that more than a call of ``close()`` in ``__del__``:

- The finalizers of a garbage cycle run in any order, so that a text layer may flush into a file whose own finalizer ran
  before. Such a file ends when the pass of the collector is over.
- The collector runs at any moment, also while its thread holds a lock that storing the file needs. Hence what a pass
  has found ends in a thread of its own; the pass waits for it only briefly.
- Behind the handlers of ``atexit`` nothing works that storing needs. What is open at the exit ends in such a handler.
"""

from __future__ import annotations

import _thread
import atexit
import gc
import io
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

_PATIENCE_SECONDS = 1.0  # for what a pass of the collector found; it goes on afterwards

_numbers = itertools.count()
_open: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_collected: list[Forgettable] = []
_ending: set[_thread.LockType] = set()
_collector: int | None = None  # the thread that runs the collector


class Forgettable(Protocol):
    """A file that may never be closed."""

    def end(self) -> None:
        """Commit or discard what was written to a file that was never closed. Warn of errors."""
        ...


def handled() -> frozenset[int]:
    """Return the identities of the exceptions that are being handled here: the present one, and its context.

    A reference to one of them would keep the frames that it passed, and with them the file, from being collected.
    """
    return frozenset(map(id, _with_context(sys.exception()))) | frozenset(map(id, _with_context(_uncaught())))


def in_flight(before: frozenset[int]) -> bool:
    """Return whether an exception is being handled that was not among those *before*."""
    return _is_new(sys.exception(), before)


def watch(file: Any) -> None:
    """End a :class:`~files.Writer` at the exit of the interpreter if it is still open then."""
    number = next(_numbers)
    if number == 0:  # handlers run in reverse: now, so that this runs before the ones that close what a store needs
        atexit.register(_exit)
    _open[number] = file
    if _watch_collector not in gc.callbacks:
        gc.callbacks.append(_watch_collector)


def highest(file: Any) -> Any:
    """Return the highest open layer of our own above a file, or the file."""
    while (layer := _above(file)) is not None:
        file = layer
    return file


def _above(file: Any) -> Any:
    reference = getattr(file, "above", None)
    layer = None if reference is None else reference()
    return None if layer is None or layer.closed else layer


def end(file: Forgettable) -> None:
    """End a forgotten file, or have it ended when the pass of the collector is over that runs in this thread."""
    if _collector == threading.get_ident():
        _collected.append(file)
    else:
        file.end()


def _watch_collector(phase: str, _info: object) -> None:
    global _collector  # noqa: PLW0603 - there is one collector
    if phase == "start":
        _collector = threading.get_ident()
        return
    _collector = None
    if _collected:
        files = [*_collected]
        _collected.clear()
        _end_elsewhere(files)
    if not _open and not _collected:  # an interrupt that comes in here is lost: be called only while there are files
        gc.callbacks.remove(_watch_collector)


def _forget_parent() -> None:
    """Forget the open files of the parent process, which will end them."""
    _open.clear()
    _collected.clear()
    _ending.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def _end_elsewhere(files: Sequence[Forgettable]) -> None:
    done = _thread.allocate_lock()  # threading.Thread takes a lock that this thread may hold
    done.acquire()
    _ending.add(done)

    def run() -> None:
        try:
            _call_all([file.end for file in files])
        finally:
            _ending.discard(done)
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # no more threads: the next pass or the exit ends them
        _ending.discard(done)
        _collected.extend(files)
    else:
        done.acquire(timeout=_PATIENCE_SECONDS)


def _exit() -> None:
    for done in list(_ending):
        done.acquire()
    _call_all([file.end for file in _collected])
    _call_all([partial(_close_at_exit, file) for _, file in sorted(_open.items()) if not file.closed])


def _close_at_exit(file: Any) -> None:
    layers = [file, *_layers_above(file)]
    if _is_new(_uncaught(), file.opened_among):
        file.doom()
    _call_all([file.forget, *(layer.close for layer in reversed(layers))])


def _call_all(functions: Sequence[Callable[[], object]]) -> None:
    """Call functions in their order, each although those before it have raised; raise the last error."""
    with ExitStack() as stack:
        for function in reversed(functions):
            stack.callback(function)


def _layers_above(file: Any) -> Iterator[Any]:
    """Iterate over the open files that write into a file, from the lowest up.

    Those of other packages can only be found among the objects that refer to it.
    """
    seen = [file]
    while (layer := _above(file) or _other_layer(file, seen)) is not None:
        yield layer
        seen.append(layer)
        file = layer


def _other_layer(file: Any, seen: Sequence[Any]) -> Any:
    for holder in gc.get_referrers(file):
        for layer in gc.get_referrers(holder) if isinstance(holder, dict) else (holder,):
            is_layer = isinstance(layer, (io.BufferedIOBase, io.TextIOBase))
            if is_layer and not any(layer is one for one in seen) and not layer.closed:
                return layer
    return None


def _uncaught() -> BaseException | None:
    """Return the exception that ended the program, or the last exception that an interactive session has shown."""
    return getattr(sys, "last_value", None)


def _is_new(error: BaseException | None, before: frozenset[int]) -> bool:
    return error is not None and id(error) not in before


def _with_context(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__context__
