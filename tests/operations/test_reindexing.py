"""The catalog is rebuilt from the storage, beside writers, and nothing is guessed or trusted on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from fsspec.callbacks import Callback
from servers.buckets import s3_on_moto

from chuk_artifacts import (
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    ArtifactStore,
    ProviderError,
    SessionError,
)
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.catalog.sqlite import SqliteCatalog
from chuk_artifacts.operations import reindexing
from chuk_artifacts.storage import Description
from chuk_artifacts.storage.description import pack
from chuk_artifacts.storage.local import LocalStorage

BOX = "box"
HAS_ATTRIBUTES = hasattr(os, "setxattr")
ATTRIBUTE = "user.chuk_artifacts"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """Look at the last records again at once."""
    monkeypatch.setattr(reindexing, "PAUSE_SECONDS", 0)


@pytest.fixture
def open_store(tmp_path, clock):
    """Return a function that opens a store on one folder."""
    with contextlib.ExitStack() as stack:

        def open_one(**options):
            options = {
                "storage_provider": "filesystem",
                "fs_root": tmp_path / "root",
                "sandbox_id": BOX,
                "clock": clock,
                **options,
            }
            return stack.enter_context(ArtifactStore(**options))

        yield open_one


@pytest.fixture
def root(tmp_path):
    """Return the folder of the store."""
    return tmp_path / "root"


def lose_files(root):
    """Lose the database."""
    for path in root.glob("catalog.sqlite3*"):
        path.unlink()


def fill(store, clock):
    """Store artifacts of many kinds, and return their ids."""
    ids = [
        store.store(
            b"all there is to say",
            filename="docs/ä.txt",
            mime="text/plain; charset=utf-8",
            summary="a sümmary",
            meta={"a": [1, None, {"b": "ü"}]},
            session_id="alice",
            user_id="ann",
        ),
        store.store(b"", session_id="alice", ttl=7200),
        store.store(b"for ever", filename="x", session_id=store.create_session("ben", custom_metadata={"k": "ü"})),
        store.store(b"brief", filename="y", session_id=store.create_session(ttl_hours=2)),
        store.user("ann/é").store(b"own", filename="own.txt"),
    ]
    versioned = store.store(b"1", filename="v", session_id="alice", keep_versions=2)
    for number in range(2, 5):
        clock.advance(10)
        store.update_file(versioned, data=b"%d" % number, mime=f"text/v{number}")
    clock.advance(3700)
    store.cleanup()  # removes the content that is not kept
    ids.append(versioned)
    ids.append(store.copy_file(ids[0], new_filename="copy.txt", summary="copied"))
    return ids


def everything(store, ids):
    """Return what a store knows of artifacts and their sessions."""
    sessions = {info.session_id: {**info, "ttl": info.ttl} for info in store.iter_sessions()}
    return {
        "contents": store.retrieve_batch(ids),
        "metadata": [dict(store.metadata(one)) for one in ids],
        "versions": [[dict(version) for version in store.versions(one)] for one in ids],
        "earlier": [[store.retrieve(one, revision=v.revision) for v in store.versions(one)] for one in ids],
        "sessions": sessions,
        "usage": {name: dict(store.usage(name)) for name in sessions},
        "total": dict(store.usage()),
        "listed": {name: [one.artifact_id for one in store.list_by_session(name)] for name in sessions},
        "users": {
            user: sorted(info.session_id for info in store.iter_sessions(user_id=user)) for user in ("ann", "ben")
        },
    }


needs_attributes = pytest.mark.skipif(not HAS_ATTRIBUTES, reason="this system has no extended attributes")


@needs_attributes
def test_after_the_loss_of_the_database(open_store, clock, root):
    """All that was stored comes back: bytes, names, types, metadata, expiry, kept versions, sessions and users."""
    with open_store() as store:
        ids = fill(store, clock)
        before = everything(store, ids)
    lose_files(root)
    store = open_store()
    report = store.reindex()
    assert (report.artifacts, report.versions, report.failed, report.incomplete) == (len(ids), 2, 0, 0)
    assert report.adopted
    assert everything(store, ids) == before


def test_after_flushall(request, redis_url, redis_server, clock, open_store):
    """All that was stored in a bucket comes back after Redis was flushed, and an orphan sweep removes none of it."""
    options = {**s3_on_moto(request), "redis_url": redis_url, "session_provider": "redis"}
    with open_store(**options) as store:
        ids = fill(store, clock)
        before = everything(store, ids)
    with redis_server.client() as client:
        client.flushall()
    store = open_store(**options)
    with pytest.raises(SessionError, match="no orphan was removed"):
        store.cleanup(orphans=True)
    assert store.reindex().artifacts == len(ids)
    assert everything(store, ids) == before
    assert store.cleanup(orphans=True).orphans == 0
    assert everything(store, ids) == before


@pytest.mark.usefixtures("root")
def test_in_memory(clock):
    """Bytes in memory, which say nothing of themselves, come back in a new catalog with their ids."""
    with ArtifactStore(clock=clock) as store:
        ids = [store.store(b"%d" % number, filename="x", session_id="alice") for number in range(3)]
        store.scope.core.catalog = MemoryCatalog(86400.0)
        report = store.reindex()
        assert (report.artifacts, report.incomplete, report.adopted) == (3, 3, False)
        assert store.retrieve_batch(ids) == [b"0", b"1", b"2"]
        assert store.usage("alice") == {"artifacts": 3, "bytes": 3}


@needs_attributes
def test_dry_run(open_store, clock, root):
    """A dry run reports the same, and writes nothing."""
    with open_store() as store:
        fill(store, clock)
    lose_files(root)
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    store = open_store()
    dry = store.reindex(dry_run=True)
    assert store.get_stats()["artifacts"] == store.get_stats()["sessions"] == 0
    assert files == {path: path.read_bytes() for path in [*files]}
    assert {path for path in root.rglob("*") if path.is_file() and "catalog" not in path.name} <= set(files)
    report = store.reindex()
    assert dry == report.changed(adopted=False)


@needs_attributes
def test_a_second_run_changes_nothing(open_store, clock, root):
    """What the catalog knows stays as it is, with every change made since, and damages of counters are mended."""
    with open_store() as store:
        ids = fill(store, clock)
        store.update_metadata(ids[0], summary="changed", filename="renamed")
        before = everything(store, ids)
        report = store.reindex()
        assert (report.artifacts, report.sessions, report.known, report.adopted) == (0, 0, len(ids), True)
        assert everything(store, ids) == before
        with store.scope.core.catalog._connections.lend(contextlib.nullcontext) as connection:
            connection.execute("UPDATE usage SET bytes = bytes + 7, artifacts = 0")
        assert everything(store, ids) != before
        store.reindex()
        assert everything(store, ids) == before


def test_callback(open_store, root):
    """The callback receives the number of artifacts that were looked at."""
    store = open_store()
    store.store_batch([{"data": b"x"}] * 7, "alice")
    callback = Callback()
    store.reindex(callback=callback)
    assert callback.value == 7


def files_of(root, session="alice"):
    """Return the files of a session."""
    return sorted(path for path in (root / "grid" / BOX / session).iterdir() if path.is_file())


@needs_attributes
def test_without_description(open_store, root):
    """A file that says nothing comes back with its id, length and SHA-256, and without an expiry."""
    with open_store() as store:
        artifact_id = store.store(b"12345", filename="a.txt", session_id="alice")
        big = store.store(b"x" * 3_000_000, session_id="alice")
    lose_files(root)
    for path in files_of(root):
        os.removexattr(path, ATTRIBUTE)
    store = open_store()
    assert store.reindex().incomplete == 2
    found = store.metadata(artifact_id)
    assert (found.mime, found.filename, found.expires_at, found.bytes) == ("application/octet-stream", None, None, 5)
    assert found.sha256 == hashlib.sha256(b"12345").hexdigest()
    assert store.retrieve(big) == b"x" * 3_000_000


@needs_attributes
def test_versions_without_description(open_store, root, clock):
    """Contents that say nothing come back by their age, the newest as the current one."""
    with open_store(keep_versions=5) as store:
        artifact_id = store.store(b"1", session_id="alice")
        for number in (2, 3):
            store.update_file(artifact_id, data=b"%d" % number)
    lose_files(root)
    for path in files_of(root):
        os.removexattr(path, ATTRIBUTE)
        os.utime(path, (0, 1_700_000_000 + int(path.read_bytes())))
    store = open_store(keep_versions=5)
    assert store.reindex().versions == 2
    assert store.retrieve(artifact_id) == b"3"
    assert [store.retrieve(artifact_id, revision=one.revision) for one in store.versions(artifact_id)] == [
        b"3",
        b"2",
        b"1",
    ]


@needs_attributes
def test_what_is_no_artifact(open_store, root):
    """Uploads under way, unfinished and strange files are ignored; one under another session's id is reported."""
    with open_store() as store:
        artifact_id = store.store(b"x", session_id="alice")
        store.presign_upload("alice")
    (stored,) = files_of(root)
    lose_files(root)
    for name in (f"{artifact_id[:8]}{'0' * 24}~upload", f"{artifact_id}.0123.tmp", "notes", f"{artifact_id}~x"):
        stored.with_name(name).write_bytes(b"no artifact")
    foreign = root / "grid" / BOX / "mallory" / artifact_id
    foreign.parent.mkdir()
    foreign.write_bytes(stored.read_bytes())
    os.setxattr(foreign, ATTRIBUTE, os.getxattr(stored, ATTRIBUTE))
    store = open_store()
    report = store.reindex()
    assert (report.artifacts, report.failed, report.adopted) == (1, 1, False)
    assert [*report.failures] == [f"grid/{BOX}/mallory/{artifact_id}"]
    assert store.metadata(artifact_id).session_id == "alice"
    assert store.list_by_session("mallory") == []
    assert [one.artifact_id for one in store.list_by_session("alice")] == [artifact_id]


