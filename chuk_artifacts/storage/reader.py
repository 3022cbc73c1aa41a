"""A seekable reader over an object that can only be fetched by ranges."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs

_MIB = 1024 * 1024
FIRST_BLOCK = _MIB // 4
"""Length in bytes of what is fetched first, and after a jump."""
_LARGEST_BLOCK = 8 * _MIB
_GROWTH = 4
_AHEAD = 7  # blocks of the largest length; with the one being read that is 64 MiB


@attrs.frozen
class _Block:
    begin: int
    data: Future[bytes]
    length: int

    @property
    def end(self) -> int:
        return self.begin + self.length


class RangeReader(io.RawIOBase):
    """A reader that fetches blocks: a small one after a jump, larger ones, several ahead, while it reads straight on.

    Args:
        fetch: begins to fetch so many bytes from a place; the result may be waited for in any order.
        size: the length of the object.
        start: where the reader stands at first.
        first: the bytes from there that are fetched already.

    """

    def __init__(self, fetch: Callable[[int, int], Future[bytes]], size: int, start: int, first: bytes) -> None:
        """See the class."""
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = start
        self._begin, self._block = start, first
        self._length = FIRST_BLOCK
        self._coming: deque[_Block] = deque()

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

    def read(self, size: int | None = -1) -> bytes:
        """Return the next *size* bytes, fewer only at the end; all that follow for -1."""
        self._check_open()
        end = self._size if size is None or size < 0 else min(self._position + size, self._size)
        pieces = []
        while self._position < end:
            if not 0 <= self._position - self._begin < len(self._block):
                self._load()
            at = self._position - self._begin
            pieces.append(self._block[at : at + end - self._position])
            self._position += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        """Return all that follows."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill *buffer*, and return how many bytes that were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

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
        block = self._coming.popleft()
        if self._length == _LARGEST_BLOCK:
            self._look_ahead(block.end)
        self._begin, self._block = block.begin, block.data.result()

    def _look_ahead(self, end: int) -> None:
        while len(self._coming) < _AHEAD:
            begin = self._coming[-1].end if self._coming else end
            if begin >= self._size:
                return
            self._call_for(begin)

    def _call_for(self, begin: int) -> None:
        length = min(self._length, self._size - begin)
        self._coming.append(_Block(begin, self._fetch(begin, length), length))

    def _forget(self) -> None:
        while self._coming:
            self._coming.pop().data.cancel()
