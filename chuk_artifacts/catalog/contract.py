"""The contract of catalogs: what every backend for records and sessions does.

A catalog is bound to one sandbox: it neither returns nor changes records of another. It knows records, never bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from chuk_artifacts.arguments import LIMITS, Limits
from chuk_artifacts.catalog.query import Found, Query
from chuk_artifacts.errors import ConflictError
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, Usage

NO_USERS: Mapping[str, str] = MappingProxyType({})
"""No session has a user."""


class FilenameTakenError(ConflictError):
    """The filename is taken in the session, and the add was exclusive. Internal: callers get a ``ConflictError``."""


@attrs.frozen
class Due:
    """One page of the records that cleanup must look at.

    Attributes:
        records: the records, those due longest first.
        damaged: the ids of the records on this page that can't be decoded.
        after: where the next page begins, to pass to :meth:`Catalog.due`; None after the last page.

    """

    records: list[ArtifactMetadata]
    damaged: list[str]
    after: Any


@attrs.frozen
class Sessions:
    """One page of sessions.

    Attributes:
        found: the sessions.
        after: where the next page begins, to pass to :meth:`Catalog.sessions`; None after the last page.

    """

    found: list[SessionInfo]
    after: Any


class Catalog(Protocol):
    """A backend for records and sessions. Any method but ``close`` raises ``SessionError`` when the backend fails.

    ``now`` is the present in seconds since the epoch. An expired session counts as missing. The id of a record begins
    with its session's :func:`chuk_artifacts.grid.slot_tag`.

    Attributes:
        provider: the name by which a user chooses this backend.
        blocks: whether a call may wait for a disk or a network.
        returns_live_objects: whether records are the stored objects, which a caller must copy before handing them out.
        persistent: whether the records outlive the catalog object.
        connected: whether it holds open connections or files, which ``close`` releases.

    """

    provider: str
    blocks: bool
    returns_live_objects: bool
    persistent: bool

    @property
    def connected(self) -> bool: ...  # noqa: D102 - see above

    def add(
        self,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NO_USERS,
        exclusive: bool = False,
        max_session_bytes: int | None = None,
    ) -> None:
        """Add new records, all or none, and create or prolong their sessions: see :func:`sessions.join_sessions`.

        An *exclusive* add raises ``FilenameTakenError`` if a record of the session takes the filename of a new one (see
        :func:`records.takes_filename`). Of several concurrent exclusive adds of a filename, one succeeds. A record
        without a filename conflicts with no other.

        Raise ``QuotaExceededError`` and add nothing if a session would grow beyond *max_session_bytes*: see
        :meth:`usage`.
        """
        ...

    def merge(self, records: Sequence[ArtifactMetadata], *, now: float, replace_older: bool = False) -> list[bool]:
        """Add the records that the catalog lacks, and return which were written; no id comes twice.

        With *replace_older* a record also replaces one of a lower revision. A record of the same or a higher revision
        stays as it is, and so does one that can't be decoded. Each record is written independently: when this raises,
        some of them may have been. Sessions are created or prolonged as by :meth:`add`; no limit applies.

        An :meth:`add` of the same id replaces what was merged: a writer has stored the bytes, and another process came
        upon them before the writer could add their record.
        """
        ...

    def merge_sessions(self, sessions: Sequence[SessionInfo], *, now: float, prefer_given: bool = False) -> list[bool]:
        """Add sessions or their facts that the catalog lacks, and return which changed: see :func:`sessions.merged`.

        Each session is written independently: when this raises, some of them may have been.
        """
        ...

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, expired or not; None for an unknown id."""
        ...

    def replace(
        self, record: ArtifactMetadata, *, expected_revision: int, max_session_bytes: int | None = None
    ) -> bool:
        """Replace the record with the id of *record* if it has the expected revision; its session lives as long as it.

        Return whether it was replaced. Raise ``QuotaExceededError`` and change nothing if its session would grow beyond
        *max_session_bytes*.
        """
        ...

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Do what :meth:`replace` does for many records, each with its expected revision; return which were replaced.

        One that can't be replaced does not stop the others. When this raises, some of them may have been replaced.
        """
        ...

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records that exist and meet the conditions, and return them.

        A record that can't be decoded is removed too, and returned as :func:`records.salvaged` builds it.
        """
        ...

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return at most *limit* unexpired records of a session, sorted by :func:`records.place`, behind *after*.

        *after* need not be the place of a record: ``(filename, "")`` precedes all records with that filename. A record
        that can't be decoded is skipped with a logged warning. Fewer than *limit* records end the listing.
        """
        ...

    def search(self, session_ids: Sequence[str], query: Query, *, after: Any, limit: int, now: float) -> Found:
        """Return a page of at most *limit* records that match a query.

        They come session by session, in each as :meth:`page` sorts them. *after* comes from the previous page, which
        had the same *session_ids*; None asks for the first. One call looks at a bounded number of records, so a page
        may have few records, or none, and not be the last. Damaged records are skipped as by :meth:`page`.
        """
        ...

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the unexpired records of a session with a (non-empty) filename, sorted by id."""
        ...

    def has_named(self, session_id: str, filename: str, now: float) -> bool | None:
        """Return whether a session has an unexpired artifact with a filename; None if it only has pending ones.

        A catalog need not decode a record for that, so a record that can't be decoded counts.
        """
        ...

    def named_each(self, session_id: str, filenames: Sequence[str], now: float) -> list[list[ArtifactMetadata]]:
        """Do what :meth:`named` does for many filenames, and return the records of each."""
        ...

    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of at most *limit* records that are expired or hold superseded bytes past their time.

        *after* comes from the previous page; None asks for the first. A record that changes between two pages may be
        on both or on neither; one that becomes due later than before, but still by *now*, appears again. Fewer than
        *limit* records, damaged ones included, are the last page.
        """
        ...

    def create_session(self, info: SessionInfo) -> bool:
        """Add a session that begins now; return False, and add none, if there is a living one with its id."""
        ...

    def sessions(self, now: float, limit: int, *, user_id: str | None = None, after: Any = None) -> Sessions:
        """Return a page of the unexpired sessions, those of a user if *user_id* is not None, in any sequence.

        A page may have fewer than *limit* sessions, or none, and not be the last. *after* comes from the previous page;
        None asks for the first. Sessions that can't be decoded are skipped with a logged warning. A session that begins
        or changes between two pages may be on both or on neither. A *now* of 0 includes the expired ones.
        """
        ...

    def forget_user(self, user_id: str) -> None:
        """Remove what indexes still hold of the sessions of a user that were removed."""
        ...

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        ...

    def update_session(
        self,
        session_id: str,
        now: float,
        *,
        custom_metadata: Mapping[str, object] | None = None,
        extend: float = 0,
        limits: Limits = LIMITS,
    ) -> SessionInfo | None:
        """Merge metadata into a session, let it live *extend* seconds longer, and return it; None if it does not exist.

        Raise ``InvalidInputError`` if the merged metadata would be longer than *limits* allow.
        """
        ...

    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove at most *limit* records of a session and return them; the session goes with the last of them.

        Return None if the session does not exist. Fewer than *limit* records are the last, so a caller repeats this
        until it returns None or fewer; after a crash in between, another caller can finish. Records that can't be
        decoded are returned as by :meth:`remove`.
        """
        ...

    def expire_sessions(
        self, now: float, *, dry_run: bool = False, gone: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Remove the expired sessions and return their number; *dry_run* only counts them.

        *gone* is called with the ids of each portion that was removed.
        """
        ...

    def stats(self, now: float) -> dict[str, int]:
        """Return the number of unexpired ``sessions`` and ``artifacts``, and the artifacts' total ``bytes``.

        Pending records do not count. Records that change meanwhile may be missed or counted twice.
        """
        ...

    def usage(self, session_id: str | None) -> Usage:
        """Return the usage of a session, or of all sessions for None: see :func:`records.counted`.

        The counters change with the records, in the same transaction. So this reads no records. A catalog that an
        earlier version wrote is counted once; while processes of such a version still write to it, the result may
        differ from what is stored.
        """
        ...

    def recount(self) -> None:
        """Count the usage of all sessions anew, from their records, while others may change them."""
        ...

    def identity(self, create: str | None = None) -> str | None:
        """Return the identity of this catalog in its sandbox; if it has none, make *create* its identity first.

        Return None if it has none and *create* is None. Concurrent callers all get the same identity. A catalog that is
        not persistent never has one.
        """
        ...

    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return at most *limit* unexpired records that are not pending, from any session, in any sequence."""
        ...

    def verify(self) -> int:
        """Return how many records can't be decoded or are stored under keys that contradict their fields.

        This reads all records of the sandbox. Raise ``SessionError`` if the catalog as a whole is damaged, so that its
        answers can't be trusted.
        """
        ...

    def check(self) -> dict[str, str]:
        """Write a few KiB and remove them; return facts about the backend, and in ``warning`` what may lose data."""
        ...

    def close(self) -> None:
        """Release connections and files; harmless the second time."""
        ...
