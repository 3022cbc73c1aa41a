"""Async iterables as data: a worker thread reads chunks that the calling task fetches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.source import as_bytes

T = TypeVar("T")

_PIECE_SIZE = 256 * 1024
_CHECK_SECONDS = 1.0


def is_async(data: object) -> bool:
    """Return whether *data* can be iterated over only with ``async for``."""
    kind = type(data)
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")


class Supply:
    """A channel from the calling task to the worker thread of its call.

    The worker requests a piece and waits while the task reads it. So at most one piece is in memory, and the data is
    read in the calling task, with its context variables and cancel scopes. When the task ends first, or its loop stops,
    the worker gets an error and undoes its work.
    """

    def __init__(self) -> None:
        """Attach to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._over = False

    async def serve(self, work: Future[T]) -> T:
        """Answer the requests of *work* until it ends, and return its result."""
        work.add_done_callback(lambda _: self._send(None))
        try:
            while (request := await self._requests.get()) is not None:
                with request:
                    request.answer.set_result(await request.source.piece())
            return work.result()
        finally:
            self._over = True
            while not self._requests.empty():
                self._take(self._requests.get_nowait())

    def _send(self, request: _Request | None) -> None:
        """Pass a request, or None for the end, to the loop; a closed loop ignores it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, request)

    def _take(self, request: _Request | None) -> None:
        if not self._over:
            self._requests.put_nowait(request)
        elif request is not None:
            request.answer.set_exception(ArtifactStoreError("the call was cancelled before all its data was read"))

    def blocking(self, data: Any) -> Any:
        """Return *data*, or for an async iterable an iterator of its chunks for the worker."""
        return self._chunks(_Source(data)) if is_async(data) else data

    def blocking_item(self, item: Any) -> Any:
        """Return an item of a batch with its data as :meth:`blocking` returns it."""
        if isinstance(item, Mapping) and is_async(item.get("data")):
            return {**item, "data": self.blocking(item["data"])}
        return item

    def _chunks(self, source: _Source) -> Iterator[bytes]:
        while piece := self._ask(_Request(source)):
            yield from piece

    def _ask(self, request: _Request) -> list[bytes]:
        """Return the next piece; raise when the loop is found stopped twice in a row."""
        self._send(request)
        running = True
        while not wait([request.answer], _CHECK_SECONDS).done:
            was_stopped, running = not running, self._loop.is_running()
            if was_stopped and not running:
                raise ArtifactStoreError("the event loop stopped before all the data was read")
        return request.answer.result()


class _Source:
    """An async iterable of bytes, read in pieces of about 256 KiB."""

    def __init__(self, data: AsyncIterable[Any]) -> None:
        self._data = data
        self._iterator: AsyncIterator[Any] | None = None

    async def piece(self) -> list[bytes]:
        """Return the next chunks; an empty list at the end."""
        if self._iterator is None:
            self._iterator = aiter(self._data)
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._iterator:
            chunks.append(as_bytes(chunk))
            size += len(chunks[-1])
            if size >= _PIECE_SIZE:
                break
        return chunks


class _Request:
    """A worker's request for a piece. An error inside the ``with`` block is the answer, which the worker raises."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.answer: Future[list[bytes]] = Future()

    def __enter__(self) -> None:
        """Begin the block in which the task answers."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """Pass an error to the worker. One that ends the task, such as a cancellation, propagates there too."""
        if error is not None:
            self.answer.set_exception(error)
        return isinstance(error, Exception)
