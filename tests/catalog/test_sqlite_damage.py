"""Damaged SQLite files: the damage is reported, and affects nothing else."""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3

import pytest
from records import NOW, name, record

from chuk_artifacts import ArtifactStore, SessionError, grid
from chuk_artifacts.catalog import FilenameTakenError, Query, new_session
from chuk_artifacts.catalog.sqlite import SqliteCatalog
from chuk_artifacts.models import timestamp

DAMAGED = ["garbage", "", "{", "[]", "{}", "1", "null", '"text"', b"\xff", 7, '{"superseded":[]}']
"""What may stand in the place of a record."""

WRONG = [
    *({"bytes": "x"}, {"bytes": None}, {"revision": "x"}, {"meta": None}, {"meta": []}, {"key": 7}),
    *({"filename": 7}, {"expires_at": "tomorrow"}, {"expires_at": 7}, {"ttl": "x"}, {"ttl": -1.0}, {"mime": None}),
    *({"superseded": [[1, 2, 3]]}, {"superseded": [["x"]]}, {"pending": [1]}, {"pending": ["x", "y", "z"]}),
]
"""What fields can't have for a value."""

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    """Return the path of the database file."""
    return tmp_path / "folder" / "catalog.sqlite3"


@pytest.fixture
def catalog(path):
    """Return a catalog: alice's session has artifacts 1 to 9, bob's has 11."""
    catalog = SqliteCatalog(str(path), "box", 86400.0)
    catalog.add([record(number, ttl=60.0 + number) for number in range(1, 10)], now=NOW)
    catalog.add([record(11, "bob")], now=NOW)
    yield catalog
    catalog.close()


@pytest.fixture
def store(path, monkeypatch):
    """Return a store whose records are in the database file."""
    monkeypatch.setenv("SESSION_SQLITE_PATH", str(path))
    with ArtifactStore(session_provider="sqlite", sandbox_id="box") as store:
        yield store


