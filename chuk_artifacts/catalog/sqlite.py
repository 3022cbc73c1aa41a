"""Records and sessions in an SQLite database file, shared by all threads and processes of one machine.

The write-ahead log lets readers and one writer work at once. It needs shared memory, so that the file must not lie on a
network filesystem (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from chuk_artifacts.catalog import (
    NOBODY,
    FilenameTakenError,
    batches,
    decoded,
    place,
    prefix_end,
    prolonged,
    settle,
    takes_filename,
    updated,
)
from chuk_artifacts.catalog.connections import Connections
from chuk_artifacts.errors import ErrorMap, SessionError
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over, timestamp

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
# One statement for what is stored most of the time: in a session that is there and need not change for it.
_ADD_TO_SESSION = (
    "INSERT INTO artifacts SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? FROM sessions WHERE sandbox_id = ? AND session_id = ?"
    " AND (expires_at IS NULL OR expires_at >= ?) AND (ttl IS ? OR NOT ?)"
)
_BUSY_TIMEOUT_SECONDS = 30.0
_BUSY_PAUSE_SECONDS = 0.01
_PAGES_OF_LOG = 8000  # 32 MiB; a page written often goes to the database file once a checkpoint
_NOTHING = "{}"
_VARIABLES = 500  # of one statement; SQLite's own limit is 999 or more


class SqliteCatalog:
    """A catalog in a database file; see :class:`chuk_artifacts.catalog.Catalog`.

    Writes of this process wait for each other here, those of other processes in SQLite.

    Args:
        path: the file; it and its folder are made when they are missing.
        sandbox_id: the namespace to which it is bound.
        session_ttl: how long a new session lives, in seconds, or None for ever.
        durable: whether a write is on the disk before it returns; otherwise it survives the process, not a power cut.

    """

    provider = "sqlite"
    blocks = True
    keeps = False

    def __init__(self, path: str, sandbox_id: str, session_ttl: float | None, *, durable: bool = False) -> None:
        """Open nothing yet."""
        self._path = path
        self._sandbox_id = sandbox_id
        self._session_ttl = session_ttl
        self._synchronous = "FULL" if durable else "NORMAL"
        self._errors = ErrorMap((sqlite3.Error, OSError), SessionError, f"catalog {path!r}")
        self._writing = threading.Lock()
        self._connections = Connections(path, _BUSY_TIMEOUT_SECONDS, self._prepare)

    def add(
        self,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NOBODY,
        exclusive: bool = False,
    ) -> None:
        """Add new records with their sessions, in one transaction."""
        if len(records) == 1 and not (exclusive or user_ids) and self._add_to_session(records[0], inheriting):
            return
        with self._transaction() as connection:
            if exclusive and any(self._is_taken(connection, record, now) for record in records):
                raise FilenameTakenError
            settled, sessions = settle(
                records,
                lambda session_id: self._session(connection, session_id),
                now=now,
                inheriting=inheriting,
                user_ids=user_ids,
                session_ttl=self._session_ttl,
            )
            for info in sessions.values():
                self._write_session(connection, info)
            connection.executemany(_ADD, map(_row, settled))

    def _add_to_session(self, record: ArtifactMetadata, inheriting: Collection[str]) -> bool:
        """Add a record if its session, as it is, fits it: see :func:`settle`."""
        inherits = record.artifact_id in inheriting
        wanted = (self._sandbox_id, record.session_id, record.expires_at, record.ttl, inherits)
        with self._errors, self._connections.one() as connection, self._writing:
            return connection.execute(_ADD_TO_SESSION, (*_row(record), *wanted)).rowcount > 0

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        if len(artifact_ids) == 1:
            return [self._record(artifact_ids[0])]
        with self._errors, self._connections.one() as connection:
            rows = [
                row
                for some in batches(artifact_ids, _VARIABLES)
                for row in connection.execute(
                    f"SELECT record FROM artifacts WHERE artifact_id IN ({_marks(some)}) AND sandbox_id = ?",
                    (*some, self._sandbox_id),
                )
            ]
        found = {record.artifact_id: record for record in _records(rows)}
        return [found.get(artifact_id) for artifact_id in artifact_ids]

    def _record(self, artifact_id: str) -> ArtifactMetadata | None:
        with self._errors, self._connections.one() as connection:
            row = connection.execute(
                "SELECT record FROM artifacts WHERE artifact_id = ? AND sandbox_id = ?", (artifact_id, self._sandbox_id)
            ).fetchone()
        return None if row is None else decoded(row[0], ArtifactMetadata.from_json)

    def replace(self, record: ArtifactMetadata, *, expected_revision: int) -> bool:
        """Replace a record if it has the revision."""
        return self.replace_each([(record, expected_revision)])[0]

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records in one transaction."""
        with self._transaction() as connection:
            return [self._replace(connection, record, revision) for record, revision in changes]

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records."""
        condition, values = "sandbox_id = ?", [self._sandbox_id]
        if session_id is not None:
            condition, values = f"{condition} AND session_id = ?", [*values, session_id]
        if expired_at is not None:
            condition, values = f"{condition} AND expires_at <= ?", [*values, timestamp(expired_at)]
        removed = []
        with self._transaction() as connection:
            for some in batches(artifact_ids, _VARIABLES):
                removed += connection.execute(
                    f"DELETE FROM artifacts WHERE {condition} AND artifact_id IN ({_marks(some)}) RETURNING record",
                    (*values, *some),
                ).fetchall()
        return _records(removed)

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing, through the index of places."""
        condition, values = "filename >= ?", [prefix]
        if after is not None:
            condition, values = "(filename, artifact_id) > (?, ?)", [*after]
        end = prefix_end(prefix)
        if end is not None:
            condition, values = f"{condition} AND filename < ?", [*values, end]
        with self._errors, self._connections.one() as connection:
            rows = connection.execute(
                f"SELECT record FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND {condition}"
                " AND (expires_at IS NULL OR expires_at > ?) ORDER BY filename, artifact_id LIMIT ?",
                (self._sandbox_id, session_id, *values, timestamp(now), limit),
            ).fetchall()
        return _records(rows)

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename, through the index of places."""
        with self._errors, self._connections.one() as connection:
            rows = connection.execute(
                "SELECT record FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND filename = ?"
                " AND (expires_at IS NULL OR expires_at > ?) ORDER BY artifact_id",
                (self._sandbox_id, session_id, filename, timestamp(now)),
            ).fetchall()
        return _records(rows)

    def due(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return records that cleanup has to do with, through their index."""
        with self._errors, self._connections.one() as connection:
            rows = connection.execute(
                "SELECT record FROM artifacts WHERE sandbox_id = ? AND due <= ? ORDER BY due LIMIT ?",
                (self._sandbox_id, timestamp(now), limit),
            ).fetchall()
        return _records(rows)

    def create_session(self, info: SessionInfo) -> None:
        """Add a session."""
        with self._transaction() as connection:
            self._write_session(connection, info)

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        with self._errors, self._connections.one() as connection:
            return self._session(connection, session_id, now)

    def update_session(
        self, session_id: str, now: float, *, custom_metadata: Mapping[str, Any] | None = None, extend: float = 0
    ) -> bool:
        """Change a session."""
        with self._transaction() as connection:
            info = self._session(connection, session_id, now)
            if info is not None:
                self._write_session(connection, updated(info, custom_metadata, extend))
        return info is not None

    def remove_session(self, session_id: str, now: float) -> list[ArtifactMetadata] | None:
        """Remove a session with its records."""
        where = "WHERE sandbox_id = ? AND session_id = ?"
        with self._transaction() as connection:
            if self._session(connection, session_id, now) is None:
                return None
            connection.execute(f"DELETE FROM sessions {where}", (self._sandbox_id, session_id))
            rows = connection.execute(
                f"DELETE FROM artifacts {where} RETURNING record", (self._sandbox_id, session_id)
            ).fetchall()
        return _records(rows)

    def expire_sessions(self, now: float) -> int:
        """Remove the expired sessions, through their index."""
        with self._transaction() as connection:
            return connection.execute(
                "DELETE FROM sessions WHERE sandbox_id = ? AND expires_at <= ?", (self._sandbox_id, timestamp(now))
            ).rowcount

    def stats(self, now: float) -> dict[str, int]:
        """Count what is there."""
        where = "WHERE sandbox_id = ? AND (expires_at IS NULL OR expires_at > ?)"
        with self._errors, self._connections.one() as connection:
            (sessions,) = connection.execute(
                f"SELECT count(*) FROM sessions {where}", (self._sandbox_id, timestamp(now))
            ).fetchone()
            artifacts, size = connection.execute(
                f"SELECT count(*), coalesce(sum(bytes), 0) FROM artifacts {where} AND revision > 0",
                (self._sandbox_id, timestamp(now)),
            ).fetchone()
        return {"sessions": sessions, "artifacts": artifacts, "bytes": size}

    def check(self) -> dict[str, str]:
        """Begin a write and take it back."""
        with self._errors, self._connections.one() as connection, self._writing:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return {}

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors, self._connections.one() as connection, self._writing:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise SessionError(
                f"catalog {self._path!r} has schema version {version}; this chuk-artifacts knows {SCHEMA_VERSION}:"
                " install a newer one"
            )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_OF_LOG}")
        if version < SCHEMA_VERSION:
            _begin_log(connection)
            connection.executescript(_SCHEMA)

    def _replace(self, connection: sqlite3.Connection, record: ArtifactMetadata, expected_revision: int) -> bool:
        changed = connection.execute(
            "UPDATE artifacts SET filename = ?, bytes = ?, revision = ?, expires_at = ?, due = ?, record = ?"
            " WHERE artifact_id = ? AND sandbox_id = ? AND revision = ?",
            (*_row(record)[3:], record.artifact_id, self._sandbox_id, expected_revision),
        ).rowcount
        info = self._session(connection, record.session_id) if changed else None
        if info is not None and (longer := prolonged(info, record.expires_at)) is not info:
            self._write_session(connection, longer)
        return changed > 0

    def _is_taken(self, connection: sqlite3.Connection, record: ArtifactMetadata, now: float) -> bool:
        if record.filename is None:
            return False
        rows = connection.execute(
            "SELECT record FROM artifacts WHERE sandbox_id = ? AND session_id = ? AND filename = ?",
            (self._sandbox_id, record.session_id, record.filename),
        ).fetchall()
        return any(takes_filename(found, now) for found in _records(rows))

    def _session(self, connection: sqlite3.Connection, session_id: str, now: float | None = None) -> SessionInfo | None:
        """Return a session; an expired one too when there is no *now*."""
        row = connection.execute(
            "SELECT user_id, created_at, expires_at, custom_metadata, ttl FROM sessions"
            " WHERE sandbox_id = ? AND session_id = ?",
            (self._sandbox_id, session_id),
        ).fetchone()
        if row is None or (now is not None and is_over(row[2], now)):
            return None
        user_id, created_at, expires_at, custom_metadata, ttl = row
        return SessionInfo(
            session_id=session_id,
            sandbox_id=self._sandbox_id,
            user_id=user_id,
            created_at=created_at,
            expires_at=expires_at,
            custom_metadata={} if custom_metadata == _NOTHING else decoded(custom_metadata, json.loads),
            ttl=ttl,
        )

    @staticmethod
    def _write_session(connection: sqlite3.Connection, info: SessionInfo) -> None:
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


def _begin_log(connection: sqlite3.Connection) -> None:
    """Switch a new file to the write-ahead log; unlike other statements this one does not wait for a busy file."""
    patience = _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if patience <= 0:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
            patience -= _BUSY_PAUSE_SECONDS
        else:
            return


def _row(record: ArtifactMetadata) -> tuple[Any, ...]:
    return (
        record.artifact_id,
        record.sandbox_id,
        record.session_id,
        place(record)[0],
        record.bytes,
        record.revision,
        record.expires_at,
        record.due,
        record.to_json(),
    )


def _records(rows: Sequence[tuple[str]]) -> list[ArtifactMetadata]:
    return decoded([record for (record,) in rows], ArtifactMetadata.from_jsons)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
