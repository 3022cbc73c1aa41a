"""The SQLite catalog as a file: its schema, its indexes, its locks, its statements."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import stat
import threading
import time
from pathlib import Path

import child
import pytest

from chuk_artifacts import ArtifactStore, OutcomeUnknownError, SessionError, grid
from chuk_artifacts.catalog import sqlite
from chuk_artifacts.catalog.sqlite import SCHEMA_VERSION, SqliteCatalog

NOW = 1_800_000_000.0


@pytest.fixture
def path(tmp_path):
    """Return the path of the database file, which the first call creates."""
    return tmp_path / "folder" / "catalog.sqlite3"


@pytest.fixture
def _impatient(monkeypatch):
    """Let catalogs give up at once when the file is locked."""
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_SECONDS", 0)


@pytest.fixture
def catalog(path):
    """Return the catalog of the sandbox ``box``."""
    catalog = SqliteCatalog(str(path), "box", 86400.0)
    yield catalog
    catalog.close()


@pytest.fixture
def store(path, monkeypatch):
    """Return a store whose records are in the database file."""
    monkeypatch.setenv("SESSION_SQLITE_PATH", str(path))
    with ArtifactStore(session_provider="sqlite", sandbox_id="box") as store:
        yield store


@contextlib.contextmanager
def database(path):
    """Open the database file beside the catalog."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def ask(catalog, statement):
    """Return the first row of a query on a catalog's connection."""
    return catalog._connections.lend(lambda connection: connection.execute(statement).fetchone())


def listen(catalog, callback):
    """Call *callback* with each statement of the catalog from now on; None ends it."""
    catalog._connections.lend(lambda connection: connection.set_trace_callback(callback))


def create(path):
    """Make the database file with its schema."""
    catalog = SqliteCatalog(str(path), "box", 86400.0)
    catalog.check()
    catalog.close()


def test_file_is_made_by_the_first_call(catalog, path):
    """The first call creates folder and file, both private."""
    assert not path.parent.exists()
    catalog.check()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    catalog.update_session("none", NOW)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


def test_schema_version(catalog, path):
    """The file has the schema's version."""
    catalog.check()
    with database(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_newer_schema(catalog, path):
    """A file of a newer version is refused unchanged, and the error names both versions."""
    create(path)
    with database(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(
        SessionError, match=f"schema version {SCHEMA_VERSION + 1}.*knows {SCHEMA_VERSION}: install a newer"
    ):
        catalog.check()
    with database(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)


def test_write_ahead_log(catalog, path):
    """The file is in WAL mode, so that readers and a writer work at once."""
    catalog.check()
    with database(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("durable", "synchronous"), [(False, 1), (True, 2)])
def test_durability(path, durable, synchronous):
    """A durable catalog syncs each write (FULL); another one survives only the process (NORMAL)."""
    catalog = SqliteCatalog(str(path), "box", None, durable=durable)
    assert ask(catalog, "PRAGMA synchronous") == (synchronous,)
    catalog.close()


def test_store_with_fsync_is_durable(tmp_path):
    """The option fsync of the filesystem provider makes the records durable too."""
    with ArtifactStore(storage_provider="fs", fs_root=tmp_path, storage_options={"fsync": True}) as store:
        store.store(b"x")
        assert ask(store.scope.core.catalog, "PRAGMA synchronous") == (2,)


# Indexes


def plans(catalog, path, call):
    """Return SQLite's query plans for each statement of *call*."""
    statements = []
    catalog.check()
    listen(catalog, statements.append)
    call()
    listen(catalog, None)
    queries = [one for one in statements if re.match("SELECT|UPDATE|DELETE", one)]
    assert queries
    with database(path) as connection:
        return ["; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")) for one in queries]


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        ({"prefix": "", "after": None}, "sandbox_id=? AND session_id=? AND filename>?"),
        ({"prefix": "docs/", "after": None}, "sandbox_id=? AND session_id=? AND filename>? AND filename<?"),
        ({"prefix": "docs/", "after": ("docs/a", "0")}, "sandbox_id=? AND session_id=? AND (filename,artifact_id)>"),
    ],
    ids=["all", "prefix", "next page"],
)
def test_listing_uses_its_index(catalog, path, arguments, constraint):
    """A page of a listing is a range of an index, without a scan or sorting."""
    (plan,) = plans(catalog, path, lambda: catalog.page("alice", limit=10, now=NOW, **arguments))
    assert "SEARCH artifacts USING INDEX artifacts_by_place" in plan
    assert constraint in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_due_uses_its_index(catalog, path):
    """Due records are found, in order, by their index."""
    (plan,) = plans(catalog, path, lambda: catalog.due(NOW, 10))
    assert "SEARCH artifacts USING INDEX artifacts_by_due" in plan
    assert "due<?" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_expired_sessions_use_their_index(catalog, path):
    """Expired sessions are found without reading the living ones."""
    (plan,) = plans(catalog, path, lambda: catalog.expire_sessions(NOW))
    assert "SEARCH sessions USING" in plan
    assert "expires_at" in plan


