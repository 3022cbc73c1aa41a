"""The SQLite catalog after an exception at any line: usable everywhere, and not damaged."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import threading

import child
import pytest
from interrupts import Interrupt, TimeLimit, interrupted
from records import NOW, name, record

from chuk_artifacts import SessionError
from chuk_artifacts.catalog import new_session, sqlite
from chuk_artifacts.catalog.sqlite import SqliteCatalog

OTHER = """
import sqlite3, sys
from chuk_artifacts.catalog import new_session, sqlite
from chuk_artifacts.catalog.sqlite import SqliteCatalog

sqlite._BUSY_TIMEOUT_SECONDS = 1
catalog = SqliteCatalog(sys.argv[1], "other", None)
for line in sys.stdin:
    catalog.create_session(new_session(line.strip(), "other", now=0, ttl=None))
    print(catalog.get_session(line.strip(), 0).session_id, flush=True)
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Fail at once when a lock stays taken."""
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def path(tmp_path):
    """Return the path of the database file."""
    return str(tmp_path / "folder" / "catalog.sqlite3")


@pytest.fixture
def catalog(path):
    """Return a catalog with two sessions, of artifacts 1 to 6 and 11 to 13."""
    catalog = SqliteCatalog(path, "box", 86400.0)
    catalog.add([record(number, ttl=60.0 if number == 6 else 86400.0) for number in range(1, 7)], now=NOW)
    catalog.add([record(number, "bob") for number in range(11, 14)], now=NOW)
    yield catalog
    catalog.close()


@pytest.fixture
def other(path):
    """Return a function that writes and reads in another process, and raises when that fails."""
    process = child.start(OTHER, path)

    def use(name):
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == name

    yield use
    process.communicate()


def in_another_thread(function):
    """Call a function in another thread; raise what it raises."""
    errors = []

    def run():
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in errors:
        raise error


def use(catalog, path):
    """Write and read in this thread, in another one, and by another catalog on the same file."""

    def once(catalog):
        catalog.create_session(new_session("used", "box", now=NOW, ttl=None))
        assert catalog.get_session("used", NOW) is not None

    once(catalog)
    in_another_thread(lambda: once(catalog))
    second = SqliteCatalog(path, "box", None)
    once(second)
    assert second.verify() == 0
    second.close()


fresh = itertools.count(100)
ttls = itertools.count(10 * 86400, 86400)
seen = {1: 1, 2: 1}


def restore(catalog):
    """Undo the changes of a method, so that it can make them again."""
    seen.update({number: catalog.get([name(number)])[0].revision for number in seen})
    for one in (record(4), record(5), record(11, "bob"), record(12, "bob"), record(13, "bob")):
        if catalog.get([one.artifact_id]) == [None]:
            catalog.add([one], now=NOW)
    if not catalog.get_session("short", NOW):
        catalog.create_session(new_session("short", "box", now=NOW, ttl=60.0))


METHODS = {
    "add": lambda catalog: catalog.add([record(next(fresh))], now=NOW),
    "add to a new session": lambda catalog: catalog.add(
        [record(next(fresh), f"s{next(fresh)}")], now=NOW, inheriting=()
    ),
    "add exclusively": lambda catalog: catalog.add([record(next(fresh)), record(next(fresh))], now=NOW, exclusive=True),
    "get": lambda catalog: catalog.get([name(1)]),
    "get many": lambda catalog: catalog.get([name(1), name(2)]),
    "replace": lambda catalog: catalog.replace(
        record(1, ttl=next(ttls), revision=seen[1] + 1), expected_revision=seen[1]
    ),
    "replace_each": lambda catalog: catalog.replace_each([(record(2, revision=seen[2] + 1), seen[2])]),
    "remove": lambda catalog: catalog.remove([name(4), name(5)]),
    "page": lambda catalog: catalog.page("alice", prefix="f", after=("f1", ""), limit=3, now=NOW),
    "named": lambda catalog: catalog.named("alice", "f1", NOW),
    "has_named": lambda catalog: catalog.has_named("alice", "f1", NOW),
    "named_each": lambda catalog: catalog.named_each("alice", ["f1", "f2"], NOW),
    "due": lambda catalog: catalog.due(NOW + 60, 10),
    "create_session": lambda catalog: catalog.create_session(new_session("dave", "box", now=NOW, ttl=1.0)),
    "get_session": lambda catalog: catalog.get_session("alice", NOW),
    "update_session": lambda catalog: catalog.update_session("alice", NOW, custom_metadata={"a": 1}, extend=1.0),
    "remove_session": lambda catalog: catalog.remove_session("bob", NOW, 5),
    "expire_sessions": lambda catalog: catalog.expire_sessions(NOW + 60),
    "stats": lambda catalog: catalog.stats(NOW),
    "identity": lambda catalog: catalog.identity("identity"),
    "sample": lambda catalog: catalog.sample(NOW, 5),
    "verify": lambda catalog: catalog.verify(),
    "check": lambda catalog: catalog.check(),
    "close": lambda catalog: catalog.close(),
}


@pytest.mark.parametrize(
    ("method", "kind"), [*((method, Interrupt) for method in METHODS), ("add", TimeLimit), ("remove", TimeLimit)]
)
def test_interrupt_at_any_line(catalog, path, other, method, kind):
    """A method interrupted at any line leaves the file usable for each thread, catalog and process."""
    restore(catalog)
    for number, _place in enumerate(interrupted(lambda: METHODS[method](catalog), kind=kind)):
        use(catalog, path)
        other(f"s{number}")
        restore(catalog)
        assert not catalog._connections._lent
    assert not catalog._connections._lent
    assert not [file for file in os.listdir(os.path.dirname(path)) if "check" in file]


# One that is interrupted while it is opened is closed by its collection, which Python says since 3.13.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.parametrize("method", ["add", "get", "check"])
def test_interrupt_of_a_first_call(tmp_path, method):
    """An interrupt at any line of the call that creates and opens the file leaves it usable."""
    catalogs = [SqliteCatalog(f"{tmp_path}/0/1/catalog.sqlite3", "box", None)]
    for number, _place in enumerate(interrupted(lambda: METHODS[method](catalogs[-1])), 1):
        catalog = catalogs.pop()
        use(catalog, catalog._path)
        catalog.close()
        catalogs.append(SqliteCatalog(f"{tmp_path}/{number}/1/catalog.sqlite3", "box", None))
    catalogs.pop().close()


def test_interrupted_change_is_lost_or_done(catalog):
    """An interrupted change was made completely or not at all."""
    for _place in interrupted(lambda: METHODS["add exclusively"](catalog)):
        assert catalog.stats(NOW)["artifacts"] % 2 == 1  # two more each time
    states = set()
    restore(catalog)
    for _place in interrupted(lambda: METHODS["remove"](catalog)):
        states.add(tuple(one and one.artifact_id for one in catalog.get([name(4), name(5)])))
        restore(catalog)
    assert states == {(name(4), name(5)), (None, None)}


def test_interrupt_while_another_process_writes(catalog, path):
    """An interrupt is handled while SQLite waits for another process's lock, and leaves nothing locked."""

    def interrupt(number, frame):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    blocking = sqlite3.connect(path, isolation_level=None)
    try:
        sqlite._BUSY_TIMEOUT_SECONDS = 60
        restore(catalog)
        for method in ("add", "replace", "check"):
            blocking.execute("BEGIN IMMEDIATE")
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Interrupt):
                METHODS[method](catalog)
            blocking.execute("ROLLBACK")
            use(catalog, path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        blocking.close()


def test_interrupt_that_ends_the_wait_with_the_lock(catalog, path, monkeypatch):
    """An interrupt that arrives together with the lock leaves no transaction open."""
    for statement in ("BEGIN IMMEDIATE", "COMMIT"):
        for _ in range(2):

            def execute(connection, text, *values, statement=statement):
                result = sqlite3.Connection.execute(connection, text, *values)
                if text == statement:
                    raise Interrupt
                return result

            monkeypatch.setattr("chuk_artifacts.catalog.connections.Connection.execute", execute, raising=False)
            with pytest.raises(Interrupt) as caught:
                catalog.create_session(new_session("s", "box", now=NOW, ttl=None))
            monkeypatch.undo()
            use(catalog, path)
            assert caught.value is not None


def test_transaction_that_work_leaves_open_is_rolled_back(catalog, path):
    """A connection returned within a transaction is rolled back, interrupted or not."""
    catalog._connections.lend(lambda connection: connection.execute("BEGIN IMMEDIATE"))
    use(catalog, path)

    def interrupt(connection):
        connection.execute("BEGIN IMMEDIATE")
        raise Interrupt

    with pytest.raises(Interrupt):
        catalog._connections.lend(interrupt)
    use(catalog, path)


def test_signal_handler_that_writes_in_the_midst_of_a_write(catalog, path, monkeypatch):
    """A write that interrupts one of the same thread is refused at once, and the other one completes."""
    refused = []

    def handle(connection, info):
        with pytest.raises(SessionError, match="signal handler") as caught:
            catalog.create_session(new_session("inner", "box", now=NOW, ttl=None))
        refused.append(caught.value)
        write(connection, info)

    write = SqliteCatalog._write_session
    monkeypatch.setattr(SqliteCatalog, "_write_session", staticmethod(handle))
    catalog.create_session(new_session("outer", "box", now=NOW, ttl=None))
    monkeypatch.undo()
    assert len(refused) == 1
    assert catalog.get_session("outer", NOW) is not None
    assert catalog.get_session("inner", NOW) is None
    use(catalog, path)
