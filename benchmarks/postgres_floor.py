"""The floor of records in PostgreSQL: psycopg's own calls, with the statements that a programmer would write."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.local_floors import RECORD
from benchmarks.workloads import Work

_RECORD_JSON = json.dumps({"record": RECORD})
_TABLES = """
CREATE SCHEMA IF NOT EXISTS bare;
CREATE TABLE IF NOT EXISTS bare.records (
    name text COLLATE "C" PRIMARY KEY, session text COLLATE "C", filename text COLLATE "C", due text, record text);
CREATE INDEX IF NOT EXISTS records_by_place ON bare.records (session, filename, name);
CREATE INDEX IF NOT EXISTS records_by_due ON bare.records (due);
CREATE TABLE IF NOT EXISTS bare.sessions (session text PRIMARY KEY, files bigint, bytes bigint);
INSERT INTO bare.sessions VALUES ('session', 0, 0) ON CONFLICT DO NOTHING;
"""
_INSERT = "INSERT INTO bare.records VALUES (%s, %s, %s, %s, %s)"
_COUNT = "UPDATE bare.sessions SET files = files + %s, bytes = bytes + %s WHERE session = 'session'"
_FILL = """
INSERT INTO bare.records SELECT 'listed-' || n, 'listed', 'file-' || lpad(n::text, 7, '0') || '.bin', NULL, %s
FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING
"""
_DUE = "2030-01-01T00:00:00.000000+00:00"


class PostgresRecords:
    """Bare records in PostgreSQL, on one connection a thread, with prepared statements.

    Args:
        url: the URL of the server.

    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._own = threading.local()
        self._all: list[psycopg.Connection[Any]] = []
        self._connection.execute(_TABLES.encode(), prepare=False)

    @property
    def _connection(self) -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = psycopg.connect(self._url, autocommit=True)
            connection.prepare_threshold = 1
            self._all.append(connection)
        return connection

    def add(self, count: int = 1) -> list[str]:
        """Insert *count* records and count them, in one transaction; return their names."""
        names = [os.urandom(16).hex() for _ in range(count)]
        rows = [(name, "session", "file.bin", _DUE, _RECORD_JSON) for name in names]
        connection = self._connection
        with connection.transaction():
            connection.execute("SELECT files FROM bare.sessions WHERE session = 'session'").fetchone()
            if count == 1:
                connection.execute(_INSERT, rows[0])
            else:
                connection.cursor().executemany(_INSERT, rows)
            connection.execute(_COUNT, (count, count * 1024))
        return names

    def get(self, name: str) -> Any:
        """Read a record."""
        row = self._connection.execute("SELECT record FROM bare.records WHERE name = %s", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def get_all(self, names: Sequence[str]) -> list[Any]:
        """Read records with one statement."""
        rows = self._connection.execute("SELECT record FROM bare.records WHERE name = ANY(%s)", (list(names),))
        return [json.loads(record) for (record,) in rows.fetchall()]

    def replace(self, name: str) -> None:
        """Update a record and the count, in one transaction."""
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE bare.records SET record = %s, due = %s WHERE name = %s", (_RECORD_JSON, _DUE, name)
            )
            self._connection.execute(_COUNT, (0, 1024))

    def remove(self, name: str) -> Any:
        """Remove a record and count, in one transaction."""
        with self._connection.transaction():
            row = self._connection.execute("DELETE FROM bare.records WHERE name = %s RETURNING record", (name,))
            self._connection.execute(_COUNT, (-1, -1024))
            return row.fetchall()

    def listing(self, listed: int, limit: int) -> Work:
        """Return work that reads a page through the index."""
        self._connection.execute(_FILL.encode(), (_RECORD_JSON, listed), prepare=False)
        self._connection.execute("ANALYZE bare.records", prepare=False)

        def call() -> list[Any]:
            rows = self._connection.execute(
                "SELECT record FROM bare.records WHERE session = 'listed' ORDER BY filename, name LIMIT %s", (limit,)
            )
            return [json.loads(record) for (record,) in rows.fetchall()]

        return Work(call)

    def close(self) -> None:
        """Remove everything but the records that are listed."""
        self._connection.execute("DELETE FROM bare.records WHERE session = 'session'", prepare=False)
        for connection in itertools.chain(self._all):
            connection.close()
