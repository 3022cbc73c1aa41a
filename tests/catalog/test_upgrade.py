"""Catalogs that version 0.1.0 wrote: they open, work, and are counted; processes of that version may still write."""

from __future__ import annotations

import io
import json
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import fakeredis
import pytest
from records import NOW, name, record

from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog import counters
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.catalog.redis import RedisCatalog, scripts
from chuk_artifacts.catalog.redis.client import PooledClient
from chuk_artifacts.catalog.redis.link import Link
from chuk_artifacts.catalog.sqlite import SqliteCatalog
from chuk_artifacts.models import Superseded, timestamp

OLD = Path(__file__).parent / "old"
COUNTERS = ("entries", "artifacts", "bytes", "upto")
WHOLE = (4, 20 + 2**40)
"""What the old catalogs hold: of alice two artifacts, one with an earlier content, of bob and carol one each."""


def usage(catalog, session_id="alice"):
    """Return artifacts and bytes of a session."""
    return tuple(catalog.usage(session_id).values())


@pytest.fixture
def path(tmp_path):
    """Return the path of an SQLite file of version 0.1.0."""
    path = tmp_path / "catalog.sqlite3"
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((OLD / "catalog-0.1.0.sql").read_text())
    return path


@pytest.fixture
def sqlite_catalog(path):
    """Return a catalog in that file."""
    catalog = SqliteCatalog(str(path), "box", 86400.0)
    yield catalog
    catalog.close()


@pytest.fixture
def open_server(request):
    """Return a function that returns a client of a server with the keys of version 0.1.0."""

    def open_one(kind):
        if kind == "redis":
            request.getfixturevalue("redis_url")
            client = request.getfixturevalue("redis_server").client()
        else:
            client = fakeredis.FakeRedis()
        for command in json.loads((OLD / "redis-0.1.0.json").read_text()):
            client.execute_command(*command)
        clients.append(client)
        return client

    clients = []
    yield open_one
    for client in clients:
        client.close()


@pytest.fixture(params=["redis", "fakeredis"])
def server(request, open_server):
    """Return a client of a server with the keys of version 0.1.0."""
    return open_server(request.param)


def catalog_on(server):
    """Return a catalog on a server."""
    return RedisCatalog(Link(lambda: PooledClient(server.connection_pool), "test"), "box", 86400.0)


@pytest.fixture
def redis_catalog(server):
    """Return a catalog on that server."""
    return catalog_on(server)


