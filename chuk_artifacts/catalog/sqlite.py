"""Records and sessions in an SQLite database file, shared by all threads and processes of one machine.

The write-ahead log lets readers and one writer work at once. It needs shared memory, so the file must not be on a
network filesystem (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar, TypeVarTuple

from chuk_artifacts import grid
from chuk_artifacts.arguments import LIMITS, Limits
from chuk_artifacts.catalog import counters
from chuk_artifacts.catalog.conditions import BEHIND, LIVING, Search
from chuk_artifacts.catalog.connections import Connection, Connections, Mutex, code_of, is_full, roll_back
from chuk_artifacts.catalog.contract import NO_USERS, Due, FilenameTakenError, Sessions
from chuk_artifacts.catalog.mounts import network_filesystem
from chuk_artifacts.catalog.query import Found, Query
from chuk_artifacts.catalog.records import (
    DAMAGE,
    batches,
    can_merge,
    damaged_record,
    decode_record,
    decode_records,
    decode_sound,
    decoded,
    is_filed,
    place,
    prefix_end,
    salvaged,
    sizes_by_session,
)
from chuk_artifacts.catalog.reserve import PAGE, check_room, part_of_disk
from chuk_artifacts.catalog.sessions import join_sessions, lasting, merged, new_session, updated
from chuk_artifacts.errors import ErrorMap, GridError, OutcomeUnknownError, SessionError, session_full
from chuk_artifacts.fields import decode
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, Usage, is_over, seconds_of, timestamp

Row = tuple[Any, ...]

S = TypeVar("S")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SCHEMA_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS sessions (
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    custom_metadata TEXT NOT NULL,
    ttl REAL,
    PRIMARY KEY (sandbox_id, session_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS artifacts (
    artifact_id TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    expires_at TEXT,
    due TEXT,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS artifacts_by_place ON artifacts (sandbox_id, session_id, filename, artifact_id);
CREATE INDEX IF NOT EXISTS artifacts_by_due ON artifacts (sandbox_id, due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (sandbox_id, expires_at) WHERE expires_at IS NOT NULL;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_ADD = "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
# One statement for the usual case: the session exists, and need not change.
_ADD_TO_SESSION = (
    "INSERT INTO artifacts SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? FROM sessions WHERE sandbox_id = ? AND session_id = ?"
    " AND (expires_at IS NULL OR expires_at >= ?) AND (ttl IS ? OR NOT ?)"
)
# Apart from the schema: made by the first identity, and older versions work on a file that has it.
_IDENTITIES = """
CREATE TABLE IF NOT EXISTS identities (sandbox_id TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID
"""
_SESSION = "session_id, sandbox_id, user_id, created_at, expires_at, custom_metadata, ttl"
_FILED = "artifact_id, sandbox_id, session_id, filename, bytes, revision, expires_at, due, record"
_BUSY_TIMEOUT_SECONDS = 30.0
_BUSY_SLICE_SECONDS = (
    0.003  # how long SQLite waits in one call: it polls after 1 and 2 ms, and handles no signals meanwhile
)
_PAUSE_SECONDS = 0.003  # between two portions, so that another process that polls gets its turn
_BUSY_PAUSE_SECONDS = 0.01
_PROBE = 8192  # bytes that a check writes
_PORTION = 500  # how many rows one transaction removes: some 10 ms in which other writers wait
_LONGEST_LOG = 8000 * PAGE  # a page written often goes to the database file once a checkpoint
_MOST_GROWTH = 400 * PAGE
_LONG_RECORD = 2 * PAGE
_SHORTEST_LOG = 32 * PAGE
_LOG_OF_DISK = 64  # on a small disk the log is so small a part
_NOTHING = "{}"
_RECORD = 8  # the place of a record in a row
_EVERYTHING = 2**62
_SEARCHED_AT_ONCE = 2000  # records that one call of a search looks at: some 20 ms
_LOOKED_AT_AT_ONCE = 1000
_FIRST_ROW = -(2**63)
_NAMED = (
    "SELECT artifact_id, record FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND filename = ?"
    " ORDER BY artifact_id"
)
_HAS_NAMED = (
    "SELECT max(revision) FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND filename = ?"
    " AND (expires_at IS NULL OR expires_at > ?)"
)  # a pending record has revision 0
_GET = "SELECT record FROM artifacts WHERE artifact_id = ? AND sandbox_id = ?"
# The log holds the change, and a power cut may bring it back though this process and others don't see it.
_UNSYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_DRIVER = (sqlite3.Error, sqlite3.Warning, OSError, UnicodeDecodeError, OverflowError)
"""Errors that the driver raises; the last two come from damaged texts and numbers."""
_VARIABLES = 500  # of one statement; SQLite's own limit is 999 or more


class SqliteCatalog:
    """A catalog in a database file; see :class:`chuk_artifacts.catalog.Catalog`.

    A mutex orders the writes of this process, SQLite's lock those of several processes. A file that can't be written is
    opened read-only.

    Args:
        path: the file; the file and its folder are created if they are missing.
        sandbox_id: the namespace to which it is bound.
        session_ttl: how long a new session lives, in seconds, or None for ever.
        durable: whether a write is on the disk before it returns; otherwise it survives the process, not a power cut.

    """

    provider = "sqlite"
    blocks = True
    returns_live_objects = False
    persistent = True

    def __init__(self, path: str, sandbox_id: str, session_ttl: float | None, *, durable: bool = False) -> None:
        """Open nothing yet."""
        self._path = path
        self._sandbox_id = sandbox_id
        self._session_ttl = session_ttl
        self._synchronous = "FULL" if durable else "NORMAL"
        self._errors = ErrorMap(_DRIVER, SessionError, f"catalog {path!r}")
        self._writing = Mutex(f"catalog {path!r} is being written")
        self._connections = Connections(path, _BUSY_SLICE_SECONDS, self._prepare, sync=durable)

    @property
    def connected(self) -> bool:
        """Whether there are open connections."""
        return self._connections.open

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
        """Add new records with their sessions, in one transaction."""
        is_simple = len(records) == 1 and not (exclusive or user_ids) and max_session_bytes is None
        record = records[0] if is_simple else None
        if record is not None and is_filed(record):
            inherits = record.artifact_id in inheriting
            wanted = (self._sandbox_id, record.session_id, record.expires_at, record.ttl, inherits)
            row = _row(record)
            if self._read(self._add_to_session, (*row, *wanted)):
                return
        options = {"now": now, "inheriting": inheriting, "user_ids": user_ids}
        self._read(self._add_many, records, options, exclusive, max_session_bytes)

    def _add_to_session(self, connection: Connection, values: Row) -> bool:
        """Add a record if its session exists and need not change: see :func:`join_sessions`; return whether it did."""
        try:
            cursor = self._writing.run(connection.execute, _ADD_TO_SESSION, values)
        except sqlite3.IntegrityError:
            return False  # another process came upon the bytes: a transaction replaces its record
        except sqlite3.OperationalError as error:
            if self._is_full(error):
                return False  # a transaction may free space
            raise
        added = cursor.rowcount > 0
        if added and (cursor.lastrowid or 0) % counters.AT_ONCE == 0:
            with contextlib.suppress(sqlite3.Error):  # the record is already committed
                self._write(connection, counters.count_rows)
        if added and (len(values[_RECORD]) > _LONG_RECORD or self._connections.reserve.short):
            self._keep_room(connection)
        return added

    def _add_many(
        self,
        connection: Connection,
        records: Sequence[ArtifactMetadata],
        options: dict[str, Any],
        exclusive: bool,  # noqa: FBT001 - a contract's argument, passed on
        most: int | None,
    ) -> None:
        self._write(connection, self._add, records, options, exclusive, most)
        self._keep_room(connection)

    def _add(
        self,
        connection: Connection,
        records: Sequence[ArtifactMetadata],
        options: dict[str, Any],
        exclusive: bool,  # noqa: FBT001 - a contract's argument, passed on
        most: int | None,
    ) -> None:
        if exclusive and any(self._is_taken(connection, record, options["now"]) for record in records):
            raise FilenameTakenError
        joined = self._join(connection, records, **options)
        if most is not None:
            for session_id, size in sizes_by_session(joined).items():
                self._check_room(connection, session_id, size, most)

    def _join(
        self,
        connection: Connection,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NO_USERS,
    ) -> list[ArtifactMetadata]:
        """Write new records with their sessions, and return them as they were written."""
        joined, sessions = join_sessions(
            records,
            cache(partial(self._session, connection)),  # asked for each record
            now=now,
            inheriting=inheriting,
            user_ids=user_ids,
            session_ttl=self._session_ttl,
        )
        for info in sessions.values():
            self._write_session(connection, info)
        self._write_new(connection, joined)
        return joined

    def _write_new(self, connection: Connection, records: Sequence[ArtifactMetadata]) -> None:
        try:
            connection.executemany(_ADD, map(_row, records))
        except sqlite3.IntegrityError:  # another process came upon the bytes of some, and has added records for them
            self._remove("sandbox_id = ?", [self._sandbox_id], connection, [record.artifact_id for record in records])
            connection.executemany(_ADD, map(_row, records))
        for record in records:
            if not is_filed(record):
                counters.note(connection, record)
        counters.count_rows(connection)

    def merge(self, records: Sequence[ArtifactMetadata], *, now: float, replace_older: bool = False) -> list[bool]:
        """Add missing records, and replace older ones if asked to, each portion in one transaction."""
        merges: list[bool] = []
        for some in batches(records, _PORTION):
            merges += self._read(self._merge_some, some, now, replace_older)
        return merges

    def _merge_some(
        self,
        connection: Connection,
        records: Sequence[ArtifactMetadata],
        now: float,
        replace_older: bool,  # noqa: FBT001 - a contract's argument, passed on
    ) -> list[bool]:
        merges = self._write(connection, self._merge, records, now, replace_older)
        self._keep_room(connection)
        return merges

    def _merge(
        self,
        connection: Connection,
        records: Sequence[ArtifactMetadata],
        now: float,
        replace_older: bool,  # noqa: FBT001 - a contract's argument, passed on
    ) -> list[bool]:
        revisions = dict(
            connection.execute(
                f"SELECT artifact_id, revision FROM artifacts WHERE artifact_id IN ({_marks(records)})"
                " AND sandbox_id = ?",
                (*(record.artifact_id for record in records), self._sandbox_id),
            ).fetchall()
        )
        merges = [can_merge(record, revisions, replace_older=replace_older) for record in records]
        some = [record for record, is_merged in zip(records, merges, strict=True) if is_merged]
        self._join(connection, [record for record in some if record.artifact_id not in revisions], now=now)
        for record in some:
            if record.artifact_id in revisions:
                self._replace(connection, record, revisions[record.artifact_id])
        return merges

    def merge_sessions(self, sessions: Sequence[SessionInfo], *, now: float, prefer_given: bool = False) -> list[bool]:
        """Add missing sessions, and what others lack, each portion in one transaction."""
        change = partial(merged, now=now, prefer_given=prefer_given)
        return [
            is_changed
            for some in batches(sessions, _PORTION)
            for is_changed in self._change(self._merge_sessions, some, change)
        ]

    def _merge_sessions(
        self,
        connection: Connection,
        sessions: Sequence[SessionInfo],
        change: Callable[[SessionInfo | None, SessionInfo], SessionInfo | None],
    ) -> list[bool]:
        changed = []
        for given in sessions:
            info = change(self._session(connection, given.session_id), given)
            if info is not None:
                self._write_session(connection, info)
            changed.append(info is not None)
        return changed

    def _check_room(self, connection: Connection, session_id: str, more: int, most: int) -> None:
        """Raise ``QuotaExceededError`` if a session that has just grown by *more* bytes holds more than *most*."""
        if more > 0 and counters.read(connection, self._sandbox_id, session_id).bytes > most:
            raise session_full(most)

    def _keep_room(self, connection: Connection) -> None:
        """Refill the reserve, and checkpoint the log before the database grows by more than the reserve.

        Records stored one by one would reach that before SQLite's own checkpoint. Errors are ignored, because the
        record is already committed.
        """
        if self._connections.reserve.short:
            self._connections.reserve.make()
        with contextlib.suppress(sqlite3.Error):
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            if pages * PAGE - self._connections.size > _MOST_GROWTH:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        if len(artifact_ids) == 1:
            return [self._read(self._record, artifact_ids[0])]
        return self._read(self._get, artifact_ids)

    def _record(self, connection: Connection, artifact_id: str) -> ArtifactMetadata | None:
        row = connection.execute(_GET, (artifact_id, self._sandbox_id)).fetchone()
        if row is None:
            return None
        try:
            return decode_record(row[0], artifact_id, self._sandbox_id)
        except DAMAGE as error:
            raise damaged_record(error) from error

    def _get(self, connection: Connection, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        rows = [
            row
            for some in batches(artifact_ids, _VARIABLES)
            for row in connection.execute(
                f"SELECT artifact_id, record FROM artifacts WHERE artifact_id IN ({_marks(some)}) AND sandbox_id = ?",
                (*some, self._sandbox_id),
            ).fetchall()
        ]
        found = {record.artifact_id: record for record in decoded(rows, self._decode)}
        return [found.get(artifact_id) for artifact_id in artifact_ids]

    def replace(
        self, record: ArtifactMetadata, *, expected_revision: int, max_session_bytes: int | None = None
    ) -> bool:
        """Replace a record if it has the revision."""
        if max_session_bytes is None:
            return self._change(self._replace, record, expected_revision)
        return self._change(self._replace_within, record, expected_revision, max_session_bytes)

    def _replace_within(self, connection: Connection, record: ArtifactMetadata, revision: int, most: int) -> bool:
        before = counters.read(connection, self._sandbox_id, record.session_id).bytes
        replaced = self._replace(connection, record, revision)
        more = counters.read(connection, self._sandbox_id, record.session_id).bytes - before
        self._check_room(connection, record.session_id, more, most)
        return replaced

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records in one transaction."""
        return self._free_in_parts(self._replace_each, changes)

    def _replace_each(self, connection: Connection, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        return [self._replace(connection, record, revision) for record, revision in changes]

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records."""
        where, values = "sandbox_id = ?", [self._sandbox_id]
        if session_id is not None:
            where, values = f"{where} AND session_id = ?", [*values, session_id]
        if expired_at is not None:
            where, values = f"{where} AND expires_at <= ?", [*values, timestamp(expired_at)]
        return self._free_in_parts(partial(self._remove, where, values), artifact_ids)

    def _remove(
        self, where: str, values: Sequence[str], connection: Connection, artifact_ids: Sequence[str]
    ) -> list[ArtifactMetadata]:
        removed = []
        for some in batches(artifact_ids, _VARIABLES):
            removed += connection.execute(
                f"DELETE FROM artifacts WHERE {where} AND artifact_id IN ({_marks(some)}) RETURNING {_FILED}",
                (*values, *some),
            ).fetchall()
        return self._removed(removed)

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing, through the index of places."""
        where, values = "filename >= ?", [prefix]
        if after is not None:
            where, values = BEHIND, [*after]
        end = prefix_end(prefix)
        if end is not None:
            where, values = f"{where} AND filename < ?", [*values, end]
        return self._read(
            self._sound,
            f"SELECT artifact_id, record FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND {where}"
            " AND (expires_at IS NULL OR expires_at > ?) ORDER BY filename, artifact_id LIMIT ?",
            (self._sandbox_id, session_id, *values, timestamp(now)),
            limit,
            session_id,
        )

    def search(self, session_ids: Sequence[str], query: Query, *, after: Any, limit: int, now: float) -> Found:
        """Return a page of a search; SQLite looks into the records, and decodes none that can't match."""
        return self._read(self._search, session_ids, Search(self._sandbox_id, query, now), after, limit)

    def _search(
        self,
        connection: Connection,
        session_ids: Sequence[str],
        search: Search,
        after: tuple[int, tuple[str, str] | None] | None,
        limit: int,
    ) -> Found:
        found: list[ArtifactMetadata] = []
        (number, start), left = after or (0, None), _SEARCHED_AT_ONCE
        while number < len(session_ids) and left > 0:
            wanted = min(left, _LOOKED_AT_AT_ONCE)
            rows = search.rows(connection, session_ids[number], start, wanted)
            matching = [row for row in rows if row[-1] is not None]
            records, _ = decode_sound(matching, partial(self._decode, session_id=session_ids[number]), _id_of)
            for record in records:
                if search.query.matches(record, search.now):
                    found.append(record)
                    if len(found) == limit:
                        return Found(found, (number, place(record)))
            left -= len(rows) + 1
            start = (rows[-1][1], rows[-1][0]) if len(rows) == wanted else None
            number += start is None
        return Found(found, None if number == len(session_ids) else (number, start))

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename, through the index of places."""
        found = self._read(self._named, session_id, filename)
        return [record for record in found if not is_over(record.expires_at, now)]

    def _named(self, connection: Connection, session_id: str, filename: str) -> list[ArtifactMetadata]:
        """Return the records with a filename, expired ones too, sorted by id."""
        rows = connection.execute(_NAMED, (self._sandbox_id, session_id, filename)).fetchall()
        if len(rows) == 1:  # mostly; decoding a list of one takes twice as long
            ((artifact_id, text),) = rows
            try:
                record = decode_record(text, artifact_id, self._sandbox_id)
                if record.session_id == session_id:
                    return [record]
            except DAMAGE:  # skipped with a warning below
                pass
        return decode_sound(rows, partial(self._decode, session_id=session_id), _id_of)[0]

    def has_named(self, session_id: str, filename: str, now: float) -> bool | None:
        """Return whether there is an artifact with a filename, from the index and the columns."""
        return self._read(self._has_named, (self._sandbox_id, session_id, filename, timestamp(now)))

    def _has_named(self, connection: Connection, values: tuple[str, str, str, str]) -> bool | None:
        (latest,) = connection.execute(_HAS_NAMED, values).fetchone()
        return False if latest is None else latest > 0 or None

    def named_each(self, session_id: str, filenames: Sequence[str], now: float) -> list[list[ArtifactMetadata]]:
        """Return the records with each filename, through the index of places."""
        found: dict[str, list[ArtifactMetadata]] = {filename: [] for filename in filenames}
        for record in self._read(self._named_any, session_id, list(found), timestamp(now)):
            if record.filename is not None and record.filename in found:
                found[record.filename].append(record)
        return [found[filename] for filename in filenames]

    def _named_any(
        self, connection: Connection, session_id: str, filenames: Sequence[str], now: str
    ) -> list[ArtifactMetadata]:
        """Return the records with any of the filenames, those of each sorted by id."""
        records: list[ArtifactMetadata] = []
        for some in batches(filenames, _VARIABLES):
            records += self._sound(
                connection,
                "SELECT artifact_id, record FROM artifacts WHERE sandbox_id = ? AND session_id = ?"
                f" AND filename IN ({_marks(some)}) AND (expires_at IS NULL OR expires_at > ?)"
                " ORDER BY filename, artifact_id LIMIT ?",
                (self._sandbox_id, session_id, *some, now),
                _EVERYTHING,
                session_id,
            )
        return records

    def _sound(
        self, connection: Connection, query: str, values: Sequence[str], limit: int, session_id: str | None
    ) -> list[ArtifactMetadata]:
        """Return as many records as *limit* from a query that ends with it, past those that can't be decoded."""
        decode = partial(self._decode, session_id=session_id)
        wanted = limit
        while True:
            rows = connection.execute(query, (*values, wanted)).fetchall()
            records, damaged = decode_sound(rows, decode, _id_of)
            if not damaged or len(rows) < wanted or len(records) >= limit:
                return records[:limit]
            wanted += 2 * len(damaged)

    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of the records that cleanup must look at, through their index; *after* is (due, rowid)."""
        return self._read(self._due, timestamp(now), limit, after)

    def _due(self, connection: Connection, now: str, limit: int, after: tuple[str, int] | None) -> Due:
        further = "" if after is None else " AND (due, rowid) > (?, ?)"
        rows = connection.execute(
            f"SELECT artifact_id, due, rowid, record FROM artifacts WHERE sandbox_id = ? AND due <= ?{further}"
            " ORDER BY due, rowid LIMIT ?",
            (self._sandbox_id, now, *(after or ()), limit),
        ).fetchall()
        records, damaged = decode_sound(rows, self._decode, _id_of)
        return Due(records, [*map(_id_of, damaged)], rows[-1][1:3] if len(rows) == limit else None)

    def create_session(self, info: SessionInfo) -> bool:
        """Add a session."""
        return self._change(self._create_session, info)

    def _create_session(self, connection: Connection, info: SessionInfo) -> bool:
        if self._session(connection, info.session_id, seconds_of(info.created_at)) is not None:
            return False
        self._write_session(connection, info)
        return True

    def sessions(self, now: float, limit: int, *, user_id: str | None = None, after: Any = None) -> Sessions:
        """Return a page of sessions, sorted by id, through the index of users for those of one."""
        return self._read(self._sessions, timestamp(now), limit, user_id, after)

    def _sessions(
        self, connection: Connection, now: str, limit: int, user_id: str | None, after: str | None
    ) -> Sessions:
        of_user, values = ("", []) if user_id is None else (" AND user_id = ?", [user_id])
        rows = connection.execute(
            f"SELECT {_SESSION} FROM sessions WHERE sandbox_id = ?{of_user} AND session_id > ?"
            " AND (expires_at IS NULL OR expires_at > ?) ORDER BY session_id LIMIT ?",
            (self._sandbox_id, *values, after or "", now, limit),
        ).fetchall()
        found, _ = decode_sound(rows, lambda rows: list(map(_session_of, rows)), _id_of)
        return Sessions(found, rows[-1][0] if len(rows) == limit else None)

    def forget_user(self, user_id: str) -> None:
        """Do nothing: the index of users changes with the sessions."""

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        return self._read(self._session, session_id, now)

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
        change = partial(updated, custom_metadata=custom_metadata, extend=extend, limits=limits)
        return self._change(self._update_session, session_id, now, change)

    def _update_session(
        self,
        connection: Connection,
        session_id: str,
        now: float,
        change: Callable[[SessionInfo], SessionInfo],
    ) -> SessionInfo | None:
        info = self._session(connection, session_id, now)
        if info is None:
            return None
        changed = change(info)
        self._write_session(connection, changed)
        return changed

    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove a portion of a session's records, and with the last portion the session."""
        removed: list[ArtifactMetadata] = []
        remove = partial(self._remove_session, session_id, timestamp(now))
        while len(removed) < limit:
            portion, is_last = self._free_portion(remove, min(limit - len(removed), _PORTION))
            if portion is None:
                return removed or None  # another caller removed the rest
            removed += portion
            if is_last:
                break
            time.sleep(_PAUSE_SECONDS)
        return removed

    def _remove_session(
        self, session_id: str, now: str, connection: Connection, limit: int
    ) -> tuple[list[ArtifactMetadata] | None, bool]:
        """Remove and return a portion, and whether the session was removed too; None if there is no session."""
        which, values = "sandbox_id = ? AND session_id = ?", (self._sandbox_id, session_id)
        if not connection.execute(
            f"SELECT 1 FROM sessions WHERE {which} AND (expires_at IS NULL OR expires_at > ?)", (*values, now)
        ).fetchone():
            return None, True
        rows = connection.execute(
            f"DELETE FROM artifacts WHERE rowid IN (SELECT rowid FROM artifacts WHERE {which} LIMIT ?)"
            f" RETURNING {_FILED}",
            (*values, limit),
        ).fetchall()
        is_last = not connection.execute(f"SELECT 1 FROM artifacts WHERE {which} LIMIT 1", values).fetchone()
        if not (rows or is_last):
            raise sqlite3.DatabaseError("the file is damaged: an index holds records that the table lacks")
        if is_last:
            connection.execute(f"DELETE FROM sessions WHERE {which}", values)
        return self._removed(rows), is_last

    def expire_sessions(
        self, now: float, *, dry_run: bool = False, gone: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Remove the expired sessions, through their index, in portions."""
        if dry_run:
            return self._read(self._count_expired_sessions, timestamp(now))
        expired = 0
        while portion := self._free_portion(partial(self._expire_sessions, timestamp(now)), _PORTION):
            expired += len(portion)
            if gone is not None:
                gone(portion)
            time.sleep(_PAUSE_SECONDS)
        return expired

    def _count_expired_sessions(self, connection: Connection, now: str) -> int:
        (count,) = connection.execute(
            "SELECT count(*) FROM sessions WHERE sandbox_id = ? AND expires_at <= ?", (self._sandbox_id, now)
        ).fetchone()
        return int(count)

    def _expire_sessions(self, now: str, connection: Connection, limit: int) -> list[str]:
        rows = connection.execute(
            "DELETE FROM sessions WHERE sandbox_id = ? AND session_id IN"
            " (SELECT session_id FROM sessions WHERE sandbox_id = ? AND expires_at <= ? LIMIT ?) RETURNING session_id",
            (self._sandbox_id, self._sandbox_id, now, limit),
        ).fetchall()
        return list(map(_id_of, rows))

    def stats(self, now: float) -> dict[str, int]:
        """Count sessions, artifacts and their bytes."""
        return self._read(self._stats, timestamp(now))

    def _stats(self, connection: Connection, now: str) -> dict[str, int]:
        where, values = "WHERE sandbox_id = ? AND (expires_at IS NULL OR expires_at > ?)", (self._sandbox_id, now)
        (sessions,) = connection.execute(f"SELECT count(*) FROM sessions {where}", values).fetchone()
        artifacts, size = connection.execute(
            f"SELECT count(*), coalesce(sum(bytes), 0) FROM artifacts {where} AND revision > 0", values
        ).fetchone()
        return {"sessions": sessions, "artifacts": artifacts, "bytes": int(size)}

    def usage(self, session_id: str | None) -> Usage:
        """Read the counters of a session, or sum those of all sessions."""
        return self._read(self._usage, session_id)

    def _usage(self, connection: Connection, session_id: str | None) -> Usage:
        if connection.read_only and not counters.are_there(connection):
            return counters.count(connection, self._sandbox_id, session_id)
        return counters.read(connection, self._sandbox_id, session_id)

    def recount(self) -> None:
        """Count all records of the file, in one transaction."""
        self._change(counters.recount)

    def identity(self, create: str | None = None) -> str | None:
        """Return the identity of this file in the sandbox."""
        known = self._read(self._identity)
        return known if known is not None or create is None else self._change(self._make_identity, create)

    def _identity(self, connection: Connection) -> str | None:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'identities'").fetchone():
            return None
        row = connection.execute("SELECT identity FROM identities WHERE sandbox_id = ?", (self._sandbox_id,)).fetchone()
        return None if row is None else decoded(row[0], _text)

    def _make_identity(self, connection: Connection, identity: str) -> str | None:
        connection.execute(_IDENTITIES)
        connection.execute("INSERT OR IGNORE INTO identities VALUES (?, ?)", (self._sandbox_id, identity))
        return self._identity(connection)

    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return some living records."""
        found = self._read(
            self._sound,
            f"SELECT artifact_id, record FROM artifacts WHERE sandbox_id = ? AND {LIVING} LIMIT ?",
            (self._sandbox_id, timestamp(now)),
            limit,
            None,
        )
        return [record for record in found if record.pending is None]

    def verify(self) -> int:
        """Check the file and its indexes (``PRAGMA integrity_check``), and count the damaged records."""
        return self._read(self._verify)

    def _verify(self, connection: Connection) -> int:
        _check_file(connection, "integrity_check")
        return self._damaged(connection)

    def _damaged(self, connection: Connection) -> int:
        damaged, after = 0, _FIRST_ROW
        # in portions and not row by row: a statement that an interrupt leaves half-read keeps its view of the file
        while rows := connection.execute(
            f"SELECT rowid, {_FILED} FROM artifacts WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, _PORTION)
        ).fetchall():
            damaged += sum(self._is_damaged(row[1:]) for row in rows)
            if rows[-1][0] <= after:
                raise sqlite3.DatabaseError("the file is damaged: its rows are in disorder")
            after = rows[-1][0]
        return damaged

    def check(self) -> dict[str, str]:
        """Check all pages and records, and write a few KiB."""
        read_only, damaged = self._read(self._inspect)
        warnings = []
        if read_only:
            warnings.append("it can only be read")
        else:
            self._change(self._probe)
            with self._errors:
                check_room(f"{self._path}-check-{os.urandom(8).hex()}")
        if damaged:
            warnings.append(f"{damaged} records are damaged")
        kind = network_filesystem(self._path)
        if kind is not None:
            warnings.append(f"it is on a network file system ({kind}), where SQLite can lose data")
        return {"warning": f"catalog {self._path!r}: {'; '.join(warnings)}"} if warnings else {}

    def _inspect(self, connection: Connection) -> tuple[bool, int]:
        _check_file(connection, "quick_check")
        return connection.read_only, self._damaged(connection)

    def close(self) -> None:
        """Close the connections."""
        with self._errors:
            self._connections.close()

    def _read(self, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Call *work* with a connection and return its result; call it again if the database was busy."""
        with self._errors:
            try:
                return self._connections.lend(work, *arguments)
            except sqlite3.OperationalError as error:
                if not _is_passing(error):
                    self._explain(error)
                    raise
            try:
                return self._connections.lend(_patiently, work, *arguments)
            except sqlite3.OperationalError as error:
                self._explain(error)
                raise

    def _change(self, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Call *work* with a connection in one transaction, and return its result."""
        return self._read(self._write, work, *arguments)

    def _free(self, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Call *work*, which removes something, in one transaction that works on a full disk too."""
        return self._read(self._write_less, work, *arguments)

    def _free_in_parts(self, work: Callable[[Connection, Sequence[S]], list[T]], items: Sequence[S]) -> list[T]:
        """Call *work* with *items* in one transaction, and return its results; split them on a full disk."""
        try:
            return self._free(work, items)
        except SessionError as error:
            if len(items) == 1 or not self._is_full(error.__cause__):
                raise
        middle = len(items) // 2
        return [*self._free_in_parts(work, items[:middle]), *self._free_in_parts(work, items[middle:])]

    def _free_portion(self, work: Callable[[Connection, int], T], limit: int) -> T:
        """Call *work* in one transaction for at most *limit* rows, on a full disk for fewer; return its result."""
        try:
            return self._free(work, limit)
        except SessionError as error:
            if limit == 1 or not self._is_full(error.__cause__):
                raise
        return self._free_portion(work, limit // 2)

    def _is_full(self, error: BaseException | None) -> bool:
        return isinstance(error, sqlite3.OperationalError) and is_full(error, self._path)

    def _explain(self, error: sqlite3.OperationalError) -> None:
        """Raise a more specific error for a read-only file or a failed sync."""
        if code_of(error) == sqlite3.SQLITE_READONLY:
            raise SessionError(
                f"catalog {self._path!r} is read-only: this process can't write the file or its folder"
            ) from error
        if getattr(error, "sqlite_errorcode", 0) in _UNSYNCED:
            raise OutcomeUnknownError(f"catalog {self._path!r}: {error}") from error

    def _write(self, connection: Connection, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Call *work* in a transaction; on a full disk, empty the log and try again."""
        try:
            return self._writing.run(_in_transaction, connection, work, *arguments)
        except sqlite3.OperationalError as error:
            if not self._is_full(error):
                raise
            full = error
        reserve = self._connections.reserve
        try:
            while not _empty_log(connection):  # emptying it needs some space, and frees more
                if not reserve.release():
                    raise full
        finally:
            reserve.refill()
        return self._writing.run(_in_transaction, connection, work, *arguments)

    def _write_less(self, connection: Connection, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Call *work*, which removes something, in a transaction; on a full disk, release the reserve for it."""
        try:
            return self._writing.run(_in_transaction, connection, work, *arguments)
        except sqlite3.OperationalError as error:
            if not self._is_full(error):
                raise
        reserve = self._connections.reserve
        try:
            while True:
                _empty_log(connection)
                try:
                    result = self._writing.run(_in_transaction, connection, work, *arguments)
                except sqlite3.OperationalError as error:
                    if not self._is_full(error) or not reserve.release():
                        raise
                else:
                    _empty_log(connection)  # the freed space refills the reserve
                    return result
        finally:
            reserve.refill()

    def _prepare(self, connection: Connection) -> None:
        _patiently(connection, self._begin)

    def _begin(self, connection: Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise SessionError(
                f"catalog {self._path!r} has schema version {version}; this chuk-artifacts knows {SCHEMA_VERSION}:"
                " install a newer one"
            )
        log = part_of_disk(self._path, _LOG_OF_DISK, _SHORTEST_LOG, _LONGEST_LOG)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {log // PAGE}")
        connection.execute(f"PRAGMA journal_size_limit = {log}")  # a log that readers let grow is cut when it restarts
        connection.execute("PRAGMA temp_store = MEMORY")  # temporary files fail on a full disk
        if version < SCHEMA_VERSION:
            _begin_log(connection)
            connection.executescript(_SCHEMA)
        if not connection.read_only:
            if not counters.are_there(connection):
                self._write(connection, counters.make)
            self._connections.reserve.make()

    def _probe(self, connection: Connection) -> None:
        """Write a few KiB to the database and delete them; SQLite writes freed pages too."""
        probe = new_session("\0", self._sandbox_id, now=0, ttl=0, custom_metadata={"": "x" * _PROBE})
        self._write_session(connection, probe)
        connection.execute(
            "DELETE FROM sessions WHERE sandbox_id = ? AND session_id = ?", (self._sandbox_id, probe.session_id)
        )

    def _replace(self, connection: Connection, record: ArtifactMetadata, expected_revision: int) -> bool:
        changed = connection.execute(
            "UPDATE artifacts SET filename = ?, bytes = ?, revision = ?, expires_at = ?, due = ?, record = ?"
            " WHERE artifact_id = ? AND sandbox_id = ? AND revision = ?",
            (*_row(record)[3:], record.artifact_id, self._sandbox_id, expected_revision),
        ).rowcount
        if changed and not is_filed(record):
            counters.note(connection, record)
        info = self._session(connection, record.session_id) if changed else None
        if info is not None and (longer := lasting(info, record.expires_at)) is not info:
            self._write_session(connection, longer)
        return changed > 0

    def _is_taken(self, connection: Connection, record: ArtifactMetadata, now: float) -> bool:
        """Return whether :func:`~chuk_artifacts.catalog.takes_filename` is true for any record, without decoding."""
        if record.filename is None:
            return False
        row = connection.execute(
            f"SELECT 1 FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND filename = ? AND {LIVING} LIMIT 1",
            (self._sandbox_id, record.session_id, record.filename, timestamp(now)),
        ).fetchone()
        return row is not None

    def _session(self, connection: Connection, session_id: str, now: float | None = None) -> SessionInfo | None:
        """Return a session, or None; without *now*, return an expired one too."""
        row = connection.execute(
            f"SELECT {_SESSION} FROM sessions WHERE sandbox_id = ? AND session_id = ?",
            (self._sandbox_id, session_id),
        ).fetchone()
        if row is None:
            return None
        info = decoded(row, _session_of)
        return None if now is not None and is_over(info.expires_at, now) else info

    @staticmethod
    def _write_session(connection: Connection, info: SessionInfo) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                info.sandbox_id,
                info.session_id,
                info.user_id,
                info.created_at,
                info.expires_at,
                json.dumps(info.custom_metadata) if info.custom_metadata else _NOTHING,
                info.ttl,
            ),
        )

    def _removed(self, rows: Sequence[Row]) -> list[ArtifactMetadata]:
        """Return the records of removed rows; salvage damaged ones."""
        records, damaged = decode_sound(rows, self._decode, _id_of)
        for artifact_id, _, session_id, filename, size, revision, expires_at, *_ in damaged:
            try:
                records.append(
                    salvaged(
                        self._sandbox_id,
                        session_id,
                        artifact_id,
                        provider=self.provider,
                        filename=filename if isinstance(filename, str) and filename else None,
                        bytes=size if isinstance(size, int) else 0,
                        revision=revision if isinstance(revision, int) else 1,
                        expires_at=expires_at if isinstance(expires_at, str) else None,
                    )
                )
            except GridError:  # the session id is damaged too; an orphan sweep finds the bytes
                _log.warning("removed the record of %s without its bytes: its session is damaged", artifact_id)
        return records

    def _decode(self, rows: Sequence[Row], session_id: str | None = None) -> list[ArtifactMetadata]:
        """Decode rows that begin with the id and end with the record."""
        return decode_records([row[-1] for row in rows], [row[0] for row in rows], self._sandbox_id, session_id)

    def _is_damaged(self, row: Row) -> bool:
        """Return whether a row of the sandbox can't be decoded, or its columns differ from its record."""
        sandbox_id, session_id = row[1:3]
        try:
            record = decode_record(row[-1], row[0], sandbox_id)
            if self._sandbox_id not in {sandbox_id, record.sandbox_id}:
                return False
            filed = _columns(record)
            if record.released:  # its due time depends on the version that wrote it
                filed = (*filed[:-1], row[-2])
        except DAMAGE:
            # of another sandbox, if the columns fit each other: the id begins with a digest of the two others
            return sandbox_id == self._sandbox_id or _id_of(row)[:8] != grid.slot_tag(sandbox_id, session_id)
        return filed != row[:-1]


def _check_file(connection: Connection, pragma: str) -> None:
    (answer,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(f"the file is damaged: {answer!s:.200}")


def _begin_log(connection: Connection) -> None:
    """Switch a new file to the write-ahead log. SQLite's busy timeout does not cover this statement."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:
        time.sleep(_BUSY_PAUSE_SECONDS)
        raise


def _is_passing(error: sqlite3.OperationalError) -> bool:
    """Return whether a retry may succeed."""
    return code_of(error) == sqlite3.SQLITE_BUSY or _is_no_text(error)


def _is_no_text(error: sqlite3.OperationalError) -> bool:
    return str(error).startswith("Could not decode to UTF-8")


def _patiently(connection: Connection, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
    """Retry *work* while another process is writing; after a decoding error, read texts that are damaged as bytes."""
    until = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return work(connection, *arguments)
        except sqlite3.OperationalError as error:
            roll_back(connection)
            if _is_no_text(error):
                connection.text_factory = _text_or_bytes
            elif not _is_passing(error) or time.monotonic() >= until:
                raise


def _in_transaction(connection: Connection, work: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection, *arguments)
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return result


def _empty_log(connection: Connection) -> bool:
    """Checkpoint and truncate the log; return whether that worked."""
    try:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return False
    return not busy


def _columns(record: ArtifactMetadata) -> tuple[object, ...]:
    return (
        record.artifact_id,
        record.sandbox_id,
        record.session_id,
        place(record)[0],
        record.bytes,
        record.revision,
        record.expires_at,
        record.due,
    )


def _row(record: ArtifactMetadata) -> tuple[object, ...]:
    return (*_columns(record), record.to_json())


def _id_of(row: Row) -> str:
    return row[0] if isinstance(row[0], str) else repr(row[0])


def _session_of(row: Row) -> SessionInfo:
    names = "session_id", "sandbox_id", "user_id", "created_at", "expires_at", "custom_metadata", "ttl"
    fields = dict(zip(names, row, strict=True))
    fields["custom_metadata"] = {} if fields["custom_metadata"] == _NOTHING else decode(fields["custom_metadata"])
    return SessionInfo.restored(fields)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not text: {value!r:.80}")
    return value


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
