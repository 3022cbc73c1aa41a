"""Observing: a store with an instrumentation informs it of each call, and of what the call asks of the backends."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from contextvars import Token
from time import perf_counter
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeVar, cast

from chuk_artifacts import grid
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.fields import Fields
from chuk_artifacts.instrumentation import Call, Instrumentation, Layer, Outcome, current
from chuk_artifacts.log import log as _log
from chuk_artifacts.settings import POSTGRES, REDIS
from chuk_artifacts.storage import Storage
from chuk_artifacts.storage.reader import buffered

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
B = TypeVar("B")

_NO_REQUESTS = {"close", "path", "now"}


class Observer:
    """What observes the calls of one store.

    Args:
        instrumentation: what is informed of them.
        storage: the storage of the store.
        catalog: its catalog.

    """

    def __init__(self, instrumentation: Instrumentation, storage: Storage, catalog: Catalog) -> None:
        """Keep the instrumentation, and the names of the providers."""
        self._instrumentation = instrumentation
        self._is_enabled: Callable[[], bool] = getattr(instrumentation, "enabled", lambda: True)
        self._storage_provider = storage.provider
        self._session_provider = catalog.provider
        self._remote = {"storage": storage.remote, "catalog": catalog.provider in {REDIS, POSTGRES}}
        self._remote["method"] = any(self._remote.values())

    def method(
        self, name: str, function: Callable[[], R], artifact_id: str | None, session_id: str | None, store: object
    ) -> R:
        """Return ``function()``, a call of a method.

        A call that another method makes for itself is a part of that one. One that the caller's own code makes, while
        the storage takes bytes from it, is a call of its own.

        Args:
            name: the name of the method.
            function: makes the call.
            artifact_id: the artifact that it names, or None.
            session_id: the session that it names, or None.
            store: the core of the store.

        """
        outer = current.get()
        if (outer is not None and outer.layer == "method" and outer.store is store) or not self._is_enabled():
            return function()
        watch = self._begin("method", name, outer, artifact_id=artifact_id, session_id=session_id)
        watch.call.store = store
        return cast("R", watch.result(watch.run(function)))

    def watched(self, backend: B, contract: type[object], layer: Layer) -> B:
        """Return a stand-in for a backend, whose methods of *contract* are observed while a method is under way."""
        names = {name for name, value in vars(contract).items() if callable(value) and not name.startswith("_")}
        return cast("B", _Watched(backend, names - _NO_REQUESTS, lambda name, call: self._observed(layer, name, call)))

    def _observed(self, layer: Layer, name: str, function: Callable[P, R]) -> Callable[P, R]:
        full_name = f"{layer}.{name}"

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            outer = current.get()
            if outer is None:
                return function(*args, **kwargs)
            key = args[0] if layer == "storage" and args and isinstance(args[0], str) else None
            watch = self._begin(layer, full_name, outer, key=key)
            result: object = watch.run(function, *args, **kwargs)
            if layer == "storage" and name == "open":
                watch.end("ok")
                return _buffered(_Counted(cast("BinaryIO", result), self._read if self._remote[layer] else None))
            if layer == "storage" and name in {"get", "put"}:
                watch.call.transferred(len(result) if isinstance(result, bytes) else cast("Any", result)[0])
            return watch.result(result)

        return call

    def _read(self, read: Callable[[], R]) -> R:
        """Return ``read()``, which may make requests to the storage."""
        watch = self._begin("storage", "storage.read", current.get())
        result = watch.run(read)
        watch.end("ok")
        return result

    def _begin(
        self,
        layer: Layer,
        name: str,
        outer: Call | None,
        *,
        artifact_id: str | None = None,
        session_id: str | None = None,
        key: str | None = None,
    ) -> _Watch:
        call = Call(
            layer=layer,
            name=name,
            storage_provider=self._storage_provider,
            session_provider=self._session_provider,
            remote=self._remote[layer],
            parent=outer,
            artifact_id=artifact_id,
            session_id=session_id,
            key=key,
        )
        return _Watch(call, self._instrumentation)


class _Watch:
    """A call that is observed, from its begin to its end."""

    __slots__ = ("_around", "_begun", "_instrumentation", "_tokens", "call")

    def __init__(self, call: Call, instrumentation: Instrumentation) -> None:
        self.call = call
        self._instrumentation = instrumentation
        self._tokens: list[Token[Call | None]] = []
        self._around: AbstractContextManager[object] | None = None
        self._begun = perf_counter()
        with _guarded:
            self._around = instrumentation.begin(call)

    def __enter__(self) -> None:
        """Make the call the current one of this thread."""
        self._tokens.append(current.set(self.call))
        if self._around is not None:
            with _guarded:
                self._around.__enter__()

    def __exit__(self, *error: object) -> None:
        """Make the previous call the current one again."""
        if self._around is not None:
            with _guarded:
                self._around.__exit__(None, None, None)
        current.reset(self._tokens.pop())

    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``; end the call if that raises."""
        try:
            with self:
                return function(*args, **kwargs)
        except BaseException as error:
            self.failed(error)
            raise

    def result(self, value: object) -> object:
        """Return the result of the call, which ends now; that of an iterator or a reader ends when it is closed."""
        if isinstance(value, io.IOBase):
            return _buffered(_Watching(cast("BinaryIO", value), self))
        if isinstance(value, Iterator):
            return _Items(cast("Iterator[object]", value), self)
        if isinstance(value, Fields) and all(type(number) is int for number in value.values()):
            self.call.facts = dict(value)
        elif self.call.artifact_id is None and isinstance(value, str) and grid.is_artifact_id(value):
            self.call.artifact_id = value
        self.end("ok")
        return value

    def failed(self, error: BaseException) -> None:
        """End the call, which raised."""
        self.call.error = error
        self.end("error" if isinstance(error, Exception) else "interrupted")

    def end(self, outcome: Outcome) -> None:
        """End the call, unless it has ended."""
        if self.call.outcome == "running":
            self.call.outcome = outcome
            self.call.seconds = perf_counter() - self._begun
            with _guarded:
                self._instrumentation.end(self.call)


