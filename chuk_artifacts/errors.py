"""The exception tree, and the one way in which a driver's errors become ours.

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
_SHOWN_ITEMS = 4  # ids, mostly, of which more than these are cut
_SHOWN_BITS = 640  # Python itself refuses to write out an int of more than 4,300 digits


class ArtifactStoreError(Exception):
    """Base of every error this library raises on purpose.

    Attributes:
        artifact_id: the artifact it is about, or None.
        session_id: the session it is about, or None.
        key: the key of the bytes it is about, or None.
        provider: the provider that failed, or None.

    """

    artifact_id: str | None = None
    session_id: str | None = None
    key: str | None = None
    provider: str | None = None

    def about(self, **attributes: str | None) -> Self:
        """Set those of the attributes that are not set yet, and return the error."""
        for name, value in attributes.items():
            if value is not None and getattr(self, name) is None:
                setattr(self, name, value)
        return self


class ArtifactNotFoundError(ArtifactStoreError, FileNotFoundError):
    """No such artifact: unknown, malformed, deleted, or of another sandbox or session."""


class ArtifactExpiredError(ArtifactNotFoundError):
    """The artifact was there, and its time to live is over."""


class ArtifactCorruptedError(ArtifactStoreError):
    """The stored bytes do not match their record's length or SHA-256."""


class AccessDeniedError(ArtifactStoreError, PermissionError):
    """The operation would cross a session boundary, or is not one of a bound store."""


class InvalidInputError(ArtifactStoreError, ValueError):
    """An argument is wrong; nothing was written."""


class GridError(InvalidInputError):
    """An id or key does not fit the grid layout ``grid/{sandbox}/{session}/{artifact}``."""


class QuotaExceededError(InvalidInputError):
    """There are more bytes than a limit allows; nothing was written.

    Attributes:
        limit: the limit in bytes.
        scope: what it limits: ``"artifact"`` or ``"session"``.

    """

    limit: int = 0
    scope: Literal["artifact", "session"] = "artifact"


class ConflictError(ArtifactStoreError):
    """Somebody else changed the artifact first."""


class ProviderError(ArtifactStoreError):
    """The storage of the bytes is unreachable, refuses, or is out of space."""


class SessionError(ArtifactStoreError):
    """The catalog of records and sessions is unreachable, or refuses."""


class FileTakenError(ConflictError, FileExistsError):
    """A download would replace a file whose name the caller did not choose."""


class OutcomeUnknownError(SessionError):
    """A change may have been made, or may still be: the catalog was lost before it could say so.

    Read before you repeat it. Nothing that the change may need was removed.
    """


def shown(value: object) -> str:
    """Return what messages and log lines show of an argument: its repr, on one line, of at most 200 characters.

    It runs no code of the argument, which may be anything.
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
    """Return the error that says that there is no such artifact; its id may be anything, and of any length."""
    error = ArtifactNotFoundError(f"no artifact {shown(artifact_id)}")
    return error.about(artifact_id=artifact_id) if isinstance(artifact_id, str) else error


def too_large(limit: int) -> QuotaExceededError:
    """Return the error that says that an artifact would have more than *limit* bytes."""
    error = QuotaExceededError(f"data has more than {limit} bytes (max_bytes)")
    error.limit = limit
    return error


class ErrorMap:
    """A context manager that raises a driver's errors as one of ours, chained.

    It holds no state between entry and exit, so that one instance serves all threads.

    Args:
        drivers: the exception classes of the driver.
        target: what they become.
        subject: what the message begins with, such as ``"the catalog"``.
        passing: subclasses of *drivers* that mean something to the caller and pass unchanged.
        secrets: texts that no message may hold. A driver's error that holds one is not chained.

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
        """Keep what it is told."""
        self._drivers = drivers
        self._target = target
        self._subject = subject
        self._passing: tuple[type[Exception], ...] = (ArtifactStoreError, *passing)
        self._secrets = secrets

    def __enter__(self) -> None:
        """Do nothing: all is in the exit."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise *target* from a driver's error, let everything else pass."""
        if error is None or not isinstance(error, self._drivers) or isinstance(error, self._passing):
            return
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        told = self._without_secrets(str(error))
        cause = error if told == str(error) else None
        raise self._target(f"{self._subject}: {self._without_secrets(reason) or type(error).__name__}") from cause

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
