"""Where records and sessions live: the contract of a backend, and the rules that are the same in each.

A catalog is bound to one sandbox: it neither shows nor changes what another holds. It never hears of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import attrs

from chuk_artifacts import grid
from chuk_artifacts.arguments import LAST_MOMENT, LIMITS, OCTET_STREAM, Limits, check_moment
from chuk_artifacts.errors import ConflictError, SessionError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over, seconds_of, timestamp
from chuk_artifacts.settings import MEMORY, REDIS, Settings

T = TypeVar("T")
R = TypeVar("R")

DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What decoding a record may raise that was not written here, or was damaged since."""

_LEAST_OF_TTL = 0.001
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

NOBODY: Mapping[str, str] = MappingProxyType({})
"""No users of any session."""


class FilenameTakenError(ConflictError):
    """The filename is taken in the session, and the add was exclusive. Internal: callers get a ``ConflictError``."""


@attrs.frozen
class Due:
    """One page of the records that cleanup has to do with.

    Attributes:
        records: the records, those first that have been due longest.
        damaged: the ids of the records on this page that can't be decoded.
        after: where the next page begins, for :meth:`Catalog.due`; None: this was the last page.

    """

    records: list[ArtifactMetadata]
    damaged: list[str]
    after: Any


class Catalog(Protocol):
    """What every backend does. Any method but ``close`` raises ``SessionError`` when the backend fails.

    ``now`` is the present in seconds since the epoch. An expired session is as good as none. The id of a record begins
    with its session's :func:`chuk_artifacts.grid.slot_tag`.

    Attributes:
        provider: the name by which a user chooses this backend.
        blocks: whether a call may wait for a disk or a network.
        keeps: whether what it returns is what it holds, so that a copy is what may be given away.
        persistent: whether the records outlive the catalog object.
        connected: whether it holds connections or files now, which ``close`` gives back.

    """

    provider: str
    blocks: bool
    keeps: bool
    persistent: bool

    @property
    def connected(self) -> bool: ...  # noqa: D102 - see above

    def add(
        self,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NOBODY,
        exclusive: bool = False,
    ) -> None:
        """Add new records, all of them or none, and create or prolong their sessions with them: see :func:`settle`.

        An *exclusive* add raises ``FilenameTakenError`` when a record of the session takes the filename of one of them
        (see :func:`takes_filename`); of several at once that are exclusive, one succeeds. No filename is never taken.
        """
        ...

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, expired ones too, or None where there is none."""
        ...

    def replace(self, record: ArtifactMetadata, *, expected_revision: int) -> bool:
        """Put *record* in the place of the one with its id if that has the revision, and prolong its session."""
        ...

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Do as :meth:`replace` does with many records, each with its expected revision; tell which were replaced.

        Each is replaced or not by itself. When this raises, some of them may have been.
        """
        ...

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records, and return those that were there; with conditions, only such as meet them.

        A record that can't be decoded is removed too, and returned as :func:`salvaged` makes it.
        """
        ...

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return at most *limit* unexpired records of a session, by :func:`place`, which is greater than *after*.

        *after* need not be the place of any record: ``(filename, "")`` is the one before all of a filename. A record
        that can't be decoded is skipped with a logged warning; fewer than *limit* records are the end of the listing.
        """
        ...

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the unexpired records of a session with a filename, which is not empty, by their ids."""
        ...

    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of at most *limit* records that are expired or hold superseded bytes whose time is over.

        *after* is that of the page before, or None for the first. What is changed between two pages may be on both or
        on none of them; a record that becomes due later than before, but still by *now*, is met again. Fewer than
        *limit* records, damaged ones included, are the last page.
        """
        ...

    def create_session(self, info: SessionInfo) -> None:
        """Add a session."""
        ...

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        ...

    def update_session(
        self,
        session_id: str,
        now: float,
        *,
        custom_metadata: Mapping[str, Any] | None = None,
        extend: float = 0,
        limits: Limits = LIMITS,
    ) -> bool:
        """Merge metadata into a session, or let it live *extend* seconds longer; False when there is none.

        Raise ``InvalidInputError`` when all its metadata would be longer than *limits* allow.
        """
        ...

    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove at most *limit* records of a session and return them; with the last of them the session goes too.

        Return None when there is no such session. Fewer than *limit* records are the last of them. So the caller
        repeats this until it returns None or fewer, and after a crash in the middle a second caller finishes. Records
        that can't be decoded are returned as with :meth:`remove`.
        """
        ...

    def expire_sessions(self, now: float, *, dry_run: bool = False) -> int:
        """Remove the expired sessions, and return how many there were; *dry_run* only counts them."""
        ...

    def stats(self, now: float) -> dict[str, int]:
        """Return the number of unexpired ``sessions`` and ``artifacts``, and the artifacts' length in ``bytes``.

        A pending record is no artifact. What is changed while it is being counted may be missing, or be there twice.
        """
        ...

    def identity(self, create: str | None = None) -> str | None:
        """Return the identity of this catalog in its sandbox; where it has none, make *create* its identity first.

        None: it has none, and *create* is None. Of several callers at once, all get the same. A catalog that is not
        persistent has none, ever.
        """
        ...

    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return at most *limit* unexpired records that are not pending, of any sessions, in any order."""
        ...

    def verify(self) -> int:
        """Return how many records can't be decoded or are not filed under what they say of themselves.

        It reads all records of the sandbox. Raise ``SessionError`` when the catalog as a whole is damaged, so that its
        answers can't be trusted.
        """
        ...

    def check(self) -> dict[str, str]:
        """Write a few KiB and remove them again; return facts about it, and in ``warning`` what may lose data."""
        ...

    def close(self) -> None:
        """Give back what is held; harmless the second time."""
        ...


