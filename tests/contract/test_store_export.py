"""An export of a catalog brings back what the catalog knew, in whatever backend, and keeps what is newer there."""

from __future__ import annotations

import io

import pytest

from chuk_artifacts import ArtifactStore

SESSION = "user_alice"
HOUR = 3600


def core_of(store):
    """Return the open backends of a store, blocking or async."""
    blocking = store if isinstance(store, ArtifactStore) else store._store._blocking
    return blocking.scope.core


def lose(store):
    """Remove all records and sessions from the catalog of a store, and leave the bytes."""
    core = core_of(store)
    for info in list(store.iter_sessions()):
        while core.catalog.remove_session(info.session_id, 0, 100) is not None:
            pass


def exported(store):
    """Return an export, as a file."""
    file = io.BytesIO()
    store.export_catalog(file)
    file.seek(0)
    return file


def everything(store):
    """Return all that can be read of the sessions of a store, and their usage."""
    infos = sorted(store.iter_sessions(), key=lambda info: info.session_id)
    found = []
    for info in infos:
        for one in store.list_by_session(info.session_id):
            content = store.retrieve(one.artifact_id)
            found.append((dict(one), content, [dict(version) for version in store.versions(one.artifact_id)]))
    return [dict(info) for info in infos], found, [dict(store.usage(info.session_id)) for info in infos]


@pytest.fixture
def filled(store, clock):
    """Return a store with sessions of users, an earlier content, an end, and changes of all kinds."""
    store.create_session(session_id="empty", user_id="ann", custom_metadata={"é": ["1", None]}, ttl_hours=2)
    one = store.store(b"one", filename="docs/é.txt", session_id=SESSION, user_id="ann", meta={"a": [1, "\u2028"]})
    two = store.store(b"two", filename="two", session_id=SESSION, keep_versions=3, ttl=2 * HOUR)
    store.store(b"three", session_id="bob", ttl=60)
    store.user("ben").store(b"four", filename="four")
    clock.advance(1)
    store.update_file(two, data=b"two, again", mime="text/plain")
    store.update_metadata(one, summary='"a"\nb', filename="docs/new.txt")
    store.extend_ttl(one, 5 * HOUR)
    store.update_session_metadata(SESSION, {"k": "v"})
    return store


def test_round_trip(filled):
    """After the loss of all records, an import brings everything back, as often as it is made."""
    before, file = everything(filled), exported(filled)
    assert filled.import_catalog(file) == 0
    lose(filled)
    assert list(filled.iter_sessions()) == []
    file.seek(0)
    assert filled.import_catalog(file, dry_run=True) == 4
    assert list(filled.iter_sessions()) == []
    file.seek(0)
    assert filled.import_catalog(file) == 4
    assert everything(filled) == before
    assert {info.session_id for info in filled.iter_sessions(user_id="ann")} == {"empty", SESSION}
    file.seek(0)
    assert filled.import_catalog(file) == 0
    assert everything(filled) == before


def test_what_is_newer_stays(filled, clock):
    """What was changed, stored or extended after the export stays; what was removed since comes back as a record."""
    file = exported(filled)
    clock.advance(1)
    one, two = filled.list_by_session(SESSION)
    filled.update_file(one.artifact_id, data=b"newer")
    filled.update_metadata(two.artifact_id, meta={"newer": True})
    filled.update_session_metadata(SESSION, {"k": "newer"})
    filled.store(b"five", filename="five", session_id=SESSION)
    before = everything(filled)
    assert filled.import_catalog(file) == 0
    found = everything(filled)
    assert found[1:] == before[1:]


@pytest.mark.same_everywhere
def test_session_metadata_stays(filled):
    """The metadata of a session that changed after the export stays, too."""
    file = exported(filled)
    filled.update_session_metadata(SESSION, {"k": "newer"})
    filled.import_catalog(file)
    assert filled.get_session_info(SESSION).custom_metadata["k"] == "newer"


@pytest.mark.same_everywhere
def test_expired_items_are_left_out(filled, clock):
    """What has expired is neither exported nor imported."""
    file = exported(filled)
    lose(filled)
    clock.advance(90)
    assert filled.import_catalog(file) == 3
    assert filled.list_by_session("bob") == []
    clock.advance(3 * HOUR)
    later = exported(filled).getvalue()
    assert b'"two"' not in later
    assert b'"empty"' not in later


@pytest.mark.same_everywhere
def test_pending_uploads_are_exported(store):
    """The record of an upload that is awaited comes back, so that the upload can be registered."""
    _, artifact_id = store.presign_upload(SESSION, "up.txt")
    file = exported(store)
    lose(store)
    assert store.import_catalog(file) == 1
    core_of(store).storage.put(core_of(store).catalog.get((artifact_id,))[0].key, b"uploaded")
    assert store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"uploaded"