@pytest.fixture(params=["sqlite", "redis", "fakeredis"])
def catalog(request, open_server):
    """Return a catalog of version 0.1.0, opened by this version."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_catalog")
    return catalog_on(open_server(request.param))


def test_old_catalog_is_counted(catalog):
    """An old catalog counts neither superseded contents nor released or pending records."""
    assert usage(catalog) == (2, 17)
    assert usage(catalog, "bob") == (1, 2**40)
    assert usage(catalog, "empty") == (0, 0)
    assert usage(catalog, None) == WHOLE


def test_old_catalog_is_counted_after_changes(catalog):
    """Changes before the first count are counted too: to old records and to new ones."""
    catalog.add([record(11, bytes=1)], now=NOW)
    catalog.add([record(12, "dora", bytes=2)], now=NOW)
    catalog.remove([name(1)])
    (two,) = catalog.get([name(2)])
    assert catalog.replace(two.changed(superseded=(), revision=3), expected_revision=2)
    assert usage(catalog) == (2, 8)
    assert usage(catalog, "dora") == (1, 2)
    assert usage(catalog, None) == (5, 13 + 2**40)


def test_old_records_are_changed_after_the_count(catalog):
    """Old records that were counted are changed and removed, and the counters follow."""
    assert usage(catalog, None) == WHOLE
    (one, two) = catalog.get([name(1), name(2)])
    assert catalog.replace(one.changed(bytes=11, revision=2), expected_revision=1)
    assert usage(catalog) == (2, 18)
    assert catalog.replace(two.changed(superseded=(), revision=3), expected_revision=2)
    assert usage(catalog) == (2, 18)
    catalog.remove([name(number) for number in range(1, 5)])
    assert usage(catalog) == (0, 0)
    while catalog.remove_session("bob", NOW, 500):
        pass
    assert usage(catalog, None) == (1, 3)


def test_old_session_is_removed(catalog):
    """A session that was never counted is removed as a whole."""
    while catalog.remove_session("alice", NOW, 2):
        pass
    assert usage(catalog) == (0, 0)
    assert usage(catalog, None) == (2, 3 + 2**40)


def test_old_database_is_migrated_once(path):
    """Of many catalogs that open an old file at once, one migrates it."""
    catalogs = [SqliteCatalog(str(path), "box", None) for _ in range(8)]
    found = []
    threads = [threading.Thread(target=lambda one=one: found.append(usage(one, None))) for one in catalogs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WHOLE] * 8
    for one in catalogs:
        one.close()


def test_migration_is_one_transaction(path, monkeypatch):
    """A migration that fails leaves the file as it was; the next one migrates it."""

    def fail(*arguments):
        raise ZeroDivisionError

    with monkeypatch.context() as patch, closing(SqliteCatalog(str(path), "box", None)) as catalog:
        patch.setattr(counters, "note", fail)
        with pytest.raises(ZeroDivisionError):
            catalog.get([name(1)])
    with closing(sqlite3.connect(path)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name IN ('usage', 'differences')").fetchall()
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'trigger'").fetchall()
    with closing(SqliteCatalog(str(path), "box", None)) as catalog:
        assert usage(catalog, None) == WHOLE


def test_old_process_writes_to_a_migrated_database(sqlite_catalog, path):
    """What a process of the old version adds, changes and removes with its own statements is counted."""
    assert usage(sqlite_catalog) == (2, 17)
    one = record(21, bytes=50)
    row = (*(one.artifact_id, "box", "alice", "f21", 50, 1, one.expires_at, one.due), one.to_json())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        assert usage(sqlite_catalog) == (3, 67)
        connection.execute("UPDATE artifacts SET bytes = 60, revision = 2 WHERE artifact_id = ?", row[:1])
        assert usage(sqlite_catalog) == (3, 77)
        connection.execute("DELETE FROM artifacts WHERE artifact_id IN (?, ?)", (row[0], name(2)))
        assert usage(sqlite_catalog) == (1, 10)
        assert connection.execute("SELECT * FROM differences").fetchall() == []
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_old_database_that_can_only_be_read(path):
    """A file without counters that can't be written is counted record by record."""
    with closing(sqlite3.connect(path)) as connection:
        found = {one: tuple(counters.count(connection, "box", one).values()) for one in ("alice", "bob", None)}
    assert found == {"alice": (2, 17), "bob": (1, 2**40), None: WHOLE}


def old_add(server, one, root):
    """Add a record as a process of the old version does, whose scripts know no counters."""
    place = f"{one.filename}\0{one.artifact_id}"
    line = f"{one.revision}\0\0{one.session_id}\0{one.bytes}\0{one.expires_at}\0{place}"
    server.set(f"{root}record/{one.artifact_id}", f"{line}\n{one.to_json()}")
    server.zadd(f"{root}index/{one.session_id}", {place: 0})
    server.zadd(f"{root}due", {line: NOW + 86400})


def test_old_process_writes_to_a_counted_session(redis_catalog, server):
    """What a process of the old version adds to and removes from a counted session in Redis is counted."""
    assert usage(redis_catalog) == (2, 17)
    root = next(key.decode() for key in server.keys("*index/alice")).removesuffix("index/alice")
    one = record(31, bytes=50)
    old_add(server, one, root)
    assert usage(redis_catalog) == (3, 67)
    old_add(server, record(32, bytes=5), root)
    redis_catalog.add([record(33, bytes=1)], now=NOW)
    assert usage(redis_catalog) == (5, 73)
    assert usage(redis_catalog, None) == (7, 76 + 2**40)
    server.delete(f"{root}record/{one.artifact_id}")
    server.zrem(f"{root}index/alice", f"f31\0{one.artifact_id}")
    assert usage(redis_catalog) == (4, 23)


def test_large_old_session_is_counted_in_portions(redis_catalog, server):
    """A session is counted 1,000 records at a time; what changes meanwhile is counted once."""
    root = next(key.decode() for key in server.keys("*index/alice")).removesuffix("index/alice")
    redis_catalog.remove([name(number) for number in range(1, 5)])
    redis_catalog.add([record(number, bytes=1, filename=f"f{number:05}") for number in range(2500)], now=NOW)
    server.hdel(f"{root}session/alice", *COUNTERS)

    def portion():
        return redis_catalog._link.look(scripts.USAGE, [f"{root}index/alice"], "", root, "alice")[2]

    assert portion() == 0
    kept = (True, 1, 1, record(3).sha256, "text/plain", None, timestamp(NOW))
    earlier = Superseded(f"{record(3).key}~2", timestamp(NOW + 60), 10, *kept)
    redis_catalog.remove([name(1), name(2400)])
    redis_catalog.add(
        [record(number, bytes=1, filename=place) for number, place in ((3000, "a"), (3001, "z"))], now=NOW
    )
    before = record(3, bytes=1, filename="f00003")
    moved = before.changed(filename="f01999a", bytes=2, revision=2, superseded=(earlier,))
    assert redis_catalog.replace(moved, expected_revision=1)
    back = record(2000, bytes=1, filename="f02000")
    assert redis_catalog.replace(back.changed(filename="f00500a", bytes=5, revision=2), expected_revision=1)
    assert portion() == 0
    assert usage(redis_catalog) == (2500, 2498 + 12 + 5)
    assert not server.hexists(f"{root}session/alice", "upto")


