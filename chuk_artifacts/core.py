"""The core that a store and its bound stores share: settings, clock, storage, catalog, threads and running calls."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from chuk_artifacts.catalog import Catalog, open_catalog
from chuk_artifacts.errors import ArtifactStoreError, ErrorMap, InvalidInputError, ProviderError, how_to_install
from chuk_artifacts.fork import Lockable, watch
from chuk_artifacts.instrumentation import AUTO, Instrumentation
from chuk_artifacts.log import log as _log
from chuk_artifacts.ownership import read_secret
from chuk_artifacts.settings import MEMORY, Settings
from chuk_artifacts.signing import Signer
from chuk_artifacts.storage import ObjectExistsError, Storage, open_storage
from chuk_artifacts.threads import Call, Threads

T = TypeVar("T")
R = TypeVar("R")


_OPENTELEMETRY = "opentelemetry.trace"  # an application that configures it has imported it
_KEY_FILE = "signing.key"
_KEY_BYTES = 32
_NO_KEY = "gateway_url needs a signing_key that all processes know: set ARTIFACT_SIGNING_KEY"
_KEY_ERRORS = ErrorMap(
    (OSError,),
    ProviderError,
    "no signing key is configured (ARTIFACT_SIGNING_KEY), and the kept one can't be used",
    passing=(FileNotFoundError,),
)
_WORTH_A_THREAD = 1024 * 1024  # bytes; reading 64 KiB takes a third of the time that handing it to a thread does
_PAUSES = 50
_PAUSE_SECONDS = 0.01


class LocalGateway(Protocol):
    """A server in this process for the signed URLs of a store."""

    url: str

    def close(self) -> None:
        """Stop it; calling it again is harmless."""
        ...


class CallObserver(Protocol):
    """What observes the calls of a store, see :class:`~chuk_artifacts.observing.Observer`."""

    def method(
        self, name: str, function: Callable[[], R], artifact_id: str | None, session_id: str | None, store: object
    ) -> R:
        """Return ``function()``, a call of the method *name* of a store."""
        ...


StartGateway = Callable[["Core"], LocalGateway]
"""A function that starts a gateway for the signed URLs of a core."""


class Core:
    """The open backends of a store, and the calls that are using them.

    :meth:`close` waits for these calls. A call that starts later finds :attr:`closed`.

    A core pickles as its settings without secrets; unpickling opens new backends.

    Args:
        settings: the settings.
        clock: returns the current time in seconds since the epoch.
        start: starts a gateway in this process, if a URL needs one and the settings name none. It must not keep a
            strong reference to the core.
        shared: whether it belongs to :func:`shared_core`, in this process and where it is unpickled.

    Attributes:
        settings: the settings.
        clock: the clock.
        storage: the storage of the bytes.
        catalog: the catalog of the records.
        observer: observes the calls; None: no instrumentation was chosen.
        calls: the running calls, and the thread of each.
        closed: whether new calls are refused.
        identified: whether catalog and storage are known to contain the same identity, or need none.
        warns: whether to warn when it is garbage-collected without being closed.

    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], start: StartGateway, *, shared: bool = False
    ) -> None:
        """Open the backends."""
        self.settings = settings
        self.clock = clock
        self.storage: Storage = open_storage(settings)
        self.catalog: Catalog = open_catalog(settings)
        self.observer: CallObserver | None = None
        self.calls: dict[object, int] = {}
        self.closed: bool = False
        self.identified: bool = not (self.storage.persistent and self.catalog.persistent)
        self.warns: bool = not shared
        self._ended = threading.Event()
        self._shuts_down = False
        self._shared = shared
        self._start = start
        self._threads = Threads(self.storage.parallel, "chuk-artifacts")
        self._made: dict[str, Signer] = {}
        self._starting = threading.Lock()
        self._gateway: LocalGateway | None = None
        self._finalizer = weakref.finalize(self, _close, self.storage, self.catalog)
        self._observe()
        watch(self)
        if self.storage.persistent and not self.catalog.persistent:
            _log.warning(
                "the bytes go to %s and stay there, but their records are in memory and go with this process: set"
                " session_provider to 'sqlite', 'redis' or 'postgres'",
                self.storage.provider,
            )

    def __del__(self) -> None:
        """Warn if the garbage collector, not :meth:`close`, closes connections or files."""
        warns = self.__dict__.get("warns", False) and not self.closed  # __init__ may have failed
        if warns and (self.storage.connected or self.catalog.connected):
            warnings.warn(
                f"a store on {self.storage.provider}+{self.catalog.provider} was not closed",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def _observe(self) -> None:
        """Let an instrumentation, if there is one, observe the calls of the store and of its backends."""
        instrumentation = _instrumentation(self.settings.instrumentation)
        if instrumentation is None:
            return
        from chuk_artifacts.observing import Observer  # noqa: PLC0415 - few stores are observed

        observer = Observer(instrumentation, self.storage, self.catalog)
        self.storage = observer.watched(self.storage, Storage, "storage")
        self.catalog = observer.watched(self.catalog, Catalog, "catalog")
        self.observer = observer

    def check_open(self) -> None:
        """Raise :class:`ArtifactStoreError` if it is closed."""
        if self.closed:
            raise store_is_closed()

    def end_call(self, call: object) -> None:
        """Remove a call that has ended."""
        self.calls.pop(call, None)
        if self.closed:
            self._ended.set()
            if self._shuts_down and not self.calls:
                self._shut_down()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the settings without secrets, and the clock; a shared core unpickles as a shared one."""
        self.check_open()
        return shared_core if self._shared else _reopened, (self.settings.without_secrets(), self.clock, self._start)

    def each(
        self, function: Callable[[T], R], values: Sequence[T], size_of: Callable[[T], int] | None = None
    ) -> list[R]:
        """Call *function* with each value, in threads if that is faster, and return the results.

        Wait for all calls, then raise the first error in the order of the values.

        Args:
            function: the function.
            values: its arguments, one for each call.
            size_of: returns the number of bytes that the call with a value transfers; None: assume many.

        """
        if (
            len(values) < 2  # noqa: PLR2004 - a single call needs no thread
            or self.side_by_side(_WORTH_A_THREAD if size_of is None else max(map(size_of, values))) == 1
        ):
            return [function(value) for value in values]
        return self._threads.each(function, values)

    def begin(self, function: Callable[[T], R], values: Sequence[T], calls: list[Call[R]]) -> None:
        """Start a call of *function* with each value in threads, and append it to *calls*.

        The caller waits for the calls, or gives them up; work that it does meanwhile hides their latency.
        """
        self._threads.begin(function, values, calls)

    def side_by_side(self, size: int) -> int:
        """Return how many calls that transfer *size* bytes each to run side by side.

        The result is 1 for few bytes of a local storage: the transfer takes less time than handing it to a thread.
        """
        storage = self.storage
        return storage.parallel if storage.remote or size >= _WORTH_A_THREAD else 1

    @property
    def signer(self) -> Signer:
        """The signer, which signs and verifies URLs.

        Raises:
            InvalidInputError: no key is configured, and other processes would not know a random one.
            ProviderError: the key can't be read.

        """
        signer = self._made.get("signer")
        if signer is None:  # no lock, since an interrupt could leave it held; all threads use the first
            signer = self._made.setdefault("signer", Signer(self._keys(), self.settings.sandbox_id))
        return signer

    def _keys(self) -> Sequence[str]:
        settings = self.settings
        if settings.signing_keys.secrets:
            return settings.signing_keys.secrets
        if settings.signing_keys.lost:
            raise InvalidInputError("a signing key does not travel between processes: set ARTIFACT_SIGNING_KEY")
        if settings.fs_root is not None:
            return [_kept_key(settings.fs_root, self.storage)]
        if self._lacks_key():
            raise InvalidInputError(_NO_KEY)
        return [_new_key()]

    def _lacks_key(self) -> bool:
        """Whether other processes must know the signing key, and none is configured or kept in a folder."""
        settings = self.settings
        is_known = settings.signing_keys.secrets or settings.fs_root is not None
        return not is_known and settings.gateway_url is not None and settings.storage_provider != MEMORY

    def key_facts(self) -> dict[str, str]:
        """Return a ``warning`` if there is no signing key, or it can't be used; otherwise an empty dict."""
        if self._lacks_key():
            return {"warning": _NO_KEY}
        if self.settings.fs_root is None or self.settings.signing_keys.secrets:
            return {}
        try:
            _read_key(self.settings.fs_root)
        except ProviderError as error:
            return {"warning": str(error)}
        return {}

    @property
    def gateway_url(self) -> str:
        """The base URL of the gateway; a local gateway is started if none is configured."""
        if self.settings.gateway_url is not None:
            return self.settings.gateway_url
        # On one line: an exception that a trace function raises at the end of a block would leave the lock held.
        with self._starting: return self._local_gateway().url  # fmt: skip # noqa: E701

    def _local_gateway(self) -> LocalGateway:
        if self._gateway is None:
            gateway = self._start(self)
            weakref.finalize(self, gateway.close)
            self._gateway = gateway
        return self._gateway

    def close(self, timeout: float | None = None) -> None:
        """Refuse new calls, wait for running ones, and close the backends; calling it again is harmless.

        It does not wait for a call of the closing thread itself, whose data may come from a function that closes the
        store. The end of that call then closes the backends.

        Args:
            timeout: how long to wait, in seconds; None: without limit.

        Raises:
            ArtifactStoreError: calls are still running. They continue, and their backends stay open.

        """
        self.closed = True
        give_up = None if timeout is None else time.monotonic() + timeout
        while self._is_in_use():
            self._ended.clear()
            if self._is_in_use() and not self._ended.wait(give_up and max(give_up - time.monotonic(), 0)):
                raise ArtifactStoreError(
                    f"{len(self.calls)} calls are still under way after {timeout} seconds: close the store again later"
                )
        self._shuts_down = True
        if not self.calls:
            self._shut_down()

    def _shut_down(self) -> None:
        if self._gateway is not None:
            self._gateway.close()
        self._threads.close()
        self._finalizer()
        closed: Any = _Closed()
        self.storage = self.catalog = closed

    def _is_in_use(self) -> bool:
        here = threading.get_ident()
        return any(thread != here for thread in list(self.calls.values()))

    def before_fork(self) -> None:
        """Hold no lock: the child replaces everything that a thread may be using."""

    def after_fork(self, *, child: bool) -> None:
        """In the *child*, drop the threads, which it does not inherit, and the calls that ran in them."""
        if child:
            self._threads.forget()
            self._gateway = None
            self._starting = threading.Lock()
            self._ended = threading.Event()
            here = threading.get_ident()
            self.calls = {call: thread for call, thread in self.calls.items() if thread == here}


class _Shared(Lockable):
    """The cores of this process that stores with equal settings share."""

    def __init__(self) -> None:
        super().__init__()
        self._cores: list[Core] = []

    def core(self, settings: Settings, clock: Callable[[], float], start: StartGateway) -> Core:
        """Return the core of these settings."""
        known = self._known(settings, clock)
        if known is not None:
            return known
        # Not under the lock: opening waits for forks, and forks wait for the lock.
        core = Core(settings, clock, start, shared=True)
        with self._lock:
            known = self._known(settings, clock)
            if known is None:
                self._cores = [*self._cores, core]
                return core
        core.close()
        return known

    def _known(self, settings: Settings, clock: Callable[[], float]) -> Core | None:
        for core in self._cores:
            if core.settings.agrees(settings) and core.clock == clock:
                return core
        return None

    def forget(self) -> None:
        """Drop all cores; each closes when its last store is garbage-collected."""
        with self._lock:
            self._cores = []


_shared = _Shared()


def shared_core(settings: Settings, clock: Callable[[], float], start: StartGateway) -> Core:
    """Return the core that this process shares for these settings; the first call opens it."""
    return _shared.core(settings, clock, start)


def _reopened(settings: Settings, clock: Callable[[], float], start: StartGateway) -> Core:
    """Return the core of an unpickled store, without a warning: a bound store may be unpickled and never closed."""
    core = Core(settings, clock, start)
    core.warns = False
    return core


def forget_shared_cores() -> None:
    """Let the next calls of :func:`shared_core` open new cores."""
    _shared.forget()


def _instrumentation(setting: Instrumentation | str | None) -> Instrumentation | None:
    """Return the instrumentation of a store with this setting.

    ``"auto"`` is OpenTelemetry if this process has imported it, so that no other process pays for the import.

    Raises:
        InvalidInputError: OpenTelemetry is wanted, and is not installed.

    """
    if not isinstance(setting, str):
        return setting
    if setting == AUTO and _OPENTELEMETRY not in sys.modules:
        return None
    try:
        from chuk_artifacts.otel import shared  # noqa: PLC0415 - an extra, which few stores need
    except ImportError as error:
        raise InvalidInputError(
            f"instrumentation 'otel' needs opentelemetry-api ({error}): {how_to_install('otel')}"
        ) from error
    return shared()


def _kept_key(root: str, storage: Storage) -> str:
    """Return the signing key in the root folder; the first process writes it with an exclusive put.

    Reads and plain writes do not suffice for two processes that start at once to agree on a key: each may do its last
    read before the other writes.
    """
    key = _read_key(root)
    if key is None:
        with contextlib.suppress(ObjectExistsError):
            storage.put(_KEY_FILE, _new_key().encode(), exclusive=True)
        key = _read_key(root)
    pauses = _PAUSES
    while key == b"" and pauses:  # without hard links, the file exists for a moment before its content
        time.sleep(_PAUSE_SECONDS)
        key, pauses = _read_key(root), pauses - 1
    if key is None or len(key) != 2 * _KEY_BYTES or not key.isascii():
        raise ProviderError(f"the key in {_KEY_FILE} of the storage's root is damaged: remove it, and all URLs with it")
    return key.decode("ascii")


def _read_key(root: str) -> bytes | None:
    """Return the content of the key file in a root folder, or None if there is no such file.

    Raises:
        ProviderError: the file can't be read, or another user could have made it.

    """
    try:
        with _KEY_ERRORS:
            return read_secret(root, _KEY_FILE, 2 * _KEY_BYTES + 1)
    except FileNotFoundError:
        return None


def _new_key() -> str:
    return os.urandom(_KEY_BYTES).hex()


class _Closed:
    """The storage and the catalog of a closed store: each use raises."""

    persistent = connected = False

    def __getattr__(self, name: str) -> Any:
        """Raise for every attribute."""
        raise store_is_closed()


def store_is_closed() -> ArtifactStoreError:
    """Return the error for a call on a closed store."""
    return ArtifactStoreError("store is closed")


def _close(storage: Storage, catalog: Catalog) -> None:
    storage.close()
    catalog.close()
