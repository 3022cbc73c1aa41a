"""Data that only an event loop can read: the task collects it, and then a thread stores it as a whole.

A thread that read it would wait as long as a slow client takes. Here threads only write: each piece beyond the first
goes to a temporary file in one hop, and the call itself runs when the data is complete.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from chuk_artifacts.aio.workers import Calls
from chuk_artifacts.errors import ArtifactStoreError, ProviderError
from chuk_artifacts.source import as_bytes, check_readable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

P = ParamSpec("P")
R = TypeVar("R")

PIECE_BYTES = 256 * 1024
"""How many bytes of an upload are kept in memory."""
_SMALL_BYTES = 4 * 1024 * 1024
"""How many bytes of the small items of a batch are kept in memory."""


def is_async(data: object) -> bool:
    """Return whether only an event loop can read *data*: its ``read`` is a coroutine, or it is an async iterable."""
    kind = type(data)
    if inspect.iscoroutinefunction(getattr(kind, "read", None)):
        return True
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")


def _reader_of(data: Any) -> Callable[[], Coroutine[Any, Any, bytes | None]]:
    """Return a function that reads the next chunk of *data*, and returns None at the end.

    A chunk has up to 256 KiB; where ``read`` takes no size, it is what the iteration yields.
    """
    check_readable(data)
    if inspect.iscoroutinefunction(getattr(data, "read", None)):
        with contextlib.suppress(TypeError):
            inspect.signature(data.read).bind(PIECE_BYTES)
            return partial(_read, data)
    return partial(_iterate, aiter(data))


async def _read(data: Any) -> bytes | None:
    return as_bytes(await data.read(PIECE_BYTES)) or None


async def _iterate(iterator: AsyncIterator[Any]) -> bytes | None:
    try:
        return as_bytes(await anext(iterator))
    except StopAsyncIteration:
        return None


class Upload:
    """The data of one call, collected by its task, and the call. Closing the store waits for it.

    Args:
        calls: those of the store or view that makes the upload.

    """

    def __init__(self, calls: Calls) -> None:
        """Collect nothing yet."""
        self._ticket = calls.workers.admit(calls)
        self._calls = Calls(calls.workers, self._ticket, account=calls)
        self._small_bytes = 0
        self._spooled = False
        self._file: io.FileIO | None = None
        self._over = False
        self._lock = threading.Lock()  # a hop whose wait was cancelled may still be under way

    async def __aenter__(self) -> Self:
        """Return the upload."""
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Remove the temporary file."""
        if not self._spooled:
            self._ticket.set_result(None)
        else:
            self._calls.release(self._close).add_done_callback(lambda _: self._ticket.set_result(None))

    async def collect(self, data: Any, max_bytes: int | None = None) -> Any:
        """Return what a thread can read: *data* itself, or what an event loop has read of it.

        Data of more than *max_bytes* is read only until that is known; the call then refuses what was read.

        Raises:
            InvalidInputError: *data* is closed, or yields anything but bytes.
            ProviderError: the temporary file can't be written.

        """
        if not is_async(data):
            return data
        chunks: list[bytes] = []
        size, total, section = 0, 0, None
        read = _reader_of(data)
        while (chunk := await read()) is not None:
            chunks.append(chunk)
            size += len(chunk)
            total += len(chunk)
            if max_bytes is not None and total > max_bytes:
                break
            if size >= PIECE_BYTES:
                section = (await self._spool(chunks)).after(section)
                chunks, size = [], 0
        if section is None and self._small_bytes + size <= _SMALL_BYTES:
            self._small_bytes += size
            return b"".join(chunks)
        return (await self._spool(chunks)).after(section)

    async def _spool(self, chunks: Iterable[bytes]) -> _Section:
        self._spooled = True
        return await self._calls.run(self._append, chunks)

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, called in a thread."""
        return await self._calls.run(function, *args, **kwargs)

    def _append(self, chunks: Iterable[bytes]) -> _Section:
        """Write to the end of the file, and return what was written."""
        with self._lock:
            try:
                if self._over:
                    raise ArtifactStoreError("the upload was cancelled")
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by __aexit__
                start = end = self._file.seek(0, io.SEEK_END)
                for chunk in chunks:
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[self._file.write(rest) :]
                    end += len(chunk)
            except OSError as error:
                raise ProviderError(
                    f"an upload can't be written to a temporary file ({error.strerror}): set TMPDIR to another folder"
                ) from error
            return _Section(self._file, self._lock, start, end)

    def _close(self) -> None:
        with self._lock:
            self._over = True
            if self._file is not None:
                self._file.close()


class _Section(io.RawIOBase):
    """A part of the temporary file of an upload, as a seekable file."""

    def __init__(self, file: io.FileIO, lock: threading.Lock, start: int, end: int) -> None:
        self._file = file
        self._lock = lock
        self.start = start
        self._end = end
        self._position = start

    def after(self, section: _Section | None) -> _Section:
        """Return this section and the one before it as one."""
        return self if section is None else _Section(self._file, self._lock, section.start, self._end)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: self.start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(origin + offset, self.start)
        return self._position - self.start

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)[: max(self._end - self._position, 0)]
        with self._lock:
            self._file.seek(self._position)
            count = self._file.readinto(view) or 0
        self._position += count
        return count
