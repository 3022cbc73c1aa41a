"""What every catalog does with records and sessions that come from elsewhere: an export, or the bytes themselves."""

from __future__ import annotations

import threading

import pytest
from records import NOW, name, record

from chuk_artifacts.catalog import Query, new_session
from chuk_artifacts.models import Pending, Superseded, timestamp

DAY = 86400.0


def session(session_id="alice", *, now=NOW, ttl=DAY, user_id=None, **metadata):
    """Return a session that begins at *now*."""
    return new_session(session_id, "box", now=now, ttl=ttl, user_id=user_id, custom_metadata=metadata)


def usage(catalog, session_id="alice"):
    """Return the counters of a session, checked against its records."""
    found = catalog.usage(session_id)
    records = catalog.page(session_id, prefix="", after=None, limit=10_000, now=0)
    assert found.artifacts == sum(one.pending is None for one in records)
    assert found.bytes == sum(one.occupied for one in records)
    return found.artifacts, found.bytes


def listed(catalog, session_id="alice"):
    """Return the filenames of a session's records."""
    return [one.filename for one in catalog.page(session_id, prefix="", after=None, limit=10_000, now=0)]


def due(catalog, now):
    """Return the ids of the records that are due."""
    return [one.artifact_id for one in catalog.due(now, 1000).records]


def test_missing_records_are_added(catalog):
    """Missing records are added with all their fields, counted, indexed and listed; the others stay as they are."""
    catalog.add([record(1)], now=NOW)
    first = record(1, filename="changed", bytes=99)
    second = record(2, bytes=7, revision=5, superseded=(Superseded(f"{record(2).key}~2", timestamp(NOW + 60), 3),))
    assert catalog.merge([first, second, record(3, "bob", ttl=60.0)], now=NOW) == [False, True, True]
    assert catalog.get([name(1), name(2)]) == [record(1), second]
    assert listed(catalog) == ["f1", "f2"]
    assert usage(catalog) == (2, 12)
    assert usage(catalog, "bob") == (1, 5)
    assert due(catalog, NOW + 60) == [name(2), name(3, "bob")] or due(catalog, NOW + 60) == [
        name(3, "bob"),
        name(2),
    ]
    assert [one.artifact_id for one in catalog.search(["bob"], Query(), after=None, limit=9, now=NOW).records] == [
        name(3, "bob")
    ]
    assert catalog.merge([first, second], now=NOW) == [False, False]
    assert usage(catalog) == (2, 12)


def test_many_are_merged_at_once(catalog):
    """More records than one portion are merged, of several sessions and in any sequence, each once."""
    records = [record(number, f"s{number % 3}") for number in range(1100)]
    catalog.add(records[::7], now=NOW)
    merged = catalog.merge(records[::-1], now=NOW)
    assert merged[::-1] == [bool(number % 7) for number in range(1100)]
    assert sum(usage(catalog, f"s{number}")[0] for number in range(3)) == 1100
    assert catalog.merge([], now=NOW) == []


def test_older_records_are_replaced_if_asked(catalog):
    """With *replace_older* a record of a higher revision replaces another; the same or a lower one does not."""
    catalog.add([record(1, filename="old", ttl=60.0), record(2, revision=3), record(3, revision=3)], now=NOW)
    later = [record(1, filename="new", revision=2, bytes=50, ttl=None), record(2, revision=3, bytes=9), record(3)]
    assert catalog.merge(later, now=NOW) == [False, False, False]
    assert catalog.merge(later, now=NOW, replace_older=True) == [True, False, False]
    assert catalog.get([name(1), name(2), name(3)]) == [later[0], record(2, revision=3), record(3, revision=3)]
    assert listed(catalog) == ["f2", "f3", "new"]
    assert usage(catalog) == (3, 60)
    assert due(catalog, NOW + DAY) == [name(2), name(3)]
    assert catalog.get_session("alice", NOW).expires_at is None


