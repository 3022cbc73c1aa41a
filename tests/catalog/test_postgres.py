"""The catalog in PostgreSQL: its tables, its round trips, its connections, its concurrency."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import threading

import attrs
import child
import pytest
from servers.postgres import pooling, running
from servers.proxy import Proxy

from chuk_artifacts import ArtifactStore, ArtifactStoreError, ConflictError, InvalidInputError, SessionError
from chuk_artifacts.catalog import Query
from chuk_artifacts.models import Pending, Superseded, timestamp
from chuk_artifacts.settings import PostgresUrl

pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")

from chuk_artifacts.catalog.postgres import link as links
from chuk_artifacts.catalog.postgres import open_link, schema, statements
from chuk_artifacts.catalog.postgres.client import Statement

DAY = 86400
SECRET = "hunter2-hunter2"


@pytest.fixture
def server(postgres_url, postgres_server):
    """Return a connection to a server with an empty catalog."""
    with postgres_server.connect() as connection:
        yield connection


@pytest.fixture
def open_store(postgres_url):
    """Return a function that opens a store whose records are in the server."""
    stores = []

    def open_one(**options):
        stores.append(ArtifactStore(**{"session_provider": "postgres", "postgres_url": postgres_url, **options}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    """Return such a store, with its bytes in memory."""
    return open_store(sandbox_id="box")


@pytest.fixture
def proxy(postgres_url, postgres_server):
    """Return a proxy before the server."""
    with Proxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def far_store(proxy, open_store, clock):
    """Return a store behind the proxy, whose clock stands still: no session is prolonged in between."""
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
    return open_store(postgres_url=url, sandbox_id="box", clock=clock)


def rows(server, query, *values):
    """Return the rows of a query."""
    return server.execute(query.encode(), values).fetchall()


def counted(server):
    """Return the usage of each session as the counters have it, and as a count of all records has it."""
    summed = {
        table: rows(server, f"SELECT session_id, sum(files), sum({size}) FROM chuk_artifacts.{table} GROUP BY 1")
        for table, size in {"usage": "bytes", "artifacts": "occupied"}.items()
    }
    usage, full = (
        {name: (int(files), int(size)) for name, files, size in found if files or size} for found in summed.values()
    )
    return usage, full


# The tables


def test_what_is_written(store, server):
    """A record is one row of columns that repeat it, its JSON and its meta."""
    artifact_id = store.store(b"abc", session_id="alice", filename="ü/x", meta={"a": [1.0, None, "ü"]}, user_id="u")
    record = store.metadata(artifact_id)
    ((*columns, text, meta),) = rows(server, "SELECT * FROM chuk_artifacts.artifacts")
    assert columns[:4] == [artifact_id, "alice", "box", "ü/x"]
    assert columns[4:] == [record.mime, record.stored_at, 3, 1, record.expires_at, record.expires_at, 1, 3]
    assert text == record.to_json()
    assert meta == {"a": [1.0, None, "ü"]}
    ((*session, ttl),) = rows(server, "SELECT * FROM chuk_artifacts.sessions")
    assert session[:3] == ["box", "alice", "u"]
    assert ttl == DAY
    assert counted(server) == ({"alice": (1, 3)}, {"alice": (1, 3)})


@pytest.mark.parametrize(
    "meta",
    [
        {"a": "\0", "\0": 1},
        {"a": "\\u0000"},
        {"a": 1e308, "b": -0.0, "c": 5e-324, "d": 2**200, "e": 1.0},
        {"a": "\U0001f600\ud7ff\ue000"},
        json.loads('{"a":' * 60 + "1" + "}" * 60),
    ],
    ids=["nul", "backslash", "numbers", "letters", "deep"],
)
def test_meta_of_any_kind(store, server, meta):
    """Each meta comes back exactly, also what jsonb can't hold or holds otherwise."""
    artifact_id = store.store(b"x", meta=meta)
    assert json.dumps(store.metadata(artifact_id).meta) == json.dumps(meta)
    assert store.update_metadata(artifact_id, summary="\0new").summary == "\0new"
    assert json.dumps(store.metadata(artifact_id).meta) == json.dumps(meta)


@pytest.mark.parametrize("user_id", ["u", "\0", "\\0", "a\\\0b\\\\", "'; DROP TABLE x; --", "%s"])
def test_user_of_any_kind(store, open_store, user_id):
    """Each user id comes back exactly."""
    session_id = store.create_session(user_id=user_id)
    store.store(b"x", session_id="alice", user_id=user_id)
    other = open_store(sandbox_id="box")
    assert other.get_session_info(session_id).user_id == user_id
    assert other.get_session_info("alice").user_id == user_id
    assert other.update_session_metadata(session_id, {"a": "\0"})
    assert other.get_session_info(session_id).custom_metadata == {"a": "\0"}