LIES = {
    "wrong-sha256": {"sha256": "f" * 64},
    "no-sha256": {"sha256": "rubbish"},
    "other-length": {"bytes": "9", "sha256": "f" * 64},
    "no-number": {"revision": "x"},
    "negative": {"revision": "-1"},
    "huge": {"revision": "9" * 30},
    "control-characters": {"filename": "../\x00\x01"},
    "no-type": {"mime": "rubbish"},
    "header": {"mime": "text/plain\r\nx: y"},
    "no-moment": {"stored-at": "yesterday"},
    "no-json": {"meta": "{"},
    "half-a-pair": {"meta": '{"a": "\\ud800"}'},
    "half-a-name": {"meta": '{"\\udfff": [1]}'},
    "no-object": {"meta": "[1]"},
    "nan": {"ttl": "nan"},
    "deep": {"meta": "[" * 1900},
    "other-session": {"session-id": "mallory", "session": "mallory", "artifact-id": "0" * 32, "key": "grid/x/y/z"},
}


@needs_attributes
@pytest.mark.parametrize("lie", LIES)
def test_a_description_that_lies(open_store, root, lie):
    """A false description neither moves an artifact to another session nor stops a reindex; bytes are verified."""
    with open_store() as store:
        artifact_id = store.store(b"12345", session_id="alice", filename="a")
        store.store(b"sound", session_id="alice")
    lose_files(root)
    path = root / "grid" / BOX / "alice" / artifact_id
    stored = dict(line.split("=", 1) for line in os.getxattr(path, ATTRIBUTE).decode().splitlines())
    description = Description(stored.pop("mime"), {**stored, **LIES[lie]})
    if "mime" in LIES[lie]:
        description = Description(LIES[lie]["mime"], stored)
    packed = "\n".join(f"{name}={value}" for name, value in pack(description).items())
    os.setxattr(path, ATTRIBUTE, packed.encode())
    store = open_store()
    report = store.reindex()
    assert (report.artifacts, report.failed) == (2, 0)
    found = store.metadata(artifact_id)
    assert (found.session_id, found.bytes, found.revision) == ("alice", 5, 1)
    if lie == "wrong-sha256":
        with pytest.raises(ArtifactCorruptedError):
            store.retrieve(artifact_id)
    else:
        assert store.retrieve(artifact_id) == b"12345"
    assert {info.session_id for info in store.iter_sessions()} == {"alice"}


