"""No bytes are removed because a catalog does not know them, unless it provably describes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3

import pytest
from servers.buckets import s3_on_moto

from chuk_artifacts import ArtifactStore, ProviderError, SessionError, aio, grid
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS

DAY = 86400
OLD = 2 * DAY
BOX = "box"


def age(root, seconds=OLD):
    """Make all files of a grid older."""
    for path in (root / "grid").rglob("*"):
        if path.is_file():
            status = path.stat()
            os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))


def names(root):
    """Return the names of all files of a grid."""
    return sorted(path.name for path in (root / "grid").rglob("*") if path.is_file())


@pytest.fixture
def open_store(tmp_path, monkeypatch):
    """Return a function that opens a store on one folder with a given database."""
    with contextlib.ExitStack() as stack:

        def open_one(database="first.sqlite3", **options):
            monkeypatch.setenv("SESSION_SQLITE_PATH", str(tmp_path / database))
            options = {"storage_provider": "filesystem", "fs_root": tmp_path / "root", "sandbox_id": BOX, **options}
            return stack.enter_context(ArtifactStore(**options))

        yield open_one


@pytest.fixture
def root(tmp_path):
    """Return the folder of the store."""
    return tmp_path / "root"


def fill(store, count=30):
    """Store files, and return their ids."""
    return store.store_batch([{"data": b"%d" % number, "filename": f"{number}"} for number in range(count)], "alice")


def orphan(root, name="0" * 32, session="alice"):
    """Leave a file without a record."""
    folder = root / "grid" / BOX / session
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"orphan")


def refused(store, **options):
    """Return why a store refuses to sweep."""
    with pytest.raises(SessionError) as refusal:
        store.cleanup(orphans=True, **options)
    return str(refusal.value)


def test_the_right_catalog_sweeps(open_store, root):
    """A sweep removes old bytes without a record, and nothing else."""
    store = open_store()
    ids = fill(store)
    orphan(root)
    age(root)
    orphan(root, "1" * 32)
    report = store.cleanup(orphans=True)
    assert (report.orphans, report.bytes, report.orphan_keys) == (1, 6, (f"grid/{BOX}/alice/{'0' * 32}",))
    assert names(root) == sorted([*ids, "1" * 32])


@pytest.mark.parametrize("options", [{}, {"force": True}, {"dry_run": True}], ids=["plain", "force", "dry"])
@pytest.mark.parametrize("stores_something", [False, True], ids=["empty", "used"])
def test_another_catalog_does_not_sweep(open_store, root, options, stores_something):
    """An empty or wrong catalog, as after a wrong variable, removes nothing, and the error says what to do."""
    fill(open_store())
    other = open_store("other.sqlite3")
    if stores_something:
        fill(other, 40)
    age(root)
    before = names(root)
    reason = refused(other, **options)
    assert "no orphan was removed" in reason
    assert f"identity/{BOX}/" in reason
    assert names(root) == before


def test_a_second_catalog_stops_the_first(open_store, root):
    """When two catalogs stored files, neither sweeps: each would remove the other's."""
    first = open_store()
    fill(first)
    fill(open_store("other.sqlite3"))
    age(root)
    before = names(root)
    assert "identity/" in refused(first, force=True)
    assert names(root) == before


@pytest.mark.parametrize("options", [{}, {"force": True}], ids=["plain", "force"])
def test_records_in_memory_do_not_sweep_files(open_store, root, caplog, options):
    """Records in memory never remove bytes that outlive them, and a warning says so."""
    fill(open_store())
    caplog.clear()
    store = open_store(session_provider="memory")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "session_provider" in caplog.text
    fill(store)
    age(root)
    before = names(root)
    assert "SESSION_PROVIDER" in refused(store, **options)
    assert names(root) == before


def test_everything_in_memory_sweeps():
    """A store entirely in memory can sweep: no other process can have stored there."""
    with ArtifactStore() as store:
        store.store(b"x")
        assert store.cleanup(orphans=True) == {"sessions": 0, "artifacts": 0, "orphans": 0, "bytes": 0}


def test_lost_database(open_store, root, tmp_path):
    """After the database file was lost, a new one removes nothing, before and after it is used."""
    with open_store() as store:
        fill(store)
    for path in tmp_path.glob("first.sqlite3*"):
        path.unlink()
    age(root)
    store = open_store()
    before = names(root)
    refused(store)
    store.store(b"new", session_id="bob")
    age(root)
    refused(store, force=True)
    assert set(before) < set(names(root))


