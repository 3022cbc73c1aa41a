"""What every catalog does with records and sessions."""

from __future__ import annotations

import threading

import attrs
import pytest

from chuk_artifacts.catalog import Due, FilenameTakenError, new_session, place
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.grid import slot_tag
from chuk_artifacts.models import ArtifactMetadata, Pending, Superseded, timestamp

NOW = 1_800_000_000.0
DAY = 86400.0


def name(number, session_id="alice", sandbox_id="box"):
    """Return the id of record number *n*."""
    return f"{slot_tag(sandbox_id, session_id)}{number:024x}"


def record(number=1, *, session_id="alice", filename=None, ttl=DAY, now=NOW, sandbox_id="box", **fields):
    """Return a record."""
    artifact_id = name(number, session_id, sandbox_id)
    values = {
        "artifact_id": artifact_id,
        "session_id": session_id,
        "sandbox_id": sandbox_id,
        "key": f"grid/{sandbox_id}/{session_id}/{artifact_id}",
        "mime": "text/plain",
        "summary": "ü",
        "meta": {"a": [1, None, {"b": "ü"}]},
        "filename": filename,
        "bytes": 5,
        "sha256": "0" * 64,
        "stored_at": timestamp(now),
        "updated_at": timestamp(now),
        "expires_at": None if ttl is None else timestamp(now + ttl),
        "ttl": ttl,
        "revision": 1,
        "storage_provider": "memory",
        "session_provider": "memory",
    }
    return ArtifactMetadata(**{**values, **fields})


def page(catalog, session_id="alice", *, prefix="", after=None, limit=100, now=NOW):
    """Return a page of a listing."""
    return catalog.page(session_id, prefix=prefix, after=after, limit=limit, now=now)


def ids(records):
    """Return the numbers of records."""
    return [int(one.artifact_id[8:], 16) for one in records]


def due(catalog, now, limit=100):
    """Return the numbers of all due records, read page by page."""
    found, after = [], None
    while True:
        page = catalog.due(now, limit, after)
        assert len(page.records) <= limit
        assert page.damaged == []
        found += ids(page.records)
        after = page.after
        if after is None:
            return found


def test_added_record_is_returned(catalog):
    """Every field of a record is returned, internal ones too."""
    added = record(filename="docs/ä.txt", superseded=(Superseded(f"{record(1).key}~2", timestamp(NOW), 7),))
    catalog.add([added], now=NOW)
    assert catalog.get([added.artifact_id]) == [added]
    (found,) = catalog.get([added.artifact_id])
    assert found.superseded == added.superseded


def test_get_keeps_order(catalog):
    """Get returns a record or None for each id, in their order, for any number of ids."""
    catalog.add([record(number) for number in range(1, 1201)], now=NOW)
    wanted = [name(number) for number in (*range(1200, 0, -1), 5000)]
    found = catalog.get(wanted)
    assert found[-1] is None
    assert ids(found[:-1]) == list(range(1200, 0, -1))
    assert catalog.get([]) == []


def test_exclusive_add_takes_a_free_filename(catalog):
    """An exclusive add succeeds if no unexpired record of the session has the filename, or it has none."""
    catalog.add([record(1, filename="a", ttl=60.0), record(2), record(3, filename="a", session_id="bob")], now=NOW)
    catalog.add([record(4, filename="a"), record(5), record(6, filename="aa")], now=NOW + 60, exclusive=True)
    assert ids(page(catalog, now=NOW + 60)) == [2, 5, 4, 6]