@needs_attributes
@pytest.mark.parametrize("rubbish", [b"\xff\xfe", b"no line", b"mime=%zz\nsha256=%ff", b""])
def test_rubbish_for_a_description(open_store, root, rubbish):
    """A description that can't be decoded counts as none."""
    with open_store() as store:
        artifact_id = store.store(b"12345", session_id="alice", filename="a")
    lose_files(root)
    os.setxattr(files_of(root)[0], ATTRIBUTE, rubbish)
    store = open_store()
    report = store.reindex()
    assert (report.artifacts, report.incomplete, report.failed) == (1, 1, 0)
    assert store.retrieve(artifact_id) == b"12345"


@needs_attributes
def test_a_description_that_was_cut(open_store, root):
    """What is too long for 2 KB comes back as far as it is kept, and counts as incomplete."""
    with open_store() as store:
        cut = store.store(b"1", filename="a", summary="x" * 3000, session_id="alice")
        dropped = store.store(b"2", filename="b", meta={"long": "y" * 3000}, session_id="alice")
    lose_files(root)
    store = open_store()
    assert store.reindex().incomplete == 2
    assert store.metadata(cut).filename == "a"
    assert 0 < len(store.metadata(cut).summary) < 2048
    assert (store.metadata(dropped).filename, store.metadata(dropped).meta) == ("b", {})


