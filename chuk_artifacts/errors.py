"""The exceptions, and the context manager that maps a driver's errors to them.

Each class has one layer that raises it::

    ArtifactStoreError
    ├── ArtifactNotFoundError (also FileNotFoundError)
    │   └── ArtifactExpiredError
    ├── ArtifactCorruptedError
    ├── AccessDeniedError (also PermissionError)
    ├── InvalidInputError (also ValueError)
    │   ├── GridError
    │   └── QuotaExceededError
    ├── ConflictError
    ├── ProviderError
    └── SessionError
        └── OutcomeUnknownError
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

SHOWN = 200
"""How many characters of an argument a message repeats at most."""
_SHOWN_OF_ERRORS = 1000
_SHOWN_ITEMS = 4  # mostly ids, which are cut after four
_SHOWN_BITS = 640  # Python refuses to format an int of more than 4,300 digits


class ArtifactStoreError(Exception):
    """Base class of all errors of this library.

    Attributes:
        artifact_id: the artifact it is about, or None.
        session_id: the session it is about, or None.
        key: the key of the bytes it is about, or None.
        provider: the provider that failed, or None.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> try:
        ...     ArtifactStore().retrieve("unknown")
        ... except ArtifactStoreError as error:
        ...     print(error, "|", error.artifact_id)
        no artifact 'unknown' | unknown

    """

    artifact_id: str | None = None
    session_id: str | None = None
    key: str | None = None
    provider: str | None = None

    def about(self, **attributes: str | None) -> Self:
        """Set the attributes that are still None, and return the error."""
        for name, value in attributes.items():
            if value is not None and getattr(self, name) is None:
                setattr(self, name, value)
        return self


class ArtifactNotFoundError(ArtifactStoreError, FileNotFoundError):
    """No such artifact: unknown, malformed, deleted, or of another sandbox or session.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> ArtifactStore().retrieve("unknown")
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.ArtifactNotFoundError: no artifact 'unknown'

    """


class ArtifactExpiredError(ArtifactNotFoundError):
    """The artifact has expired.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> now = 1_800_000_000.0
        >>> store = ArtifactStore(clock=lambda: now)
        >>> artifact_id = store.store(b"...", ttl=60)
        >>> now += 61
        >>> store.retrieve(artifact_id)
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.ArtifactExpiredError: artifact ... has expired

    """


class ArtifactCorruptedError(ArtifactStoreError):
    """The stored bytes do not match the length or SHA-256 in the record.

    Example:
        >>> import pathlib, tempfile
        >>> from chuk_artifacts import ArtifactStore
        >>> with tempfile.TemporaryDirectory() as folder, ArtifactStore(storage_provider="fs", fs_root=folder) as store:
        ...     artifact_id = store.store(b"Hello, world!")
        ...     _ = pathlib.Path(folder, store.metadata(artifact_id).key).write_bytes(b"Hello, World!")
        ...     store.retrieve(artifact_id)
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.ArtifactCorruptedError: ...

    """


class AccessDeniedError(ArtifactStoreError, PermissionError):
    """The call would cross a session boundary, or the method is not available on a bound store.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> ArtifactStore().session("user_alice").list_by_session("user_bob")
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.AccessDeniedError: this store is bound to another session

    """


class InvalidInputError(ArtifactStoreError, ValueError):
    """An argument is wrong; nothing was written.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> ArtifactStore().store(b"...", ttl=-1)
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.InvalidInputError: ttl must be ...

    """


class GridError(InvalidInputError):
    """An id or key does not fit the grid layout ``grid/{sandbox}/{session}/{artifact}``.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> ArtifactStore().session("..")
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.GridError: session_id must not be '..'

    """


class QuotaExceededError(InvalidInputError):
    """The data exceeds a limit; nothing was written.

    Attributes:
        limit: the limit in bytes.
        scope: what is limited: ``"artifact"`` or ``"session"``.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> try:
        ...     ArtifactStore(max_session_bytes=10).store(b"Hello, world!")
        ... except QuotaExceededError as error:
        ...     print(error.scope, error.limit)
        session 10

    """

    limit: int = 0
    scope: Literal["artifact", "session"] = "artifact"


class ConflictError(ArtifactStoreError):
    """Another writer changed the artifact first.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> artifact_id = store.store(b"...")
        >>> store.update_file(artifact_id, data=b"...", if_revision=7)
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.ConflictError: artifact ... has revision 1, not 7

    """


class ProviderError(ArtifactStoreError):
    """The storage is unreachable, refused the request, or is out of space.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> def report(store: ArtifactStore) -> str:
        ...     try:
        ...         return f"{store.get_stats()['artifacts']} artifacts"
        ...     except ProviderError as error:
        ...         return f"the storage {error.provider} fails: {error}"
        >>> report(ArtifactStore())
        '0 artifacts'

    """


class SessionError(ArtifactStoreError):
    """The catalog is unreachable, or refused the request.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> with ArtifactStore(session_provider="redis", redis_url="redis://127.0.0.1:1", max_retries=0) as store:
        ...     store.usage("user_alice")
        Traceback (most recent call last):
            ...
        chuk_artifacts.errors.SessionError: catalog redis://127.0.0.1:1: ...

    """


class FileTakenError(ConflictError, FileExistsError):
    """A download would replace a file whose name the caller did not choose."""


class OutcomeUnknownError(SessionError):
    """The connection to the catalog was lost before it confirmed a change, which may or may not have been made.

    Read the record before you repeat the call. No bytes that the change may refer to were deleted.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> def rename(store: ArtifactStore, artifact_id: str, filename: str) -> None:
        ...     try:
        ...         store.move_file(artifact_id, new_filename=filename)
        ...     except OutcomeUnknownError:
        ...         if store.metadata(artifact_id).filename != filename:
        ...             raise
        >>> store = ArtifactStore()
        >>> rename(store, store.store(b"...", filename="a.txt"), "b.txt")

    """


def shown(value: object) -> str:
    """Return a value as messages and log lines show it: its repr on one line, cut to 200 characters.

    No method of the value is called, since its class may be the caller's own.
    """
    text = _repr(value)
    limit = _SHOWN_OF_ERRORS if isinstance(value, BaseException) else SHOWN
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _repr(value: object) -> str:
    if isinstance(value, str):
        return repr(str.__getitem__(value, slice(SHOWN)))
    if isinstance(value, int) and not isinstance(value, bool):
        bits = int.bit_length(value)
        return int.__repr__(value) if bits <= _SHOWN_BITS else f"an integer of {bits} bits"
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, BaseException):
        return repr(str(value))
    if isinstance(value, (list, tuple)) and type(value) in {list, tuple}:
        return _repr_of_items(value)
    return repr(value) if type(value) in {bool, type(None)} else f"<{type(value).__name__}>"


def _repr_of_items(values: Sequence[object]) -> str:
    first = ", ".join(map(shown, values[:_SHOWN_ITEMS]))
    return f"[{first}]" if len(values) <= _SHOWN_ITEMS else f"{len(values)} items: [{first}, …]"


def no_artifact(artifact_id: object) -> ArtifactNotFoundError:
    """Return the error for an unknown artifact; *artifact_id* may be any object."""
    error = ArtifactNotFoundError(f"no artifact {shown(artifact_id)}")
    return error.about(artifact_id=artifact_id) if isinstance(artifact_id, str) else error


def too_large(limit: int, argument: str = "max_bytes") -> QuotaExceededError:
    """Return the error for data of more than *limit* bytes, the value of *argument*."""
    error = QuotaExceededError(f"data has more than {limit} bytes ({argument})")
    error.limit = limit
    return error


def session_full(limit: int) -> QuotaExceededError:
    """Return the error for a change after which a session would hold more than *limit* bytes."""
    error = QuotaExceededError(f"the session would hold more than {limit} bytes (max_session_bytes)")
    error.limit, error.scope = limit, "session"
    return error


class ErrorMap:
    """A context manager that raises a driver's errors as one of ours, chained.

    It keeps no state between entry and exit, so one instance serves all threads.

    Args:
        drivers: the exception classes of the driver.
        target: the exception class to raise.
        subject: the start of the message, for example ``"the catalog"``.
        passing: subclasses of *drivers* that pass unchanged, because the caller handles them.
        secrets: texts that no message may contain. A driver's error that contains one is not chained.

    """

    __slots__ = ("_drivers", "_passing", "_secrets", "_subject", "_target")

    def __init__(
        self,
        drivers: tuple[type[Exception], ...],
        target: type[ArtifactStoreError],
        subject: str,
        passing: tuple[type[Exception], ...] = (),
        secrets: tuple[str, ...] = (),
    ) -> None:
        """Keep the arguments."""
        self._drivers = drivers
        self._target = target
        self._subject = subject
        self._passing: tuple[type[Exception], ...] = (ArtifactStoreError, *passing)
        self._secrets = secrets

    def __enter__(self) -> None:
        """Enter the block; only :meth:`__exit__` acts."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise *target* from a driver's error; every other exception passes."""
        if error is None or not isinstance(error, self._drivers) or isinstance(error, self._passing):
            return
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        cause = error if self._without_secrets(str(error)) == str(error) else None
        raise self._target(f"{self._subject}: {self._without_secrets(reason) or type(error).__name__}") from cause

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, for the message of an error.

    PyPI's package of this name is another library, so the command is for a clone.
    """
    return f"python -m pip install '.[{extra}]' in a clone of this project (PyPI's chuk-artifacts is another library)"
