"""What a search of every catalog finds: exactly the records that meet a query, whatever it and they contain."""

from __future__ import annotations

import itertools
import random

import pytest
from records import NOW, record

from chuk_artifacts.catalog import Query, place
from chuk_artifacts.catalog.query import is_equal
from chuk_artifacts.models import Pending, timestamp

VALUES = [
    *(None, True, False, 0, 1, -1, 1.0, 0.1, 1.5, 2**53 + 1, 2.0**53, 2**60, 1e18, 2**63, 2**70, 1e300, -0.0),
    *("", "a", "A", "1", "true", "null", "ü", 'a"b', "a\\b", "a\0b", "a'b", "%", "😀", "x" * 1000),
    *([], [1], [1, 2], [2, 1], [True], {}, {"a": 1}, {"a": 1.0, "b": [None]}, {"b": [None], "a": 1}, {"a": True}),
]
KEYS = ["k", "a.b", 'a"b', "a'b", "a b", "a\\b", "", "ü", "$.k", "[0]", "a\nb", "#", "*", "😀", "\x7f", "a\0b"]


def search(catalog, query, sessions=("alice",), *, limit=1000, now=NOW):
    """Return all that a search finds, page by page."""
    found, after = [], None
    for _ in range(10_000):
        page = catalog.search(list(sessions), query, after=after, limit=limit, now=now)
        assert len(page.records) <= limit
        found += page.records
        after = page.after
        if after is None:
            return found
    raise AssertionError("it does not end")


def test_empty(catalog):
    """A search in nothing, or in sessions without records, finds nothing."""
    assert search(catalog, Query()) == search(catalog, Query(), ()) == search(catalog, Query(), ("a", "b")) == []


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_order_and_pages(catalog, limit):
    """Records come session by session, sorted by filename and id, whatever the length of pages."""
    records = [
        record(number, session_id, filename=filename)
        for session_id in ("alice", "bob", "carol")
        for number, filename in enumerate(["b", "a", None, "a/b", "ä", "b", "a!", "b0"])
    ]
    catalog.add(records, now=NOW)
    for sessions in (("bob",), ("carol", "nobody", "alice"), ("alice", "bob", "carol")):
        expected = [one for name in sessions for one in sorted((r for r in records if r.session_id == name), key=place)]
        assert search(catalog, Query(), sessions, limit=limit) == expected
        for prefix in ("a", "b", "a/", "", "c", "ä"):
            wanted = [one for one in expected if (one.filename or "").startswith(prefix)]
            assert search(catalog, Query(prefix=prefix), sessions, limit=limit) == wanted