def test_pending_record_is_older(catalog):
    """A pending record has revision 0, so that the artifact replaces it."""
    pending = record(1, bytes=0, revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([pending], now=NOW)
    assert catalog.merge([record(1)], now=NOW) == [False]
    assert catalog.merge([record(1)], now=NOW, replace_older=True) == [True]
    assert usage(catalog) == (1, 5)


def test_sessions_of_merged_records_live_as_long(catalog):
    """A record's session is created or prolonged as when the record is added."""
    catalog.merge([record(1, ttl=10 * DAY), record(2, "bob", ttl=60.0)], now=NOW)
    assert catalog.get_session("alice", NOW).expires_at == timestamp(NOW + 10 * DAY)
    assert catalog.get_session("bob", NOW).expires_at == timestamp(NOW + DAY)
    catalog.merge([record(3, "bob", ttl=None)], now=NOW)
    assert catalog.get_session("bob", NOW).expires_at is None


@pytest.mark.parametrize(
    ("count", "options"), [(1, {}), (3, {}), (1, {"exclusive": True}), (3, {"max_session_bytes": 10**6})]
)
def test_an_add_replaces_what_was_merged(catalog, count, options):
    """The writer of the bytes adds its records although another process has merged records for them."""
    catalog.add([record(9, ttl=None)], now=NOW)
    records = [record(number, meta={"by": "writer"}, bytes=7) for number in range(count)]
    found = [one.changed(filename=f"x{one.filename}", bytes=1, meta={}, ttl=60.0) for one in records]
    catalog.merge([one.changed(expires_at=timestamp(NOW + 60)) for one in found], now=NOW)
    catalog.add(records, now=NOW, **options)
    assert catalog.get([one.artifact_id for one in records]) == records
    assert listed(catalog) == [*(one.filename for one in records), "f9"]
    assert usage(catalog) == (count + 1, 7 * count + 5)
    assert due(catalog, NOW + 60) == []
    assert catalog.named("alice", found[0].filename, NOW) == []


def test_of_adds_and_merges_at_once_the_adds_win(open_catalog):
    """Whatever the sequence, each artifact ends with its writer's record, counted once."""
    writer = open_catalog()
    finder = writer if writer.provider == "memory" else open_catalog()
    writer.add([record(1000)], now=NOW)
    records = [record(number, bytes=3) for number in range(60)]

    def merge():
        for one in records:
            finder.merge([one.changed(bytes=1, filename=None)], now=NOW, replace_older=True)

    thread = threading.Thread(target=merge)
    thread.start()
    for one in records:
        writer.add([one], now=NOW)
    thread.join()
    assert writer.get([one.artifact_id for one in records]) == records
    assert usage(writer) == (61, 185)


def test_merged_at_once_by_several(open_catalog):
    """Several processes that merge the same records write each of them once."""
    catalogs = [open_catalog() for _ in range(4)]
    if catalogs[0].provider == "memory":
        catalogs = catalogs[:1] * 4
    records = [record(number, f"s{number % 5}") for number in range(300)]
    written = []

    def merge(catalog, records):
        written.append(sum(catalog.merge(records, now=NOW)))

    threads = [
        threading.Thread(target=merge, args=(catalog, records[:: (-1) ** number]))
        for number, catalog in enumerate(catalogs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 300
    assert sum(usage(catalogs[0], f"s{number}")[0] for number in range(5)) == 300


def test_merged_records_can_be_changed_and_removed(catalog):
    """What was merged is like what was added: it can be replaced, removed, and removed with its session."""
    catalog.merge([record(number) for number in range(3)], now=NOW)
    assert catalog.replace(record(0, revision=2, filename="z"), expected_revision=1)
    assert [one.artifact_id for one in catalog.remove([name(1)])] == [name(1)]
    assert usage(catalog) == (2, 10)
    assert len(catalog.remove_session("alice", NOW, 100)) == 2
    assert usage(catalog) == (0, 0)
    assert due(catalog, NOW + 2 * DAY) == []


def test_missing_sessions_are_added(catalog):
    """A missing session is added with its facts and found by its user; one that has ended is not, and replaces none."""
    given = [session(user_id="ann", a=1), session("bob", now=NOW - 2 * DAY), session("eve", ttl=None)]
    assert catalog.merge_sessions(given, now=NOW) == [True, False, True]
    assert catalog.get_session("alice", NOW) == given[0]
    assert catalog.get_session("alice", NOW).ttl == DAY
    assert catalog.get_session("bob", NOW) is None
    assert [one.session_id for one in catalog.sessions(NOW, 9, user_id="ann").found] == ["alice"]
    assert catalog.merge_sessions(given, now=NOW) == [False, False, False]
    assert catalog.expire_sessions(NOW + DAY) == 1


def test_sessions_that_ended_are_replaced(catalog):
    """A session that has ended in the catalog counts as missing."""
    catalog.create_session(session(user_id="ann", a=1))
    later = session(now=NOW + 2 * DAY, user_id="ben", b=2)
    assert catalog.merge_sessions([later], now=NOW + 2 * DAY) == [True]
    assert catalog.get_session("alice", NOW + 2 * DAY) == later
    assert catalog.sessions(0, 9, user_id="ann").found == []


def test_living_sessions_are_completed(catalog):
    """A living session gets what it lacks: an earlier beginning, a later end, a user and metadata."""
    catalog.add([record(1)], now=NOW)
    catalog.update_session("alice", NOW, custom_metadata={"a": "known", "b": 1})
    given = session(now=NOW - 3600, ttl=3 * DAY, user_id="ann", a="given", c=2)
    assert catalog.merge_sessions([given], now=NOW) == [True]
    found = catalog.get_session("alice", NOW)
    assert found.custom_metadata == {"a": "known", "b": 1, "c": 2}
    assert (found.created_at, found.expires_at) == (given.created_at, given.expires_at)
    assert (found.user_id, found.ttl) == ("ann", 3 * DAY)
    assert [one.session_id for one in catalog.sessions(NOW, 9, user_id="ann").found] == ["alice"]
    assert catalog.merge_sessions([session(user_id="eve", a="given")], now=NOW) == [False]
    assert catalog.merge_sessions([session(user_id="eve", a="given")], now=NOW, prefer_given=True) == [True]
    found = catalog.get_session("alice", NOW)
    assert (found.user_id, found.custom_metadata["a"]) == ("ann", "given")
    catalog.add([record(2, ttl=5 * DAY)], now=NOW, inheriting=[name(2)])
    assert catalog.get([name(2)])[0].ttl == 3 * DAY


def test_known_sessions_may_have_changed(open_catalog):
    """Sessions are merged with what another process has made of them since this one saw them."""
    first, second = open_catalog(), open_catalog()
    if first.provider == "memory":
        second = first
    first.add([record(1)], now=NOW)
    second.update_session("alice", NOW, custom_metadata={"a": 1}, extend=DAY)
    assert first.merge_sessions([session(b=2)], now=NOW) == [True]
    assert second.get_session("alice", NOW).custom_metadata == {"a": 1, "b": 2}
    assert second.get_session("alice", NOW).expires_at == timestamp(NOW + 2 * DAY)
    second.remove_session("alice", NOW, 10)
    assert first.merge([record(1)], now=NOW) == [True]
    assert second.get_session("alice", NOW).custom_metadata == {}
    first.add([record(2)], now=NOW)
    assert usage(first) == (2, 10)


def test_expired_sessions_are_named(catalog):
    """The ids of expired sessions are passed on when they are removed, each once, and not in a dry run."""
    catalog.merge_sessions([session(f"s{number}", ttl=60.0 + number) for number in range(700)], now=NOW)
    gone = []
    assert catalog.expire_sessions(NOW + 699, dry_run=True, gone=gone.extend) == 640
    assert gone == []
    assert catalog.expire_sessions(NOW + 699, gone=gone.extend) == 640
    assert sorted(gone) == sorted(f"s{number}" for number in range(640))


def test_many_sessions_are_merged_at_once(catalog):
    """More sessions than one portion are merged, each once."""
    given = [session(f"s{number}", user_id="ann") for number in range(700)]
    assert catalog.merge_sessions(given[::2], now=NOW) == [True] * 350
    assert catalog.merge_sessions(given, now=NOW) == [bool(number % 2) for number in range(700)]
    assert catalog.merge_sessions([], now=NOW) == []
