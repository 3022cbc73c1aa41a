"""The catalog in Redis with values that it did not write: one damaged record affects nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
import random

import pytest
import records
from records import NOW

from chuk_artifacts.catalog import Query, new_session
from chuk_artifacts.catalog.redis import RedisCatalog
from chuk_artifacts.catalog.redis.url import open_link
from chuk_artifacts.errors import ConflictError, SessionError
from chuk_artifacts.models import timestamp

DAY = 86400.0


def record(number, **fields):
    """Return a record; all have one filename."""
    usual = {"filename": "f", "ttl": 60.0, "session_provider": "redis"}
    return records.record(number, **{**usual, **fields})


SOUND = [record(number) for number in (1, 3)]
BAD = record(2)


@pytest.fixture
def server(redis_url, redis_server):
    """Return a client of an empty server."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def open_catalog(redis_url):
    """Return a function that opens a catalog in the server."""
    with contextlib.ExitStack() as stack:

        def open_one():
            link = open_link(redis_url, "redis", max_connections=4, max_retries=0)
            return stack.enter_context(contextlib.closing(RedisCatalog(link, "box", DAY)))

        yield open_one


@pytest.fixture
def catalog(open_catalog):
    """Return a catalog with three records; a test damages one of them."""
    catalog = open_catalog()
    catalog.add([SOUND[0], BAD, SOUND[1]], now=NOW)
    return catalog


def key_of(server, pattern):
    """Return the only key of a kind."""
    (key,) = server.scan_iter(f"*{pattern}")
    return key


def with_body(value, change):
    """Return a record's value with another body and the same line."""
    line, _, body = value.partition(b"\n")
    fields = json.loads(body)
    change(fields)
    return line + b"\n" + json.dumps(fields).encode()


def with_fields(**fields):
    """Return a function that damages fields."""
    return lambda value: with_body(value, lambda body: body.update(fields))


LINE_LOST = {
    "empty": lambda value: b"",
    "text": lambda value: b"garbage",
    "no line feed": lambda value: value.replace(b"\n", b" "),
    "NULs": lambda value: b"\0" * 6,
    "more NULs": lambda value: b"\0" * 600,
    "a line feed": lambda value: b"\n" + value,
    "cut": lambda value: value[:20],
    "body only": lambda value: value.partition(b"\n")[2],
    "of another": lambda value: value.replace(BAD.artifact_id.encode(), SOUND[0].artifact_id.encode()),
    "bytes": lambda value: bytes(range(256)),
}
BODY_LOST = {
    "no body": lambda value: value.partition(b"\n")[0] + b"\n",
    "half a body": lambda value: value[:-30],
    "two bodies": lambda value: value + b"{}",
    "body that splits": lambda value: value[:-1] + b"},{" + b"}",
    "not UTF-8": lambda value: value.replace(b"text/plain", b"text/\xff"),
    "list": lambda value: value.partition(b"\n")[0] + b"\n[]",
    "null": lambda value: value.partition(b"\n")[0] + b"\nnull",
    "no fields": lambda value: value.partition(b"\n")[0] + b"\n{}",
    "deep": lambda value: value.partition(b"\n")[0] + b"\n" + b"[" * 100_000,
    "field lost": lambda value: with_body(value, lambda body: body.pop("key")),
    "bytes as text": with_fields(bytes="5"),
    "true bytes": with_fields(bytes=True),
    "revision as null": with_fields(revision=None),
    "meta as list": with_fields(meta=[]),
    "key as number": with_fields(key=1),
    "no moment": with_fields(expires_at="tomorrow"),
    "end as number": with_fields(expires_at=1.5),
    "infinite ttl": with_fields(ttl=float("inf")),
    "no ttl": with_fields(ttl=float("nan")),
    "superseded as number": with_fields(superseded=7),
    "superseded of one": with_fields(superseded=[["k"]]),
    "superseded of numbers": with_fields(superseded=[[1, 2, 3]]),
    "pending as true": with_fields(pending=True),
    "pending of numbers": with_fields(pending=[1, 2, 3]),
    "half a character": with_fields(summary="\ud800"),
}
DAMAGES = {**LINE_LOST, **BODY_LOST}


@pytest.fixture(params=[*DAMAGES, "of type hash", "of type list"])
def damaged(request, server, catalog):
    """Return the catalog with one of its records damaged."""
    key = key_of(server, f"record/{BAD.artifact_id}")
    value = server.get(key)
    if request.param in DAMAGES:
        server.set(key, DAMAGES[request.param](value), keepttl=True)
    else:
        server.delete(key)
        server.hset(key, "a", "b") if "hash" in request.param else server.rpush(key, "a")
    return catalog


def ids(records):
    """Return the numbers of records."""
    return [int(one.artifact_id[8:], 16) for one in records]