def test_longest_names(open_store):
    """The longest ids and filenames fit into the indexes."""
    store = open_store(sandbox_id=os.urandom(127).hex() + "x", max_user_id_bytes=100_000)
    session_id, filename = "".join(random.choices("äöüß", k=127)), "/".join(os.urandom(50).hex() for _ in range(10))
    artifact_id = store.store(b"x", session_id=session_id, filename=filename, user_id=os.urandom(40_000).hex())
    assert store.lookup(filename.rpartition("/")[2], session_id) is None
    assert [one.artifact_id for one in store.list_files(session_id, filename[:900])] == [artifact_id]


@pytest.mark.parametrize("name", ["\0", "b\0", "b\0c", "'", "z\\a", "%", '"{,}', "null", "\U0001f600"])
def test_names_that_no_file_may_have(store, name):
    """A prefix, a start and a name that no filename can hold, or that SQL gives a meaning, are compared as they are."""
    names = ["a", "b", "ba", "c", "z\\a", "null", "'", "%", "\U0001f600"]
    ids = store.store_batch([{"data": b"x", "filename": one} for one in names], session_id="alice")
    listed = [one.filename for one in store.iter_session("alice", start=name)]
    assert listed == sorted(one for one in names if one >= name)
    now = store.scope.core.clock()
    found = store.scope.core.catalog.page("alice", prefix=name, after=None, limit=9, now=now)
    assert [one.filename for one in found] == sorted(one for one in names if one.startswith(name))
    assert [one.filename for one in store.scope.core.catalog.named("alice", name, now)] == [name] * (name in names)
    assert store.delete_batch(ids) == len(ids)


def test_two_sandboxes_and_two_schemas(open_store, postgres_url):
    """Sandboxes share tables and nothing else; a schema of its own shares nothing at all."""
    box, other = open_store(sandbox_id="box"), open_store(sandbox_id="other")
    apart = open_store(sandbox_id="box", postgres_schema="Apart-1")
    artifact_id = box.store(b"x", session_id="alice")
    assert [store.list_by_session("alice") == [] for store in (box, other, apart)] == [False, True, True]
    assert not other.exists(artifact_id)
    assert not apart.exists(artifact_id)
    assert not apart.delete(artifact_id)
    assert box.exists(artifact_id)


def test_many_processes_create_the_tables(postgres_server):
    """Of many that open an empty database at once, one creates the tables, and all can work."""
    with postgres_server.connect() as connection:
        connection.execute('CREATE SCHEMA IF NOT EXISTS "fresh"')  # it may exist before the library comes
    errors = []
    barrier = threading.Barrier(8)

    def use():
        barrier.wait()
        try:
            with ArtifactStore(
                session_provider="postgres", postgres_url=postgres_server.url, postgres_schema="fresh", sandbox_id="box"
            ) as store:
                store.store(b"x", session_id="alice")
        except ArtifactStoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with postgres_server.connect() as connection:
        assert rows(connection, "SELECT count(*) FROM fresh.artifacts") == [(8,)]
        assert rows(connection, "SELECT version FROM fresh.version") == [(schema.VERSION,)]
        connection.execute("DROP SCHEMA fresh CASCADE")


def test_later_tables_are_refused(open_store, server, postgres_url):
    """Tables of a later version are refused, and nothing is written."""
    open_store(postgres_schema="later").store(b"x")
    server.execute("INSERT INTO later.version VALUES (%s)", (schema.VERSION + 1,))
    with pytest.raises(SessionError, match=r"version 2; this chuk-artifacts knows 1: install a newer one"):
        open_store(postgres_schema="later").store(b"y")
    assert rows(server, "SELECT count(*) FROM later.artifacts") == [(1,)]


def test_privileges(open_store, server, postgres_server):
    """A user without the right to create says so; one with rights on the tables alone can work, and lacks are named."""
    server.execute("DROP ROLE IF EXISTS guest")
    server.execute("CREATE ROLE guest LOGIN")
    url = f"postgresql://guest@127.0.0.1:{postgres_server.port}/postgres"
    options = {"sandbox_id": "box", "postgres_schema": "lent"}
    try:
        with pytest.raises(SessionError, match='may not make the schema "lent" and its tables'):
            open_store(**options, postgres_url=url).store(b"x")
        artifact_id = open_store(**options).store(b"x", session_id="alice")
        with pytest.raises(SessionError, match="permission denied"):
            open_store(**options, postgres_url=url).metadata(artifact_id)
        server.execute("GRANT USAGE ON SCHEMA lent TO guest")
        server.execute("GRANT SELECT ON lent.version, lent.artifacts TO guest")
        reader = open_store(**options, postgres_url=url)
        assert reader.metadata(artifact_id).bytes == 1
        with pytest.raises(SessionError, match=r"permission denied.*USAGE on the schema"):
            reader.store(b"y", session_id="alice")
        found = reader.validate_configuration()["session"]
        assert "lacks DELETE on artifacts, INSERT on artifacts" in found["message"]
        server.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lent TO guest")
        assert reader.validate_configuration()["session"]["status"] == "ok"
        assert reader.delete(reader.store(b"y", session_id="alice"))
    finally:
        server.execute("DROP SCHEMA IF EXISTS lent CASCADE")
        server.execute("DROP ROLE guest")


