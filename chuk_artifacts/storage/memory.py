"""Storage in the memory of this process: one private fsspec memory filesystem a store."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from chuk_artifacts.source import Stream
from chuk_artifacts.storage import (
    About,
    Description,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    StoredObject,
)


class MemoryStorage:
    """Bytes in memory, gone with the process.

    Files are put into the filesystem's own ``store``, and looked up there: its methods go through all keys to see
    whether one is there, show a file while it is being written, and hand the same file object to all callers. Each
    change is one call of a ``dict``, so that no lock is needed, and an interrupt comes before it or after it.
    """

    provider = "memory"
    blocks = False
    parallel = 1
    remote = False
    conditional_put = False
    persistent = False
    connected = False

    def __init__(self) -> None:
        """Begin empty."""
        self._files: dict[str, MemoryFile] = MemoryFileSystem(global_store=False, skip_instance_cache=True).store

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Store *data* and return its length and SHA-256; a stream is collected first."""
        if isinstance(data, Stream):
            self._write(key, b"".join(data), exclusive=exclusive)
            return data.size, data.sha256
        self._write(key, data, exclusive=exclusive)
        return len(data), hashlib.sha256(data).hexdigest()

    def _write(self, key: str, data: bytes, *, exclusive: bool) -> None:
        path = f"/{key}"
        file = MemoryFile(None, path, data)  # without its filesystem: that would be a cycle, freed late
        if not exclusive:
            self._files[path] = file
        elif self._files.setdefault(path, file) is not file:
            raise ObjectExistsError(key)

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

    def path(self, key: str) -> str | None:
        """Return None: these bytes are in no file."""
        return None

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing contains for one key, or None."""
        file = self._files.get(f"/{key}")
        return None if file is None else _stored(key, file)

    def copy(
        self, source: str, target: str, size: int, *, hashed: bool = False, about: About | None = None
    ) -> str | None:
        """Let another key have the same bytes; it returns no SHA-256."""
        data = self.get(source)
        if len(data) != size:
            raise ObjectChangedError(source, len(data), size)
        self._write(target, data, exclusive=False)
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*."""
        for key in keys:
            self._files.pop(f"/{key}", None)

    def description(self, key: str) -> Description | None:
        """Return None: bytes in memory end with their catalog."""
        return None

    def grantees(self, key: str) -> tuple[str, ...]:
        """Return an empty tuple: memory has no ACLs."""
        return ()

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return None: no other process can read here."""
        return None

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return None: no other process can write here."""
        return None

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, in one pass, sorted by key."""
        for path, file in sorted(self._files.copy().items()):
            key = path.removeprefix("/")
            if key.startswith(prefix):
                yield _stored(key, file)

    def now(self) -> float:
        """Return the present of this process."""
        return time.time()

    def sweep(self, prefix: str, before: float, *, dry_run: bool = False) -> Iterator[StoredObject]:
        """Remove nothing: a write leaves nothing unfinished."""
        return iter(())

    def check(self, *, thorough: bool = False) -> dict[str, str]:
        """Return no facts: memory is there."""
        return {}

    def create(self) -> str:
        """Create nothing: memory needs no setup."""
        return "nothing to create in memory"

    def close(self) -> None:
        """Release all bytes."""
        self._files.clear()


def _stored(key: str, file: MemoryFile) -> StoredObject:
    return StoredObject(key=key, bytes=file.size, modified=file.modified.timestamp())
