"""What every store does to change, copy, move and delete artifacts."""

from __future__ import annotations

import hashlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from orphans import orphans

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
)

SESSION = "user_alice"
UNKNOWN = "0" * 32
WAIT_SECONDS = 30  # how long a thread waits for another before the test fails

BAD_META = [[1], "{}", {1: 2}, {"a": float("nan")}, {"a": {1}}]
BAD_FILENAMES = ["../a", "/a", "a\n", "x" * 1025, 5]
BAD_MIMES = ["", "text", "a/b\r\nc: d", 5]
BAD_TTLS = [0, -1, float("nan"), float("inf"), 1e300, "60", True]
BAD_REVISIONS = [0, -1, "1", 1.0, True]

CHANGES = {
    "update_metadata": lambda store, one: store.update_metadata(one, summary="changed"),
    "update_file": lambda store, one: store.update_file(one, summary="changed"),
    "update_file-data": lambda store, one: store.update_file(one, data=b"changed"),
    "update_file-keep_versions": lambda store, one: store.update_file(one, keep_versions=5),
    "extend_ttl": lambda store, one: store.extend_ttl(one, 60),
    "copy_file": lambda store, one: store.copy_file(one),
    "move_file": lambda store, one: store.move_file(one, new_filename="changed"),
}


class OnceError(Exception):
    """An error that a test's stream raises."""


def broken():
    """Yield some bytes, then raise."""
    yield b"x" * 1_200_000
    raise OnceError


@pytest.fixture
def artifact_id(store):
    """Return the id of an artifact with all metadata set."""
    return store.store(
        b"before",
        mime="text/x-before",
        summary="before",
        meta={"a": 1, "deep": {"x": 1}},
        filename="before.txt",
        session_id=SESSION,
        ttl=600,
    )


@pytest.fixture
def before(store, artifact_id, clock):
    """Return the metadata of the artifact, a minute before now."""
    metadata = store.metadata(artifact_id)
    clock.advance(60)
    return metadata


def changed_fields(before, after):
    """Return the names of the fields that differ."""
    return {name for name in before if before[name] != after[name]}


def seconds_between(earlier, later):
    """Return the seconds between two timestamps."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# What all of them do


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", CHANGES)
def test_change_of_nothing(store, method, subtests):
    """Changing an unknown or malformed id raises not-found."""
    for one in (UNKNOWN, "malformed", "", None, 5):
        with subtests.test(repr(one)), pytest.raises(ArtifactNotFoundError):
            CHANGES[method](store, one)


@pytest.mark.parametrize("method", CHANGES)
def test_change_of_an_expired_artifact(store, clock, artifact_id, method):
    """An expired artifact can't be changed, and stays expired."""
    clock.advance(601)
    with pytest.raises(ArtifactExpiredError):
        CHANGES[method](store, artifact_id)
    assert store.list_by_session(SESSION) == []


@pytest.mark.parametrize("method", [method for method in CHANGES if method != "copy_file"])
def test_change_makes_the_next_revision(store, before, method):
    """A change raises the revision by one, sets updated_at, and returns the new metadata."""
    after = CHANGES[method](store, before.artifact_id)
    assert after.revision == before.revision + 1
    assert after.stored_at == before.stored_at
    assert seconds_between(before.updated_at, after.updated_at) == pytest.approx(60)
    assert store.metadata(before.artifact_id) == after
    assert store.list_by_session(SESSION) == [after]
    assert CHANGES[method](store, before.artifact_id).revision == before.revision + 2


# update_metadata


@pytest.mark.parametrize("field", ["summary", "filename", "mime"])
def test_update_metadata_of_one_field(store, before, field):
    """Only the given field changes."""
    after = store.update_metadata(before.artifact_id, **{field: "text/changed"})
    assert after[field] == "text/changed"
    assert changed_fields(before, after) == {field, "revision", "updated_at"}
    assert store.retrieve(before.artifact_id) == b"before"