def test_expired_and_pending_are_left_out(catalog):
    """A search finds no expired record, no pending one, and none of another session."""
    pending = record(3, revision=0, bytes=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([record(1), record(2, ttl=60.0), pending, record(4, "bob")], now=NOW)
    assert search(catalog, Query(), now=NOW + 60) == [record(1)]


def test_media_types(catalog):
    """A media type matches whatever its letter case and parameters; a pattern matches all subtypes."""
    mimes = [
        "image/png",
        "image/svg+xml",
        "IMAGE/PNG",
        "text/plain",
        "text/plain; charset=utf-8",
        "text/plainer",
        "a/b",
    ]
    catalog.add([record(number, mime=mime, filename=f"{number}") for number, mime in enumerate(mimes)], now=NOW)
    for pattern, expected in {
        "image/*": [0, 1, 2],
        "image/png": [0, 2],
        "text/plain": [3, 4],
        "text/plain; charset=utf-8": [4],
        "text/*": [3, 4, 5],
        "*/*": [*range(7)],
        "image/p": [],
        "ima_e/*": [],
        "%/*": [],
    }.items():
        assert [int(one.filename) for one in search(catalog, Query(mime=pattern))] == expected, pattern


def test_times(catalog):
    """The earliest time is included, the latest is not."""
    catalog.add(
        [record(number, stored_at=timestamp(NOW + number), filename=f"{number}") for number in range(5)], now=NOW
    )
    for after, before, expected in [
        (1, None, [1, 2, 3, 4]),
        (None, 1, [0]),
        (1, 3, [1, 2]),
        (3, 1, []),
        (0.5, 1.5, [1]),
    ]:
        query = Query(
            stored_after=None if after is None else timestamp(NOW + after),
            stored_before=None if before is None else timestamp(NOW + before),
        )
        assert [int(one.filename) for one in search(catalog, query)] == expected


def test_values_compare_as_json(catalog):
    """For each value, a search finds the records whose value is equal as JSON, and no others."""
    catalog.add(
        [record(number, meta={"k": value}, filename=f"{number:03}") for number, value in enumerate(VALUES)], now=NOW
    )
    catalog.add(
        [record(900, meta={}, filename="none"), record(901, meta={"other": {"k": 1}}, filename="nested")], now=NOW
    )
    for value in VALUES:
        found = [int(one.filename) for one in search(catalog, Query(meta={"k": value}))]
        assert found == [number for number, other in enumerate(VALUES) if is_equal(value, other)], repr(value)[:50]


def test_equality():
    """Numbers are equal by value and no booleans; objects are equal whatever the sequence of their names."""
    assert is_equal(1, 1.0)
    assert not is_equal(1, True)
    assert not is_equal([0], [False])
    assert not is_equal(None, False)
    assert is_equal({"a": [1], "b": {}}, {"b": {}, "a": [1.0]})
    assert not is_equal({"a": 1}, {"a": 1, "b": None})
    assert not is_equal(2**53 + 1, 2.0**53)


@pytest.mark.parametrize("value", ["v", 1, None, True, [1]], ids=repr)
def test_keys_of_any_name(catalog, value):
    """A key may contain anything that text can; none is taken for a path."""
    catalog.add([record(number, meta={key: value}, filename=f"{number}") for number, key in enumerate(KEYS)], now=NOW)
    catalog.add(
        [record(90, meta={"a": {"b": value}}, filename="90"), record(91, meta={"k": "w"}, filename="91")], now=NOW
    )
    for number, key in enumerate(KEYS):
        assert [int(one.filename) for one in search(catalog, Query(meta={key: value}))] == [number], key


def test_conditions_together(catalog):
    """A record must meet all conditions: a search equals a filter over all records."""
    rng = random.Random(1)
    records = [
        record(
            number,
            filename=rng.choice(["a/", "b/", ""]) + str(number),
            mime=rng.choice(["image/png", "text/plain", "image/gif"]),
            meta={key: rng.choice([1, 2, "x", None]) for key in "abc" if rng.random() < 0.7},
            stored_at=timestamp(NOW + rng.randrange(4)),
            ttl=rng.choice([60.0, None]),
        )
        for number in range(300)
    ]
    catalog.add(records, now=NOW)
    ordered = sorted(records, key=place)
    for prefix, mime, meta, after, now in itertools.product(
        ("", "a/"), (None, "image/*"), ({}, {"a": 1}, {"a": 1, "b": None}), (None, NOW + 2), (NOW, NOW + 60)
    ):
        query = Query(prefix=prefix, mime=mime, meta=meta, stored_after=after and timestamp(after))
        expected = [one for one in ordered if query.matches(one, now)]
        assert search(catalog, query, limit=7, now=now) == expected


def test_long_search_is_bounded(catalog):
    """A search that finds little in much returns in between, and goes on where it was."""
    catalog.add(
        [record(number, filename=f"{number:05}", meta={"last": number == 5999}) for number in range(6000)], now=NOW
    )
    query = Query(meta={"last": True})
    assert catalog.search(["alice"], query, after=None, limit=10, now=NOW).after is not None
    assert [one.filename for one in search(catalog, query)] == ["05999"]
    assert len(search(catalog, Query(prefix="000"))) == 100


def test_search_while_records_change(catalog):
    """A search goes on behind the place of the last page, though the record there was removed."""
    catalog.add([record(number, filename=f"{number:02}") for number in range(10)], now=NOW)
    page = catalog.search(["alice"], Query(), after=None, limit=4, now=NOW)
    catalog.remove([one.artifact_id for one in page.records])
    rest = catalog.search(["alice"], Query(), after=page.after, limit=100, now=NOW)
    assert [one.filename for one in rest.records] == [f"{number:02}" for number in range(4, 10)]
