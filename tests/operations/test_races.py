"""What happens when another writer comes first, or an interrupt arrives, at the worst moment."""

from __future__ import annotations

import functools
import hashlib
import threading
import time

import pytest
from orphans import orphans

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, ArtifactStoreError, ConflictError, ProviderError
from chuk_artifacts.catalog import new_session
from chuk_artifacts.catalog.memory import MemoryCatalog

HOUR = 3600
STORES = {"memory": {}, "filesystem": {"storage_provider": "filesystem"}}


@pytest.fixture(params=STORES)
def store(request, tmp_path, clock):
    """Return an empty store."""
    with ArtifactStore(**STORES[request.param], fs_root=tmp_path, sandbox_id="box", clock=clock) as store:
        yield store


@pytest.fixture
def artifact_id(store):
    """Return the id of an artifact."""
    return store.store(b"first", session_id="alice")


def keys(store):
    """Return the keys of all bytes."""
    return sorted(item.key for item in store.scope.core.storage.list_objects("grid/box/"))


def before(monkeypatch, backend, name, happening):
    """Run a function once, just before a method of a backend is called."""
    real = getattr(backend, name)
    ahead = [happening]

    def method(*arguments, **options):
        if ahead:
            ahead.pop()()
        return real(*arguments, **options)

    monkeypatch.setattr(backend, name, method)