def test_update_metadata_merges(store, before):
    """Meta is merged key by key, or replaced with merge=False."""
    after = store.update_metadata(before.artifact_id, meta={"b": 2, "deep": {"y": 2}})
    assert after.meta == {"a": 1, "b": 2, "deep": {"y": 2}}
    assert changed_fields(before, after) == {"meta", "revision", "updated_at"}
    after = store.update_metadata(before.artifact_id, meta={"c": 3}, merge=False)
    assert after.meta == {"c": 3}
    assert store.update_metadata(before.artifact_id, meta={}, merge=False).meta == {}


def test_update_metadata_of_all_fields(store, before):
    """All fields can change at once, also to an empty summary."""
    after = store.update_metadata(before.artifact_id, summary="", meta={"b": 2}, filename="c", mime="d/e")
    assert (after.summary, after.meta["b"], after.filename, after.mime) == ("", 2, "c", "d/e")
    assert after.revision == 2


def test_update_metadata_moves_in_the_listing(store, artifact_id):
    """A renamed artifact is listed under its new filename."""
    store.update_metadata(artifact_id, filename="docs/after.txt")
    assert store.list_files(SESSION, "before") == []
    assert [one.artifact_id for one in store.get_directory_contents(SESSION, "docs")] == [artifact_id]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    "field",
    ["artifact_id", "session_id", "sandbox_id", "key", "bytes", "sha256", "revision", "expires_at", "ttl", "data"],
)
def test_update_metadata_of_other_fields(store, before, field):
    """No other field can be set, in particular not the key."""
    other_id = store.store(b"of another", session_id="user_bob")
    with pytest.raises(TypeError):
        store.update_metadata(before.artifact_id, **{field: store.metadata(other_id).key})
    assert store.metadata(before.artifact_id) == before
    assert store.retrieve(before.artifact_id) == b"before"


@pytest.mark.same_everywhere
def test_update_metadata_bad_arguments(store, before, subtests):
    """Each invalid argument is refused, and nothing changes."""
    cases = [{}, {"merge": False}, {"if_revision": 1}]
    cases += [{"summary": summary} for summary in (5, "\ud800")]
    cases += [{"meta": meta} for meta in BAD_META]
    cases += [{"filename": filename} for filename in BAD_FILENAMES]
    cases += [{"mime": mime} for mime in BAD_MIMES]
    cases += [{"summary": "changed", "if_revision": revision} for revision in BAD_REVISIONS]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError):
            store.update_metadata(before.artifact_id, **case)
    assert store.metadata(before.artifact_id) == before


def test_update_metadata_copies_meta(store, artifact_id):
    """Modifying the caller's meta after the update does not change the stored one."""
    meta = {"list": [1]}
    store.update_metadata(artifact_id, meta=meta)
    meta["list"].append(2)
    assert store.metadata(artifact_id).meta["list"] == [1]


@pytest.mark.parametrize("arguments", [{"summary": "changed"}, {"meta": {"b": 2}}])
@pytest.mark.parametrize("method", ["update_metadata", "update_file"])
def test_update_of_another_revision(store, artifact_id, method, arguments):
    """With if_revision, any other revision is a conflict, and nothing changes."""
    update = getattr(store, method)
    assert update(artifact_id, **arguments, if_revision=1).revision == 2
    latest = store.metadata(artifact_id)
    for revision in (1, 3):
        with pytest.raises(ConflictError, match="revision 2"):
            update(artifact_id, **arguments, if_revision=revision)
    assert store.metadata(artifact_id) == latest
    assert update(artifact_id, **arguments, if_revision=2).revision == 3


# update_file


FIELDS = {
    "data": ({"data": b"after"}, {"bytes", "sha256", "key"}),
    "meta": ({"meta": {"b": 2}}, {"meta"}),
    "filename": ({"filename": "after.txt"}, {"filename"}),
    "summary": ({"summary": "after"}, {"summary"}),
    "summary-empty": ({"summary": ""}, {"summary"}),
    "mime": ({"mime": "text/x-after"}, {"mime"}),
    "ttl": ({"ttl": 900}, {"ttl", "expires_at"}),
}


