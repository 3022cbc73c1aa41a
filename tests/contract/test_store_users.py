"""Users: their sessions, their own files across sessions, and their erasure, on every store."""

from __future__ import annotations

import pytest

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    InvalidInputError,
    SessionInfo,
)
from chuk_artifacts.operations import cleanup

HOUR = 3600.0
DAY = 24 * HOUR


def core_of(store):
    """Return the backends of a store of either face."""
    inner = getattr(store, "_store", store)
    return getattr(inner, "_blocking", inner).scope.core


def keys(store):
    """Return the keys of all objects."""
    return sorted(item.key for item in core_of(store).storage.list_objects("grid/"))


def names(store, user_id=None, **options):
    """Return the ids of a user's sessions, sorted."""
    return sorted(info.session_id for info in store.iter_sessions(user_id=user_id, **options))


def test_sessions_of_a_user(store, clock):
    """Sessions are listed by their user, however they got it, until they expire."""
    first = store.create_session(user_id="ann", custom_metadata={"a": 1})
    store.create_session(user_id="ben", session_id="of ben")
    store.store(b"x", session_id="stored", user_id="ann")
    store.store(b"x", session_id="nobody's")
    store.store_batch([{"data": b"x", "session_id": "batch", "user_id": "ann", "ttl": 30 * DAY}])
    assert names(store, "ann") == names(store, "ann", page_size=1) == sorted([first, "stored", "batch"])
    assert names(store, "ben") == ["of ben"]
    assert names(store, "cid") == []
    assert names(store) == names(store, page_size=2) == sorted([first, "of ben", "stored", "batch", "nobody's"])
    found = {info.session_id: info for info in store.iter_sessions(user_id="ann")}
    assert isinstance(found[first], SessionInfo)
    assert found[first] == store.get_session_info(first)
    found[first].custom_metadata["a"] = 2
    assert store.get_session_info(first).custom_metadata == {"a": 1}
    clock.advance(DAY)
    assert names(store, "ann") == names(store) == ["batch"]
    store.cleanup()
    assert names(store, "ann") == ["batch"]
    store.delete_session("batch")
    assert names(store, "ann") == []


def test_create_a_session_of_a_given_id(store, clock):
    """A session id that lives is a conflict; one that has expired begins anew."""
    assert store.create_session(session_id="mine", user_id="ann", ttl_hours=1) == "mine"
    with pytest.raises(ConflictError, match="mine"):
        store.create_session(session_id="mine", user_id="ben")
    assert store.get_session_info("mine").user_id == "ann"
    store.store(b"x", session_id="stored")
    with pytest.raises(ConflictError):
        store.create_session(session_id="stored")
    clock.advance(HOUR)
    assert store.create_session(session_id="mine", user_id="ben") == "mine"
    assert store.get_session_info("mine").user_id == "ben"
    store.delete_session("mine")
    assert store.create_session(session_id="mine") == "mine"


def test_own_files_of_a_user(store, clock):
    """A user's own files belong to the user, never expire, and are in the session of that name."""
    own = store.user("ann")
    kept = own.store(b"kept", filename="a")
    short = own.store(b"short", ttl=60)
    info = store.get_session_info("user:ann")
    assert (info.user_id, info.expires_at) == ("ann", None)
    assert own.metadata(kept).expires_at is None
    assert own.metadata(short).ttl == 60
    assert names(store, "ann") == ["user:ann"]
    copy = own.copy_file(kept)
    clock.advance(1000 * DAY)
    store.cleanup()
    assert own.retrieve(kept) == own.retrieve(copy) == store.retrieve(kept) == b"kept"
    with pytest.raises(ArtifactNotFoundError):
        own.retrieve(short)
    assert [one.filename for one in own.list_files()] == ["a", "a"]
    assert dict(own.usage()) == {"artifacts": 2, "bytes": 8}
    assert store.session("user:ann").exists(kept)


def test_own_files_of_users_of_any_name(store):
    """User ids that are no session ids are encoded; none leads to the files of another user."""
    users = ["ann", "a/b", "a%2Fb", "..", ".", "a\\b", "ü", "a\nb", "%", "user:ann", "x" * 250]
    for user_id in users:
        store.user(user_id).store(user_id.encode(), filename="name")
    for user_id in users:
        own = store.user(user_id)
        (found,) = own.list_files()
        assert own.retrieve(found.artifact_id) == user_id.encode()
        assert store.get_session_info(found.session_id).user_id == user_id
        assert names(store, user_id) == [found.session_id]


def test_bound_stores_reach_no_other_user(store):
    """A bound store can't leave its session for a user's own files."""
    bound = store.session("session")
    for call in (
        lambda: bound.user("ann"),
        lambda: bound.delete_user("ann"),
        lambda: list(bound.iter_sessions()),
        lambda: bound.create_session(session_id="x"),
    ):
        with pytest.raises(AccessDeniedError):
            call()
    own = store.user("ann")
    one = own.user("ann").store(b"x")
    assert own.exists(one)
    with pytest.raises(AccessDeniedError):
        own.user("ben")