@pytest.mark.parametrize(
    "call",
    [
        lambda catalog: catalog.get(["0" * 32, "1" * 32]),
        lambda catalog: catalog.remove(["0" * 32]),
        lambda catalog: catalog.get_session("alice", NOW),
    ],
    ids=["get", "remove", "get_session"],
)
def test_nothing_is_scanned(catalog, path, call):
    """A record or session is found by its key."""
    for plan in plans(catalog, path, lambda: call(catalog)):
        assert plan.startswith("SEARCH")
        assert "SCAN" not in plan


# Obstacles


@pytest.mark.parametrize("obstacle", ["folder", "file above"])
def test_path_that_can_not_be_a_file(store, path, obstacle):
    """An impossible path is an error of the catalog, and the bytes are removed."""
    if obstacle == "folder":
        path.mkdir(parents=True)
    else:
        path.parent.write_bytes(b"")
    with pytest.raises(SessionError):
        store.store(b"x", session_id="alice")
    assert list(store.scope.core.storage.list_objects("grid/box/")) == []


# Locks


@pytest.mark.usefixtures("_impatient")
def test_locked_database(store, path):
    """A database that another process locks too long is an error, leaves no bytes, and can be read meanwhile."""
    kept = store.store(b"kept", session_id="alice")
    with database(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for method in (
            lambda: store.store(b"x", session_id="alice"),
            lambda: store.update_metadata(kept, summary="new"),
            lambda: store.delete(kept),
            lambda: store.delete_session("alice"),
        ):
            with pytest.raises(SessionError, match="locked"):
                method()
        assert store.validate_configuration()["session"]["status"] == "error"
        assert [item.artifact_id for item in store.list_by_session("alice")] == [kept]
        assert store.retrieve(kept) == b"kept"
        other.execute("ROLLBACK")
    assert len(list(store.scope.core.storage.list_objects("grid/box/"))) == 1
    store.delete(kept)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_locked_new_database(catalog, path, lock):
    """A new file that another process locks for too long is an error."""
    path.parent.mkdir()
    with database(path) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute(f"BEGIN {lock}")
        with pytest.raises(SessionError, match="locked"):
            catalog.check()


def test_new_database_is_waited_for(catalog, path, monkeypatch):
    """A call waits for a new file that another process locks for a moment."""
    path.parent.mkdir()
    with database(path) as other:
        other.execute("BEGIN IMMEDIATE")
        waits = []

        def let_go(seconds):
            waits.append(seconds)
            other.execute("ROLLBACK")

        monkeypatch.setattr(time, "sleep", let_go)
        catalog.check()
        assert waits == [0.01]


@pytest.mark.usefixtures("_impatient")
def test_opening_breaks_no_lock(path, catalog, monkeypatch):
    """A thread that finds the file missing does not break the lock of another that creates it.

    A process that closes any descriptor of a file loses all its POSIX locks (https://sqlite.org/howtocorrupt.html 2.2).
    """
    path.parent.mkdir()
    with database(path) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(os.path, "exists", lambda _: False)
        with pytest.raises(SessionError, match="locked"):
            catalog.check()
        output = child.run(
            """
            import sqlite3, sys
            try:
                sqlite3.connect(sys.argv[1], timeout=0).execute("CREATE TABLE mine (x)")
            except sqlite3.OperationalError as error:
                print(error)
            """,
            path,
        )
    assert "locked" in output


def test_failed_transaction_leaves_nothing(store, monkeypatch):
    """A batch whose last record can't be written leaves no records, session or bytes."""
    keys = itertools.count()
    monkeypatch.setattr(grid, "new_artifact", lambda *_: ("a" * 32, f"grid/box/alice/{next(keys):032x}"))
    with pytest.raises(SessionError, match="UNIQUE"):
        store.store_batch([{"data": b"1"}, {"data": b"2"}], session_id="alice")
    assert store.list_by_session("alice") == []
    assert not store.validate_session("alice")
    assert list(store.scope.core.storage.list_objects("grid/box/")) == []


def test_change_that_can_not_be_synced(catalog, monkeypatch):
    """A change that may be in the log, but was not synced, raises that its outcome is unknown."""

    def fail(connection, work, *arguments):
        work(connection, *arguments)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    monkeypatch.setattr(sqlite, "_in_transaction", fail)
    with pytest.raises(OutcomeUnknownError, match="disk I/O error"):
        catalog.remove(["0" * 32])


def test_close_while_in_use(catalog):
    """A connection in use when the catalog closes is closed when it is returned."""

    def use(connection):
        catalog.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        return connection

    connection = catalog._connections.lend(use)
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_no_connection_is_open_during_a_fork(catalog):
    """A fork waits for the connection in use and closes it; other threads wait for the end of the fork."""
    connections = catalog._connections
    events, threads = [], []

    def fork():
        connections.before_fork()
        events.append(("fork", len(connections._idle), len(connections._lent)))
        connections.after_fork(child=False)

    def use(connection):
        for target in (fork, lambda: connections.lend(lambda _: events.append("lent"))):
            threads.append(threading.Thread(target=target))
            threads[-1].start()
            while not connections._resting:
                pass
        return connection

    connection = connections.lend(use)
    for thread in threads:
        thread.join()
    assert events == [("fork", 0, 0), "lent"]
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_many_processes_make_one_file(path):
    """Processes that create a file at the same moment all find its schema, and each other's records."""
    processes = [
        child.start(
            """
            import os, sys
            from chuk_artifacts import ArtifactStore
            from chuk_artifacts.catalog import sqlite

            store = ArtifactStore(session_provider="sqlite", sandbox_id="box", fs_root=sys.argv[1])
            print("ready", flush=True)
            sys.stdin.readline()
            print(store.store(b"x", session_id="alice"), flush=True)
            sys.stdin.readline()
            print(len(store.list_by_session("alice")), flush=True)
            store.close()
            """,
            path.parent,
        )
        for _ in range(8)
    ]
    answers = []
    for _ in range(3):
        answers.append([process.stdout.readline().strip() for process in processes])
        for process in processes:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
    for process in processes:
        process.communicate()
    ready, ids, counts = answers
    assert ready == ["ready"] * 8
    assert len(set(ids)) == 8
    assert counts == ["8"] * 8
    assert Path(path).is_file()


# Statements


def test_one_statement_for_an_existing_session(path, clock, monkeypatch):
    """A record of an unchanged session is one statement; one that creates or prolongs it is more."""
    monkeypatch.setenv("SESSION_SQLITE_PATH", str(path))
    statements = []
    with ArtifactStore(session_provider="sqlite", clock=clock) as store:
        listen(store.scope.core.catalog, statements.append)
        for seconds, more in ((0, True), (0, False), (1, True), (1, False), (1000, True), (1, True)):
            clock.now += seconds
            statements.clear()
            store.store(b"x", session_id="alice")
            assert ("COMMIT" in statements) is more, statements
        assert len(store.list_by_session("alice")) == 6
