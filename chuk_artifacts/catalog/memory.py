"""Records and sessions in the memory of this process.

An exception such as ``KeyboardInterrupt`` may arrive anywhere, and must not leave half a change. So a change is first
computed, then noted in ``_change`` with one assignment, and then made. An exception before the assignment leaves all as
it was. After one behind it, the next call finds the note, makes the change, and rebuilds the indexes from the records.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from chuk_artifacts.arguments import LIMITS, Limits
from chuk_artifacts.catalog.contract import NO_USERS, Due, FilenameTakenError, Sessions
from chuk_artifacts.catalog.query import Found, Query
from chuk_artifacts.catalog.records import (
    can_merge,
    counted,
    has_artifact,
    place,
    prefix_end,
    sizes_by_session,
    takes_filename,
)
from chuk_artifacts.catalog.sessions import join_sessions, lasting, merged, updated
from chuk_artifacts.errors import session_full
from chuk_artifacts.fork import Lockable
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, Usage, is_over, seconds_of, timestamp

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

_SEARCHED_AT_ONCE = 1000  # records, for which others wait
_FEW = 50  # up to that many items are inserted or removed one by one; for more, rebuilding the list is faster


class _Sorted:
    """A sorted list without duplicates. It makes changes only when it is read, so that a change takes constant time."""

    __slots__ = ("_added", "_items", "_removed", "add")

    def __init__(self) -> None:
        self._items: list[tuple[str, str]] = []
        self._removed: list[tuple[str, str]] = []  # to be removed before the others are added
        self._added: list[tuple[str, str]] = []
        self.add = self._added.append
        """Add an item that the list does not contain."""

    @property
    def is_changed(self) -> bool:
        """Whether :meth:`items` has changes to make."""
        return bool(self._added or self._removed)

    def __bool__(self) -> bool:
        """Return whether the list contains items."""
        return len(self._items) + len(self._added) > len(self._removed)

    def discard(self, item: tuple[str, str]) -> None:
        """Remove an item that the list contains."""
        if self._added:
            self.items()
        self._removed.append(item)

    def items(self) -> list[tuple[str, str]]:
        """Make the changes, and return the list."""
        items = self._items
        if len(self._removed) > _FEW:
            removed = set(self._removed)
            items = self._items = [item for item in items if item not in removed]
        else:
            for item in self._removed:
                del items[bisect_left(items, item)]
        self._removed.clear()
        if len(self._added) > _FEW:
            items.extend(self._added)
            items.sort()
        else:
            for item in self._added:
                insort(items, item)
        self._added.clear()
        return items


class _Indexes:
    """Indexes of records and sessions by anything but their ids."""

    def __init__(self, records: Iterable[ArtifactMetadata] = (), sessions: Iterable[SessionInfo] = ()) -> None:
        self.places: defaultdict[str, _Sorted] = defaultdict(_Sorted)  # by session
        self.ids: dict[tuple[str, str], list[str]] = {}  # by session and filename
        self.due = _Sorted()
        self.usage: dict[str | None, list[int]] = {None: [0, 0]}
        """The artifacts and bytes of each session, and of all under None."""
        self.sessions: defaultdict[str | None, _Sorted] = defaultdict(_Sorted)  # by user; of all under None
        for record in records:
            self.insert(record)
        for info in sessions:
            self.change_session(info.session_id, None, info)

    def insert(self, record: ArtifactMetadata) -> None:
        """Add a record."""
        self.places[record.session_id].add(place(record))
        self._count(record.session_id, *counted(record))
        if record.filename is not None:
            insort(self.ids.setdefault((record.session_id, record.filename), []), record.artifact_id)
        due = record.due
        if due is not None:
            self.due.add((due, record.artifact_id))

    def _count(self, session_id: str, artifacts: int, size: int) -> None:
        usage, total = self.usage.get(session_id), self.usage[None]
        if usage is None:
            usage = self.usage[session_id] = [0, 0]
        usage[0] += artifacts
        usage[1] += size
        total[0] += artifacts
        total[1] += size

    def remove(self, record: ArtifactMetadata) -> None:
        """Remove a record."""
        artifacts, size = counted(record)
        self._count(record.session_id, -artifacts, -size)
        places = self.places[record.session_id]
        places.discard(place(record))
        if not places:
            del self.places[record.session_id]
            del self.usage[record.session_id]
        if record.filename is not None:
            ids = self.ids[record.session_id, record.filename]
            del ids[bisect_left(ids, record.artifact_id)]
            if not ids:
                del self.ids[record.session_id, record.filename]
        due = record.due
        if due is not None:
            self.due.discard((due, record.artifact_id))

    def replace(self, old: ArtifactMetadata, new: ArtifactMetadata) -> None:
        """Replace a record by its next revision. Most revisions keep the filename, and many the due time too."""
        if old.filename != new.filename:
            self.remove(old)
            self.insert(new)
            return
        artifacts, size = counted(new)
        artifacts_before, size_before = counted(old)
        if (artifacts, size) != (artifacts_before, size_before):
            self._count(new.session_id, artifacts - artifacts_before, size - size_before)
        before, after = old.due, new.due
        if before == after:
            return
        if before is not None:
            self.due.discard((before, old.artifact_id))
        if after is not None:
            self.due.add((after, new.artifact_id))

    def change_session(self, session_id: str, old: SessionInfo | None, new: SessionInfo | None) -> None:
        """Replace a session, add a new one, or remove an old one."""
        before = set() if old is None else {None, old.user_id}
        after = set() if new is None else {None, new.user_id}
        for user_id in before - after:
            self.sessions[user_id].discard((session_id, ""))
            if not self.sessions[user_id]:
                del self.sessions[user_id]
        for user_id in after - before:
            self.sessions[user_id].add((session_id, ""))


_Change = tuple[Mapping[str, ArtifactMetadata | None], Mapping[str, SessionInfo | None]]
"""The new records and sessions by their ids; None removes one."""


def _locked(method: Callable[Concatenate[MemoryCatalog, P], R]) -> Callable[Concatenate[MemoryCatalog, P], R]:
    """Let a method hold the lock, and complete an interrupted change before it runs."""

    @functools.wraps(method)
    def call(self: MemoryCatalog, /, *arguments: P.args, **options: P.kwargs) -> R:
        # On one line: an exception raised by a trace function where a block ends would leave the lock taken.
        with self._lock: return method(self if self._change is None else self._completed(), *arguments, **options)  # fmt: skip # noqa: E501, E701

    return call


class MemoryCatalog(Lockable):
    """A catalog that ends with the process; see :class:`chuk_artifacts.catalog.Catalog`.

    Args:
        session_ttl: how long a new session lives, in seconds; None means for ever.

    """

    provider = "memory"
    blocks = False
    returns_live_objects = True
    persistent = False
    connected = False

    def __init__(self, session_ttl: float | None) -> None:
        """Start empty."""
        super().__init__()
        self._session_ttl = session_ttl
        self._records: dict[str, ArtifactMetadata] = {}
        self._sessions: dict[str, SessionInfo] = {}
        self._indexes = _Indexes()
        self._change: _Change | None = None  # in progress, or interrupted by an exception

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
        """Add new records with their sessions."""
        with self._lock: self._add(records, now, inheriting, user_ids, exclusive=exclusive, most=max_session_bytes)  # fmt: skip # noqa: E501, E701 - see above

    @_locked
    def merge(self, records: Sequence[ArtifactMetadata], *, now: float, replace_older: bool = False) -> list[bool]:
        """Add missing records, and replace older ones if asked to."""
        revisions = {
            record.artifact_id: old.revision for record in records if (old := self._records.get(record.artifact_id))
        }
        merges = [can_merge(record, revisions, replace_older=replace_older) for record in records]
        some = [record for record, is_merged in zip(records, merges, strict=True) if is_merged]
        if some:
            self._join(some, now, (), NO_USERS)
        return merges

    @_locked
    def merge_sessions(self, sessions: Sequence[SessionInfo], *, now: float, prefer_given: bool = False) -> list[bool]:
        """Add missing sessions, and what others lack."""
        changed: dict[str, SessionInfo] = {}
        for given in sessions:
            info = merged(self._sessions.get(given.session_id), given, now, prefer_given=prefer_given)
            if info is not None:
                changed[given.session_id] = info
        self._make({}, changed)
        return [given.session_id in changed for given in sessions]

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        if self._change is not None:
            self._wait()
        return [self._records.get(artifact_id) for artifact_id in artifact_ids]

    @_locked
    def replace(
        self, record: ArtifactMetadata, *, expected_revision: int, max_session_bytes: int | None = None
    ) -> bool:
        """Replace a record if it has the revision."""
        old = self._records.get(record.artifact_id)
        if old is None or old.revision != expected_revision:
            return False
        if max_session_bytes is not None:
            self._check_room(record.session_id, counted(record)[1] - counted(old)[1], max_session_bytes)
        info = self._sessions.get(record.session_id)
        sessions = {} if info is None else {record.session_id: lasting(info, record.expires_at)}
        self._make({record.artifact_id: record}, sessions)
        return True

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records, one after the other."""
        return [self.replace(record, expected_revision=revision) for record, revision in changes]

    @_locked
    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records."""
        removed = [
            record
            for artifact_id in dict.fromkeys(artifact_ids)
            if (record := self._records.get(artifact_id)) is not None
            and session_id in {None, record.session_id}
            and (expired_at is None or is_over(record.expires_at, expired_at))
        ]
        self._make(dict.fromkeys(record.artifact_id for record in removed), {})
        return removed

    @_locked
    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing."""
        places = self._places_of(session_id)
        start = bisect_left(places, (prefix, ""))
        if after is not None:  # the smallest place behind it
            start = max(start, bisect_left(places, (after[0], after[1] + "\0")))
        end = prefix_end(prefix)
        stop = len(places) if end is None else bisect_left(places, (end, ""))
        records = (self._records[places[index][1]] for index in range(start, stop))
        return list(islice((record for record in records if not is_over(record.expires_at, now)), limit))

    @_locked
    def search(self, session_ids: Sequence[str], query: Query, *, after: Any, limit: int, now: float) -> Found:
        """Return a page of a search."""
        found: list[ArtifactMetadata] = []
        number, start = after or (0, None)
        end, left = prefix_end(query.prefix), _SEARCHED_AT_ONCE
        while number < len(session_ids) and left > 0:
            places = self._places_of(session_ids[number])
            stop = len(places) if end is None else bisect_left(places, (end, ""))
            begin = bisect_left(places, start or (query.prefix, ""))
            for at in range(begin, min(stop, begin + left)):
                record = self._records[places[at][1]]
                if query.matches(record, now):
                    found.append(record)
                    if len(found) == limit:
                        return Found(found, (number, (places[at][0], places[at][1] + "\0")))
            if begin + left < stop:
                return Found(found, (number, places[begin + left]))
            left -= max(stop - begin, 0) + 1
            number, start = number + 1, None
        return Found(found, None if number == len(session_ids) else (number, None))

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename."""
        with self._lock: return self._named(session_id, filename, now)  # fmt: skip # noqa: E701 - see above

    def has_named(self, session_id: str, filename: str, now: float) -> bool | None:
        """Return whether there is an artifact with a filename."""
        return has_artifact(self.named(session_id, filename, now))

    @_locked
    def named_each(self, session_id: str, filenames: Sequence[str], now: float) -> list[list[ArtifactMetadata]]:
        """Return the records with each filename."""
        return [self._named(session_id, filename, now) for filename in filenames]

    @_locked
    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of the records that cleanup must look at."""
        due = self._items_of(self._indexes.due)
        start = 0 if after is None else bisect_left(due, (after[0], after[1] + "\0"))
        stop = bisect_left(due, (timestamp(now), "~"))
        found = due[start : min(start + limit, stop)]
        records = [self._records[artifact_id] for _, artifact_id in found]
        return Due(records, [], found[-1] if start + limit < stop else None)

    @_locked
    def create_session(self, info: SessionInfo) -> bool:
        """Add a session."""
        if self._living(info.session_id, seconds_of(info.created_at)) is not None:
            return False
        self._make({}, {info.session_id: info})
        return True

    @_locked
    def sessions(self, now: float, limit: int, *, user_id: str | None = None, after: Any = None) -> Sessions:
        """Return a page of sessions, sorted by id."""
        index = self._indexes.sessions.get(user_id)
        items = [] if index is None else self._items_of(index)
        start = 0 if after is None else bisect_left(items, (after + "\0", ""))
        names = [name for name, _ in items[start : start + limit]]
        found = [info for name in names if (info := self._living(name, now)) is not None]
        return Sessions(found, names[-1] if start + limit < len(items) else None)

    def forget_user(self, user_id: str) -> None:
        """Do nothing: the index of users changes with the sessions."""

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        if self._change is not None:
            self._wait()
        return self._living(session_id, now)

    @_locked
    def update_session(
        self,
        session_id: str,
        now: float,
        *,
        custom_metadata: Mapping[str, object] | None = None,
        extend: float = 0,
        limits: Limits = LIMITS,
    ) -> SessionInfo | None:
        """Change a session."""
        info = self._living(session_id, now)
        if info is None:
            return None
        changed = updated(info, custom_metadata, extend, limits)
        self._make({}, {session_id: changed})
        return changed

    @_locked
    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove a portion of a session, from the end of its listing."""
        if self._living(session_id, now) is None:
            return None
        places = self._places_of(session_id)
        removed = [self._records[artifact_id] for _, artifact_id in places[-limit:]]
        sessions = {session_id: None} if len(removed) == len(places) else {}
        self._make(dict.fromkeys(record.artifact_id for record in removed), sessions)
        return removed

    def expire_sessions(
        self, now: float, *, dry_run: bool = False, gone: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Remove the expired sessions."""
        expired = self._expire_sessions(now, dry_run=dry_run)
        if gone is not None and expired and not dry_run:
            gone(expired)
        return len(expired)

    @_locked
    def _expire_sessions(self, now: float, *, dry_run: bool) -> list[str]:
        expired = [name for name, info in self._sessions.items() if is_over(info.expires_at, now)]
        if not dry_run:
            self._make({}, dict.fromkeys(expired))
        return expired

    @_locked
    def stats(self, now: float) -> dict[str, int]:
        """Count sessions and artifacts."""
        records = [record for record in self._records.values() if _is_artifact(record, now)]
        sessions = sum(not is_over(info.expires_at, now) for info in self._sessions.values())
        return {"sessions": sessions, "artifacts": len(records), "bytes": sum(record.bytes for record in records)}

    @_locked
    def usage(self, session_id: str | None) -> Usage:
        """Return the counters of a session, or of all."""
        artifacts, size = self._indexes.usage.get(session_id, (0, 0))
        return Usage(artifacts=artifacts, bytes=size)

    @_locked
    def recount(self) -> None:
        """Rebuild all indexes."""
        self._change = {}, {}
        self._completed()

    def identity(self, create: str | None = None) -> str | None:
        """Return None: a catalog that ends with the process proves nothing about bytes that outlive it."""
        return None

    @_locked
    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return some artifacts."""
        return list(islice((record for record in self._records.values() if _is_artifact(record, now)), limit))

    def verify(self) -> int:
        """Return 0: records that are not encoded can't be damaged."""
        return 0

    def check(self) -> dict[str, str]:
        """Return no facts: memory is always available."""
        return {}

    def close(self) -> None:
        """Release nothing: there are no connections or files."""

    @_locked
    def _wait(self) -> None:
        """Wait for a change in progress, and complete one that was interrupted."""

    def _named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        if self._change is not None:
            self._completed()
        ids = self._indexes.ids.get((session_id, filename))
        if not ids:
            return []
        return [record for one in ids if not is_over((record := self._records[one]).expires_at, now)]

    def _add(
        self,
        records: Sequence[ArtifactMetadata],
        now: float,
        inheriting: Collection[str],
        user_ids: Mapping[str, str],
        *,
        exclusive: bool,
        most: int | None,
    ) -> None:
        if self._change is not None:
            self._completed()
        if exclusive and any(self._is_taken(record, now) for record in records):
            raise FilenameTakenError
        if most is not None:
            for session_id, size in sizes_by_session(records).items():
                self._check_room(session_id, size, most)
        self._join(records, now, inheriting, user_ids)

    def _join(
        self,
        records: Sequence[ArtifactMetadata],
        now: float,
        inheriting: Collection[str],
        user_ids: Mapping[str, str],
    ) -> None:
        """Write records with their sessions."""
        joined, sessions = join_sessions(
            records,
            self._sessions.get,
            now=now,
            inheriting=inheriting,
            user_ids=user_ids,
            session_ttl=self._session_ttl,
        )
        self._make({record.artifact_id: record for record in joined}, sessions)

    def _check_room(self, session_id: str, more: int, most: int) -> None:
        """Raise ``QuotaExceededError`` if a session would grow by *more* bytes beyond *most*."""
        if more > 0 and self._indexes.usage.get(session_id, (0, 0))[1] + more > most:
            raise session_full(most)

    def _make(self, records: Mapping[str, ArtifactMetadata | None], sessions: Mapping[str, SessionInfo | None]) -> None:
        """Make a change; from the first line on, it will be made whatever happens."""
        self._change = records, sessions
        for session_id, info in sessions.items():
            before = self._sessions.get(session_id)
            _put(self._sessions, {session_id: info})
            self._indexes.change_session(session_id, before, info)
        for artifact_id, record in records.items():
            if record is None:
                self._indexes.remove(self._records.pop(artifact_id))
                continue
            old = self._records.get(artifact_id)
            self._records[artifact_id] = record
            if old is None:
                self._indexes.insert(record)
            else:
                self._indexes.replace(old, record)
        self._change = None

    def _completed(self) -> Self:
        """Complete a change that was interrupted, and rebuild the indexes."""
        if self._change is not None:
            records, sessions = self._change
            _put(self._sessions, sessions)
            _put(self._records, records)
            self._indexes = _Indexes(self._records.values(), self._sessions.values())
            self._change = None
        return self

    def _items_of(self, index: _Sorted) -> list[tuple[str, str]]:
        """Return the items of an index, sorted."""
        if not index.is_changed:
            return index.items()
        self._change = {}, {}  # an empty change: after an exception, the next call rebuilds the indexes
        items = index.items()
        self._change = None
        return items

    def _places_of(self, session_id: str) -> Sequence[tuple[str, str]]:
        places = self._indexes.places.get(session_id)
        return () if places is None else self._items_of(places)

    def _living(self, session_id: str, now: float) -> SessionInfo | None:
        info = self._sessions.get(session_id)
        return None if info is None or is_over(info.expires_at, now) else info

    def _is_taken(self, record: ArtifactMetadata, now: float) -> bool:
        if record.filename is None:
            return False
        others = self._indexes.ids.get((record.session_id, record.filename))
        if not others:
            return False
        return any(takes_filename(self._records[artifact_id], now) for artifact_id in others)


def _put(values: MutableMapping[str, V], changes: Mapping[str, V | None]) -> None:
    for name, value in changes.items():
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value


def _is_artifact(record: ArtifactMetadata, now: float) -> bool:
    return record.pending is None and not is_over(record.expires_at, now)
