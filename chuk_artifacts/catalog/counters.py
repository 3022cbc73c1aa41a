"""What later versions added to an SQLite file: counters of usage, an index of users. Earlier versions work with it too.

Triggers keep the counters, so that they change in the transaction of each change, also in one of an earlier version of
this library. They know what the columns of ``artifacts`` say: see :func:`~chuk_artifacts.catalog.records.filed`.
``differences`` has a row for each record that counts as something else, because it keeps earlier contents for good;
earlier versions do neither.

To change a counter with each new row would take a tenth of the time that storing an artifact takes. So ``usage`` counts
the rows up to that of the artifact in ``counted_rows``; :func:`count_rows` adds new rows to it 64 at a time, and a
reader adds up the rows behind. SQLite numbers a new row higher than all others. The artifact is stored and not its row
number, because copying a file (``VACUUM``, ``.dump``) may number the rows anew, in the same sequence.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from chuk_artifacts.catalog.records import DAMAGE, counted, filed
from chuk_artifacts.models import ArtifactMetadata, Usage

_TABLES = """
CREATE TABLE usage (
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    artifacts INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (sandbox_id, session_id)
) WITHOUT ROWID;
CREATE TABLE counted_rows (artifact_id TEXT);
CREATE TABLE differences (
    artifact_id TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    artifacts INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
"""
_BY_USER = """
CREATE INDEX sessions_by_user ON sessions (sandbox_id, user_id, session_id) WHERE user_id IS NOT NULL
"""
_COUNT = "UPDATE usage SET artifacts = artifacts + {}, bytes = bytes + {} WHERE sandbox_id = {} AND session_id = {};"
_FORGET = (
    "DELETE FROM usage WHERE sandbox_id = OLD.sandbox_id AND session_id = OLD.session_id AND artifacts = 0"
    " AND bytes = 0;"
)
_OF_OLD = ("OLD.sandbox_id", "OLD.session_id")
_TO_USAGE = (
    "ON CONFLICT DO UPDATE SET artifacts = artifacts + excluded.artifacts, bytes = bytes + excluded.bytes"  # upsert
)
_ADD = f"INSERT INTO usage VALUES (NEW.sandbox_id, NEW.session_id, {{}}, {{}}) {_TO_USAGE};"
_COUNTS = "({0}revision > 0 AND coalesce({0}due <= {0}expires_at, 1))"  # a released record is due after its end
_NEW, _OLD, _STORED = (_COUNTS.format(row) for row in ("NEW.", "OLD.", ""))
AT_ONCE = 64
"""How many new rows are counted at once."""
_LAST = "coalesce((SELECT rowid FROM artifacts WHERE artifact_id = (SELECT artifact_id FROM counted_rows)), 0)"
# The conditions that are mostly false come first: SQLite evaluates no more than it needs.
_TRIGGERS = {
    "artifact_changed": "AFTER UPDATE OF bytes, revision, due, expires_at, session_id ON artifacts"
    f" WHEN (OLD.bytes != NEW.bytes OR {_OLD} != {_NEW} OR OLD.session_id != NEW.session_id) AND OLD.rowid <= {_LAST}"
    f" BEGIN {_COUNT.format(f'-{_OLD}', f'-OLD.bytes * {_OLD}', *_OF_OLD)}"
    f" {_ADD.format(_NEW, f'NEW.bytes * {_NEW}')} END",
    "artifact_removed": f"BEFORE DELETE ON artifacts WHEN OLD.rowid <= {_LAST} BEGIN"
    f" {_COUNT.format(f'-{_OLD}', f'-OLD.bytes * {_OLD}', *_OF_OLD)} {_FORGET} END",
    "last_row_removed": "AFTER DELETE ON artifacts WHEN OLD.artifact_id = (SELECT artifact_id FROM counted_rows) BEGIN"
    " UPDATE counted_rows SET artifact_id ="
    " (SELECT artifact_id FROM artifacts WHERE rowid < OLD.rowid ORDER BY rowid DESC LIMIT 1); END",
    **{
        f"difference_{name}": f"AFTER {event} ON artifacts"
        " WHEN EXISTS (SELECT 1 FROM differences WHERE artifact_id = OLD.artifact_id)"
        " BEGIN DELETE FROM differences WHERE artifact_id = OLD.artifact_id; END"
        for name, event in (("outdated", "UPDATE OF record"), ("orphaned", "DELETE"))
    },
    "difference_added": f"AFTER INSERT ON differences BEGIN {_ADD.format('NEW.artifacts', 'NEW.bytes')} END",
    "difference_removed": "AFTER DELETE ON differences BEGIN"
    f" {_COUNT.format('-OLD.artifacts', '-OLD.bytes', *_OF_OLD)} {_FORGET} END",
}
_NEW_ROWS = f"SELECT {_LAST}, (SELECT max(rowid) FROM artifacts)"
_SUMS = f"SELECT sandbox_id, session_id, sum({_STORED}), sum(bytes * {_STORED}) FROM artifacts"
_FILL = f"INSERT INTO usage {_SUMS} WHERE rowid <= {_LAST} GROUP BY sandbox_id, session_id"
_COUNT_ROWS = f"INSERT INTO usage {_SUMS} WHERE rowid > ? AND rowid <= ? GROUP BY sandbox_id, session_id {_TO_USAGE}"
_ALL_COUNTED = "(SELECT artifact_id FROM artifacts ORDER BY rowid DESC LIMIT 1)"
_READ = f"""
SELECT sum(artifacts), sum(bytes) FROM (
    SELECT artifacts, bytes FROM usage WHERE sandbox_id = ? AND {{}}
    UNION ALL SELECT sum({_STORED}), sum(bytes * {_STORED}) FROM artifacts
    WHERE rowid > {_LAST} AND +sandbox_id = ? AND {{}}
)
"""
_USUAL = '"superseded":[],"released":false,"pending":null}'
"""The end of a record that keeps one content, as earlier versions wrote it."""
# The end of a blob takes SQLite a third of the time that the end of a text takes, whose characters it counts.
_UNUSUAL = (
    "SELECT record, rowid FROM artifacts WHERE rowid > ? AND substr(CAST(record AS BLOB), ?) != ?"
    " ORDER BY rowid LIMIT ?"
)
_FIRST_ROW = -(2**63)
_PORTION = 500


def are_there(connection: sqlite3.Connection) -> bool:
    """Return whether the file has counters."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'usage'").fetchone() is not None