@pytest.mark.parametrize("case", FIELDS)
def test_update_file_of_one_field(store, before, case):
    """Only the given field changes; meta is replaced."""
    arguments, fields = FIELDS[case]
    after = store.update_file(before.artifact_id, **arguments)
    assert changed_fields(before, after) == {*fields, "revision", "updated_at"}
    assert all(after[name] == value for name, value in arguments.items() if name != "data")
    assert store.retrieve(before.artifact_id) == arguments.get("data", b"before")


@pytest.mark.parametrize("data", [b"after, and longer", b"", b"x" * 3_000_000], ids=len)
def test_update_file_of_the_content(store, before, data):
    """Every method reads the new content, its length and its SHA-256; empty content is valid."""
    after = store.update_file(before.artifact_id, data=data)
    assert (after.bytes, after.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert store.retrieve(before.artifact_id) == data
    assert b"".join(store.stream(before.artifact_id)) == data
    with store.open(before.artifact_id) as file:
        assert file.read() == data


def test_update_file_of_everything(store, before, tmp_path):
    """Content and all metadata change in one revision."""
    (tmp_path / "file").write_bytes(b"after")
    after = store.update_file(
        before.artifact_id,
        data=tmp_path / "file",
        meta={"b": 2},
        filename="after.txt",
        summary="after",
        mime="a/b",
        ttl=10,
        if_revision=1,
    )
    assert (after.filename, after.summary, after.mime) == ("after.txt", "after", "a/b")
    assert (after.meta, after.ttl, after.bytes, after.revision) == ({"b": 2}, 10, 5, 2)
    assert store.retrieve(before.artifact_id) == b"after"


def test_update_file_many_times(store, artifact_id):
    """After many updates every read returns the latest content."""
    for number in range(1, 41):
        assert store.update_file(artifact_id, data=iter([b"%d" % number])).revision == number + 1
    assert store.retrieve(artifact_id) == b"40"
    assert store.delete(artifact_id)
    assert not store.exists(artifact_id)


def test_update_file_sets_the_ttl_anew(store, before, clock):
    """A new ttl counts from now, may be shorter or longer, and extends the session."""
    after = store.update_file(before.artifact_id, ttl=30)
    assert seconds_between(after.updated_at, after.expires_at) == pytest.approx(30)
    after = store.update_file(before.artifact_id, ttl=90_000)
    assert seconds_between(after.updated_at, after.expires_at) == pytest.approx(90_000)
    clock.advance(89_990)
    assert store.validate_session(SESSION)
    assert store.retrieve(before.artifact_id) == b"before"
    clock.advance(11)
    assert not store.exists(before.artifact_id)


@pytest.mark.same_everywhere
def test_update_file_bad_arguments(store, clock, before, tmp_path, subtests):
    """Each invalid argument is refused before anything is written."""
    cases = [{}, {"if_revision": 1}]
    cases += [{"data": data} for data in ("text", 5, {"a": 1}, tmp_path, tmp_path / "missing", ["a"], [1])]
    cases += [{"summary": 5}]
    cases += [{"meta": meta} for meta in BAD_META]
    cases += [{"filename": filename} for filename in BAD_FILENAMES]
    cases += [{"mime": mime} for mime in BAD_MIMES]
    cases += [{"ttl": ttl} for ttl in BAD_TTLS]
    cases += [{"data": b"after", "ttl": 0}]
    cases += [{"data": b"after", "if_revision": revision} for revision in BAD_REVISIONS]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError):
            store.update_file(before.artifact_id, **case)
    assert store.metadata(before.artifact_id) == before
    assert store.retrieve(before.artifact_id) == b"before"
    assert orphans(store) == []


def test_refused_update_leaves_no_bytes(store, clock):
    """A refused update removes the bytes it wrote."""
    artifact_id = store.store(b"before")
    cases = [(broken(), None, OnceError), (["a"], None, InvalidInputError), (b"after", 9, ConflictError)]
    for data, revision, error in cases:
        with pytest.raises(error):
            store.update_file(artifact_id, data=data, if_revision=revision)
    assert store.metadata(artifact_id).revision == 1
    assert store.retrieve(artifact_id) == b"before"
    assert orphans(store) == []
    assert store.update_file(artifact_id, data=b"after").revision == 2
    assert store.retrieve(artifact_id) == b"after"