def test_a_pending_record_takes_no_filename(catalog):
    """A pending record does not occupy its filename."""
    pending = record(1, filename="a", revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([pending], now=NOW)
    catalog.add([record(2, filename="a")], now=NOW, exclusive=True)
    assert ids(page(catalog)) == [1, 2]


def test_exclusive_add_leaves_a_taken_filename(catalog):
    """An exclusive add raises if a filename is taken, and adds none of the records."""
    catalog.add([record(1, filename="a"), record(2, filename="a0")], now=NOW)
    with pytest.raises(FilenameTakenError):
        catalog.add(
            [record(3, filename="b"), record(4, filename="a"), record(5, filename="c")], now=NOW, exclusive=True
        )
    assert ids(page(catalog)) == [1, 2]
    with pytest.raises(FilenameTakenError):
        catalog.add([record(6, filename="a", session_id="bob"), record(6, filename="a")], now=NOW, exclusive=True)


def test_one_of_many_exclusive_adds_wins(catalog):
    """Of concurrent exclusive adds of one filename, one succeeds."""
    won = []

    def add(number):
        try:
            catalog.add([record(number, filename="a")], now=NOW, exclusive=True)
        except FilenameTakenError:
            return
        won.append(number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert ids(page(catalog)) == won


def test_named_finds_every_record_of_a_filename(catalog):
    """All records with exactly that filename are found, ordered by id, and no others."""
    names = {1: "a", 2: "a", 3: "aa", 4: "a/b", 5: None, 7: "ä"}
    catalog.add([record(number, filename=filename) for number, filename in names.items()], now=NOW)
    catalog.add([record(6, filename="a", session_id="bob")], now=NOW)
    assert ids(catalog.named("alice", "a", NOW)) == [1, 2]
    assert catalog.named("alice", "ä", NOW) == [record(7, filename="ä")]
    assert ids(catalog.named("bob", "a", NOW)) == [6]
    assert catalog.named("alice", "b", NOW) == catalog.named("carol", "a", NOW) == []


def test_named_follows_changes(catalog):
    """A record is found by its present filename, until it expires or is removed."""
    catalog.add([record(1, filename="a", ttl=60.0), record(2, filename="a"), record(3, filename="a")], now=NOW)
    catalog.add([record(4, filename="a", revision=0, pending=Pending(timestamp(NOW + 60), True, None))], now=NOW)
    assert catalog.replace(record(2, filename="b", revision=2), expected_revision=1)
    assert ids(catalog.named("alice", "a", NOW)) == [1, 3, 4]
    assert ids(catalog.named("alice", "b", NOW)) == [2]
    assert ids(catalog.named("alice", "a", NOW + 60)) == [3, 4]
    catalog.remove([name(3), name(4)])
    assert catalog.named("alice", "a", NOW + 60) == []
    catalog.remove_session("alice", NOW, 100)
    assert catalog.named("alice", "a", NOW) == catalog.named("alice", "b", NOW) == []


def test_named_finds_any_number(catalog):
    """All records of one filename are found, however many, and can be removed one by one."""
    catalog.add([record(number, filename="a") for number in range(1, 2101)], now=NOW)
    assert ids(catalog.named("alice", "a", NOW)) == [*range(1, 2101)]
    catalog.remove([name(number) for number in range(1, 2100)])
    assert ids(catalog.named("alice", "a", NOW)) == [2100]


def test_has_named(catalog):
    """A filename is found if an unexpired artifact has it; pending records alone leave that open."""
    pending = Pending(timestamp(NOW + 60), True, None)
    catalog.add([record(1, filename="a", ttl=60.0), record(2, filename="b")], now=NOW)
    catalog.add(
        [record(number, filename=names, revision=0, pending=pending) for number, names in enumerate("ac", 3)], now=NOW
    )
    asked = [*"abcd", "aa"]
    assert [catalog.has_named("alice", filename, NOW) for filename in asked] == [True, True, None, False, False]
    assert catalog.has_named("alice", "a", NOW + 60) is None
    assert catalog.has_named("bob", "a", NOW) is False
    catalog.remove([name(number) for number in range(1, 5)])
    assert not any(catalog.has_named("alice", filename, NOW) for filename in asked)


def test_named_each(catalog):
    """Records of many filenames are looked up at once, in the sequence of the filenames, which may repeat."""
    names = ["b", "none", "a", "ä", "a", *(f"f{number}" for number in range(1100))]
    catalog.add([record(number, filename=f"f{number % 1000}") for number in range(10, 2010)], now=NOW)
    catalog.add([record(1, filename="a"), record(2, filename="b", ttl=60.0), record(3, filename="a")], now=NOW)
    catalog.add([record(4, filename="ä"), record(5), record(6, session_id="bob", filename="a")], now=NOW)
    for now in (NOW, NOW + 60):
        found = catalog.named_each("alice", names, now)
        assert found == [catalog.named("alice", filename, now) for filename in names]
    assert ids(found[2]) == ids(found[4]) == [1, 3]
    assert found[0] == found[1] == []
    assert catalog.named_each("alice", [], NOW) == []
    assert catalog.named_each("carol", ["a", "b"], NOW) == [[], []]


def test_named_each_finds_any_number(catalog):
    """A filename may have any number of records, between others."""
    catalog.add([record(1, filename="a"), record(2, filename="c")], now=NOW)
    catalog.add([record(number, filename="b") for number in range(3, 1603)], now=NOW)
    assert [ids(found) for found in catalog.named_each("alice", ["a", "b", "c"], NOW)] == [[1], [*range(3, 1603)], [2]]


def test_named_keeps_to_its_sandbox(open_catalog):
    """A filename of another sandbox is not found."""
    open_catalog("other").add([record(filename="a", sandbox_id="other")], now=NOW)
    assert open_catalog("box").named("alice", "a", NOW) == []


def test_add_creates_the_session(catalog):
    """The first record creates its session with the default ttl."""
    catalog.add([record(ttl=60.0)], now=NOW, user_ids={"alice": "u1"})
    info = catalog.get_session("alice", NOW)
    assert info.user_id == "u1"
    assert info.created_at == timestamp(NOW)
    assert info.expires_at == timestamp(NOW + DAY)
    assert info.sandbox_id == "box"


def test_session_that_is_stored_to_again_and_again(catalog):
    """A session is prolonged by more than needed, so that not every record has to write it."""
    ends = set()
    for number in range(100):
        now = NOW + number / 10
        catalog.add([record(number, now=now)], now=now)
        end = catalog.get_session("alice", now).expires_at
        assert timestamp(now + DAY) <= end <= timestamp(now + DAY + DAY / 1000)
        ends.add(end)
    assert len(ends) == 2


def test_session_to_the_end_of_time(catalog):
    """No session is prolonged beyond the latest possible timestamp."""
    end = 253402300799
    catalog.add([record(1)], now=NOW)
    catalog.add([record(2, ttl=end - NOW)], now=NOW)
    assert catalog.get_session("alice", NOW).expires_at == timestamp(end)


def test_session_lives_as_long_as_its_longest_record(catalog):
    """A longer-lived record prolongs its session; a shorter-lived one does not shorten it."""
    catalog.add([record(1, ttl=3 * DAY), record(2, ttl=60.0)], now=NOW)
    catalog.add([record(3, ttl=60.0)], now=NOW)
    assert catalog.get_session("alice", NOW).expires_at == timestamp(NOW + 3 * DAY)
    catalog.add([record(4, ttl=None)], now=NOW)
    assert catalog.get_session("alice", NOW).expires_at is None


def test_record_inherits_the_ttl_of_its_session(catalog):
    """In a session with a ttl of its own, inheriting records get that."""
    catalog.create_session(new_session("alice", "box", now=NOW, ttl=3600.0))
    catalog.add([record(1), record(2)], now=NOW + 10, inheriting={name(1)})
    first, second = catalog.get([name(1), name(2)])
    assert (first.ttl, first.expires_at) == (3600.0, timestamp(NOW + 10 + 3600))
    assert second.ttl == DAY


def test_one_record_fits_its_session(catalog):
    """A single record, too, gets the ttl of its session, be that expired, shorter, or without an end."""
    catalog.create_session(new_session("hour", "box", now=NOW, ttl=3600.0))
    catalog.create_session(new_session("ever", "box", now=NOW, ttl=None))
    for session_id, expires_at in (("hour", timestamp(NOW + 3600)), ("ever", None), ("none", timestamp(NOW + DAY))):
        one = record(1, session_id=session_id)
        catalog.add([one], now=NOW, inheriting={one.artifact_id})
        assert catalog.get([one.artifact_id])[0].expires_at == expires_at
        assert catalog.get_session(session_id, NOW).expires_at == expires_at
    catalog.add([record(2, session_id="hour", now=NOW + DAY, ttl=60.0)], now=NOW + DAY)
    assert catalog.get_session("hour", NOW + DAY).created_at == timestamp(NOW + DAY)


def test_sessions_without_expiry(open_catalog):
    """Without a default ttl neither sessions nor records expire."""
    catalog = open_catalog(ttl=None)
    catalog.add([record(1, ttl=None)], now=NOW, inheriting={name(1)})
    assert catalog.get_session("alice", NOW + 1e9).expires_at is None
    assert catalog.get([name(1)])[0].expires_at is None
    assert due(catalog, NOW + 1e9) == []


def test_owner_is_set_once(catalog):
    """The first user id becomes the session's; a later one does not replace it."""
    catalog.add([record(1)], now=NOW)
    catalog.add([record(2)], now=NOW, user_ids={"alice": "u1"})
    catalog.add([record(3)], now=NOW, user_ids={"alice": "u2"})
    assert catalog.get_session("alice", NOW).user_id == "u1"


def test_expired_session_begins_anew(catalog):
    """An expired session's id can be used again, and the old records stay gone."""
    catalog.add([record(1)], now=NOW, user_ids={"alice": "u1"})
    later = NOW + DAY
    assert catalog.get_session("alice", later) is None
    catalog.add([record(2, now=later)], now=later)
    info = catalog.get_session("alice", later)
    assert (info.created_at, info.user_id) == (timestamp(later), None)
    assert ids(page(catalog, now=later)) == [2]


def test_replace_compares_the_revision(catalog):
    """Replace changes a record only if it has the expected revision."""
    catalog.add([record(1, filename="a")], now=NOW)
    changed = record(1, filename="b", revision=2)
    assert not catalog.replace(changed, expected_revision=7)
    assert not catalog.replace(record(2, revision=2), expected_revision=1)
    assert catalog.replace(changed, expected_revision=1)
    assert not catalog.replace(changed, expected_revision=1)
    assert catalog.get([changed.artifact_id]) == [changed]
    assert ids(page(catalog, prefix="b")) == [1]
    assert page(catalog, prefix="a") == []


def test_replace_prolongs_the_session(catalog):
    """A record whose expiry is extended prolongs its session to that moment, and never shortens it."""
    catalog.add([record(1)], now=NOW)
    for revision, ttl, end in ((2, DAY + 1, DAY + 1), (3, 5 * DAY, 5 * DAY), (4, 60.0, 5 * DAY)):
        catalog.replace(record(1, ttl=ttl, revision=revision), expected_revision=revision - 1)
        assert catalog.get_session("alice", NOW).expires_at == timestamp(NOW + end)
    catalog.replace(record(1, ttl=None, revision=5), expected_revision=4)
    assert catalog.get_session("alice", NOW).expires_at is None


def test_one_of_many_replacements_wins(catalog):
    """Of concurrent replacements of one revision, one succeeds."""
    catalog.add([record(1)], now=NOW)
    results = []

    def replace(number):
        barrier.wait()
        results.append(catalog.replace(record(1, summary=str(number), revision=2), expected_revision=1))

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=replace, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]


def test_replace_each_is_independent(catalog):
    """Each record is replaced if it has its expected revision, whatever happens to the others."""
    catalog.add([record(number, filename="a") for number in range(250)], now=NOW)
    catalog.add([record(number, session_id="bob") for number in range(250, 300)], now=NOW)
    changes = [
        (record(number, filename="b", revision=2, session_id="alice" if number < 250 else "bob"), number % 3 or 1)
        for number in (*range(300), 7000)
    ]
    assert catalog.replace_each(changes) == [number % 3 != 2 for number in range(300)] + [False]
    assert ids(page(catalog, prefix="a")) == list(range(2, 250, 3))
    assert ids(page(catalog, prefix="b", limit=300)) == [number for number in range(250) if number % 3 != 2]
    assert [one.revision for one in catalog.get([name(0), name(2), name(252, "bob")])] == [2, 1, 2]
    assert catalog.replace_each(changes) == [False] * 301
    assert catalog.replace_each([]) == []


def test_replace_each_prolongs_sessions(catalog):
    """Records whose expiry is extended prolong their sessions, also when one is replaced twice."""
    catalog.add([record(1), record(2)], now=NOW)
    changes = [(record(1, ttl=5 * DAY, revision=2), 1), (record(2, revision=2), 1), (record(2, revision=3), 2)]
    assert catalog.replace_each(changes) == [True, True, True]
    assert catalog.get_session("alice", NOW).expires_at == timestamp(NOW + 5 * DAY)
    assert catalog.get([name(2)])[0].revision == 3


def test_remove(catalog):
    """Remove returns the records that existed, and removes them from every listing."""
    catalog.add([record(number) for number in range(1, 1001)], now=NOW)
    removed = catalog.remove([name(number) for number in (*range(1, 1000), 7000)])
    assert sorted(ids(removed)) == list(range(1, 1000))
    assert ids(page(catalog)) == [1000]
    assert catalog.remove([name(1)]) == []
    assert catalog.remove([]) == []
    assert due(catalog, NOW + DAY) == [1000]


def test_remove_with_conditions(catalog):
    """Remove keeps records of other sessions and unexpired ones, when the caller passes these conditions."""
    catalog.add([record(1), record(2, session_id="bob"), record(3, ttl=60.0)], now=NOW)
    everything = [name(1), name(2, "bob"), name(3)]
    assert ids(catalog.remove(everything, expired_at=NOW + 60)) == [3]
    assert ids(catalog.remove(everything, session_id="bob")) == [2]
    assert catalog.remove(everything, session_id="bob", expired_at=NOW) == []
    assert ids(catalog.remove(everything)) == [1]


def test_page_is_ordered(catalog):
    """A listing is ordered by filename, in the order of code points, and then by id."""
    names = ["b", None, "a/b", "a", "ä", "a", "z\U0001f600", "Z", "\uffff"]
    catalog.add([record(number, filename=name) for number, name in enumerate(names, 1)], now=NOW)
    listed = [(one.filename or "", one.artifact_id) for one in page(catalog)]
    assert listed == sorted(listed)
    assert len(listed) == len(names)


def test_pages_go_on_where_they_ended(catalog):
    """Pages of any size together are the whole listing."""
    catalog.add([record(number, filename=f"f{number % 3}") for number in range(1, 26)], now=NOW)
    whole = page(catalog)
    for size in (1, 2, 7, 25, 26):
        collected, after = [], None
        while part := page(catalog, after=after, limit=size):
            collected += part
            after = place(part[-1])
        assert ids(collected) == ids(whole)


def test_page_after_a_removed_record(catalog):
    """A page begins after its place, even if the record there was removed meanwhile."""
    catalog.add([record(number, filename=f"f{number}") for number in range(1, 6)], now=NOW)
    after = place(page(catalog, limit=2)[-1])
    catalog.remove([name(2)])
    assert ids(page(catalog, after=after)) == [3, 4, 5]


def test_page_begins_at_a_filename(catalog):
    """A place without an id precedes every record of its filename, so that a listing can begin there."""
    names = ["a", "b/1", "b/2", "b/2", "b0", "c"]
    catalog.add([record(number, filename=name) for number, name in enumerate(names, 1)], now=NOW)
    assert ids(page(catalog, after=("b/2", ""))) == [3, 4, 5, 6]
    assert ids(page(catalog, after=("b0", ""), limit=1)) == [5]
    assert ids(page(catalog, prefix="b/", after=("b/1", ""))) == [2, 3, 4]
    assert ids(page(catalog, prefix="b/", after=("b0", ""))) == []


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("docs/", ["docs/a", "docs/b/c"]),
        ("docs", ["docs/a", "docs/b/c", "docsify/x"]),
        ("docs/b", ["docs/b/c"]),
        ("d\u007f", []),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffff\U0010ffff/a"]),
        ("\ud7ff", ["\ud7ff/a"]),
        ("%", ["%/a"]),
        ("_", []),
        ("none", []),
    ],
)
def test_page_by_prefix(catalog, prefix, expected):
    """A prefix matches every filename that begins with it, literally, and no other."""
    names = ["docs/a", "docs/b/c", "docsify/x", "DOCS/a", "%/a", "\ud7ff/a", "\U0010ffff", "\U0010ffff\U0010ffff/a"]
    catalog.add([record(number, filename=name) for number, name in enumerate(names, 1)], now=NOW)
    assert [one.filename for one in page(catalog, prefix=prefix)] == expected