def test_doctor(store, server):
    """A check says what the server is, and warns of settings that may lose records; it leaves nothing behind."""
    found = store.validate_configuration()["session"]
    assert found["server"].startswith("postgresql 1")
    assert (found["schema"], found["search_index"]) == ("version 1", "none")
    assert "set fsync and full_page_writes to on" in found["warning"]
    assert "set synchronous_commit to on" in found["warning"]
    assert rows(server, "SELECT count(*) FROM chuk_artifacts.sessions") == [(0,)]
    server.execute("CREATE INDEX made ON chuk_artifacts.artifacts USING gin (meta jsonb_path_ops)")
    assert store.validate_configuration()["session"]["search_index"] == "gin"
    server.execute("DROP INDEX chuk_artifacts.made")


def test_other_encodings_are_refused(open_store, server, postgres_server):
    """A database that can't hold all texts is refused with what to do."""
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = f"postgresql://postgres@127.0.0.1:{postgres_server.port}/latin"
    with pytest.raises(SessionError, match=r"has the encoding LATIN1.*create one with ENCODING 'UTF8'"):
        open_store(postgres_url=url).store(b"x")
    server.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize(
    ("text", "values", "index"),
    [
        (statements.PAGES[False, True], {"prefix": "docs/", "end": "docs0"}, "artifacts_by_place"),
        (statements.PAGES[True, False], {"filename": "docs/7", "artifact_id": ""}, "artifacts_by_place"),
        (statements.NAMED, {"filename": "docs/7"}, "artifacts_by_place"),
        (statements.DUE[False], {}, "artifacts_by_due"),
        (statements.GET, {"artifact_id": "0" * 32}, "artifacts_pkey"),
        (statements.COUNT_EXPIRED_SESSIONS, {}, "sessions_by_expiry"),
        (statements.GET_SESSION, {}, "sessions_pkey"),
    ],
)
def test_indexes(store, server, text, values, index):
    """Each statement that looks for some of many rows uses an index, and sorts nothing."""
    for name in ("alice", "bob"):
        store.store_batch([{"data": b"", "filename": f"docs/{number}"} for number in range(1500)], session_id=name)
    server.execute("INSERT INTO chuk_artifacts.sessions SELECT 'box', i::text, NULL, '', '2', '{}', 1"
                   " FROM generate_series(1, 3000) AS i")  # fmt: skip
    server.execute("ANALYZE chuk_artifacts.artifacts, chuk_artifacts.sessions")
    common = {"sandbox_id": "box", "session_id": "alice", "now": "1970", "limit": 100}
    query = f"EXPLAIN {text.replace('$schema', 'chuk_artifacts')}".encode()
    plan = "\n".join(line for (line,) in server.execute(query, {**common, **values}).fetchall())
    assert index in plan
    assert "Sort" not in plan


@pytest.mark.parametrize(
    "name", ["GET", "GET_MANY", "REPLACE", "REPLACE_OLDER", "REPLACE_WITHIN", "REMOVE", "REMOVE_EXPIRED"]
)
def test_ids_are_looked_up_in_a_table_without_statistics(open_store, server, name):
    """A prepared statement that names artifacts looks through no others, even before the first ANALYZE of a table."""
    store = open_store(sandbox_id="box", postgres_schema="young")
    store.store_batch([{"data": b"", "filename": str(number)} for number in range(1000)], session_id="alice")
    statement = Statement.of(getattr(statements, name).replace("$schema", "young"))
    server.execute("SET plan_cache_mode = force_generic_plan")
    server.execute(b"PREPARE named AS " + statement.text)
    query = f"EXPLAIN EXECUTE named ({', '.join(['NULL'] * len(statement.names))})"
    plan = "\n".join(line for (line,) in server.execute(query.encode()).fetchall())
    assert "artifacts_pkey" in plan
    assert "artifacts_by_place" not in plan
    assert "Seq Scan on artifacts" not in plan


def test_a_page_costs_as_much_in_a_large_session(store, server):
    """The server reads as many blocks for a page of a session of 20,000 as for one of 1,000."""

    def blocks(session_id):
        values = {"sandbox_id": "box", "session_id": session_id, "prefix": "", "now": "1970", "limit": 100}
        query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statements.PAGES[False, False]}"
        ((plan,),) = server.execute(query.replace("$schema", "chuk_artifacts").encode(), values).fetchall()
        return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]

    for session_id, count in {"small": 1000, "large": 20_000}.items():
        for start in range(0, count, 1000):
            items = [{"data": b"", "filename": f"{start + number:06}"} for number in range(1000)]
            store.store_batch(items, session_id=session_id)
    server.execute("VACUUM ANALYZE chuk_artifacts.artifacts")
    assert blocks("large") <= 1.5 * blocks("small")


# Round trips


