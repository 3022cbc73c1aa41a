"""A limit on how many calls use connections at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Turns:
    """A fixed number of locks; a call holds one while it uses a connection.

    The queue only proposes the next lock to take; the locks themselves say which are in use. An exception can arrive
    between taking a lock from the queue and putting it back, so when the queue is empty, all free locks are put there
    again.

    Args:
        number: how many there are.
        seconds: how long :meth:`take` waits for one.

    """

    def __init__(self, number: int, seconds: float) -> None:
        """Make the locks."""
        self._all = [threading.Lock() for _ in range(number)]
        self._seconds = seconds
        self._free: SimpleQueue[threading.Lock] = SimpleQueue()
        self.put: Callable[[threading.Lock], None] = self._free.put
        """Put a lock back."""

    def take(self) -> threading.Lock:
        """Return a lock for the caller to hold; raise :class:`NoTurnError` if all stay in use for too long."""
        with contextlib.suppress(Empty):
            while (turn := self._free.get_nowait()).locked():
                pass  # it was in the queue twice
            return turn
        for turn in self._all:
            if not turn.locked():
                self.put(turn)
        try:
            return self._free.get(timeout=self._seconds)
        except Empty:
            raise NoTurnError("all connections are in use") from None


class NoTurnError(Exception):
    """All connections stayed in use for too long."""
