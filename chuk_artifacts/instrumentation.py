"""Instrumentation: an object that a store informs of its calls, such as :class:`~chuk_artifacts.otel.OpenTelemetry`.

>>> from chuk_artifacts import ArtifactStore
>>> class Count:
...     def __init__(self):
...         self.ended = []
...     def begin(self, call):
...         return None
...     def end(self, call):
...         if call.layer == "method":
...             self.ended.append((call.name, call.outcome, call.bytes))
>>> count = Count()
>>> with ArtifactStore(instrumentation=count) as store:
...     data = store.retrieve(store.store(b"Hello, world!"))
>>> count.ended
[('store', 'ok', 13), ('retrieve', 'ok', 13)]
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Final, Literal, Protocol, runtime_checkable

import attrs

AUTO: Final = "auto"
OTEL: Final = "otel"
Layer = Literal["method", "storage", "catalog"]
Outcome = Literal["running", "ok", "error", "closed", "interrupted"]


@attrs.define(eq=False, kw_only=True)
class Call:
    """A call of a method of a store, or one that it makes to its storage or its catalog.

    Attributes:
        layer: ``"method"``, ``"storage"`` or ``"catalog"``.
        name: the method, such as ``retrieve``; with another layer that of the backend, such as ``storage.get``.
        storage_provider: where the bytes are.
        session_provider: where the records are.
        remote: whether the call waits for a network.
        artifact_id: the artifact, if the call names one.
        session_id: the session, if the call names one or the store is bound to one.
        key: the key of the bytes, with the layer ``"storage"``.
        parent: the call that made this one, or None.
        outcome: ``"running"``, then ``"ok"``, ``"error"`` (it raised), ``"closed"`` (its iterator or reader was left
            before its end) or ``"interrupted"`` (by Ctrl-C, for example).
        error: the exception that it raised, or None.
        seconds: how long it took; for an iterator or a reader until it was closed.
        facts: what else the call returned, such as the numbers of a cleanup.
        cached: whether the catalog knew the session from its cache; None: it did not look there.
        state: for the instrumentation, which may keep here what belongs to the call.
        store: internal, tells stores apart.

    """

    layer: Layer
    name: str
    storage_provider: str
    session_provider: str
    remote: bool = False
    artifact_id: str | None = None
    session_id: str | None = None
    key: str | None = None
    parent: Call | None = None
    outcome: Outcome = "running"
    error: BaseException | None = None
    seconds: float = 0.0
    facts: Mapping[str, int] = attrs.field(factory=dict)
    cached: bool | None = None
    state: Any = None
    store: object = attrs.field(default=None, repr=False)
    _sizes: list[int] = attrs.field(factory=list, init=False, repr=False)
    _retries: list[None] = attrs.field(factory=list, init=False, repr=False)

    @property
    def provider(self) -> str:
        """The provider of the records with the layer ``"catalog"``, else that of the bytes."""
        return self.session_provider if self.layer == "catalog" else self.storage_provider

    @property
    def bytes(self) -> int:
        """How many bytes it has transferred to or from the storage."""
        return sum(self._sizes)

    @property
    def attempts(self) -> int:
        """How often it was tried: 1, and 1 more for each repeated request and each change that another writer beat."""
        return 1 + len(self._retries)

    @property
    def error_class(self) -> str | None:
        """The name of the class of the exception, or None."""
        return None if self.error is None else type(self.error).__name__

    def transferred(self, size: int) -> None:
        """Add to the bytes of this call, and of those that made it. Appending to a list is atomic among threads."""
        call: Call | None = self
        while call is not None:
            call._sizes.append(size)  # noqa: SLF001 - another of this class
            call = call.parent

    def retried(self) -> None:
        """Count one more attempt of this call, and of those that made it."""
        call: Call | None = self
        while call is not None:
            call._retries.append(None)  # noqa: SLF001 - as above
            call = call.parent


@runtime_checkable
class Instrumentation(Protocol):
    """What a store informs of its calls. Its methods are called in the threads that make the calls, several at once.

    An exception that one of them raises is logged, and does not disturb the call. If it also has a method
    ``enabled()``, only calls that begin while that returns True are observed; others cost nearly nothing.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> class Names:
        ...     def __init__(self):
        ...         self.names = []
        ...     def begin(self, call):
        ...         self.names.append(call.name)
        ...     def end(self, call):
        ...         pass
        >>> names = Names()
        >>> with ArtifactStore(instrumentation=names) as store:
        ...     artifact_id = store.store(b"Hello, world!")
        >>> isinstance(names, Instrumentation), names.names[0]
        (True, 'store')

    """

    def begin(self, call: Call, /) -> AbstractContextManager[object] | None:
        """Note that *call* begins.

        Return a context manager that is entered while it runs, or None. That of an iterator or a reader is entered
        again for each step, maybe in another thread.
        """
        ...

    def end(self, call: Call, /) -> None:
        """Note that *call* has ended, once."""
        ...


current: ContextVar[Call | None] = ContextVar("chuk_artifacts_call", default=None)
"""The call that is under way in this thread or task, if it is observed."""


def retried() -> None:
    """Count one more attempt of the call that is under way, if it is observed."""
    call = current.get()
    if call is not None:
        call.retried()


def looked_up(*, cached: bool) -> None:
    """Note that the call that is under way, if it is observed, looked for a session in a cache."""
    call = current.get()
    if call is not None:
        call.cached = cached
