"""Stores on Redis with many processes, nodes of a Cluster, or a master and its replicas."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import pickle
import random
import subprocess
import threading
import time
import traceback

import pytest
import redis
from servers.redis import RedisSentinel, RedisServer

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, ConflictError, SessionError

PROCESSES = 8
STEPS_EACH = 250
SESSIONS = 5
SECRET = "hunter2"

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def open_on_disk(root, url, **options):
    """Return a store with its bytes on disk."""
    options = {"storage_provider": "filesystem", "fs_root": root, "session_provider": "redis", **options}
    return ArtifactStore(redis_url=url, **options)


def assert_consistent(store, clients):
    """Assert that records, indexes and bytes agree exactly."""
    records = [
        record
        for number in range(SESSIONS)
        for record in store.scope.core.catalog.page(f"s{number}", prefix="", after=None, limit=100_000, now=time.time())
    ]
    sandbox_id = store.get_sandbox_info()["sandbox_id"]
    listed = {record.artifact_id for record in records}
    names = [key.decode() for client in clients for key in client.scan_iter("*")]
    assert {name.rpartition("/")[2] for name in names if "record/" in name} == listed
    members = collections.Counter()
    for client in clients:
        for key in client.scan_iter("*/due"):
            members.update(line.split(b"\0")[-1].decode() for line in client.zrange(key, 0, -1))
    assert members == collections.Counter(listed)
    objects = {item.key for item in store.scope.core.storage.list_objects(f"grid/{sandbox_id}/")}
    assert objects == {key for record in records for key in record.all_bytes}
    for record in records:
        assert len(store.retrieve(record.artifact_id)) == record.bytes
    stats = store.get_stats()
    assert (stats["artifacts"], stats["bytes"]) == (len(records), sum(record.bytes for record in records))


def act_at_random(root, url, seed):
    """Store, change, rename and delete at random, also artifacts of other processes."""
    chance = random.Random(seed)
    with open_on_disk(root, url) as store:
        for step in range(STEPS_EACH):
            session_id = f"s{chance.randrange(SESSIONS)}"
            content = f"{seed}-{step}".encode() * chance.randrange(1, 50)
            known = store.list_by_session(session_id, limit=5)
            act = chance.choice(["store", "store", "store", "update", "rename", "delete", "delete", "batch"])
            try:
                if act == "store" or not known:
                    store.store(content, session_id=session_id, filename=f"{chance.random()}")
                elif act == "batch":
                    store.store_batch([{"data": content, "filename": "b"}] * 3, session_id=session_id)
                elif act == "update":
                    store.update_file(chance.choice(known).artifact_id, data=content)
                elif act == "rename":
                    store.move_file(chance.choice(known).artifact_id, new_filename=f"{chance.random()}")
                else:
                    store.delete(chance.choice(known).artifact_id)
            except (ArtifactNotFoundError, ConflictError):
                pass  # another process was quicker


@pytest.mark.parametrize("url", ["redis_url", "redis_cluster_url"])
def test_many_processes(url, request, tmp_path):
    """After 2,000 steps of 8 processes at random, records, indexes and bytes agree exactly."""
    address = request.getfixturevalue(url)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=act_at_random, args=(tmp_path, address, seed)) for seed in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    servers = (
        request.getfixturevalue("redis_cluster").nodes
        if "cluster" in url
        else [request.getfixturevalue("redis_server")]
    )
    with open_on_disk(tmp_path, address) as store:
        assert_consistent(store, [server.client() for server in servers])
        for number in range(SESSIONS):
            store.delete_session(f"s{number}")
        assert store.get_stats()["artifacts"] == 0


# Fork and pickle


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("url", ["redis_url", "redis_cluster_url"])
def test_fork_amid_calls(url, request, tmp_path):
    """Children forked while other threads are in calls work, and so does the parent."""
    with open_on_disk(tmp_path, request.getfixturevalue(url)) as store:
        artifact_id = store.store(b"parent", session_id="s0")
        done = threading.Event()
        failures = []

        def work():
            while not done.is_set():
                try:
                    assert store.metadata(artifact_id).artifact_id == artifact_id
                    store.store(b"x", session_id="s0")
                except Exception as error:  # noqa: BLE001 - asserted below
                    failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        codes = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if store.retrieve(artifact_id) == b"parent" and store.store(b"c", session_id="s1") else 2
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        done.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 10
        assert failures == []
        assert len(store.list_by_session("s1")) == 10


def test_pickle_carries_no_password(tmp_path, monkeypatch):
    """A pickled store has no password; the unpickled one takes it from its own environment."""
    server = RedisServer(tmp_path / "server", "--requirepass", SECRET)
    server.start()
    try:
        address = f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
        with open_on_disk(tmp_path / "bytes", address) as store:
            artifact_id = store.store(b"x")
            pickled = pickle.dumps(store)
        assert SECRET.encode() not in pickled
        with pickle.loads(pickled) as copy, pytest.raises(SessionError, match=r"(?i)auth"):
            copy.retrieve(artifact_id)
        monkeypatch.setenv("SESSION_REDIS_URL", address)
        with pickle.loads(pickled) as copy:
            assert copy.retrieve(artifact_id) == b"x"
        monkeypatch.setenv("SESSION_REDIS_URL", f"redis://:{SECRET}@elsewhere:{server.port}/0")
        with pickle.loads(pickled) as copy:
            assert "elsewhere" not in repr(copy.scope.core.settings)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{SECRET}@host:1/0", "redis://host:1/0"),
        (f"rediss://user:{SECRET}@host:1/0?socket_timeout=3", "rediss://user@host:1/0?socket_timeout=3"),
        (f"unix:///path?password={SECRET}&db=1", "unix:///path?db=1"),
        (f"redis+sentinel://u:{SECRET}@a,b/s/0?sentinel_password={SECRET}", "redis+sentinel://u@a,b/s/0"),
        (f"redis+cluster://:{SECRET}@a:1,b:2", "redis+cluster://a:1,b:2"),
    ],
)
def test_url_is_shown_without_passwords(url, shown):
    """A URL is shown without its passwords, otherwise complete."""
    with ArtifactStore(session_provider="redis", redis_url=url) as store:
        assert f"redis_url='{shown}'" in repr(store.scope.core.settings)
        assert SECRET.encode() not in pickle.dumps(store)


# Cluster


def slot_of(node, key):
    """Return the slot of a key."""
    with node.client() as client:
        return client.execute_command("CLUSTER KEYSLOT", key)


def test_sessions_spread_over_the_cluster(redis_cluster, redis_cluster_url, tmp_path):
    """Sessions spread over all nodes, and all keys of one session are on one node."""
    with open_on_disk(tmp_path, redis_cluster_url) as store:
        ids = [store.store(b"x", session_id=f"s{number}") for number in range(30)]
        assert store.retrieve_batch(ids) == [b"x"] * 30
        for node in redis_cluster.nodes:
            with node.client() as client:
                names = [key.decode() for key in client.scan_iter("*")]
            kinds = collections.Counter(name.partition("/")[2].partition("/")[0] for name in names)
            assert kinds["record"] == kinds["session"] == kinds["index"] > 0


def test_batch_over_the_cluster_is_whole(redis_cluster_url, redis_cluster, tmp_path):
    """When a batch over several nodes fails on one, its records on the others are removed."""
    with open_on_disk(tmp_path, redis_cluster_url, max_retries=0) as store:
        items = [{"data": b"x", "session_id": f"s{number}"} for number in range(SESSIONS)]
        store.store_batch(items)
        before = store.get_stats()["artifacts"]
        with redis_cluster.nodes[2].client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(SessionError, match="maxmemory"):
                store.store_batch([{"data": b"x", "session_id": f"s{number}"} for number in range(50)])
            client.config_set("maxmemory", 0)
        assert store.get_stats()["artifacts"] == before
        assert (
            len(list(store.scope.core.storage.list_objects(f"grid/{store.get_sandbox_info()['sandbox_id']}/")))
            == before
        )


def test_slot_that_moves(redis_cluster, redis_cluster_url, tmp_path, monkeypatch):
    """While a slot moves between nodes, each call works or raises, and nothing is lost or doubled."""
    monkeypatch.setattr(redis.RedisCluster, "RedisClusterRequestTTL", 4)  # so many attempts, not 16
    with open_on_disk(tmp_path, redis_cluster_url, max_retries=0) as store:
        expected = {store.store(b"x", session_id="s0", filename=f"{number}"): None for number in range(12)}
        slot = slot_of(redis_cluster.nodes[0], f"{{{next(iter(expected))[:2]}}}")
        source = next(node for node in redis_cluster.nodes if count_keys(node, slot))
        target = next(node for node in redis_cluster.nodes if node is not source)
        with source.client() as old, target.client() as new:
            names = [old.execute_command("CLUSTER MYID"), new.execute_command("CLUSTER MYID")]
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                key = random.choice(keys)
                old.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                use(store, expected)
            use(store, expected)
            for node in redis_cluster.nodes:
                with node.client() as client:
                    client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])
        assert {item.artifact_id: item.summary or None for item in store.list_by_session("s0")} == expected
        assert_consistent(store, [node.client() for node in redis_cluster.nodes])
        for artifact_id in expected:
            assert store.delete(artifact_id)
        assert store.list_by_session("s0") == []


def count_keys(node, slot):
    """Return how many keys of a slot a node has."""
    with node.client() as client:
        return client.execute_command("CLUSTER COUNTKEYSINSLOT", slot)


def use(store, expected):
    """Call each kind of method, and record the changes; a call that raises must not have changed anything."""
    known = random.choice(list(expected))
    with contextlib.suppress(SessionError):
        assert store.retrieve(known) == b"x"
    with contextlib.suppress(SessionError):
        assert {item.artifact_id for item in store.list_by_session("s0")} == set(expected)
    with contextlib.suppress(SessionError):
        expected[store.store(b"x", session_id="s0", filename="y")] = None
    with contextlib.suppress(SessionError):
        assert store.update_metadata(known, summary=known).summary == known
        expected[known] = known
    with contextlib.suppress(SessionError):
        store.cleanup()


# Sentinel


def test_sentinel_that_is_not_there(tmp_path):
    """An unreachable Sentinel is an error that shows no password, not even in its traceback."""
    url = f"redis+sentinel://:{SECRET}@127.0.0.1:1/main/0?sentinel_password={SECRET}"
    with open_on_disk(tmp_path, url, max_retries=0) as store:
        with pytest.raises(SessionError, match="no Sentinel names a master") as caught:
            store.store(b"x")
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert "no Sentinel names a master" in store.validate_configuration()["session"]["message"]


def test_master_dies(every_server, tmp_path):
    """When the master dies during 200 stores, each returned id can be retrieved."""
    servers = RedisSentinel(tmp_path / "servers", patience=2)
    servers.start()
    try:
        with open_on_disk(tmp_path / "bytes", servers.url) as store:
            stored, failed = {}, 0
            while len(stored) < 200:
                if len(stored) == 100 and not failed:
                    servers.master.stop()
                content = f"{len(stored)}".encode()
                try:
                    stored[store.store(content, session_id="s0", filename=content.decode())] = content
                except SessionError:
                    failed += 1
            assert failed > 0
            assert store.retrieve_batch(stored) == list(stored.values())
            for item in store.list_by_session("s0"):
                assert len(store.retrieve(item.artifact_id)) == item.bytes
    finally:
        servers.stop()


# TLS


@pytest.fixture
def certificate(tmp_path):
    """Return the paths of a certificate of 127.0.0.1 and its key."""
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(
            [*command, *names, "-out", str(paths[0]), "-keyout", str(paths[1])], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no openssl here")
    return paths


def test_tls(tmp_path, certificate):
    """A server may be reached by TLS, if its certificate is trusted."""
    path, key = map(str, certificate)
    server = RedisServer(tmp_path / "server")
    port = server.port + 1
    server._command += ["--tls-port", str(port), "--tls-cert-file", path, "--tls-key-file", key]
    server._command += ["--tls-auth-clients", "no"]
    try:
        server.start()
    except RuntimeError:
        pytest.skip("this server was built without TLS")
    try:
        with open_on_disk(tmp_path / "bytes", f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={path}") as store:
            assert store.retrieve(store.store(b"x")) == b"x"
        with (
            open_on_disk(tmp_path / "bytes", f"rediss://127.0.0.1:{port}/0") as store,
            pytest.raises(SessionError, match=r"(?i)certificate"),
        ):
            store.store(b"x")
    finally:
        server.stop()
