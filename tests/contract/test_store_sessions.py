"""What every store does with sessions and time: time to live, expiry, cleanup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import pytest
from orphans import orphans

from chuk_artifacts import ArtifactExpiredError, ArtifactNotFoundError, InvalidInputError, SessionInfo

SESSION = "user_alice"
HOUR = 3600
DAY = 24 * HOUR
SESSION_FIELDS = ["session_id", "sandbox_id", "user_id", "created_at", "expires_at", "custom_metadata"]
BAD_SESSIONS = ["", ".", "..", "a/b", "a\\b", "a\n", "x" * 256, "\ud800", 5]
BAD_HOURS = [0, -1, float("nan"), float("inf"), 1e300, "1", True]
BAD_META = [[1], "{}", {1: 2}, {"a": float("nan")}, {"a": {1}}]

SESSION_METHODS = {
    "validate_session": lambda store, one: store.validate_session(one),
    "get_session_info": lambda store, one: store.get_session_info(one),
    "update_session_metadata": lambda store, one: store.update_session_metadata(one, {"a": 1}),
    "extend_session_ttl": lambda store, one: store.extend_session_ttl(one, 1),
    "delete_session": lambda store, one: store.delete_session(one),
}


def seconds(moment):
    """Return a timestamp in seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def life(info):
    """Return the time to live of a session, in seconds from its creation."""
    return pytest.approx(seconds(info.expires_at) - seconds(info.created_at))


def counts(report):
    """Return the fields of a cleanup report, and check that there are no others."""
    assert isinstance(report, Mapping)
    assert dict(report) == {
        "sessions": report.sessions,
        "artifacts": report.artifacts,
        "orphans": report.orphans,
        "bytes": report.bytes,
    }
    return tuple(report.values())


# Sessions


def test_create_session(store, clock):
    """A new session has the given values, lives for a day, and is empty."""
    session_id = store.create_session("u1", custom_metadata={"plan": {"name": "free"}})
    assert store.validate_session(session_id)
    info = store.get_session_info(session_id)
    assert (info.session_id, info.user_id, info.custom_metadata) == (session_id, "u1", {"plan": {"name": "free"}})
    assert info.sandbox_id == store.get_sandbox_info()["sandbox_id"]
    assert seconds(info.created_at) == pytest.approx(clock.now, abs=1e-5)
    assert life(info) == DAY
    assert store.list_by_session(session_id) == []
    assert store.create_session() != session_id


def test_create_session_without_a_user(store):
    """A session need not have a user or metadata."""
    info = store.get_session_info(store.create_session())
    assert (info.user_id, info.custom_metadata) == (None, {})


@pytest.mark.parametrize("hours", [1, 0.5, 48])
def test_create_session_with_a_ttl(store, clock, hours):
    """A session has the given time to live, and so have its artifacts by default."""
    session_id = store.create_session(ttl_hours=hours)
    assert life(store.get_session_info(session_id)) == hours * HOUR
    assert store.metadata(store.store(b"abc", session_id=session_id)).ttl == hours * HOUR
    assert store.metadata(store.store(b"abc", session_id=session_id, ttl=60)).ttl == 60
    clock.advance(hours * HOUR + 1)
    assert not store.validate_session(session_id)
    assert store.get_session_info(session_id) is None


@pytest.mark.same_everywhere
def test_create_session_bad_arguments(store, subtests):
    """Each invalid argument is refused, and no session is created."""
    cases = [{"user_id": 5}, {"user_id": "\ud800"}]
    cases += [{"ttl_hours": hours} for hours in BAD_HOURS]
    cases += [{"custom_metadata": meta} for meta in BAD_META]
    for case in cases:
        with subtests.test(repr(case)), pytest.raises(InvalidInputError, match=next(iter(case))):
            store.create_session(**case)
    assert store.get_stats()["sessions"] == 0


def test_session_info(store):
    """Session info is a frozen mapping of its documented fields, and can be JSON."""
    store.store(b"abc", session_id=SESSION, user_id="u1")
    info = store.get_session_info(SESSION)
    assert isinstance(info, SessionInfo)
    assert isinstance(info, Mapping)
    assert list(info) == SESSION_FIELDS
    assert all(info[name] == getattr(info, name) for name in SESSION_FIELDS)
    assert json.loads(json.dumps(dict(info))) == dict(info)
    assert info == store.get_session_info(SESSION)
    with pytest.raises(AttributeError):
        info.user_id = "u2"


