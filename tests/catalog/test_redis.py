"""The catalog in Redis: its keys, its round trips, its expiries, its concurrency."""

from __future__ import annotations

import itertools
import random
import threading
import time

import pytest
import redis
from servers.redis import RedisServer, wait_until

from chuk_artifacts import ArtifactStore, ArtifactStoreError, ConflictError, InvalidInputError, SessionError, grid
from chuk_artifacts.catalog.redis import KEPT_SECONDS
from chuk_artifacts.catalog.redis.client import _packed

DAY = 86400


@pytest.fixture
def server(redis_url, redis_server):
    """Return a client of an empty server."""
    with redis_server.client(decode_responses=True) as client:
        yield client


@pytest.fixture
def open_store(redis_url):
    """Return a function that opens a store whose records are in the server."""
    stores = []

    def open_one(**options):
        stores.append(ArtifactStore(**{"session_provider": "redis", "redis_url": redis_url, **options}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    """Return such a store, with its bytes in memory."""
    return open_store()


def keys(server, pattern="*"):
    """Return the names of keys."""
    return list(server.scan_iter(pattern))


class Commands:
    """Records the commands that clients send to a server within a ``with`` block."""

    def __init__(self, server) -> None:
        self._server = server
        self.sent: list[str] = []
        self.inside: list[list[list[str]]] = []  # what each of the scripts did, word by word

    def __enter__(self):
        self._monitor = self._server.monitor()
        self._monitor.__enter__()
        return self

    def __exit__(self, *error):
        self._server.echo("the end")
        for command in self._monitor.listen():
            if command["command"] == "ECHO the end":
                break
            words = command["command"].split(" ")
            if command["client_type"] == "lua":
                self.inside[-1].append(words)
            elif words[0] not in {"HELLO", "CLIENT", "SELECT"}:  # of new connections
                self.sent.append(words[0])
                self.inside.append([])
        self._monitor.__exit__(None, None, None)


# Layout


def test_names_of_keys(store, server):
    """Each key begins with chuk: and a tag from the id of the artifact, one for all keys of a session."""
    artifact_id = store.store(b"x", session_id="alice", filename="x")
    store.update_metadata(artifact_id, summary="new")
    names = keys(server)
    assert len(names) == 5
    assert {name[:10] for name in names} == {f"chuk:{{{artifact_id[:2]}}}:"}


def test_two_sandboxes_share_no_key(open_store, server):
    """Two sandboxes share no key, even if their names look alike."""
    names = []
    for sandbox_id in ("box", "box:x", "{box}", "bo"):
        server.flushall()
        open_store(sandbox_id=sandbox_id).store(b"x", session_id="x")
        names.append({key for key in keys(server) if "record" not in key})
    assert all(first.isdisjoint(second) for first, second in itertools.combinations(names, 2))


def test_everything_is_dropped_in_the_end(store, server):
    """Each key has a ttl that outlasts the artifact until a cleanup can find it."""
    store.store(b"x", session_id="alice", filename="x", ttl=60)
    lives = [server.pttl(key) / 1000 for key in keys(server)]
    assert len(lives) == 5
    assert min(lives) > KEPT_SECONDS
    assert max(lives) <= DAY + KEPT_SECONDS + DAY
    (record,) = keys(server, "*record/*")
    assert server.pttl(record) / 1000 <= 60 + KEPT_SECONDS


def test_keys_without_expiry(store, server):
    """A key that something without an expiry needs has none either, whatever else is written to it."""
    session_id = store.create_session(ttl_hours=1)
    store.store(b"x", session_id=session_id, ttl=60)
    with ArtifactStore(
        session_provider="redis",
        redis_url=f"redis://127.0.0.1:{server.connection_pool.connection_kwargs['port']}/0",
        sandbox_id=store.get_sandbox_info()["sandbox_id"],
        session_ttl_hours=None,
    ) as for_ever:
        kept = for_ever.store(b"x", session_id=session_id)
        assert for_ever.metadata(kept).ttl == 3600  # that of its session
        kept = for_ever.store(b"x", session_id="for ever")
    store.store(b"x", session_id="for ever", ttl=60)
    root = next(key for key in keys(server, "*record/*") if kept in key).partition("record/")[0]
    lives = {key: server.pttl(key) for key in keys(server) if key.startswith(root)}
    for name in ("session/for ever", "index/for ever", f"record/{kept}", "due", "sessions"):
        assert lives[root + name] == -1
    assert max(lives.values()) > 0  # that of the artifact with an end


def test_longer_life_reaches_the_keys(store, server):
    """Extending an artifact extends the keys that it needs."""
    artifact_id = store.store(b"x", session_id="alice", ttl=60)
    store.extend_ttl(artifact_id, 100 * DAY)
    assert min(server.pttl(key) for key in keys(server)) / 1000 > 100 * DAY + KEPT_SECONDS


# Round trips


def test_one_round_trip_a_method(store, server, subtests):
    """Each method makes one round trip, also when it creates a session."""
    store.delete(store.store(b"x", session_id="alice"))  # connected, and the scripts are known
    store.update_metadata(store.store(b"x", session_id="alice"), summary="x")
    artifact_id = store.store(b"x", session_id="alice", filename="x")
    store.list_by_session("alice")
    store.delete_session(store.create_session())
    store.update_session_metadata("alice", {"a": 1})
    methods = {
        "store": lambda: store.store(b"x", session_id="alice"),
        "store in a new session": lambda: store.store(b"x"),
        "store_batch": lambda: store.store_batch([{"data": b"x"}] * 50, session_id="alice"),
        "store_batch in sessions": lambda: store.store_batch([{"data": b"x", "session_id": f"{i}"} for i in range(9)]),
        "retrieve": lambda: store.retrieve(artifact_id),
        "exists": lambda: store.exists("0" * 32),
        "retrieve_batch": lambda: store.retrieve_batch([artifact_id] * 2),
        "list": lambda: store.list_by_session("alice", limit=20),
        "create_session": store.create_session,
        "get_session_info": lambda: store.get_session_info("alice"),
        "update_session_metadata": lambda: store.update_session_metadata("alice", {"a": 2}),
        "extend_session_ttl": lambda: store.extend_session_ttl("alice", 1),
        "delete": lambda: store.delete(artifact_id),
        "delete_batch": lambda: store.delete_batch(["0" * 32] * 20),
        "delete_session": lambda: store.delete_session("alice"),
    }
    for name, method in methods.items():
        with Commands(server) as commands:
            method()
        with subtests.test(name):
            assert len(commands.sent) == 1


def test_read_and_compare_and_set(store, server):
    """A change of a record is a read and one compare-and-set."""
    artifact_id = store.store(b"x", session_id="alice")
    store.update_metadata(artifact_id, summary="x")
    with Commands(server) as commands:
        store.update_metadata(artifact_id, summary="y")
    assert commands.sent == ["GET", "EVALSHA"]


def test_session_of_another_instance(open_store, server):
    """A session that another instance changed costs one more round trip, once."""
    store, other = (open_store(sandbox_id="box") for _ in range(2))
    session_id = store.create_session(ttl_hours=1)
    with Commands(server) as commands:
        artifact_id = other.store(b"x", session_id=session_id)
    assert commands.sent == ["EVALSHA", "EVALSHA"]
    assert other.metadata(artifact_id).ttl == 3600
    assert store.extend_session_ttl(session_id, 1)
    assert other.metadata(other.store(b"x", session_id=session_id)).ttl == 7200
    store.delete_session(session_id)
    assert other.metadata(other.store(b"x", session_id=session_id)).ttl == DAY
    with Commands(server) as commands:
        other.store(b"x", session_id=session_id)
    assert commands.sent == ["EVALSHA"]


def test_scripts_are_sent_again_when_they_are_lost(store, server):
    """A server that lost the scripts gets them again."""
    artifact_id = store.store(b"x", session_id="alice")
    server.script_flush()
    assert store.retrieve(store.store(b"y", session_id="alice")) == b"y"
    server.script_flush()
    assert store.delete(artifact_id)


# What Redis drops


def drop(server, artifact_id):
    """Remove a record as Redis does when it expires."""
    (key,) = keys(server, f"*record/{artifact_id}")
    server.delete(key)


def test_dropped_records_do_not_count(store, server):
    """Dropped records do not count towards a page's limit, and their entries are removed by it."""
    ids = [store.store(b"x", session_id="alice", filename=f"{number:03}") for number in range(100)]
    for artifact_id in ids[:90:2]:
        drop(server, artifact_id)
    assert [item.artifact_id for item in store.list_by_session("alice", limit=45)] == ids[1:90:2]
    (index,) = keys(server, "*index/*")
    assert server.zcard(index) == 55


def test_dropped_records_are_not_due(store, server):
    """A cleanup skips dropped records, and removes their entries."""
    ids = [store.store(b"x", session_id="alice", ttl=0.001) for _ in range(20)]
    for artifact_id in ids[:19]:
        drop(server, artifact_id)
    time.sleep(0.01)
    assert store.cleanup().artifacts == 1
    (due,) = keys(server, "*due")
    assert server.zcard(due) == 1


def test_many_dropped_records_keep_no_server_busy(store, server):
    """A script removes at most 1,000 entries of dropped records, in a listing and in a cleanup."""
    kept = []
    for session_id in ("alice", "bob", "carol"):
        for _ in range(5):
            store.store_batch([{"data": b"x", "filename": "x", "ttl": 0.001}] * 500, session_id=session_id)
        kept += store.store_batch([{"data": b"x", "filename": "y"}] * 2, session_id=session_id)
    server.delete(*[key for key in keys(server, "*record/*") if not key.endswith(tuple(kept))])
    store.list_by_session("nobody")
    for session_id, limit in {"bob": None, "carol": 600}.items():
        with Commands(server) as commands:
            assert len(store.list_by_session(session_id, limit=limit)) == 2
        assert max(map(number_of_removed, commands.inside)) <= 1000
        assert sum(map(number_of_removed, commands.inside)) == 2500
    with Commands(server) as commands:
        assert store.cleanup() == {"sessions": 0, "artifacts": 0, "orphans": 0, "bytes": 0}
    looked = [sum(len(words) - 2 for words in done if words[0] == "MGET") for done in commands.inside]
    assert max(looked) <= 1000
    assert sum(looked) == 7500
    assert sum(map(server.zcard, keys(server, "*due"))) == len(kept)  # two sessions may share an index


def number_of_removed(done):
    """Return how many entries a script has removed from sorted sets."""
    return sum(len(words) - 2 for words in done if words[0] == "ZREM")


def test_nothing_adds_up_without_cleanup(open_store, server, clock):
    """Entries of dropped records and sessions are removed as others are stored."""
    clock.advance(-2 * KEPT_SECONDS)
    store = open_store(clock=clock, sandbox_id="box")
    old = store.store_batch([{"data": b"x", "filename": "x"}] * 100, session_id="alice", ttl=1)
    for artifact_id in old:
        drop(server, artifact_id)
    clock.advance(2 * KEPT_SECONDS)
    for _ in range(100):
        store.store(b"x", session_id="alice", filename="y")
    (due,), (index,) = keys(server, "*due"), server.keys("*index/alice")
    assert (server.zcard(due), server.zcard(index)) == (100, 100)


# Cleanup


def test_cleanup_does_not_touch_the_living(open_store, server, clock):
    """The work of a cleanup is proportional to the expired artifacts, not to the living ones."""
    store = open_store(clock=clock, sandbox_id="box")

    def fill(session_id, count, ttl):
        store.store_batch([{"data": b"x"}] * count, session_id=session_id, ttl=ttl)

    def collect():
        server.config_resetstat()
        assert store.cleanup().artifacts == 10
        return sum(stats["calls"] for stats in server.info("commandstats").values())

    for number in range(10):
        fill(f"short {number}", 1, 60)
    fill("long", 10, None)
    clock.advance(61)
    few = collect()
    for number in range(10):
        fill(f"short again {number}", 1, 60)
    fill("long", 5000, None)
    clock.advance(61)
    assert collect() < few * 1.1  # a few more or less, by how the sessions share their tags


def test_cleanup_of_many(open_store, clock):
    """More expired artifacts than one page are all removed."""
    store = open_store(clock=clock)
    for session in range(3):
        store.store_batch([{"data": b"x", "filename": "x"}] * 400, session_id=f"s{session}", ttl=60)
    clock.advance(60)
    assert store.cleanup().artifacts == 1200
    clock.advance(3600)
    store.cleanup()
    assert store.get_stats()["artifacts"] == 0


def test_nothing_is_left(open_store, server, clock):
    """When everything was deleted or cleaned up, only the repeatable answers are left, for a minute."""
    store = open_store(clock=clock)
    store.delete(store.store(b"x", session_id="alice"))
    store.store(b"x", session_id="bob")
    store.delete_session("alice")
    store.delete_session("bob")
    store.store(b"x", session_id="carol")
    clock.advance(DAY)
    store.cleanup()
    clock.advance(3600)
    store.cleanup()
    left = {key: server.pttl(key) for key in keys(server)}
    assert len(left) == 2
    assert all("/removed/" in key and 0 < life <= 60_000 for key, life in left.items())


def test_cleanup_takes_few_round_trips(open_store, server, clock):
    """Expired artifacts are released a hundred per call."""
    store = open_store(clock=clock)
    for session in range(10):
        store.store_batch([{"data": b"x"}] * 100, session_id=f"s{session}", ttl=60)
    store.cleanup()
    clock.advance(60)
    with Commands(server) as commands:
        assert store.cleanup().artifacts == 1000
    replaced = [len([1 for words in done if words[0] == "GET"]) for done in commands.inside]
    assert [number for number in replaced if number] == [100] * 10
    assert len(commands.sent) <= 10 + 6  # and three looks for what is due, one for sessions, two scripts to be sent


# Stats


@pytest.fixture
def few_at_once(monkeypatch):
    """Limit a script to 10 entries."""
    monkeypatch.setattr("chuk_artifacts.catalog.redis.catalog._BATCH", 10)


def test_stats_is_one_round_trip(store, server):
    """A few artifacts are counted with one round trip, in any session."""
    store.store_batch([{"data": b"x", "session_id": f"s{number}"} for number in range(100)])
    store.get_stats()
    with Commands(server) as commands:
        assert store.get_stats()["artifacts"] == 100
    assert commands.sent == ["EVALSHA"]


def test_stats_keeps_no_server_busy(store, server):
    """No script looks at more than 1,000 entries to count, and none is counted twice."""
    for _ in range(3):
        store.store_batch([{"data": b""}] * 500, session_id="alice")
    store.store_batch([{"data": b"", "session_id": f"s{number % 20}"} for number in range(1000)])
    store.get_stats()
    with Commands(server) as commands:
        assert store.get_stats()["artifacts"] == 2500
    looked = [sum(map(number_of_entries, done)) for done in commands.inside]
    assert max(looked) <= 1000
    assert sum(looked) == 2500
    used = {words[0] for done in commands.inside for words in done}
    assert used == {"ZRANGE", "ZCARD", "ZCOUNT", "ZRANK", "ZSCORE"}


def test_recount_takes_few_round_trips(store, server):
    """Sessions are counted anew a hundred with each script, and a script looks at 1,000 records at most."""
    store.store_batch([{"data": b"x", "session_id": f"s{number}"} for number in range(250)])
    store.store_batch([{"data": b""}] * 1500, session_id="alice")
    catalog = store.scope.core.catalog
    catalog.recount()
    with Commands(server) as commands:
        catalog.recount()
    assert commands.sent == ["EVALSHA"] * len(commands.sent)
    assert len(commands.sent) <= 1 + 4 + 1  # the sessions, a hundred with each script, and the rest of a long one
    # beside records, the script asks for a key that exists
    looked = [sum(len(words) - 2 for words in done if words[0] == "MGET") for done in commands.inside]
    assert sum(looked) == 1500 + 250
    assert max(looked) <= 1000
    assert catalog.usage(None).artifacts == 1750


def number_of_entries(words):
    """Return how many entries of a sorted set a command requests."""
    return int(words[3]) - int(words[2]) + 1 if words[0] == "ZRANGE" else 0


def test_stats_of_what_is_removed_meanwhile(open_store, server, clock, few_at_once, monkeypatch):
    """Entries that were counted may be removed during the count: each of the others is counted once."""
    store = open_store(clock=clock)
    names = [f"{number % 7}{'äzÄé'[number % 4]}" for number in range(95)]
    store.store_batch([{"data": b"xy", "filename": name} for name in names], session_id="alice", ttl=60)
    (due,) = keys(server, "*due")
    lines = server.zrange(due, 0, -1)
    assert len(set(server.zmscore(due, lines))) == 1  # all of one moment, so that it is their names that order them
    counted = iter(range(0, 95, 10))
    look = store.scope.core.catalog._link.look

    def look_and_remove(*arguments):
        answer = look(*arguments)
        start = next(counted)
        store.delete_batch([line.rpartition("\0")[2] for line in lines[start + 5 : start + 10]])
        return answer

    monkeypatch.setattr(store.scope.core.catalog._link, "look", look_and_remove)
    stats = store.get_stats()
    assert (stats["artifacts"], stats["bytes"]) == (95, 190)
    assert server.zcard(due) == 50


def of_one_part(count):
    """Return session ids that Redis keeps in one index."""
    names = (f"s{number}" for number in itertools.count())
    return itertools.islice((name for name in names if grid.slot_tag("box", name)[:2] == "00"), count)


def test_stats_of_sessions(open_store, server, clock, few_at_once):
    """Stats count sessions that were extended since they were sorted, and not those that ended."""
    store = open_store(clock=clock, sandbox_id="box", session_ttl_hours=1)
    clock.now = clock.now // DAY * DAY  # within a day an end is written, and not sorted anew
    for number, session_id in enumerate(of_one_part(45)):
        store.store(b"", session_id=session_id)
        if number % 3 == 0:
            store.extend_session_ttl(session_id, 1)
    (sessions,) = keys(server, "*sessions")
    clock.advance(3600)
    assert server.zcount(sessions, "-inf", clock.now) == 45
    assert store.get_stats()["sessions"] == 15
    store.cleanup()
    assert server.zcount(sessions, clock.now, "+inf") == store.get_stats()["sessions"] == 15


def test_stats_of_sessions_sorted_meanwhile(open_store, server, clock, few_at_once, monkeypatch):
    """No session is missed when the session at which counting continues moves within the order meanwhile."""
    store = open_store(clock=clock, sandbox_id="box", session_ttl_hours=1)
    clock.now = clock.now // DAY * DAY
    for session_id in of_one_part(45):
        store.store(b"", session_id=session_id)
        store.extend_session_ttl(session_id, 1)
    (sessions,) = keys(server, "*sessions")
    clock.advance(3600)
    look = store.scope.core.catalog._link.look
    moved = []

    def look_and_sort(*arguments):
        answer = look(*arguments)
        if answer[-1]:
            moved.append(answer[-1].decode())
            server.zadd(sessions, {moved[-1]: clock.now + 3600})
        return answer

    monkeypatch.setattr(store.scope.core.catalog._link, "look", look_and_sort)
    assert store.get_stats()["sessions"] - len(moved) == 45  # those that moved are seen twice


def test_expired_sessions_keep_no_server_busy(open_store, server, clock, few_at_once):
    """A script of a cleanup looks at a limited number of sessions, also at extended ones."""
    store = open_store(clock=clock, sandbox_id="box", session_ttl_hours=1)
    clock.now = clock.now // DAY * DAY
    for number, session_id in enumerate([store.create_session() for _ in range(50)]):
        if number < 30:
            store.extend_session_ttl(session_id, 1)
    store.cleanup()
    clock.advance(3600)
    with Commands(server) as commands:
        assert store.cleanup().sessions == 20
    looked = [len([1 for words in done if words[0] == "HMGET"]) for done in commands.inside]
    assert max(looked) <= 10
    assert sum(looked) == 50


# At once


def test_no_update_is_lost(open_store):
    """200 changes of one artifact by 8 threads with compare-and-set are all made."""
    stores = [open_store(sandbox_id="box") for _ in range(2)]
    artifact_id = stores[0].store(b"x", session_id="alice", meta={"count": 0})
    numbers = iter(range(200))

    def count(store):
        for _ in numbers:
            while True:
                seen = store.metadata(artifact_id)
                try:
                    store.update_metadata(
                        artifact_id, meta={"count": seen.meta["count"] + 1}, if_revision=seen.revision
                    )
                except ConflictError:
                    continue
                break

    threads = [threading.Thread(target=count, args=(store,)) for store in stores * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metadata = stores[0].metadata(artifact_id)
    assert (metadata.meta["count"], metadata.revision) == (200, 201)


def test_sessions_changed_at_once(open_store):
    """Concurrent changes of one session are all made, and records inherit its present ttl."""
    stores = [open_store(sandbox_id="box", session_ttl_hours=1) for _ in range(4)]
    session_id = stores[0].create_session()

    def work(number, store):
        for step in range(10):
            store.update_session_metadata(session_id, {f"{number}-{step}": step})
            store.extend_session_ttl(session_id, 1)
            store.store(b"x", session_id=session_id)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = stores[0].scope.core.catalog.get_session(session_id, time.time())
    assert info.ttl == 41 * 3600
    assert len(info.custom_metadata) == 40
    records = stores[0].list_by_session(session_id)
    assert len(records) == 40
    assert max(record.expires_at for record in records) <= info.expires_at


def test_rename_while_listing(open_store):
    """An artifact that is constantly renamed is in each listing once."""
    store, other = (open_store(sandbox_id="box") for _ in range(2))
    ids = {store.store(b"x", session_id="alice", filename=f"{number}") for number in range(20)}
    moved = min(ids)
    done = threading.Event()

    def rename():
        while not done.is_set():
            other.move_file(moved, new_filename=f"{random.random()}")

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for _ in range(100):
            listed = [item.artifact_id for item in store.list_by_session("alice")]
            assert sorted(listed) == sorted(ids)
    finally:
        done.set()
        thread.join()


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://:hunter2@localhost",
        "redis://:hun/ter2@localhost",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@localhost?no_such_option=1",
        "redis+sentinel://:hunter2@localhost:26379",
        "redis+sentinel:///service",
        "redis+cluster://:hunter2@",
        "redis+cluster://:hunter2@localhost/3",
        "redis+cluster://:hunter2@localhost:x",
        "redis+other://:hunter2@localhost",
    ],
)
def test_malformed_url(url):
    """A malformed URL is refused when the store is built, and no part of it is shown."""
    with pytest.raises(InvalidInputError) as caught:
        ArtifactStore(session_provider="redis", redis_url=url)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_url_from_the_environment(monkeypatch, redis_url):
    """The argument overrides SESSION_REDIS_URL; the default is a server on this machine."""
    with ArtifactStore(session_provider="redis") as store:
        assert "redis_url='redis://localhost:6379/0'" in repr(store.scope.core.settings)
    monkeypatch.setenv("SESSION_PROVIDER", "redis")
    monkeypatch.setenv("SESSION_REDIS_URL", redis_url)
    with ArtifactStore() as store:
        assert store.retrieve(store.store(b"x")) == b"x"
    with ArtifactStore(redis_url="redis://127.0.0.1:1") as store, pytest.raises(SessionError, match="redis://127"):
        store.store(b"x")


def test_unix_socket(tmp_path_factory):
    """A server may be reached by a Unix socket."""
    folder = tmp_path_factory.mktemp("s")
    server = RedisServer(folder, "--unixsocket", str(folder / "s"))
    server.start()
    try:
        with ArtifactStore(session_provider="redis", redis_url=f"unix://{folder}/s?db=1") as store:
            assert store.retrieve(store.store(b"x")) == b"x"
        with server.client(db=1) as client:
            assert client.dbsize() > 0
    finally:
        server.stop()


def test_database_of_the_url(redis_url, redis_server):
    """The number in the URL's path is the database."""
    with ArtifactStore(session_provider="redis", redis_url=redis_url[:-1] + "3") as store:
        store.store(b"x")
    with redis_server.client(db=3) as client:
        assert client.dbsize() > 0


def test_closed_store_has_no_connections(open_store, server):
    """Closing a store closes its connections."""
    before = server.info("clients")["connected_clients"]
    store = open_store()
    store.store(b"x")
    assert server.info("clients")["connected_clients"] == before + 1
    store.close()
    with pytest.raises(ArtifactStoreError, match="closed"):
        store.store(b"x")
    wait_until(lambda: server.info("clients")["connected_clients"] == before)


# Doctor


def test_doctor(store, server):
    """The check reports facts of the server, and what may lose records."""
    facts = store.validate_configuration()["session"]
    info = server.info()
    assert facts["status"] == "ok"
    assert info.get("valkey_version", info["redis_version"]) in facts["server"]
    assert (facts["mode"], facts["persistence"], facts["eviction"]) == ("standalone", "off", "noeviction")
    assert "restart" in facts["warning"]
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("appendonly", "yes")
    facts = store.validate_configuration()["session"]
    server.config_set("maxmemory-policy", "noeviction")
    server.config_set("appendonly", "no")
    assert (facts["persistence"], facts["eviction"]) == ("aof", "allkeys-lru")
    assert "restart" not in facts["warning"]
    assert "allkeys-lru" in facts["warning"]
    server.config_set("save", "3600 1")
    facts = store.validate_configuration()["session"]
    server.config_set("save", "")
    assert facts["persistence"] == "rdb"
    assert "since its last snapshot" in facts["warning"]
    server.config_set("appendonly", "yes")
    facts = store.validate_configuration()["session"]
    server.config_set("appendonly", "no")
    assert "warning" not in facts


def test_doctor_with_few_permissions(redis_server, server):
    """A server that permits only what the store needs passes the check."""
    port = redis_server.port
    server.execute_command("ACL SETUSER", "app", "on", ">word", "~chuk:*", "-@all", "+@read", "+@write", "+@scripting")
    with ArtifactStore(session_provider="redis", redis_url=f"redis://app:word@127.0.0.1:{port}/0") as store:
        assert store.retrieve(store.store(b"x", session_id="alice")) == b"x"
        store.cleanup()
        facts = store.validate_configuration()["session"]
        assert (facts["status"], facts["server"]) == ("ok", "unknown: INFO is not permitted")
    server.execute_command("ACL DELUSER", "app")


def test_doctor_of_a_cluster(redis_cluster_url):
    """Facts that all nodes of a Cluster share are reported once."""
    with ArtifactStore(session_provider="redis", redis_url=redis_cluster_url) as store:
        facts = store.validate_configuration()["session"]
    assert (facts["mode"], facts["persistence"]) == ("cluster", "off")


# Damage


@pytest.mark.parametrize("record", [b"garbage", b"1\n{", b"1\n[]", b"1\n{}", b"1\nnull", b"1\n\xff"])
def test_damaged_record(store, server, record):
    """Reading a damaged record raises an error of the catalog; everything else works."""
    kept = store.store(b"kept", session_id="bob")
    neighbour = store.store(b"x", session_id="alice")
    artifact_id = store.store(b"x", session_id="alice")
    (key,) = keys(server, f"*record/{artifact_id}")
    server.set(key, record)
    for method in (lambda: store.metadata(artifact_id), lambda: store.retrieve_batch([kept, artifact_id])):
        with pytest.raises(SessionError):
            method()
    assert [item.artifact_id for item in store.list_by_session("alice")] == [neighbour]
    store.cleanup()
    assert store.delete(artifact_id)
    assert store.retrieve(kept) == b"kept"


def test_damaged_session(store, open_store, server):
    """A damaged session raises an error of the catalog."""
    session_id = store.create_session()
    (key,) = keys(server, "*session/*")
    server.hset(key, "info", "garbage")
    with pytest.raises(SessionError, match="damaged"):
        store.get_session_info(session_id)
    with pytest.raises(SessionError, match="damaged"):
        store.store(b"x", session_id=session_id)


def test_commands_are_packed_as_the_driver_packs_them():
    """A command leaves as redis-py would write it, whatever its words are."""
    command = ("EVALSHA", "a" * 40, 2, "key", "ä\u2028", b"\xff\r\n", "", "x" * 10_000, -1)
    driver = redis.connection.Connection()
    assert _packed(command) == b"".join(driver.pack_command(*command))