def test_update_file_that_expires_meanwhile(store, clock, artifact_id):
    """An artifact that expires while new content is written stays expired."""

    def slow():
        yield b"after"
        clock.advance(700)

    with pytest.raises(ArtifactExpiredError):
        store.update_file(artifact_id, data=slow())
    assert not store.exists(artifact_id)
    assert orphans(store) == []


def test_readers_keep_their_revision(store):
    """A reader and a stream that began before an update finish with the old bytes."""
    old, new = b"old!" * 300_000, b"new, and shorter"
    artifact_id = store.store(old)
    stream = iter(store.stream(artifact_id, chunk_size=400_000))
    with store.open(artifact_id) as file:
        start, piece = file.read(6), next(stream)
        store.update_file(artifact_id, data=new)
        assert start + file.read() == old
        assert piece + b"".join(stream) == old
    assert store.retrieve(artifact_id) == new
    with store.open(artifact_id) as file:
        assert file.read() == new


def in_the_middle_of_an_update(store, artifact_id, change, **arguments):
    """Update the content of an artifact, and change the artifact while the new content is written."""
    reading, changed = threading.Event(), threading.Event()

    def data():
        yield b"after "
        reading.set()
        assert changed.wait(WAIT_SECONDS)
        yield b"all"

    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(store.update_file, artifact_id, data=data(), **arguments)
        try:
            assert reading.wait(WAIT_SECONDS)
            change()
        finally:
            changed.set()
        return update.result()


def test_update_of_content_loses_to_a_change_meanwhile(store, artifact_id):
    """With if_revision, a change during the write of new content is a conflict."""
    with pytest.raises(ConflictError):
        in_the_middle_of_an_update(
            store, artifact_id, lambda: store.update_file(artifact_id, data=b"first"), if_revision=1
        )
    assert store.metadata(artifact_id).revision == 2
    assert store.retrieve(artifact_id) == b"first"


def test_update_of_content_keeps_a_change_meanwhile(store, artifact_id):
    """Without if_revision, new content and a concurrent change of metadata are both kept."""
    after = in_the_middle_of_an_update(store, artifact_id, lambda: store.update_metadata(artifact_id, summary="first"))
    assert (after.revision, after.summary) == (3, "first")
    assert store.retrieve(artifact_id) == b"after all"


def test_stream_is_not_read_twice(store, artifact_id):
    """New content from a stream that meets another update is stored whole or is a conflict."""
    try:
        in_the_middle_of_an_update(store, artifact_id, lambda: store.update_file(artifact_id, data=b"first"))
    except ConflictError:
        expected = b"first"
    else:
        expected = b"after all"
    assert store.retrieve(artifact_id) == expected


def test_update_of_content_that_is_deleted_meanwhile(store, clock, artifact_id):
    """An artifact deleted while new content is written stays deleted, without bytes."""
    with pytest.raises(ArtifactNotFoundError):
        in_the_middle_of_an_update(store, artifact_id, lambda: store.delete(artifact_id))
    assert not store.exists(artifact_id)
    assert store.list_by_session(SESSION) == []
    assert orphans(store) == []


# Many at once


