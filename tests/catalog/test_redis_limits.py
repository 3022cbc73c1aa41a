"""The catalog in Redis at its limits: a full server, sessions of many records, lost responses."""

from __future__ import annotations

import contextlib

import pytest
import records
from records import NOW
from servers.proxy import Proxy
from servers.redis import RedisServer

from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog import new_session
from chuk_artifacts.catalog.redis import RedisCatalog
from chuk_artifacts.catalog.redis.url import open_link
from chuk_artifacts.errors import OutcomeUnknownError, SessionError
from chuk_artifacts.models import Pending, Superseded, timestamp

DAY = 86400.0


def record(number, **fields):
    """Return a record; seven filenames are shared."""
    usual = {"filename": f"f{number % 7}", "ttl": 60.0, "session_provider": "redis"}
    return records.record(number, **{**usual, **fields})


def ids(records):
    """Return the numbers of records."""
    return sorted(int(one.artifact_id[8:], 16) for one in records)


def page(catalog, session_id="alice", now=NOW):
    """Return a session's listing."""
    return catalog.page(session_id, prefix="", after=None, limit=100_000, now=now)


class Servers:
    """Servers, and catalogs on them."""

    def __init__(self, url, nodes, stack):
        self.url = url
        self.nodes = nodes
        self._stack = stack

    def open(self, *, url=None, max_retries=3):
        """Return a catalog."""
        link = open_link(url or self.url, "redis", max_connections=4, max_retries=max_retries)
        return self._stack.enter_context(contextlib.closing(RedisCatalog(link, "box", DAY)))

    def dumped(self):
        """Return the values of all keys, as Redis dumps them; the fields of a hash have no sequence."""
        return {
            key: node.hgetall(key) if node.type(key) == b"hash" else node.dump(key)
            for node in self.nodes
            for key in node.scan_iter("*")
        }

    @contextlib.contextmanager
    def full(self):
        """Leave the servers no free memory within a ``with`` block."""
        for node in self.nodes:
            node.config_set("maxmemory", 1)
        try:
            yield
        finally:
            for node in self.nodes:
                node.config_set("maxmemory", 0)


@pytest.fixture(params=["redis", "redis_cluster"])
def place(request):
    """Return one server, or a Cluster."""
    url = request.getfixturevalue(f"{request.param}_url")
    servers = request.getfixturevalue("redis_server" if request.param == "redis" else "redis_cluster")
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(node.client()) for node in getattr(servers, "nodes", [servers])]
        yield Servers(url, nodes, stack)


@pytest.fixture
def catalog(place):
    """Return a catalog."""
    return place.open()


# A full server


def test_failed_add_leaves_nothing(place, catalog):
    """A refused add leaves no record, entry or session, and changes nothing else."""
    catalog.add([record(1), record(2, session_id="bob")], now=NOW)
    before = place.dumped()
    with place.full():
        for number in range(20):  # some also remove entries of dropped records
            with pytest.raises(SessionError, match="maxmemory"):
                catalog.add([record(10 + number), record(30 + number)], now=NOW)
            with pytest.raises(SessionError, match="maxmemory"):
                catalog.add([record(50), record(51, session_id="bob"), record(52, session_id="carol")], now=NOW)
        with pytest.raises(SessionError, match="maxmemory"):
            catalog.create_session(new_session("dora", "box", now=NOW, ttl=60.0))
        with pytest.raises(SessionError, match="maxmemory"):
            catalog.replace(record(1, revision=2, summary="x" * 1000), expected_revision=1)
        assert place.dumped() == before
        assert ids(page(catalog)) == [1]


def test_full_server_can_be_emptied(place, catalog):
    """On a full server records, sessions and expired artifacts can be removed."""
    for session_id in ("alice", "bob", "carol"):
        catalog.add([record(number, session_id=session_id) for number in range(20)], now=NOW)
    with place.full():
        assert ids(catalog.remove([record(number).artifact_id for number in range(20)])) == list(range(20))
        assert ids(catalog.remove_session("bob", NOW, 7)) != []
        assert sum(len(catalog.remove_session("bob", NOW, 7)) for _ in range(2)) == 13
        assert catalog.remove_session("bob", NOW, 7) is None
        due = catalog.due(NOW + 60, 100)
        assert len(due.records) == 20
        assert len(catalog.remove([one.artifact_id for one in due.records], expired_at=NOW + 60)) == 20
        assert catalog.stats(NOW)["artifacts"] == 0
        assert catalog.expire_sessions(NOW + 3 * DAY) == 2
    assert [key for key in place.dumped() if b"removed/" not in key] == []