@pytest.fixture
def pauses(monkeypatch):
    """Return a list that records pauses, which take no time."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


# Interrupted


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_interrupted_record(store, artifact_id, monkeypatch, done):
    """An interrupt while the record is written, before or after it is, leaves neither record nor bytes."""
    held = keys(store)
    catalog = store.scope.core.catalog
    real = catalog.add

    def add(*arguments, **options):
        if done:
            real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "add", add)
    for method in (
        lambda: store.store(b"new", session_id="alice"),
        lambda: store.store_batch([{"data": b"1"}, {"data": b"2"}], session_id="alice"),
        lambda: store.copy_file(artifact_id),
    ):
        with pytest.raises(KeyboardInterrupt):
            method()
    assert keys(store) == held
    assert [item.artifact_id for item in store.list_by_session("alice")] == [artifact_id]


def test_interrupted_bytes(store, artifact_id, monkeypatch):
    """An interrupt while bytes are written leaves none of them."""
    held = keys(store)

    def pieces():
        yield b"some"
        raise KeyboardInterrupt

    for method in (
        lambda: store.store(pieces(), session_id="alice"),
        lambda: store.store_batch([{"data": b"1"}, {"data": pieces()}], session_id="alice"),
        lambda: store.update_file(artifact_id, data=pieces()),
    ):
        with pytest.raises(KeyboardInterrupt):
            method()
    assert keys(store) == held
    assert store.retrieve(artifact_id) == b"first"


@pytest.mark.parametrize(("error", "left"), [(KeyboardInterrupt(), 0), (ProviderError("no answer"), 1)])
def test_failed_right_after_the_bytes(store, artifact_id, monkeypatch, error, left):
    """An interrupt after the bytes removes them; a failed storage is not called again, a sweep finds them."""
    storage = store.scope.core.storage

    def landing(real, *arguments, **options):
        real(*arguments, **options)
        raise error

    for name in ("put", "copy"):
        monkeypatch.setattr(storage, name, functools.partial(landing, getattr(storage, name)))
    for method in (
        lambda: store.store(b"new", session_id="alice"),
        lambda: store.update_file(artifact_id, data=b"new"),
        lambda: store.copy_file(artifact_id),
    ):
        before = len(orphans(store))
        with pytest.raises(type(error)):
            method()
        assert len(orphans(store)) == before + left
    assert store.retrieve(artifact_id) == b"first"


# Another writer first


@pytest.mark.parametrize(
    "read",
    [
        lambda store, one: store.retrieve(one),
        lambda store, one: store.open(one).read(),
        lambda store, one: b"".join(store.stream(one)),
        lambda store, one: store.retrieve(store.copy_file(one)),
    ],
    ids=["retrieve", "open", "stream", "copy_file"],
)
def test_bytes_that_vanish_before_they_are_read(store, artifact_id, clock, monkeypatch, read):
    """A reader whose record is changed and cleaned up before it reads gets the next revision, whole."""

    def change_and_clean():
        store.update_file(artifact_id, data=b"second")
        clock.advance(HOUR)
        store.cleanup()

    for name in ("get", "open", "copy"):
        before(monkeypatch, store.scope.core.storage, name, change_and_clean)
    assert read(store, artifact_id) == b"second"


def test_longer_content_before_a_range_is_read(store, artifact_id, clock, monkeypatch):
    """A range beyond the end of a content that vanishes is read from the longer content after it, at its own offset."""
    longer = bytes(range(200))

    def replace():
        store.update_file(artifact_id, data=longer)
        clock.advance(2 * HOUR)
        store.cleanup()

    before(monkeypatch, store.scope.core.storage, "open", replace)
    assert b"".join(store.stream(artifact_id, start=150)) == longer[150:]


def test_deleted_before_it_is_read(store, artifact_id, monkeypatch):
    """A reader whose artifact is deleted before it reads gets not-found."""
    before(monkeypatch, store.scope.core.storage, "get", lambda: store.delete(artifact_id))
    with pytest.raises(ArtifactNotFoundError, match=f"no artifact '{artifact_id}'"):
        store.retrieve(artifact_id)


def test_lost_race_is_run_again(store, artifact_id, monkeypatch, pauses):
    """A change that loses a race is applied again on top of the winner."""
    before(
        monkeypatch, store.scope.core.catalog, "replace", lambda: store.update_metadata(artifact_id, meta={"theirs": 1})
    )
    metadata = store.update_metadata(artifact_id, meta={"mine": 2})
    assert metadata.meta == {"theirs": 1, "mine": 2}
    assert metadata.revision == 3
    assert len(pauses) == 1


def test_lost_race_with_if_revision(store, artifact_id, monkeypatch, pauses):
    """A change with if_revision that loses a race is not applied, and its bytes are removed."""
    for change in ({"summary": "mine"}, {"data": b"mine"}):
        revision = store.metadata(artifact_id).revision
        before(
            monkeypatch,
            store.scope.core.catalog,
            "replace",
            lambda: store.update_metadata(artifact_id, summary="theirs"),
        )
        held = keys(store)
        with pytest.raises(ConflictError, match=f"has revision {revision + 1}, not {revision}"):
            store.update_file(artifact_id, **change, if_revision=revision)
        assert keys(store) == held
    assert store.metadata(artifact_id).summary == "theirs"


@pytest.mark.parametrize("change", [{"summary": "mine"}, {"data": b"mine"}], ids=["record", "content"])
def test_race_that_is_always_lost(store, artifact_id, monkeypatch, pauses, change):
    """A change that always loses raises ConflictError, leaves no bytes, and never pauses long."""
    held = keys(store)
    monkeypatch.setattr(store.scope.core.catalog, "replace", lambda *_, **__: False)
    with pytest.raises(ConflictError, match=f"{artifact_id} was changed by others 128 times"):
        store.update_file(artifact_id, **change)
    assert len(pauses) == 128
    assert max(pauses) <= 0.05
    assert keys(store) == held
    assert store.retrieve(artifact_id) == b"first"


@pytest.mark.parametrize("change", ["update_file", "register", "first reads"])
def test_two_writers_never_get_the_same_key(store, artifact_id, monkeypatch, change):
    """Of two concurrent updates on a service without conditional puts, the loser removes only its own bytes."""
    monkeypatch.setattr(type(store.scope.core.storage), "conditional_put", False)
    for _ in range(20):
        if change == "update_file":
            work = [lambda data=data: store.update_file(artifact_id, data=data) for data in (b"one", b"two")]
            this = artifact_id
        else:
            sign = store.presign_upload if change == "register" else store.presign_upload_and_register
            options = {} if change == "register" else {"mime": "text/plain", "summary": ""}
            _, this = sign(session_id="alice", **options)
            store.scope.core.storage.put(f"{store.generate_artifact_key('alice', this)}~upload", b"one")
            register = functools.partial(store.register_uploaded_artifact, this, mime="text/plain", summary="")
            work = [register if change == "register" else functools.partial(store.retrieve, this)] * 2
        at_once(work)
        assert store.retrieve(this) in {b"one", b"two"}
        assert orphans(store) == []


def at_once(work):
    """Call functions in threads of their own, at nearly the same time; none may fail."""
    barrier, errors = threading.Barrier(len(work)), []

    def run(function):
        barrier.wait()
        try:
            function()
        except ArtifactStoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_keys_of_earlier_versions(store, artifact_id):
    """Keys of earlier versions, which end with a count, can still be read."""
    storage, catalog = store.scope.core.storage, store.scope.core.catalog
    record = store.metadata(artifact_id)
    old = record.changed(key=f"{record.key}~2", revision=2, bytes=3, sha256=hashlib.sha256(b"old").hexdigest())
    storage.put(old.key, b"old")
    assert catalog.replace(old, expected_revision=1)
    assert store.retrieve(artifact_id) == b"old"
    assert store.parse_grid_key(old.key).revision == 2
    assert store.update_file(artifact_id, data=b"new").revision == 3
    assert store.retrieve(artifact_id) == b"new"


def test_cleaning_what_is_being_changed(store, artifact_id, clock, monkeypatch):
    """Cleanup skips an artifact that changes concurrently, and does not wait for it."""
    store.update_file(artifact_id, data=b"second")
    clock.advance(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(store.scope.core.catalog, "replace_each", lambda changes: [False] * len(changes))
        assert store.cleanup().bytes == 0
    assert len(keys(store)) == 2
    assert store.cleanup().bytes == 5
    assert store.retrieve(artifact_id) == b"second"


def test_extended_while_it_is_cleaned(store, artifact_id, clock, monkeypatch):
    """An artifact extended just before cleanup removes it stays."""
    clock.advance(24 * HOUR - 1)
    moment = clock.now

    def extend():
        clock.now = moment
        store.extend_ttl(artifact_id, HOUR)
        clock.advance(1)

    clock.advance(1)
    before(monkeypatch, store.scope.core.catalog, "replace_each", extend)
    assert store.cleanup().artifacts == 0
    assert store.retrieve(artifact_id) == b"first"


# At the edge of what lives


def test_change_of_a_record_without_its_session(clock):
    """A record whose session is gone can be replaced, which does not restore the session."""
    with ArtifactStore(clock=clock, session_ttl_hours=1) as store:
        record = store.metadata(store.store(b"x", session_id="alice"))
    catalog = MemoryCatalog(HOUR)
    catalog.create_session(new_session("alice", "box", now=clock.now, ttl=HOUR))
    catalog.add([record], now=clock.now)
    assert catalog.expire_sessions(clock.now + HOUR) == 1
    assert catalog.replace(record.changed(revision=2), expected_revision=1)
    assert catalog.get_session("alice", clock.now) is None


def test_delete_of_an_artifact_without_expiry(tmp_path, clock):
    """An artifact that never expires is deleted like any other, and cleanup has nothing left to do."""
    with ArtifactStore(session_ttl_hours=None, clock=clock) as store:
        artifact_id = store.store(b"x", session_id="alice")
        clock.advance(1000 * 365 * 86400)
        assert store.cleanup() == {"sessions": 0, "artifacts": 0, "orphans": 0, "bytes": 0}
        assert store.delete(artifact_id)
        assert store.list_by_session("alice") == []