def page(catalog, **options):
    """Return a page of the listing."""
    return catalog.page("alice", **{"prefix": "", "after": None, "limit": 10, "now": NOW, **options})


def test_single_record_is_an_error(damaged):
    """Reading a damaged record raises a SessionError; its neighbours can be read."""
    with pytest.raises(SessionError):
        damaged.get([BAD.artifact_id])
    assert damaged.get([SOUND[0].artifact_id, SOUND[1].artifact_id]) == SOUND


def test_listings_skip_it(damaged, caplog):
    """Listings fill their limit with sound records, and log a warning that names the damaged one."""
    assert ids(page(damaged)) == [1, 3]
    assert ids(page(damaged, limit=2)) == [1, 3]
    assert ids(page(damaged, limit=1, after=("f", SOUND[0].artifact_id))) == [3]
    assert ids(damaged.named("alice", "f", NOW)) == [1, 3]
    for query in (Query(), Query(mime="text/*", meta={}, stored_after=timestamp(0))):
        assert ids(damaged.search(["alice"], query, after=None, limit=10, now=NOW).records) == [1, 3]
    assert sorted(ids(damaged.sample(NOW, 2))) == [1, 3]
    assert BAD.artifact_id in caplog.text


def test_cleanup_goes_on(damaged):
    """Due records are returned page by page, and the damaged one by its id."""
    found, broken, after = [], [], None
    while True:
        due = damaged.due(NOW + 60, 1, after)
        assert len(due.records) + len(due.damaged) <= 1
        found += ids(due.records)
        broken += due.damaged
        after = due.after
        if after is None:
            break
    assert (found, broken) == ([1, 3], [BAD.artifact_id])
    assert damaged.expire_sessions(NOW + 9 * DAY, dry_run=True) == 1
    assert damaged.stats(NOW)["artifacts"] in {2, 3}


def test_others_go_on(damaged):
    """Records are added, also exclusively, replaced and removed beside a damaged one."""
    damaged.add([record(4, filename="g")], now=NOW, exclusive=True)
    with pytest.raises(ConflictError):
        damaged.add([record(5)], now=NOW, exclusive=True)
    changes = [(one.changed(revision=2), 1) for one in (SOUND[0], BAD, SOUND[1])]
    with contextlib.suppress(SessionError):  # where Redis itself finds a value of another type
        assert damaged.replace_each(changes)[::2] == [True, True]
    assert ids(damaged.remove([SOUND[0].artifact_id])) == [1]


def test_it_is_counted(damaged, open_catalog):
    """Verification counts the damaged record, and no other."""
    assert damaged.verify() == 1
    damaged.remove([BAD.artifact_id])
    assert damaged.verify() == 0


@pytest.mark.parametrize("conditions", [{}, {"session_id": "alice"}, {"expired_at": NOW + 60}])
def test_it_is_removed(damaged, server, conditions):
    """A damaged record can be removed; the result has the key of its bytes, and no entry is left."""
    (removed,) = damaged.remove([BAD.artifact_id], **conditions)
    assert (removed.artifact_id, removed.session_id, removed.all_bytes) == (BAD.artifact_id, "alice", {BAD.key: 5})
    assert damaged.remove([BAD.artifact_id], **conditions) == []
    assert ids(page(damaged)) == [1, 3]
    assert server.zcard(key_of(server, "/due")) == server.zcard(key_of(server, "index/alice")) == 2
    assert damaged.stats(NOW)["artifacts"] == 2


@pytest.mark.parametrize("conditions", [{"session_id": "bob"}, {"expired_at": NOW + 59}])
def test_it_is_removed_on_conditions(damaged, conditions):
    """A damaged record that does not meet the conditions of a removal stays."""
    assert damaged.remove([BAD.artifact_id], **conditions) == []
    assert damaged.verify() == 1


def test_it_goes_with_its_session(damaged, server):
    """A session is removed with its damaged record, and the result has the keys of all bytes."""
    removed = damaged.remove_session("alice", NOW, 10)
    assert sorted(key for one in removed for key in one.all_bytes) == sorted(one.key for one in [*SOUND, BAD])
    assert damaged.remove_session("alice", NOW, 10) is None
    assert damaged.stats(NOW) == {"sessions": 0, "artifacts": 0, "bytes": 0}
    assert [key for key in server.scan_iter("*") if b"removed/" not in key] == []


def test_a_record_without_a_line(catalog, server):
    """A damaged record without a line is removed too, by its session or with its session named."""
    key = key_of(server, f"record/{BAD.artifact_id}")
    for arguments, session_id in (({"session_id": "alice"}, "alice"), ({}, "unknown")):
        server.set(key, b"garbage")
        server.delete(key_of(server, "/due"))
        assert catalog.remove([BAD.artifact_id], session_id="bob") == []
        (removed,) = catalog.remove([BAD.artifact_id], **arguments)
        assert (removed.artifact_id, removed.session_id) == (BAD.artifact_id, session_id)
        assert not server.exists(key)
        catalog.add([record(9)], now=NOW)


