"""The data to store: bytes, or a stream that is read in chunks and hashed on the way."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Required, TypedDict

import attrs

from chuk_artifacts.arguments import check_count, check_path
from chuk_artifacts.errors import ConflictError, InvalidInputError, QuotaExceededError, shown, too_large

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_SIZE = 1024 * 1024


class Buffer(Protocol):
    """An object that exposes bytes in memory: ``bytes``, ``bytearray``, ``memoryview``, an array (PEP 688)."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the bytes."""
        ...


class Readable(Protocol):
    """A binary file object, or anything else that is read like one."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes; empty at the end."""
        ...


Data = Buffer | os.PathLike[str] | Readable | Iterable[bytes]
"""The data that can be stored. A str is not accepted: it has no bytes until it is encoded."""


class Described(TypedDict, total=False):
    """The arguments of ``ArtifactStore.store`` that an item of a batch may have in addition to its data."""

    mime: str | None
    summary: str
    meta: Mapping[str, object] | None
    filename: str | None
    session_id: str | None
    user_id: str | None
    ttl: float | None
    max_bytes: int | None
    keep_versions: int | None


class StoreItem(Described):
    """An item of ``ArtifactStore.store_batch``."""

    data: Required[Data]


_BUFFERED = (io.BufferedReader, io.BufferedRandom, io.BytesIO)


@attrs.define
class Stream:
    """A stream of bytes. Iterating reads it, and counts and hashes the chunks.

    The length is known only at the end: a file may grow or shrink while it is read. Exceptions of the underlying file
    or iterable pass unchanged.

    Attributes:
        begin: returns an iterator over the bytes, always from the start.
        rewindable: whether *begin* can be called again.
        measure: returns the expected length in bytes, or None. Call it before an iteration, not during one.
        max_bytes: the largest length in bytes; None: no limit.
        refuse: returns the error for a longer stream.
        size: the number of bytes that the last iteration has read so far.

    """

    begin: Callable[[], Iterator[bytes]]
    rewindable: bool
    measure: Callable[[], int | None] = lambda: None
    max_bytes: int | None = None
    refuse: Callable[[], QuotaExceededError] = lambda: too_large(0)
    size: int = 0
    _hash: Any = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes that the last iteration has read so far, in hexadecimal digits."""
        digest: str = self._hash.hexdigest()
        return digest

    def __iter__(self) -> Iterator[bytes]:
        """Read the stream from its start.

        Raises:
            ConflictError: it was read before and can't be rewound.
            InvalidInputError: it returned something other than bytes.
            QuotaExceededError: it has more than *max_bytes*.

        """
        if self._hash is not None and not self.rewindable:
            raise ConflictError("another change came first, and the data is a stream that can't be read twice")
        self.size, self._hash = 0, hashlib.sha256()
        for chunk in self.begin():
            self.size += len(chunk)
            if self.max_bytes is not None and self.size > self.max_bytes:
                raise self.refuse()
            self._hash.update(chunk)
            yield chunk


def source(data: Any, max_bytes: object = None) -> bytes | Stream:
    """Return *data* as bytes, or as a stream that reads it.

    Args:
        data: bytes-like, an ``os.PathLike``, a binary file object or an iterable of bytes; or the result of an
            earlier call.
        max_bytes: the largest length in bytes, at least 0; None: no limit.

    Returns:
        bytes, if they are in memory already; otherwise a stream that has not been read yet.

    Raises:
        InvalidInputError: *data* is of another type, a str, or a path without a readable file.
        QuotaExceededError: *data* is known to have more than *max_bytes*.

    """
    found = _bytes_or_stream(data)
    if max_bytes is None:
        return found
    limit = check_count("max_bytes", max_bytes, 0)
    cap(found, limit, lambda: too_large(limit))
    return found


def cap(data: bytes | Stream, most: int, refuse: Callable[[], QuotaExceededError]) -> None:
    """Raise the error that *refuse* returns if *data* is known to have more than *most* bytes.

    A stream raises it when it turns out to be longer, unless it has a lower limit already.
    """
    size = known_size(data)
    if size is not None and size > most:
        raise refuse()
    if isinstance(data, Stream) and (data.max_bytes is None or most < data.max_bytes):
        data.max_bytes, data.refuse = most, refuse


def known_size(data: bytes | Stream) -> int | None:
    """Return the length of *data* in bytes, or None if it is not known before it is read."""
    return data.measure() if isinstance(data, Stream) else len(data)


def _bytes_or_stream(data: Any) -> bytes | Stream:
    if type(data) is bytes or isinstance(data, Stream):  # a subclass of bytes may lie about its length
        return data
    if isinstance(data, str):
        raise InvalidInputError("data is a str: use write_file to store text, or a pathlib.Path to store a file")
    if isinstance(data, os.PathLike):
        return _from_path(data)
    if hasattr(data, "read"):
        return _from_file(data)
    try:
        return memoryview(data).tobytes()
    except TypeError:
        pass
    if isinstance(data, Iterable) and not isinstance(data, Mapping):
        return Stream(lambda: map(as_bytes, data), rewindable=not isinstance(data, Iterator))
    raise InvalidInputError(
        f"data must be bytes-like, a path, a binary file or an iterable of bytes, not {type(data).__name__}"
    )


def _from_path(data: os.PathLike[str]) -> Stream:
    from pathlib import Path  # noqa: PLC0415 - importing it takes longer than this whole package

    path = Path(check_path("data", data))
    try:
        problem = _problem(path)
    except OSError as error:  # for example, a name that is too long
        problem = f"can't be read: {error.strerror}"
    if problem:
        raise InvalidInputError(f"data: {shown(str(path))} {problem}")

    def begin() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from _pieces(file)

    def measure() -> int | None:
        with contextlib.suppress(OSError):  # reading the file raises it too
            return path.stat().st_size
        return None

    return Stream(begin, rewindable=True, measure=measure)


def _problem(path: Path) -> str:
    """Return why a file can't be read, or an empty str if it can."""
    if not path.is_file():
        return "is not a file" if path.exists() else "does not exist"
    return "" if os.access(path, os.R_OK) else "is not readable"