def fill(store, user_id):
    """Store for a user whatever can be stored, and return the number of living artifacts."""
    for session_id in (f"first of {user_id}", f"second of {user_id}"):
        store.create_session(user_id=user_id, session_id=session_id)
        bound = store.session(session_id)
        one = bound.store(b"1", filename="docs/a", meta={"a": 1})
        bound.update_file(one, data=b"22")
        bound.update_file(one, data=b"333")
        bound.store(b"short", ttl=60)
        bound.presign_upload(filename="pending")
        bound.presign_upload_and_register(mime="text/plain", summary="pending")
    store.store_batch([{"data": b"x"}] * 3, session_id=f"by storing of {user_id}")
    store.store(b"y", session_id=f"by storing of {user_id}", user_id=user_id)
    store.user(user_id).store(b"own", filename="own")
    return 2 + 4 + 1


def test_erasure(store, clock):
    """Nothing of a user is left, in storage and catalog, and nothing of others is lost."""
    others = store.store(b"others", session_id="others")
    fill(store, "ben")
    before, usage = keys(store), store.usage()
    living = fill(store, "ann")
    clock.advance(61)
    assert store.delete_user("ann") == living
    assert keys(store) == before
    assert store.usage() == usage
    assert names(store, "ann") == []
    assert names(store) == sorted(["others", "by storing of ben", "first of ben", "second of ben", "user:ben"])
    catalog = core_of(store).catalog
    for session_id in ("first of ann", "second of ann", "by storing of ann", "user:ann"):
        assert catalog.get_session(session_id, 0) is None
        assert catalog.page(session_id, prefix="", after=None, limit=10, now=0) == []
    assert store.retrieve(others) == b"others"
    assert store.delete_user("ann") == store.delete_user("nobody") == 0


def test_erasure_of_expired_sessions(store, clock):
    """Sessions that have expired, and were not cleaned up, are erased too."""
    fill(store, "ann")
    clock.advance(2 * DAY)
    assert names(store, "ann") == ["user:ann"]
    assert store.delete_user("ann") == 1
    assert keys(store) == []
    assert names(store, "ann") == []
    assert core_of(store).catalog.sessions(0, 10, user_id="ann").found == []
    assert dict(store.usage()) == {"artifacts": 0, "bytes": 0}


def test_erasure_of_many(store):
    """A user of more sessions and artifacts than one page holds is erased whole."""
    for number in range(30):
        store.create_session(user_id="ann", session_id=f"s{number}")
    store.store_batch([{"data": b"x"}] * 60, session_id="s7")
    cleanup._PAGE, page = 7, cleanup._PAGE
    try:
        assert store.delete_user("ann") == 60
    finally:
        cleanup._PAGE = page
    assert names(store) == keys(store) == []


@pytest.mark.parametrize("crash", ["bytes", "records"])
def test_erasure_after_a_crash(store, monkeypatch, crash):
    """An erasure that breaks off anywhere is finished by a second call, and leaves nothing."""
    fill(store, "ann")
    core = core_of(store)
    target, name = (core.storage, "delete") if crash == "bytes" else (core.catalog, "remove")
    method, calls = getattr(target, name), []
    for survived in range(3):

        def fail(*arguments, survived=survived, **options):
            calls.append(1)
            if len(calls) > survived:
                raise ArtifactStoreError("a crash")
            return method(*arguments, **options)

        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(ArtifactStoreError):
                store.delete_user("ann")
    store.delete_user("ann")
    assert keys(store) == []
    assert names(store, "ann") == []
    assert dict(store.usage()) == {"artifacts": 0, "bytes": 0}


@pytest.mark.same_everywhere
def test_bad_users(store):
    """A malformed user id is refused before anything is read or written."""
    for user_id in (None, "", 5, "\ud800", "x" * 251, "/" * 84):
        with pytest.raises(InvalidInputError):
            store.user(user_id)
    for user_id in (None, 5, "\ud800", "x" * 256):
        with pytest.raises(InvalidInputError):
            store.delete_user(user_id)
    for user_id in (5, "\ud800", "x" * 256):
        with pytest.raises(InvalidInputError):
            list(store.iter_sessions(user_id=user_id))
    for page_size in (0, -1, 1.5, "1", None):
        with pytest.raises(InvalidInputError):
            list(store.iter_sessions(page_size=page_size))
    for session_id in ("", "..", "a/b", 5):
        with pytest.raises(InvalidInputError):
            store.create_session(session_id=session_id)
    for options in ({"user_id": "ben"}, {"ttl_hours": 1}):
        with pytest.raises(InvalidInputError, match="own"):
            store.create_session(session_id="user:ann", **options)
    store.create_session(session_id="user:ann")
    assert store.get_session_info("user:ann").user_id == "ann"
