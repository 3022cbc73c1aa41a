"""What every catalog knows of sessions and their users."""

from __future__ import annotations

import threading

import pytest
from records import NOW, name, record

from chuk_artifacts.catalog import new_session

DAY = 86400.0


def session(session_id, user_id=None, ttl=DAY, now=NOW):
    """Return a session."""
    return new_session(session_id, "box", now=now, ttl=ttl, user_id=user_id)


def sessions(catalog, user_id=None, *, now=NOW, limit=100):
    """Return the ids of all sessions, read page by page, sorted."""
    found, after = [], None
    while True:
        page = catalog.sessions(now, limit, user_id=user_id, after=after)
        assert len(page.found) <= limit
        found += [info.session_id for info in page.found]
        after = page.after
        if after is None:
            return sorted(found)


def test_created_once(catalog):
    """A session is created if there is no living one of that id, and otherwise stays as it is."""
    assert catalog.create_session(session("alice", "ann"))
    assert not catalog.create_session(session("alice", "ben"))
    assert catalog.get_session("alice", NOW).user_id == "ann"
    assert catalog.create_session(session("alice", "ben", now=NOW + DAY))
    assert catalog.get_session("alice", NOW + DAY).user_id == "ben"
    assert sessions(catalog, "ann") == []
    assert sessions(catalog, "ben") == ["alice"]


def test_created_after_another_process_removed_it(open_catalog):
    """A session that another instance has removed can be created again."""
    first, second = open_catalog(), open_catalog()
    if first.provider == "memory":
        second = first
    assert first.create_session(session("alice"))
    assert second.remove_session("alice", NOW, 10) == []
    assert first.create_session(session("alice"))
    assert not second.create_session(session("alice"))


def test_one_of_many_creates_it(open_catalog):
    """Of concurrent creations of one session, one succeeds."""
    catalogs = [open_catalog() for _ in range(6)]
    if catalogs[0].provider == "memory":
        catalogs = catalogs[:1] * 6
    made = []
    threads = [
        threading.Thread(target=lambda one=one: made.append(one.create_session(session("alice")))) for one in catalogs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 5 + [True]


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
def test_sessions_page_by_page(catalog, limit):
    """Pages of any length return each living session once, and those of a user only to that user."""
    names = [f"s{number}" for number in range(12)]
    for number, one in enumerate(names):
        catalog.create_session(session(one, ("ann", "ben", None)[number % 3]))
    catalog.create_session(session("short", "ann", ttl=60.0))
    catalog.add([record(1, "by adding")], now=NOW, user_ids={"by adding": "ann"})
    assert sessions(catalog, limit=limit) == sorted([*names, "short", "by adding"])
    assert sessions(catalog, "ann", limit=limit) == sorted([*names[::3], "short", "by adding"])
    assert sessions(catalog, "ben", limit=limit) == sorted(names[1::3])
    assert sessions(catalog, "nobody", limit=limit) == []
    assert sessions(catalog, "ann", now=NOW + 60, limit=limit) == sorted([*names[::3], "by adding"])
    assert sessions(catalog, "ann", now=0, limit=limit) == sorted([*names[::3], "short", "by adding"])


def test_sessions_are_whole(catalog):
    """A listed session is the one that a look-up returns."""
    info = new_session("alice", "box", now=NOW, ttl=DAY, user_id="ann", custom_metadata={"ä": [1, None]})
    catalog.create_session(info)
    assert catalog.sessions(NOW, 10, user_id="ann").found == [info] == [catalog.get_session("alice", NOW)]


def test_sessions_of_another_sandbox(open_catalog):
    """Users of one name in two sandboxes have nothing in common."""
    box, bix = open_catalog("box"), open_catalog("bix")
    box.create_session(session("alice", "ann"))
    assert sessions(bix, "ann") == sessions(bix) == []


def test_users_of_any_name(catalog):
    """A user id may contain anything that text can."""
    for number, user_id in enumerate(["", "a/b", "{x}", "a:b", "ü", "*", "a\0b", "x" * 255]):
        catalog.create_session(session(f"s{number}", user_id))
        assert sessions(catalog, user_id) == [f"s{number}"], user_id


def test_sessions_are_listed_while_they_change(catalog):
    """A listing goes on although the sessions of its last page were removed."""
    for number in range(10):
        catalog.create_session(session(f"s{number}", "ann"))
    for user_id in ("ann", None):
        found, after = set(), None
        while True:
            page = catalog.sessions(NOW, 3, user_id=user_id, after=after)
            found.update(info.session_id for info in page.found)
            for info in page.found:
                catalog.remove_session(info.session_id, NOW, 10)
            after = page.after
            if after is None:
                break
        assert len(found) == 10
        catalog.forget_user("ann")
        assert sessions(catalog, user_id) == []
        for number in range(10):
            catalog.create_session(session(f"s{number}", "ann"))


def test_user_changes(catalog):
    """A session that ends and begins anew belongs to its new user only; one that gets a user is found."""
    catalog.create_session(session("alice", "ann"))
    catalog.add([record(1, ttl=3 * DAY)], now=NOW + DAY)
    assert sessions(catalog, "ann", now=NOW + DAY) == []
    catalog.add([record(2)], now=NOW + DAY, user_ids={"alice": "ben"})
    assert sessions(catalog, "ben", now=NOW + DAY) == ["alice"]
    catalog.add([record(3)], now=NOW + DAY, user_ids={"alice": "cid"})
    assert sessions(catalog, "cid", now=NOW + DAY) == []


def test_expired_sessions_leave_the_index(catalog):
    """Expired sessions that were removed are in no list."""
    catalog.create_session(session("alice", "ann", ttl=60.0))
    catalog.create_session(session("bob", "ann", ttl=None))
    assert catalog.expire_sessions(NOW + 60) == 1
    assert sessions(catalog, "ann", now=0) == ["bob"]


def test_own_session_of_a_user(catalog):
    """A user's own session never expires, belongs to the user, and its records inherit that."""
    own = record(1, "user:ann", ttl=DAY)
    catalog.add([own], now=NOW, inheriting={own.artifact_id})
    info = catalog.get_session("user:ann", NOW + 1000 * DAY)
    assert (info.user_id, info.expires_at, info.ttl) == ("ann", None, None)
    assert catalog.get([own.artifact_id])[0].expires_at is None
    catalog.add([record(2, "user:ann", ttl=60.0)], now=NOW)
    assert catalog.get_session("user:ann", NOW + 1000 * DAY) == info
    assert sessions(catalog, "ann", now=NOW + 1000 * DAY) == ["user:ann"]
    assert catalog.get([name(2, "user:ann")])[0].ttl == 60.0