def change(path, statement, *values):
    """Change the database file with another connection."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount > 0


def damage(path, number, content="garbage", session_id="alice"):
    """Damage a record."""
    change(path, "UPDATE artifacts SET record = ? WHERE artifact_id = ?", content, name(number, session_id))


def page(catalog, limit=100, session_id="alice"):
    """Return the numbers of the records of a page."""
    return ids(catalog.page(session_id, prefix="", after=None, limit=limit, now=NOW))


def search(catalog, limit=100):
    """Return the numbers of the records that a search finds, for which it must look into them."""
    found, after = [], None
    while True:
        query = Query(mime="text/*", stored_after=timestamp(0))
        page = catalog.search(["alice"], query, after=after, limit=limit, now=NOW)
        found += ids(page.records)
        after = page.after
        if after is None:
            return found


def ids(records):
    """Return the numbers of records."""
    return [int(one.artifact_id[8:], 16) for one in records]


# The whole file


def test_file_that_is_not_a_database(store, path):
    """A file that is not a database is an error that names it, and is not changed."""
    content = b"no database, but long enough to be taken for one" * 99
    path.parent.mkdir()
    path.write_bytes(content)
    for method in (
        lambda: store.store(b"x", session_id="alice"),
        lambda: store.exists("0" * 32),
        lambda: store.list_by_session("alice"),
        lambda: store.delete("0" * 32),
        store.cleanup,
    ):
        with pytest.raises(SessionError, match="file is not a database") as caught:
            method()
        assert str(path) in str(caught.value)
    assert store.validate_configuration()["session"]["status"] == "error"
    assert path.read_bytes() == content


def test_damaged_page(store, path):
    """A database damaged in its middle is an error of the catalog, not an empty listing."""
    for number in range(50):
        store.store(b"x", session_id="alice", filename=f"{number}", summary="s" * 500)
    store.scope.core.catalog.close()  # the last connection of a file to close writes the log back
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(SessionError):
        store.list_by_session("alice")


# One record


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_record_is_an_error_by_id(catalog, path, content):
    """Getting a damaged record by its id raises; other calls work."""
    damage(path, 3, content)
    for wanted in ([name(3)], [name(2), name(3)]):
        with pytest.raises(SessionError, match="damaged"):
            catalog.get(wanted)
    assert ids(catalog.get([name(2), name(4)])) == [2, 4]


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_field_that_can_not_have_its_value(catalog, path, fields):
    """A record with an impossible value of a field is damaged, though it is JSON."""
    damage(path, 3, record(3, ttl=63.0).changed(**fields).to_json())
    for wanted in ([name(3)], [name(2), name(3)]):
        with pytest.raises(SessionError, match="damaged"):
            catalog.get(wanted)
    assert page(catalog) == [1, 2, 4, 5, 6, 7, 8, 9]
    assert catalog.verify() == 1
    assert catalog.due(NOW + 999, 100).damaged == [name(3)]
    assert catalog.remove([name(3)])[0].key == record(3).key


@pytest.mark.parametrize("content", DAMAGED)
def test_listings_pass_over_damaged_records(catalog, path, content, caplog):
    """A page is filled past damaged records, and a warning names them."""
    for number in (1, 3, 4, 5):
        damage(path, number, content)
    assert page(catalog) == [2, 6, 7, 8, 9]
    assert [page(catalog, limit) for limit in (1, 2, 4, 5)] == [[2], [2, 6], [2, 6, 7, 8], [2, 6, 7, 8, 9]]
    assert search(catalog) == search(catalog, 2) == [2, 6, 7, 8, 9]
    assert catalog.named("alice", "f3", NOW) == []
    assert ids(catalog.named("alice", "f2", NOW)) == [2]
    assert len(catalog.sample(NOW, 5)) == 5
    assert name(3) in caplog.text


def test_many_damaged_records_do_not_end_a_listing(catalog, path):
    """A listing goes on past pages with only damaged records."""
    catalog.add([record(number, "carol", filename=f"{number:04}") for number in range(1000)], now=NOW)
    change(path, "UPDATE artifacts SET record = '' WHERE session_id = 'carol' AND filename < '0990'")
    assert page(catalog, 3, "carol") == [990, 991, 992]


def test_damaged_text_and_columns_do_not_end_a_listing(catalog, path):
    """Invalid UTF-8 in a record or a column is skipped like other damage."""
    damage(path, 2)
    change(path, "UPDATE artifacts SET record = CAST(x'7bff7d' AS TEXT) WHERE artifact_id = ?", name(3))
    change(path, "UPDATE artifacts SET filename = CAST(x'66ff' AS TEXT) WHERE artifact_id = ?", name(4))
    assert page(catalog) == [1, 5, 6, 7, 8, 9, 4]
    assert search(catalog) == [1, 5, 6, 7, 8, 9, 4]
    assert catalog.verify() == 3
    assert ids(catalog.remove([name(3), name(4)])) == [4, 3]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_due_counts_damaged_records(catalog, path, content, limit):
    """Pages of due records name the damaged ones, and contain the others."""
    for number in (1, 4, 9):
        damage(path, number, content)
    sound, damaged, after = [], [], None
    while True:
        due = catalog.due(NOW + 999, limit, after)
        sound += ids(due.records)
        damaged += due.damaged
        after = due.after
        if after is None:
            break
    assert sound == [2, 3, 5, 6, 7, 8]
    assert damaged == [name(1), name(4), name(9)]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_records_can_be_removed(catalog, path, content):
    """A damaged record can be removed, and is returned with the values of its columns."""
    damage(path, 3, content)
    removed = {one.artifact_id: one for one in catalog.remove([name(2), name(3)])}
    assert removed[name(2)] == record(2, ttl=62.0)
    salvaged = removed[name(3)]
    assert (salvaged.key, salvaged.filename, salvaged.bytes) == (record(3).key, "f3", 5)
    assert salvaged.expires_at == timestamp(NOW + 63)
    assert catalog.get([name(2), name(3)]) == [None, None]


@pytest.mark.parametrize("content", DAMAGED)
def test_session_with_damaged_records_can_be_removed(catalog, path, content):
    """A session is removed with its damaged records, which are returned from their columns."""
    for number in (1, 3, 4, 5):
        damage(path, number, content)
    removed = []
    while (portion := catalog.remove_session("alice", NOW, 2)) is not None:
        removed += portion
    assert sorted(ids(removed)) == list(range(1, 10))
    assert {one.key for one in removed} == {record(number).key for number in range(1, 10)}


def test_removal_that_can_not_be_decoded_is_not_committed(catalog, path, monkeypatch):
    """Removed records are decoded before the commit: an error leaves them in place."""

    def fail(rows):
        raise MemoryError

    monkeypatch.setattr(catalog, "_removed", fail)
    with pytest.raises(MemoryError):
        catalog.remove([name(1)])
    with pytest.raises(MemoryError):
        catalog.remove_session("alice", NOW, 100)
    monkeypatch.undo()
    assert page(catalog) == list(range(1, 10))


def test_record_with_a_key_of_another_artifact_is_damaged(catalog, path):
    """A removal never returns a record with the key of another artifact's bytes."""
    damage(path, 3, record(3, key=record(4).key).to_json())
    damage(path, 5, record(6).to_json())
    with pytest.raises(SessionError, match="damaged"):
        catalog.get([name(5)])
    assert catalog.due(NOW + 999, 100).damaged == [name(3), name(5)]
    assert {one.key for one in catalog.remove([name(3), name(5)])} == {record(3).key, record(5).key}


