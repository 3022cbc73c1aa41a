"""What every catalog counts: the usage of a session changes with its records, in the same transaction."""

from __future__ import annotations

import random
import threading

import pytest
from records import NOW, name, record

from chuk_artifacts import QuotaExceededError, Usage
from chuk_artifacts.catalog import FilenameTakenError, new_session
from chuk_artifacts.models import Pending, Superseded, timestamp

DAY = 86400.0


def usage(catalog, session_id="alice"):
    """Return artifacts and bytes of a session."""
    return tuple(catalog.usage(session_id).values())


def earlier(number, size, session_id="alice", *, kept=True):
    """Return a superseded content of a record, kept for good or for an hour."""
    stored = (number, number, record(number).sha256, "text/plain", None, timestamp(NOW)) if kept else ()
    return Superseded(f"{record(number, session_id).key}~{size}", timestamp(NOW + 60), size, kept, *stored)


def counted(catalog, session_id="alice"):
    """Return what a full count of a session's records says, expired ones included."""
    records = catalog.page(session_id, prefix="", after=None, limit=10**6, now=0)
    living = [one for one in records if one.pending is None and not one.released]
    kept = {(earlier.key, earlier.bytes) for one in living for earlier in one.superseded if earlier.kept}
    return len(living), sum(size for _, size in kept | {(one.key, one.bytes) for one in living})


def test_unknown_session_holds_nothing(catalog):
    """A session without records has a usage of zero, and so has a sandbox without sessions."""
    assert catalog.usage("alice") == catalog.usage(None) == Usage(artifacts=0, bytes=0)
    catalog.create_session(new_session("alice", "box", now=NOW, ttl=None))
    assert usage(catalog) == usage(catalog, None) == (0, 0)


def test_adds_count(catalog):
    """An added record counts in its own session and in the sandbox, one by one and in batches."""
    catalog.add([record(1, bytes=10)], now=NOW)
    catalog.add([record(number, "bob", bytes=number) for number in range(2, 6)], now=NOW)
    catalog.add([record(6, bytes=5), record(7, "bob", bytes=0)], now=NOW)
    assert usage(catalog) == (2, 15)
    assert usage(catalog, "bob") == (5, 14)
    assert usage(catalog, None) == (7, 29)


def test_another_sandbox_counts_apart(open_catalog):
    """Catalogs of different sandboxes share no counter."""
    open_catalog("box").add([record(1)], now=NOW)
    assert usage(open_catalog("bix")) == usage(open_catalog("bix"), None) == (0, 0)


def test_failed_add_counts_nothing(catalog):
    """An exclusive add that fails changes no counter."""
    catalog.add([record(1, filename="a")], now=NOW)
    with pytest.raises(FilenameTakenError):
        catalog.add([record(2), record(3, filename="a")], now=NOW, exclusive=True)
    assert usage(catalog) == usage(catalog, None) == (1, 5)