class _Guarded:
    """A context manager that logs what an instrumentation raises: monitoring that fails must not fail a call."""

    def __enter__(self) -> None:
        """Only the exit acts."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        _log.error("the instrumentation failed: %s", error, exc_info=error)
        return True


_guarded = _Guarded()


class _Watched:
    """A backend, of which some methods are observed; everything else is the backend's own."""

    def __init__(
        self, backend: object, names: set[str], observed: Callable[[str, Callable[..., object]], object]
    ) -> None:
        self._backend = backend
        self._names = names
        self._observed = observed

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the backend; an observed method is kept, so that this is asked once."""
        found = getattr(self._backend, name)
        if name in self._names:
            found = self.__dict__[name] = self._observed(name, found)
        return found


class _Items(Generator[object, None, None]):
    """The items of an iterator; the call that returned it is under way at each step, and ends with it."""

    def __init__(self, items: Iterator[object], watch: _Watch) -> None:
        self._items = items
        self._watch = watch

    def send(self, value: None, /) -> object:
        """Return the next item."""
        try:
            with self._watch:
                return next(self._items)
        except StopIteration:
            self._watch.end("ok")
            raise
        except BaseException as error:
            self._watch.failed(error)
            raise

    def throw(self, kind: Any, value: Any = None, trace: Any = None, /) -> object:
        """Close the iterator, and raise."""
        self.close()
        raise kind if value is None else value

    def close(self) -> None:
        """Close the iterator."""
        try:
            if isinstance(self._items, Generator):
                with self._watch:
                    self._items.close()
        except BaseException as error:
            self._watch.failed(error)
            raise
        self._watch.end("closed")

    def __del__(self) -> None:
        """End the call of an iterator that was left."""
        self._watch.end("closed")


class _Through(io.RawIOBase):
    """A reader over another one."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file: Any = file

    def _call(self, read: Callable[[], R]) -> R:
        """Return ``read()``."""
        raise NotImplementedError

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer, and return how many bytes."""
        return self._call(lambda: int(self._file.readinto(buffer)))

    def readall(self) -> bytes:
        """Return all the rest."""
        return self._call(lambda: bytes(self._file.read()))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, and return the position."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def fileno(self) -> int:
        """Return the descriptor of a local file."""
        return int(self._file.fileno())

    def close(self) -> None:
        """Close both."""
        self._file.close()
        super().close()


class _Counted(_Through):
    """A reader of the storage, whose bytes count for the call that is under way when they are read."""

    def __init__(self, file: BinaryIO, observed: Callable[[Callable[[], Any]], Any] | None) -> None:
        super().__init__(file)
        self._observed = observed

    def _call(self, read: Callable[[], R]) -> R:
        outer = current.get()
        if outer is None:
            return read()
        result: R = read() if self._observed is None else self._observed(read)
        outer.transferred(len(result) if isinstance(result, bytes) else cast("int", result))
        return result


class _Watching(_Through):
    """The reader that a method returned: its call is under way while it is read, and ends when it is closed."""

    def __init__(self, file: BinaryIO, watch: _Watch) -> None:
        super().__init__(file)
        self._watch = watch

    def _call(self, read: Callable[[], R]) -> R:
        with self._watch:
            return read()

    def close(self) -> None:
        """Close both, and end the call."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._watch.end, "ok")
            super().close()


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast("BinaryIO", buffered(raw, raw.tell()))
