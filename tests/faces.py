"""Both faces of a store: the blocking one, and a blocking wrapper of the async one, so that one suite runs on both."""

from __future__ import annotations

import asyncio
import atexit
import io
from collections.abc import AsyncGenerator, Awaitable, Iterator
from typing import Any

from chuk_artifacts import aio

_idle: list[asyncio.Runner] = []


def run(awaitable: Awaitable[Any]) -> Any:
    """Run *awaitable* on an event loop that no other thread uses meanwhile, and return its result."""

    async def main() -> Any:
        return await awaitable

    runner = _idle.pop() if _idle else asyncio.Runner()
    try:
        return runner.run(main())
    finally:
        _idle.append(runner)


@atexit.register
def _close() -> None:
    for runner in _idle:
        runner.close()


class AsyncFace:
    """A blocking wrapper of an async store: it runs awaitables, and returns everything else."""

    def __init__(self, store: aio.ArtifactStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """Return a method of the store, made blocking."""
        method = getattr(self._store, name)
        if not callable(method):
            return method
        return lambda *args, **kwargs: _blocking(method(*args, **kwargs))

    def __enter__(self) -> AsyncFace:
        """Enter the store."""
        return AsyncFace(run(self._store.__aenter__()))

    def __exit__(self, *error: object) -> None:
        """Leave the store."""
        run(self._store.__aexit__(*error))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the store."""
        return AsyncFace, (self._store,)

    def __repr__(self) -> str:
        """Show the store."""
        return repr(self._store)


class _BlockingReader(io.RawIOBase):
    """A blocking wrapper of an async reader."""

    def __init__(self, reader: aio.Reader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, and return the number of bytes."""
        data = run(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position."""
        return run(self._reader.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return run(self._reader.tell())

    def close(self) -> None:
        """Close the reader."""
        if not self.closed:
            run(self._reader.close())
        super().close()


def _blocking(value: Any) -> Any:
    if isinstance(value, aio.ArtifactStore):
        return AsyncFace(value)
    if isinstance(value, aio.Reader):
        return _BlockingReader(run(value))
    if isinstance(value, AsyncGenerator):
        return _iterator(value)
    return run(value) if isinstance(value, Awaitable) else value


def _iterator(values: AsyncGenerator[Any, None]) -> Iterator[Any]:
    end = object()
    try:
        while (value := run(anext(values, end))) is not end:
            yield value
    finally:
        run(values.aclose())


def open_async(**options: Any) -> AsyncFace:
    """Return a blocking wrapper of a new async store."""
    return AsyncFace(aio.ArtifactStore(**options))
