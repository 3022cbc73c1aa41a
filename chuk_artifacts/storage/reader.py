"""A seekable reader over an object that can only be fetched by ranges."""

from __future__ import annotations

import io
import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import attrs

from chuk_artifacts.errors import ProviderError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MIB = 1024 * 1024
FIRST_BLOCK = _MIB
"""Length in bytes of what is fetched first, and after a jump."""
_LARGEST_BLOCK = 8 * _MIB
_GROWTH = 4
_BUFFER = _MIB // 8
_AHEAD = 4  # blocks of the largest length; with the one being read that is 40 MiB
_NOTHING = memoryview(b"")


@attrs.frozen
class _Block:
    begin: int
    data: Future[bytes]
    length: int

    @property
    def end(self) -> int:
        return self.begin + self.length


def open_ranges(
    fetch: Callable[[int, int], Future[bytes]], size: int, start: int = 0, first: bytes = b""
) -> io.BufferedReader:
    """Return a reader with a buffer for small reads; see :class:`RangeReader`."""
    return buffered(RangeReader(fetch, size, start, first), start, _BUFFER)


def buffered(raw: io.RawIOBase, position: int, size: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedReader[Any]:
    """Return a reader with a buffer over a raw file that stands at *position*.

    When one is made, Python asks the raw file for its position, and hides what that raises, an interrupt too. So for
    that moment the answer comes from C, where no interrupt can arrive.
    """
    vars(raw)["tell"] = itertools.repeat(position).__next__
    reader: io.BufferedReader[Any] = io.BufferedReader(raw, size)
    del vars(raw)["tell"]
    return reader


class RangeReader(io.RawIOBase):
    """A reader that fetches blocks: a small one after a jump, larger ones, several ahead, while it reads straight on.

    Args:
        fetch: starts fetching from a position a number of bytes; results may be awaited in any order.
        size: the length of the object.
        start: where the reader stands at first.
        first: the bytes from there that are fetched already.

    """

    _coming: deque[_Block] = deque()  # noqa: RUF012 - stays empty; what an interrupt left half made is closed too

    def __init__(self, fetch: Callable[[int, int], Future[bytes]], size: int, start: int, first: bytes) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = start
        self._begin, self._block = start, first
        self._length = FIRST_BLOCK
        self._coming = deque()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be moved."""
        return True

    def tell(self) -> int:
        """Return where it stands."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return where it stands; nothing is fetched."""
        self._check_open()
        position = (0, self._position, self._size)[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill *buffer* from the present block, fetch that if need be, and return how many bytes that were."""
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Return all that follows."""
        return b"".join(iter(lambda: self._next(self._size), _NOTHING))

    def _next(self, size: int) -> memoryview:
        """Return at most *size* bytes, and none only at the end."""
        self._check_open()
        if self._position >= self._size or not size:
            return _NOTHING
        if not 0 <= self._position - self._begin < len(self._block):
            self._load()
        at = self._position - self._begin
        data = memoryview(self._block)[at : at + size]
        self._position += len(data)
        return data

    def close(self) -> None:
        """Forget what is coming."""
        self._forget()
        self._block = b""
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _load(self) -> None:
        """Make the block at the present position the current one, and call for those after it."""
        if self._position == self._begin + len(self._block):
            self._length = min(self._length * _GROWTH, _LARGEST_BLOCK)
        else:
            self._length = FIRST_BLOCK
        if not self._coming or self._coming[0].begin != self._position:
            self._forget()
            self._call_for(self._position)
        block = self._coming[0]  # which stays there while an interrupt may come, so that closing gives it up
        if self._length == _LARGEST_BLOCK:
            self._look_ahead()
        try:
            data = block.data.result()
        except BaseException:
            self._coming.popleft().data.cancel()  # after an interrupt it is still being fetched
            raise
        self._coming.popleft()
        if not data:  # which would pass for the end
            raise ProviderError(f"the bytes end at {block.begin}, and should at {self._size}")
        self._begin, self._block = block.begin, data

    def _look_ahead(self) -> None:
        while len(self._coming) <= _AHEAD:
            begin = self._coming[-1].end
            if begin >= self._size:
                return
            self._call_for(begin)

    def _call_for(self, begin: int) -> None:
        length = min(self._length, self._size - begin)
        self._coming.append(_Block(begin, self._fetch(begin, length), length))

    def _forget(self) -> None:
        while self._coming:
            self._coming.pop().data.cancel()