def test_expired_records_do_not_count(catalog):
    """Expired records do not count towards the limit of a page."""
    catalog.add([record(number, ttl=60.0 if number % 2 else DAY) for number in range(1, 21)], now=NOW)
    assert ids(page(catalog, limit=10, now=NOW + 60)) == list(range(2, 21, 2))


def test_due(catalog):
    """Expired records, and those with superseded bytes past their time, are due, and no others."""
    earlier = (Superseded(f"grid/box/alice/{name(3)}~7", timestamp(NOW + 30), 1),)
    catalog.add([record(1, ttl=60.0), record(2), record(3, superseded=earlier), record(4, ttl=None)], now=NOW)
    assert due(catalog, NOW + 29) == []
    assert due(catalog, NOW + 30) == [3]
    assert due(catalog, NOW + 60) == [3, 1]
    assert ids(catalog.due(NOW + 60, 1).records) == [3]
    catalog.replace(attrs.evolve(record(3), superseded=()), expected_revision=1)
    assert due(catalog, NOW + 60) == [1]


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 21])
def test_due_pages_go_on_where_they_ended(catalog, limit):
    """Pages of any size together are all due records, oldest first, also when many are due at once."""
    catalog.add([record(number, ttl=60.0 + number % 3) for number in range(1, 21)], now=NOW)
    found = due(catalog, NOW + 70, limit)
    assert [number % 3 for number in found] == sorted(number % 3 for number in range(1, 21))
    assert sorted(found) == list(range(1, 21))


