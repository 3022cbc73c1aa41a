"""An fsspec filesystem that is asynchronous within, as those of the clouds are: an object store in memory."""

from __future__ import annotations

import asyncio
import io
import itertools
import threading
from datetime import UTC, datetime
from typing import Any, ClassVar

import fsspec
from fsspec.asyn import AsyncFileSystem

PROTOCOL = "asynchronous"


class AsynchronousFileSystem(AsyncFileSystem):
    """Objects in memory, for all instances of a process; each call goes once around fsspec's event loop."""

    protocol = PROTOCOL
    root_marker = "/"
    store: ClassVar[dict[str, tuple[bytes, datetime]]] = {}
    made = itertools.count()
    threads: ClassVar[set[int]] = set()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        next(self.made)

    async def _turn(self) -> None:
        self.threads.add(threading.get_ident())
        await asyncio.sleep(0)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        await self._turn()
        self.store[self._strip_protocol(path)] = bytes(value), datetime.now(UTC)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        await self._turn()
        try:
            return self.store[self._strip_protocol(path)][0][start:end]
        except KeyError:
            raise FileNotFoundError(path) from None

    async def _rm_file(self, path: str, **_: Any) -> None:
        await self._turn()
        if self.store.pop(self._strip_protocol(path), None) is None:
            raise FileNotFoundError(path)

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        await self._pipe_file(path2, await self._cat_file(path1))

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        await self._turn()
        path = self._strip_protocol(path)
        if path in self.store:
            data, modified = self.store[path]
            return {"name": path, "size": len(data), "type": "file", "updated": modified.isoformat()}
        if any(name.startswith(f"{path}/") for name in self.store):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        await self._turn()
        prefix = f"{self._strip_protocol(path)}/"
        names = {prefix + name[len(prefix) :].split("/")[0] for name in self.store if name.startswith(prefix)}
        if not names:
            raise FileNotFoundError(path)
        infos = [await self._info(name) for name in sorted(names)]
        return infos if detail else [info["name"] for info in infos]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode == "rb":
            return io.BytesIO(self.cat_file(path))
        return _Upload(self, path)


class _Upload(io.BytesIO):
    def __init__(self, fs: AsynchronousFileSystem, path: str) -> None:
        super().__init__()
        self._fs, self._path = fs, path

    def close(self) -> None:
        if not self.closed:
            self._fs.pipe_file(self._path, self.getvalue())
        super().close()


fsspec.register_implementation(PROTOCOL, AsynchronousFileSystem)
