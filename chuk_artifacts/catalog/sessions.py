"""The rules of sessions, the same in every catalog: how they begin, how long they live, who owns them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from chuk_artifacts import grid
from chuk_artifacts.arguments import LAST_MOMENT, Limits, check_moment
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over, seconds_of, timestamp

_LEAST_OF_TTL = 0.001


def join_sessions(
    records: Sequence[ArtifactMetadata],
    known: Callable[[str], SessionInfo | None],
    *,
    now: float,
    inheriting: Collection[str],
    user_ids: Mapping[str, str],
    session_ttl: float | None,
) -> tuple[list[ArtifactMetadata], dict[str, SessionInfo]]:
    """Match new records and their sessions: what records inherit, and how long sessions live because of them.

    A session that is missing or expired begins anew. Each lives at least as long as its longest-lived record.

    Args:
        records: the new records, with the ttl they have in a new session.
        known: returns an existing session by its id, or None.
        now: the present, in seconds since the epoch.
        inheriting: the ids of the records that inherit the ttl of their session.
        user_ids: users by session; they become the owners of sessions without one.
        session_ttl: how long a new session lives, in seconds; None means for ever.

    Returns:
        the records to write, and the sessions to write by their ids, which are those that are new or changed.

    """
    joined = []
    sessions: dict[str, SessionInfo] = {}
    for record in records:
        session_id = record.session_id
        before = info = sessions.get(session_id) or known(session_id)
        if info is None or is_over(info.expires_at, now):
            info = new_session(session_id, record.sandbox_id, now=now, ttl=session_ttl)
        if session_id.startswith(grid.OF_USER):
            info = owned(info)
        if info.ttl != record.ttl and record.artifact_id in inheriting:
            expires_at = None if info.ttl is None else timestamp(now + info.ttl)
            record = record.changed(ttl=info.ttl, expires_at=expires_at)  # noqa: PLW2901 - the completed one
        info = prolonged(info, record.expires_at)
        if info.user_id is None and session_id in user_ids:
            info = info.changed(user_id=user_ids[session_id])
        if info is not before:
            sessions[session_id] = info
        joined.append(record)
    return joined, sessions


def merged(known: SessionInfo | None, given: SessionInfo, now: float, *, prefer_given: bool) -> SessionInfo | None:
    """Return a session to write, which holds the facts of a known one and of a *given* one; None to write nothing.

    A given session that has ended adds nothing, and replaces none. Of two that live, the result begins with the earlier
    one and has its ttl, or the longer ttl if both began at once. It ends with the later one, belongs to the known user
    if there is one, and has the metadata of both.

    Args:
        known: the session in the catalog, or None.
        given: the session of an export, or what the storage keeps of it.
        now: the present, in seconds since the epoch.
        prefer_given: whether the given session's value of an item of metadata wins over the known one.

    """
    if is_over(given.expires_at, now):
        return None
    given = owned(given)
    if known is None or is_over(known.expires_at, now):
        return given
    first = min(known, given, key=lambda info: info.created_at)
    ttls = [known.ttl, given.ttl] if known.created_at == given.created_at else [first.ttl]
    both = (known, given) if prefer_given else (given, known)
    result = known.changed(
        created_at=first.created_at,
        ttl=None if None in ttls else max(ttl for ttl in ttls if ttl is not None),
        expires_at=later(known.expires_at, given.expires_at),
        user_id=given.user_id if known.user_id is None else known.user_id,
        custom_metadata={**both[0].custom_metadata, **both[1].custom_metadata},
    )
    return None if result == known and result.ttl == known.ttl else result


def later(expires_at: str | None, other: str | None) -> str | None:
    """Return the later of two ends; None, for never, is the latest."""
    return None if expires_at is None or other is None else max(expires_at, other)


def owned(info: SessionInfo) -> SessionInfo:
    """Return *info*; if it is a user's own session, one that never expires and belongs to that user."""
    user_id = grid.user_of(info.session_id)
    if user_id is None or (info.user_id is not None and info.ttl is None and info.expires_at is None):
        return info
    return info.changed(user_id=info.user_id or user_id, ttl=None, expires_at=None)


def new_session(
    session_id: str,
    sandbox_id: str,
    *,
    now: float,
    ttl: float | None,
    user_id: str | None = None,
    custom_metadata: dict[str, Any] | None = None,
) -> SessionInfo:
    """Return a session that begins now."""
    return SessionInfo(
        session_id=session_id,
        sandbox_id=sandbox_id,
        user_id=user_id,
        created_at=timestamp(now),
        expires_at=None if ttl is None else timestamp(now + ttl),
        custom_metadata=custom_metadata or {},
        ttl=ttl,
    )


def lasting(info: SessionInfo, expires_at: str | None) -> SessionInfo:
    """Return *info* with an end no earlier than *expires_at*."""
    if info.expires_at is None or (expires_at is not None and expires_at <= info.expires_at):
        return info
    return info.changed(expires_at=expires_at)


def prolonged(info: SessionInfo, expires_at: str | None) -> SessionInfo:
    """Return *info* with an end no earlier than that of a new record, *expires_at*.

    An extension is at least a thousandth of the session's ttl, so that a session that gets many records is written now
    and then instead of with each of them.
    """
    before = info.expires_at
    if before is not None and expires_at is not None and expires_at > before and info.ttl is not None:
        moment = seconds_of(before) + info.ttl * _LEAST_OF_TTL
        expires_at = max(expires_at, timestamp(min(moment, LAST_MOMENT)))
    return lasting(info, expires_at)


def updated(
    info: SessionInfo, custom_metadata: Mapping[str, object] | None, extend: float, limits: Limits
) -> SessionInfo:
    """Return *info* with metadata merged in; it, and what is stored in it later, lives *extend* seconds longer.

    Raises:
        InvalidInputError: the merged metadata are too long, or the new end lies past the year 9999.

    """
    expires_at, ttl = info.expires_at, info.ttl
    if extend and expires_at is not None:
        expires_at = timestamp(check_moment("additional_hours", seconds_of(expires_at) + extend))
    if extend and ttl is not None:
        ttl += extend
    metadata = limits.check_merged("metadata", info.custom_metadata, custom_metadata or {})
    return info.changed(expires_at=expires_at, ttl=ttl, custom_metadata=metadata)