def test_due_pages_while_records_change(catalog):
    """A record that the caller leaves appears once; removing records hides no later ones."""
    catalog.add([record(number, ttl=60.0) for number in range(1, 11)], now=NOW)
    first = catalog.due(NOW + 60, 4)
    catalog.remove([one.artifact_id for one in first.records[:2]])
    rest, after = [], first.after
    while after is not None:
        page = catalog.due(NOW + 60, 4, after)
        rest += ids(page.records)
        after = page.after
    assert sorted(ids(first.records) + rest) == list(range(1, 11))


def test_nothing_is_due(catalog):
    """When nothing is due, the first page is empty, and the last."""
    catalog.add([record(1)], now=NOW)
    assert catalog.due(NOW, 10) == Due([], [], None)


def test_expired_record_can_still_be_got(catalog):
    """Get returns an expired record until it is removed, so that it differs from an unknown one."""
    catalog.add([record(1, ttl=1.0)], now=NOW)
    assert ids(catalog.get([name(1)])) == [1]


def test_create_and_get_session(catalog):
    """A session is returned as it was created, until it expires."""
    info = new_session("s", "box", now=NOW, ttl=60.0, user_id="u", custom_metadata={"ü": [1]})
    catalog.create_session(info)
    assert catalog.get_session("s", NOW + 59) == info
    assert catalog.get_session("s", NOW + 59).ttl == 60.0
    assert catalog.get_session("s", NOW + 60) is None
    assert catalog.get_session("none", NOW) is None


