"""``ArtifactStore``, awaited: it contains a blocking store, and each verb is that store's, called in a thread."""

# The methods of the class have a signature only: what they do is their decorator's.
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
from chuk_artifacts.aio.supply import Supply, is_async
from chuk_artifacts.aio.workers import Calls, Workers
from chuk_artifacts.arguments import MAX_AT_ONCE, OCTET_STREAM, check_count, check_timeout
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.grid import GridKey
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS, ArtifactMetadata, CleanupReport, SessionInfo
from chuk_artifacts.source import CHUNK_SIZE
from chuk_artifacts.store import ArtifactStore as Blocking

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec.callbacks import Callback

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

_BRIEF_BYTES = 64 * 1024
_HARMLESS = frozenset({bool, int, float, dict, type(None)})
_CALLS_A_TURN = 64
_calls_at_once = itertools.count(1)


def _is_brief(values: tuple[object, ...], contents: Catalog | None) -> bool:
    """Say whether a call with these arguments may run on the loop's thread, in a store that can't block.

    This is the one place that knows: it may when it handles less than 64 KiB, which to hash takes about as long as to
    hop. That counts the bytes and texts among the arguments and, for a verb that reads the contents of the artifact it
    names, those by the catalog. An argument that is not known to be harmless may be a path, a file or an iterable,
    and block by itself.
    """
    payload = 0
    for value in values:
        if type(value) is str:
            payload += len(value) if value.isascii() else 4 * len(value)
            if contents is not None and (record := contents.get((value,))[0]) is not None:
                payload += record.bytes
        elif isinstance(value, (bytes, bytearray)):
            payload += len(value)
        elif type(value) not in _HARMLESS:
            return False
    return payload < _BRIEF_BYTES


def _hop(declared: F) -> F:
    """Make a method that calls the blocking store's method of that name in a thread."""
    name = declared.__name__

    @wraps(getattr(Blocking, name))
    async def method(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        return await self._calls.run(getattr(self._blocking, name), *args, **kwargs)

    return cast("F", method)


def _brief(declared: F) -> F:
    """Make a method like :func:`_hop`'s that runs at once where :func:`_is_brief` allows it.

    What it is given may be an async iterable, which the task reads while the call runs in its thread.
    """
    return _at_once(declared, reads=False)


def _brief_read(declared: F) -> F:
    """Make a method like :func:`_brief`'s that handles the contents of the artifact it names."""
    return _at_once(declared, reads=True)


def _at_once(declared: F, *, reads: bool) -> F:
    name = declared.__name__

    @wraps(getattr(Blocking, name))
    async def method(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self._blocking, name)
        values = (*args, *kwargs.values()) if kwargs else args
        if self._at_once and _is_brief(values, self._catalog if reads else None):
            if next(_calls_at_once) % _CALLS_A_TURN == 0:  # the loop's other tasks get a turn
                await sleep(0)
            return call(*args, **kwargs)
        if any(map(is_async, values)):
            return await self._calls.feed(partial(_fed, call, args, kwargs))
        return await self._calls.run(call, *args, **kwargs)

    return cast("F", method)


def _fed(call: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], supply: Supply) -> R:
    return call(*map(supply.blocking, args), **{key: supply.blocking(kwargs[key]) for key in kwargs})


def _batch(declared: F) -> F:
    """Make a method like :func:`_hop`'s with items whose data may be async iterables."""
    name = declared.__name__
    bind = signature(getattr(Blocking, name)).bind

    @wraps(getattr(Blocking, name))
    async def method(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self._blocking, name)
        given = bind(self, *args, **kwargs).arguments

        def fed(supply: Supply) -> Any:
            if isinstance(given["items"], Iterable):
                given["items"] = map(supply.blocking_item, given["items"])
            return call(**{key: given[key] for key in given if key != "self"})

        return await self._calls.feed(fed)

    return cast("F", method)


def _walk(declared: F) -> F:
    """Make a method that iterates over what the blocking one returns, a hop an item."""
    return _steps(declared, page=None)


def _pages(declared: F) -> F:
    """Make a method that iterates over what the blocking one returns, a hop a page."""
    return _steps(declared, page="page_size")