def check_readable(file: object) -> None:
    """Raise :class:`InvalidInputError` if *file*, or the file that it wraps, is closed or returns text.

    Starlette's ``UploadFile`` has its file in ``file``, and a file of anyio has it in ``wrapped``.
    """
    for one in (file, getattr(file, "file", None), getattr(file, "wrapped", None)):
        if isinstance(one, io.TextIOBase):
            raise InvalidInputError("data is a text file: open it in binary mode ('rb')")
        if getattr(one, "closed", False) is True:
            raise InvalidInputError("data is a closed file")


def _from_file(file: BinaryIO) -> Stream:
    check_readable(file)
    if inspect.iscoroutinefunction(file.read):
        raise InvalidInputError(
            "data must be awaited: store it with chuk_artifacts.aio, or hand over its blocking file"
        )
    start = position(file)

    def begin() -> Iterator[bytes]:
        if start is not None:
            file.seek(start)
        return _pieces(file)

    return Stream(begin, rewindable=start is not None, measure=lambda: _left_in(file, start))


def _left_in(file: BinaryIO, start: int | None) -> int | None:
    """Return the number of bytes after *start* in a seekable file, or None if counting them means reading them.

    The position of the file changes. Seeking to the end of a file of :mod:`gzip`, :mod:`bz2`, :mod:`lzma` or
    :mod:`zipfile` decompresses all of it; these are the buffered files that are not from :mod:`io`.
    """
    if start is None or (isinstance(file, io.BufferedIOBase) and not isinstance(file, _BUFFERED)):
        return None
    try:
        file.seek(0, io.SEEK_END)
        return file.tell() - start
    except (OSError, TypeError, ValueError):  # the length is optional
        return None


def position(file: Any) -> int | None:
    """Return the position of a seekable file; None for other files."""
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, OSError):
        return None


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_SIZE):
        yield as_bytes(chunk)


def as_bytes(chunk: Any) -> bytes:
    """Return a chunk of a stream as bytes; raise :class:`InvalidInputError` if it is not bytes-like."""
    if type(chunk) is bytes:
        return chunk
    if not isinstance(chunk, str):
        try:
            return memoryview(chunk).tobytes()
        except TypeError:
            pass
    raise InvalidInputError(f"data must give bytes, and gave {type(chunk).__name__}")