def test_session_metadata_is_copied(store):
    """Modifying custom metadata that was passed in or returned does not change the stored one."""
    created, added = {"list": [1]}, {"more": [1]}
    session_id = store.create_session(custom_metadata=created)
    store.update_session_metadata(session_id, added)
    created["list"].append(2)
    added["more"].append(2)
    store.get_session_info(session_id).custom_metadata["list"].append(2)
    assert store.get_session_info(session_id).custom_metadata == {"list": [1], "more": [1]}


@pytest.mark.parametrize("method", SESSION_METHODS)
def test_missing_session(store, clock, method):
    """Each method reports an unknown, expired or deleted session as missing."""
    store.store(b"abc", session_id="expired")
    clock.advance(DAY + 1)
    store.store(b"abc", session_id="deleted")
    store.delete_session("deleted")
    for session_id in ("unknown", "expired", "deleted"):
        assert not SESSION_METHODS[method](store, session_id)
        assert store.get_session_info(session_id) is None


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", SESSION_METHODS)
def test_malformed_session_id(store, method, subtests):
    """A malformed session id is refused."""
    for session_id in BAD_SESSIONS:
        with subtests.test(repr(session_id)[:20]), pytest.raises(InvalidInputError, match="session_id"):
            SESSION_METHODS[method](store, session_id)


def test_update_session_metadata(store):
    """Session metadata is merged key by key, and nothing else changes."""
    session_id = store.create_session("u1", custom_metadata={"a": 1, "deep": {"x": 1}})
    before = store.get_session_info(session_id)
    assert store.update_session_metadata(session_id, {"b": 2, "deep": {"y": 2}}) is True
    after = store.get_session_info(session_id)
    assert after.custom_metadata == {"a": 1, "b": 2, "deep": {"y": 2}}
    assert dict(after) == {**before, "custom_metadata": after.custom_metadata}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("metadata", [None, *BAD_META])
def test_update_session_metadata_bad_arguments(store, metadata):
    """Anything but a JSON object is refused, and nothing changes."""
    session_id = store.create_session(custom_metadata={"a": 1})
    with pytest.raises(InvalidInputError, match="metadata"):
        store.update_session_metadata(session_id, metadata)
    assert store.get_session_info(session_id).custom_metadata == {"a": 1}


def test_extend_session_ttl(store, clock):
    """A session is extended from its present expiry, for later artifacts, not for present ones."""
    artifact_id = store.store(b"abc", session_id=SESSION)
    assert store.extend_session_ttl(SESSION, 1.5) is True
    assert life(store.get_session_info(SESSION)) == DAY + 1.5 * HOUR
    assert store.metadata(artifact_id).ttl == DAY
    later_id = store.store(b"abc", session_id=SESSION)
    assert store.metadata(later_id).ttl == DAY + 1.5 * HOUR
    store.delete(later_id)
    clock.advance(DAY + HOUR)
    assert store.validate_session(SESSION)
    assert not store.exists(artifact_id)
    clock.advance(HOUR)
    assert not store.validate_session(SESSION)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("hours", [None, *BAD_HOURS])
def test_extend_session_ttl_bad_arguments(store, hours):
    """Anything but a finite number of hours above 0 is refused, and nothing changes."""
    session_id = store.create_session()
    with pytest.raises(InvalidInputError, match="additional_hours"):
        store.extend_session_ttl(session_id, hours)
    assert life(store.get_session_info(session_id)) == DAY


def test_delete_session(store, clock):
    """A session is deleted with its artifacts and all their bytes; other sessions stay."""
    ids = store.store_batch([{"data": b"abc", "filename": name} for name in "abc"], session_id=SESSION)
    store.update_file(ids[0], data=b"after")
    other_id = store.store(b"abc", session_id="user_bob")
    assert store.delete_session(SESSION) is True
    assert store.delete_session(SESSION) is False
    assert [store.exists(one) for one in (*ids, other_id)] == [False, False, False, True]
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(ids[0])
    assert store.list_by_session(SESSION) == []
    assert not store.validate_session(SESSION)
    assert store.validate_session("user_bob")
    assert orphans(store) == []


def test_deleted_session_begins_anew(store, clock):
    """A deleted session's id can be used again for a new, empty session."""
    old_id = store.store(b"abc", session_id=SESSION, user_id="u1")
    store.update_session_metadata(SESSION, {"a": 1})
    store.delete_session(SESSION)
    clock.advance(60)
    new_id = store.store(b"abc", session_id=SESSION)
    info = store.get_session_info(SESSION)
    assert (info.user_id, info.custom_metadata) == (None, {})
    assert seconds(info.created_at) == pytest.approx(clock.now, abs=1e-5)
    assert [one.artifact_id for one in store.list_by_session(SESSION)] == [new_id]
    assert not store.exists(old_id)