def test_check_of_a_lost_catalog(open_store):
    """The thorough check warns of another catalog than the storage's, before and after it is used, until a reindex."""
    with open_store() as store:
        fill(store)
        assert "warning" not in store.validate_configuration(thorough=True)["session"]
    store = open_store("second.sqlite3")
    for _ in range(2):
        assert "run chuk-artifacts reindex" in store.validate_configuration(thorough=True)["session"]["warning"]
        assert "warning" not in store.validate_configuration()["session"]
        store.cleanup()
    store.store(b"new", session_id="bob")
    facts = store.validate_configuration(thorough=True)["session"]
    assert facts["status"] == "ok"
    assert "does not know of" in facts["warning"]
    store.reindex()
    assert "warning" not in store.validate_configuration(thorough=True)["session"]


def test_check_of_a_storage_that_fails(open_store, monkeypatch):
    """A storage that fails while the identities are compared is reported, and not raised."""
    store = open_store()
    fill(store)

    def fail(prefix, **_):
        raise ProviderError("down")

    monkeypatch.setattr(store.scope.core.storage, "list_objects", fail)
    assert store.validate_configuration(thorough=True)["session"]["message"] == "down"


def test_flushed_redis(redis_server, redis_url, tmp_path, root):
    """After Redis was flushed, nothing is removed, before and after it is used again."""
    options = {"storage_provider": "filesystem", "fs_root": root, "sandbox_id": "flushed", "redis_url": redis_url}
    with ArtifactStore(**options, session_provider="redis") as store:
        fill(store)
        orphan_path = root / "grid" / "flushed" / "alice" / ("0" * 32)
        orphan_path.write_bytes(b"orphan")
        age(root)
        assert store.cleanup(orphans=True).orphans == 1
        before = names(root)
        with redis_server.client() as client:
            keys = list(client.scan_iter("chuk:*flushed/*"))
            assert keys
            client.delete(*keys)
        refused(store)
    with ArtifactStore(**options, session_provider="redis") as store:
        fill(store)
        age(root)
        refused(store, force=True)
        assert set(before) < set(names(root))


def test_bucket_with_another_catalog(request, open_store, tmp_path):
    """A bucket too is swept only by the catalog that describes it, and not with records in memory."""
    options = {**s3_on_moto(request), "storage_provider": "s3", "session_provider": "sqlite"}
    fill(open_store(**options))
    for other in (
        open_store("other.sqlite3", **options),
        open_store(**{**options, "session_provider": "memory"}),
    ):
        refused(other, force=True)


def forget_identities(root, tmp_path, database="first.sqlite3"):
    """Make a store look like one of an earlier version."""
    for path in (root / "identity" / BOX).iterdir():
        path.unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / database)) as connection, connection:
        connection.execute("DROP TABLE identities")


def test_earlier_version_is_taken_over(open_store, root, tmp_path):
    """A sweep gives a store of an earlier version its identity, if the catalog knows existing bytes."""
    with open_store() as store:
        ids = fill(store)
    forget_identities(root, tmp_path)
    orphan(root)
    age(root)
    assert open_store().cleanup(orphans=True).orphans == 1
    assert names(root) == sorted(ids)
    assert len(list((root / "identity" / BOX).iterdir())) == 1


def test_earlier_version_is_taken_over_by_a_store(open_store, root, tmp_path):
    """The next artifact gives a store of an earlier version its identity, if the catalog knows existing bytes."""
    with open_store() as store:
        fill(store)
    forget_identities(root, tmp_path)
    store = open_store()
    store.store(b"x", session_id="alice")
    orphan(root)
    age(root)
    assert store.cleanup(orphans=True).orphans == 1


@pytest.mark.parametrize("stores_something", [False, True], ids=["empty", "used"])
def test_earlier_version_with_another_catalog(open_store, root, tmp_path, stores_something):
    """An empty catalog does not take over files of an earlier version, not even after it stored some."""
    with open_store() as store:
        fill(store)
    forget_identities(root, tmp_path)
    other = open_store("other.sqlite3")
    if stores_something:
        fill(other, 60)
    age(root)
    before = names(root)
    refused(other, force=True)
    assert names(root) == before


def test_earlier_version_whose_bytes_are_elsewhere(open_store, root, tmp_path):
    """A catalog whose records all point to missing bytes takes over nothing."""
    with open_store() as store:
        fill(store)
    forget_identities(root, tmp_path)
    for path in (root / "grid").rglob("*"):
        if path.is_file():
            path.unlink()
    orphan(root, session="bob")
    age(root)
    refused(open_store(), force=True)
    assert names(root) == ["0" * 32]


