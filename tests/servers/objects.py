"""An fsspec filesystem that is an object store: long uploads appear when they are closed, copies are done later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
from fsspec.registry import _registry, register_implementation
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

PROTOCOL = "objects"


@attrs.frozen
class Copy:
    """A copy that the service has only begun.

    Attributes:
        source: what is copied when it is done, if it is still there.
        looks: how often the service is asked about the target until then.

    """

    source: str
    looks: int


class ObjectStore(AbstractFileSystem):
    """Objects in memory, for all instances of a process.

    Attributes:
        store: the objects by path.
        pending: the copies by target.
        looks: how often one asks about the target of a copy until that is done; meanwhile it has no bytes.
        shown: whether a pending target is there meanwhile, empty.
        times: whether an object has a time of writing.
        calls: what was called, with the path that it changed.

    """

    protocol = PROTOCOL
    cachable = False
    store: ClassVar[dict[str, bytes]] = {}
    pending: ClassVar[dict[str, Copy]] = {}
    calls: ClassVar[list[tuple[str, str]]] = []
    looks = 0
    shown = True
    times = True

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Store an object, all at once."""
        path = self._strip_protocol(path)
        self.calls.append(("pipe_file", path))
        self.store[path] = bytes(value)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of an object, or a range of them."""
        return self._found(path)[start:end]

    def _found(self, path: str) -> bytes:
        try:
            return self.store[self._strip_protocol(path)]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _rm(self, path: str) -> None:
        self._found(path)
        del self.store[self._strip_protocol(path)]

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object, or only begin to."""
        data = self._found(path1)
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        self.calls.append(("cp_file", target))
        if not self.looks:
            self.store[target] = data
            return
        self.pending[target] = Copy(source, self.looks)
        if self.shown:
            self.store[target] = b""

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, length, type and time of an object or a folder."""
        path = self._strip_protocol(path)
        self._settle(path)
        if path in self.store:
            times = {"updated": datetime.now(UTC).isoformat()} if self.times else {}
            return {"name": path, "size": len(self.store[path]), "type": "file", **times}
        if any(name.startswith(f"{path}/") for name in self.store):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def _settle(self, path: str) -> None:
        """Count a look at a pending copy, and do it when its time has come."""
        copy = self.pending.pop(path, None)
        if copy is None:
            return
        if copy.looks > 1:
            self.pending[path] = attrs.evolve(copy, looks=copy.looks - 1)
        else:
            self.store[path] = self.store.get(copy.source, b"")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """Return the infos, or the names, of what is in a folder."""
        prefix = f"{self._strip_protocol(path)}/"
        names = {prefix + name[len(prefix) :].split("/")[0] for name in self.store if name.startswith(prefix)}
        if not names:
            raise FileNotFoundError(path)
        infos = [self.info(name) for name in sorted(names)]
        return infos if detail else [info["name"] for info in infos]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _File:
        self.calls.append(("open", path))
        return _File(self, path, mode)


class _File(AbstractBufferedFile):
    """A file whose parts become an object when it is closed, by its destructor too, as those of the clouds do."""

    def _initiate_upload(self) -> None:
        self._parts: list[bytes] = []

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002
        self._parts.append(self.buffer.getvalue())
        if final:
            self.fs.store[self.path] = b"".join(self._parts)
        return True


@contextlib.contextmanager
def known_as(protocol: str) -> Iterator[type[ObjectStore]]:
    """Be the driver of a protocol, with nothing stored, and give a class whose attributes may be set."""
    driver = type("Driver", (ObjectStore,), {"store": {}, "pending": {}, "calls": [], "protocol": protocol})
    register_implementation(protocol, driver, clobber=True)
    try:
        yield driver
    finally:
        _registry.pop(protocol)
