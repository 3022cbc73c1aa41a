"""Copying artifacts between stores: everything, verified, again and again, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
import urllib.request
from collections import Counter

import pytest
from fsspec.callbacks import Callback

import chuk_artifacts
from chuk_artifacts import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStore,
    InvalidInputError,
    ProviderError,
    SessionError,
    aio,
    grid,
    migrate,
)
from chuk_artifacts.operations import migrating

WRITES = {"put", "copy", "delete", "sweep", "create", "add", "merge", "merge_sessions", "replace", "replace_each"}
WRITES |= {"remove", "create_session", "update_session", "remove_session", "expire_sessions"}


class Watched:
    """A backend that counts the calls of its methods, and calls a hook before each."""

    def __init__(self, backend, hook=lambda name, *arguments: None):
        self._backend = backend
        self._hook = hook
        self.calls = Counter()

    def __getattr__(self, name):
        value = getattr(self._backend, name)
        if not callable(value):
            return value

        def called(*arguments, **options):
            self.calls[name] += 1
            self._hook(name, *arguments)
            return value(*arguments, **options)

        return called


def watch(store, side, hook=lambda name, *arguments: None):
    """Watch the storage or the catalog of a store, and return what watches it."""
    watched = Watched(getattr(store.scope.core, side), hook)
    setattr(store.scope.core, side, watched)
    return watched


def open_store(sandbox_id="box", **options):
    """Return a store in memory."""
    return ArtifactStore(sandbox_id=sandbox_id, **options)


@pytest.fixture
def source(clock):
    """Return a store in memory with 20 artifacts of two sessions, one with kept versions."""
    with open_store(clock=clock) as store:
        store.create_session(session_id="alice", user_id="ann", custom_metadata={"k": ["v"]}, ttl_hours=48)
        for number in range(20):
            session_id = f"{'alice' if number % 2 else 'bob'}"
            store.store(b"x" * number, filename=f"f{number:02}", session_id=session_id, meta={"n": [number]})
        changed = store.lookup("f01", "alice").artifact_id
        clock.advance(1)
        for number in range(3):
            store.update_file(changed, data=b"version %d" % number, mime="text/plain", keep_versions=2)
        store.restore(changed, 2)
        store.store(b"kept for good", session_id="carol", ttl=10**9)
        yield store


@pytest.fixture
def target(clock):
    """Return an empty store of the same sandbox in memory."""
    with open_store(clock=clock) as store:
        yield store


def artifacts_of(store):
    """Return all artifacts of a store by id."""
    sessions = [info.session_id for info in store.iter_sessions()]
    return {one.artifact_id: one for session_id in sessions for one in store.list_by_session(session_id)}


def assert_same(source, target, *, ids=lambda session_id, artifact_id: artifact_id):
    """Assert that two stores hold the same, apart from where they are."""
    ours, theirs = artifacts_of(source), artifacts_of(target)
    assert {ids(one.session_id, name) for name, one in ours.items()} == {*theirs}
    own = {"artifact_id", "sandbox_id", "key", "storage_provider", "session_provider"}
    for name, one in ours.items():
        other = theirs[ids(one.session_id, name)]
        assert {key: one[key] for key in one if key not in own} == {key: other[key] for key in other if key not in own}
        assert target.retrieve(other.artifact_id) == source.retrieve(name)
        assert other.key.startswith(f"grid/{target.sandbox_id}/{one.session_id}/{other.artifact_id}")
        kept = [earlier.revision for earlier in source.scope.core.catalog.get((name,))[0].superseded if earlier.kept]
        for version in source.versions(name):
            if version.current or version.revision in kept:
                assert version in target.versions(other.artifact_id)
                assert target.retrieve(other.artifact_id, revision=version.revision) == source.retrieve(
                    name, revision=version.revision
                )
    infos = [
        {info.session_id: info.changed(sandbox_id="") for info in store.iter_sessions()} for store in (source, target)
    ]
    assert infos[0] == infos[1]


def numbers(report):
    """Return the counts of a report that are not 0."""
    return {name: value for name, value in report.items() if value}


# What is copied


def test_everything(source, target):
    """Ids, revisions, kept versions, metadata, ends and sessions are copied; the source is only read."""
    catalog, storage = watch(source, "catalog"), watch(source, "storage")
    callback = Callback()
    report = migrate(source, target, callback=callback)
    assert numbers(report) == {"sessions": 3, "artifacts": 21, "bytes": report.bytes}
    assert not {*catalog.calls, *storage.calls} & WRITES
    assert callback.size == callback.value == source.usage().bytes
    assert_same(source, target)
    assert target.get_session_info("alice").user_id == "ann"


def test_again(source, target, clock):
    """A second run costs look-ups, and copies what is new or was changed since; what the target changed stays."""
    migrate(source, target)
    storages, catalog = (watch(source, "storage"), watch(target, "storage")), watch(target, "catalog")
    assert numbers(migrate(source, target)) == {"sessions": 3, "present": 21}
    assert [*map(dict, (storage.calls for storage in storages))] == [{}, {}]
    assert set(catalog.calls) <= {"get", "merge_sessions"}
    clock.advance(1)
    names = {one.filename: name for name, one in artifacts_of(source).items()}
    source.update_file(names["f02"], data=b"changed")
    source.update_metadata(names["f03"], summary="changed")
    source.update_session_metadata("bob", {"new": True})
    source.store(b"new", session_id="bob")
    kept = target.update_file(names["f04"], data=b"changed in the target")
    source.delete(names["f05"])
    report = migrate(source, target)
    assert numbers(report) == {"sessions": 3, "present": 17, "newer": 1, "artifacts": 3, "bytes": 10}
    assert target.metadata(names["f04"]) == kept
    assert target.retrieve(names["f02"]) == b"changed"
    assert target.retrieve(names["f02"], revision=1) == b"xx"  # for an hour, for those who read it
    assert target.metadata(names["f03"]).summary == "changed"
    assert target.get_session_info("bob").custom_metadata == {"new": True}
    longer = kept.bytes - source.metadata(names["f04"]).bytes
    assert target.usage("bob").bytes == source.usage("bob").bytes + longer
    clock.advance(4000)
    target.cleanup()
    with pytest.raises(ArtifactNotFoundError):
        target.retrieve(names["f02"], revision=1)


def test_other_sandbox(source, clock):
    """In another sandbox the first eight digits of each id are those of that sandbox, and keys follow."""
    with open_store("bix", clock=clock) as target:
        assert numbers(migrate(source, target))["artifacts"] == 21

        def new_id(session_id, artifact_id):
            found = grid.artifact_id_in("bix", session_id, artifact_id)
            assert found[8:] == artifact_id[8:]
            return found

        assert_same(source, target, ids=new_id)
        assert numbers(migrate(source, target)) == {"sessions": 3, "present": 21}


def test_some_sessions(source, target):
    """Only some sessions are copied if they are named; an unknown one is a failure."""
    report = migrate(source, target, sessions=["bob", "nobody", "bob"])
    assert numbers(report) == {
        "sessions": 1,
        "artifacts": 10,
        "bytes": 90,
        "failed": 1,
        "failures": {"nobody": "there is no such session"},
    }
    assert [info.session_id for info in target.iter_sessions()] == ["bob"]


def test_dry_run(source, target):
    """A dry run counts what a run would copy, and writes nothing."""
    storage, catalog = watch(target, "storage"), watch(target, "catalog")
    planned = migrate(source, target, dry_run=True)
    assert not {*catalog.calls, *storage.calls} & WRITES
    assert planned == migrate(source, target)


def test_what_is_left_out(source, target, clock):
    """Expired artifacts and pending uploads are counted, and not copied."""
    source.store(b"short", session_id="bob", ttl=10)
    source.presign_upload("bob")
    clock.advance(11)
    found = numbers(migrate(source, target, sessions=["bob"]))
    assert found == {"sessions": 1, "artifacts": 10, "bytes": 90, "expired": 1, "uploads": 1}


def test_presigned_urls_of_the_source(source, target):
    """What the source has signed stays valid there."""
    (one, *_) = source.list_by_session("bob")
    url = source.presign(one.artifact_id)
    migrate(source, target)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == source.retrieve(one.artifact_id)


def test_live_objects_are_not_shared(source, target):
    """A change of metadata in one memory store does not reach the other."""
    migrate(source, target)
    record = source.lookup("f02", "bob")
    for store, other in ((source, target), (target, source)):
        store.scope.core.catalog.get((record.artifact_id,))[0].meta["changed"] = True
        store.scope.core.catalog.get_session("alice", 0).custom_metadata["changed"] = True
        del store.scope.core.catalog.get((record.artifact_id,))[0].meta["changed"]
        assert "changed" not in other.metadata(record.artifact_id).meta
        assert "changed" not in other.get_session_info("alice").custom_metadata
        del store.scope.core.catalog.get_session("alice", 0).custom_metadata["changed"]


# Places


def on_disk(root, **options):
    """Return a store on disk."""
    return ArtifactStore(**{"storage_provider": "filesystem", "fs_root": root, "sandbox_id": "box", **options})


def test_same_store(source, tmp_path):
    """A store is not copied onto itself."""
    with pytest.raises(InvalidInputError, match="the same store"):
        migrate(source, source)
    with on_disk(tmp_path) as one, on_disk(tmp_path) as two, pytest.raises(InvalidInputError, match="the same store"):
        migrate(one, two)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_shared_catalog(kind, tmp_path, monkeypatch, request):
    """Two storages with one catalog are refused: the target would seem to have everything, and have no bytes."""
    options = {"session_provider": kind}
    if kind == "sqlite":
        monkeypatch.setenv("SESSION_SQLITE_PATH", str(tmp_path / "catalog"))
    else:
        options["redis_url"] = request.getfixturevalue("redis_url")
    with on_disk(tmp_path / "a", **options) as one:
        one.store(b"x", session_id="alice")
        options = {**options, "redis_url": options.get("redis_url", "").replace("127.0.0.1", "localhost") or None}
        with on_disk(tmp_path / "b", **options) as two, pytest.raises(InvalidInputError, match="share a catalog"):
            migrate(one, two)


@pytest.mark.parametrize("sandbox_id", ["bix", "box"])
def test_one_place(clock, tmp_path, sandbox_id):
    """In one place bytes are copied by the storage itself; and not at all if only the catalog differs."""
    with on_disk(tmp_path, clock=clock) as source:
        ids = [source.store(b"x" * number, session_id="alice", filename=f"{number}") for number in range(9)]
        options = {"session_provider": "memory"} if sandbox_id == "box" else {}
        with on_disk(tmp_path, sandbox_id=sandbox_id, clock=clock, **options) as target:
            storage = watch(target, "storage")
            assert numbers(migrate(source, target)) == {"sessions": 1, "artifacts": 9, "bytes": 36}
            assert storage.calls["copy"] == (9 if sandbox_id == "bix" else 0)
            assert storage.calls["delete"] == 0
            assert_same(source, target, ids=lambda session, one: grid.artifact_id_in(sandbox_id, session, one))
        path = tmp_path / source.metadata(ids[8]).key
        path.write_bytes(b"y" * 8)
        with on_disk(tmp_path, sandbox_id="third", clock=clock) as target:
            assert "do not match" in migrate(source, target).failures[ids[8]]
            assert sum(1 for _ in target.scope.core.storage.list_objects("grid/third/")) == 8


def test_bad_arguments(source, target):
    """Bound stores, other objects and bad numbers are refused."""
    for ends in ((source.session("alice"), target), (source, target.session("alice"))):
        with pytest.raises(AccessDeniedError, match="migrate concerns the whole store"):
            migrate(*ends)
    with pytest.raises(InvalidInputError, match="source must be"):
        migrate(None, target)
    with pytest.raises(InvalidInputError, match="target must be a chuk"):
        migrate(source, aio.ArtifactStore.wrap(target))
    for options in ({"max_workers": 0}, {"sessions": "alice"}, {"sessions": ["../x"]}, {"sessions": [None]}):
        with pytest.raises(InvalidInputError):
            migrate(source, target, **options)
    assert artifacts_of(target) == {}


def test_aio(source, target):
    """The async function copies between async stores."""

    async def main():
        ends = aio.ArtifactStore.wrap(source), aio.ArtifactStore.wrap(target)
        report = await aio.migrate(*ends, max_workers=2)
        with pytest.raises(InvalidInputError, match="the same store"):
            await aio.migrate(ends[0], ends[0])
        return report

    assert asyncio.run(main()).artifacts == 21
    assert_same(source, target)


def test_public():
    """The function and its report are public names, on both surfaces."""
    for module in (chuk_artifacts, aio):
        assert {"migrate", "MigrationReport"} <= {*module.__all__}


# What goes wrong


def key_of(store, filename, session_id="bob"):
    """Return the key of a file."""
    return store.lookup(filename, session_id).key


def test_damaged_bytes(source, target):
    """Bytes that are damaged or gone are failures, each with its id and reason; the others are copied."""
    files = source.scope.core.storage._files
    names = {filename: source.lookup(filename, "bob") for filename in ("f02", "f04", "f06")}
    key = names["f02"].key
    source.scope.core.storage.delete([key])
    source.scope.core.storage.put(key, b"yy")
    source.scope.core.storage.delete([names["f04"].key])
    source.scope.core.storage.put(names["f06"].key, b"short")
    assert files
    report = migrate(source, target)
    assert report.failures == {
        names["f02"].artifact_id: f"artifact {names['f02'].artifact_id}: the stored bytes do not match its record",
        names["f04"].artifact_id: "its bytes are gone from the storage of the source",
        names["f06"].artifact_id: f"artifact {names['f06'].artifact_id}: the stored bytes do not match its record",
    }
    assert (report.failed, report.artifacts) == (3, 18)
    assert len(artifacts_of(target)) == 18
    stored = {one.key for one in target.scope.core.storage.list_objects("grid/")}
    assert stored.isdisjoint(one.key for one in names.values())


def test_bounded_failures(source, target, monkeypatch):
    """The report names a limited number of failures, and counts all."""
    monkeypatch.setattr(migrating, "_SHOWN_FAILURES", 3)
    source.scope.core.storage.delete([one.key for one in artifacts_of(source).values()])
    report = migrate(source, target)
    assert (report.failed, len(report.failures)) == (21, 3)


def test_limit_of_the_target(source, clock):
    """An artifact that is larger than the target allows, or that its session has no room for, is a failure."""
    with open_store(clock=clock, max_artifact_bytes=10) as target:
        report = migrate(source, target)
        assert report.failed == 9 + 1
        assert all("max_artifact_bytes" in reason for reason in report.failures.values())
    with open_store(clock=clock, max_session_bytes=15) as target:
        report = migrate(source, target, sessions=["bob"])
        assert all("max_session_bytes" in reason for reason in report.failures.values())
        assert report.failed


def refuse(keys, methods=("put", "get")):
    """Return a hook that lets the storage refuse some keys."""

    def hook(name, *arguments):
        if name in methods and arguments and arguments[0] in keys:
            raise ProviderError("access denied")

    return hook


def test_single_refusal(source, target):
    """A storage that refuses one key causes one failure."""
    watch(target, "storage", refuse({key_of(source, "f02")}))
    report = migrate(source, target)
    assert (report.failed, report.artifacts) == (1, 20)
    assert [*report.failures.values()] == ["access denied"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_outage_of_a_storage(source, target, side, monkeypatch):
    """A storage that does not answer raises; so does one that refuses everything, in the end."""
    monkeypatch.setattr(migrating, "_MOST_IN_A_ROW", 20)

    def fail(name, *arguments):
        raise ProviderError("unreachable")

    store = {"source": source, "target": target}[side]
    watched = watch(store, "storage", fail)
    with pytest.raises(ProviderError, match="unreachable"):
        migrate(source, target)
    watched._hook = refuse({one.key for one in artifacts_of(source).values()})
    with pytest.raises(ProviderError, match="access denied"):
        migrate(source, target)
    watched._hook = lambda name, *arguments: None
    assert migrate(source, target).failed == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_outage_of_a_catalog(source, target, side):
    """A catalog that does not answer raises."""
    calls = Counter()

    def fail(name, *arguments):
        calls[name] += 1
        if sum(calls.values()) > 2:
            raise SessionError("unreachable")

    watched = watch({"source": source, "target": target}[side], "catalog", fail)
    with pytest.raises(SessionError, match="unreachable"):
        migrate(source, target)
    watched._hook = lambda name, *arguments: None
    assert migrate(source, target).failed == 0
    assert_same(source, target)


def once(name_of_method, action):
    """Return a hook that acts before the first call of a method."""
    acted = []

    def hook(name, *arguments):
        if name == name_of_method and not acted:
            acted.append(True)
            action()

    return hook


def test_deleted_meanwhile(source, target):
    """An artifact that is deleted while it is copied is not in the target, and neither are its bytes."""
    gone = source.lookup("f02", "bob")
    watch(target, "storage", once("put", lambda: source.delete(gone.artifact_id)))
    report = migrate(source, target)
    assert numbers(report) == {"sessions": 3, "artifacts": 20, "altered": 1, "bytes": report.bytes}
    assert not target.exists(gone.artifact_id)
    assert gone.key not in {one.key for one in target.scope.core.storage.list_objects("grid/")}


@pytest.mark.parametrize("keeps", [True, False])
def test_updated_meanwhile(source, target, keeps):
    """An artifact that is updated while it is copied is copied once more, as it is then."""
    changed = source.lookup("f02", "bob")

    def update():
        source.update_file(changed.artifact_id, data=b"later")
        if not keeps:
            source.scope.core.storage.delete([changed.key])

    watch(target, "storage", once("put", update))
    report = migrate(source, target)
    assert numbers(report) == {"sessions": 3, "artifacts": 21, "bytes": report.bytes}
    assert_same(source, target)


def test_updated_again_and_again(source, target):
    """An artifact that changes each time is left to the next run, and counted."""
    changed = source.lookup("f02", "bob").artifact_id
    watch(
        source, "storage", lambda name, *_: name == "get" and source.update_metadata(changed, meta={"x": id(object())})
    )
    report = migrate(source, target, sessions=["bob"])
    assert (report.artifacts, report.altered) == (9, 1)
    source.scope.core.storage = source.scope.core.storage._backend
    assert migrate(source, target, sessions=["bob"]).artifacts == 1


def test_store_is_closed_meanwhile(source, target, monkeypatch):
    """A store that is closed ends the migration with an error between two portions."""
    monkeypatch.setattr(migrating, "_AT_ONCE", 5)
    watch(target, "storage", once("put", lambda: setattr(target.scope, "closed", True)))
    with pytest.raises(chuk_artifacts.ArtifactStoreError, match="store is closed"):
        migrate(source, target)
    target.scope.closed = False
    assert migrate(source, target).failed == 0
    assert_same(source, target)


def test_portions(source, target, monkeypatch):
    """Artifacts and sessions are copied in portions, side by side where a storage is remote."""
    monkeypatch.setattr(migrating, "_AT_ONCE", 2)
    target.scope.core.storage.remote = True
    assert migrate(source, target, max_workers=4).artifacts == 21
    assert_same(source, target)


def test_large_files_are_streamed(tmp_path, clock):
    """A large file is not in memory as a whole, and verified."""
    size = 64 * 1024**2
    with on_disk(tmp_path / "a", clock=clock) as source, on_disk(tmp_path / "b", clock=clock) as target:
        one = source.store((b"x" * 1024**2 for _ in range(size // 1024**2)), session_id="alice")
        other = source.store((b"y" * 1024**2 for _ in range(8)), session_id="alice")
        with open(tmp_path / "a" / source.metadata(other).key, "r+b") as file:
            file.write(b"damage")
        tracemalloc.start()
        report = migrate(source, target)
        assert tracemalloc.get_traced_memory()[1] < size / 4
        tracemalloc.stop()
        assert (report.artifacts, report.bytes, [*report.failures]) == (1, size, [other])
        digest = hashlib.sha256()
        for chunk in target.stream(one):
            digest.update(chunk)
        assert digest.hexdigest() == source.metadata(one).sha256
        assert [item.key for item in target.scope.core.storage.list_objects("grid/")] == [target.metadata(one).key]


def test_a_copy_can_be_rebuilt(source, tmp_path, clock):
    """The storage of the target keeps what it needs to rebuild the catalog: sessions, users and metadata too."""
    with on_disk(tmp_path, clock=clock) as target:
        migrate(source, target)
        infos = {info.session_id: info for info in target.iter_sessions()}
    for path in tmp_path.glob("catalog.sqlite3*"):
        path.unlink()
    with on_disk(tmp_path, clock=clock) as target:
        assert target.reindex().artifacts == 21
        found = {info.session_id: info for info in target.iter_sessions()}
        assert found["alice"].user_id == "ann"
        assert found["alice"].custom_metadata == {"k": ["v"]}
        assert {*found} == {*infos}
        assert {name: one.filename for name, one in artifacts_of(target).items()} == {
            name: one.filename for name, one in artifacts_of(source).items()
        }


def test_bytes_describe_themselves(source, tmp_path, clock):
    """What is copied says of itself in the target what it would if it had been stored there."""
    with on_disk(tmp_path, clock=clock) as target:
        migrate(source, target)
        record = target.lookup("f01", "alice")
        found = target.scope.core.storage.description(record.key)
        assert found is not None
        assert (found.details["filename"], found.details["sha256"], found.details["user"]) == (
            "f01",
            record.sha256,
            "ann",
        )
        assert found.details["revision"] == str(record.revision)
