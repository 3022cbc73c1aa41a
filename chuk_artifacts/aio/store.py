"""``ArtifactStore``, awaited: it contains a blocking store, and each verb is that store's, called in a thread."""

from __future__ import annotations

import itertools
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from functools import partial, wraps
from inspect import signature
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar, Unpack

from chuk_artifacts.aio.options import Options
from chuk_artifacts.aio.streams import Reader, steps
from chuk_artifacts.aio.supply import Supply, is_async
from chuk_artifacts.aio.workers import Calls, Workers
from chuk_artifacts.arguments import MAX_AT_ONCE, check_count, check_timeout
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.store import ArtifactStore as Blocking

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

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


def _hop(
    method: Callable[Concatenate[Blocking, P], R],
) -> Callable[Concatenate[ArtifactStore, P], Coroutine[Any, Any, R]]:
    """Return a verb that calls *method* in a thread."""
    name = method.__name__

    @wraps(method)
    async def verb(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call: Callable[P, R] = getattr(self._blocking, name)
        return await self._calls.run(call, *args, **kwargs)

    return verb


def _brief(
    method: Callable[Concatenate[Blocking, P], R], *, reads: bool = False
) -> Callable[Concatenate[ArtifactStore, P], Coroutine[Any, Any, R]]:
    """Return a verb that calls *method* at once where :func:`_is_brief` allows it, else in a thread.

    *reads* tells that it handles the contents of the artifact it names. At every 64th call at once the loop's other
    tasks get a turn.
    """
    name = method.__name__

    @wraps(method)
    async def verb(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call: Callable[P, R] = getattr(self._blocking, name)
        values = (*args, *kwargs.values()) if kwargs else args
        if self._at_once and _is_brief(values, self._catalog if reads else None):
            if next(_calls_at_once) % _CALLS_A_TURN == 0:
                await sleep(0)
            return call(*args, **kwargs)
        if any(map(is_async, values)):
            return await self._calls.feed(partial(_fed, call, args, kwargs))
        return await self._calls.run(call, *args, **kwargs)

    return verb


def _fed(call: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], supply: Supply) -> R:
    return call(*map(supply.blocking, args), **{key: supply.blocking(kwargs[key]) for key in kwargs})


def _batch(
    method: Callable[Concatenate[Blocking, P], R],
) -> Callable[Concatenate[ArtifactStore, P], Coroutine[Any, Any, R]]:
    """Return a verb that calls *method* in a thread, with items whose data may be async iterables."""
    name = method.__name__
    bind = signature(method).bind

    @wraps(method)
    async def verb(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call: Callable[..., R] = getattr(self._blocking, name)
        given = bind(self, *args, **kwargs).arguments

        def fed(supply: Supply) -> R:
            if isinstance(given["items"], Iterable):
                given["items"] = map(supply.blocking_item, given["items"])
            return call(**{key: given[key] for key in given if key != "self"})

        return await self._calls.feed(fed)

    return verb


def _walk(
    method: Callable[Concatenate[Blocking, P], Iterator[T]], page: str | None = None
) -> Callable[Concatenate[ArtifactStore, P], AsyncGenerator[T, None]]:
    """Return a verb that iterates over what *method* returns: a hop an item, or as many as the argument *page* says."""
    name = method.__name__
    default = 1 if page is None else signature(method).parameters[page].default

    @wraps(method)
    def verb(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        call: Callable[P, Iterator[T]] = getattr(self._blocking, name)
        count: Any = default if page is None else kwargs.get(page, default)
        return steps(self._calls, partial(call, *args, **kwargs), count)

    return verb


def _open(method: Callable[Concatenate[Blocking, P], BinaryIO]) -> Callable[Concatenate[ArtifactStore, P], Reader]:
    """Return a verb that makes a reader of what *method* opens."""
    name = method.__name__

    @wraps(method)
    def verb(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> Reader:
        call: Callable[P, BinaryIO] = getattr(self._blocking, name)
        return Reader(self._calls, partial(call, *args, **kwargs))

    return verb


def _plain(method: Callable[Concatenate[Blocking, P], R]) -> Callable[Concatenate[ArtifactStore, P], R]:
    """Return a function that calls *method*, which does no I/O."""
    name = method.__name__

    @wraps(method)
    def function(self: ArtifactStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call: Callable[P, R] = getattr(self._blocking, name)
        return call(*args, **kwargs)

    return function


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

    store = _brief(Blocking.store)
    write_file = _brief(Blocking.write_file)
    store_batch = _batch(Blocking.store_batch)

    # Read

    retrieve = _brief(Blocking.retrieve, reads=True)
    read_file = _brief(Blocking.read_file, reads=True)
    open = _open(Blocking.open)
    stream = _walk(Blocking.stream)
    download = _hop(Blocking.download)
    retrieve_batch = _hop(Blocking.retrieve_batch)
    exists = _brief(Blocking.exists)
    metadata = _brief(Blocking.metadata)

    # Change

    update_metadata = _brief(Blocking.update_metadata)
    update_file = _brief(Blocking.update_file)
    move_file = _brief(Blocking.move_file)
    copy_file = _brief(Blocking.copy_file, reads=True)
    extend_ttl = _brief(Blocking.extend_ttl)

    # Delete

    delete = _brief(Blocking.delete)
    delete_batch = _hop(Blocking.delete_batch)

    # List

    list_by_session = _hop(Blocking.list_by_session)
    list_files = _hop(Blocking.list_files)
    get_directory_contents = _hop(Blocking.get_directory_contents)
    iter_session = _walk(Blocking.iter_session, page="page_size")

    # Share

    presign = _hop(Blocking.presign)
    presign_short = _hop(Blocking.presign_short)
    presign_medium = _hop(Blocking.presign_medium)
    presign_long = _hop(Blocking.presign_long)
    presign_upload = _hop(Blocking.presign_upload)
    register_uploaded_artifact = _hop(Blocking.register_uploaded_artifact)
    presign_upload_and_register = _hop(Blocking.presign_upload_and_register)

    # Sessions

    def session(self, session_id: str) -> Self:
        """Return a view of this store that is bound to one session, see the blocking store.

        Closing it waits for the calls made with it, and closes the view alone.
        """
        view = type(self).__new__(type(self))
        view.__dict__.update(_parts(self._blocking.session(session_id), self._calls.workers, whole=False))
        return view

    create_session = _brief(Blocking.create_session)
    validate_session = _brief(Blocking.validate_session)
    get_session_info = _brief(Blocking.get_session_info)
    update_session_metadata = _brief(Blocking.update_session_metadata)
    extend_session_ttl = _brief(Blocking.extend_session_ttl)
    delete_session = _hop(Blocking.delete_session)

    # House

    cleanup_expired_sessions = _hop(Blocking.cleanup_expired_sessions)
    cleanup = _hop(Blocking.cleanup)
    get_canonical_prefix = _plain(Blocking.get_canonical_prefix)
    generate_artifact_key = _plain(Blocking.generate_artifact_key)
    parse_grid_key = _plain(Blocking.parse_grid_key)
    get_session_prefix_pattern = _plain(Blocking.get_session_prefix_pattern)
    validate_configuration = _hop(Blocking.validate_configuration)
    get_stats = _hop(Blocking.get_stats)
    get_sandbox_info = _brief(Blocking.get_sandbox_info)

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
