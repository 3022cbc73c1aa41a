"""A store when Redis is down, slow, full, or loses a response."""

from __future__ import annotations

import pathlib
import signal
import threading
import time

import pytest
import redis
from servers.proxy import Proxy
from servers.redis import RedisServer

from chuk_artifacts import ArtifactStore, ConflictError, OutcomeUnknownError, SessionError
from chuk_artifacts.catalog import new_session
from chuk_artifacts.catalog.redis import RedisCatalog


@pytest.fixture
def server(tmp_path):
    """Return a server of the test's own, which keeps its data over a restart."""
    # With other values of appendfsync a write may wait for the disk in the memory of the server, and a kill loses it.
    server = RedisServer(tmp_path / "server", "--appendonly", "yes", "--appendfsync", "no")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def open_store(tmp_path):
    """Return a function that opens a store on disk with its records at a URL."""
    stores = []

    def open_one(url, **options):
        stores.append(
            ArtifactStore(
                storage_provider="filesystem",
                fs_root=tmp_path / "bytes",
                session_provider="redis",
                redis_url=f"{url}?socket_timeout=0.3",
                **options,
            )
        )
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(server, open_store):
    """Return a store whose records are in a server of its own."""
    return open_store(server.url)


@pytest.fixture
def proxy(redis_url, redis_server):
    """Return a proxy before an empty server."""
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def far_store(proxy, open_store):
    """Return a store behind the proxy, with an open connection."""
    store = open_store(f"redis://127.0.0.1:{proxy.port}/0")
    store.store(b"first", session_id="alice", filename="first")
    return store


def stored_objects(tmp_path):
    """Return the names of all artifacts' bytes on disk."""
    return {path.name for path in pathlib.Path(tmp_path / "bytes").rglob("grid/**/*") if path.is_file()}


def assert_whole(store):
    """Assert that every record has its bytes."""
    for metadata in store.list_by_session("alice"):
        assert len(store.retrieve(metadata.artifact_id)) == metadata.bytes


def methods(store, artifact_id):
    """Return a call of each method that needs the catalog."""
    return {
        "store": lambda: store.store(b"x", session_id="alice"),
        "store_batch": lambda: store.store_batch([{"data": b"x"}], session_id="alice"),
        "retrieve": lambda: store.retrieve(artifact_id),
        "exists": lambda: store.exists(artifact_id),
        "metadata": lambda: store.metadata(artifact_id),
        "update_metadata": lambda: store.update_metadata(artifact_id, summary="new"),
        "update_file": lambda: store.update_file(artifact_id, data=b"new"),
        "copy_file": lambda: store.copy_file(artifact_id),
        "delete": lambda: store.delete(artifact_id),
        "list": lambda: store.list_by_session("alice"),
        "create_session": store.create_session,
        "validate_session": lambda: store.validate_session("alice"),
        "update_session_metadata": lambda: store.update_session_metadata("alice", {"a": 1}),
        "delete_session": lambda: store.delete_session("alice"),
        "cleanup": store.cleanup,
        "get_stats": store.get_stats,
    }


def test_outage_is_an_error(server, open_store, tmp_path, subtests):
    """While the server is down every method raises SessionError, never not-found, and no bytes are left behind."""
    store = open_store(server.url, max_retries=1)
    artifact_id = store.store(b"before", session_id="alice")
    before = stored_objects(tmp_path)
    server.stop()
    for name, method in methods(store, artifact_id).items():
        with subtests.test(name), pytest.raises(SessionError, match="catalog redis:"):
            method()
    assert stored_objects(tmp_path) == before
    assert store.validate_configuration()["session"]["status"] == "error"


def test_restart(server, store):
    """A store reconnects after a restart in its first call, and sends the lost scripts."""
    artifact_id = store.store(b"before", session_id="alice")
    server.stop()
    server.start()
    assert store.retrieve(artifact_id) == b"before"
    assert store.retrieve(store.store(b"after", session_id="alice")) == b"after"


def test_outage_before_the_first_call(server, open_store):
    """A store can be opened while its server is down, and works once it is up."""
    server.stop()
    store = open_store(server.url)
    with pytest.raises(SessionError):
        store.store(b"x")
    server.start()
    assert store.retrieve(store.store(b"x")) == b"x"


def test_hanging_server(server, open_store, subtests):
    """With a hanging server every method raises after the timeout, and none leaves a record without bytes."""
    store = open_store(server.url, max_retries=0)
    artifact_id = store.store(b"before", session_id="alice")
    server.send(signal.SIGSTOP)
    try:
        for name, method in methods(store, artifact_id).items():
            with subtests.test(name), pytest.raises(SessionError, match="Timeout"):
                method()
    finally:
        server.send(signal.SIGCONT)
    assert_whole(store)