def test_count_that_is_disturbed_begins_anew(redis_catalog, server):
    """A count begins anew if a process of the old version changes what was counted already."""
    root = next(key.decode() for key in server.keys("*index/alice")).removesuffix("index/alice")
    redis_catalog.add([record(number, bytes=1, filename=f"g{number:05}") for number in range(100, 2600)], now=NOW)
    server.hdel(f"{root}session/alice", *COUNTERS)
    redis_catalog._link.look(scripts.USAGE, [f"{root}index/alice"], "", root, "alice")
    old_add(server, record(4000, bytes=50, filename="a"), root)
    assert usage(redis_catalog) == (2503, 17 + 2500 + 50)


def test_counters_of_an_ended_session(redis_catalog, server):
    """A session that has ended while records are left is counted, and the counters expire with the index."""
    root = next(key.decode() for key in server.keys("*index/alice")).removesuffix("index/alice")
    server.expire(f"{root}index/alice", 1000)
    server.delete(f"{root}session/alice")
    assert usage(redis_catalog) == (2, 17)
    assert redis_catalog.get_session("alice", NOW) is None
    assert 990 <= server.ttl(f"{root}session/alice") <= 1000
    redis_catalog.add([record(41, ttl=None, bytes=1)], now=NOW, max_session_bytes=18)
    assert usage(redis_catalog) == (3, 18)
    assert server.ttl(f"{root}session/alice") == -1


def test_removed_session_leaves_no_counters(redis_catalog, server):
    """Nothing of a counted session is left in Redis once it is removed."""
    assert usage(redis_catalog) == (2, 17)
    while redis_catalog.remove_session("alice", NOW, 2):
        pass
    assert server.keys("*/alice") == []


def users(catalog, user_id):
    """Return the sessions of a user."""
    found, after = [], None
    while True:
        page = catalog.sessions(NOW, 1, user_id=user_id, after=after)
        found += [info.session_id for info in page.found]
        after = page.after
        if after is None:
            return sorted(found)


def test_users_of_an_old_catalog(catalog):
    """The sessions of a user are found in an old catalog, beside new ones, and erased."""
    catalog.add([record(51, "new")], now=NOW, user_ids={"new": "ann"})
    assert users(catalog, "ann") == ["alice", "carol", "empty", "new"]
    assert users(catalog, "ben") == ["bob"]
    catalog.add([record(52, "newer")], now=NOW, user_ids={"newer": "ben"})
    assert users(catalog, "ben") == ["bob", "newer"]
    while catalog.remove_session("bob", NOW, 10):
        pass
    assert users(catalog, "ben") == ["newer"]


def test_index_of_users_heals(redis_catalog, server):
    """An entry whose session is gone leaves the index of its user when it is a day old, or the user is erased."""
    assert users(redis_catalog, "ann") == ["alice", "carol", "empty"]
    (key,) = server.keys("*user/ann")
    for session_id in ("alice", "empty"):
        while redis_catalog.remove_session(session_id, NOW, 100):
            pass
    server.zadd(key, {"alice": 1000.0})
    assert users(redis_catalog, "ann") == ["carol"]
    assert set(server.zrange(key, 0, -1)) == {b"carol", b"empty"}
    redis_catalog.forget_user("ann")
    assert server.zrange(key, 0, -1) == [b"carol"]
    redis_catalog.remove_session("carol", NOW, 100)
    redis_catalog.forget_user("ann")
    assert server.exists(key) == 0