def make(connection: sqlite3.Connection) -> None:
    """Make the counters of a file that has none, and count what it holds, in the present transaction."""
    if are_there(connection):  # another process was faster
        return
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    connection.execute(_BY_USER)
    connection.execute(f"INSERT INTO counted_rows VALUES ({_ALL_COUNTED})")
    connection.execute(_FILL)
    for name, action in _TRIGGERS.items():
        connection.execute(f"CREATE TRIGGER {name} {action}")
    for record in _unusual(connection):
        note(connection, record)


def recount(connection: sqlite3.Connection) -> None:
    """Count all records anew, in the present transaction."""
    for statement in ("DELETE FROM differences", "DELETE FROM usage", _FILL):
        connection.execute(statement)
    for record in _unusual(connection):
        note(connection, record)


def _unusual(connection: sqlite3.Connection) -> Iterator[ArtifactMetadata]:
    """Iterate over the sound records that may count as something else than their columns say."""
    after = _FIRST_ROW
    while rows := connection.execute(_UNUSUAL, (after, -len(_USUAL), _USUAL.encode(), _PORTION)).fetchall():
        for text, _ in rows:
            with contextlib.suppress(*DAMAGE):  # the columns of a damaged record count
                yield ArtifactMetadata.from_json(text)
        after = rows[-1][1]


def count_rows(connection: sqlite3.Connection) -> None:
    """Count new rows if there are many that were not counted, in the present transaction."""
    last, newest = connection.execute(_NEW_ROWS).fetchone()
    if newest is not None and last + AT_ONCE <= newest:
        connection.execute(_COUNT_ROWS, (last, newest))
        connection.execute(f"UPDATE counted_rows SET artifact_id = {_ALL_COUNTED}")


def note(connection: sqlite3.Connection, record: ArtifactMetadata) -> None:
    """Note what a record that was just written counts as, if that differs from what its columns say."""
    (artifacts, size), (artifacts_filed, size_filed) = counted(record), filed(record)
    if (artifacts, size) != (artifacts_filed, size_filed):
        connection.execute(
            "INSERT INTO differences VALUES (?, ?, ?, ?, ?)",
            (record.artifact_id, record.sandbox_id, record.session_id, artifacts - artifacts_filed, size - size_filed),
        )


def read(connection: sqlite3.Connection, sandbox_id: str, session_id: str | None) -> Usage:
    """Return the counters of a session, or the sum of all in the sandbox for None."""
    # + keeps SQLite from an index: it would read all rows of a session, and not the few behind the last one
    conditions = ("1", "1") if session_id is None else ("session_id = ?", "+session_id = ?")
    values = (sandbox_id, *(() if session_id is None else (session_id,)))
    artifacts, size = connection.execute(_READ.format(*conditions), (*values, *values)).fetchone()
    return Usage(artifacts=int(artifacts or 0), bytes=int(size or 0))


def count(connection: sqlite3.Connection, sandbox_id: str, session_id: str | None) -> Usage:
    """Return what :func:`read` would, from all records of a file that has no counters and can't be written."""
    query = f"SELECT sum({_STORED}), sum(bytes * {_STORED}) FROM artifacts WHERE sandbox_id = ?"
    artifacts, size = connection.execute(
        f"{query} AND coalesce(session_id = ?, 1)", (sandbox_id, session_id)
    ).fetchone()
    artifacts, size = artifacts or 0, size or 0
    for record in _unusual(connection):
        if record.sandbox_id == sandbox_id and session_id in {None, record.session_id}:
            artifacts += counted(record)[0] - filed(record)[0]
            size += counted(record)[1] - filed(record)[1]
    return Usage(artifacts=artifacts, bytes=size)