def salvaged(
    sandbox_id: str,
    session_id: str,
    artifact_id: str,
    *,
    provider: str,
    filename: str | None = None,
    bytes: int = 0,
    revision: int = 1,
    expires_at: str | None = None,
) -> ArtifactMetadata:
    """Return what can be said of a record that can't be decoded, by what it was filed under.

    Its key is that of the first content. Where later contents are is not known: an orphan sweep finds them.
    """
    return ArtifactMetadata(
        artifact_id=artifact_id,
        session_id=session_id,
        sandbox_id=sandbox_id,
        key=grid.artifact_key(sandbox_id, session_id, artifact_id),
        mime=OCTET_STREAM,
        summary="",
        meta={},
        filename=filename,
        bytes=bytes,
        sha256="",
        stored_at=timestamp(0),
        updated_at=timestamp(0),
        expires_at=expires_at,
        ttl=None,
        revision=revision,
        storage_provider="",
        session_provider=provider,
    )


def decoded(stored: T, decode: Callable[[T], R]) -> R:
    """Return what *decode* makes of what is stored; raise ``SessionError`` when that was not written here."""
    try:
        return decode(stored)
    except DAMAGE as error:
        raise SessionError(f"catalog: a record is damaged: {type(error).__name__}: {error}") from error


def decode_record(text: str, artifact_id: str, sandbox_id: str) -> ArtifactMetadata:
    """Return the record of a JSON text; raise one of :data:`DAMAGE` when it is none, or another one."""
    record = ArtifactMetadata.from_json(text)
    if record.artifact_id != artifact_id or record.sandbox_id != sandbox_id:
        raise _misfiled(record, artifact_id, sandbox_id)
    return record


def decode_records(
    texts: Sequence[str], artifact_ids: Sequence[str], sandbox_id: str, session_id: str | None = None
) -> list[ArtifactMetadata]:
    """Return the records of JSON texts; raise one of :data:`DAMAGE` when one is none, or another one.

    Args:
        texts: the texts.
        artifact_ids: what they are filed under.
        sandbox_id: the sandbox that the catalog is bound to.
        session_id: the session that is listed; None: those of any are wanted.

    """
    records = ArtifactMetadata.from_jsons(texts)
    for record, artifact_id in zip(records, artifact_ids, strict=True):
        if record.artifact_id != artifact_id or record.sandbox_id != sandbox_id:
            raise _misfiled(record, artifact_id, sandbox_id)
        if record.session_id != session_id and session_id is not None:
            raise _misfiled(record, artifact_id, session_id)
    return records


def _misfiled(record: ArtifactMetadata, *filed: str) -> ValueError:
    is_really = record.artifact_id, record.sandbox_id, record.session_id
    return ValueError(f"filed under {filed!r:.200}, and says of itself that it is {is_really!r:.200}")


def decode_session(text: str, expires_at: str | None, session_id: str, sandbox_id: str) -> SessionInfo:
    """Return the session of a JSON text, which ends at *expires_at*; raise as :func:`decode_record`."""
    info = SessionInfo.restored({**SessionInfo.from_json(text).__dict__, "expires_at": expires_at})
    if info.session_id != session_id or info.sandbox_id != sandbox_id:
        raise ValueError(f"filed under {session_id!r:.80}, and says of itself that it is {info.session_id!r:.80}")
    return info


