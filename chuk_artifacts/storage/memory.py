"""Storage in the memory of this process: one private fsspec memory filesystem a store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from chuk_artifacts.fork import Lockable
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import About, ObjectExistsError, ObjectMissingError, StoredObject


class MemoryStorage(Lockable):
    """Bytes in memory, gone with the process.

    Files are put into the filesystem's own ``store``, and looked up there: its verbs go through all keys to see whether
    one is there, show a file while it is being written, and hand the same file object to everybody.
    """

    provider = "memory"
    blocks = False
    parallel = 1
    distant = False
    guards = False
    claims = True

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self._fs = MemoryFileSystem(global_store=False, skip_instance_cache=True)
        self._files: dict[str, MemoryFile] = self._fs.store

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, of which a stream is collected first, and return its length and SHA-256."""
        if isinstance(data, Stream):
            self._write(key, b"".join(data), exclusive=exclusive)
            return data.size, data.sha256
        self._write(key, data, exclusive=exclusive)
        return len(data), hashlib.sha256(data).hexdigest()

    def _write(self, key: str, data: bytes, *, exclusive: bool) -> None:
        path = f"/{key}"
        file = MemoryFile(self._fs, path, data)
        with self._lock:
            if exclusive and path in self._files:
                raise ObjectExistsError(key)
            file.commit()

    def get(self, key: str) -> bytes:
        """Return all bytes."""
        try:
            data: bytes = self._files[f"/{key}"].getvalue()
        except KeyError:
            raise ObjectMissingError(key) from None
        return data

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a reader of its own."""
        reader = io.BytesIO(self.get(key))
        reader.seek(start)
        return reader

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing would tell of one key, or None."""
        file = self._files.get(f"/{key}")
        return None if file is None else _stored(key, file)

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
        """Let another key have the same bytes; their SHA-256 is not told."""
        self._write(target, self.get(source), exclusive=exclusive)
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*."""
        for key in keys:
            self._files.pop(f"/{key}", None)

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return None: nobody else can read here."""
        return None

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return None: nobody else can write here."""
        return None

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, in one pass."""
        for path, file in list(self._files.items()):
            key = path.removeprefix("/")
            if key.startswith(prefix):
                yield _stored(key, file)

    def sweep(self, prefix: str, before: float) -> Iterator[StoredObject]:
        """Remove nothing: a write leaves nothing unfinished."""
        return iter(())

    def check(self) -> None:
        """Do nothing: memory is there."""

    def create(self) -> None:
        """Do nothing: memory is there."""

    def close(self) -> None:
        """Give back nothing: nothing is held."""


def _stored(key: str, file: MemoryFile) -> StoredObject:
    return StoredObject(key=key, bytes=file.size, modified=file.modified.timestamp())
