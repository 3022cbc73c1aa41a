"""The catalog in memory when an exception arrives during a call."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading

import pytest
import records
from interrupts import Interrupt, TimeLimit, interrupted
from records import NOW

from chuk_artifacts.catalog import FilenameTakenError, new_session
from chuk_artifacts.catalog.memory import MemoryCatalog

DAY = 86400.0


def record(number, **fields):
    """Return a record; three share a filename, and of three one has none."""
    usual = {"filename": f"f{number % 3}" if number % 3 else None, "session_provider": "memory"}
    return records.record(number, **{**usual, **fields})


RECORDS = [record(number, ttl=60.0 + number) for number in range(6)]
NEW = [record(number, session_id=session_id) for number, session_id in ((20, "alice"), (21, "new"), (22, "new"))]
EVERY_ID = [one.artifact_id for one in (*RECORDS, *NEW)]
LINES = 400  # more than a method executes
SESSIONS = ("alice", "bob", "new", "short")


def filled():
    """Return a catalog with records and sessions, whose indexes have changes to make."""
    catalog = MemoryCatalog(DAY)
    catalog.add(RECORDS, now=NOW)
    catalog.create_session(new_session("bob", "box", now=NOW, ttl=60.0))
    catalog.create_session(new_session("short", "box", now=NOW - 60, ttl=1.0))
    return catalog


def listed(catalog, session_id):
    """Return the ids in a session's listing."""
    return [one.artifact_id for one in catalog.page(session_id, prefix="", after=None, limit=100, now=NOW)]


def state(catalog):
    """Return everything that a catalog returns, by each of its methods."""
    return {
        "records": catalog.get(EVERY_ID),
        "sessions": [catalog.get_session(session_id, NOW) for session_id in SESSIONS],
        "pages": [listed(catalog, session_id) for session_id in SESSIONS],
        "named": [catalog.named(one, name, NOW) for one in SESSIONS for name in ("f1", "f2", "other")],
        "due": [one.artifact_id for one in catalog.due(NOW + 9 * DAY, 100).records],
        "stats": catalog.stats(NOW),
        "expired": catalog.expire_sessions(NOW, dry_run=True),
    }


def assert_sound(catalog):
    """Assert that records and indexes agree."""
    shown = state(catalog)
    records = [one for one in shown["records"] if one is not None]
    for session_id, page in zip(SESSIONS, shown["pages"], strict=True):
        there = [(one.filename or "", one.artifact_id) for one in records if one.session_id == session_id]
        assert page == [artifact_id for _, artifact_id in sorted(there)]
    assert shown["due"] == [one.artifact_id for one in sorted(records, key=lambda one: (one.due, one.artifact_id))]
    assert sorted(one.artifact_id for named in shown["named"] for one in named) == sorted(
        one.artifact_id for one in records if one.filename in {"f1", "f2", "other"}
    )
    return shown