@pytest.fixture
def _restless_threads():
    """Switch threads very often, to provoke races."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless_threads")
def test_counting_in_meta(store, artifact_id):
    """When threads increment a counter with if_revision and retry, no increment is lost."""
    threads, times = 4, 8

    def increment(_):
        while True:
            latest = store.metadata(artifact_id)
            try:
                store.update_metadata(artifact_id, meta={"a": latest.meta["a"] + 1}, if_revision=latest.revision)
            except ConflictError:
                continue
            return

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(increment, range(threads * times)))
    latest = store.metadata(artifact_id)
    assert (latest.meta["a"], latest.revision) == (1 + threads * times, 1 + threads * times)


@pytest.mark.usefixtures("_restless_threads")
def test_updates_at_once(store, artifact_id):
    """Concurrent updates without if_revision all succeed, each with a revision of its own."""

    def update(number):
        if number % 2:
            return store.update_metadata(artifact_id, meta={str(number): number}).revision
        return store.update_file(artifact_id, data=b"%d" % number * 1000).revision

    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(update, range(24)))
    assert sorted(revisions) == list(range(2, 26))
    latest = store.metadata(artifact_id)
    assert {str(number) for number in range(1, 24, 2)} < set(latest.meta)
    assert store.retrieve(artifact_id) in {b"%d" % number * 1000 for number in range(0, 24, 2)}


@pytest.mark.usefixtures("_restless_threads")
def test_reads_while_it_changes(store):
    """A read during changes of the content returns one whole revision."""
    contents = [b"%d" % number * size for number, size in enumerate((10, 300_000, 5, 1_000), 1)]
    artifact_id = store.store(contents[0])

    def write(number):
        return store.update_file(artifact_id, data=contents[number % 4]).revision > 1

    def read(_):
        with store.open(artifact_id) as file:
            opened = file.read()
        return {opened, store.retrieve(artifact_id), b"".join(store.stream(artifact_id))} <= set(contents)

    with ThreadPoolExecutor(4) as pool:
        assert all([*pool.map(lambda number: (write, read)[number % 2](number), range(60))])


@pytest.mark.usefixtures("_restless_threads")
def test_one_of_many_deletes(store, artifact_id):
    """When several threads delete an artifact, delete returns True to one of them."""
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: store.delete(artifact_id), range(8))) == [False] * 7 + [True]


# extend_ttl


def test_extend_ttl(store, before, clock):
    """The ttl grows from the present expiry, and the session lives at least as long."""
    after = store.extend_ttl(before.artifact_id, 90_000)
    assert seconds_between(before.expires_at, after.expires_at) == pytest.approx(90_000)
    assert after.ttl == 90_600
    assert changed_fields(before, after) == {"expires_at", "ttl", "revision", "updated_at"}
    clock.advance(90_500)
    assert store.retrieve(before.artifact_id) == b"before"
    assert store.validate_session(SESSION)
    clock.advance(41)
    assert not store.exists(before.artifact_id)


def test_extend_ttl_by_a_part_of_a_second(store, before):
    """Fractions of a second count."""
    after = store.extend_ttl(before.artifact_id, 0.5)
    assert seconds_between(before.expires_at, after.expires_at) == pytest.approx(0.5)


def test_extend_ttl_of_an_artifact_without_expiry(rig):
    """An artifact that never expires is not changed."""
    store = rig.open(session_ttl_hours=None)
    artifact_id = store.store(b"abc")
    after = store.extend_ttl(artifact_id, 60)
    assert (after.expires_at, after.ttl) == (None, None)


@pytest.mark.same_everywhere
def test_extend_ttl_bad_arguments(store, before, subtests):
    """Anything but a finite number of seconds above 0 is refused."""
    for seconds in (*BAD_TTLS, None):
        with subtests.test(repr(seconds)), pytest.raises(InvalidInputError, match="additional_seconds"):
            store.extend_ttl(before.artifact_id, seconds)
    assert store.metadata(before.artifact_id) == before


# copy_file


def test_copy(store, before):
    """A copy has the original's bytes and metadata, but an id, key and expiry of its own."""
    copy = store.metadata(store.copy_file(before.artifact_id))
    assert changed_fields(before, copy) == {"artifact_id", "key", "stored_at", "updated_at", "expires_at"}
    assert copy.key == store.generate_artifact_key(SESSION, copy.artifact_id)
    assert copy.stored_at == copy.updated_at
    assert seconds_between(copy.stored_at, copy.expires_at) == pytest.approx(600)
    assert store.retrieve(copy.artifact_id) == b"before"
    assert store.metadata(before.artifact_id) == before