def test_update_session(catalog):
    """Metadata is merged; an extension counts from the present expiry, and applies to later records."""
    catalog.create_session(new_session("s", "box", now=NOW, ttl=60.0, custom_metadata={"a": 1, "b": 1}))
    assert catalog.update_session("s", NOW, custom_metadata={"b": 2})
    assert catalog.update_session("s", NOW, extend=40.0)
    info = catalog.get_session("s", NOW)
    assert info.custom_metadata == {"a": 1, "b": 2}
    assert (info.expires_at, info.ttl) == (timestamp(NOW + 100), 100.0)
    assert not catalog.update_session("none", NOW, extend=40.0)
    assert not catalog.update_session("s", NOW + 100, extend=40.0)


def test_session_can_not_outlive_time(catalog):
    """An extension beyond the year 9999 is refused, and changes nothing."""
    info = new_session("s", "box", now=NOW, ttl=60.0)
    catalog.create_session(info)
    with pytest.raises(InvalidInputError):
        catalog.update_session("s", NOW, extend=253402300799.0)
    assert catalog.get_session("s", NOW) == info


def test_remove_session(catalog):
    """Removing a session removes its records, and no others."""
    catalog.add([record(1), record(2), record(3, session_id="bob")], now=NOW)
    assert sorted(ids(catalog.remove_session("alice", NOW, 100))) == [1, 2]
    assert catalog.remove_session("alice", NOW, 100) is None
    assert catalog.get_session("alice", NOW) is None
    assert page(catalog) == []
    assert due(catalog, NOW + DAY) == [3]
    assert ids(page(catalog, "bob")) == [3]
    assert catalog.remove_session("bob", NOW + DAY, 100) is None


