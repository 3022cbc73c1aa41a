"""Storage in the memory of this process: one private fsspec memory filesystem a store."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from fsspec.implementations.memory import MemoryFileSystem

from chuk_artifacts.fork import Lockable
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import StoredObject
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
        """Write *data* under a lock: to create, the filesystem looks first and writes then."""
        with self._lock:
            super()._put_bytes(key, data, mode)

    def _put_stream(self, key: str, stream: Stream, *, exclusive: bool) -> None:
        """Collect the stream first: this filesystem shows a file while it is being written."""
        self._put_bytes(key, b"".join(stream), "create" if exclusive else "overwrite")

    def open(self, key: str) -> BinaryIO:
        """Return a reader of its own: the filesystem hands the same file object to everybody."""
        return io.BytesIO(self.get(key))

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all objects under *prefix*, in one pass."""
        for info in self._fs.find(prefix.rstrip("/"), detail=True).values():
            yield StoredObject(key=info["name"].lstrip("/"), bytes=info["size"], modified=info["created"])

    def check(self) -> None:
        """Do nothing: memory is there."""
