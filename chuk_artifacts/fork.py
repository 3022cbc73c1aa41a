"""Fork safety: objects hold their locks while the process forks, and a child drops what it can't share."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object that takes part in each fork of the process."""

    def before_fork(self) -> None:
        """Take the locks, so that no other thread is in the middle of a change."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Release the locks, and in the *child* drop what can't be shared with the parent."""
        ...


class Lockable:
    """A :class:`Forkable` that has one lock and nothing to drop."""

    def __init__(self) -> None:
        """Make the lock, and take part in forks."""
        self._lock = threading.Lock()
        watch(self)

    def before_fork(self) -> None:
        """Take the lock."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Release the lock."""
        self._lock.release()


_one_at_a_time = threading.Lock()
_watched: dict[int, weakref.ref[Forkable]] = {}
_held: list[Forkable] = []


def watch(forkable: Forkable) -> None:
    """Call the methods of *forkable* around every fork, as long as the object lives."""
    key = id(forkable)
    _watched[key] = weakref.ref(forkable, functools.partial(_watched.pop, key))


def _before() -> None:
    _one_at_a_time.acquire()
    _held.extend(found for reference in list(_watched.values()) if (found := reference()) is not None)
    for forkable in _held:
        forkable.before_fork()


def _after(*, child: bool) -> None:
    for forkable in _held:
        forkable.after_fork(child=child)
    _held.clear()
    _one_at_a_time.release()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(
        before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
    )
