"""A store when PostgreSQL is down, slow, in conflict, failing over, or loses a response."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import threading

import pytest
from mounting import mounted
from servers.postgres import PostgresServer, running, wait_until
from servers.proxy import Proxy

from chuk_artifacts import ArtifactStore, OutcomeUnknownError, SessionError

psycopg = pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")

from chuk_artifacts.catalog.postgres import link as links  # noqa: E402 - where its driver is
from chuk_artifacts.catalog.postgres.errors import OUTCOMES, Outcome, message_of, outcome_of  # noqa: E402

OUTAGE = "catalog postgresql:"


@pytest.fixture(scope="module")
def own_server():
    """Return a server of this module's own, which keeps what it acknowledges."""
    with running() as server:
        yield server


@pytest.fixture
def server(own_server):
    """Return a running server with an empty catalog; a test may stop it."""
    own_server.flush()
    yield own_server
    own_server.stop()
    own_server.start()


@pytest.fixture
def open_store(tmp_path):
    """Return a function that opens a store on disk with its records at a URL."""
    stores = []

    def open_one(url, **options):
        options = {"sandbox_id": "box", "storage_provider": "filesystem", "fs_root": tmp_path / "bytes", **options}
        stores.append(ArtifactStore(session_provider="postgres", postgres_url=url, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def proxy(postgres_url, postgres_server):
    """Return a proxy before an empty catalog."""
    with Proxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def far_store(proxy, open_store):
    """Return a store behind the proxy, with an open connection."""
    store = open_store(far(proxy))
    store.store(b"first", session_id="alice", filename="first")
    return store


def far(proxy):
    """Return the URL of a proxy."""
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"


def stored_objects(tmp_path):
    """Return the names of all artifacts' bytes on disk."""
    return {path.name for path in pathlib.Path(tmp_path / "bytes").rglob("grid/**/*") if path.is_file()}


def methods(store, artifact_id):
    """Return a call of each method that needs the catalog."""
    return {
        "store": lambda: store.store(b"x", session_id="alice"),
        "store exclusive": lambda: store.store(b"x", session_id="alice", filename="x", exclusive=True),
        "store_batch": lambda: store.store_batch([{"data": b"x"}], session_id="alice"),
        "store_batch in sessions": lambda: store.store_batch([{"data": b"x", "session_id": name} for name in "ab"]),
        "retrieve": lambda: store.retrieve(artifact_id),
        "exists": lambda: store.exists(artifact_id),
        "metadata": lambda: store.metadata(artifact_id),
        "update_metadata": lambda: store.update_metadata(artifact_id, summary="new"),
        "update_file": lambda: store.update_file(artifact_id, data=b"new"),
        "copy_file": lambda: store.copy_file(artifact_id),
        "delete": lambda: store.delete(artifact_id),
        "list": lambda: store.list_by_session("alice"),
        "lookup": lambda: store.lookup("x", "alice"),
        "create_session": store.create_session,
        "validate_session": lambda: store.validate_session("alice"),
        "update_session_metadata": lambda: store.update_session_metadata("alice", {"a": 1}),
        "delete_session": lambda: store.delete_session("alice"),
        "cleanup": store.cleanup,
        "get_stats": store.get_stats,
    }


# Outages


def small_disk(server):
    """Mount a disk of 3 MiB that belongs to the server's user, and return its folder."""
    owner = server.folder.stat()
    options = f"size=3m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    return mounted(server.folder / "disk", "-t", "tmpfs", "-o", options, "tmpfs")


def test_outage_is_an_error(server, open_store, tmp_path, subtests):
    """While the server is down every method raises SessionError, never not-found, and no bytes are left behind."""
    store = open_store(server.url, max_retries=1)
    artifact_id = store.store(b"before", session_id="alice")
    before = stored_objects(tmp_path)
    server.stop()
    for name, method in methods(store, artifact_id).items():
        with subtests.test(name), pytest.raises(SessionError, match=OUTAGE) as caught:
            method()
        assert type(caught.value) is SessionError  # nothing was sent
    assert stored_objects(tmp_path) == before
    assert store.validate_configuration()["session"]["status"] == "error"


def test_full_disk(open_store, tmp_path, subtests):
    """On a full disk of the server nothing is half done, what shrinks still works, and all does when there is space."""
    with running() as server, small_disk(server) as disk:
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
            connection.execute("ALTER DATABASE postgres SET default_tablespace = small")
        store = open_store(server.url)
        meta = {"text": os.urandom(8000).hex()}
        kept = [store.store(b"kept", session_id="alice", meta=meta)]
        with pytest.raises(SessionError, match="disk is full"):
            while len(kept) < 1000:
                kept.append(store.store(b"kept", session_id="alice", meta=meta))
        before = stored_objects(tmp_path)
        for name, method in {
            "store": lambda: store.store(b"x", session_id="alice", meta=meta),
            "store_batch": lambda: store.store_batch([{"data": b"x", "meta": meta}] * 9, session_id="alice"),
            "two sessions": lambda: store.store_batch(
                [{"data": b"x", "meta": meta, "session_id": one} for one in "ab"]
            ),
            "copy": lambda: store.copy_file(kept[0]),
        }.items():
            with subtests.test(name):
                with pytest.raises(SessionError, match="disk is full"):
                    for _ in range(100):
                        method()
                        before = stored_objects(tmp_path)
                assert stored_objects(tmp_path) == before
        count = len(before)
        assert dict(store.usage()) == {"artifacts": count, "bytes": sum(one.bytes for one in store.search())}
        assert [store.retrieve(one) for one in kept] == [b"kept"] * len(kept)
        assert store.delete_batch(kept) == len(kept)
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        assert store.retrieve(store.store(b"after", session_id="alice", meta=meta)) == b"after"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart(server, open_store, mode):
    """A store reconnects after a restart in its first call."""
    store = open_store(server.url)
    artifact_id = store.store(b"before", session_id="alice")
    server.stop(mode)
    server.start()
    assert store.retrieve(artifact_id) == b"before"
    assert store.retrieve(store.store(b"after", session_id="alice")) == b"after"


def test_outage_before_the_first_call(server, open_store):
    """A store can be opened while its server is down, and works once it is up."""
    server.stop()
    store = open_store(server.url)
    with pytest.raises(SessionError):
        store.store(b"x")
    assert not store.scope.core.catalog.connected
    server.start()
    assert store.retrieve(store.store(b"x")) == b"x"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_in_the_middle(server, open_store, mode):
    """A restart in the middle of 200 stores by four threads loses nothing that was acknowledged."""
    store = open_store(server.url)
    store.store(b"first", session_id="alice")
    kept, failed, begun = [], [], threading.Semaphore(0)

    def fill(thread):
        for number in range(50):
            begun.release()
            try:
                kept.append(store.store(f"{thread} {number}".encode(), session_id="alice"))
            except SessionError as error:
                failed.append(error)

    threads = [threading.Thread(target=fill, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        begun.acquire()
    server.stop(mode)
    server.start()
    for thread in threads:
        thread.join()
    assert len(kept) + len(failed) == 200
    assert store.scope.core.catalog.verify() == 0
    contents = store.retrieve_batch(kept)
    assert len(set(contents)) == len(kept)
    unknown = sum(isinstance(error, OutcomeUnknownError) for error in failed)
    assert len(kept) + 1 <= store.get_stats()["artifacts"] <= len(kept) + 1 + unknown


def test_hanging_server(server, open_store, monkeypatch):
    """A call to a process of the server that hangs raises after the time-out, and the next one finds another."""
    monkeypatch.setattr(links, "_ANSWER_SECONDS", 0.3)
    store = open_store(server.url)
    artifact_id = store.store(b"before", session_id="alice")
    pids = []
    for call, kind in (
        (lambda: store.store(b"x", session_id="alice"), OutcomeUnknownError),
        (lambda: store.delete(artifact_id), OutcomeUnknownError),
    ):
        store.exists(artifact_id)
        (connection,) = store.scope.core.catalog._link._idle
        pids.append(connection.bare.info.backend_pid)
        os.kill(pids[-1], signal.SIGSTOP)
        with pytest.raises(kind, match="no answer within"):
            call()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    with server.connect() as connection:
        running_still = "SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)"
        wait_until(lambda: not connection.execute(running_still, (pids,)).fetchall())
    assert not store.exists(artifact_id)  # done after its caller gave up
    assert len(store.list_by_session("alice")) == 1


def test_read_from_a_hanging_server(server, open_store, monkeypatch):
    """A read that gets no answer in time is sent again, on another connection."""
    monkeypatch.setattr(links, "_ANSWER_SECONDS", 0.3)
    store = open_store(server.url)
    artifact_id = store.store(b"before", session_id="alice")
    (connection,) = store.scope.core.catalog._link._idle
    pid = connection.bare.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert store.exists(artifact_id)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_silent_network(proxy, far_store, monkeypatch):
    """A network that drops all packets is an error within the time-outs, and harmless once it works again."""
    monkeypatch.setattr(links, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setitem(far_store.scope.core.catalog._link._parameters, "connect_timeout", 2)
    monkeypatch.setattr(links, "_PATIENCE_SECONDS", 0.5)
    artifact_id = far_store.store(b"x", session_id="alice")
    for connection in far_store.scope.core.catalog._link._idle:
        connection.patience = 0.3
    proxy.silent = True
    with pytest.raises(SessionError):
        far_store.metadata(artifact_id)
    proxy.silent = False
    assert far_store.metadata(artifact_id).bytes == 1


def test_password(server, open_store, caplog):
    """A wrong password raises SessionError, and is never shown."""
    with server.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS someone")
        connection.execute("CREATE ROLE someone LOGIN PASSWORD 'right' SUPERUSER")
    rules = server.folder / "data" / "pg_hba.conf"
    rules.write_text(f"host all someone 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    server.run("pg_ctl", "reload", "-D", str(server.folder / "data"))
    caplog.set_level("DEBUG")
    wrong = open_store(server.url.replace("postgres@", "someone:hunter2@"))
    with pytest.raises(SessionError, match="password authentication failed") as caught:
        wrong.store(b"x")
    texts = [str(caught.value), repr(wrong), str(wrong.validate_configuration()), caplog.text]
    assert "hunter2" not in " ".join([*texts, repr(caught.value.__cause__), repr(wrong.scope.core.settings)])
    assert open_store(server.url.replace("postgres@", "someone:right@")).store(b"x")


def test_refusals_say_what_to_do(server, open_store):
    """What a server refuses names the cause and what to do; reads still work."""
    store = open_store(server.url)
    artifact_id = store.store(b"x", session_id="alice")
    with server.connect() as connection:
        connection.execute("ALTER TABLE chuk_artifacts.artifacts RENAME TO away")
        with pytest.raises(SessionError, match="a table of the schema was removed while the store was open"):
            store.metadata(artifact_id)
        connection.execute("ALTER TABLE chuk_artifacts.away RENAME TO artifacts")
    assert store.metadata(artifact_id)


# Lost answers


def lose_next_answer(proxy):
    """Forward the next statement to the server, and lose the response."""
    proxy.cut_after = 0


def test_lost_answer_of_a_change(proxy, far_store, subtests, tmp_path):
    """When the response to a change is lost, the error says that it may have been made, and it is not repeated."""
    spare = [far_store.store(b"x", session_id="alice") for _ in range(9)]
    calls = {
        "store": lambda: far_store.store(b"x", session_id="alice"),
        "store in a new session": lambda: far_store.store(b"x"),
        "store exclusive": lambda: far_store.store(b"x", session_id="alice", filename="e", exclusive=True),
        "store_batch in sessions": lambda: far_store.store_batch([{"data": b"x", "session_id": one} for one in "ab"]),
        "delete": lambda: far_store.delete(spare.pop()),
        "create_session": far_store.create_session,
        "extend_session_ttl": lambda: far_store.extend_session_ttl("alice", 1),
        "delete_session": lambda: far_store.delete_session("alice"),
    }
    for name, call in calls.items():
        far_store.exists(spare[0])  # there is a connection
        lose_next_answer(proxy)
        with subtests.test(name):
            with pytest.raises(OutcomeUnknownError, match=OUTAGE):
                call()
            assert proxy.cut_after is None
    assert not far_store.validate_session("alice")
    assert far_store.get_stats()["artifacts"] == 3  # in the new session, and in a and b


def test_lost_answer_of_a_replacement(proxy, far_store, monkeypatch):
    """When the response to a compare-and-set is lost, it was made once, and the caller is told to look."""
    artifact_id = far_store.store(b"x", session_id="alice", ttl=100)
    far_store.update_metadata(artifact_id, summary="prepared")
    catalog = far_store.scope.core.catalog
    replace = catalog.replace

    def replace_and_lose(*arguments, **options):
        lose_next_answer(proxy)
        return replace(*arguments, **options)

    monkeypatch.setattr(catalog, "replace", replace_and_lose)
    with pytest.raises(OutcomeUnknownError):
        far_store.extend_ttl(artifact_id, 50)
    metadata = far_store.metadata(artifact_id)
    assert (metadata.ttl, metadata.revision) == (150, 3)


def test_lost_answer_of_a_store_keeps_the_bytes(proxy, far_store):
    """When it is unknown whether the record was written, its bytes stay."""
    far_store.store(b"x", session_id="alice")
    lose_next_answer(proxy)
    with pytest.raises(OutcomeUnknownError):
        far_store.store(b"kept", session_id="alice", filename="kept")
    (kept,) = far_store.list_files("alice", "kept")
    assert far_store.retrieve(kept.artifact_id) == b"kept"


def test_lost_answer_of_a_read(proxy, open_store, subtests):
    """A read is repeated; with no repetition the error does not say that something may have changed."""
    store = open_store(far(proxy), max_retries=0)
    patient = open_store(far(proxy))
    artifact_id = store.store(b"x", session_id="alice")
    for each in (store, patient):
        looks = {
            "get_stats": each.get_stats,
            "list": lambda each=each: each.list_by_session("alice"),
            "retrieve": lambda each=each: each.retrieve(artifact_id),
            "get_session_info": lambda each=each: each.get_session_info("alice"),
        }
        for name, look in looks.items():
            look()
            lose_next_answer(proxy)
            with subtests.test(name, patient=each is patient):
                if each is patient:
                    assert look()
                    continue
                with pytest.raises(SessionError) as caught:
                    look()
                assert type(caught.value) is SessionError


def test_answer_cut_in_the_middle(proxy, far_store):
    """A truncated response is requested again, and never taken for another one."""
    artifact_id = far_store.store(b"x" * 10, session_id="alice", summary="s" * 1000)
    for length in (1, 5, 300):
        far_store.exists(artifact_id)
        proxy.cut_after = length
        assert far_store.metadata(artifact_id).summary == "s" * 1000
        assert far_store.exists(artifact_id)


# Conflicts


def failing(monkeypatch, name, error, times):
    """Let a function of the link fail so often; return the calls."""
    real, calls = getattr(links, name), []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) <= times:
            raise error
        return real(*arguments)

    monkeypatch.setattr(links, name, call)
    return calls


@pytest.fixture
def _no_pauses(monkeypatch):
    """Let pauses take no time."""
    monkeypatch.setattr(links.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("kind", ["SerializationFailure", "DeadlockDetected"])
def test_conflicts_are_repeated(far_store, monkeypatch, kind):
    """A statement that lost against others is repeated, and given up after a limit."""
    error = getattr(psycopg.errors, kind)("lost")
    calls = failing(monkeypatch, "_one", error, 20)
    assert far_store.exists(far_store.store(b"x", session_id="alice"))
    assert len(calls) == 22
    calls = failing(monkeypatch, "_one", error, 10**9)
    with pytest.raises(SessionError, match="lost") as caught:
        far_store.store(b"x", session_id="alice")
    assert type(caught.value) is SessionError
    assert len(calls) == 51


@pytest.mark.usefixtures("_no_pauses")
def test_errors_that_pass(far_store, monkeypatch):
    """A server that ends or refuses a connection with a reason did nothing: the statement is sent again."""
    for kind in ("AdminShutdown", "CannotConnectNow", "TooManyConnections", "ReadOnlySqlTransaction"):
        calls = failing(monkeypatch, "_one", getattr(psycopg.errors, kind)("passing"), 2)
        far_store.store(b"x", session_id="alice")
        assert len(calls) == 3
        monkeypatch.undo()
        monkeypatch.setattr(links.time, "sleep", lambda _: None)


def test_every_error_has_an_outcome():
    """Errors of the connection are unknown, refusals are final, and details are not shown."""
    assert outcome_of(psycopg.OperationalError("gone")) is Outcome.UNKNOWN
    assert outcome_of(psycopg.DataError("a NUL")) is Outcome.REFUSED
    assert outcome_of(psycopg.errors.UniqueViolation("twice")) is Outcome.REFUSED
    assert outcome_of(psycopg.errors.QueryCanceled("slow")) is Outcome.REFUSED
    assert outcome_of(psycopg.errors.StatementCompletionUnknown("who knows")) is Outcome.UNKNOWN
    assert message_of(psycopg.errors.InvalidPassword("no")) == "no (check the password)"
    assert all(psycopg.errors.lookup(state) for state in OUTCOMES if state != "57P05")


def test_deadlocks_of_batches(postgres_url, open_store, tmp_path):
    """Batches that lock the same records in opposite sequence all succeed."""
    store = open_store(postgres_url)
    ids = store.store_batch([{"data": b"", "session_id": f"s{number % 5}"} for number in range(60)])
    catalog = store.scope.core.catalog
    done = []

    def change(sequence):
        for _ in range(15):
            records = [record for record in catalog.get(sequence) if record is not None]
            changes = [(record.changed(revision=record.revision + 1), record.revision) for record in records]
            done.append(sum(catalog.replace_each(changes)))

    threads = [threading.Thread(target=change, args=(sequence,)) for sequence in (ids, ids[::-1]) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 60
    assert sum(record.revision - 1 for record in catalog.get(ids)) == sum(done)


# Failover


@pytest.fixture
def pair():
    """Return a primary and a standby that follows it; what the primary acknowledges is on the standby too."""
    primary, standby = PostgresServer(), PostgresServer()
    try:
        primary.make()
        primary.start("wal_level=replica", "max_wal_senders=8")
        standby.make(primary)
        standby.start("hot_standby=on")
        with primary.connect() as connection:
            followers = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
            wait_until(lambda: connection.execute(followers).fetchall())
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            wait_until(
                lambda: connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchall()
            )
        yield primary, standby
    finally:
        standby.remove()
        primary.remove()


def test_failover(every_server, pair, open_store):
    """When the standby becomes the primary, the store goes on there, with all that was acknowledged."""
    primary, standby = pair
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    store = open_store(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write", max_retries=8)
    ids = [store.store(f"{number}".encode(), session_id="alice") for number in range(50)]
    primary.stop()
    standby.run("psql", standby.url, "-qc", "ALTER SYSTEM RESET synchronous_standby_names")
    standby.promote()
    assert store.retrieve_batch(ids) == [f"{number}".encode() for number in range(50)]
    assert store.update_metadata(ids[0], summary="after").revision == 2
    assert store.retrieve(store.store(b"after", session_id="alice")) == b"after"


def test_standby_is_refused(every_server, pair, open_store):
    """A standby serves reads; a write is an error that says so, and the doctor names the remedy."""
    primary, standby = pair
    artifact_id = open_store(primary.url).store(b"x", session_id="alice")
    store = open_store(standby.url, max_retries=1)
    wait_until(lambda: store.exists(artifact_id))
    with pytest.raises(SessionError, match="read-only transaction"):
        store.update_metadata(artifact_id, summary="new")
    found = store.validate_configuration()["session"]
    assert "target_session_attrs=read-write" in found["message"]