def test_one_round_trip_a_method(far_store, open_store, proxy, subtests):
    """Each method makes one round trip, also when it creates a session, and counts usage."""
    store = far_store
    session_ids = itertools.count()
    spare = [store.store(b"x", session_id="bob") for _ in range(40)]

    def methods(turn):
        artifact_id = store.store(b"x", session_id="alice", filename=f"x{turn}")
        doomed = store.create_session()
        store.store(b"x", session_id=doomed)
        return {
            "store": lambda: store.store(b"x", session_id="alice"),
            "store in a new session": lambda: store.store(b"x"),
            "store exclusive": lambda: store.store(b"x", session_id="alice", filename=f"e{turn}", exclusive=True),
            "store exclusive, new": lambda: store.store(b"x", filename="f", exclusive=True),
            "store longer": lambda: store.store(b"x", session_id="alice", ttl=10 * DAY * (turn + 1)),
            "store_batch": lambda: store.store_batch([{"data": b"x"}] * 50, session_id="alice"),
            "store_batch in sessions": lambda: store.store_batch(
                [{"data": b"x", "session_id": f"s{next(session_ids)}"} for _ in range(9)]
            ),
            "retrieve": lambda: store.retrieve(artifact_id),
            "exists": lambda: store.exists("0" * 32),
            "retrieve_batch": lambda: store.retrieve_batch([artifact_id] * 2),
            "list": lambda: store.list_by_session("alice", limit=20),
            "create_session": store.create_session,
            "get_session_info": lambda: store.get_session_info("alice"),
            "update_session_metadata": lambda: store.update_session_metadata("alice", {"a": turn}),
            "extend_session_ttl": lambda: store.extend_session_ttl("alice", 1),
            "get_stats": store.get_stats,
            "delete": lambda: store.delete(artifact_id),
            "delete_batch": lambda: store.delete_batch([spare.pop() for _ in range(3)]),
            "delete_session": lambda: store.delete_session(doomed),
        }

    for turn in range(2):  # the first time, statements are prepared too
        for name, method in methods(turn).items():
            before = proxy.round_trips
            method()
            with subtests.test(name, turn=turn):
                assert proxy.round_trips - before == 1


def test_read_and_compare_and_set(far_store, proxy):
    """A change of a record is a read and one compare-and-set."""
    artifact_id = far_store.store(b"x", session_id="alice")
    far_store.update_metadata(artifact_id, summary="x")
    before = proxy.round_trips
    far_store.update_metadata(artifact_id, summary="y")
    assert proxy.round_trips - before == 2


def test_session_of_another_instance(far_store, open_store, proxy, clock):
    """A session that another instance made or changed costs one more round trip, once."""
    other = open_store(sandbox_id="box", clock=clock)
    far_store.store(b"x", session_id="warm")
    far_store.store(b"x", session_id="warm")
    session_id = other.create_session(ttl_hours=1)
    artifact_id = far_store.store(b"x", session_id=session_id)
    assert far_store.metadata(artifact_id).ttl == 3600
    before = proxy.round_trips
    far_store.store(b"x", session_id=session_id)
    assert proxy.round_trips - before == 1
    assert other.extend_session_ttl(session_id, 1)
    before = proxy.round_trips
    assert far_store.store(b"x", session_id=session_id)
    assert proxy.round_trips - before == 2
    assert far_store.metadata(far_store.store(b"x", session_id=session_id)).ttl == 7200
    other.delete_session(session_id)
    assert far_store.metadata(far_store.store(b"x", session_id=session_id)).ttl == DAY


def test_statements_are_prepared_once(store, server):
    """A connection prepares each statement once, whatever sizes of numbers it gets."""
    for size in (1, 40_000):
        artifact_id = store.store(b"x" * size, session_id="alice", filename="x")
        for _ in range(3):
            store.update_file(artifact_id, data=b"y" * size)
    (connection,) = store.scope.core.catalog._link._idle
    prepared = connection.bare.execute("SELECT name, statement FROM pg_prepared_statements").fetchall()
    assert len(prepared) == len({text for _, text in prepared}) > 2


# Adding


def added(store, session_id="alice"):
    """Return the filenames of a session."""
    return [one.filename for one in store.list_by_session(session_id)]


def test_a_batch_in_many_sessions_is_all_or_nothing(store, open_store, server):
    """If one of many sessions is not as it is known, nothing is added before it is looked up; then everything is."""
    other = open_store(sandbox_id="box")
    hour = other.create_session(ttl_hours=1)
    ids = store.store_batch([{"data": b"x", "session_id": name} for name in ("alice", hour, "carol")])
    assert [store.metadata(one).ttl for one in ids] == [DAY, 3600, DAY]
    usage, full = counted(server)
    assert usage == full == {"alice": (1, 1), hour: (1, 1), "carol": (1, 1)}


