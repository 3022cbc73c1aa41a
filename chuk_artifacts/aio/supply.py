"""Async iterables for a worker: what it reads, the task that called gets for it."""

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
_LOOK_SECONDS = 1.0


def is_async(data: object) -> bool:
    """Say whether *data* can be iterated over on an event loop alone."""
    kind = type(data)
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")


class Supply:
    """A hand-over from the task that makes it to the worker that its call runs in.

    The worker asks for a piece and waits, the task gets it. So no more than one piece is in memory, and the data is
    read in the very task that called, with its context, its cancel scopes and its errors. When the task ends first, or
    its loop stops, the worker gets an error and undoes what it began.
    """

    def __init__(self) -> None:
        """See the class."""
        self._loop = asyncio.get_running_loop()
        self._orders: asyncio.Queue[_Order | None] = asyncio.Queue()
        self._over = False

    async def serve(self, work: Future[T]) -> T:
        """Return the result of *work*, and get what it asks for until then."""
        work.add_done_callback(lambda _: self._send(None))
        try:
            while (order := await self._orders.get()) is not None:
                with order:
                    order.answer.set_result(await order.source.piece())
            return work.result()
        finally:
            self._over = True
            while not self._orders.empty():
                self._take(self._orders.get_nowait())

    def _send(self, order: _Order | None) -> None:
        """Hand something to the loop; a closed one takes nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, order)

    def _take(self, order: _Order | None) -> None:
        if not self._over:
            self._orders.put_nowait(order)
        elif order is not None:
            order.answer.set_exception(ArtifactStoreError("the call was cancelled before all its data was read"))

    def blocking(self, data: Any) -> Any:
        """Return what a worker can read: *data* itself, or the chunks of an async iterable."""
        return self._chunks(_Source(data)) if is_async(data) else data

    def blocking_item(self, item: Any) -> Any:
        """Return an item of a batch with data that a worker can read."""
        if isinstance(item, Mapping) and is_async(item.get("data")):
            return {**item, "data": self.blocking(item["data"])}
        return item

    def _chunks(self, source: _Source) -> Iterator[bytes]:
        while piece := self._ask(_Order(source)):
            yield from piece

    def _ask(self, order: _Order) -> list[bytes]:
        """Return a piece that the loop gets; give up when that rests at two looks in a row."""
        self._send(order)
        at_work = True
        while not wait([order.answer], _LOOK_SECONDS).done:
            rested, at_work = not at_work, self._loop.is_running()
            if rested and not at_work:
                raise ArtifactStoreError("the event loop stopped before all the data was read")
        return order.answer.result()


class _Source:
    """An async iterable of bytes, read in pieces of some 256 KiB."""

    def __init__(self, data: AsyncIterable[Any]) -> None:
        self._data = data
        self._iterator: AsyncIterator[Any] | None = None

    async def piece(self) -> list[bytes]:
        """Return the next chunks; none are the end."""
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


class _Order:
    """What a worker waits for. An error inside its ``with`` block is the answer, and the worker raises it."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.answer: Future[list[bytes]] = Future()

    def __enter__(self) -> None:
        """Do nothing: all is in the exit."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """Hand an error over; one that ends the task, such as its being cancelled, goes on there too."""
        if error is not None:
            self.answer.set_exception(error)
        return isinstance(error, Exception)