# Lives


def test_artifact_lives_as_long_as_a_session(store, clock):
    """By default an artifact lives for a day from when it was stored, and extends its session."""
    first_id = store.store(b"abc", session_id=SESSION)
    clock.advance(20 * HOUR)
    second_id = store.store(b"abc", session_id=SESSION)
    clock.advance(5 * HOUR)
    assert [store.exists(one) for one in (first_id, second_id)] == [False, True]
    assert store.validate_session(SESSION)
    clock.advance(20 * HOUR)
    assert not store.exists(second_id)
    assert not store.validate_session(SESSION)


@pytest.mark.parametrize("ttl", [0.5, 60, 10 * DAY])
def test_artifact_with_a_ttl(store, clock, ttl):
    """An artifact lives for its ttl."""
    metadata = store.metadata(store.store(b"abc", ttl=ttl))
    assert metadata.ttl == ttl
    assert seconds(metadata.expires_at) - seconds(metadata.stored_at) == pytest.approx(ttl)
    clock.advance(ttl - 0.1)
    assert store.exists(metadata.artifact_id)
    clock.advance(0.2)
    assert not store.exists(metadata.artifact_id)


def test_session_lives_as_long_as_its_longest_artifact(store, clock):
    """A session outlives its default for a long-lived artifact, and does not end early with a short one."""
    store.store_batch([{"data": b"abc", "ttl": ttl} for ttl in (10, 3 * DAY, 60)], session_id=SESSION)
    assert life(store.get_session_info(SESSION)) == 3 * DAY
    store.store(b"abc", session_id="user_bob", ttl=10)
    assert life(store.get_session_info("user_bob")) == DAY
    clock.advance(3 * DAY - 1)
    assert len(store.list_by_session(SESSION)) == 1
    assert store.validate_session(SESSION)


def test_default_ttl_of_a_store(rig, clock):
    """The store's setting is the default time to live of sessions."""
    store = rig.open(session_ttl_hours=0.5)
    artifact_id = store.store(b"abc", session_id=SESSION)
    assert life(store.get_session_info(SESSION)) == 0.5 * HOUR
    assert store.metadata(artifact_id).ttl == 0.5 * HOUR
    assert store.get_sandbox_info()["session_ttl_hours"] == 0.5
    clock.advance(0.5 * HOUR + 1)
    assert not store.exists(artifact_id)


def test_no_expiry_by_default(rig, clock):
    """Without a default, sessions and artifacts never expire unless they get a ttl."""
    store = rig.open(session_ttl_hours=None)
    artifact_id, short_id = store.store(b"abc", session_id=SESSION), store.store(b"abc", session_id=SESSION, ttl=60)
    metadata = store.metadata(artifact_id)
    assert (metadata.ttl, metadata.expires_at) == (None, None)
    assert store.get_session_info(SESSION).expires_at is None
    assert store.extend_session_ttl(SESSION, 1)
    limited = store.create_session(ttl_hours=1)
    clock.advance(100 * 365 * DAY)
    assert counts(store.cleanup()) == (1, 1, 0, 3)
    assert store.retrieve(artifact_id) == b"abc"
    assert store.get_session_info(SESSION).expires_at is None
    assert not store.exists(short_id)
    assert not store.validate_session(limited)


@pytest.mark.parametrize("cleaned", [False, True])
def test_expired_session_begins_anew(store, clock, cleaned):
    """An expired session's id can be used again for a new session without the old files."""
    old_id = store.store(b"old", filename="old", session_id=SESSION, user_id="u1")
    store.update_session_metadata(SESSION, {"a": 1})
    clock.advance(DAY + 1)
    if cleaned:
        store.cleanup()
    new_id = store.store(b"new", filename="new", session_id=SESSION)
    info = store.get_session_info(SESSION)
    assert (info.user_id, info.custom_metadata) == (None, {})
    assert seconds(info.created_at) == pytest.approx(clock.now, abs=1e-5)
    assert [one.artifact_id for one in store.list_by_session(SESSION)] == [new_id]
    with pytest.raises(ArtifactExpiredError):
        store.retrieve(old_id)
    assert store.delete_session(SESSION)
    assert not store.exists(new_id)


# Cleanup


