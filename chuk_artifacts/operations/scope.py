"""``Scope``: which records can be seen. The rule stands here, and nowhere else."""

from __future__ import annotations

from typing import Protocol

import attrs

from chuk_artifacts import grid
from chuk_artifacts.core import Core, store_is_closed
from chuk_artifacts.errors import AccessDeniedError, ArtifactExpiredError, InvalidInputError, no_artifact
from chuk_artifacts.models import ArtifactMetadata, is_over


@attrs.define(eq=False)
class Scope:
    """An open store, seen as a whole or from one session.

    Attributes:
        core: the open backends, which all views of a store share.
        session_id: the one session that can be reached; None: all.
        closed: whether this view is closed. The core may be open still.

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

    def check(
        self, artifact_id: str, record: ArtifactMetadata | None, now: float, *, incomplete: bool = False
    ) -> ArtifactMetadata:
        """Return a record of the catalog if it can be seen from here and is alive.

        A *complete* pending record holds all metadata of its artifact, and lacks only the bytes.

        Args:
            artifact_id: the id that was asked for.
            record: what the catalog returned for it.
            now: the present in seconds since the epoch.
            incomplete: whether pending records that are not complete count.

        Returns:
            the record.

        Raises:
            ArtifactNotFoundError: there is no record, it belongs to another session, or it is not complete.
            ArtifactExpiredError: its time is over.

        """
        if record is None or (self.session_id is not None and self.session_id != record.session_id):
            raise no_artifact(artifact_id)
        if record.pending is not None and not (record.pending.registered or incomplete):
            raise no_artifact(artifact_id)
        if is_over(record.expires_at, now):
            raise ArtifactExpiredError(f"artifact {artifact_id} has expired")
        return record

    def session(self, session_id: str | None) -> str:
        """Return the session that a call concerns: *session_id*, checked, or else the one this is bound to.

        Raises:
            InvalidInputError: there is neither, or no session can be called that.
            AccessDeniedError: *session_id* is another session than the bound one.

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
        """Return the session to store something in: a fresh one where :meth:`session` would miss one."""
        if session_id is None and self.session_id is None:
            return grid.new_session_id()
        return self.session(session_id)

    def whole(self, method: str) -> Core:
        """Return the core, for a method that concerns the whole store.

        Raises:
            AccessDeniedError: this is bound to a session.

        """
        if self.session_id is not None:
            raise AccessDeniedError(f"{method} concerns the whole store, and this one is bound to a session")
        return self.core


class Scoped(Protocol):
    """A store, as the modules below it see it."""

    @property
    def scope(self) -> Scope:
        """What can be seen of it."""
        ...