@needs_attributes
def test_expired(open_store, root, clock):
    """Expired artifacts and sessions do not come back."""
    with open_store() as store:
        store.store(b"over", session_id="alice", ttl=60)
        store.store(b"over too", session_id=store.create_session("ann", ttl_hours=0.01))
        kept = store.store(b"lives", session_id="bob")
    lose_files(root)
    clock.advance(100)
    store = open_store()
    report = store.reindex()
    assert (report.artifacts, report.expired, report.sessions) == (1, 2, 0)
    assert [info.session_id for info in store.iter_sessions()] == ["bob"]
    assert store.retrieve(kept) == b"lives"


@needs_attributes
@pytest.mark.parametrize(("kind", "method"), [(LocalStorage, "description"), (LocalStorage, "list_objects")])
def test_outage_of_the_storage(open_store, root, monkeypatch, kind, method):
    """An outage raises, and a second run goes on."""
    _outage(open_store, root, monkeypatch, kind, method, ProviderError)


@needs_attributes
@pytest.mark.parametrize("method", ["get", "merge", "merge_sessions", "recount", "identity"])
def test_outage_of_the_catalog(open_store, root, monkeypatch, method):
    """As above."""
    _outage(open_store, root, monkeypatch, SqliteCatalog, method, SessionError)


def _outage(open_store, root, monkeypatch, kind, method, error):
    monkeypatch.setattr(reindexing, "PORTION", 3)
    with open_store() as store:
        ids = store.store_batch([{"data": b"%d" % number} for number in range(10)], "alice")
    lose_files(root)
    store = open_store()
    with monkeypatch.context() as patch:
        calls = iter([True] if method in {"recount", "identity", "list_objects"} else [False, True])
        original = getattr(kind, method)

        def fail(self, *arguments, **options):
            if next(calls, True):
                patch.setattr(LocalStorage, "stat", fail)  # the storage does not answer at all
                raise error("down")
            return original(self, *arguments, **options)

        patch.setattr(kind, method, fail)
        with pytest.raises(error, match="down"):
            store.reindex()
    assert store.reindex().adopted
    assert store.retrieve_batch(ids) == [b"%d" % number for number in range(10)]


@needs_attributes
def test_a_file_that_cannot_be_read(open_store, root, monkeypatch):
    """A single object that fails is reported; the others come back, and no identity is adopted."""
    with open_store() as store:
        ids = store.store_batch([{"data": b"%d" % number} for number in range(5)], "alice")
    lose_files(root)
    store = open_store()
    description = LocalStorage.description

    def fail(self, key):
        if key.endswith(ids[2]):
            raise ProviderError("a bad block")
        return description(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "description", fail)
        report = store.reindex()
    assert (report.artifacts, report.failed, report.adopted) == (4, 1, False)
    assert report.failures == {f"grid/{BOX}/alice/{ids[2]}": "a bad block"}
    with pytest.raises(SessionError, match="no orphan"):
        store.cleanup(orphans=True)
    assert store.reindex().artifacts == 1


@needs_attributes
def test_a_damaged_record(open_store, root):
    """A record that can't be decoded is reported and left alone."""
    store = open_store()
    ids = store.store_batch([{"data": b"x"}] * 3, "alice")
    with store.scope.core.catalog._connections.lend(contextlib.nullcontext) as connection:
        connection.execute("UPDATE artifacts SET record = '{}' WHERE artifact_id = ?", (ids[1],))
    report = store.reindex()
    assert (report.known, report.failed) == (2, 1)
    assert "damaged" in report.failures[f"grid/{BOX}/alice/{ids[1]}"]


