"""Storage in the memory of this process: one private fsspec memory filesystem a store."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from fsspec.implementations.memory import MemoryFileSystem

from chuk_artifacts.fork import Lockable
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import ObjectExistsError, StoredObject
from chuk_artifacts.storage.files import FileStorage


class MemoryStorage(Lockable, FileStorage):
    """Bytes in memory, gone with the process."""

    blocks = False
    parallel = 1

    def __init__(self) -> None:
        """Begin empty."""
        Lockable.__init__(self)
        FileStorage.__init__(self, MemoryFileSystem(global_store=False, skip_instance_cache=True), "memory")

    def _put_bytes(self, key: str, data: bytes, mode: str) -> None:
        """Write *data* under a lock, and look for the key ourselves: the filesystem would look through all keys."""
        with self._lock:
            if mode == "create" and self._holds(key):
                raise ObjectExistsError(key)
            super()._put_bytes(key, data, "overwrite")

    def _copy(self, source: str, target: str, mode: str) -> None:
        with self._lock:
            if mode == "create" and self._holds(target):
                raise ObjectExistsError(target)
            self._fs.cp_file(source, target)

    def _holds(self, key: str) -> bool:
        return f"/{key}" in self._fs.store

    def _put_stream(self, key: str, stream: Stream, *, exclusive: bool) -> None:
        """Collect the stream first: this filesystem shows a file while it is being written."""
        self._put_bytes(key, b"".join(stream), "create" if exclusive else "overwrite")

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a reader of its own: the filesystem hands the same file object to everybody."""
        reader = io.BytesIO(self.get(key))
        reader.seek(start)
        return reader

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, in one pass."""
        for info in self._fs.find(prefix.rstrip("/"), detail=True).values():
            yield StoredObject(key=info["name"].lstrip("/"), bytes=info["size"], modified=info["created"])

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing would tell of one key, or None."""
        file = self._fs.store.get(f"/{key}")
        return None if file is None else StoredObject(key=key, bytes=file.size, modified=file.created.timestamp())

    def check(self) -> None:
        """Do nothing: memory is there."""