def test_expired_artifact_stays_known(store, clock):
    """For an hour after its expiry an artifact raises expired, cleanup or not; its bytes are gone."""
    artifact_id = store.store(b"abc", ttl=60)
    clock.advance(61)
    for _ in range(2):
        with pytest.raises(ArtifactExpiredError):
            store.retrieve(artifact_id)
        store.cleanup()
    clock.advance(HOUR - 10)
    store.cleanup()
    with pytest.raises(ArtifactExpiredError):
        store.metadata(artifact_id)
    assert not store.exists(artifact_id)
    assert store.get_stats()["bytes"] == 0


def test_expired_artifact_is_forgotten(store, clock):
    """More than an hour after its expiry cleanup removes an artifact's record, and counts it once."""
    artifact_id = store.store(b"abc", ttl=60)
    clock.advance(61)
    assert store.cleanup().artifacts == 1
    clock.advance(HOUR)
    assert counts(store.cleanup()) == (0, 0, 0, 0)
    assert orphans(store) == []
    with pytest.raises(ArtifactNotFoundError) as caught:
        store.retrieve(artifact_id)
    assert not isinstance(caught.value, ArtifactExpiredError)


def test_cleanup(store, clock):
    """Cleanup removes what expired, and returns the numbers of sessions, artifacts and bytes."""
    store.store_batch([{"data": b"abc", "ttl": 60}, {"data": b"defgh"}], session_id=SESSION)
    living_id = store.store(b"abc", session_id="user_bob", ttl=3 * DAY)
    short_id = store.store(b"x", session_id="user_bob", ttl=60)
    empty = store.create_session(ttl_hours=1)
    assert counts(store.cleanup()) == (0, 0, 0, 0)
    clock.advance(DAY + 1)
    assert counts(store.cleanup()) == (2, 3, 0, 9)
    assert counts(store.cleanup()) == (0, 0, 0, 0)
    assert orphans(store) == []
    assert [store.validate_session(one) for one in (SESSION, "user_bob", empty)] == [False, True, False]
    assert store.retrieve(living_id) == b"abc"
    assert not store.exists(short_id)
    assert [one.artifact_id for one in store.list_by_session("user_bob")] == [living_id]


def test_cleanup_expired_sessions(store, clock):
    """The documented method counts sessions, and removes expired artifacts too."""
    store.store(b"abc", session_id=SESSION)
    store.create_session()
    store.store(b"abc", session_id="user_bob", ttl=3 * DAY)
    store.store(b"abc", session_id="user_bob")
    assert store.cleanup_expired_sessions() == 0
    clock.advance(DAY + 1)
    assert store.cleanup_expired_sessions() == 2
    assert orphans(store) == []
    assert store.cleanup_expired_sessions() == 0
    assert len(store.list_by_session("user_bob")) == 1


def test_cleanup_of_many(store, clock):
    """One cleanup removes any number of artifacts."""
    store.store_batch([{"data": b"abc"}] * 520, session_id=SESSION, ttl=60)
    clock.advance(61)
    assert counts(store.cleanup()) == (0, 520, 0, 1560)


def test_cleanup_of_superseded_bytes(store, clock):
    """Superseded bytes are kept for an hour, then removed; the artifact stays as it is."""
    artifact_id = store.store(b"first")
    store.update_file(artifact_id, data=b"the second")
    clock.advance(HOUR / 2)
    after = store.update_file(artifact_id, data=b"third")
    assert counts(store.cleanup()) == (0, 0, 0, 0)
    clock.advance(HOUR / 2 + 1)
    assert counts(store.cleanup()) == (0, 0, 0, len(b"first"))
    clock.advance(HOUR / 2)
    assert counts(store.cleanup()) == (0, 0, 0, len(b"the second"))
    assert orphans(store) == []
    assert store.metadata(artifact_id) == after
    assert store.retrieve(artifact_id) == b"third"


def test_cleanup_counts_superseded_bytes(store, clock):
    """An expired artifact is removed with the bytes of all its revisions."""
    artifact_id = store.store(b"first", ttl=60)
    store.update_file(artifact_id, data=b"the second")
    clock.advance(61)
    assert counts(store.cleanup()) == (0, 1, 0, len(b"first") + len(b"the second"))
    assert orphans(store) == []


def test_recorded_bytes_are_no_orphans(store, clock):
    """An orphan sweep leaves all bytes that a record points to."""
    artifact_id = store.store(b"first", session_id=SESSION)
    store.update_file(artifact_id, data=b"second")
    copy_id = store.copy_file(artifact_id)
    (batch_id,) = store.store_batch([{"data": b"batch"}], session_id="üser 1")
    store.move_file(batch_id, new_filename="moved")
    assert orphans(store) == []
    assert store.retrieve_batch([artifact_id, copy_id, batch_id]) == [b"second", b"second", b"batch"]