@needs_attributes
@pytest.mark.parametrize("is_remote", [False, True])
def test_killed_in_the_middle(open_store, root, monkeypatch, is_remote):
    """A run that was interrupted is completed by the next; a remote storage is read while records are written."""
    monkeypatch.setattr(reindexing, "PORTION", 4)
    monkeypatch.setattr(LocalStorage, "remote", is_remote)
    with open_store() as store:
        ids = store.store_batch([{"data": b"%d" % number} for number in range(20)], "alice")
    lose_files(root)
    store = open_store()
    merge = SqliteCatalog.merge
    calls = iter([False, False, True])

    def interrupted(*arguments, **options):
        if next(calls):
            raise KeyboardInterrupt
        return merge(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteCatalog, "merge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.reindex()
    assert store.usage("alice").artifacts == 8
    report = store.reindex()
    assert (report.artifacts, report.known, report.adopted) == (12, 8, True)
    assert store.retrieve_batch(ids) == [b"%d" % number for number in range(20)]


# Beside a record that exists


def older_and_newer(store, clock):
    """Store an artifact, keep its record, and replace its content; return id and older record."""
    artifact_id = store.store(b"old", filename="old", session_id="alice")
    (older,) = store.scope.core.catalog.get([artifact_id])
    clock.advance(1)
    store.update_file(artifact_id, data=b"new!", filename="new")
    return artifact_id, older


@needs_attributes
def test_a_content_newer_than_an_imported_record(open_store, root, clock):
    """While the catalog is being recovered, a newer content replaces the record of an older export."""
    with open_store() as store:
        artifact_id, older = older_and_newer(store, clock)
    lose_files(root)
    store = open_store()
    store.scope.core.catalog.merge([older], now=clock())
    assert store.retrieve(artifact_id) == b"old"
    assert store.reindex().artifacts == 1
    assert (store.retrieve(artifact_id), store.metadata(artifact_id).filename) == (b"new!", "new")
    assert store.usage("alice") == {"artifacts": 1, "bytes": 4}


@needs_attributes
def test_a_newer_content_beside_a_living_catalog(open_store, root, clock):
    """With a catalog that was not lost, a newer content is a write under way or a failed one, and stays unknown."""
    store = open_store()
    artifact_id, older = older_and_newer(store, clock)
    store.scope.core.catalog.remove([artifact_id])
    store.scope.core.catalog.add([older], now=clock())
    assert store.reindex().known == 1
    assert store.retrieve(artifact_id) == b"old"


@needs_attributes
def test_reindex_and_import_in_either_order(open_store, root, clock):
    """Records of an export and what the storage says give the same catalog, whichever comes first."""
    with open_store(keep_versions=3) as store:
        ids = [store.store(b"%d" % number, filename=f"{number}", session_id="alice") for number in range(4)]
        created = store.create_session("ann", custom_metadata={"a": 1})
        clock.advance(1)
        store.update_metadata(ids[1], filename="renamed")
        store.update_metadata(ids[2], summary="changed")
        exported = store.scope.core.catalog.get(ids)
        sessions = [store.scope.core.catalog.get_session(name, clock()) for name in ("alice", created)]
        clock.advance(1)
        store.update_file(ids[2], data=b"later")
        store.update_file(ids[3], data=b"later")
        store.update_session_metadata(created, {"a": 2, "b": 3})
        wanted = everything(store, ids)

    def import_catalog(store):
        catalog = store.scope.core.catalog
        catalog.merge_sessions(sessions, now=clock())
        catalog.merge(exported, now=clock(), replace_older=True)

    for steps in ([import_catalog, ArtifactStore.reindex], [ArtifactStore.reindex, import_catalog]):
        lose_files(root)
        store = open_store(keep_versions=3)
        for step in steps:
            step(store)
        found = everything(store, ids)
        assert {**found, "versions": wanted["versions"]} == wanted
        contents = [[(one["revision"], one["sha256"]) for one in versions] for versions in found["versions"]]
        assert contents == [[(one["revision"], one["sha256"]) for one in versions] for versions in wanted["versions"]]


# Beside writers


class Writer:
    """Stores, changes and deletes artifacts until it is stopped, or has stored enough for a slow machine."""

    def __init__(self, store, seed):
        self._store = store
        self._seed = seed
        self.written = {}
        self.deleted = []

    def run(self, stop):
        """Work until an event is set, or 40 artifacts were stored."""
        chance = random.Random(self._seed)
        while not stop.is_set() and len(self.written) + len(self.deleted) < 40:
            data = b"%d" % self._seed
            one = self._store.store(data, filename=f"w{self._seed}", session_id="alice", summary="of its writer")
            if chance.random() < 0.5:
                data = b"changed"
                self._store.update_file(one, data=data)
            if chance.random() < 0.5:
                assert self._store.delete(one)
                self.deleted.append(one)
            else:
                self.written[one] = data


@needs_attributes
@pytest.mark.parametrize("is_lost", [True, False])
def test_beside_writers(open_store, root, monkeypatch, is_lost):
    """Artifacts that are stored, changed and deleted while reindex runs end as their writers left them."""
    monkeypatch.setattr(reindexing, "PORTION", 5)
    monkeypatch.setattr(reindexing, "PAUSE_SECONDS", 0.3)
    with open_store() as store:
        old = store.store_batch([{"data": b"old", "filename": f"{n}"} for n in range(60)], "alice")
        if is_lost:
            lose_files(root)
    store = open_store()
    writers = [Writer(store, seed) for seed in range(8)]
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(writer.run, stop) for writer in writers]
        for _ in range(3):
            store.reindex()
        stop.set()
        for one in running:
            one.result()
    written = {one: data for writer in writers for one, data in writer.written.items()}
    assert store.retrieve_batch([*written]) == [*written.values()]
    assert {store.metadata(one).summary for one in written} <= {"of its writer"}
    assert store.retrieve_batch(old) == [b"old"] * 60
    assert not any(store.exists(one) for writer in writers for one in writer.deleted)
    listed = store.list_by_session("alice")
    assert {one.artifact_id for one in listed} == {*written, *old}
    assert store.usage("alice").artifacts == len(listed)


