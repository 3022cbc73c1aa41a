"""Going through all sessions and records of a catalog, page by page; and looking up many that may be damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from chuk_artifacts.catalog import place
from chuk_artifacts.core import Core
from chuk_artifacts.errors import SessionError
from chuk_artifacts.models import ArtifactMetadata, SessionInfo
from chuk_artifacts.operations.scope import Scope

_PAGE = 500
_NO_ARTIFACT = "0" * 32


def all_sessions(scope: Scope) -> Iterator[SessionInfo]:
    """Yield the unexpired sessions, in any sequence; one that changes meanwhile may come twice."""
    after = None
    while True:
        core = scope.open_core  # the store may have been closed since the last page
        page = core.catalog.sessions(core.clock(), _PAGE, after=after)
        yield from page.found
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
    if not artifact_ids:
        return []
    with contextlib.suppress(SessionError):
        return core.catalog.get(artifact_ids)
    core.catalog.get((_NO_ARTIFACT,))  # raises if the catalog does not answer; otherwise one of the records is damaged
    found: list[ArtifactMetadata | None] = []
    for artifact_id in artifact_ids:
        try:
            found += core.catalog.get((artifact_id,))
        except SessionError:
            found.append(None)
    return found