def test_pending_counts_when_it_is_complete(catalog):
    """A pending record counts nothing until it becomes an artifact; a released one counts nothing."""
    pending = record(1, bytes=0, revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([pending, pending.changed(artifact_id=name(2), key=record(2).key)], now=NOW)
    assert usage(catalog) == (0, 0)
    assert catalog.replace(pending.changed(pending=None, revision=1, bytes=7), expected_revision=0)
    assert usage(catalog) == (1, 7)
    released = pending.changed(artifact_id=name(2), key=record(2).key, released=True, revision=1)
    assert catalog.replace(released, expected_revision=0)
    assert usage(catalog) == (1, 7)
    catalog.remove([name(1), name(2)])
    assert usage(catalog) == usage(catalog, None) == (0, 0)


def test_changes_count(catalog):
    """A change of content counts the new content and the earlier ones that are kept; other changes count nothing."""
    catalog.add([record(1, bytes=10)], now=NOW)
    assert catalog.replace(record(1, bytes=7, revision=2, superseded=(earlier(1, 10),)), expected_revision=1)
    assert usage(catalog) == (1, 17)
    renamed = record(1, bytes=7, revision=3, superseded=(earlier(1, 10),), filename="z", meta={"a": 1})
    assert catalog.replace(renamed, expected_revision=2)
    assert usage(catalog) == (1, 17)
    assert not catalog.replace(record(1, bytes=99, revision=3), expected_revision=1)
    assert usage(catalog) == (1, 17)
    assert catalog.replace(renamed.changed(superseded=()), expected_revision=3)
    assert usage(catalog) == usage(catalog, None) == (1, 7)


def test_replaced_content_counts_nothing(catalog):
    """A content that stays for an hour counts nothing, also beside one that is kept, or that two revisions share."""
    catalog.add([record(1, bytes=10)], now=NOW)
    for revision, superseded, size in (
        (2, (earlier(1, 10, kept=False),), 7),
        (3, (earlier(1, 10, kept=False), earlier(1, 20)), 27),
        (4, (earlier(1, 20), earlier(1, 30, kept=False), earlier(1, 20)), 27),
        (5, (earlier(1, 20)._replace(key=record(1).key, bytes=7),), 7),
    ):
        one = record(1, bytes=7, revision=revision, superseded=superseded)
        assert catalog.replace(one, expected_revision=revision - 1)
        assert usage(catalog) == counted(catalog) == usage(catalog, None) == (1, size)


def test_record_added_with_earlier_contents(catalog):
    """A record that is added with earlier contents counts them all."""
    catalog.add([record(1, superseded=(earlier(1, 100),))], now=NOW)
    catalog.add([record(2), record(3, superseded=(earlier(3, 50), earlier(3, 70, kept=False)))], now=NOW)
    assert usage(catalog) == (3, 165)
    catalog.remove([name(1)])
    assert usage(catalog) == (2, 60)


def test_expired_counts_until_released(catalog):
    """An expired record counts until its bytes are released; its later removal changes nothing."""
    catalog.add([record(1, ttl=60.0, superseded=(earlier(1, 9),)), record(2)], now=NOW)
    released = record(1, ttl=60.0, released=True, revision=2)
    assert catalog.replace_each([(released, 1)]) == [True]
    assert usage(catalog) == (1, 5)
    assert len(catalog.remove([name(1)], expired_at=NOW + 60)) == 1
    assert usage(catalog) == usage(catalog, None) == (1, 5)


def test_removed_session_holds_nothing(catalog):
    """A session that is removed, in portions, holds nothing at its end, and a later one of that name begins at zero."""
    catalog.add([record(number) for number in range(700)], now=NOW)
    catalog.add([record(1, "bob")], now=NOW)
    assert len(catalog.remove_session("alice", NOW, 300)) == 300
    assert usage(catalog) == (400, 2000)
    while len(catalog.remove_session("alice", NOW, 300) or ()) == 300:
        pass
    assert usage(catalog) == (0, 0)
    assert usage(catalog, None) == (1, 5)
    catalog.add([record(9)], now=NOW)
    assert usage(catalog) == (1, 5)


def test_expired_sessions_keep_what_is_not_released(catalog):
    """The counters of a session survive its end, because its bytes do; its records can still be removed."""
    catalog.add([record(1, ttl=60.0)], now=NOW)
    assert catalog.expire_sessions(NOW + 2 * DAY) == 1
    assert usage(catalog) == (1, 5)
    catalog.add([record(2)], now=NOW + 2 * DAY)
    assert usage(catalog) == (2, 10)
    catalog.remove([name(1)])
    assert usage(catalog) == (1, 5)


def test_large_numbers(catalog):
    """Sizes of petabytes are counted exactly."""
    catalog.add([record(number, bytes=2**50 + number) for number in range(4)], now=NOW)
    assert usage(catalog) == (4, 4 * 2**50 + 6)


def test_concurrent_changes_are_all_counted(open_catalog):
    """After many threads have changed a session, the counters equal a full count."""
    catalogs = [open_catalog() for _ in range(4)]
    if catalogs[0].provider == "memory":
        catalogs = catalogs[:1] * 4

    def work(seed):
        rng, catalog = random.Random(seed), catalogs[seed]
        for step in range(40):
            number = seed * 1000 + step
            one = record(number, bytes=rng.randrange(1000))
            catalog.add([one], now=NOW)
            action = rng.randrange(4)
            if action == 0:
                catalog.remove([name(number)])
            elif action == 1:
                catalog.replace(
                    one.changed(bytes=3, revision=2, superseded=(earlier(number, one.bytes),)), expected_revision=1
                )
            elif action == 2:
                catalog.remove([name(rng.randrange(4) * 1000 + step)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage(catalogs[0]) == counted(catalogs[0]) == usage(catalogs[0], None)
    assert usage(catalogs[0]) != (0, 0)


def test_limit_of_an_add(catalog):
    """An add that makes a session larger than its limit raises and adds nothing; one that adds no bytes succeeds."""
    catalog.add([record(1, bytes=6)], now=NOW, max_session_bytes=10)
    catalog.add([record(2, bytes=4)], now=NOW, max_session_bytes=10)
    catalog.add([record(3, "bob", bytes=10)], now=NOW, max_session_bytes=10)
    for more in ([record(4, bytes=1)], [record(4, bytes=0), record(5, bytes=1)], [record(6, "carol"), record(4)]):
        with pytest.raises(QuotaExceededError) as caught:
            catalog.add(more, now=NOW, max_session_bytes=10)
        assert (caught.value.limit, caught.value.scope) == (10, "session")
    assert usage(catalog, None) == (3, 20)
    assert catalog.get([name(4), name(5), name(6, "carol")]) == [None] * 3
    catalog.add([record(7, bytes=0)], now=NOW, max_session_bytes=5)
    catalog.add([record(8, bytes=1)], now=NOW)
    assert usage(catalog) == (4, 11)


def test_limit_of_a_replacement(catalog):
    """A replacement raises if it makes a session larger than its limit; one that does not grow succeeds above it."""
    catalog.add([record(1, bytes=6), record(2, bytes=3)], now=NOW)
    grown = record(2, bytes=2, revision=2, superseded=(earlier(2, 3),))
    with pytest.raises(QuotaExceededError):
        catalog.replace(grown, expected_revision=1, max_session_bytes=10)
    assert catalog.get([name(2)]) == [record(2, bytes=3)]
    assert usage(catalog) == (2, 9)
    assert not catalog.replace(grown, expected_revision=7, max_session_bytes=10)
    assert catalog.replace(grown, expected_revision=1, max_session_bytes=11)
    assert catalog.replace(grown.changed(revision=3, filename="z"), expected_revision=2, max_session_bytes=5)
    assert catalog.replace(grown.changed(revision=4, superseded=()), expected_revision=3, max_session_bytes=5)
    assert usage(catalog) == (2, 8)


def test_concurrent_adds_stay_below_the_limit(open_catalog):
    """Of many concurrent adds as many succeed as the limit allows."""
    catalogs = [open_catalog() for _ in range(4)]
    if catalogs[0].provider == "memory":
        catalogs = catalogs[:1] * 4
    refused = []

    def work(number):
        for step in range(10):
            try:
                catalogs[number].add([record(number * 100 + step, bytes=10)], now=NOW, max_session_bytes=155)
            except QuotaExceededError:
                refused.append(step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage(catalogs[0]) == counted(catalogs[0]) == (15, 150)
    assert len(refused) == 25


def test_recount_changes_nothing_that_is_right(catalog):
    """Counting anew gives what the counters say, of every kind of record."""
    catalog.add([record(1, superseded=(earlier(1, 100),)), record(2), record(3, "bob", bytes=9)], now=NOW)
    pending = record(4, bytes=0, revision=0, pending=Pending(timestamp(NOW + 60), True, None))
    catalog.add([pending, record(5, ttl=60.0)], now=NOW)
    catalog.replace_each([(record(5, ttl=60.0, released=True, revision=2), 1)])
    before = [usage(catalog, name) for name in ("alice", "bob", None)]
    catalog.recount()
    assert [usage(catalog, name) for name in ("alice", "bob", None)] == before
    catalog.remove([name(1), name(2)])
    assert usage(catalog) == (0, 0)


def test_recount_beside_writers(catalog):
    """Counters stay right while records change and all is counted again and again."""
    catalog.add([record(1000)], now=NOW)
    stop = threading.Event()

    def recount():
        while not stop.is_set():
            catalog.recount()

    thread = threading.Thread(target=recount)
    thread.start()
    for number in range(60):
        catalog.add([record(number)], now=NOW)
        if number % 2:
            catalog.remove([name(number)])
    stop.set()
    thread.join()
    assert usage(catalog) == (31, 155)


def tamper(catalog):
    """Damage the counters of alice."""
    if catalog.provider == "memory":
        for name in ("alice", None):
            catalog._indexes.usage[name][1] += 7
    elif catalog.provider == "sqlite":
        catalog._change(lambda connection: connection.execute("UPDATE usage SET bytes = bytes + 7"))
    elif catalog.provider == "redis":
        catalog._link.read("HINCRBY", f"{catalog._session_root('alice')}session/alice", "bytes", 7)
    else:
        catalog._link.change("UPDATE $schema.usage SET bytes = bytes + 7", {})


def test_recount_repairs_counters(catalog):
    """Counters that were damaged are right after a recount, of one session and of all."""
    catalog.add([record(number) for number in range(100)], now=NOW)
    catalog.add([record(1, "bob", bytes=9)], now=NOW)
    tamper(catalog)
    assert usage(catalog) != (100, 500)
    catalog.recount()
    assert usage(catalog) == (100, 500)
    assert usage(catalog, "bob") == (1, 9)
    assert usage(catalog, None) == (101, 509)


def test_recount_of_many_sessions(catalog):
    """Sessions are counted anew, whether they have many records, few or no more."""
    for size, session_id in ((600, "alice"), (700, "bob"), (3, "carol")):
        catalog.add([record(number, session_id) for number in range(size)], now=NOW)
    for number in range(130):
        catalog.add([record(0, f"s{number}")], now=NOW)
    catalog.remove([name(0, "s7")])
    tamper(catalog)
    catalog.recount()
    sizes = [usage(catalog, session_id)[0] for session_id in ("alice", "bob", "carol", "s0", "s7", "s129")]
    assert sizes == [600, 700, 3, 1, 0, 1]
    assert usage(catalog, None)[0] == 600 + 700 + 3 + 129