def test_copy_with_a_description_of_its_own(store, before):
    """Filename, meta and summary of a copy may be others; new_meta is merged, key by key, into the original's."""
    copy = store.metadata(
        store.copy_file(before.artifact_id, new_filename="docs/after.txt", new_meta={"b": 2}, summary="after")
    )
    assert (copy.filename, copy.meta, copy.summary, copy.mime) == (
        "docs/after.txt",
        {**before.meta, "b": 2},
        "after",
        before.mime,
    )
    copy_id = store.copy_file(before.artifact_id, new_meta={"a": [], "b": None})
    assert store.metadata(copy_id).meta == {**before.meta, "a": [], "b": None}
    assert store.metadata(before.artifact_id) == before
    store.delete(copy_id)
    assert {one.artifact_id for one in store.list_by_session(SESSION)} == {before.artifact_id, copy.artifact_id}


def test_copy_is_independent(store, artifact_id):
    """Changing or deleting an artifact or its copy leaves the other as it is."""
    copy_id = store.copy_file(artifact_id)
    store.update_file(artifact_id, data=b"original", meta={"b": 2})
    assert store.retrieve(copy_id) == b"before"
    assert store.metadata(copy_id).meta == {"a": 1, "deep": {"x": 1}}
    store.update_file(copy_id, data=b"copy")
    assert store.retrieve(artifact_id) == b"original"
    assert store.delete(artifact_id)
    assert store.retrieve(copy_id) == b"copy"


def test_copy_of_a_later_revision(store, artifact_id):
    """A copy has the latest content and revision 1, and can itself be copied and changed."""
    store.update_file(artifact_id, data=b"after")
    copy_id = store.copy_file(artifact_id)
    second_id = store.copy_file(copy_id)
    assert store.metadata(copy_id).revision == 1
    assert store.retrieve_batch([copy_id, second_id]) == [b"after", b"after"]
    assert store.update_file(copy_id, data=b"more").revision == 2
    assert store.retrieve_batch([artifact_id, copy_id, second_id]) == [b"after", b"more", b"after"]


@pytest.mark.same_everywhere
def test_copy_stays_in_its_session(store, artifact_id):
    """A copy to the artifact's own session works, to any other it is denied."""
    copy_id = store.copy_file(artifact_id, target_session_id=SESSION)
    assert store.metadata(copy_id).session_id == SESSION
    store.store(b"abc", session_id="user_bob")
    for target in ("user_bob", "user_new"):
        with pytest.raises(AccessDeniedError) as caught:
            store.copy_file(artifact_id, target_session_id=target)
        assert isinstance(caught.value, PermissionError)
    assert len(store.list_by_session(SESSION)) == 2
    assert len(store.list_by_session("user_bob")) == 1
    assert not store.validate_session("user_new")


@pytest.mark.same_everywhere
def test_copy_bad_arguments(store, artifact_id, subtests):
    """Each invalid argument is refused, and nothing is copied."""
    cases = [{"new_filename": filename} for filename in BAD_FILENAMES]
    cases += [{"new_meta": meta} for meta in BAD_META]
    cases += [{"summary": 5}, {"target_session_id": "a/b"}, {"target_session_id": 5}, {"target_session_id": ""}]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError):
            store.copy_file(artifact_id, **case)
    assert [one.artifact_id for one in store.list_by_session(SESSION)] == [artifact_id]


def test_copy_of_an_artifact_without_expiry(rig):
    """The copy of an artifact that never expires never expires."""
    store = rig.open(session_ttl_hours=None)
    assert store.metadata(store.copy_file(store.store(b"abc"))).expires_at is None


# move_file


def test_move(store, before):
    """Moving changes the filename, and keeps id, bytes and other metadata."""
    after = store.move_file(before.artifact_id, new_filename="docs/after.txt")
    assert after.filename == "docs/after.txt"
    assert changed_fields(before, after) == {"filename", "revision", "updated_at"}
    assert store.retrieve(before.artifact_id) == b"before"
    assert [one.filename for one in store.list_by_session(SESSION)] == ["docs/after.txt"]
    assert store.list_files(SESSION, "before") == []


def test_move_with_meta(store, before):
    """A move may merge keys into meta, with a new name or without."""
    moved = store.move_file(before.artifact_id, new_filename="after.txt", new_meta={"b": 2})
    assert moved.meta == {**before.meta, "b": 2}
    after = store.move_file(before.artifact_id, new_meta={"a": 3})
    assert (after.filename, after.meta) == ("after.txt", {**before.meta, "a": 3, "b": 2})


