"""The files of ``artifact://`` that are open to write: they commit when they are closed."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, NoReturn, Self

from chuk_artifacts.arguments import check_count
from chuk_artifacts.errors import shown
from chuk_artifacts.filesystem import forgotten
from chuk_artifacts.log import log as _log

_below: dict[int, Any] = {}  # what open files write to: the collector might end it before them if it were their own
_SPOOL_BYTES = 16 * 1024 * 1024  # held in memory; more goes to a temporary file


class Writer(io.BufferedIOBase):
    """A file open for writing: what is written is spooled, and becomes the artifact when the file is closed.

    :meth:`close` commits, unless a write failed, or an exception is in flight that was not being handled when the file
    was opened or its ``with`` block began. So a file whose block raises is discarded, also when pandas, fsspec or a
    ``finally`` clause closes it, and a report that is written in an ``except`` clause is stored. :meth:`commit` and
    :meth:`discard` say explicitly what is meant.

    With ``+`` in its mode the file can be read too. ``r+b`` and ``a+b`` begin with the present bytes, and leave the
    file as it is if nothing was written.

    A file that is never closed is committed or discarded by the same rule when it is collected, or at the exit of the
    interpreter, with a ``ResourceWarning``. One into which nothing was written replaces no file. When it can't be
    committed, an error is logged.

    Args:
        path: the path it will have.
        mode: ``wb``, ``xb``, ``ab``, ``r+b``, ``w+b``, ``x+b`` or ``a+b``.
        commit: is called with the spooled file, at its start, when it is to become the artifact, and with whether it
            may replace one.
        autocommit: whether :meth:`close` does that; otherwise :meth:`commit`.
        offset: how many bytes of the file come before what is spooled.
        before: the present bytes, where the spool is to begin with them; None: it begins empty.

    Attributes:
        path: the same.
        mode: the same.
        opened_among: the exceptions that were being handled when it was opened; see :func:`forgotten.handled`.
        above: a weak reference to the layer of this module that writes into it, if there is one.
        is_forgotten: whether it was never closed, and ends now.

    """

    above: weakref.ref[Any] | None = None
    _spool: Any = None
    is_forgotten: bool = False
    opened_among: frozenset[int]

    def __init__(
        self,
        path: str,
        mode: str,
        commit: Callable[[BinaryIO, bool], object],
        *,
        autocommit: bool,
        offset: int = 0,
        before: Iterable[bytes] | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.mode = mode
        self._commit = commit
        self._autocommit = autocommit
        self._offset = offset
        self._doomed = False
        self.opened_among = forgotten.handled()
        self._process = os.getpid()
        self._is_changed = before is None
        self._spool = _spool_of(before or (), at_end=mode == "a+b")
        _below[id(self)] = self._spool, self._commit
        forgotten.watch(self)

    def __reduce__(self) -> NoReturn:
        """Raise: the spooled data exists only in this process."""
        raise TypeError("a file that is being written can't be pickled")

    def __repr__(self) -> str:
        """Return a text that names the path."""
        return f"<Writer of {shown(self.path)}>"

    def __enter__(self) -> Self:
        """Return the file, which the end of the ``with`` block closes."""
        self.opened_among = forgotten.handled()  # the block is what may raise from now on
        return super().__enter__()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close, after an exception without a commit."""
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        """End a file that was never closed."""
        if self.closed or self._spool is None:
            _below.pop(id(self), None)
            return
        try:
            self.forget()
        finally:
            self.close()

    def readable(self) -> bool:
        """Return whether the file can be read too."""
        return "+" in self.mode

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the position can be set: not in a file that is open to append."""
        return self.mode != "ab"

    def write(self, data: Any, /) -> int:
        """Write bytes, and return their number."""
        self._check_open()
        if self.mode == "a+b":
            self._spool.seek(0, os.SEEK_END)
        try:
            written = int(self._spool.write(data))
        except TypeError:  # nothing of it was to be written
            raise
        except BaseException:
            self._doomed = True  # a part is missing
            raise
        self._is_changed = True
        return written

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file, or lengthen it by zeros; the position stays.

        Args:
            size: its new length in bytes; None: the position.

        Returns:
            its new length.

        Raises:
            InvalidInputError: *size* is no int, or below 0.
            io.UnsupportedOperation: the file is open to append, and *size* would cut what was there.

        """
        self._check_open()
        position = int(self._spool.tell())
        length = position if size is None else check_count("size", size, 0) - self._offset
        if length < 0:
            raise io.UnsupportedOperation("a file that is open to append can't be cut before what is appended")
        try:
            _resize(self._spool, length)
            self._spool.seek(position)
        except BaseException:
            self._doomed = True
            raise
        self._is_changed = True
        return self._offset + length

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most *size* bytes; None or a negative number: all that are left."""
        return bytes(self._readable().read(-1 if size is None else size))

    def read1(self, size: int = -1, /) -> bytes:
        """Read as :meth:`read` does."""
        return self.read(size)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer, and return the number of bytes."""
        return int(self._readable().readinto(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or at most *size* bytes of it."""
        return bytes(self._readable().readline(-1 if size is None else size))

    def _readable(self) -> Any:
        self._check_open()
        if not self.readable():
            raise io.UnsupportedOperation(f"a file that is open in mode {self.mode} can't be read")
        return self._spool

    def tell(self) -> int:
        """Return the position."""
        self._check_open()
        return self._offset + int(self._spool.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position, and return it."""
        self._check_open()
        if not self.seekable():
            raise io.UnsupportedOperation("seek in a file that is open to append")
        self._spool.seek(offset, whence)
        position = int(self._spool.tell())
        if position > _SPOOL_BYTES:
            self._spool.rollover()  # a write here would fill the gap in memory
        return position

    def flush(self) -> None:
        """Do nothing: a file becomes visible when it is closed."""
        self._check_open()

    def close(self) -> None:
        """Commit or discard, as the class says, unless an fsspec transaction decides. Closing twice is allowed."""
        if self.closed:
            return
        if self.is_forgotten:
            forgotten.end(self)
            return
        self._doomed = self._doomed or forgotten.in_flight(self.opened_among)
        super().close()
        if self._doomed:
            self.discard()
        elif self._autocommit:
            self.commit()

    def commit(self) -> None:
        """Store what was written as the artifact, unless it was discarded or a part is missing."""
        if not self.closed and (layer := forgotten.highest(self)) is not self:  # at the end of a transaction
            layer.close()
        if self._doomed:
            self.discard()
        if self._spool is None:
            return
        super().close()
        spool = self._let_go()
        with spool:
            if not self._is_changed:
                return
            spool.seek(0, os.SEEK_END)
            may_replace = not self.is_forgotten or spool.tell() > 0
            spool.seek(0)
            self._commit(spool, may_replace)

    def discard(self) -> None:
        """Discard what was written. Calling it twice is allowed."""
        self._doomed = True
        spool = self._let_go()
        if spool is not None:
            spool.close()
        super().close()

    def _let_go(self) -> Any:
        """Return the spool; from now on the caller must close it."""
        _below.pop(id(self), None)
        spool, self._spool = self._spool, None
        return spool

    def doom(self) -> None:
        """Make the next :meth:`close` discard what was written."""
        self._doomed = True

    def forget(self) -> None:
        """Note that the file was never closed, and warn of that; from now on a close is the end of a forgotten file."""
        if self.is_forgotten or self.closed:
            return
        self.is_forgotten = True
        if self._process != os.getpid():  # a forked process holds a copy of it
            self._doomed = True
            return
        self._doomed = self._doomed or forgotten.in_flight(self.opened_among)
        fate = "discarded" if self._doomed else "stored now"
        warnings.warn(f"{self!r} was never closed: what was written is {fate}", ResourceWarning, stacklevel=3)

    def end(self) -> None:
        """Commit or discard what was never closed; log what can't be committed."""
        if self.closed:
            return
        super().close()
        if self._doomed:
            self.discard()
        elif sys.is_finalizing():
            self.discard()
            self.lose("the interpreter has ended")
        elif self._autocommit:
            try:
                self.commit()
            except BaseException as error:  # noqa: BLE001 - a finalizer calls this, and can't raise
                self.lose(f"it could not be stored: {shown(error)}")

    def lose(self, why: str) -> None:
        """Log and warn that a forgotten file is lost. Python shows this warning by default."""
        message = f"{self!r} was never closed, and {why}; what was written is lost"
        _log.error(message, exc_info=sys.exception())
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _dealloc_warn(self, layer: object) -> None:
        """Be forgotten: a layer of the package ``io`` above was never closed, and closes this when it has flushed."""
        self.forget()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")


def _spool_of(before: Iterable[bytes], *, at_end: bool) -> Any:
    """Return a file that holds the bytes in *before*, at its start or end."""
    spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed by commit and discard
    try:
        for chunk in before:
            spool.write(chunk)
        if not at_end:
            spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return spool


def _resize(spool: Any, length: int) -> None:
    """Cut a file, or lengthen it by zeros, which ``BytesIO`` does not do itself."""
    if length > _SPOOL_BYTES:
        spool.rollover()
    spool.truncate(length)
    if spool.seek(0, os.SEEK_END) < length:
        spool.seek(length - 1)
        spool.write(b"\0")


class TextWriter(io.TextIOWrapper):
    """A text layer over a writer, that makes it discard when the ``with`` block raises."""

    def __init__(self, buffer: Any, **options: Any) -> None:
        super().__init__(buffer, **options)
        buffer.above = weakref.ref(self)

    def __enter__(self) -> Self:
        """Return the file, which the end of the ``with`` block closes."""
        writer: Any = self.buffer
        writer.__enter__()
        return super().__enter__()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close, after an exception without a commit."""
        if kind is not None:
            writer: Any = self.buffer
            writer.doom()
        self.close()

    def detach(self) -> Any:
        """Detach the writer and return it."""
        writer: Any = super().detach()
        writer.above = None
        return writer


class CompressingWriter:
    """A compressing layer over a writer, that closes both.

    Args:
        layer: compresses, and writes into *writer*, but need not close it.
        writer: the file.

    Attributes:
        above: see :class:`Writer`.

    """

    above: weakref.ref[Any] | None = None

    def __init__(self, layer: Any, writer: Writer) -> None:
        self._layer = layer
        self._writer = writer
        writer.above = weakref.ref(self)
        _below[id(self)] = layer

    def __del__(self) -> None:
        """End a file that was never closed."""
        if self.closed:
            self.close()
            return
        try:
            self.forget()
        finally:
            self.close()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the compressing layer."""
        return getattr(self._layer, name)

    def __enter__(self) -> Self:
        """Return the file, which the end of the ``with`` block closes."""
        self._writer.__enter__()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close, after an exception without a commit."""
        if kind is not None:
            self.doom()
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._writer.closed

    def doom(self) -> None:
        """Make :meth:`close` discard what was written."""
        self._writer.doom()

    def forget(self) -> None:
        """Note that the file was never closed: see :meth:`Writer.forget`."""
        self._writer.forget()

    def _dealloc_warn(self, layer: object) -> None:
        """Be forgotten: a text layer above was never closed, and closes this when it has flushed."""
        self.forget()

    def close(self) -> None:
        """Write what is left, and commit. Closing twice is allowed."""
        if self._writer.closed:
            self._drop_layer()
            return
        if self._writer.is_forgotten:
            forgotten.end(self)
            return
        try:
            self._end_layer()
        finally:
            self._writer.close()

    def end(self) -> None:
        """Write what is left, and end the writer: see :meth:`Writer.end`."""
        if self._writer.closed:
            return
        try:
            self._end_layer()
        except BaseException as error:  # noqa: BLE001 - as in Writer.end
            self._writer.lose(f"it could not be compressed: {error}")
        finally:
            self._writer.end()

    def _drop_layer(self) -> None:
        """Close the layer over a writer that was discarded: its own finalizer would complain of what it can't write."""
        if _below.pop(id(self), None) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._layer.close()

    def _end_layer(self) -> None:
        _below.pop(id(self), None)
        try:
            self._layer.close()
        except BaseException:
            self._writer.doom()
            raise
