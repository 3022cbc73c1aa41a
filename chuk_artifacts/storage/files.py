"""Storage on an fsspec filesystem, by little but fsspec's own verbs."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from chuk_artifacts.errors import ErrorMap, ProviderError
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About, ObjectExistsError, ObjectMissingError, StoredObject

_PARALLEL_FILES = 8


class _MappedReader(io.RawIOBase):
    """A file open for reading whose errors are those of the storage."""

    def __init__(self, file: Any, errors: ErrorMap) -> None:
        self._file = file
        self._errors = errors

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._errors:
            return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._errors:
            if whence == io.SEEK_END:
                self._file.seek(0, io.SEEK_END)
            position = offset if whence == io.SEEK_SET else self._file.tell() + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        with self._errors:
            self._file.seek(position)
        return int(position)

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


class FileStorage:
    """Bytes as files of an fsspec filesystem whose paths are the keys.

    Args:
        fs: the filesystem. Its ``open(path, "wb", autocommit=False)`` must not show a file before ``commit()``. Beside
            fsspec's verbs it has ``unfinished(path)``: the infos of the temporary files and folders in a folder.
        provider: the name by which a user chose it.

    """

    blocks = True
    parallel = _PARALLEL_FILES
    distant = True
    guards = False
    claims = True

    def __init__(self, fs: Any, provider: str) -> None:
        """See the class."""
        self.provider = provider
        self._fs = fs
        subject = f"storage {provider!r}"
        self._reading = ErrorMap((OSError,), ProviderError, subject, passing=(FileNotFoundError,))
        self._writing = ErrorMap((OSError,), ProviderError, subject, passing=(FileExistsError,))
        self._copying = ErrorMap((OSError,), ProviderError, subject, passing=(FileNotFoundError, FileExistsError))

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256."""
        if isinstance(data, Stream):
            self._put_stream(key, data, exclusive=exclusive)
            return data.size, data.sha256
        digest = hashlib.sha256(data).hexdigest()
        self._put_bytes(key, data, "create" if exclusive else "overwrite")
        return len(data), digest

    def _put_bytes(self, key: str, data: bytes, mode: str) -> None:
        try:
            with self._writing:
                self._fs.pipe_file(key, data, mode)
        except FileExistsError:
            raise ObjectExistsError(key) from None

    def _put_stream(self, key: str, stream: Stream, *, exclusive: bool) -> None:
        with self._writing:
            file = self._fs.open(key, "xb" if exclusive else "wb", autocommit=False)
        try:
            for chunk in stream:
                with self._writing:
                    file.write(chunk)
            self._commit(key, file)
        except BaseException:
            with contextlib.suppress(OSError):
                file.discard()
            raise

    def _commit(self, key: str, file: Any) -> None:
        try:
            with self._writing:
                file.commit()
                file.close()
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
                reader = _MappedReader(self._fs.open(key, "rb"), self._reading)
                reader.seek(start)
        except FileNotFoundError:
            raise ObjectMissingError(key) from None
        return io.BufferedReader(reader)

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing would tell of one key, or None."""
        try:
            with self._reading:
                info = self._fs.info(key)
        except FileNotFoundError:
            return None
        return _stored(info) if info["type"] == "file" else None

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        exclusive: bool = False,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy bytes inside the filesystem; it tells no SHA-256."""
        try:
            with self._copying:
                self._copy(source, target, "create" if exclusive else "overwrite")
        except FileNotFoundError:
            raise ObjectMissingError(source) from None
        except FileExistsError:
            raise ObjectExistsError(target) from None
        return None

    def _copy(self, source: str, target: str, mode: str) -> None:
        self._fs.cp_file(source, target, mode=mode)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*."""
        for key in keys:
            with self._reading, contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(key)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all finished objects under *prefix*, folder by folder."""
        folders = [prefix.rstrip("/")]
        while folders:
            for info in self._entries(folders.pop()):
                if info["type"] == "directory":
                    folders.append(info["name"])
                else:
                    yield _stored(info)

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        try:
            with self._reading:
                entries: list[dict[str, Any]] = self._fs.ls(folder, detail=True)
        except FileNotFoundError:  # removed since its parent was listed, or never there
            return []
        return entries

    def sweep(self, prefix: str, before: float) -> Iterator[StoredObject]:
        """Remove temporary files last written before a moment, which a crash left, and tell of each."""
        folders = [prefix.rstrip("/")]
        while folders:
            for info in self._unfinished(folders.pop()):
                if info["type"] == "directory":
                    folders.append(info["name"])
                elif info["mtime"] < before:
                    self.delete([info["name"]])
                    yield StoredObject(key=info["name"], bytes=info["size"], modified=info["mtime"])

    def _unfinished(self, folder: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        with self._reading, contextlib.suppress(FileNotFoundError):
            entries = self._fs.unfinished(folder)
        return entries

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return None: nothing serves these files."""
        return None

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return None: nothing serves these files."""
        return None

    def check(self) -> None:
        """Begin a write and discard it."""
        with self._writing:
            self._fs.open("check", "xb", autocommit=False).discard()

    def create(self) -> None:
        """Do nothing: the first write makes what it needs."""

    def close(self) -> None:
        """Give back nothing: nothing is held."""


def _stored(info: dict[str, Any]) -> StoredObject:
    return StoredObject(key=info["name"], bytes=info["size"], modified=info["mtime"])