@needs_attributes
def test_deleted_between_its_description_and_its_record(open_store, root, monkeypatch):
    """An artifact whose record was removed before, and its bytes after, reindex looked is not there at the end."""
    store = open_store()
    artifact_id = store.store(b"x", session_id="alice")
    (record,) = store.scope.core.catalog.remove([artifact_id])  # the first half of a delete
    merge = SqliteCatalog.merge

    def merge_late(self, records, **options):
        merged = merge(self, records, **options)
        store.scope.core.storage.delete([record.key])  # the second half
        return merged

    monkeypatch.setattr(SqliteCatalog, "merge", merge_late)
    assert store.reindex().artifacts == 0
    assert not store.exists(artifact_id)
    assert store.usage("alice").artifacts == 0


def test_a_session_that_keeps_growing(open_store, clock, monkeypatch):
    """A run ends though more objects are written with each look-up: those of later than its start are not looked up."""
    monkeypatch.setattr(reindexing, "PORTION", 2)
    store = open_store()
    old = store.store_batch([{"data": b"x"}] * 5, "alice")
    listed = deque(store.scope.core.storage.list_objects(f"grid/{BOX}/"))
    tag, sample, begin = old[0][:8], listed[0], clock()
    looked_up = []
    get, list_objects = SqliteCatalog.get, LocalStorage.list_objects

    def list_growing(self, prefix):
        if not prefix.startswith("grid/"):
            yield from list_objects(self, prefix)
        while prefix.startswith("grid/") and listed:
            yield listed.popleft()

    def grow(self, artifact_ids):
        for _ in artifact_ids:
            assert len(looked_up) < 50
            looked_up.append(1)
            clock.advance(61)
            key = f"grid/{BOX}/alice/{tag}{len(looked_up):024x}"
            listed.append(attrs.evolve(sample, key=key, modified=time.time() + clock() - begin))
        return get(self, artifact_ids)

    monkeypatch.setattr(LocalStorage, "list_objects", list_growing)
    monkeypatch.setattr(SqliteCatalog, "get", grow)
    report = store.reindex()
    assert (report.known, report.artifacts, report.failed, len(looked_up)) == (5, 0, 0, 5)


@needs_attributes
def test_a_file_dated_in_the_future(open_store, root, clock):
    """A clock that was wrong when a file was written does not keep it from coming back."""
    with open_store() as store:
        artifact_id = store.store(b"x", session_id="alice")
    lose_files(root)
    os.utime(files_of(root)[0], (0, 4_000_000_000))
    store = open_store()
    assert store.reindex().artifacts == 1
    assert store.retrieve(artifact_id) == b"x"


