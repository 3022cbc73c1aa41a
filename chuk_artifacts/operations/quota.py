"""The limits of a store: how large an artifact may be, and how many bytes a session may hold.

The catalog enforces a session's limit, in the transaction of the record. What is here refuses data earlier: before its
first byte if its length is known, else as soon as too much of it is read. Before anything is refused, what is over in
the session makes room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from chuk_artifacts.core import Core
from chuk_artifacts.errors import QuotaExceededError, session_full, too_large
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.releasing import release_session
from chuk_artifacts.source import Stream, cap, known_size

T = TypeVar("T")
Refusal = Callable[[], QuotaExceededError]


def limit_size(core: Core, data: bytes | Stream) -> None:
    """Refuse data that no artifact or no session may hold; a stream, when it turns out to be so long.

    Raises:
        QuotaExceededError: *data* is known to be too long.

    """
    for most, refusal in _artifact_limit(core):
        cap(data, most, refusal)
    limit = core.settings.max_session_bytes
    if limit is not None:
        cap(data, limit, partial(session_full, limit))


def check_size(core: Core, size: int) -> None:
    """Refuse an artifact of *size* bytes that is too large; raises as :func:`limit_size`."""
    for most, refusal in _artifact_limit(core):
        if size > most:
            raise refusal()


def _artifact_limit(core: Core) -> list[tuple[int, Refusal]]:
    """Return the limit on an artifact, with what makes the error beyond it; an empty list if there is none."""
    limit = core.settings.max_artifact_bytes
    return [] if limit is None else [(limit, partial(too_large, limit, "max_artifact_bytes"))]


def admit(core: Core, session_id: str, data: Sequence[bytes | Stream], size: int = 0) -> None:
    """Refuse data that a session has no room for; make room first by removing what is over in the session.

    Args:
        core: the backends.
        session_id: the session.
        data: the data. A stream that turns out to be longer than the room is refused while it is read.
        size: how many bytes the session is to take besides; below 0: how many the data replaces.

    Raises:
        QuotaExceededError: the data is known to be too long.

    """
    limit = core.settings.max_session_bytes
    if limit is None:
        return
    sizes = [known_size(one) for one in data]
    needed = size + sum(one for one in sizes if one is not None)
    room = _room(core, session_id, limit, None if None in sizes else needed) - size
    if needed - size > room:
        raise session_full(limit)
    for one in data:
        cap(one, room, partial(session_full, limit))


def limits_on(core: Core, session_id: str, size: int | None) -> list[tuple[int, Refusal]]:
    """Return the limits on data that is about to arrive: each a number of bytes, and what makes the error beyond it.

    Args:
        core: the backends.
        session_id: the session.
        size: the announced number of bytes; None: unknown.

    Raises:
        QuotaExceededError: *size* is too large.

    """
    limits = _artifact_limit(core)
    limit = core.settings.max_session_bytes
    if limit is not None:
        limits.append((_room(core, session_id, limit, size), partial(session_full, limit)))
    for most, refusal in limits:
        if size is not None and size > most:
            raise refusal()
    return limits


def _room(core: Core, session_id: str, limit: int, needed: int | None) -> int:
    """Return how many bytes a session has room for, after removing what is over in it if that may be too few."""
    room = limit - core.catalog.usage(session_id).bytes
    if needed is None or needed > room:
        release_session(core, session_id)
        room = limit - core.catalog.usage(session_id).bytes
    return max(room, 0)


def with_room(core: Core, session_ids: Iterable[str], change: Callable[[], T]) -> T:
    """Return what *change* of the catalog returns; if it fails at a limit, make room in the sessions, and repeat it.

    Raises:
        QuotaExceededError: there is too little room even so.

    """
    try:
        return change()
    except QuotaExceededError:
        for session_id in session_ids:
            release_session(core, session_id)
    return change()


def replace(core: Core, before: ArtifactMetadata, after: ArtifactMetadata) -> bool:
    """Replace a record by its next revision, and return whether it still was *before*; raises as :func:`with_room`."""
    most = core.settings.max_session_bytes
    change = partial(core.catalog.replace, after, expected_revision=before.revision, max_session_bytes=most)
    return with_room(core, [before.session_id], change)


def longest(core: Core, max_bytes: int | None) -> int | None:
    """Return the lowest of *max_bytes* and the limits of the store, in bytes, or None without any."""
    settings = core.settings
    limits = [max_bytes, settings.max_artifact_bytes, settings.max_session_bytes]
    return min((limit for limit in limits if limit is not None), default=None)