def test_refused_for_memory(server, store, tmp_path):
    """When the server is out of memory the error says so, new bytes are removed, and reads work."""
    artifact_id = store.store(b"before", session_id="alice")
    before = stored_objects(tmp_path)
    with server.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(SessionError, match="maxmemory"):
        store.store(b"x", session_id="alice")
    with pytest.raises(SessionError, match="maxmemory"):
        store.store(b"x", session_id="new")
    assert stored_objects(tmp_path) == before
    assert store.retrieve(artifact_id) == b"before"
    assert store.get_stats()["artifacts"] == 1
    assert store.delete(artifact_id)


def test_refused_by_a_replica(server, store, tmp_path):
    """When the server becomes a replica the error says read-only, and new bytes are removed."""
    artifact_id = store.store(b"before", session_id="alice")
    before = stored_objects(tmp_path)
    with server.client() as client:
        client.replicaof("127.0.0.1", server.port)
    with pytest.raises(SessionError, match="read only"):
        store.store(b"x", session_id="alice")
    assert stored_objects(tmp_path) == before
    assert store.retrieve(artifact_id) == b"before"
    with server.client() as client:
        client.replicaof("NO", "ONE")
    store.store(b"x", session_id="alice")


def test_wrong_password(server, open_store, caplog):
    """A wrong password raises SessionError at once, and is never shown."""
    with server.client() as client:
        client.config_set("requirepass", "right")
    caplog.set_level("DEBUG")
    store = open_store(server.url.replace("//", "//:hunter2@"))
    with pytest.raises(SessionError) as caught:
        store.store(b"x")
    messages = [
        str(caught.value),
        repr(store),
        repr(store.scope.core.settings),
        str(store.validate_configuration()),
        caplog.text,
    ]
    assert "hunter2" not in " ".join(messages)
    assert open_store(server.url.replace("//", "//:right@")).store(b"x")


def lose_next_answer(proxy):
    """Forward the next command to the server, and lose the response."""
    proxy.cut_after = 0


def test_lost_answer_of_store(proxy, far_store):
    """When the response to a new record is lost the command is repeated, and there is one record."""
    lose_next_answer(proxy)
    artifact_id = far_store.store(b"x", session_id="alice", filename="x")
    assert [item.artifact_id for item in far_store.list_files("alice", "x")] == [artifact_id]
    assert far_store.get_stats()["artifacts"] == 2
    lose_next_answer(proxy)
    artifact_id = far_store.store(b"y", session_id="new")
    assert far_store.list_by_session("new")[0].artifact_id == artifact_id


def test_lost_answer_of_merge(proxy, far_store):
    """When the response to merged records is lost the command is repeated, and says what was written."""
    catalog, now = far_store.scope.core.catalog, far_store.scope.core.clock()
    first, second = (far_store.metadata(far_store.store(b"x", session_id="alice")) for _ in range(2))
    catalog.remove([first.artifact_id])
    lose_next_answer(proxy)
    assert catalog.merge([first, second], now=now) == [True, False]
    lose_next_answer(proxy)
    later = [first.changed(revision=2), second.changed(revision=2)]
    assert catalog.merge(later, now=now, replace_older=True) == [True, True]
    assert catalog.merge(later, now=now, replace_older=True) == [False, False]
    lose_next_answer(proxy)
    assert catalog.merge_sessions([new_session("new", first.sandbox_id, now=now, ttl=60)], now=now) == [True]
    assert far_store.usage("alice").artifacts == 3


def test_lost_answer_of_update(proxy, far_store, monkeypatch):
    """When the response to a change is lost the change is made once."""
    artifact_id = far_store.store(b"x", session_id="alice", ttl=100)
    far_store.update_metadata(artifact_id, summary="the server has seen the script")
    connection_used = proxy.accepted
    replace = RedisCatalog.replace

    def replace_and_lose(*arguments, **options):
        lose_next_answer(proxy)
        return replace(*arguments, **options)

    monkeypatch.setattr(RedisCatalog, "replace", replace_and_lose)
    assert far_store.extend_ttl(artifact_id, 50).ttl == 150
    assert proxy.accepted > connection_used
    metadata = far_store.metadata(artifact_id)
    assert (metadata.ttl, metadata.revision) == (150, 3)


def test_lost_answer_of_delete(proxy, far_store):
    """When the response to a removal is lost, delete does not claim that nothing existed."""
    artifact_id = far_store.store(b"x", session_id="alice")
    far_store.delete_batch(["0" * 32])  # the server has seen the scripts
    far_store.delete_session("none")
    lose_next_answer(proxy)
    with pytest.raises(SessionError, match="may have been"):
        far_store.delete(artifact_id)
    assert not far_store.exists(artifact_id)
    lose_next_answer(proxy)
    assert far_store.delete_session("alice")
    assert not far_store.validate_session("alice")


def test_lost_answer_of_cleanup(proxy, open_store, clock, tmp_path, monkeypatch):
    """When the response to a cleanup's changes is lost they are made once, and the bytes are removed."""
    store = open_store(f"redis://127.0.0.1:{proxy.port}/0", clock=clock)
    for _ in range(2):
        store.store_batch([{"data": b"x"}] * 20, session_id="alice", ttl=60)
        clock.advance(60)
        report = store.cleanup()  # the first one lets the server see the scripts
        assert (report.artifacts, report.bytes) == (20, 20)
        assert stored_objects(tmp_path) == set()
        replace_each = RedisCatalog.replace_each

        def replace_and_lose(*arguments, call=replace_each):
            lose_next_answer(proxy)
            return call(*arguments)

        monkeypatch.setattr(RedisCatalog, "replace_each", replace_and_lose)