def test_many_are_damaged(open_catalog, server):
    """A page is filled, and a removal continues, past many damaged records in a row."""
    catalog = open_catalog()
    catalog.add([record(number) for number in range(1500)], now=NOW)
    for number in range(1400):
        server.set(key_of_record(record(number)), b"garbage")
    assert ids(page(catalog, limit=50)) == list(range(1400, 1450))
    assert len(catalog.named("alice", "f", NOW)) == 100
    due = catalog.due(NOW + 60, 1450)
    assert (len(due.records), len(due.damaged)) == (50, 1400)
    assert len(catalog.sample(NOW, 20)) == 20
    assert catalog.verify() == 1400
    assert len(catalog.remove([record(number).artifact_id for number in range(1000, 1100)])) == 100
    assert catalog.verify() == 1300


def key_of_record(one):
    """Return the name of a record's key."""
    return f"chuk:{{{one.artifact_id[:2]}}}:{one.sandbox_id}/record/{one.artifact_id}"


@pytest.mark.parametrize("what", ["index", "line", "session", "sandbox", "key", "tag"])
def test_filed_wrongly_is_counted(catalog, server, what):
    """Verification counts a sound record that is missing in an index, or names another place."""
    key = key_of(server, f"record/{BAD.artifact_id}")
    if what == "index":
        server.zrem(key_of(server, "index/alice"), f"f\0{BAD.artifact_id}")
    elif what == "line":
        server.zrem(key_of(server, "/due"), server.get(key).partition(b"\n")[0])
    elif what == "tag":
        server.rename(key, key.replace(BAD.artifact_id[:2].encode(), b"zz", 1))
    else:
        fields = {"session": {"session_id": "bob"}, "sandbox": {"sandbox_id": "other"}, "key": {"key": "k"}}[what]
        server.set(key, with_fields(**fields)(server.get(key)))
    assert catalog.verify() == 1


@pytest.mark.parametrize("sandbox_id", ["a*", "[ab]", "a?", "a^-"])
def test_verification_keeps_to_its_sandbox(redis_url, server, sandbox_id):
    """A sandbox whose id looks like a pattern counts only its own damage."""
    link = open_link(redis_url, "redis", max_connections=4, max_retries=0)
    other, catalog = RedisCatalog(link, "ab", DAY), RedisCatalog(link, sandbox_id, DAY)
    ours, others = record(1, sandbox_id=sandbox_id), record(1, sandbox_id="ab")
    other.add([others], now=NOW)
    server.set(key_of_record(others), b"garbage")
    assert (catalog.verify(), other.verify()) == (0, 1)
    catalog.add([ours], now=NOW)
    assert (catalog.verify(), other.verify()) == (0, 1)
    server.set(key_of_record(ours), b"garbage")
    assert (catalog.verify(), other.verify()) == (1, 1)
    catalog.close()


SESSIONS = {
    "text": {"info": b"garbage"},
    "not UTF-8": {"info": b"\xff"},
    "no fields": {"info": b"{}"},
    "deep": {"info": b"[" * 100_000},
    "numbers": {"info": b'{"session_id": 1}'},
    "no moment": {"expires_at": b"tomorrow"},
    "end is not UTF-8": {"expires_at": b"\xff"},
    "half a character": {
        "info": json.dumps({**new_session("alice", "box", now=NOW, ttl=9.0, user_id="\ud800")}).encode()
    },
}


@pytest.mark.parametrize("damage", [*SESSIONS, "end lost", "type"])
def test_damaged_session(catalog, open_catalog, server, damage):
    """A damaged session raises SessionError when it is needed; other sessions, cleanup and its removal work."""
    key = key_of(server, "session/alice")
    if damage == "type":
        server.delete(key)
        server.set(key, "x")
    elif damage == "end lost":
        server.hdel(key, "expires_at")
    else:
        server.hset(key, mapping=SESSIONS[damage])
    catalog = open_catalog()
    for call in (
        lambda: catalog.get_session("alice", NOW),
        lambda: catalog.add([record(9)], now=NOW),
        lambda: catalog.update_session("alice", NOW, extend=1.0),
    ):
        with pytest.raises(SessionError):
            call()
    catalog.add([record(9, session_id="bob")], now=NOW)
    assert ids(page(catalog)) == [1, 2, 3]
    assert catalog.stats(NOW)["artifacts"] == 4
    assert len(catalog.due(NOW + 60, 10).records) == 4
    assert catalog.expire_sessions(NOW + 9 * DAY) in {1, 2}