def test_release_on_a_full_server(place, catalog):
    """On a full server cleanup marks records as released, and removes superseded bytes from them."""
    until = timestamp(NOW + 30)
    awaited = record(3, ttl=None, revision=0, pending=Pending(until, True, None))
    updated = record(2, ttl=None)
    superseded = tuple(Superseded(f"{updated.key}~{number}", until, 1) for number in (7, 8, 9))
    catalog.add([record(1), updated, awaited], now=NOW)
    updated = updated.changed(revision=2, superseded=superseded)
    assert catalog.replace(updated, expected_revision=1)
    with place.full():
        changes = [
            (record(1, released=True, revision=2), 1),
            (updated.changed(superseded=superseded[2:]), 2),
            (awaited.changed(released=True, expires_at=awaited.due, revision=1), 0),
        ]
        assert catalog.replace_each(changes) == [True, True, True]
        for change in changes:  # also one at a time
            assert catalog.replace(change[0].changed(revision=9), expected_revision=change[0].revision)
    assert [one.released for one in catalog.get([record(number).artifact_id for number in (1, 2, 3)])] == [
        True,
        False,
        True,
    ]


def test_sessions_sorted_anew_on_a_full_server(place, catalog):
    """Sessions extended since they were sorted do not stop the removal of expired ones."""
    start = NOW // DAY * DAY  # within a day an end is written, and not sorted anew
    for number in range(10):
        catalog.create_session(new_session(f"s{number}", "box", now=start, ttl=60.0))
        if number % 2:
            catalog.update_session(f"s{number}", start, extend=60.0)
    with place.full():
        assert catalog.expire_sessions(start + 60, dry_run=True) == 5
        assert catalog.expire_sessions(start + 60) == 5
        assert catalog.expire_sessions(start + 60) == 0
        assert catalog.expire_sessions(start + 120) == 5


def test_cleanup_on_a_full_server(tmp_path, clock):
    """On a full server a cleanup removes expired artifacts with their bytes, and later their records."""
    server = RedisServer(tmp_path / "server", "--save", "")
    server.start()
    try:
        with (
            server.client() as client,
            ArtifactStore(session_provider="redis", redis_url=server.url, clock=clock) as store,
        ):
            kept = store.store(b"kept")
            store.store_batch([{"data": b"x"}] * 150, session_id="alice", ttl=60)
            clock.advance(60)
            client.config_set("maxmemory", 1)
            report = store.cleanup()
            assert (report.artifacts, report.bytes) == (150, 150)
            clock.advance(3600)
            store.cleanup()
            assert store.get_stats()["artifacts"] == 1
            assert store.delete_session("alice")
            assert store.retrieve(kept) == b"kept"
            assert "maxmemory" in store.validate_configuration()["session"]["message"]
            assert store.delete(kept)
    finally:
        server.stop()


def test_check_of_a_full_server(place, catalog):
    """A check writes a few KiB: it fails on a full server, and leaves nothing on any."""
    catalog.check()
    with place.full(), pytest.raises(SessionError, match="maxmemory"):
        catalog.check()
    assert place.dumped() == {}


def test_server_that_is_nearly_full(single):
    """The check warns of a server that is nearly full."""
    catalog, client = single.open(), single.nodes[0]
    client.set("another's", bytes(20_000_000))
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.08))
    try:
        assert "nearly full" in catalog.check()["warning"]
    finally:
        client.config_set("maxmemory", 0)
    assert "nearly full" not in catalog.check()["warning"]


# Sessions of many records


def test_large_session_goes_in_portions(place, catalog):
    """No script removes or reads more than a few hundred records of a session."""
    numbers = range(1100)
    for start in numbers[::100]:
        catalog.add([record(number) for number in range(start, start + 100)], now=NOW)
    for node in place.nodes:
        node.config_resetstat()
    removed = []
    while (portion := catalog.remove_session("alice", NOW, 500)) is not None:
        removed += ids(portion)
        assert len(portion) <= 500
        if len(portion) < 500:
            break
    assert sorted(removed) == list(numbers)
    commands = [node.info("commandstats") for node in place.nodes]
    scripts = sum(
        stats.get(f"cmdstat_{name}", {}).get("calls", 0) for stats in commands for name in ("evalsha", "eval")
    )
    assert 5 <= scripts <= 8  # of 250 at most, and one or two in which the server gets to know it
    assert catalog.get_session("alice", NOW) is None


def test_many_records_go_in_portions(single):
    """No script removes or verifies more than a few hundred records, however many the caller names."""
    catalog, client = single.open(), single.nodes[0]
    for start in range(0, 1200, 100):
        catalog.add([record(number) for number in range(start, start + 100)], now=NOW)
    for call, expected in (
        (catalog.verify, 0),
        (lambda: len(catalog.remove([record(number).artifact_id for number in range(1200)])), 1200),
    ):
        client.config_resetstat()
        assert call() == expected
        stats = client.info("commandstats")
        scripts = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))
        assert scripts in {3, 4}  # of 500 at most, and one in which the server gets to know it