def test_lost_identity_of_the_storage(open_store, root):
    """A sweep reports that the storage lost the identity, and removes nothing."""
    store = open_store()
    fill(store)
    for path in (root / "identity" / BOX).iterdir():
        path.unlink()
    age(root)
    orphan(root)
    assert "the storage has no identity" in refused(store)


def test_nothing_stored_yet(open_store):
    """An unused store can be swept."""
    assert open_store().cleanup(orphans=True).orphans == 0


def test_more_than_half(open_store, root):
    """A sweep that would remove more than half of all objects, and more than 20, needs force."""
    store = open_store()
    ids = fill(store, 22)
    for number in range(23):
        orphan(root, f"{number:032x}")
    age(root)
    before = names(root)
    assert "23 of 45" in refused(store)
    assert names(root) == before
    assert store.cleanup(orphans=True, dry_run=True).orphans == 23
    assert names(root) == before
    assert store.cleanup(orphans=True, force=True).orphans == 23
    assert names(root) == sorted(ids)


def test_few_need_no_force(open_store, root):
    """Up to 20 orphans are removed without force, however few files there are."""
    store = open_store()
    (kept,) = fill(store, 1)
    for number in range(20):
        orphan(root, f"{number:032x}")
    age(root)
    assert store.cleanup(orphans=True).orphans == 20
    assert names(root) == [kept]


def test_dry_run(open_store, root, clock):
    """A dry run reports expired artifacts and orphans, and removes nothing."""
    store = open_store(clock=clock)
    store.store(b"12345", ttl=60, session_id="alice")
    kept = fill(store, 3)
    store.create_session(ttl_hours=0.5)
    orphan(root)
    temporary = root / "grid" / BOX / "alice" / f"{'d' * 32}.01234567.tmp"
    temporary.write_bytes(b"123")
    age(root)
    clock.advance(3600)
    before = names(root)
    dry = store.cleanup(orphans=True, dry_run=True)
    assert dry == {"sessions": 1, "artifacts": 1, "orphans": 2, "bytes": 5 + 6 + 3}
    assert names(root) == before
    assert store.cleanup(orphans=True) == dry
    assert names(root) == sorted(kept)


@pytest.mark.parametrize("older_than", [0, -1, DAY - 1, float("nan"), "7d", None, True])
def test_no_grace_below_a_day(open_store, older_than):
    """Orphans are kept for at least a day, whatever the caller passes."""
    with pytest.raises(ValueError, match="older_than"):
        open_store().cleanup(orphans=True, older_than=older_than)


def test_older_than(open_store, root):
    """Only orphans older than requested are removed."""
    store = open_store()
    fill(store, 1)
    orphan(root)
    age(root, 6 * DAY)
    assert store.cleanup(orphans=True, older_than=7 * DAY).orphans == 0
    assert store.cleanup(orphans=True, older_than=5 * DAY).orphans == 1


def test_clock_that_is_ahead(open_store, root, clock):
    """A process whose clock is days ahead removes nothing that others are storing."""
    fill(open_store(), 1)
    orphan(root)
    clock.advance(10 * DAY)
    ahead = open_store(clock=clock)
    assert ahead.cleanup(orphans=True, force=True).orphans == 0
    assert "0" * 32 in names(root)


def test_damaged_records_stop_a_sweep(open_store, root, tmp_path):
    """A damaged record stops a sweep, because its bytes would look like orphans."""
    store = open_store()
    ids = fill(store)
    with contextlib.closing(sqlite3.connect(tmp_path / "first.sqlite3")) as connection, connection:
        connection.execute("UPDATE artifacts SET record = 'rubbish' WHERE artifact_id = ?", (ids[0],))
    age(root)
    orphan(root)
    refused(store, force=True)
    assert set(ids) < set(names(root))


def test_a_record_that_comes_late_saves_its_bytes(open_store, root, monkeypatch):
    """The catalog is asked again just before the removal, so that bytes recorded meanwhile stay."""
    store = open_store()
    fill(store, 3)
    orphan(root)
    age(root)
    core = store.scope.core
    ids = []
    catalog = core.catalog
    get = catalog.get

    def slowly(artifact_ids):
        found = get(artifact_ids)
        if not ids:  # between the first look and the second, an artifact of these bytes appears
            ids.extend(artifact_ids)
            (record,) = catalog.sample(core.clock(), 1)
            key = f"grid/{BOX}/alice/{'0' * 32}"
            catalog.add([record.changed(artifact_id="0" * 32, key=key)], now=core.clock())
        return found

    monkeypatch.setattr(catalog, "get", slowly)
    assert store.cleanup(orphans=True).orphans == 0
    assert "0" * 32 in names(root)