@pytest.mark.parametrize("member", [b"", b"x", b"\xff", b"\0", b"\xff\0\xff", b"\0" * 6, b"\0" * 9, b"f\0\n"])
def test_foreign_entries_are_passed(catalog, server, member):
    """Foreign entries of an index are skipped and removed."""
    for name in ("index/alice", "/due", "/sessions"):
        server.zadd(key_of(server, name), {member: 0 if "index" in name else NOW - 1})
    assert ids(page(catalog)) == [1, 2, 3]
    assert catalog.stats(NOW)["artifacts"] == 3
    due = catalog.due(NOW + 60, 100)
    assert (ids(due.records), due.damaged, due.after) == ([1, 2, 3], [], None)
    assert catalog.expire_sessions(NOW) == 1
    assert catalog.verify() == 0
    assert server.zcard(key_of(server, "/due")) == server.zcard(key_of(server, "index/alice")) == 3
    assert sorted(ids(catalog.remove_session("alice", NOW, 100))) == [1, 2, 3]


@pytest.mark.parametrize("value", [b"", b"\xff"])
def test_damaged_identity(catalog, server, value):
    """A malformed identity is a SessionError, and is not replaced."""
    catalog.identity("one")
    server.set(key_of(server, "identity"), value)
    for create in (None, "two"):
        with pytest.raises(SessionError):
            catalog.identity(create)


def test_anything_in_redis(open_catalog, server):
    """Whatever bytes Redis contains, each method returns, or raises a SessionError."""
    chance = random.Random(13)
    catalog = open_catalog()
    for _ in range(60):
        server.flushall()
        catalog.add([SOUND[0], BAD, SOUND[1]], now=NOW)
        for key in chance.sample(sorted(server.scan_iter("*")), 2):
            spoil(server, key, chance)
        other = open_catalog() if chance.random() < 0.2 else catalog
        for call in calls(other):
            with contextlib.suppress(SessionError, ConflictError):
                call()


def spoil(server, key, chance):
    """Overwrite some bytes of a key, or give it another type."""

    def spoiled(value):
        changed = bytearray(value or b"?")
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice([0, 10, 34, 92, 123, 255, chance.randrange(256)])
        return bytes(changed[: chance.choice([len(changed), chance.randrange(len(changed) + 1)])])

    kind = server.type(key)
    if chance.random() < 0.2:
        server.delete(key)
        chance.choice([server.set, server.rpush, server.sadd])(key, b"x")
    elif kind == b"string":
        server.set(key, spoiled(server.get(key)))
    elif kind == b"hash":
        field = chance.choice(server.hkeys(key))
        server.hset(key, field, spoiled(server.hget(key, field)))
    elif kind == b"zset":
        member, score = chance.choice(server.zrange(key, 0, -1, withscores=True))
        server.zadd(key, {spoiled(member): chance.choice([score, 0, float("-inf"), float("inf")])})


def calls(catalog):
    """Return a call of each method."""
    every = [one.artifact_id for one in (*SOUND, BAD)]
    yield from (lambda one=one: catalog.get([one]) for one in every)
    yield from (
        lambda: catalog.get(every),
        lambda: page(catalog),
        lambda: page(catalog, prefix="f", limit=1),
        lambda: catalog.named("alice", "f", NOW),
        lambda: catalog.has_named("alice", "f", NOW),
        lambda: catalog.named_each("alice", ["f", "none"], NOW),
        lambda: list(pages(catalog)),
        lambda: catalog.sample(NOW, 2),
        lambda: catalog.stats(NOW + 30),
        catalog.verify,
        lambda: catalog.get_session("alice", NOW),
        lambda: catalog.update_session("alice", NOW, custom_metadata={"a": 1}),
        lambda: catalog.add([record(7)], now=NOW, exclusive=True),
        lambda: catalog.add([record(8)], now=NOW, inheriting={record(8).artifact_id}),
        lambda: catalog.replace_each([(one.changed(revision=2), 1) for one in SOUND]),
        lambda: catalog.expire_sessions(NOW + 9 * DAY, dry_run=True),
        lambda: catalog.remove([BAD.artifact_id, SOUND[1].artifact_id], session_id="alice", expired_at=NOW + 60),
        lambda: catalog.remove_session("alice", NOW, 2),
        lambda: catalog.remove_session("alice", NOW, 100),
        lambda: catalog.expire_sessions(NOW + 9 * DAY),
        lambda: catalog.remove(every),
        lambda: catalog.identity("x"),
        catalog.check,
    )


def pages(catalog):
    """Yield pages of due records, a limited number of them."""
    after = None
    for _ in itertools.repeat(None, 50):
        due = catalog.due(NOW + 60, 1, after)
        yield due
        after = due.after
        if after is None:
            return
    pytest.fail("pages without end")