def test_removed_portions_are_forgotten(place, catalog):
    """The server keeps the result of a removal for one call, and at most a minute."""
    catalog.add([record(number) for number in range(50)], now=NOW)
    for _ in range(5):
        assert len(catalog.remove_session("alice", NOW, 10)) == 10
        kept = [node.pttl(key) for node in place.nodes for key in node.scan_iter("*removed/*")]
        assert len(kept) == 1
        assert 0 < kept[0] <= 60_000


def test_another_process_finishes(place, catalog):
    """Another catalog can finish the removal of a session, and listings show the rest until then."""
    catalog.add([record(number) for number in range(30)], now=NOW)
    removed = ids(catalog.remove_session("alice", NOW, 10))
    other = place.open()
    assert sorted(removed + ids(page(other))) == list(range(30))
    assert sorted(removed + ids(other.remove_session("alice", NOW, 100))) == list(range(30))
    assert other.remove_session("alice", NOW, 100) is None
    assert catalog.remove_session("alice", NOW, 100) is None


# Lost answers


@pytest.fixture
def proxy(redis_url, redis_server):
    """Return a proxy before an empty server."""
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def single(redis_url, redis_server):
    """Return one server."""
    with contextlib.ExitStack() as stack:
        yield Servers(redis_url, [stack.enter_context(redis_server.client())], stack)


def far(single, proxy, **options):
    """Return a catalog behind the proxy, whose server knows the scripts."""
    catalog = single.open(url=f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=1", **options)
    catalog.remove_session("none", NOW, 1)
    catalog.add([record(number) for number in range(25)], now=NOW)
    return catalog


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_answer_of_a_portion(single, proxy, lost):
    """When the response to a portion is lost, also the last, its records are still returned, once."""
    catalog = far(single, proxy)
    removed = []
    for number in (1, 2, 3):
        if number == lost:
            proxy.cut_after = 0
        removed += ids(catalog.remove_session("alice", NOW, 10))
    assert sorted(removed) == list(range(25))
    assert catalog.remove_session("alice", NOW, 10) is None


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_portion_without_an_answer(single, proxy, lost):
    """When a call fails without a response, the next one returns its removed records: no bytes are lost."""
    catalog = far(single, proxy, max_retries=0)
    removed = []
    for number in (1, 2, 3):
        if number == lost:
            proxy.cut_after = 0
            with pytest.raises(OutcomeUnknownError):
                catalog.remove_session("alice", NOW, 10)
        removed += ids(catalog.remove_session("alice", NOW, 10))
    assert sorted(removed) == list(range(25))
    assert catalog.remove_session("alice", NOW, 10) is None


def test_call_of_several_portions_without_an_answer(single, proxy, monkeypatch):
    """When a call fails after some portions, the next one returns these too, whatever its limit."""
    monkeypatch.setattr("chuk_artifacts.catalog.redis.catalog._SESSION_AT_ONCE", 6)
    for limit in (100, 12, 3):
        catalog = far(single, proxy, max_retries=0)
        run = catalog._link.run
        answers = []

        def run_and_lose(*arguments, run=run, answers=answers):
            answers.append(arguments)
            if len(answers) == 3:
                proxy.cut_after = 0
            return run(*arguments)

        monkeypatch.setattr(catalog._link, "run", run_and_lose)
        with pytest.raises(OutcomeUnknownError):
            catalog.remove_session("alice", NOW, 100)
        removed = []
        while (portion := catalog.remove_session("alice", NOW, limit)) is not None:
            removed += ids(portion)
        assert sorted(removed) == list(range(25))


def test_lost_answer_of_an_empty_session(single, proxy):
    """When the response to removing an empty session is lost, the result is still that it existed."""
    catalog = far(single, proxy)
    catalog.create_session(new_session("empty", "box", now=NOW, ttl=60.0))
    proxy.cut_after = 0
    assert catalog.remove_session("empty", NOW, 10) == []
    assert catalog.remove_session("empty", NOW, 10) is None


def test_lost_answer_of_the_identity(single, proxy):
    """When the response to a new identity is lost, a repetition returns the same, and it never expires."""
    catalog = far(single, proxy)
    catalog.identity("warm")
    single.nodes[0].flushdb()
    proxy.cut_after = 0
    assert catalog.identity("one") == "one"
    assert single.open().identity("two") == "one"
    (key,) = single.nodes[0].scan_iter("*identity")
    assert single.nodes[0].pttl(key) == -1
