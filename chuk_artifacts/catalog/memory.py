"""Records and sessions in the memory of this process."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Self

from chuk_artifacts.catalog import (
    NOBODY,
    FilenameTakenError,
    place,
    prefix_end,
    prolonged,
    settle,
    takes_filename,
    updated,
)
from chuk_artifacts.fork import Lockable
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over, timestamp

_FEW = 50  # so many are put in one by one; more are appended and sorted


class _Sorted(list[tuple[str, str]]):
    """A sorted list; what is added is put in its place when somebody looks, so that adding is as quick in any size."""

    def __init__(self) -> None:
        super().__init__()
        self._added: list[tuple[str, str]] = []

    def add(self, item: tuple[str, str]) -> None:
        """Add an item, which is seen after the next :meth:`settle`."""
        self._added.append(item)

    def settle(self) -> Self:
        """Put what was added in its place."""
        if len(self._added) > _FEW:
            self.extend(self._added)
            self.sort()
        else:
            for item in self._added:
                insort(self, item)
        self._added.clear()
        return self

    def discard(self, item: tuple[str, str]) -> None:
        """Remove an item that is there."""
        del self.settle()[bisect_left(self, item)]


class MemoryCatalog(Lockable):
    """A catalog that is gone with the process; see :class:`chuk_artifacts.catalog.Catalog`.

    Args:
        session_ttl: how long a new session lives, in seconds, or None for ever.

    """

    provider = "memory"
    blocks = False
    keeps = True

    def __init__(self, session_ttl: float | None) -> None:
        """Begin empty."""
        super().__init__()
        self._session_ttl = session_ttl
        self._records: dict[str, ArtifactMetadata] = {}
        self._sessions: dict[str, SessionInfo] = {}
        self._places: defaultdict[str, _Sorted] = defaultdict(_Sorted)  # by session
        self._ids: dict[tuple[str, str], list[str]] = {}  # by session and filename
        self._due = _Sorted()

    def add(
        self,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NOBODY,
        exclusive: bool = False,
    ) -> None:
        """Add new records with their sessions."""
        with self._lock:
            if exclusive and any(self._is_taken(record, now) for record in records):
                raise FilenameTakenError
            settled, sessions = settle(
                records,
                self._sessions.get,
                now=now,
                inheriting=inheriting,
                user_ids=user_ids,
                session_ttl=self._session_ttl,
            )
            self._sessions.update(sessions)
            for record in settled:
                self._insert(record)

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        return [self._records.get(artifact_id) for artifact_id in artifact_ids]

    def replace(self, record: ArtifactMetadata, *, expected_revision: int) -> bool:
        """Replace a record if it has the revision."""
        with self._lock:
            old = self._records.get(record.artifact_id)
            if old is None or old.revision != expected_revision:
                return False
            self._unlist(old)
            self._insert(record)
            info = self._sessions.get(record.session_id)
            if info is not None:
                self._sessions[record.session_id] = prolonged(info, record.expires_at)
            return True

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records, one after the other."""
        return [self.replace(record, expected_revision=revision) for record, revision in changes]

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records."""
        removed = []
        with self._lock:
            for artifact_id in artifact_ids:
                record = self._records.get(artifact_id)
                if (
                    record is not None
                    and session_id in {None, record.session_id}
                    and (expired_at is None or is_over(record.expires_at, expired_at))
                ):
                    self._take_out(record)
                    removed.append(record)
        return removed

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing."""
        with self._lock:
            places = self._sorted_places(session_id)
            start = bisect_left(places, (prefix, ""))
            if after is not None:  # no id is longer than this one, so the next place is past it
                start = max(start, bisect_left(places, (after[0], after[1] + "\0")))
            end = prefix_end(prefix)
            stop = len(places) if end is None else bisect_left(places, (end, ""))
            records = (self._records[places[index][1]] for index in range(start, stop))
            return list(islice((record for record in records if not is_over(record.expires_at, now)), limit))

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename."""
        with self._lock:
            ids = self._ids.get((session_id, filename))
            if ids is None:
                return []
            return [record for one in ids if not is_over((record := self._records[one]).expires_at, now)]

    def due(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return records that cleanup has to do with."""
        with self._lock:
            due = self._due.settle()
            stop = bisect_left(due, (timestamp(now), "~"))
            return [self._records[artifact_id] for _, artifact_id in due[: min(stop, limit)]]

    def create_session(self, info: SessionInfo) -> None:
        """Add a session."""
        with self._lock:
            self._sessions[info.session_id] = info

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        info = self._sessions.get(session_id)
        return None if info is None or is_over(info.expires_at, now) else info

    def update_session(
        self, session_id: str, now: float, *, custom_metadata: Mapping[str, Any] | None = None, extend: float = 0
    ) -> bool:
        """Change a session."""
        with self._lock:
            info = self.get_session(session_id, now)
            if info is None:
                return False
            self._sessions[session_id] = updated(info, custom_metadata, extend)
            return True

    def remove_session(self, session_id: str, now: float) -> list[ArtifactMetadata] | None:
        """Remove a session with its records."""
        with self._lock:
            if self.get_session(session_id, now) is None:
                return None
            del self._sessions[session_id]
            records = [self._records[artifact_id] for _, artifact_id in self._sorted_places(session_id)]
            for record in records:
                self._take_out(record)
            return records

    def expire_sessions(self, now: float) -> int:
        """Remove the expired sessions."""
        with self._lock:
            expired = [name for name, info in self._sessions.items() if is_over(info.expires_at, now)]
            for name in expired:
                del self._sessions[name]
            return len(expired)

    def stats(self, now: float) -> dict[str, int]:
        """Count what is there."""
        with self._lock:
            records = [
                record
                for record in self._records.values()
                if record.pending is None and not is_over(record.expires_at, now)
            ]
            sessions = sum(not is_over(info.expires_at, now) for info in self._sessions.values())
        return {"sessions": sessions, "artifacts": len(records), "bytes": sum(record.bytes for record in records)}

    def check(self) -> dict[str, str]:
        """Tell nothing: memory is there."""
        return {}

    def close(self) -> None:
        """Give back nothing: nothing is held."""

    def _sorted_places(self, session_id: str) -> Sequence[tuple[str, str]]:
        places = self._places.get(session_id)
        return () if places is None else places.settle()

    def _is_taken(self, record: ArtifactMetadata, now: float) -> bool:
        if record.filename is None:
            return False
        others = self._ids.get((record.session_id, record.filename), ())
        return any(takes_filename(self._records[artifact_id], now) for artifact_id in others)

    def _insert(self, record: ArtifactMetadata) -> None:
        self._records[record.artifact_id] = record
        self._places[record.session_id].add(place(record))
        if record.filename is not None:
            insort(self._ids.setdefault((record.session_id, record.filename), []), record.artifact_id)
        due = record.due
        if due is not None:
            self._due.add((due, record.artifact_id))

    def _take_out(self, record: ArtifactMetadata) -> None:
        del self._records[record.artifact_id]
        self._unlist(record)

    def _unlist(self, record: ArtifactMetadata) -> None:
        places = self._places[record.session_id]
        places.discard(place(record))
        if not places:
            del self._places[record.session_id]
        if record.filename is not None:
            ids = self._ids[record.session_id, record.filename]
            del ids[bisect_left(ids, record.artifact_id)]
            if not ids:
                del self._ids[record.session_id, record.filename]
        due = record.due
        if due is not None:
            self._due.discard((due, record.artifact_id))