def test_expired_session_leaves_the_index_of_its_user(redis_catalog, server):
    """A cleanup removes expired sessions from the index of their user, unless they were just added to it."""
    assert users(redis_catalog, "ann") == ["alice", "carol", "empty"]
    (key,) = server.keys("*user/ann")
    assert redis_catalog.expire_sessions(NOW + 86400) == 1
    assert b"alice" in server.zrange(key, 0, -1)
    redis_catalog.add([record(61, ttl=60.0)], now=NOW, user_ids={"alice": "ann"})
    server.zadd(key, {"alice": 1000.0})
    assert redis_catalog.expire_sessions(NOW + 86400) == 1
    assert set(server.zrange(key, 0, -1)) == {b"carol", b"empty"}


def store_of(catalog):
    """Return a store of the sandbox ``box`` with a catalog, at the time of the records."""
    store = ArtifactStore(sandbox_id="box", clock=lambda: NOW)
    store.scope.core.catalog = catalog
    return store


def test_export_of_an_old_catalog(catalog):
    """An old catalog is exported as a whole, and its export imported: what has not ended is the same afterwards."""
    file = io.BytesIO()
    with store_of(MemoryCatalog(86400.0)) as new:
        with store_of(catalog) as old:
            assert old.export_catalog(file) == 5
        file.seek(0)
        assert new.import_catalog(file) == 5
        assert tuple(new.usage().values()) == WHOLE
        assert users(new.scope.core.catalog, "ann") == ["alice", "carol", "empty"]


def test_export_of_format_1(tmp_path):
    """An export of the first format is imported into each later version: sessions, versions and uploads included."""
    with ArtifactStore(sandbox_id="box", session_provider="sqlite", fs_root=tmp_path, clock=lambda: NOW) as store:
        assert store.import_catalog(OLD / "export-1.jsonl") == 6
        assert tuple(store.usage().values()) == (5, 34 + 2**40)
        assert users(store.scope.core.catalog, "ann") == ["alice", "carol", "empty"]
        assert [one.filename for one in store.list_by_session("bob")] == ["f5", "é\u2028"]
        changed = store.lookup("é\u2028", "bob")
        assert (changed.summary, changed.revision, changed.key[-3:]) == ('"\\\n', 2, "~78")
        assert [(one.revision, one.filename) for one in store.versions(changed.artifact_id)] == [
            (2, "é\u2028"),
            (1, "old name"),
        ]
        (pending,) = store.scope.core.catalog.get([name(4)])
        assert pending.pending.complete
        assert store.import_catalog(OLD / "export-1.jsonl") == 0


def test_rows_are_counted_whatever_their_numbers(tmp_path):
    """The counters are right after any sequence of additions and removals, although SQLite uses row numbers again."""
    rng, there = random.Random(7), {}
    with closing(SqliteCatalog(str(tmp_path / "new.sqlite3"), "box", None)) as catalog:
        for step in range(1500):
            if there and rng.random() < (0.7 if step % 300 > 200 else 0.3):
                number = max(there) if rng.random() < 0.5 else rng.choice([*there])
                catalog.remove([name(number)])
                del there[number]
            else:
                there[step] = step % 10
                catalog.add([record(step, bytes=step % 10)], now=NOW)
            if step % 7 == 0:
                assert usage(catalog) == usage(catalog, None) == (len(there), sum(there.values())), step
        catalog.remove([name(number) for number in there])
        assert usage(catalog) == (0, 0)
        catalog.add([record(2000, bytes=1)], now=NOW)
        assert usage(catalog) == (1, 1)


def test_rows_may_be_numbered_anew(tmp_path):
    """Usage stays exact in a copy of a file whose rows have other numbers, with rows that were not counted yet."""
    with closing(SqliteCatalog(str(tmp_path / "one.sqlite3"), "box", None)) as catalog:
        for number in range(150):
            catalog.add([record(number, bytes=1)], now=NOW)
        catalog.remove([name(number) for number in range(0, 100, 2)])
    copy = tmp_path / "two.sqlite3"
    copy.touch(0o600)
    with closing(sqlite3.connect(tmp_path / "one.sqlite3")) as one, closing(sqlite3.connect(copy)) as two:
        two.execute("PRAGMA journal_mode = WAL")
        two.executescript("\n".join(one.iterdump()))
        two.execute("PRAGMA user_version = 1")
        assert two.execute("SELECT max(rowid) FROM artifacts").fetchone() == (100,)
    with closing(SqliteCatalog(str(copy), "box", None)) as catalog:
        assert usage(catalog) == usage(catalog, None) == (100, 100)
        for number in range(200, 290):
            catalog.add([record(number, bytes=1)], now=NOW)
            assert usage(catalog) == (number - 99, number - 99)
        catalog.remove([name(number) for number in range(289, 99, -1)])
        assert usage(catalog) == usage(catalog, None) == (50, 50)