def slow_items(clock, root, *, loses):
    """Yield two items of a batch, with half a day between them."""

    def slowly():
        clock.advance(DAY / 2)
        if loses:
            folder = root / "grid" / BOX / "alice"
            while not (whole := [path for path in folder.glob("*") if path.suffix != ".tmp"]):
                pass  # the first item is written beside this one
            whole[0].unlink()
        yield b"second"

    return [{"data": b"first"}, {"data": slowly()}]


@pytest.mark.parametrize("face", ["blocking", "aio"])
def test_batch_that_loses_its_first_bytes(open_store, root, clock, face):
    """A slow batch raises when its first bytes were removed meanwhile, and leaves nothing."""
    store = open_store(clock=clock)
    items = slow_items(clock, root, loses=True)
    with pytest.raises(ProviderError, match="store it again"):
        if face == "blocking":
            store.store_batch(items, "alice")
        else:
            asyncio.run(aio.ArtifactStore.wrap(store).store_batch(items, "alice"))
    assert names(root) == []
    assert store.list_by_session("alice") == []


def test_slow_batch_is_whole(open_store, root, clock):
    """A slow batch that loses nothing is stored."""
    store = open_store(clock=clock)
    ids = store.store_batch(slow_items(clock, root, loses=False), "alice")
    assert store.retrieve_batch(ids) == [b"first", b"second"]


def test_slow_update_that_loses_its_bytes(open_store, root, clock, monkeypatch):
    """A slow update raises when its bytes were removed meanwhile; the artifact stays as it was."""
    store = open_store(clock=clock)
    artifact_id = store.store(b"before", session_id="alice")
    storage = store.scope.core.storage
    put = storage.put

    def slow_put(key, *arguments, **options):
        done = put(key, *arguments, **options)
        clock.advance(DAY / 2)
        storage.delete([key])
        return done

    monkeypatch.setattr(storage, "put", slow_put)
    with pytest.raises(ProviderError, match="store it again"):
        store.update_file(artifact_id, data=b"after")
    assert store.retrieve(artifact_id) == b"before"


def test_slow_registration_that_loses_its_bytes(open_store, root, clock, monkeypatch):
    """A slow registration raises when the copy was removed meanwhile; it can be repeated."""
    store = open_store(clock=clock)
    _, artifact_id = store.presign_upload("alice", expires=7 * DAY)
    storage = store.scope.core.storage
    storage.put(f"{store.generate_artifact_key('alice', artifact_id)}~upload", b"uploaded")
    copy = storage.copy

    def slow_copy(source, target, size, **options):
        done = copy(source, target, size, **options)
        clock.advance(DAY / 2)
        return done

    monkeypatch.setattr(storage, "copy", slow_copy)
    measured = store.scope.core.storage.open

    def losing_open(key, *arguments, **options):
        file = measured(key, *arguments, **options)
        storage.delete([key])
        return file

    with monkeypatch.context() as patch:
        patch.setattr(storage, "open", losing_open)
        with pytest.raises(ProviderError, match="store it again"):
            store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"uploaded"


def test_grace_is_a_day_at_least():
    """Bytes without a record are kept for a day, as an upload of 100 GB takes more than an hour."""
    assert ORPHAN_GRACE_SECONDS >= DAY


def test_two_processes_start_at_once(open_store, root):
    """Two stores that start on one catalog at once write one identity, and either can sweep."""
    first, second = open_store(), open_store()
    catalog = first.scope.core.catalog
    identity = catalog.identity

    def racing(create=None):
        known = identity(create)
        if create is None and known is None:  # the other one comes in between, and stores
            catalog.identity = identity
            fill(second)
        return known

    catalog.identity = racing
    fill(first)
    assert len(list((root / "identity" / BOX).iterdir())) == 1
    orphan(root)
    age(root)
    assert first.cleanup(orphans=True).orphans == 1
    assert second.cleanup(orphans=True).orphans == 0


def test_identity_has_no_place_in_the_grid():
    """No session id leads to the keys of identities."""
    assert not grid.identity_prefix(BOX).startswith(grid.sandbox_prefix(BOX))