def assert_free(catalog, place):
    """Assert that no lock stays taken."""
    thread = threading.Thread(target=lambda: catalog.stats(NOW), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive(), place


def assert_used_by_another_thread(catalog):
    """Assert that another thread can change the catalog, and that this one sees it."""
    other = record(99, session_id="bob")
    thread = threading.Thread(target=lambda: catalog.add([other], now=NOW))
    thread.start()
    thread.join()
    assert catalog.get([other.artifact_id]) == [other]
    assert listed(catalog, "bob") == [other.artifact_id]


METHODS = {
    "add": lambda catalog: catalog.add(NEW, now=NOW),
    "add exclusive": lambda catalog: catalog.add([NEW[1]], now=NOW, exclusive=True),
    "get": lambda catalog: catalog.get(EVERY_ID),
    "replace": lambda catalog: catalog.replace(
        record(1, revision=2, filename="other", ttl=9 * DAY), expected_revision=1
    ),
    "replace_each": lambda catalog: catalog.replace_each([(record(1, revision=2, filename=None), 1)]),
    "remove": lambda catalog: catalog.remove(EVERY_ID),
    "page": lambda catalog: listed(catalog, "alice"),
    "named": lambda catalog: catalog.named("alice", "f1", NOW),
    "has_named": lambda catalog: catalog.has_named("alice", "f1", NOW),
    "named_each": lambda catalog: catalog.named_each("alice", ["f1", "f2"], NOW),
    "due": lambda catalog: catalog.due(NOW + DAY, 2),
    "create_session": lambda catalog: catalog.create_session(new_session("new", "box", now=NOW, ttl=5.0)),
    "get_session": lambda catalog: catalog.get_session("alice", NOW),
    "update_session": lambda catalog: catalog.update_session("alice", NOW, extend=5.0),
    "remove_session": lambda catalog: catalog.remove_session("alice", NOW, 100),
    "remove_session in portions": lambda catalog: catalog.remove_session("alice", NOW, 2),
    "expire_sessions": lambda catalog: catalog.expire_sessions(NOW),
    "stats": lambda catalog: catalog.stats(NOW),
    "identity": lambda catalog: catalog.identity("x"),
    "sample": lambda catalog: catalog.sample(NOW, 2),
    "verify": lambda catalog: catalog.verify(),
    "check": lambda catalog: catalog.check(),
    "close": lambda catalog: catalog.close(),
}


@pytest.mark.parametrize("kind", [Interrupt, TimeLimit])
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_at_every_line(method, kind):
    """A call interrupted at any line is lost or done; nothing is damaged, and no lock stays taken."""
    completed = filled()
    METHODS[method](completed)
    allowed = [assert_sound(filled()), assert_sound(completed)]
    catalogs = [filled() for _ in range(LINES)]
    called = iter(catalogs)
    places = list(interrupted(lambda: METHODS[method](next(called)), kind=kind))
    for place, catalog in zip(places, catalogs, strict=False):
        assert_free(catalog, place)
        assert assert_sound(catalog) in allowed, place
        assert_used_by_another_thread(catalog)


def test_interrupted_while_it_is_completed(monkeypatch):
    """The next call completes an interrupted change, even when that call is interrupted too."""
    catalogs = [filled() for _ in range(LINES)]
    for catalog in catalogs:
        interrupts = interrupted(lambda catalog=catalog: catalog.add(NEW, now=NOW))
        next(place for place in interrupts if catalog._change is not None)
    called = iter(catalogs)
    for place, catalog in zip(list(interrupted(lambda: next(called).stats(NOW))), catalogs, strict=False):
        assert_free(catalog, place)
        assert assert_sound(catalog)["records"] == [*RECORDS, *NEW], place
        assert_used_by_another_thread(catalog)


def test_interrupted_at_random():
    """After 300 random changes, each interrupted at a random line, records and indexes agree."""
    chance = random.Random(1)
    catalog = filled()
    for _ in range(300):
        line = chance.randrange(1, 120)
        method = METHODS[chance.choice(list(METHODS))]
        with contextlib.suppress(FilenameTakenError):
            next(itertools.islice(interrupted(lambda method=method: method(catalog)), line, None), None)
        assert_sound(catalog)


def test_long_listings_are_changed_as_a_whole():
    """A session of many records can gain and lose any number of them, and its listing stays sorted."""
    catalog = MemoryCatalog(DAY)
    many = [record(number) for number in range(1000)]
    catalog.add(many[:500], now=NOW)
    assert len(catalog.page("alice", prefix="", after=None, limit=1000, now=NOW)) == 500
    catalog.remove([one.artifact_id for one in many[100:400]])
    catalog.add(many[600:], now=NOW)
    catalog.remove([one.artifact_id for one in many[610:620]])
    kept = [*many[:100], *many[400:500], *many[600:610], *many[620:]]
    expected = sorted((one.filename or "", one.artifact_id) for one in kept)
    found = catalog.page("alice", prefix="", after=None, limit=1000, now=NOW)
    assert [(one.filename or "", one.artifact_id) for one in found] == expected
    assert len(catalog.due(NOW + 2 * DAY, 1000).records) == len(kept)