def decode_sound(
    stored: Sequence[T], decode: Callable[[Sequence[T]], list[R]], name: Callable[[T], str]
) -> tuple[list[R], list[T]]:
    """Return what *decode* makes of many stored records, and those that it can't decode, with a logged warning.

    *name* returns the id of a stored record, for the warning.
    """
    try:
        return decode(stored), []
    except DAMAGE:
        pass
    sound, damaged = [], []
    for one in stored:
        try:
            sound += decode([one])
        except DAMAGE:
            damaged.append(one)
    _log.warning("damaged records were skipped: %s", list(map(name, damaged)))
    return sound, damaged


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield *items* in portions of so many, in their order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def place(record: ArtifactMetadata) -> tuple[str, str]:
    """Return where *record* stands in the listing of its session."""
    return record.filename or "", record.artifact_id


def takes_filename(record: ArtifactMetadata, now: float) -> bool:
    """Say whether *record* takes its filename from others: not when it is expired, nor before its bytes are there."""
    return record.pending is None and not is_over(record.expires_at, now)


def prefix_end(prefix: str) -> str | None:
    """Return the first text after all that begin with *prefix*, in the order of code points; None for the end."""
    while prefix:
        following = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if following <= _LAST_CODE_POINT:
            return prefix + chr(_SURROGATES.stop if following in _SURROGATES else following)
    return None


def settle(
    records: Sequence[ArtifactMetadata],
    known: Callable[[str], SessionInfo | None],
    *,
    now: float,
    inheriting: Collection[str],
    user_ids: Mapping[str, str],
    session_ttl: float | None,
) -> tuple[list[ArtifactMetadata], dict[str, SessionInfo]]:
    """Fit new records and their sessions to each other.

    A session that is missing or expired begins anew, and each lives at least as long as its longest-lived record.

    Args:
        records: the new records, with the ttl they have in a new session.
        known: returns a session, if there is one.
        now: the present, in seconds since the epoch.
        inheriting: the ids of the records that get the ttl of their session.
        user_ids: users by session; they become the owners of sessions that have none.
        session_ttl: how long a new session lives, in seconds, or None for ever.

    Returns:
        the records, and those of their sessions that are new or changed, to be written.

    """
    settled = []
    sessions: dict[str, SessionInfo] = {}
    for record in records:
        session_id = record.session_id
        before = info = sessions.get(session_id) or known(session_id)
        if info is None or is_over(info.expires_at, now):
            info = new_session(session_id, record.sandbox_id, now=now, ttl=session_ttl)
        if info.ttl != record.ttl and record.artifact_id in inheriting:
            expires_at = None if info.ttl is None else timestamp(now + info.ttl)
            record = record.changed(ttl=info.ttl, expires_at=expires_at)  # noqa: PLW2901 - the completed one
        info = prolonged(info, record.expires_at)
        if info.user_id is None and session_id in user_ids:
            info = info.changed(user_id=user_ids[session_id])
        if info is not before:
            sessions[session_id] = info
        settled.append(record)
    return settled, sessions


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


def prolonged(info: SessionInfo, expires_at: str | None) -> SessionInfo:
    """Return *info*, made to live until *expires_at* at least.

    It is prolonged by a thousandth of its time to live at least, so that a session to which much is stored is written
    now and then and not with each of its records.
    """
    if info.expires_at is None or (expires_at is not None and expires_at <= info.expires_at):
        return info
    if expires_at is not None and info.ttl is not None:
        moment = seconds_of(info.expires_at) + info.ttl * _LEAST_OF_TTL
        expires_at = max(expires_at, timestamp(min(moment, LAST_MOMENT)))
    return info.changed(expires_at=expires_at)


def updated(info: SessionInfo, custom_metadata: Mapping[str, Any] | None, extend: float, limits: Limits) -> SessionInfo:
    """Return *info* with metadata merged in, and *extend* seconds more to live, for it and what is stored later.

    Raises:
        InvalidInputError: the metadata are too long together, or the year 9999 is too near.

    """
    expires_at, ttl = info.expires_at, info.ttl
    if extend and expires_at is not None:
        expires_at = timestamp(check_moment("additional_hours", seconds_of(expires_at) + extend))
    if extend and ttl is not None:
        ttl += extend
    metadata = limits.check_merged("metadata", info.custom_metadata, custom_metadata or {})
    return info.changed(expires_at=expires_at, ttl=ttl, custom_metadata=metadata)


def open_catalog(settings: Settings) -> Catalog:
    """Return the backend that *settings* name. Its module, and the driver with it, is imported here and not before."""
    if settings.session_provider == MEMORY:
        from chuk_artifacts.catalog.memory import MemoryCatalog  # noqa: PLC0415

        return MemoryCatalog(settings.session_ttl)
    if settings.session_provider == REDIS:
        from chuk_artifacts.catalog.redis import open_redis  # noqa: PLC0415

        return open_redis(settings)
    from chuk_artifacts.catalog.sqlite import SqliteCatalog  # noqa: PLC0415

    return SqliteCatalog(str(settings.sqlite_path), settings.sandbox_id, settings.session_ttl, durable=settings.fsync)