def _steps(declared: F, *, page: str | None) -> F:
    name = declared.__name__
    blocking = getattr(Blocking, name)
    default = 1 if page is None else signature(blocking).parameters[page].default

    @wraps(blocking)
    def method(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        count: Any = default if page is None else kwargs.get(page, default)
        return steps(self._calls, partial(getattr(self._blocking, name), *args, **kwargs), count)

    return cast("F", method)


def _reader(declared: F) -> F:
    """Make a method that returns an async reader of what the blocking one opens."""
    name = declared.__name__

    @wraps(getattr(Blocking, name))
    def method(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        return Reader(self._calls, partial(getattr(self._blocking, name), *args, **kwargs))

    return cast("F", method)


def _plain(declared: F) -> F:
    """Make a function that calls the blocking one, which does no I/O."""
    name = declared.__name__

    @wraps(getattr(Blocking, name))
    def function(self: ArtifactStore, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._blocking, name)(*args, **kwargs)

    return cast("F", function)


class ArtifactStore:
    """A store of files that belong to sessions, for async programs: :class:`chuk_artifacts.ArtifactStore`, awaited.

    The verbs, their arguments and their errors are those of the blocking store that it contains, which runs them in
    threads of this store's own. It may be used from any event loop, and from several in several threads.

    - ``stream`` and ``iter_session`` are async iterators; ``open`` is for ``async with``, see :class:`Reader`.
    - ``store``, ``update_file`` and the items of ``store_batch`` take an async iterable of bytes too, such as the
      stream of a request; it is read in the task that calls.
    - ``session``, ``wrap`` and the functions of the grid are plain calls: they do no I/O.
    - A task that is cancelled stops waiting. What it began goes on and ends whole, unless data of the task was still to
      come: then nothing of it stays.
    - In memory, a verb that handles less than 64 KiB runs at once, without a thread.

    Args:
        max_workers: how many threads run verbs, and how many more run uploads from async iterables; None: as many as
            ``max_connections``.
        options: what the blocking store is built from.

    Raises:
        InvalidInputError: see the blocking store.

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
    _at_once: bool
    _calls: Calls
    _whole: bool

    def __init__(self, *, max_workers: int | None = None, **options: Unpack[Options]) -> None:
        """See the class."""
        if max_workers is not None:
            check_count("max_workers", max_workers, 1, MAX_AT_ONCE)
        store = Blocking(**options)
        self.__dict__.update(_parts(store, _workers(store, max_workers), whole=True))

    @classmethod
    def wrap(cls, store: Blocking, *, max_workers: int | None = None) -> Self:
        """Return an async view of a blocking store, bound to a session if that is; closing the view closes the store.

        Args:
            store: the blocking store.
            max_workers: see the class.

        Returns:
            the view.

        Raises:
            InvalidInputError: *max_workers* is no int above 0.

        """
        view = cls.__new__(cls)
        view.__dict__.update(_parts(store, _workers(store, max_workers), whole=True))
        return view

    async def __aenter__(self) -> Self:
        """Return the store, which the end of the ``async with`` block closes."""
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the store."""
        await self.close()

    def __repr__(self) -> str:
        """Name providers, sandbox and session."""
        return f"<aio.{repr(self._blocking).removeprefix('<')}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the blocking store; the other side starts threads of its own."""
        return partial(type(self).wrap, max_workers=self._calls.workers.count), (self._blocking,)

    # Store

    @_brief
    async def store(
        self,
        data: AsyncData,
        *,
        mime: str | None = None,
        summary: str = "",
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        ttl: float | None = None,
        exclusive: bool = False,
    ) -> str:
        """Store data as a new artifact."""
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
        meta: Mapping[str, Any] | None = None,
        encoding: str = "utf-8",
        ttl: float | None = None,
    ) -> str:
        """Store a text, or bytes, under a filename."""
        ...

    @_batch
    async def store_batch(
        self, items: Iterable[AsyncStoreItem], session_id: str | None = None, ttl: float | None = None
    ) -> list[str]:
        """Store several artifacts, all of them or none."""
        ...

    # Read

    @_brief_read
    async def retrieve(self, artifact_id: str | ArtifactMetadata) -> bytes:
        """Return the bytes of an artifact, verified against its record."""
        ...

    @overload
    async def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: Literal[True] = True
    ) -> str: ...

    @overload
    async def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: Literal[False]
    ) -> bytes: ...

    @overload
    async def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: bool = True
    ) -> str | bytes: ...

    @_brief_read
    async def read_file(
        self, artifact_id: str | ArtifactMetadata, *, encoding: str = "utf-8", as_text: bool = True
    ) -> str | bytes:
        """Return an artifact as text, or as bytes."""
        ...

    @_reader
    def open(self, artifact_id: str | ArtifactMetadata) -> Reader:
        """Return a seekable binary reader that fetches only what is read."""
        ...

    @_walk
    def stream(
        self,
        artifact_id: str | ArtifactMetadata,
        *,
        start: int = 0,
        end: int | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> AsyncGenerator[bytes, None]:
        """Return the bytes of an artifact, or a range of them, piece by piece."""
        ...

    @_hop
    async def download(
        self,
        artifact_id: str | ArtifactMetadata,
        path: str | os.PathLike[str],
        *,
        callback: Callback | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write an artifact to a file, which appears whole and verified, or not at all."""
        ...

    @_hop
    async def retrieve_batch(self, artifact_ids: Iterable[str]) -> list[bytes]:
        """Return the bytes of several artifacts, verified, in the order of the ids."""
        ...

    @_brief
    async def exists(self, artifact_id: str) -> bool:
        """Say whether there is such an artifact, and it has not expired."""
        ...

    @_brief
    async def metadata(self, artifact_id: str) -> ArtifactMetadata:
        """Return what is known of an artifact."""
        ...

    # Change

    @_brief
    async def update_metadata(
        self,
        artifact_id: str,
        *,
        summary: str | None = None,
        meta: Mapping[str, Any] | None = None,
        merge: bool = True,
        filename: str | None = None,
        mime: str | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change the description of an artifact."""
        ...

    @_brief
    async def update_file(
        self,
        artifact_id: str,
        *,
        data: AsyncData | None = None,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        summary: str | None = None,
        mime: str | None = None,
        ttl: float | None = None,
        if_revision: int | None = None,
    ) -> ArtifactMetadata:
        """Change the content of an artifact, its description, or both."""
        ...

    @_brief
    async def move_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        new_session_id: str | None = None,
        new_meta: Mapping[str, Any] | None = None,
    ) -> ArtifactMetadata:
        """Rename an artifact; its id and its bytes stay."""
        ...

    @_brief_read
    async def copy_file(
        self,
        artifact_id: str,
        *,
        new_filename: str | None = None,
        target_session_id: str | None = None,
        new_meta: Mapping[str, Any] | None = None,
        summary: str | None = None,
    ) -> str:
        """Copy an artifact within its session; the storage copies the bytes by itself."""
        ...

    @_brief
    async def extend_ttl(self, artifact_id: str, additional_seconds: float) -> ArtifactMetadata:
        """Let an artifact live longer, and its session at least as long."""
        ...

    # Delete

    @_brief
    async def delete(self, artifact_id: str) -> bool:
        """Delete an artifact."""
        ...

    @_hop
    async def delete_batch(self, artifact_ids: Iterable[str]) -> int:
        """Delete several artifacts."""
        ...

    # List

    @_hop
    async def list_by_session(self, session_id: str | None = None, limit: int | None = None) -> list[ArtifactMetadata]:
        """Return the artifacts of a session, ordered by filename and id."""
        ...

    @_hop
    async def list_files(
        self, session_id: str | None = None, prefix: str = "", limit: int | None = None
    ) -> list[ArtifactMetadata]:
        """Return the artifacts of a session whose filenames begin with a prefix, ordered by filename and id."""
        ...

    @_hop
    async def get_directory_contents(
        self, session_id: str | None = None, directory_prefix: str = "", limit: int | None = None
    ) -> list[ArtifactMetadata]:
        """Return the artifacts of a session below a folder, at any depth, ordered by filename and id."""
        ...

    @_pages
    def iter_session(
        self, session_id: str | None = None, *, prefix: str = "", start: str = "", page_size: int = 1000
    ) -> AsyncGenerator[ArtifactMetadata, None]:
        """Iterate over the artifacts of a session, ordered by filename and id, page by page."""
        ...

    # Share

    @_hop
    async def presign(self, artifact_id: str, expires: float = 3600) -> str:
        """Return a URL from which anybody can download an artifact, for a while."""
        ...

    @_hop
    async def presign_short(self, artifact_id: str) -> str:
        """Return a URL that works for 15 minutes; see :meth:`presign`."""
        ...

    @_hop
    async def presign_medium(self, artifact_id: str) -> str:
        """Return a URL that works for an hour; see :meth:`presign`."""
        ...

    @_hop
    async def presign_long(self, artifact_id: str) -> str:
        """Return a URL that works for a day; see :meth:`presign`."""
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
        """Return a URL to which anybody can upload one file, for a while, and the id that it will have."""
        ...

    @_hop
    async def register_uploaded_artifact(
        self,
        artifact_id: str,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
    ) -> bool:
        """Make an artifact of what was uploaded. Once it is one, another upload to the URL changes nothing."""
        ...

    @_hop
    async def presign_upload_and_register(
        self,
        *,
        mime: str,
        summary: str,
        meta: Mapping[str, Any] | None = None,
        filename: str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        expires: float = 3600,
        max_bytes: int | None = None,
    ) -> tuple[str, str]:
        """Return a URL to which anybody can upload one file, and the id of the artifact that this becomes by itself."""
        ...

    # Sessions

    def session(self, session_id: str) -> Self:
        """Return a view of this store that is bound to one session, see the blocking store.

        Closing it waits for the calls made with it, and closes the view alone.
        """
        view = type(self).__new__(type(self))
        view.__dict__.update(_parts(self._blocking.session(session_id), self._calls.workers, whole=False))
        return view

    @_brief
    async def create_session(
        self,
        user_id: str | None = None,
        ttl_hours: float | None = None,
        custom_metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a session; one that a verb names is created by that."""
        ...

    @_brief
    async def validate_session(self, session_id: str | None = None) -> bool:
        """Say whether there is such a session, and it has not expired."""
        ...

    @_brief
    async def get_session_info(self, session_id: str | None = None) -> SessionInfo | None:
        """Return what is known of a session."""
        ...

    @_brief
    async def update_session_metadata(
        self, session_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> bool:
        """Merge metadata, key by key, into that of a session."""
        ...

    @_brief
    async def extend_session_ttl(self, session_id: str | None = None, additional_hours: float | None = None) -> bool:
        """Let a session live longer, and what is stored in it later on."""
        ...

    @_hop
    async def delete_session(self, session_id: str | None = None) -> bool:
        """Delete a session and its artifacts."""
        ...

    # House

    @_hop
    async def cleanup_expired_sessions(self) -> int:
        """Remove expired sessions, expired artifacts and their bytes."""
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
        """Remove expired sessions, expired artifacts and their bytes."""
        ...

    @_plain
    def get_canonical_prefix(self, session_id: str | None = None) -> str:
        """Return the prefix of all keys of a session, ``grid/{sandbox}/{session}/``."""
        ...

    @_plain
    def generate_artifact_key(self, session_id: str, artifact_id: str) -> str:
        """Return the key of the first bytes of an artifact, ``grid/{sandbox}/{session}/{artifact}``."""
        ...

    @_plain
    def parse_grid_key(self, key: str) -> GridKey | None:
        """Return the parts of a key, or None when it is none."""
        ...

    @_plain
    def get_session_prefix_pattern(self) -> str:
        """Return the prefix of the keys of all sessions, ``grid/{sandbox}/``."""
        ...

    @_hop
    async def validate_configuration(self, *, thorough: bool = False) -> dict[str, dict[str, str]]:
        """Try the storage and the catalog."""
        ...

    @_hop
    async def get_stats(self) -> dict[str, Any]:
        """Return the providers, the sandbox, and how many ``sessions``, ``artifacts`` and ``bytes`` it holds."""
        ...

    @_brief
    async def get_sandbox_info(self) -> dict[str, Any]:
        """Return the sandbox, its key prefix, the providers and the default time to live of sessions in hours."""
        ...

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the blocking store's argument
        """Wait for running calls, and close the store and every view of it; of a bound store, only the view.

        It may be awaited on any event loop, and is harmless the second time.

        Args:
            timeout: how long to wait for them, in seconds; None: as long as it takes.

        Raises:
            ArtifactStoreError: calls are still under way after *timeout*. What they use stays open; close it again.
            InvalidInputError: *timeout* is no finite number above 0.

        """
        timeout = check_timeout(timeout)
        self._at_once = False
        await self._calls.close(partial(self._blocking.close, timeout), all_views=self._whole, timeout=timeout)


def _parts(store: Blocking, workers: Workers, *, whole: bool) -> dict[str, Any]:
    """Return the attributes of a store; *whole* is one that is no view of another."""
    core = store.scope.core
    return {
        "_blocking": store,
        "_catalog": core.catalog,
        "_at_once": not (core.storage.blocks or core.catalog.blocks),
        "_calls": Calls(workers),
        "_whole": whole,
    }


def _workers(store: Blocking, max_workers: int | None) -> Workers:
    if max_workers is None:
        return Workers(store.scope.core.settings.max_connections)
    return Workers(check_count("max_workers", max_workers, 1, MAX_AT_ONCE))


_entered: dict[Blocking, ArtifactStore] = {}


def enter(store: Blocking) -> ArtifactStore:
    """Begin ``async with`` on a blocking store: return a view of it."""
    return _entered.setdefault(store, ArtifactStore.wrap(store))


async def leave(store: Blocking) -> None:
    """End ``async with`` on a blocking store: close it, and the view of it."""
    view = _entered.pop(store, None)
    if view is not None:
        await view.close()