def test_a_taken_filename_leaves_nothing(store, server):
    """An exclusive batch that meets a taken filename adds no record and no session."""
    store.store(b"x", session_id="bob", filename="a")
    catalog = store.scope.core.catalog
    one = store.metadata(store.store(b"x", session_id="alice", filename="a"))
    records = [
        attrs.evolve(one, artifact_id=one.artifact_id[:-4] + "ffff", key=one.key[:-4] + "ffff"),
    ]
    with pytest.raises(ArtifactStoreError):
        catalog.add(records, now=store.scope.core.clock(), exclusive=True)
    with pytest.raises(ConflictError):
        store.store(b"y", session_id="bob", filename="a", exclusive=True)
    assert rows(server, "SELECT session_id FROM chuk_artifacts.sessions ORDER BY 1") == [("alice",), ("bob",)]
    assert rows(server, "SELECT count(*) FROM chuk_artifacts.artifacts") == [(2,)]


def test_session_that_is_removed_meanwhile(store, open_store, server):
    """While a session is being removed, an add waits, and then begins it anew."""
    store.store(b"x", session_id="alice")
    server.execute("BEGIN")
    server.execute("SELECT 1 FROM chuk_artifacts.sessions FOR UPDATE")
    server.execute("DELETE FROM chuk_artifacts.artifacts")
    server.execute("DELETE FROM chuk_artifacts.sessions")
    thread = threading.Thread(target=store.store, args=(b"y",), kwargs={"session_id": "alice", "filename": "new"})
    thread.start()
    while not rows(server, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        pass
    server.execute("COMMIT")
    thread.join()
    assert added(store) == ["new"]
    assert store.validate_session("alice")


# Usage


def test_usage_follows_every_change(store, server, clock):
    """The counters equal a full count after each kind of change, and no row outlives its session."""
    catalog = store.scope.core.catalog
    now = store.scope.core.clock()
    ids = store.store_batch([{"data": b"12345"}] * 20, session_id="alice")
    assert counted(server)[0] == {"alice": (20, 100)}
    store.update_file(ids[0], data=b"1234567", keep_versions=1)
    assert counted(server)[0] == {"alice": (20, 107)}  # with the earlier content
    record = store.metadata(ids[1])
    pending = record.changed(pending=Pending(timestamp(now + 60), True, None), revision=0)
    assert catalog.replace(pending, expected_revision=1)
    assert counted(server)[0] == {"alice": (19, 102)}
    assert catalog.replace(record, expected_revision=0)
    released = record.changed(released=True, revision=2)
    assert catalog.replace_each([(released, 1)]) == [True]
    assert counted(server)[0] == {"alice": (19, 102)}
    store.delete_batch(ids[2:10])
    usage, full = counted(server)
    assert usage == full == {"alice": (11, 62)}
    kept = store.metadata(ids[19]).changed(
        superseded=(Superseded(f"{record.key[:-32]}{ids[19]}~7", timestamp(now), 9, kept=True),)
    )
    assert catalog.replace(kept, expected_revision=1)
    assert counted(server)[0] == {"alice": (11, 71)}
    store.delete_session("alice")
    assert rows(server, "SELECT * FROM chuk_artifacts.usage") == []


def test_usage_of_expired_sessions(open_store, server, clock):
    """A cleanup takes what expires from the counters, and the rows of expired sessions."""
    store = open_store(clock=clock, sandbox_id="box")
    for number in range(20):
        store.store(b"x", session_id=f"s{number % 3}", ttl=60)
    store.store(b"x", session_id="s0", ttl=3 * DAY)
    clock.advance(2 * DAY)
    store.cleanup()
    assert counted(server) == ({"s0": (1, 1)}, {"s0": (1, 1)})
    clock.advance(2 * DAY)
    store.cleanup()
    store.cleanup()
    for table in ("usage", "sessions"):
        assert rows(server, f"SELECT * FROM chuk_artifacts.{table}") == []


# Connections


def test_connections_are_limited(open_store, server, postgres_server):
    """No more connections are open than max_connections; further calls wait."""
    store = open_store(max_connections=3, sandbox_id="box")
    artifact_id = store.store(b"x", session_id="alice")
    barrier = threading.Barrier(12)

    def use():
        barrier.wait()
        for _ in range(10):
            store.metadata(artifact_id)

    threads = [threading.Thread(target=use) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((count,),) = rows(server, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chuk-artifacts'")
    assert 0 < count <= 3
    store.close()
    while rows(server, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'chuk-artifacts'"):
        pass


def test_no_free_connection_is_an_error(open_store, server, monkeypatch):
    """A call that finds no free connection in time raises, and does not wait for ever."""
    monkeypatch.setattr(links, "_POOL_SECONDS", 0.05)
    store = open_store(max_connections=1, sandbox_id="box")
    artifact_id = store.store(b"x", session_id="alice")
    server.execute("BEGIN")
    server.execute("SELECT 1 FROM chuk_artifacts.artifacts FOR UPDATE")
    thread = threading.Thread(target=store.delete, args=(artifact_id,))
    thread.start()
    while not rows(server, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        pass
    with pytest.raises(SessionError, match="all connections are in use"):
        store.metadata(artifact_id)
    server.execute("COMMIT")
    thread.join()
    assert not store.exists(artifact_id)


def test_a_connection_that_the_server_ended_is_replaced(store, server):
    """An idle connection that the server has ended costs no call."""
    artifact_id = store.store(b"x", session_id="alice")
    for _ in range(3):
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                       " AND application_name = 'chuk-artifacts'")  # fmt: skip
        while rows(server, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'chuk-artifacts'"):
            pass
        assert store.update_metadata(artifact_id, summary="x")


def test_statement_time_out(open_store, server, monkeypatch):
    """A statement that the server works at for too long is ended by the server, and raises; nothing was changed."""
    monkeypatch.setattr(links, "_STATEMENT_SECONDS", 0.2)
    store = open_store(sandbox_id="box")
    artifact_id = store.store(b"x", session_id="alice")
    server.execute("BEGIN")
    server.execute("SELECT 1 FROM chuk_artifacts.artifacts FOR UPDATE")
    with pytest.raises(SessionError, match="statement took longer than its time-out") as caught:
        store.update_metadata(artifact_id, summary="new")
    assert type(caught.value) is SessionError
    server.execute("COMMIT")
    assert store.metadata(artifact_id).summary == ""


def test_own_statement_time_out_is_kept(open_store, postgres_url):
    """A statement time-out of the URL is kept, and the client waits longer."""
    store = open_store(postgres_url=f"{postgres_url}?options=-c%20statement_timeout%3D45min", sandbox_id="box")
    store.store(b"x")
    (connection,) = store.scope.core.catalog._link._idle
    assert connection.bare.execute("SHOW statement_timeout").fetchone() == ("45min",)
    assert connection.patience == 45 * 60 + 2


def test_interrupted_call(open_store, server):
    """An interrupt while the server works leaves the store usable, with no connection in a transaction."""
    store = open_store(max_connections=1, sandbox_id="box")
    artifact_id = store.store(b"x", session_id="alice")
    link = store.scope.core.catalog._link
    real = links._one

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    for _ in range(3):
        links._one = interrupted
        try:
            with pytest.raises(KeyboardInterrupt):
                store.update_metadata(artifact_id, summary="new")
        finally:
            links._one = real
        assert not link._idle
        assert store.metadata(artifact_id)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork(store):
    """A child works on connections of its own, and the parent's stay usable."""
    mine = store.store(b"mine", session_id="alice")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            theirs = store.store(b"x", session_id="alice", filename="theirs")
            os.write(write, theirs.encode() if store.exists(mine) else b"lost")
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        theirs = answer.read().decode()
    os.waitpid(pid, 0)
    assert {one.artifact_id for one in store.list_by_session("alice")} == {mine, theirs}


def test_no_threads(store):
    """The catalog starts no threads: a process that forks keeps the right to."""
    store.store(b"x")
    assert not [thread for thread in threading.enumerate() if "pool" in thread.name]


# Behind a pooler


def test_behind_pgbouncer(postgres_url, postgres_server, open_store, server, subtests):
    """Many stores share two connections of PgBouncer in transaction mode, without a setting on either side."""
    with pooling(postgres_server) as url:
        options = {"postgres_url": url, "sandbox_id": "box"}
        stores = [open_store(**options) for _ in range(6)]
        barrier = threading.Barrier(len(stores))
        kept = []

        def use(number):
            store = stores[number]
            barrier.wait()
            for turn in range(15):
                artifact_id = store.store(f"{number} {turn}".encode(), session_id="alice", filename=f"{number}-{turn}")
                store.update_metadata(artifact_id, summary=f"{turn}")
                store.store(b"x", session_id=f"s{number}", filename=f"e{turn}", exclusive=True)
                store.store_batch([{"data": b"x", "session_id": f"b{one}"} for one in range(3)])
                kept.append((artifact_id, f"{turn}"))
            store.delete_session(f"s{number}")

        threads = [threading.Thread(target=use, args=(number,)) for number in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kept) == 90
        for artifact_id, summary in kept:
            assert stores[0].metadata(artifact_id).summary == summary
        (connection, *_) = stores[0].scope.core.catalog._link._idle
        assert not connection.prepares
        assert stores[0].validate_configuration()["session"]["status"] == "ok"
        for store in stores:
            store.close()
    usage, full = counted(server)
    assert usage == full
    assert rows(server, "SHOW statement_timeout") == [("0",)]


# Passwords


def test_pickle_has_no_password(postgres_server, monkeypatch):
    """A pickle of a store has no password; the process that unpickles it takes it from its environment."""
    url = postgres_server.url.replace("postgres@", f"postgres:{SECRET}@")
    with ArtifactStore(session_provider="postgres", postgres_url=url, sandbox_id="box") as store:
        assert SECRET not in repr(store.scope.core.settings)
        data = pickle.dumps(store)
        assert SECRET.encode() not in data
        with pickle.loads(data) as copy:
            assert copy.scope.core.settings.postgres_url.text == postgres_server.url
        monkeypatch.setenv("SESSION_POSTGRES_URL", url)
        with pickle.loads(data) as copy:
            assert copy.scope.core.settings.postgres_url.text == url
            copy.store(b"x")


def test_errors_have_no_password_and_no_values(open_store, server, caplog):
    """No error and no log line has a password or values of a row."""
    with pytest.raises(SessionError) as caught:
        open_store(postgres_url=f"postgresql://u:{SECRET}@127.0.0.1:1/x?password={SECRET}").store(b"x")
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"
    for text in (f"u:{SECRET}@[h/x", f"u:{SECRET}%@h/x", f"u:{SECRET}@h/x?no=1"):
        with pytest.raises(InvalidInputError, match="postgres_url is not understood") as refused:
            open_store(postgres_url=f"postgresql://{text}")
        assert refused.value.__cause__ is None
        assert SECRET not in str(refused.value)
    store = open_store(sandbox_id="box")
    record = store.metadata(store.store(b"x", session_id="alice", summary=SECRET))
    with pytest.raises(SessionError, match="duplicate key") as doubled:
        store.scope.core.catalog.add([record, record], now=store.scope.core.clock())
    assert SECRET not in str(doubled.value)
    assert SECRET not in caplog.text


def test_variables_of_libpq(postgres_server, monkeypatch, tmp_path):
    """Without a URL, libpq's variables say where the server is; a URL may name a service."""
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(postgres_server.port))
    monkeypatch.setenv("PGUSER", "postgres")
    with ArtifactStore(session_provider="postgres") as store:
        store.store(b"x")
    monkeypatch.setenv("PGPORT", "1")
    (tmp_path / "services").write_text(f"[files]\nport={postgres_server.port}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with ArtifactStore(session_provider="postgres", postgres_url="postgresql:///?service=files") as store:
        assert store.exists(store.store(b"x"))


def test_missing_package():
    """Without psycopg, the error names the command that installs it."""
    code = """
        import sys
        sys.modules["psycopg"] = None
        from chuk_artifacts import ArtifactStore, SessionError
        try:
            ArtifactStore(session_provider="postgres")
        except SessionError as error:
            print(error)
        """
    assert "python -m pip install '.[postgres]' in a clone" in child.run(code)


# Concurrency

CHANGES = """
    import random, sys
    from chuk_artifacts import ArtifactStore, ArtifactNotFoundError, ConflictError

    url, root, seed = sys.argv[1:]
    chance = random.Random(seed)
    with ArtifactStore(
        session_provider="postgres", postgres_url=url, storage_provider="filesystem", fs_root=root, sandbox_id="box"
    ) as store:
        for _ in range(250):
            session_id = f"s{chance.randrange(4)}"
            known = [one.artifact_id for one in store.list_by_session(session_id, limit=50)]
            data = b"x" * chance.randrange(9)
            try:
                kind = chance.randrange(10) if known else 0
                one = chance.choice(known) if known else ""
                if kind < 4:
                    store.store(data, session_id=session_id, filename=f"f{chance.randrange(20)}")
                elif kind == 4:
                    store.store_batch([{"data": data, "session_id": f"s{chance.randrange(4)}"} for _ in range(5)])
                elif kind == 5:
                    store.update_file(one, data=data)
                elif kind == 6:
                    store.delete(one)
                elif kind == 7:
                    store.delete_batch(chance.sample(known, min(5, len(known))))
                elif kind == 8:
                    store.copy_file(one, new_filename=f"c{chance.randrange(20)}")
                elif chance.randrange(10) == 0:
                    store.delete_session(session_id)
                else:
                    store.store(data, session_id=session_id, filename=f"e{chance.randrange(9)}", exclusive=True)
            except (ArtifactNotFoundError, ConflictError):
                pass
    """


def test_many_processes_change_at_random(postgres_url, server, tmp_path):
    """After 2,000 changes by 8 processes, records, counters and bytes agree."""
    children = [
        subprocess.Popen(
            child.command(CHANGES, postgres_url, tmp_path / "root", seed),
            env=child.environment(),
            stderr=subprocess.PIPE,
        )
        for seed in range(8)
    ]
    for process in children:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    usage, full = counted(server)
    assert usage == full
    with ArtifactStore(
        session_provider="postgres",
        postgres_url=postgres_url,
        storage_provider="filesystem",
        fs_root=tmp_path / "root",
        sandbox_id="box",
    ) as store:
        assert store.scope.core.catalog.verify() == 0
        for number in range(4):
            for one in store.list_by_session(f"s{number}"):
                assert len(store.retrieve(one.artifact_id)) == one.bytes
                assert store.validate_session(f"s{number}")
        needed = {
            key
            for (text,) in rows(server, "SELECT record FROM chuk_artifacts.artifacts")
            for key in (json.loads(text)["key"], *(earlier[0] for earlier in json.loads(text)["superseded"]))
        }
        held = {one.key for one in store.scope.core.storage.list_objects("grid/")}
        assert held == needed


def test_compare_and_set_loses_nothing(store):
    """200 compare-and-set updates by 8 threads end at 200."""
    artifact_id = store.store(b"", session_id="alice", meta={"count": 0})

    def add():
        for _ in range(25):
            is_done = False
            while not is_done:
                record = store.metadata(artifact_id)
                changed = record.changed(meta={"count": record.meta["count"] + 1}, revision=record.revision + 1)
                is_done = store.scope.core.catalog.replace(changed, expected_revision=record.revision)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.metadata(artifact_id).meta == {"count": 200}
    assert store.metadata(artifact_id).revision == 201


def test_many_cleaners_share_the_work(open_store, server, clock):
    """Many cleaners at once remove each expired artifact and session once."""
    store = open_store(clock=clock, sandbox_id="box")
    for number in range(40):
        store.store_batch([{"data": b"x"}] * 30, session_id=f"s{number}", ttl=60)
    clock.advance(3 * DAY)
    reports = []
    barrier = threading.Barrier(4)

    def clean():
        barrier.wait()
        reports.append(store.cleanup())

    for expected in (1200, 0):
        reports.clear()
        threads = [threading.Thread(target=clean) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(report.artifacts for report in reports) == expected
        clock.advance(DAY)
    assert rows(server, "SELECT count(*) FROM chuk_artifacts.artifacts") == [(0,)]
    assert rows(server, "SELECT count(*) FROM chuk_artifacts.usage") == [(0,)]


def test_a_session_of_any_size_goes_in_portions(store, server, monkeypatch):
    """A large session is removed in transactions of limited size."""
    store.store_batch([{"data": b""}] * 1300, session_id="alice")
    sizes = []
    real = links._all

    def counting(connection, steps):
        found = real(connection, steps)
        sizes.append(len(found[1]))
        return found

    monkeypatch.setattr(links, "_all", counting)
    assert store.delete_session("alice")
    assert sizes == [500, 500, 300]


# Damage


def test_damaged_records(store, server):
    """A record that can't be decoded is skipped by listings, counted, and removed with what its columns say."""
    ids = [store.store(b"x", session_id="alice", filename=f"{number}") for number in range(6)]
    server.execute("UPDATE chuk_artifacts.artifacts SET record = '{}' WHERE artifact_id = %s", (ids[1],))
    server.execute("UPDATE chuk_artifacts.artifacts SET filename = 'z' WHERE artifact_id = %s", (ids[2],))
    catalog = store.scope.core.catalog
    assert [one.filename for one in store.list_by_session("alice", limit=4)] == ["0", "3", "4", "5"]
    assert catalog.verify() == 2
    with pytest.raises(SessionError, match="a record is damaged"):
        store.metadata(ids[1])
    (removed,) = catalog.remove([ids[1]])
    assert (removed.filename, removed.bytes, removed.session_id) == ("1", 1, "alice")
    assert catalog.verify() == 1
    assert sys.getsizeof(removed) > 0


def test_damaged_session(store, open_store, server):
    """A damaged session is an error, and never another session."""
    store.create_session()
    for column, value in {"custom_metadata": "[", "created_at": "now", "ttl": "-1", "expires_at": "x"}.items():
        session_id = store.create_session()
        change = f"UPDATE chuk_artifacts.sessions SET {column} = %s WHERE session_id = %s"
        server.execute(change.encode(), (value, session_id))
        with pytest.raises(SessionError):
            open_store(sandbox_id="box").get_session_info(session_id)


def test_server_of_its_own():
    """A server that keeps what it acknowledges is not warned of."""
    with running() as server, ArtifactStore(session_provider="postgres", postgres_url=server.url) as store:
        found = store.validate_configuration()["session"]
    assert (found["status"], found["synchronous_commit"]) == ("ok", "on")
    assert "warning" not in found


def test_link_without_use():
    """A link that was never used has no connection, and can be closed."""
    link = open_link(PostgresUrl("postgresql://h"), "s", max_connections=1, max_retries=0)
    assert not link.connected
    link.close()


def test_limits_take_one_round_trip(far_store, server, proxy, clock, subtests):
    """A limit of the session costs no more round trips, nor do usage, searches and lists of sessions."""
    catalog = far_store.scope.core.catalog
    one = far_store.metadata(far_store.store(b"x", session_id="alice", filename="a", user_id="u"))
    now = clock()
    numbers = itertools.count(1)

    def another():
        digits = f"{next(numbers):024x}"
        return one.changed(artifact_id=one.artifact_id[:8] + digits, key=one.key[:-24] + digits)

    calls = {
        "add": lambda: catalog.add([another()], now=now, max_session_bytes=10**6),
        "replace": lambda: catalog.replace(one, expected_revision=1, max_session_bytes=10**6),
        "usage": lambda: catalog.usage("alice"),
        "usage of all": lambda: catalog.usage(None),
        "sessions": lambda: catalog.sessions(now, 10, user_id="u"),
        "search": lambda: catalog.search(["alice"], Query(prefix="a"), after=None, limit=5, now=now),
        "search in many": lambda: catalog.search(["a", "b", "alice"], Query(), after=None, limit=5, now=now),
    }
    for name, call in calls.items():
        before = proxy.round_trips
        call()
        with subtests.test(name):
            assert proxy.round_trips - before == 1
    usage, full = counted(server)
    assert usage == full == {"alice": (2, 2)}