def test_remove_session_in_portions(catalog):
    """Each call removes at most the given number of records; the session exists until the last is gone."""
    catalog.add([record(number, filename=f"f{number % 4}") for number in range(1, 11)], now=NOW)
    removed = []
    while len(removed) < 10:
        assert catalog.get_session("alice", NOW) is not None
        portion = ids(catalog.remove_session("alice", NOW, 3))
        assert 0 < len(portion) <= 3
        removed += portion
        assert sorted(ids(page(catalog)) + removed) == list(range(1, 11))
    while (rest := catalog.remove_session("alice", NOW, 3)) is not None:
        assert rest == []
    assert catalog.get_session("alice", NOW) is None
    assert sorted(removed) == list(range(1, 11))


def test_second_caller_finishes_a_removal(open_catalog):
    """A second caller removes the records and the session that a first one left."""
    catalog = open_catalog()
    catalog.add([record(number) for number in range(1, 6)], now=NOW)
    assert len(catalog.remove_session("alice", NOW, 2)) == 2
    if catalog.persistent:
        catalog.close()
        catalog = open_catalog()
    assert len(catalog.remove_session("alice", NOW, 100)) == 3
    assert catalog.remove_session("alice", NOW, 100) is None


def test_session_that_is_removed_takes_new_records(catalog):
    """A record added during the removal of its session is removed too, or begins a new session."""
    catalog.add([record(number) for number in range(1, 4)], now=NOW)
    catalog.remove_session("alice", NOW, 1)
    catalog.add([record(9)], now=NOW)
    removed = ids(catalog.remove_session("alice", NOW, 100))
    assert 9 in removed
    catalog.add([record(10)], now=NOW)
    assert catalog.get_session("alice", NOW) is not None
    assert ids(page(catalog)) == [10]


