"""``Reader``: a file of ``artifact://`` that is open to read."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, BinaryIO

from fsspec.caching import BaseCache

from chuk_artifacts.arguments import check_count
from chuk_artifacts.errors import shown
from chuk_artifacts.filesystem.infos import file_info
from chuk_artifacts.models import ArtifactMetadata

_BLOCK = 5 * 1024 * 1024  # as fsspec's buffered files


class Reader(io.BufferedIOBase):
    """A file open for reading, with the attributes of fsspec's buffered files that its caches and its users need.

    Reads go to *file*, or through a cache that was set as :attr:`cache`.

    Args:
        fs: its filesystem.
        path: its path.
        found: the artifacts that the path leads to, the newest first.
        file: the open file that reads the bytes.
        block_size: the size of a block, for a cache that is set; None: 5 MiB.
        revision: the revision that is read, if it was chosen.

    Attributes:
        fs: the same.
        path: the same.
        size: its length in bytes.
        blocksize: the size of a block in bytes.

    """

    mode = "rb"
    _source: BinaryIO = io.BytesIO()
    _file: BinaryIO = _source  # an interrupt may come before it is set, and collecting closes what was half made

    def __init__(
        self,
        fs: Any,
        path: str,
        found: Sequence[ArtifactMetadata],
        file: BinaryIO,
        *,
        block_size: object = None,
        revision: int | None = None,
    ) -> None:
        super().__init__()
        self.fs = fs
        self.path: str = path
        self.size: int = found[0].bytes
        self.blocksize: int = _block_size(block_size)
        self._found = found
        self._revision = revision
        self._cache: Any = None
        self._source = self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as path, position and revision; the other process opens the path again."""
        return _reopened, (self.fs, self.path, self.tell(), self._revision)

    def __repr__(self) -> str:
        """Return a text that names the path."""
        return f"<Reader of {shown(self.path)}>"

    @property
    def full_name(self) -> str:
        """The URL."""
        url: str = self.fs.unstrip_protocol(self.path)
        return url

    @property
    def cache(self) -> Any:
        """The fsspec cache through which the file is read; the default one keeps nothing."""
        if self._cache is None:
            self._cache = BaseCache(self.blocksize, self._fetch_range, self.size)
        return self._cache

    @cache.setter
    def cache(self, cache: Any) -> None:
        position = self.tell()
        self._cache = cache
        self._file = io.BufferedReader(_Cached(cache, self.size))
        self._file.seek(position)

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* up to *end*, for a cache; the position stays."""
        position = self._source.tell()
        self._source.seek(start)
        data = self._source.read(max(min(end, self.size) - start, 0))
        self._source.seek(position)
        return data

    @property
    def loc(self) -> int:
        """The position."""
        return self.tell()

    @loc.setter
    def loc(self, position: int) -> None:
        self.seek(position)

    @cached_property
    def details(self) -> dict[str, Any]:
        """The filesystem's info of the file."""
        return file_info(self.path, self._found)

    def info(self) -> dict[str, Any]:
        """Return the filesystem's info of the file."""
        return self.details

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most *size* bytes; None or a negative number: all that are left."""
        return self._file.read(self._within(size))

    def read1(self, size: int = -1, /) -> bytes:
        """Read as :meth:`read` does."""
        return self._file.read(self._within(size))

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer, and return the number of bytes."""
        file: Any = self._file  # BinaryIO does not promise it
        return int(file.readinto(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or at most *size* bytes of it."""
        return self._file.readline(self._within(size))

    def _within(self, size: int | None) -> int:
        """Return *size*, at most the length of the file: a read may allocate that much memory first."""
        return -1 if size is None else min(size, self.size)

    def __next__(self) -> bytes:
        """Return the next line."""
        return next(self._file)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    @property
    def closed(self) -> bool:
        """Whether it is closed; a cache of fsspec sets it to True."""
        return super().closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        if closed:
            Reader.close(self)  # not a function that a cache has put in its place

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        if not self.closed:
            self._file.close()
            self._source.close()
            super().close()


class _Cached(io.RawIOBase):
    """A file whose bytes a cache of fsspec fetches."""

    def __init__(self, cache: Any, size: int) -> None:
        self._cache = cache
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._fetched(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._fetched(self._size)

    def _fetched(self, length: int) -> bytes:
        end = min(self._position + length, self._size)
        if end <= self._position:
            return b""
        data = bytes(self._cache._fetch(self._position, end))  # noqa: SLF001 - as fsspec's own files do
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if begin + offset < 0:
            raise ValueError(f"negative seek position {begin + offset}")
        self._position = begin + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _block_size(value: object) -> int:
    return _BLOCK if value is None or value == "default" else check_count("block_size", value, 1)


def _reopened(fs: Any, path: str, position: int, revision: int | None) -> Any:
    file = fs.open(path, "rb", revision=revision)
    file.seek(position)
    return file