def test_lost_answer_of_a_read(proxy, open_store, subtests):
    """When a read gets no response, the error does not say that something may have changed."""
    store = open_store(f"redis://127.0.0.1:{proxy.port}/0", max_retries=0)
    artifact_id = store.store(b"x", session_id="alice")
    looks = {
        "get_stats": store.get_stats,
        "list": lambda: store.list_by_session("alice"),
        "retrieve": lambda: store.retrieve(artifact_id),
        "get_session_info": lambda: store.get_session_info("alice"),
    }
    for name, look in looks.items():
        look()
        lose_next_answer(proxy)
        with subtests.test(name), pytest.raises(SessionError) as caught:
            look()
        assert type(caught.value) is SessionError
    store.store(b"y", session_id="alice")  # connected again
    lose_next_answer(proxy)
    with pytest.raises(OutcomeUnknownError):
        store.store(b"y", session_id="alice")


def test_lost_answer_of_session(proxy, far_store):
    """When the response to a change of a session is lost the change is made once, and a new session exists."""
    lose_next_answer(proxy)
    session_id = far_store.create_session(ttl_hours=1)
    before = far_store.scope.core.catalog.get_session(session_id, time.time())
    lose_next_answer(proxy)
    assert far_store.update_session_metadata(session_id, {"the server": "has seen the script"})
    lose_next_answer(proxy)
    assert far_store.extend_session_ttl(session_id, 1)
    after = far_store.scope.core.catalog.get_session(session_id, time.time())
    assert (before.ttl, after.ttl) == (3600, 7200)


def test_way_cut_for_good_after_sending(proxy, far_store):
    """When the connection fails for good after sending, the bytes stay, because the record may exist."""
    proxy.refusing = True
    lose_next_answer(proxy)
    with pytest.raises(SessionError):
        far_store.store(b"kept", session_id="alice", filename="kept")
    proxy.refusing = False
    (kept,) = far_store.list_files("alice", "kept")
    assert far_store.retrieve(kept.artifact_id) == b"kept"


def test_answer_cut_in_the_middle(proxy, far_store):
    """A truncated response is requested again, and never taken for another one."""
    artifact_id = far_store.store(b"x" * 10, session_id="alice", summary="s" * 1000)
    for length in (1, 5, 300):
        proxy.cut_after = length
        assert far_store.metadata(artifact_id).summary == "s" * 1000
        assert far_store.exists(artifact_id)


def test_silent_network(proxy, far_store):
    """A network that drops all packets is an error within the timeouts, and harmless once it works again."""
    proxy.silent = True
    with pytest.raises(SessionError):
        far_store.metadata("0" * 32)
    proxy.silent = False
    assert len(far_store.list_by_session("alice")) == 1


def test_no_repetition_when_none_is_wanted(proxy, open_store):
    """With max_retries=0 a lost response is an error at once."""
    store = open_store(f"redis://127.0.0.1:{proxy.port}/0", max_retries=0)
    artifact_id = store.store(b"x", session_id="alice")
    lose_next_answer(proxy)
    with pytest.raises(SessionError):
        store.metadata(artifact_id)
    assert store.retrieve(artifact_id) == b"x"


def test_pool_is_bounded(redis_url, redis_server):
    """More threads than max_connections wait for each other, and use no more connections."""
    with (
        redis_server.client() as client,
        ArtifactStore(session_provider="redis", redis_url=redis_url, max_connections=2) as store,
    ):
        others = client.info("clients")["connected_clients"]
        threads = [
            threading.Thread(target=lambda: [store.store(b"x", session_id="alice") for _ in range(20)])
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, client.info("clients")["connected_clients"] - others)
        assert most <= 2
        assert len(store.list_by_session("alice")) == 320


def test_interrupted_call_does_not_confuse_the_next(proxy, far_store, monkeypatch):
    """After a call was interrupted while it waited, the next one gets its own response."""
    artifact_id = far_store.store(b"x", session_id="alice")
    read = redis.Connection.read_response

    def interrupted(self, *arguments, **options):
        monkeypatch.setattr(redis.Connection, "read_response", read)
        raise KeyboardInterrupt

    monkeypatch.setattr(redis.Connection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        far_store.list_by_session("alice")
    assert far_store.metadata(artifact_id).artifact_id == artifact_id


def test_conflict_is_not_repeated(redis_url):
    """A conflict is not taken for a lost response."""
    with ArtifactStore(session_provider="redis", redis_url=redis_url) as store:
        artifact_id = store.store(b"x", session_id="alice")
        store.update_metadata(artifact_id, summary="a", if_revision=1)
        with pytest.raises(ConflictError):
            store.update_metadata(artifact_id, summary="a", if_revision=1)
