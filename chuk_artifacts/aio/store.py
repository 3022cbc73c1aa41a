"""``ArtifactStore``, awaited: it contains a blocking store, and calls that store's methods in threads."""

# The methods below have only a signature and a docstring, for editors and type checkers; their decorators do the work.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import itertools
import os
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, cast, overload

from chuk_artifacts.aio.options import AsyncData, AsyncStoreItem, Options
from chuk_artifacts.aio.streams import Reader, steps
from chuk_artifacts.aio.uploads import Upload, is_async
from chuk_artifacts.aio.workers import Calls, Workers, running_loop
from chuk_artifacts.arguments import MAX_AT_ONCE, OCTET_STREAM, check_count, check_items, check_timeout
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.grid import GridKey
from chuk_artifacts.listings import Listing
from chuk_artifacts.models import (
    ORPHAN_GRACE_SECONDS,
    ArtifactMetadata,
    ArtifactVersion,
    CleanupReport,
    ReindexReport,
    SessionInfo,
    Usage,
)
from chuk_artifacts.operations import changing, writing
from chuk_artifacts.operations.exporting import Writable
from chuk_artifacts.operations.quota import longest
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.previews import Preview
from chuk_artifacts.source import CHUNK_SIZE, Readable, source
from chuk_artifacts.store import ArtifactStore as Blocking

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fsspec.callbacks import Callback


F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Callable[..., Any])
R = TypeVar("R")
Check = Callable[[Scope, Mapping[str, object]], None]

_BRIEF_BYTES = 64 * 1024
_HARMLESS = frozenset({bool, int, float, dict, type(None)})
_BRIEF_ITEMS = 20  # of a listing in memory: these too take about as long as switching threads
_CALLS_A_TURN = 64
_PORTION = 100
_EXAMPLE = "Example:"
_inline_calls = itertools.count(1)


def _is_brief(values: tuple[object, ...], contents: Catalog | None) -> bool:
    """Return whether a call of a store in memory may run on the event loop's thread.

    It may if it handles less than 64 KiB: hashing these takes about as long as switching threads. The size is that of
    the bytes and strings among the arguments; for a method that reads an artifact it includes the artifact's. Other
    types may be a path, a file or an iterable, which can block.
    """
    payload = 0
    for value in values:
        if type(value) is str:
            payload += len(value) if value.isascii() else 4 * len(value)
            if contents is not None and (record := contents.get((value,))[0]) is not None:
                payload += max(record.all_bytes.values()) if record.superseded else record.bytes
        elif isinstance(value, (bytes, bytearray)):
            payload += len(value)
        elif type(value) not in _HARMLESS:
            return False
    return payload < _BRIEF_BYTES


def _like(declared: Callable[..., Any]) -> Callable[[G], G]:
    """Return a decorator that makes a method look like the blocking one, with the example of the declared one."""
    blocking = getattr(Blocking, declared.__name__)

    def decorate(method: G) -> G:
        wraps(blocking)(method)  # it changes the method itself
        if method.__doc__ and declared.__doc__:  # python -OO has none
            method.__doc__ = method.__doc__.partition(_EXAMPLE)[0] + "".join(declared.__doc__.partition(_EXAMPLE)[1:])
        return method

    return decorate


