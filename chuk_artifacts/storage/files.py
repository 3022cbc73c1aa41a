"""Storage on an fsspec filesystem, mostly by fsspec's own methods."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict

from chuk_artifacts.errors import ErrorMap, ProviderError
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About, Description, ObjectExistsError, ObjectMissingError, StoredObject
from chuk_artifacts.storage.reader import buffered

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PARALLEL_FILES = 8
_PROBE_BYTES = 16 * 1024


class FileInfo(TypedDict):
    """The facts of a file or folder, by the names that fsspec gives them."""

    name: str
    type: str
    size: int
    mtime: float


class MappedReader(io.RawIOBase):
    """A file open for reading whose errors are those of the storage."""

    _file: Any = None  # an interrupt may come before it is set, and collecting closes what was half made

    def __init__(self, file: Any, errors: ErrorMap) -> None:
        self._errors = errors
        self._file = file

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be moved."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill *buffer*, and return how many bytes that were."""
        with self._errors:
            return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return where it stands."""
        with self._errors:
            if whence == io.SEEK_END:
                self._file.seek(0, io.SEEK_END)
                if offset == 0:
                    return int(self._file.tell())
            position = offset if whence == io.SEEK_SET else self._file.tell() + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        with self._errors:
            self._file.seek(position)
        return int(position)

    def tell(self) -> int:
        """Return where it stands."""
        with self._errors:
            return int(self._file.tell())

    def close(self) -> None:
        """Close the file."""
        if self.closed:
            return
        try:
            if self._file is not None:
                with self._errors:
                    self._file.close()
        finally:
            super().close()


class FileStorage:
    """Bytes as files of an fsspec filesystem whose paths are the keys.

    Args:
        fs: the filesystem. Its ``open(path, "wb")`` shows no file before ``commit()``, and has ``discard()``, which is
            harmless at any time. It, ``pipe_file`` and ``cp_file`` take a *description* to keep with the file, where
            the filesystem can. Beside fsspec's methods it has ``in_order(path)``: the infos of the finished files and
            of the folders in a folder, sorted by name; ``unfinished(path)``: those of the temporary files and of the
            folders; ``rm_files(paths)``; ``probe(data)``: write a file, remove it, and return when that was;
            ``description(path)``: what is kept with a file, or None. ``cp_file`` takes the *size* to expect.
        provider: the name that selected it.
        reader: what its files are read through.

    """

    blocks = True
    parallel = _PARALLEL_FILES
    remote = True
    conditional_put = False
    persistent = True

    def __init__(self, fs: Any, provider: str, reader: type[MappedReader] = MappedReader) -> None:
        self.provider = provider
        self._fs = fs
        self._reader = reader
        subject = f"storage {provider!r}"
        self._errors = ErrorMap((OSError,), ProviderError, subject)
        self._reading = ErrorMap((OSError,), ProviderError, subject, passing=(FileNotFoundError,))
        self._claiming = ErrorMap((OSError,), ProviderError, subject, passing=(FileExistsError,))

    @property
    def connected(self) -> bool:
        """Whether it holds connections or files now: it never does."""
        return False

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256."""
        if isinstance(data, Stream):
            self._put_stream(key, data, about, exclusive=exclusive)
            return data.size, data.sha256
        digest = hashlib.sha256(data).hexdigest()
        mode = "create" if exclusive else "overwrite"
        description = about and about(digest, len(data))
        self._commit(key, lambda: self._fs.pipe_file(key, data, mode, description=description), exclusive=exclusive)
        return len(data), digest

    def _put_stream(self, key: str, stream: Stream, about: About | None, *, exclusive: bool) -> None:
        with self._errors:
            file = self._fs.open(key, "xb" if exclusive else "wb")
        try:
            for chunk in stream:
                with self._errors:
                    file.write(chunk)
            description = about and about(stream.sha256, stream.size)
            self._commit(key, lambda: file.commit(description=description), exclusive=exclusive)
        finally:
            file.discard()

    def _commit(self, key: str, commit: Callable[[], None], *, exclusive: bool) -> None:
        """Let a file appear under its key; raise ``ObjectExistsError`` if the put is exclusive and the key is taken."""
        try:
            with self._claiming if exclusive else self._errors:
                commit()
        except FileExistsError:
            raise ObjectExistsError(key) from None

    def get(self, key: str) -> bytes:
        """Return all bytes."""
        try:
            with self._reading:
                data: bytes = self._fs.cat_file(key)
        except FileNotFoundError:
            raise ObjectMissingError(key) from None
        return data

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a seekable reader that fetches what is read."""
        try:
            with self._reading:
                file = self._fs.open(key, "rb")
                file.seek(start)
        except FileNotFoundError:
            raise ObjectMissingError(key) from None
        return buffered(self._reader(file, self._errors), start)

    def path(self, key: str) -> str | None:
        """Return None: these files are not known to be local."""
        return None

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing contains for one key, or None."""
        try:
            with self._reading:
                info = self._fs.info(key)
        except FileNotFoundError:
            return None
        return _stored(info) if info["type"] == "file" else None

    def description(self, key: str) -> Description | None:
        """Return what a file says of itself, or None."""
        try:
            with self._reading:
                found: Description | None = self._fs.description(key)
        except FileNotFoundError:
            return None
        return found

    def copy(
        self, source: str, target: str, size: int, *, hashed: bool = False, about: About | None = None
    ) -> str | None:
        """Copy bytes inside the filesystem; it returns no SHA-256."""
        try:
            with self._reading:
                self._fs.cp_file(source, target, size=size, description=about and about("", size))
        except FileNotFoundError:
            raise ObjectMissingError(source) from None
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*."""
        with self._errors:
            self._fs.rm_files(keys)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all finished objects under *prefix*, folder by folder, in each sorted by key."""
        folders = [prefix.rstrip("/")]
        while folders:
            for info in self._entries(folders.pop()):
                if info["type"] == "directory":
                    folders.append(info["name"])
                else:
                    yield _stored(info)

    def _entries(self, folder: str) -> Iterator[FileInfo]:
        with self._reading, contextlib.suppress(FileNotFoundError):  # removed since its parent was listed
            yield from self._fs.in_order(folder)

    def now(self) -> float:
        """Return the time of a file just written: the filesystem may be on another machine, with another clock."""
        with self._errors:
            modified: float = self._fs.probe(b"")
        return modified

    def sweep(self, prefix: str, before: float, *, dry_run: bool = False) -> Iterator[StoredObject]:
        """Remove temporary files last written before a moment, which a crash left, and yield each."""
        folders = [prefix.rstrip("/")]
        while folders:
            for info in self._unfinished(folders.pop()):
                if info["type"] == "directory":
                    folders.append(info["name"])
                elif info["mtime"] < before:
                    if not dry_run:
                        self.delete([info["name"]])
                    yield _stored(info)

    def _unfinished(self, folder: str) -> list[FileInfo]:
        entries: list[FileInfo] = []
        with self._reading, contextlib.suppress(FileNotFoundError):
            entries = self._fs.unfinished(folder)
        return entries

    def grantees(self, key: str) -> tuple[str, ...]:
        """Return an empty tuple: files have no ACL of their own."""
        return ()

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return None: nothing serves these files."""
        return None

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return None: nothing serves these files."""
        return None

    def check(self, *, thorough: bool = False) -> dict[str, str]:
        """Write a file, which is empty unless *thorough*, and remove it."""
        with self._errors:
            self._fs.probe(os.urandom(_PROBE_BYTES) if thorough else b"")
        return {}

    def create(self) -> str:
        """Create nothing: the first write creates what it needs."""
        return "nothing to create: the first write makes its folders"

    def close(self) -> None:
        """Give back nothing: nothing is held."""


def _stored(info: FileInfo) -> StoredObject:
    return StoredObject(key=info["name"], bytes=info["size"], modified=info["mtime"])
