"""The content of an answer over HTTP, which threads open, read and close, while the event loop waits for the client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from chuk_artifacts.aio.workers import Calls
from chuk_artifacts.gateway.answer import Answer

T = TypeVar("T")


class Content:
    """The content of one answer.

    A call whose wait was cancelled may still be under way. What it opens is closed all the same.

    Args:
        calls: those of the store.

    Attributes:
        first: the first chunk, once it is opened.
        is_whole: whether that is all, and nothing is open any more.

    """

    def __init__(self, calls: Calls) -> None:
        """Open nothing yet."""
        self.first: bytes = b""
        self.is_whole: bool = True
        self._calls = calls
        self._chunks: Iterator[bytes] = iter(())
        self._close: Callable[[], None] | None = None
        self._over = False
        self._lock = threading.Lock()

    async def open(self, begin: Callable[[], T]) -> T:
        """Return what *begin* returns, called in a thread; if it is an answer, take over its content."""
        return await self._calls.run(self._open, begin)

    async def next(self) -> bytes | None:
        """Return the next chunk, or None at the end."""
        return await self._calls.run(self._next)

    def release(self) -> None:
        """Close what is open, in a thread; harmless the second time."""
        self._calls.release(self._end)

    def _open(self, begin: Callable[[], T]) -> T:
        with self._lock:
            found = begin()
            if isinstance(found, Answer):
                self._take(found)
            return found

    def _take(self, answer: Answer) -> None:
        self._close, self._chunks = answer.close, iter(answer.content)
        if self._over:  # the wait was cancelled
            self._finish()
        self.first = next(self._chunks, b"")
        length = answer.headers.get("Content-Length")
        has_more = bool(self.first) and (length is None or len(self.first) < int(length))
        self.is_whole = not has_more and answer.file is None
        if self.is_whole:
            self._finish()

    def _next(self) -> bytes | None:
        with self._lock:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._finish()
            return chunk

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._finish()

    def _finish(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            close()
