"""Going through all sessions and records of a catalog, page by page; and looking up many that may be damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from chuk_artifacts.catalog import DAMAGE, place
from chuk_artifacts.core import Core
from chuk_artifacts.errors import SessionError
from chuk_artifacts.models import ArtifactMetadata, SessionInfo
from chuk_artifacts.operations.scope import Scope

_PAGE = 500


def all_sessions(scope: Scope, user_id: str | None = None, page_size: int = _PAGE) -> Iterator[SessionInfo]:
    """Yield the unexpired sessions, or those of a user, in any sequence; one that changes meanwhile may come twice."""
    return itertools.chain.from_iterable(pages_of_sessions(scope, user_id, page_size))


def pages_of_sessions(scope: Scope, user_id: str | None, page_size: int) -> Iterator[list[SessionInfo]]:
    """Yield what :func:`all_sessions` does, in pages as the catalog returns them, but for empty ones."""
    after = None
    while True:
        core = scope.open_core  # the store may have been closed since the last page
        page = core.catalog.sessions(core.clock(), page_size, user_id=user_id, after=after)
        if page.found:
            yield page.found
        after = page.after
        if after is None:
            return


def pages_of(scope: Scope, session_id: str, now: float) -> Iterator[list[ArtifactMetadata]]:
    """Yield the records of a session that are not expired, pending ones too, in pages, sorted by filename and id.

    Args:
        scope: the scope of the session.
        session_id: the session.
        now: the present, in seconds since the epoch; 0: expired records too.

    """
    after = None
    while True:
        core = scope.open_core
        page = core.catalog.page(session_id, prefix="", after=after, limit=_PAGE, now=now)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = place(page[-1])


def known_records(core: Core, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
    """Return the record of each id; None if there is none, or if it can't be decoded."""
    return [None if isinstance(found, Exception) else found for found in records_or_errors(core, artifact_ids)]


def records_or_errors(core: Core, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | SessionError | None]:
    """Return the record of each id, None if there is none, or the error if it can't be decoded.

    Raises:
        SessionError: the catalog fails.

    """
    if not artifact_ids:
        return []
    try:
        return [*core.catalog.get(artifact_ids)]
    except SessionError as error:
        if not isinstance(error.__cause__, DAMAGE):
            raise
        if len(artifact_ids) == 1:
            return [error]
    # One by one: many are read at once, and the error does not say which of them is damaged.
    return [found for artifact_id in artifact_ids for found in records_or_errors(core, [artifact_id])]