def test_damaged_session(store, path):
    """A damaged session is an error of the catalog."""
    session_id = store.create_session(custom_metadata={"a": 1})
    for column, value in (
        ("custom_metadata", "garbage"),
        ("custom_metadata", "[]"),
        ("custom_metadata", b"\xff"),
        ("expires_at", "tomorrow"),
        ("expires_at", b"\xff"),
        ("created_at", 7),
        ("user_id", b"\xff"),
        ("ttl", "x"),
    ):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (before,) = connection.execute(f"SELECT {column} FROM sessions").fetchone()
        change(path, f"UPDATE sessions SET {column} = ?", value)
        for method in (lambda: store.get_session_info(session_id), lambda: store.extend_session_ttl(session_id, 1)):
            with pytest.raises(SessionError, match="damaged"):
                method()
        change(path, f"UPDATE sessions SET {column} = ?", before)
    assert store.get_session_info(session_id) is not None


# Verify


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("artifact_id", "0" * 32),
        ("artifact_id", b"\xff"),
        ("sandbox_id", "bax"),
        ("sandbox_id", b"\xff"),
        ("session_id", "alicf"),
        ("filename", "g3"),
        ("bytes", 6),
        ("bytes", "x"),
        ("revision", 2),
        ("expires_at", timestamp(NOW + 5)),
        ("expires_at", None),
        ("due", timestamp(NOW + 5)),
        ("due", None),
        *(("record", content) for content in DAMAGED),
        ("record", record(3, ttl=63.0, key="grid/box/alice/x").to_json()),
        ("record", record(3, ttl=63.0, key=None).to_json()),
        ("record", record(3, ttl=63.0).to_json().replace('"mime"', '"mjme"')),
    ],
)
def test_verify_compares_records_with_their_columns(catalog, path, column, value):
    """A record that differs from its columns is counted, whichever differs."""
    assert catalog.verify() == 0
    change(path, f"UPDATE artifacts SET {column} = ? WHERE artifact_id = ?", value, name(3))
    assert catalog.verify() == 1
    assert "1 records are damaged" in catalog.check()["warning"]


def test_verify_of_a_sandbox_among_others(catalog, path):
    """Damage in another sandbox is not counted, as long as its sandbox is certain."""
    other = SqliteCatalog(str(path), "other", None)
    artifact_id = name(3, "s", "other")
    other.add([record(3, "s", sandbox_id="other", key=grid.artifact_key("box", "s", artifact_id))], now=NOW)
    assert other.verify() == 1  # its key is of another sandbox
    assert catalog.verify() == 0
    change(path, "UPDATE artifacts SET record = '' WHERE artifact_id = ?", artifact_id)
    assert (catalog.verify(), other.verify()) == (0, 1)
    change(path, "UPDATE artifacts SET session_id = 't' WHERE artifact_id = ?", artifact_id)
    assert (catalog.verify(), other.verify()) == (1, 1)
    other.close()


def test_verify_compares_the_indexes(catalog, path):
    """An index that lacks a record, hiding it from listings, is damage of the whole file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        sql = "SELECT sql FROM sqlite_master WHERE name = 'artifacts_by_place'"
        (before,) = connection.execute(sql).fetchone()
        set_sql = "UPDATE sqlite_master SET sql = ? WHERE name = 'artifacts_by_place'"
        connection.execute(set_sql, (f"{before} WHERE artifact_id <> '{name(3)}'",))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REINDEX artifacts_by_place")
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(set_sql, (before,))
    catalog.close()
    with pytest.raises(SessionError, match=r"damaged.*artifacts_by_place"):
        catalog.verify()


def test_index_that_holds_what_the_table_lacks(catalog, path):
    """A session that can't be emptied because of a damaged index is an error, not an endless loop."""
    copy_of_index = "SELECT rootpage FROM sqlite_master WHERE name = 'artifacts_by_place'"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (root,) = connection.execute(copy_of_index).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.close()
    before = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    for number in range(1, 10):
        catalog.remove([name(number)])
    catalog.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE : root * PAGE] = before
    path.write_bytes(content)
    with pytest.raises(SessionError, match=r"damaged|malformed"):
        while catalog.remove_session("alice", NOW, 100) is not None:
            pass


