"""What a search finds, on every store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from chuk_artifacts import AccessDeniedError, InvalidInputError
from chuk_artifacts.models import timestamp

HOUR = 3600.0
WITHOUT_ZONE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
BAD_TIMES = ["yesterday", "", WITHOUT_ZONE, "2026-01-01", True, float("nan"), float("inf"), 1e300, -1e15, [], b""]


@pytest.fixture
def filled(store, clock):
    """Return a store with artifacts of two sessions of ann and one of nobody."""
    store.create_session(user_id="ann", session_id="one")
    store.create_session(user_id="ann", session_id="two")
    store.store(b"1", session_id="one", filename="docs/b.png", meta={"tag": "q3", "n": 1})
    store.store(b"2", session_id="one", filename="docs/a.txt", meta={"tag": "q4", "n": True})
    clock.advance(HOUR)
    store.store(b"3", session_id="two", filename="docs/c.png", meta={"tag": "q3", "x": {"a": [1], "b": None}})
    store.store(b"4", session_id="three", filename="docs/d.png", meta={"tag": "q3"})
    store.store(b"5", session_id="three", filename="e", ttl=60)
    return store


def names(found):
    """Return the filenames of artifacts."""
    return [one.filename for one in found]


def test_search_in_a_session(filled):
    """A search in a session finds what meets all conditions, in the sequence of a listing."""
    assert names(filled.search("one")) == ["docs/a.txt", "docs/b.png"]
    assert list(filled.search("one")) == filled.list_by_session("one")
    assert names(filled.search("one", mime="image/*")) == ["docs/b.png"]
    assert names(filled.search("one", meta={"tag": "q3"})) == ["docs/b.png"]
    assert names(filled.search("one", meta={"n": 1.0})) == ["docs/b.png"]
    assert names(filled.search("one", meta={"n": True})) == ["docs/a.txt"]
    assert names(filled.search("two", meta={"x": {"b": None, "a": [1.0]}})) == ["docs/c.png"]
    assert names(filled.search("one", prefix="docs/a", mime="text/plain", meta={"tag": "q4"})) == ["docs/a.txt"]
    assert names(filled.search("one", mime="image/*", meta={"tag": "q4"})) == []
    assert names(filled.search("nobody's")) == []
    for limit, expected in ((0, []), (1, ["docs/a.txt"]), (5, ["docs/a.txt", "docs/b.png"])):
        assert names(filled.search("one", limit=limit)) == expected


def test_search_in_the_sandbox(filled, clock):
    """Without a session a search covers all, or those of a user, without what has expired."""
    assert sorted(names(filled.search())) == ["docs/a.txt", "docs/b.png", "docs/c.png", "docs/d.png", "e"]
    assert sorted(names(filled.search(user_id="ann"))) == ["docs/a.txt", "docs/b.png", "docs/c.png"]
    assert sorted(names(filled.search(mime="image/png"))) == ["docs/b.png", "docs/c.png", "docs/d.png"]
    assert sorted(names(filled.search(user_id="ann", meta={"tag": "q3"}))) == ["docs/b.png", "docs/c.png"]
    assert names(filled.search("one", user_id="ben")) == names(filled.search(user_id="ben")) == []
    assert names(filled.search("two", user_id="ann")) == ["docs/c.png"]
    assert len(list(filled.search(limit=3))) == 3
    clock.advance(60)
    assert names(filled.search("three")) == ["docs/d.png"]


def test_search_by_time(filled, clock):
    """Times are datetimes, ISO 8601 or seconds; the earliest is included, the latest is not."""
    later = datetime.fromisoformat(timestamp(clock.now))
    for moment in (later, later.isoformat(), clock.now, later.astimezone(timezone(timedelta(hours=5)))):
        assert sorted(names(filled.search(stored_after=moment))) == ["docs/c.png", "docs/d.png", "e"]
        assert sorted(names(filled.search(stored_before=moment))) == ["docs/a.txt", "docs/b.png"]
    (found,) = filled.search("two")
    assert names(filled.search("two", stored_after=found.stored_at)) == ["docs/c.png"]
    assert names(filled.search("two", stored_before=found.stored_at)) == []
    assert names(filled.search(stored_after=0, stored_before=1)) == []


def test_search_follows_changes(filled):
    """A search sees what an artifact is now, and no pending upload."""
    one = filled.lookup("docs/b.png", "one").artifact_id
    filled.update_metadata(one, meta={"tag": "new"}, mime="text/csv", filename="z")
    filled.presign_upload_and_register(mime="text/csv", summary="", session_id="one", filename="pending")
    assert names(filled.search("one", mime="text/csv", meta={"tag": "new"})) == ["z"]
    filled.delete(one)
    assert names(filled.search("one", mime="text/csv")) == []


def test_search_of_a_bound_store(filled):
    """A bound store sees its own session, that of a user the user's own, whatever it asks for."""
    bound = filled.session("one")
    assert names(bound.search()) == names(bound.search("one")) == ["docs/a.txt", "docs/b.png"]
    assert names(bound.search(user_id="ann", meta={"tag": "q3"})) == ["docs/b.png"]
    assert names(bound.search(user_id="ben")) == []
    with pytest.raises(AccessDeniedError):
        list(bound.search("two"))
    filled.user("ann").store(b"own", filename="own")
    assert names(filled.user("ann").search()) == ["own"]
    assert sorted(names(filled.search(user_id="ann"))) == ["docs/a.txt", "docs/b.png", "docs/c.png", "own"]


def test_found_metadata_is_a_copy(filled):
    """What a search yields can be changed without changing the store."""
    for found in filled.search("one"):
        found.meta["tag"] = "changed"
    assert names(filled.search(meta={"tag": "changed"})) == []


@pytest.mark.same_everywhere
def test_bad_search(store):
    """A malformed argument is refused when the search is asked for, or at its first result."""
    for options in (
        *({"prefix": value} for value in (None, 5, "\ud800")),
        *({"mime": value} for value in ("image", "", "*", "*/png", "image/p*", "a/b/c", 5, "im age/*", "ü/*")),
        *({"meta": value} for value in ("tag", [1], {1: 2}, {"a": float("nan")}, {"a": object()}, {"a": b"x"})),
        *({"limit": value} for value in (-1, 1.5, "1", True)),
        *({"user_id": value} for value in (5, "\ud800", "x" * 256)),
        *({"session_id": value} for value in ("", "..", "a/b", 5)),
        *({name: value} for name in ("stored_after", "stored_before") for value in BAD_TIMES),
    ):
        with pytest.raises(InvalidInputError):
            list(store.search(**options))