@pytest.mark.same_everywhere
def test_move_stays_in_its_session(store, before):
    """Moving within the artifact's own session works, to any other it is denied."""
    after = store.move_file(before.artifact_id, new_filename="after.txt", new_session_id=SESSION)
    assert (after.filename, after.session_id) == ("after.txt", SESSION)
    store.store(b"abc", session_id="user_bob")
    for target in ("user_bob", "user_new"):
        with pytest.raises(AccessDeniedError):
            store.move_file(before.artifact_id, new_filename="moved.txt", new_session_id=target)
        with pytest.raises(AccessDeniedError):
            store.move_file(before.artifact_id, new_session_id=target)
    assert store.metadata(before.artifact_id) == after
    assert not store.validate_session("user_new")


def test_move_to_where_it_is(store, before):
    """Moving an artifact to its own session and filename changes neither."""
    after = store.move_file(before.artifact_id, new_session_id=SESSION)
    assert changed_fields(before, after) <= {"revision", "updated_at"}


@pytest.mark.same_everywhere
def test_move_bad_arguments(store, before, subtests):
    """Each invalid argument is refused, and so is a move without arguments; nothing changes."""
    cases = [{}, {"new_session_id": "a/b"}, {"new_session_id": 5}]
    cases += [{"new_filename": filename} for filename in BAD_FILENAMES]
    cases += [{"new_meta": meta} for meta in BAD_META]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError):
            store.move_file(before.artifact_id, **case)
    assert store.metadata(before.artifact_id) == before


# delete, delete_batch


def test_delete(store, artifact_id):
    """Delete returns whether the artifact existed; it is then neither found nor listed, and its session stays."""
    store.update_file(artifact_id, data=b"after")
    assert store.delete(artifact_id) is True
    assert store.delete(artifact_id) is False
    assert not store.exists(artifact_id)
    assert store.list_by_session(SESSION) == []
    assert store.validate_session(SESSION)


@pytest.mark.parametrize("one", [UNKNOWN, "malformed", "", "../../etc/passwd", None, 5])
def test_delete_of_nothing(store, artifact_id, one):
    """Deleting an unknown or malformed id returns False."""
    assert store.delete(one) is False
    assert store.delete_batch([one, one]) == 0
    assert store.exists(artifact_id)


def test_delete_of_an_expired_artifact(store, clock, artifact_id):
    """Deleting an expired artifact returns False."""
    clock.advance(601)
    assert store.delete(artifact_id) is False
    assert store.delete_batch([artifact_id]) == 0
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(artifact_id)


def test_delete_batch(store, clock, artifact_id):
    """A batch counts the existing artifacts of all sessions, each once."""
    ids = [store.store(b"abc", session_id=session_id) for session_id in (SESSION, SESSION, "user_bob")]
    expired_id = store.store(b"abc", session_id=SESSION, ttl=10)
    clock.advance(11)
    batch = [ids[0], UNKNOWN, ids[2], ids[0], "malformed", expired_id]
    assert store.delete_batch(iter(batch)) == 2
    assert [store.exists(one) for one in (*ids, artifact_id)] == [False, True, False, True]
    assert store.delete_batch(batch) == 0
    assert store.delete_batch([]) == 0


def test_delete_of_a_large_batch(store):
    """A batch may have many ids."""
    ids = store.store_batch([{"data": b"abc"}] * 120, session_id=SESSION)
    assert store.delete_batch(ids) == 120
    assert store.list_by_session(SESSION) == []


@pytest.mark.same_everywhere
def test_delete_batch_of_no_list(store):
    """An argument that is not an iterable of ids is refused."""
    with pytest.raises(InvalidInputError):
        store.delete_batch(None)


def test_deleted_bytes_are_gone(store, clock, artifact_id):
    """Delete removes the bytes of every revision, so that no orphan is left."""
    store.update_file(artifact_id, data=b"after")
    store.update_file(artifact_id, data=b"once more")
    store.delete(artifact_id)
    assert orphans(store) == []
    assert store.get_stats()["bytes"] == 0