# At random


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory):
    """Return the content of a database file of 300 records, and the records."""
    path = tmp_path_factory.mktemp("sound") / "catalog.sqlite3"
    records = [
        record(number, f"s{number % 7}", filename=f"f{number}" if number % 5 else None, summary="x" * number)
        for number in range(300)
    ]
    catalog = SqliteCatalog(str(path), "box", 86400.0)
    catalog.add(records, now=NOW)
    catalog.identity("identity")
    catalog.close()
    return path.read_bytes(), records


def damaged_at_random(content, chance):
    """Return a file's content with one damage of a kind that disks, memory or people cause."""
    content = bytearray(content)
    start = chance.randrange(len(content) if chance.random() < 0.9 else 200)
    match chance.choice(["bit", "bytes", "zeros", "page", "end"]):
        case "bit":
            content[start] ^= 1 << chance.randrange(8)
        case "bytes":
            more = chance.randbytes(chance.randrange(1, 300))[: len(content) - start]
            content[start : start + len(more)] = more
        case "zeros":
            start = start // 512 * 512
            content[start : start + 512] = bytes(512)
        case "page":
            source = chance.randrange(len(content) // PAGE) * PAGE
            start = start // PAGE * PAGE
            content[start : start + PAGE] = content[source : source + PAGE]
        case "end":
            del content[start:]
    return bytes(content)


CALLS = [
    lambda catalog, _: catalog.check(),
    lambda catalog, records: catalog.get([one.artifact_id for one in records]),
    lambda catalog, _: catalog.page("s1", prefix="", after=None, limit=20, now=NOW),
    lambda catalog, _: catalog.page("s2", prefix="f", after=("f1", ""), limit=20, now=NOW),
    lambda catalog, _: catalog.named("s1", "f1", NOW),
    lambda catalog, _: catalog.has_named("s1", "f1", NOW),
    lambda catalog, _: catalog.named_each("s1", ["f1", "f2"], NOW),
    lambda catalog, _: catalog.due(NOW + 9e5, 50),
    lambda catalog, _: catalog.sample(NOW, 50),
    lambda catalog, _: catalog.stats(NOW),
    lambda catalog, _: catalog.identity("other"),
    lambda catalog, _: catalog.get_session("s1", NOW),
    lambda catalog, _: catalog.update_session("s2", NOW, custom_metadata={"a": 1}, extend=1),
    lambda catalog, _: catalog.add([record(1000, "s1")], now=NOW),
    lambda catalog, _: catalog.add([record(1001, "s2", filename="f2")], now=NOW, exclusive=True),
    lambda catalog, records: catalog.replace(records[3].changed(revision=2), expected_revision=1),
    lambda catalog, records: catalog.replace_each([(one.changed(revision=2), 1) for one in records[5:20]]),
    lambda catalog, records: catalog.remove([one.artifact_id for one in records[20:60]]),
    lambda catalog, _: [catalog.remove_session("s1", NOW, 20) for _ in range(5)],
    lambda catalog, _: catalog.create_session(new_session("new", "box", now=NOW, ttl=1.0)),
    lambda catalog, _: catalog.expire_sessions(NOW + 9e5),
    lambda catalog, _: catalog.close(),
]


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_random_damage(path, sound_file, start, caplog):
    """Random damage is found by ``verify`` or hides no record, and no method raises anything but ``SessionError``."""
    caplog.set_level(logging.CRITICAL)
    content, records = sound_file
    path.parent.mkdir()
    for seed in range(start, start + 50):
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(damaged_at_random(content, random.Random(seed)))
        catalog = SqliteCatalog(str(path), "box", 86400.0)
        assert has_noticed(catalog) or all(is_found(catalog, one) for one in records), seed
        for call in CALLS:
            with contextlib.suppress(SessionError, FilenameTakenError):
                call(catalog, records)
        catalog.close()


def has_noticed(catalog):
    """Return whether a catalog has found damage."""
    try:
        return catalog.verify() > 0
    except SessionError:
        return True


def is_found(catalog, one):
    """Return whether a record is found by its id, with its bytes."""
    found = catalog.get([one.artifact_id])[0]
    return found is not None and found.key == one.key


def test_message_that_is_no_text(path, sound_file):
    """An error message that SQLite takes from a damaged schema, in invalid UTF-8, is an error of the catalog."""
    content, _ = sound_file
    path.parent.mkdir()
    named = content.replace(b"tableartifactsartifacts", b"table\xff\xfetifacts\xff\xfetifacts", 1)
    path.write_bytes(named.replace(b"CREATE TABLE artifacts", b"CREATE TABLE (rtifacts", 1))
    catalog = SqliteCatalog(str(path), "box", None)
    for call in (catalog.verify, catalog.check, lambda: catalog.get([name(1)])):
        with pytest.raises(SessionError):
            call()
    catalog.close()