@needs_attributes
def test_a_local_storage_is_listed_once(open_store, clock, root, monkeypatch):
    """One listing of a local storage finds artifacts and the facts of sessions, also of those without artifacts."""
    monkeypatch.setattr(reindexing, "PORTION", 2)
    with open_store() as store:
        ids = [store.store(b"x", session_id=store.create_session(ttl_hours=n + 1)) for n in range(3)]
        for number in range(5):
            store.create_session("ann", session_id=f"empty{number}")
        before = everything(store, ids)
    lose_files(root)
    store = open_store()
    listed = []
    list_objects = LocalStorage.list_objects
    monkeypatch.setattr(
        LocalStorage, "list_objects", lambda self, prefix: [listed.append(prefix), *list_objects(self, prefix)][1:]
    )
    assert store.reindex().sessions == 8
    assert listed.count(f"grid/{BOX}/") == 1
    assert everything(store, ids) == before


# Facts about sessions


def facts(root):
    """Return the sessions of which the storage keeps facts."""
    return sorted(path.parent.name for path in root.rglob("~session"))


def test_facts_are_kept_where_there_are_any(open_store, root):
    """Only a session that has facts of its own has an object; it follows changes, and goes with the session."""
    store = open_store()
    store.store(b"x", session_id="alice")
    store.create_session(session_id="plain")
    assert facts(root) == []
    store.create_session("ann", session_id="a")
    store.create_session(ttl_hours=1, session_id="b")
    store.create_session(custom_metadata={"k": 1}, session_id="c")
    store.extend_session_ttl("alice", 1)
    assert facts(root) == ["a", "alice", "b", "c"]
    store.delete_session("alice")
    store.delete_session("b")
    assert store.delete_user("ann") == 0
    assert facts(root) == ["c"]
    assert not (root / "grid" / BOX / "b").exists()


def test_facts_go_with_expired_sessions(open_store, root, clock):
    """Cleanup removes the facts about expired sessions, and an orphan sweep those that a crash left."""
    store = open_store()
    store.store(b"x", session_id="alice")
    store.create_session("ann", session_id="a", ttl_hours=1)
    store.create_session("ann", session_id="b", ttl_hours=100)
    clock.advance(3600)
    store.cleanup()
    assert facts(root) == ["b"]
    left = root / "grid" / BOX / "gone" / "~session"
    left.parent.mkdir()
    left.write_bytes(b"{}")
    for path in root.rglob("~session"):
        os.utime(path, (0, 0))
    assert store.cleanup(orphans=True).orphans == 1
    assert facts(root) == ["b"]


def test_facts_are_out_of_reach(open_store, root):
    """Facts are no artifact: they are not listed, found, signed or counted."""
    store = open_store()
    store.create_session("ann", session_id="a")
    key = f"grid/{BOX}/a/~session"
    assert store.parse_grid_key(key) is None
    assert store.list_by_session("a") == []
    assert store.usage() == {"artifacts": 0, "bytes": 0}
    assert not store.exists("~session")
    with pytest.raises(ArtifactNotFoundError):
        store.presign("~session")
    with pytest.raises(ValueError, match="~"):
        store.generate_artifact_key("a", "~session")


@pytest.mark.parametrize("rubbish", [b"\xff", b"[]", b"{}", b"[" * 100_000, b"x" * 5_000_000, "other"])
def test_facts_that_are_rubbish(open_store, root, rubbish):
    """Facts that can't be decoded, or of another session, are reported and change nothing."""
    with open_store() as store:
        store.create_session("ann", session_id="a")
        store.create_session("ben", session_id="b")
    lose_files(root)
    path = root / "grid" / BOX / "a" / "~session"
    path.write_bytes(path.with_name("..").joinpath("b", "~session").read_bytes() if rubbish == "other" else rubbish)
    store = open_store()
    report = store.reindex()
    assert [*report.failures] == [f"grid/{BOX}/a/~session"]
    assert (report.sessions, report.adopted) == (1, False)
    assert [info.session_id for info in store.iter_sessions()] == ["b"]


def test_a_storage_that_fails_fails_no_session(open_store, root, monkeypatch, caplog):
    """Facts are a copy: a session is created and changed although the storage is down, and a warning says so."""
    store = open_store()

    def fail(*_, **__):
        raise ProviderError("down")

    monkeypatch.setattr(LocalStorage, "put", fail)
    assert store.create_session("ann", session_id="a") == "a"
    assert store.update_session_metadata("a", {"x": 1})
    assert store.get_session_info("a").custom_metadata == {"x": 1}
    assert caplog.text.count("facts about session") == 2
