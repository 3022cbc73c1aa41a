"""``Scope``: decides which records are visible. No other module does."""

from __future__ import annotations

from typing import Protocol

import attrs

from chuk_artifacts import grid
from chuk_artifacts.core import Core, store_is_closed
from chuk_artifacts.errors import AccessDeniedError, ArtifactExpiredError, InvalidInputError, no_artifact
from chuk_artifacts.models import ArtifactMetadata, is_over


@attrs.define(eq=False)
class Scope:
    """An open store, or a view of it that is bound to one session.

    Attributes:
        core: the open backends, which all views of a store share.
        session_id: the bound session; None: all sessions are visible.
        closed: whether this view is closed. Its core may still be open.

    """

    core: Core
    session_id: str | None = None
    closed: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether this view or its core is closed."""
        return self.closed or self.core.closed

    def check_open(self) -> None:
        """Raise :class:`ArtifactStoreError` when this view or its core is closed."""
        if self.is_closed:
            raise store_is_closed()

    @property
    def open_core(self) -> Core:
        """The core; raise as :meth:`check_open` does."""
        self.check_open()
        return self.core

    def check(
        self, artifact_id: str, record: ArtifactMetadata | None, now: float, *, incomplete: bool = False
    ) -> ArtifactMetadata:
        """Return a record if it is visible in this scope and has not expired.

        A *complete* pending record already holds all metadata of its artifact, and lacks only the bytes.

        Args:
            artifact_id: the requested id.
            record: the catalog's record, or None.
            now: the current time in seconds since the epoch.
            incomplete: whether to accept pending records that are not complete.

        Returns:
            the record.

        Raises:
            ArtifactNotFoundError: *record* is None, belongs to another session, or is pending and not complete.
            ArtifactExpiredError: the record has expired.

        """
        if record is None or (self.session_id is not None and self.session_id != record.session_id):
            raise no_artifact(artifact_id)
        if record.pending is not None and not (record.pending.complete or incomplete):
            raise no_artifact(artifact_id)
        if is_over(record.expires_at, now):
            raise ArtifactExpiredError(f"artifact {artifact_id} has expired")
        return record

    def session(self, session_id: str | None) -> str:
        """Return *session_id*, validated, or else the bound session.

        Raises:
            InvalidInputError: there is neither, or *session_id* is malformed.
            AccessDeniedError: *session_id* is not the bound session.

        """
        bound = self.session_id
        if session_id is None:
            if bound is None:
                raise InvalidInputError("session_id must be given")
            return bound
        session_id = grid.check_session_id(session_id)
        if bound is not None and bound != session_id:
            raise AccessDeniedError("this store is bound to another session")
        return session_id

    def new_session(self, session_id: str | None) -> str:
        """Return the session to store in, as :meth:`session` does, or a new one if there is neither."""
        if session_id is None and self.session_id is None:
            return grid.new_session_id()
        return self.session(session_id)

    def unbound_core(self, method: str) -> Core:
        """Return the core for *method*, which concerns the whole store.

        Raises:
            AccessDeniedError: the scope is bound to a session.

        """
        if self.session_id is not None:
            raise AccessDeniedError(f"{method} concerns the whole store, and this one is bound to a session")
        return self.core


class Scoped(Protocol):
    """The part of a store that gateway and filesystem use."""

    @property
    def scope(self) -> Scope:
        """The store's backends and bound session."""
        ...