def test_empty_session_can_be_removed(catalog):
    """One call removes a session without records, and returns none."""
    catalog.create_session(new_session("s", "box", now=NOW, ttl=60.0))
    assert catalog.remove_session("s", NOW, 10) == []
    assert catalog.get_session("s", NOW) is None
    assert catalog.remove_session("s", NOW, 10) is None


def test_portions_of_a_session_with_expired_and_pending_records(catalog):
    """Expired and pending records are removed with their session."""
    pending = record(2, revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([record(1, ttl=60.0), pending, record(3)], now=NOW)
    assert sorted(ids(catalog.remove_session("alice", NOW + 60, 10))) == [1, 2, 3]
    assert due(catalog, NOW + 9 * DAY) == []


def test_expire_sessions(catalog):
    """Expired sessions are removed and counted; living ones stay."""
    catalog.create_session(new_session("short", "box", now=NOW, ttl=60.0))
    catalog.create_session(new_session("long", "box", now=NOW, ttl=None))
    assert catalog.expire_sessions(NOW + 59) == 0
    assert catalog.expire_sessions(NOW + 60) == 1
    assert catalog.expire_sessions(NOW + 60) == 0
    assert catalog.get_session("long", NOW) is not None


def test_stats(catalog):
    """Stats count sessions and artifacts that have not expired."""
    assert catalog.stats(NOW) == {"sessions": 0, "artifacts": 0, "bytes": 0}
    catalog.add([record(1), record(2, ttl=60.0), record(3, session_id="bob")], now=NOW)
    assert catalog.stats(NOW) == {"sessions": 2, "artifacts": 3, "bytes": 15}
    assert catalog.stats(NOW + 60) == {"sessions": 2, "artifacts": 2, "bytes": 10}


def test_stats_without_pending_uploads(catalog):
    """A pending upload counts once it is an artifact."""
    until = timestamp(NOW + 60)
    awaited = [record(number, revision=0, bytes=0, pending=Pending(until, bool(number), 9)) for number in (0, 1)]
    catalog.add([*awaited, record(2)], now=NOW)
    assert catalog.stats(NOW) == {"sessions": 1, "artifacts": 1, "bytes": 5}
    assert catalog.replace(record(1), expected_revision=0)
    assert catalog.stats(NOW) == {"sessions": 1, "artifacts": 2, "bytes": 10}


def test_sandboxes_do_not_see_each_other(open_catalog):
    """Nothing of another sandbox is returned or changed, even by id."""
    catalog, other = open_catalog("box"), open_catalog("other")
    catalog.add([record(1, ttl=60.0)], now=NOW)
    artifact_id = name(1)
    assert other.get([artifact_id]) == [None]
    assert page(other) == []
    assert other.get_session("alice", NOW) is None
    assert not other.replace(record(1, revision=2, sandbox_id="other"), expected_revision=1)
    assert other.replace_each([(record(1, revision=2, sandbox_id="other"), 1)]) == [False]
    assert other.remove([artifact_id]) == []
    assert due(other, NOW + DAY) == []
    assert not other.update_session("alice", NOW, extend=1.0)
    assert other.remove_session("alice", NOW, 100) is None
    assert other.expire_sessions(NOW + 9 * DAY) == 0
    assert other.stats(NOW)["artifacts"] == 0
    assert ids(catalog.get([artifact_id])) == [1]


def test_many_threads(catalog):
    """Records added by many threads at once are all in one session."""

    def add(thread):
        for number in range(50):
            catalog.add([record(thread * 1000 + number)], now=NOW)

    threads = [threading.Thread(target=add, args=(thread,)) for thread in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(page(catalog, limit=1000)) == 400
    assert catalog.stats(NOW)["sessions"] == 1


def test_records_outlive_a_persistent_catalog(open_catalog):
    """A second catalog finds the records of the first exactly if the backend is persistent."""
    first = open_catalog()
    first.add([record(1)], now=NOW)
    first.close()
    second = open_catalog()
    assert second.persistent is first.persistent
    assert (second.get([name(1)]) == [record(1)]) is first.persistent


def test_identity_is_made_once(open_catalog):
    """A persistent catalog keeps the first identity it is given."""
    catalog, other = open_catalog("box"), open_catalog("other")
    assert catalog.identity() is None
    if not catalog.persistent:
        assert catalog.identity("one") is None
        return
    assert catalog.identity("one") == "one"
    assert catalog.identity("two") == catalog.identity() == open_catalog("box").identity() == "one"
    assert other.identity() is None
    assert other.identity("two") == "two"
    assert catalog.identity() == "one"


def test_identity_outlives_what_is_stored(open_catalog):
    """The identity stays when everything else is removed, and is neither a record nor a session."""
    catalog = open_catalog()
    catalog.add([record(1)], now=NOW)
    identity = catalog.identity("one")
    catalog.remove_session("alice", NOW, 10)
    catalog.expire_sessions(NOW + 9 * DAY)
    assert catalog.stats(NOW) == {"sessions": 0, "artifacts": 0, "bytes": 0}
    assert catalog.identity() == identity


def test_many_callers_get_one_identity(open_catalog):
    """Concurrent callers that create the identity all get the same."""
    catalogs = [open_catalog() for _ in range(8)]
    got, together = [], threading.Barrier(8)

    def ask(number):
        together.wait()
        got.append(catalogs[number].identity(f"identity-{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(got)) == 1
    assert (got[0] is not None) is catalogs[0].persistent


def test_sample(open_catalog):
    """A sample has living artifacts of any session of the sandbox, at most as many as requested."""
    catalog, other = open_catalog("box"), open_catalog("other")
    assert catalog.sample(NOW, 5) == []
    pending = record(2, revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([record(1, ttl=60.0), pending, record(3), record(4, session_id="bob", ttl=None)], now=NOW)
    released = record(5, ttl=60.0, revision=2, released=True)
    catalog.add([released], now=NOW)
    assert sorted(ids(catalog.sample(NOW + 60, 5))) == [3, 4]
    assert len(catalog.sample(NOW + 60, 1)) == 1
    assert catalog.sample(NOW + 60, 5)[0] in [record(3), record(4, session_id="bob", ttl=None)]
    assert other.sample(NOW, 5) == []


def test_sound_catalog_is_verified(open_catalog):
    """Verification finds no damage in a sound catalog, whatever its records contain."""
    catalog = open_catalog()
    assert catalog.verify() == 0
    superseded = (Superseded(f"grid/box/alice/{name(2)}~7", timestamp(NOW + 60), 7),)
    pending = {"revision": 0, "pending": Pending(timestamp(NOW + 60), True, None)}
    catalog.add([record(1), record(2, filename="ä", superseded=superseded), record(3, ttl=None, **pending)], now=NOW)
    catalog.add([record(4, session_id="bob"), record(5, ttl=60.0)], now=NOW)
    catalog.replace(
        record(1, filename="b", bytes=9, revision=2, key=f"grid/box/alice/{name(1)}~{10**17}"), expected_revision=1
    )
    catalog.replace(record(5, ttl=60.0, revision=2, released=True), expected_revision=1)
    catalog.remove([name(4, "bob")])
    assert catalog.verify() == 0
    other = open_catalog("other")
    other.add([record(6, sandbox_id="other")], now=NOW)
    assert catalog.verify() == other.verify() == 0


def test_check_leaves_nothing(catalog):
    """A check removes everything it writes, and returns facts as text."""
    catalog.add([record(1)], now=NOW)
    before = catalog.stats(NOW)
    for _ in range(3):
        facts = catalog.check()
        assert all(isinstance(text, str) for fact in facts.items() for text in fact)
    assert catalog.stats(NOW) == before
    assert catalog.stats(0) == before
    assert catalog.expire_sessions(NOW) == 0
    assert due(catalog, NOW) == []


def test_check_and_close(catalog):
    """A working catalog passes the check, and may be closed twice."""
    catalog.check()
    catalog.close()
    catalog.close()