def _hop(declared: F) -> F:
    """Make a method that calls the blocking method of the same name in a thread."""
    name = declared.__name__

    @_like(declared)
    async def method(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        return await self._calls.run(getattr(self._blocking, name), *args, **kwargs)

    return cast("F", method)


def _brief(declared: F) -> F:
    """Make a method like :func:`_hop`'s that runs on the event loop's thread where :func:`_is_brief` allows it."""
    return _inline_or_hop(declared)


def _brief_read(declared: F) -> F:
    """Make a method like :func:`_brief`'s that returns the content of an artifact, which counts as handled."""
    return _inline_or_hop(declared, reads=True)


def _brief_list(declared: F) -> F:
    """Make a method like :func:`_brief`'s that lists artifacts: only if its limit is low."""
    return _inline_or_hop(declared, lists=True)


def _upload(check: Check) -> Callable[[F], F]:
    """Make a method like :func:`_brief`'s whose data may be something that only an event loop can read.

    Such data is read to its end, or to its limit, before the blocking method is called.

    Args:
        check: raises where the method would refuse its other arguments. It gets the scope, and all arguments by name.

    """
    return partial(_inline_or_hop, check=check)


def _inline_or_hop(declared: F, *, reads: bool = False, lists: bool = False, check: Check | None = None) -> F:
    name = declared.__name__
    bind = signature(getattr(Blocking, name)).bind
    place = [*signature(declared).parameters].index("limit") - 1 if lists else 0

    def is_short(args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
        limit = kwargs.get("limit", args[place] if len(args) > place else None)
        return type(limit) is int and limit <= _BRIEF_ITEMS

    @_like(declared)
    async def method(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        blocking = getattr(self._blocking, name)
        if check is not None and is_async(kwargs["data"] if "data" in kwargs else args[0] if args else None):
            return await collected(self, check, blocking, bind(self, *args, **kwargs).arguments)
        values = (*args, *kwargs.values()) if kwargs else args
        brief = self._runs_inline and (not lists or is_short(args, kwargs))
        if brief and _is_brief(values, self._catalog if reads else None):
            running_loop()
            if next(_inline_calls) % _CALLS_A_TURN == 0:  # let the loop run other tasks
                await sleep(0)
            return blocking(*args, **kwargs)
        return await self._calls.run(blocking, *args, **kwargs)

    async def collected(self: ArtifactStore, check: Check, blocking: Callable[..., Any], given: dict[str, Any]) -> Any:
        del given["self"]
        self._blocking.scope.check_open()
        check(self._blocking.scope, given)
        async with Upload(self._calls) as upload:
            given["data"] = await upload.collect(
                given["data"], longest(self._blocking.scope.core, given.get("max_bytes"))
            )
            return await upload.run(blocking, **given)

    return cast("F", method)


def _batch(declared: F) -> F:
    """Make a method like :func:`_hop`'s with items whose data may be something that only an event loop can read."""
    name = declared.__name__
    bind = signature(getattr(Blocking, name)).bind

    @_like(declared)
    async def method(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        blocking = getattr(self._blocking, name)
        given = bind(self, *args, **kwargs).arguments
        del given["self"]
        items = given["items"]
        if not isinstance(items, (list, tuple)):  # to iterate over anything else may block
            items = given["items"] = await self._calls.run(check_items, "items", items)
        if not any(map(_has_async_data, items)):
            return await self._calls.run(blocking, **given)
        self._blocking.scope.check_open()
        writing.check_batch(self._blocking.scope, **given)
        core = self._blocking.scope.core
        async with Upload(self._calls) as upload:
            given["items"] = [
                {**item, "data": await upload.collect(item["data"], longest(core, item.get("max_bytes")))}
                for item in items
            ]
            return await upload.run(blocking, **given)

    return cast("F", method)


def _has_async_data(item: object) -> bool:
    return isinstance(item, Mapping) and is_async(item.get("data"))


def _check_update(scope: Scope, given: Mapping[str, Any]) -> None:
    source(b"", given.get("max_bytes"))
    others = {name: given[name] for name in given if name not in {"artifact_id", "data", "max_bytes"}}
    changing.Change.of(scope.core, **others)


def _walk(declared: F) -> F:
    """Make an async generator over the items of the blocking method, which fetches one item per thread call."""
    return _steps(declared, page=None)


def _pages(declared: F) -> F:
    """Make an async generator over the items of the blocking method, which fetches one page per thread call."""
    return _steps(declared, page="page_size")


def _portions(declared: F) -> F:
    """Make an async generator over the items of the blocking method, which fetches some items per thread call."""
    return _steps(declared, page=None, default=_PORTION)


def _steps(declared: F, *, page: str | None, default: int = 1) -> F:
    name = declared.__name__
    blocking = getattr(Blocking, name)
    if page is not None:
        default = signature(blocking).parameters[page].default

    @_like(declared)
    def method(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        count: Any = default if page is None else kwargs.get(page, default)
        return steps(self._calls, partial(getattr(self._blocking, name), *args, **kwargs), count)

    return cast("F", method)


def _reader(declared: F) -> F:
    """Make a method that returns an async reader of the file that the blocking method opens."""
    name = declared.__name__

    @_like(declared)
    def method(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        return Reader(self._calls, partial(getattr(self._blocking, name), *args, **kwargs))

    return cast("F", method)


def _plain(declared: F) -> F:
    """Make a plain function that calls the blocking method directly, because that does no I/O."""
    name = declared.__name__

    @_like(declared)
    def function(self: ArtifactStore, /, *args: object, **kwargs: object) -> Any:
        return getattr(self._blocking, name)(*args, **kwargs)

    return cast("F", function)


class ArtifactStore:
    """A store of files that belong to sessions, for async programs: :class:`chuk_artifacts.ArtifactStore`, awaited.

    It contains a blocking store and calls its methods in threads of its own; methods, arguments and errors are the
    same. It works on any event loop, and on several loops in several threads at once.

    - ``stream``, ``archive`` and ``iter_session`` are async iterators; ``open`` is for ``async with``, see
      :class:`Reader`.
    - ``store``, ``update_file`` and the items of ``store_batch`` also take an async iterable of bytes, such as the
      body of a request. The calling task reads it.
    - ``session``, ``wrap`` and methods that only compute keys are plain calls: they do no I/O.
    - Cancelling a task stops its wait, not the call, which completes in its thread. A call that still needs data from
      the cancelled task fails and stores nothing.
    - In memory, a call that handles less than 64 KiB runs on the event loop's thread.

    Args:
        max_workers: the maximum number of threads for calls, and again for uploads from async iterables; None:
            ``max_connections``.
        options: the arguments of the blocking store.

    Raises:
        InvalidInputError: *max_workers* is not an int above 0, or see the blocking store.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with ArtifactStore() as store:
        ...         artifact_id = await store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
        ...         return [chunk async for chunk in store.stream(artifact_id)]
        >>> asyncio.run(main())
        [b'Hello, world!']

    """

    _blocking: Blocking
    _catalog: Catalog
    _runs_inline: bool
    _calls: Calls
    _owns_store: bool

    def __init__(self, *, max_workers: int | None = None, **options: Unpack[Options]) -> None:
        """Build the blocking store, without starting threads."""
        if max_workers is not None:
            check_count("max_workers", max_workers, 1, MAX_AT_ONCE)
        store = Blocking(**options)
        self.__dict__.update(_parts(store, _workers(store, max_workers), owns_store=True))

    @classmethod
    def wrap(cls, store: Blocking, *, max_workers: int | None = None) -> Self:
        """Return an async view of a blocking store, bound to the same session if any; closing the view closes both.

        Args:
            store: the blocking store.
            max_workers: see the class.

        Returns:
            the view.

        Raises:
            InvalidInputError: *max_workers* is not an int above 0.

        Example:
            >>> import chuk_artifacts
            >>> store = ArtifactStore.wrap(chuk_artifacts.ArtifactStore())
            >>> await store.retrieve(await store.store(b"Hello, world!"))
            b'Hello, world!'

        """
        view = cls.__new__(cls)
        view.__dict__.update(_parts(store, _workers(store, max_workers), owns_store=True))
        return view

    async def __aenter__(self) -> Self:
        """Return this store; the end of the ``async with`` block closes it."""
        running_loop()
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the store."""
        await self.close()

    def __repr__(self) -> str:
        """Return the providers, the sandbox and the session."""
        return f"<aio.{repr(self._blocking).removeprefix('<')}"

    def _repr_html_(self) -> str:
        """Return a table of what the repr says, for notebooks; nothing is read."""
        return self._blocking._repr_html_()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the blocking store; the unpickled store starts its own threads."""
        return partial(type(self).wrap, max_workers=self._calls.workers.count), (self._blocking,)

    @property
    def sandbox_id(self) -> str:
        """The namespace of the store.

        Example:
            >>> ArtifactStore(sandbox_id="demo").sandbox_id
            'demo'

        """
        return self._blocking.sandbox_id

    @property
    def storage_provider(self) -> str:
        """Where the bytes are: the name of the provider, or the protocol of its URL.

        Example:
            >>> ArtifactStore().storage_provider
            'memory'

        """
        return self._blocking.storage_provider

    @property
    def session_provider(self) -> str:
        """Where the records are: the name of the provider.

        Example:
            >>> ArtifactStore().session_provider
            'memory'

        """
        return self._blocking.session_provider

    @property
    def bucket(self) -> str | None:
        """The name of the bucket, or None where the bytes are in no bucket of S3 or IBM COS.

        Example:
            >>> ArtifactStore().bucket is None
            True

        """
        return self._blocking.bucket

    # Store

    @_upload(writing.check)
    async def store(
        self,
        data: AsyncData,
        *,
        mime: str | None = None,
        summary: str = "",
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl: float | None = None,
        exclusive: bool = False,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> str:
        """Store data as a new artifact.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"Hello, world!", filename="hello.txt", session_id="user_alice")
            >>> (await store.metadata(artifact_id)).mime
            'text/plain'

        """
        ...

    @_brief
    async def write_file(
        self,
        content: str | bytes,
        *,
        filename: str,
        mime: str | None = None,
        summary: str = "",
        session_id: str | None = None,
        user_id: str | None = None,
        meta: Mapping[str, object] | None = None,
        encoding: str = "utf-8",
        ttl: float | None = None,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> str:
        """Store text, or bytes, under a filename.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.write_file("All well", filename="reports/q3.md", session_id="user_alice")
            >>> (await store.metadata(artifact_id)).bytes
            8

        """
        ...

    @_batch
    async def store_batch(
        self, items: Iterable[AsyncStoreItem], session_id: str | None = None, ttl: float | None = None
    ) -> list[str]:
        """Store several artifacts: all, or none when one fails.

        Example:
            >>> store = ArtifactStore()
            >>> items = [{"data": b"one", "filename": "1.txt"}, {"data": b"two", "filename": "2.txt"}]
            >>> ids = await store.store_batch(items, session_id="user_alice")
            >>> await store.retrieve_batch(ids)
            [b'one', b'two']

        """
        ...

    # Read

    @_brief_read
    async def retrieve(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> bytes:
        """Return the bytes of an artifact, verified against its record.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"Hello, world!")
            >>> await store.retrieve(artifact_id)
            b'Hello, world!'

        """
        ...

    @overload
    async def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: Literal[True] = True,
        revision: int | None = None,
    ) -> str: ...

    @overload
    async def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: Literal[False],
        revision: int | None = None,
    ) -> bytes: ...

    @overload
    async def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: bool = True,
        revision: int | None = None,
    ) -> str | bytes: ...

    @_brief_read
    async def read_file(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        encoding: str = "utf-8",
        as_text: bool = True,
        revision: int | None = None,
    ) -> str | bytes:
        """Return an artifact as text, or as bytes.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.write_file("Hello", filename="note.txt")
            >>> await store.read_file(artifact_id)
            'Hello'
            >>> await store.read_file(artifact_id, as_text=False)
            b'Hello'

        """
        ...

    @_reader
    def open(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> Reader:
        """Return a seekable binary reader that fetches only what is read.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"Hello, world!")
            >>> async with store.open(artifact_id) as file:
            ...     _ = await file.seek(7)
            ...     await file.read(5)
            b'world'

        """
        ...

    @_walk
    def stream(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        start: int = 0,
        end: int | None = None,
        chunk_size: int = CHUNK_SIZE,
        revision: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over the bytes of an artifact, or of a range of it, in chunks.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"Hello, world!")
            >>> [chunk async for chunk in store.stream(artifact_id, start=7, chunk_size=3)]
            [b'wor', b'ld!']

        """
        ...

    @_hop
    async def download(
        self,
        artifact_id: str | ArtifactMetadata,
        path: str | os.PathLike[str],
        *,
        callback: Callback | None = None,
        overwrite: bool = False,
        revision: int | None = None,
    ) -> Path:
        """Write an artifact to a local file, verified and atomically.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"Hello, world!", filename="docs/hello.txt")
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = await store.download(artifact_id, folder)
            ...     path.name, path.read_bytes()
            ('hello.txt', b'Hello, world!')

        """
        ...

    @_hop
    async def retrieve_batch(
        self, artifact_ids: Iterable[str | ArtifactMetadata | tuple[str, int | None]]
    ) -> list[bytes]:
        """Return the bytes of several artifacts, verified.

        Example:
            >>> store = ArtifactStore()
            >>> ids = [await store.store(b"one"), await store.store(b"two")]
            >>> await store.retrieve_batch(ids)
            [b'one', b'two']

        """
        ...

    @_brief
    async def exists(self, artifact_id: str) -> bool:
        """Return whether an artifact exists and has not expired.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...")
            >>> await store.exists(artifact_id), await store.exists("unknown")
            (True, False)

        """
        ...

    @_brief
    async def metadata(self, artifact_id: str) -> ArtifactMetadata:
        """Return the metadata of an artifact.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", filename="a.png", meta={"page": 1})
            >>> found = await store.metadata(artifact_id)
            >>> found.mime, found["meta"]
            ('image/png', {'page': 1})

        """
        ...

    @_brief
    async def versions(self, artifact_id: str) -> Listing[ArtifactVersion]:
        """Return the contents of an artifact that can be read: the current one, and the earlier ones that are kept.

        Example:
            >>> store = ArtifactStore(keep_versions=10)
            >>> artifact_id = await store.write_file("draft", filename="report.txt")
            >>> _ = await store.update_file(artifact_id, data=b"final")
            >>> [(version.revision, version.bytes, version.current) for version in await store.versions(artifact_id)]
            [(2, 5, True), (1, 5, False)]

        """
        ...

    @_hop
    async def display(self, artifact_id: str | ArtifactMetadata, *, revision: int | None = None) -> Preview:
        """Return an artifact's content as a notebook shows it: an image, a table, text or a link.

        Example:
            >>> store = ArtifactStore()
            >>> await store.display(await store.write_file("Hello, world!", filename="hello.txt"))
            Hello, world!

        """
        ...

    # Change

    @_brief
    async def update_metadata(
        self,
        artifact_id: str,
        *,
        summary: str | None = None,
        meta: Mapping[str, object] | None = None,
        merge: bool = True,
        filename: str | None = None,
        mime: str | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change metadata of an artifact. An argument that is None changes nothing.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", meta={"page": 1})
            >>> (await store.update_metadata(artifact_id, meta={"author": "Alice"})).meta
            {'page': 1, 'author': 'Alice'}

        """
        ...

    @_upload(_check_update)
    async def update_file(
        self,
        artifact_id: str,
        *,
        data: AsyncData | None = None,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        summary: str | None = None,
        mime: str | None = None,
        ttl: float | None = None,
        if_revision: int | None = None,
        max_bytes: int | None = None,
        keep_versions: int | None = None,
    ) -> ArtifactMetadata:
        """Change content or metadata of an artifact. An argument that is None changes nothing.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"draft")
            >>> (await store.update_file(artifact_id, data=b"final", if_revision=1)).revision
            2
            >>> await store.retrieve(artifact_id)
            b'final'

        """
        ...

    @_hop
    async def restore(self, artifact_id: str, revision: int, *, if_revision: int | None = None) -> ArtifactMetadata:
        """Make an earlier content of an artifact the current one, as a new revision.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"draft")
            >>> _ = await store.update_file(artifact_id, data=b"final")
            >>> (await store.restore(artifact_id, 1)).revision
            3
            >>> await store.retrieve(artifact_id)
            b'draft'

        """
        ...

    @_brief
    async def move_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        new_session_id: str | None = None,
        new_meta: Mapping[str, object] | None = None,
    ) -> ArtifactMetadata:
        """Rename an artifact, which keeps its id and its bytes.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", filename="a.txt")
            >>> (await store.move_file(artifact_id, new_filename="old/a.txt")).filename
            'old/a.txt'

        """
        ...

    @_brief_read
    async def copy_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        target_session_id: str | None = None,
        new_meta: Mapping[str, object] | None = None,
        summary: str | None = None,
    ) -> str:
        """Copy an artifact within its session; bytes are copied inside the storage.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", filename="a.txt")
            >>> copy_id = await store.copy_file(artifact_id, new_filename="backup/a.txt")
            >>> (await store.metadata(copy_id)).filename
            'backup/a.txt'

        """
        ...

    @_brief
    async def extend_ttl(self, artifact_id: str, additional_seconds: float) -> ArtifactMetadata:
        """Extend the time to live of an artifact, and that of its session to at least as long.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", ttl=60)
            >>> (await store.extend_ttl(artifact_id, 3600)).ttl
            3660

        """
        ...

    @_brief
    async def lookup(self, filename: str, session_id: str | None = None) -> ArtifactMetadata | None:
        """Return the newest artifact of a session that has a filename.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> artifact_id = await store.store(b"...", filename="a.txt")
            >>> (await store.lookup("a.txt")).artifact_id == artifact_id, await store.lookup("b.txt")
            (True, None)

        """
        ...

    # Delete

    @_brief
    async def delete(self, artifact_id: str) -> bool:
        """Delete an artifact, or cancel a pending upload.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...")
            >>> await store.delete(artifact_id), await store.delete(artifact_id)
            (True, False)

        """
        ...

    @_hop
    async def delete_batch(self, artifact_ids: Iterable[str]) -> int:
        """Delete several artifacts; see :meth:`delete`.

        Example:
            >>> store = ArtifactStore()
            >>> await store.delete_batch([await store.store(b"one"), await store.store(b"two"), "unknown"])
            2

        """
        ...

    # List

    @_brief_list
    async def list_by_session(
        self, session_id: str | None = None, limit: int | None = None
    ) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session, ordered by filename and id.

        Example:
            >>> store = ArtifactStore()
            >>> for name in ("b.txt", "a.txt"):
            ...     _ = await store.store(b"...", filename=name, session_id="user_alice")
            >>> [file.filename for file in await store.list_by_session("user_alice")]
            ['a.txt', 'b.txt']

        """
        ...

    @_brief_list
    async def list_files(
        self, session_id: str | None = None, prefix: str = "", limit: int | None = None
    ) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session whose filenames begin with a prefix, ordered by filename and id.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("docs/a.txt", "docs-old.txt", "c.txt"):
            ...     _ = await store.store(b"...", filename=name)
            >>> [file.filename for file in await store.list_files(prefix="docs")]
            ['docs-old.txt', 'docs/a.txt']

        """
        ...

    @_brief_list
    async def get_directory_contents(
        self, session_id: str | None = None, directory_prefix: str = "", limit: int | None = None
    ) -> Listing[ArtifactMetadata]:
        """Return the artifacts of a session below a folder, at any depth, ordered by filename and id.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("docs/a.txt", "docs/old/b.txt", "docs-old.txt"):
            ...     _ = await store.store(b"...", filename=name)
            >>> [file.filename for file in await store.get_directory_contents(directory_prefix="docs")]
            ['docs/a.txt', 'docs/old/b.txt']

        """
        ...

    @_hop
    async def list_directory(
        self, session_id: str | None = None, directory: str = ""
    ) -> tuple[list[str], Listing[ArtifactMetadata]]:
        """Return the folders and the artifacts directly in a folder of a session, not those deeper below.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("notes.txt", "reports/2025/q4.md", "reports/q1.md"):
            ...     _ = await store.store(b"...", filename=name)
            >>> folders, files = await store.list_directory(directory="reports")
            >>> folders, [file.filename for file in files]
            (['2025'], ['reports/q1.md'])

        """
        ...

    @_pages
    def iter_session(
        self, session_id: str | None = None, *, prefix: str = "", start: str = "", page_size: int = 1000
    ) -> AsyncGenerator[ArtifactMetadata, None]:
        """Iterate over the artifacts of a session, ordered by filename and id, page by page.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> for name in ("a.txt", "b.txt", "c.txt"):
            ...     _ = await store.store(b"...", filename=name)
            >>> [file.filename async for file in store.iter_session(start="b", page_size=500)]
            ['b.txt', 'c.txt']

        """
        ...

    @_walk
    def archive(
        self, session_id: str | None = None, *, prefix: str = "", chunk_size: int = CHUNK_SIZE
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over a ZIP archive of a session's artifacts, which is made while it is read.

        Example:
            >>> store = ArtifactStore().session("user_alice")
            >>> _ = await store.store(b"...", filename="docs/a.txt")
            >>> import io, zipfile
            >>> data = b"".join([chunk async for chunk in store.archive(prefix="docs/")])
            >>> zipfile.ZipFile(io.BytesIO(data)).namelist()
            ['docs/a.txt']

        """
        ...

    @_portions
    def search(
        self,
        session_id: str | None = None,
        *,
        prefix: str = "",
        mime: str | None = None,
        meta: Mapping[str, object] | None = None,
        stored_after: datetime | str | float | None = None,
        stored_before: datetime | str | float | None = None,
        user_id: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ArtifactMetadata, None]:
        """Iterate over the artifacts that meet all conditions, as the catalog finds them, page by page.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"...", filename="scan.png", meta={"tag": "q3"}, session_id="user_alice")
            >>> [file.filename async for file in store.search(mime="image/*", meta={"tag": "q3"})]
            ['scan.png']

        """
        ...

    # Share

    @_hop
    async def presign(self, artifact_id: str, expires: float = 3600, *, revision: int | None = None) -> str:
        """Return a URL that downloads an artifact, without other credentials, until it expires.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> artifact_id = await store.store(b"...")
            >>> await store.presign(artifact_id, expires=60)
            'https://files.example.org/...'

        """
        ...

    @_hop
    async def presign_short(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for 15 minutes; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> await store.presign_short(await store.store(b"..."))
            'https://files.example.org/...'

        """
        ...

    @_hop
    async def presign_medium(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for an hour; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> await store.presign_medium(await store.store(b"..."))
            'https://files.example.org/...'

        """
        ...

    @_hop
    async def presign_long(self, artifact_id: str, *, revision: int | None = None) -> str:
        """Return a URL that works for a day; see :meth:`presign`.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> await store.presign_long(await store.store(b"..."))
            'https://files.example.org/...'

        """
        ...

    @_hop
    async def presign_archive(self, session_id: str | None = None, *, prefix: str = "", expires: float = 3600) -> str:
        """Return a URL that downloads a session as a ZIP archive, without other credentials, until it expires.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> await store.presign_archive("user_alice", prefix="docs/")
            'https://files.example.org/archive?...'

        """
        ...

    @_hop
    async def presign_upload(
        self,
        session_id: str | None = None,
        filename: str | None = None,
        mime_type: str = OCTET_STREAM,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL that uploads one file, without other credentials, and the id of the later artifact.

        Example:
            >>> store = ArtifactStore(gateway_url="https://files.example.org")
            >>> url, artifact_id = await store.presign_upload("user_alice", "photo.jpg", mime_type="image/jpeg")
            >>> url, await store.exists(artifact_id)  # until it is uploaded and registered
            ('https://files.example.org/...', False)

        """
        ...

    @_hop
    async def register_uploaded_artifact(
        self,
        artifact_id: str,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
    ) -> bool:
        """Make an artifact from an upload. Later uploads to the URL do not change it.

        Example:
            >>> store = ArtifactStore()
            >>> url, artifact_id = await store.presign_upload("user_alice", "hello.txt")
            >>> from urllib.request import Request, urlopen
            >>> urlopen(Request(url, data=b"Hello, world!", method="PUT")).status
            200
            >>> await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="A greeting")
            True
            >>> await store.retrieve(artifact_id)
            b'Hello, world!'
            >>> await store.close()

        """
        ...

    @_hop
    async def presign_upload_and_register(
        self,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, object] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL that uploads one file, and the id of the artifact; no registration is needed.

        Example:
            >>> store = ArtifactStore()
            >>> url, artifact_id = await store.presign_upload_and_register(mime="text/plain", summary="A greeting")
            >>> from urllib.request import Request, urlopen
            >>> urlopen(Request(url, data=b"Hello!", method="PUT", headers={"Content-Type": "text/plain"})).status
            200
            >>> await store.retrieve(artifact_id)
            b'Hello!'
            >>> await store.close()

        """
        ...

    # Sessions

    def session(self, session_id: str) -> Self:
        """Return a view of this store that is bound to one session; see the blocking store.

        Closing the view waits for its own calls, and leaves this store open.

        Example:
            >>> store = ArtifactStore()
            >>> alice, bob = store.session("user_alice"), store.session("user_bob")
            >>> artifact_id = await alice.store(b"mine")
            >>> await bob.exists(artifact_id)
            False

        """
        return self._bound(self._blocking.session(session_id))

    def _bound(self, store: Blocking) -> Self:
        view = type(self).__new__(type(self))
        view.__dict__.update(_parts(store, self._calls.workers, owns_store=False))
        return view

    @_brief
    async def create_session(
        self,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, object] | None = None,
        session_id: str | None = None,
    ) -> str:
        """Create a session; storing under a session id creates that session too.

        Example:
            >>> store = ArtifactStore()
            >>> await store.create_session(user_id="alice", ttl_hours=48, session_id="run-7")
            'run-7'

        """
        ...

    @_pages
    def iter_sessions(self, *, user_id: str | None = None, page_size: int = 1000) -> AsyncGenerator[SessionInfo, None]:
        """Iterate over the sessions of the store, or over those of a user, in any sequence, page by page.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.create_session(user_id="alice", session_id="run-7")
            >>> [session.session_id async for session in store.iter_sessions(user_id="alice")]
            ['run-7']

        """
        ...

    def user(self, user_id: str) -> Self:
        """Return a view of this store that is bound to a user's own session; see the blocking store.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.user("alice").store(b"...", filename="profile.json")
            >>> (await store.metadata(artifact_id)).session_id, (await store.metadata(artifact_id)).expires_at
            ('user:alice', None)

        """
        return self._bound(self._blocking.user(user_id))

    @_hop
    async def delete_user(self, user_id: str) -> int:
        """Delete every session of a user, expired ones and the user's own too, with all artifacts and uploads.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.user("alice").store(b"...")
            >>> _ = await store.store(b"...", session_id="run-7", user_id="alice")
            >>> await store.delete_user("alice")
            2

        """
        ...

    @_brief
    async def validate_session(self, session_id: str | None = None) -> bool:
        """Return whether a session exists and has not expired.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = await store.create_session()
            >>> await store.validate_session(session_id), await store.validate_session("unknown")
            (True, False)

        """
        ...

    @_brief
    async def get_session_info(self, session_id: str | None = None) -> SessionInfo | None:
        """Return the description of a session.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = await store.create_session(user_id="alice", custom_metadata={"purpose": "demo"})
            >>> info = await store.get_session_info(session_id)
            >>> info.user_id, info.custom_metadata
            ('alice', {'purpose': 'demo'})

        """
        ...

    @_brief
    async def update_session_metadata(
        self, session_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> bool:
        """Merge metadata, key by key, into a session's own.

        Example:
            >>> store = ArtifactStore()
            >>> session_id = await store.create_session(custom_metadata={"purpose": "demo"})
            >>> await store.update_session_metadata(session_id, {"state": "done"})
            True
            >>> (await store.get_session_info(session_id)).custom_metadata
            {'purpose': 'demo', 'state': 'done'}

        """
        ...

    @_brief
    async def extend_session_ttl(self, session_id: str | None = None, additional_hours: float | None = None) -> bool:
        """Extend the time to live of a session, and of artifacts stored in it from now on.

        Example:
            >>> store = ArtifactStore()
            >>> await store.extend_session_ttl(await store.create_session(), 24)
            True

        """
        ...

    @_hop
    async def delete_session(self, session_id: str | None = None) -> bool:
        """Delete a session and its artifacts.

        Example:
            >>> store = ArtifactStore()
            >>> artifact_id = await store.store(b"...", session_id="run-7")
            >>> await store.delete_session("run-7"), await store.exists(artifact_id)
            (True, False)

        """
        ...

    @_brief
    async def usage(self, session_id: str | None = None) -> Usage:
        """Return how many artifacts and bytes a session, or the whole sandbox, holds.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"Hello, world!", session_id="user_alice")
            >>> usage = await store.usage("user_alice")
            >>> usage.artifacts, usage.bytes
            (1, 13)

        """
        ...

    # Maintain

    @_hop
    async def cleanup_expired_sessions(self) -> int:
        """Remove expired sessions, expired artifacts and their bytes.

        Example:
            >>> store = ArtifactStore()
            >>> await store.cleanup_expired_sessions()
            0

        """
        ...

    @_hop
    async def cleanup(
        self,
        *,
        orphans: bool = False,
        dry_run: bool = False,
        force: bool = False,
        older_than: float = ORPHAN_GRACE_SECONDS,
    ) -> CleanupReport:
        """Remove expired sessions, expired artifacts and their bytes.

        Example:
            >>> import time
            >>> now = time.time()
            >>> store = ArtifactStore(clock=lambda: now)
            >>> _ = await store.store(b"Hello, world!", ttl=60)
            >>> now += 100_000  # more than a day
            >>> report = await store.cleanup()
            >>> report.artifacts, report.sessions, report.bytes
            (1, 1, 13)

        """
        ...

    @_hop
    async def export_catalog(
        self, target: str | os.PathLike[str] | Writable, *, callback: Callback | None = None
    ) -> int:
        """Write all sessions and records of the sandbox to a file, to be imported into any catalog.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"...")
            >>> import io
            >>> await store.export_catalog(io.BytesIO())
            1

        """
        ...

    @_hop
    async def import_catalog(
        self,
        source: str | os.PathLike[str] | Readable,
        *,
        callback: Callback | None = None,
        dry_run: bool = False,
    ) -> int:
        """Add the sessions and records of an export of this sandbox, and keep what is newer in the catalog.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"...")
            >>> import io
            >>> backup = io.BytesIO()
            >>> _ = await store.export_catalog(backup)
            >>> _ = backup.seek(0)
            >>> await store.import_catalog(backup, dry_run=True)
            1

        """
        ...

    @_hop
    async def reindex(self, *, callback: Callback | None = None, dry_run: bool = False) -> ReindexReport:
        """Add records for what the storage holds and the catalog lacks, after the catalog was lost.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"...")
            >>> (await store.reindex(dry_run=True)).known
            1

        """
        ...

    @_plain
    def get_canonical_prefix(self, session_id: str | None = None) -> str:
        """Return the prefix of all keys of a session, ``grid/{sandbox}/{session}/``.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.get_canonical_prefix("user_alice")
            'grid/demo/user_alice/'

        """
        ...

    @_plain
    def generate_artifact_key(self, session_id: str, artifact_id: str) -> str:
        """Return the key of the first bytes of an artifact, ``grid/{sandbox}/{session}/{artifact}``.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.generate_artifact_key("user_alice", "0123")
            'grid/demo/user_alice/0123'

        """
        ...

    @_plain
    def parse_grid_key(self, key: str) -> GridKey | None:
        """Split a key into its parts.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.parse_grid_key("grid/demo/user_alice/0123").session_id
            'user_alice'
            >>> store.parse_grid_key("elsewhere/0123") is None
            True

        """
        ...

    @_plain
    def get_session_prefix_pattern(self) -> str:
        """Return the prefix of the keys of all sessions, ``grid/{sandbox}/``.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> store.get_session_prefix_pattern()
            'grid/demo/'

        """
        ...

    @_hop
    async def validate_configuration(self, *, thorough: bool = False) -> dict[str, dict[str, str]]:
        """Check that storage and catalog work; report outages, and do not raise them.

        Example:
            >>> store = ArtifactStore()
            >>> report = await store.validate_configuration()
            >>> report["storage"]["status"], report["session"]["status"]
            ('ok', 'ok')

        """
        ...

    @_hop
    async def get_stats(self) -> dict[str, Any]:
        """Return the providers, the sandbox, and its numbers of ``sessions``, ``artifacts`` and ``bytes``.

        Example:
            >>> store = ArtifactStore()
            >>> _ = await store.store(b"Hello, world!")
            >>> stats = await store.get_stats()
            >>> stats["sessions"], stats["artifacts"], stats["bytes"]
            (1, 1, 13)

        """
        ...

    @_brief
    async def get_sandbox_info(self) -> dict[str, Any]:
        """Return the sandbox, its key prefix, the providers and the default time to live of sessions in hours.

        Example:
            >>> store = ArtifactStore(sandbox_id="demo")
            >>> info = await store.get_sandbox_info()
            >>> info["sandbox_id"], info["location"]
            ('demo', None)

        """
        ...

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the blocking store's argument
        """Wait for running calls, then close the store and every view; closing a bound store closes only that view.

        It works on any event loop. Closing twice is allowed.

        Args:
            timeout: how long to wait for the calls, in seconds; None: no limit.

        Raises:
            ArtifactStoreError: calls are still running after *timeout*. Their backends stay open; close it again.
            InvalidInputError: *timeout* is not a finite number above 0.

        Example:
            >>> store = ArtifactStore()
            >>> await store.close()
            >>> await store.usage()
            Traceback (most recent call last):
                ...
            chuk_artifacts.errors.ArtifactStoreError: store is closed

        """
        timeout = check_timeout(timeout)
        running_loop()
        self._runs_inline = False
        await self._calls.close(partial(self._blocking.close, timeout), all_views=self._owns_store, timeout=timeout)


def _parts(store: Blocking, workers: Workers, *, owns_store: bool) -> dict[str, Any]:
    """Return the attributes of an async store; *owns_store*: closing it closes the blocking store and all views."""
    core = store.scope.core
    return {
        "_blocking": store,
        "_catalog": core.catalog,
        "_runs_inline": not (core.storage.blocks or core.catalog.blocks),
        "_calls": Calls(workers),
        "_owns_store": owns_store,
    }


def _workers(store: Blocking, max_workers: int | None) -> Workers:
    if max_workers is None:
        return Workers(store.scope.core.settings.max_connections)
    return Workers(check_count("max_workers", max_workers, 1, MAX_AT_ONCE))


def inside(store: object) -> tuple[Blocking, Calls]:
    """Return the blocking store in an async one, and its calls, for the gateway. A blocking store is wrapped first.

    Raises:
        InvalidInputError: *store* is neither.

    """
    if isinstance(store, Blocking):
        store = ArtifactStore.wrap(store)
    if not isinstance(store, ArtifactStore):
        raise InvalidInputError(f"store must be an ArtifactStore, not {type(store).__module__}.{type(store).__name__}")
    return store._blocking, store._calls  # noqa: SLF001 - the class's own module


_entered: dict[Blocking, ArtifactStore] = {}


def enter(store: Blocking) -> ArtifactStore:
    """Return the async view for an ``async with`` block over a blocking store."""
    running_loop()
    return _entered.setdefault(store, ArtifactStore.wrap(store))


async def leave(store: Blocking) -> None:
    """Close a blocking store and its async view at the end of the ``async with`` block."""
    view = _entered.pop(store, None)
    if view is not None:
        await view.close()
