"""The exception tree, and the one way in which a driver's errors become ours.

Each class has one layer that raises it::

    ArtifactStoreError
    ├── ArtifactNotFoundError (also FileNotFoundError)
    │   └── ArtifactExpiredError
    ├── ArtifactCorruptedError
    ├── AccessDeniedError (also PermissionError)
    ├── InvalidInputError (also ValueError)
    │   └── GridError
    ├── ConflictError
    ├── ProviderError
    └── SessionError
        └── OutcomeUnknownError
"""

from __future__ import annotations


class ArtifactStoreError(Exception):
    """Base of every error this library raises on purpose."""


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


class ConflictError(ArtifactStoreError):
    """Somebody else changed the artifact first."""


class ProviderError(ArtifactStoreError):
    """The storage of the bytes is unreachable, refuses, or is out of space."""


class SessionError(ArtifactStoreError):
    """The catalog of records and sessions is unreachable, or refuses."""


class OutcomeUnknownError(SessionError):
    """A change may have been made, or may still be: the catalog was lost before it could say so.

    Read before you repeat it. Nothing that the change may need was removed.
    """


def no_artifact(artifact_id: object) -> ArtifactNotFoundError:
    """Return the error that says that there is no such artifact; its id may be anything, and of any length."""
    shown = f"{artifact_id!r:.80}" if isinstance(artifact_id, str) else f"that a {type(artifact_id).__name__} names"
    return ArtifactNotFoundError(f"no artifact {shown}")


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
