"""Listing the artifacts of a session, by page or by filename."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from chuk_artifacts import arguments
from chuk_artifacts.catalog import place
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.finding import age, artifacts, public
from chuk_artifacts.operations.scope import Scope

PAGE_SIZE = 1000


@operation
def pages(
    scope: Scope,
    session_id: str | None,
    *,
    prefix: str = "",
    start: str = "",
    page_size: int = PAGE_SIZE,
) -> Iterator[ArtifactMetadata]:
    """Iterate over the artifacts of a session, one page of the catalog at a time.

    See :meth:`ArtifactStore.iter_session`.
    """
    return _listing(scope, scope.session(session_id), prefix, None, page_size, start=start)


@operation
def listed(scope: Scope, session_id: str | None, prefix: str, limit: int | None) -> list[ArtifactMetadata]:
    """Return the artifacts of a session whose filenames begin with *prefix*, at most *limit*."""
    return list(_listing(scope, scope.session(session_id), prefix, limit, PAGE_SIZE))


@operation
def lookup(scope: Scope, session_id: str | None, filename: str) -> ArtifactMetadata | None:
    """Return the newest artifact of a session with a filename; see :meth:`ArtifactStore.lookup`."""
    session_id, filename = scope.session(session_id), arguments.check_filename(filename)
    _log.debug("lookup %s %s", session_id, filename)
    core = scope.core
    found = artifacts(scope, core.catalog.named(session_id, filename, core.clock()))
    return public(core, max(found, key=age)) if found else None


def _listing(
    scope: Scope, session_id: str, prefix: str, limit: int | None, page_size: int, *, start: str = ""
) -> Iterator[ArtifactMetadata]:
    after = (start, "") if start > prefix else None
    remaining = limit
    while remaining is None or remaining > 0:
        scope.check_open()  # the store may have been closed since the last page
        core = scope.core
        wanted = page_size if remaining is None else min(remaining, page_size)
        page = core.catalog.page(session_id, prefix=prefix, after=after, limit=wanted, now=core.clock())
        seen = artifacts(scope, page)
        yield from map(partial(public, core), seen) if core.catalog.returns_live_objects else seen
        if len(page) < wanted:
            return
        after = place(page[-1])
        remaining = None if remaining is None else remaining - len(seen)
