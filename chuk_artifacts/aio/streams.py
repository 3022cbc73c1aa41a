"""Async readers and iterators over blocking ones, which run in the store's threads."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from itertools import islice
from typing import BinaryIO, Generic, Self, TypeVar

from chuk_artifacts.aio.workers import Calls, running_loop, until

T = TypeVar("T")


class Reader:
    """A seekable reader of an artifact, which fetches only what is read.

    ``async with store.open(artifact_id) as file`` opens and closes it. After ``file = await store.open(artifact_id)``
    the caller closes it. Each method runs in a thread, and raises ``ValueError`` when the reader is not open.

    >>> import asyncio
    >>> from chuk_artifacts.aio import ArtifactStore
    >>> async def main():
    ...     async with ArtifactStore() as store:
    ...         artifact_id = await store.store(b"Hello, world!")
    ...         async with store.open(artifact_id) as file:
    ...             await file.seek(7)
    ...             return await file.read(5)
    >>> asyncio.run(main())
    b'world'
    """

    def __init__(self, calls: Calls, begin: Callable[[], BinaryIO]) -> None:
        """Keep *begin*, which opens the file later."""
        self._calls = calls
        self._begin = begin
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()  # a call whose wait was cancelled may still be under way

    def __await__(self) -> Generator[None, None, Self]:
        """Open the reader and return it."""
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        """Open the reader and return it; the end of the ``async with`` block closes it."""
        return await self._opened()

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the reader."""
        await self.close()

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, or all the rest for -1; empty at the end of the file.

        Example:
            >>> from chuk_artifacts.aio import ArtifactStore
            >>> store = ArtifactStore()
            >>> file = await store.open(await store.store(b"Hello, world!"))
            >>> await file.read(5), await file.read()
            (b'Hello', b', world!')
            >>> await file.close()

        """
        return await self._calls.run(self._do, lambda file: file.read(size))

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset in bytes, relative to start, position or end as *whence* says; return the new position.

        Example:
            >>> from chuk_artifacts.aio import ArtifactStore
            >>> store = ArtifactStore()
            >>> file = await store.open(await store.store(b"Hello, world!"))
            >>> await file.seek(-6, 2), await file.read()
            (7, b'world!')
            >>> await file.close()

        """
        return await self._calls.run(self._do, lambda file: file.seek(offset, whence))

    async def tell(self) -> int:
        """Return the current position in bytes.

        Example:
            >>> from chuk_artifacts.aio import ArtifactStore
            >>> store = ArtifactStore()
            >>> file = await store.open(await store.store(b"Hello, world!"))
            >>> _ = await file.read(5)
            >>> await file.tell()
            5
            >>> await file.close()

        """
        return await self._calls.run(self._do, lambda file: file.tell())

    async def close(self) -> None:
        """Close the reader. Closing twice is allowed.

        Example:
            >>> from chuk_artifacts.aio import ArtifactStore
            >>> store = ArtifactStore()
            >>> file = await store.open(await store.store(b"Hello, world!"))
            >>> await file.close()

        """
        loop = running_loop()
        await until(self._calls.release(self._close), loop)

    async def _opened(self) -> Self:
        try:
            await self._calls.run(self._open)
        except BaseException:  # cancelled, and the file may yet be opened
            self._calls.release(self._close)
            raise
        return self

    def _open(self) -> None:
        with self._lock:
            self._file = self._begin()

    def _do(self, action: Callable[[BinaryIO], T]) -> T:
        with self._lock:
            if self._file is None:
                raise ValueError("the reader is not open: use 'async with' or 'await'")
            return action(self._file)

    def _close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()


class _Steps(Generic[T]):
    """A blocking iterator that is created, advanced and closed in threads, by one call at a time."""

    def __init__(self, begin: Callable[[], Iterator[T]], count: int) -> None:
        self._begin = begin
        self._count = count
        self._iterator: Iterator[T] | None = None
        self._lock = threading.Lock()

    def next(self) -> list[T]:
        """Return the next items; an empty list at the end."""
        with self._lock:
            if self._iterator is None:
                self._iterator = self._begin()
            return list(islice(self._iterator, self._count))

    def close(self) -> None:
        """Close the iterator if it is a generator."""
        with self._lock:
            if isinstance(self._iterator, Generator):
                self._iterator.close()


async def steps(calls: Calls, begin: Callable[[], Iterator[T]], count: int) -> AsyncGenerator[T, None]:
    """Iterate over the iterator that *begin* returns, *count* items per thread call."""
    iterator = _Steps(begin, count)
    try:
        while items := await calls.run(iterator.next):
            for item in items:
                yield item
    except BaseException:  # the consumer left, or its wait was cancelled and the step may still be under way
        calls.release(iterator.close)
        raise
