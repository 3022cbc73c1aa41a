"""What every store does as a whole: bound views, sandboxes, restarts, pickles, threads, maintenance and close."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from orphans import orphans

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStore,
    ArtifactStoreError,
    InvalidInputError,
)

SESSION = "user_alice"
OTHER = "user_bob"
UNKNOWN = "0" * 32
HOUR = 3600


def archive_names(store, session_id):
    """Return the names in the archive of a session."""
    return zipfile.ZipFile(io.BytesIO(b"".join(store.archive(session_id)))).namelist()


ARTIFACT_METHODS = {
    "retrieve": lambda store, one, path: store.retrieve(one),
    "read_file": lambda store, one, path: store.read_file(one),
    "open": lambda store, one, path: store.open(one),
    "stream": lambda store, one, path: list(store.stream(one)),
    "download": lambda store, one, path: store.download(one, path / "file"),
    "metadata": lambda store, one, path: store.metadata(one),
    "versions": lambda store, one, path: store.versions(one),
    "display": lambda store, one, path: store.display(one),
    "restore": lambda store, one, path: store.restore(one, 1),
    "update_metadata": lambda store, one, path: store.update_metadata(one, summary="changed"),
    "update_file": lambda store, one, path: store.update_file(one, data=b"changed"),
    "extend_ttl": lambda store, one, path: store.extend_ttl(one, 60),
    "copy_file": lambda store, one, path: store.copy_file(one),
    "move_file": lambda store, one, path: store.move_file(one, new_filename="changed"),
    "retrieve_batch": lambda store, one, path: store.retrieve_batch([one]),
}
"""Each method that raises when there is no such artifact."""

SESSION_METHODS = {
    "store": lambda store, session_id, one: store.store(b"abc", session_id=session_id),
    "write_file": lambda store, session_id, one: store.write_file("abc", filename="a", session_id=session_id),
    "store_batch": lambda store, session_id, one: store.store_batch([{"data": b"abc"}], session_id=session_id),
    "list_by_session": lambda store, session_id, one: store.list_by_session(session_id),
    "list_files": lambda store, session_id, one: store.list_files(session_id),
    "lookup": lambda store, session_id, one: [store.lookup("a", session_id)],
    "search": lambda store, session_id, one: list(store.search(session_id)),
    "get_directory_contents": lambda store, session_id, one: store.get_directory_contents(session_id),
    "list_directory": lambda store, session_id, one: list(chain(*store.list_directory(session_id))),
    "archive": lambda store, session_id, one: archive_names(store, session_id),
    "presign_archive": lambda store, session_id, one: store.presign_archive(session_id),
    "iter_session": lambda store, session_id, one: list(store.iter_session(session_id)),
    "session": lambda store, session_id, one: store.session(session_id),
    "validate_session": lambda store, session_id, one: store.validate_session(session_id),
    "get_session_info": lambda store, session_id, one: store.get_session_info(session_id),
    "update_session_metadata": lambda store, session_id, one: store.update_session_metadata(session_id, {"a": 1}),
    "extend_session_ttl": lambda store, session_id, one: store.extend_session_ttl(session_id, 1),
    "usage": lambda store, session_id, one: store.usage(session_id),
    "get_canonical_prefix": lambda store, session_id, one: store.get_canonical_prefix(session_id),
    "generate_artifact_key": lambda store, session_id, one: store.generate_artifact_key(session_id, one),
    "copy_file": lambda store, session_id, one: store.copy_file(one, target_session_id=session_id),
    "move_file": lambda store, session_id, one: store.move_file(one, new_filename="a", new_session_id=session_id),
    "delete_session": lambda store, session_id, one: store.delete_session(session_id),
}
"""Each method that takes a session id, deletion last."""

WHOLE_METHODS = {
    "create_session": lambda store: store.create_session(),
    "iter_sessions": lambda store: list(store.iter_sessions()),
    "delete_user": lambda store: store.delete_user("alice"),
    "cleanup": lambda store: store.cleanup(),
    "cleanup_expired_sessions": lambda store: store.cleanup_expired_sessions(),
    "get_stats": lambda store: store.get_stats(),
    "get_sandbox_info": lambda store: store.get_sandbox_info(),
    "validate_configuration": lambda store: store.validate_configuration(),
    "export_catalog": lambda store: store.export_catalog(io.BytesIO()),
    "import_catalog": lambda store: store.import_catalog(io.BytesIO()),
    "reindex": lambda store: store.reindex(),
}
"""Each method that concerns the whole store."""

SHARE_METHODS = {
    "presign": lambda store: store.presign(UNKNOWN),
    "presign_short": lambda store: store.presign_short(UNKNOWN),
    "presign_medium": lambda store: store.presign_medium(UNKNOWN),
    "presign_long": lambda store: store.presign_long(UNKNOWN),
    "presign_upload": lambda store: store.presign_upload(SESSION),
    "presign_upload_and_register": lambda store: store.presign_upload_and_register(mime="a/b", summary=""),
    "register_uploaded_artifact": lambda store: store.register_uploaded_artifact(UNKNOWN, mime="a/b", summary=""),
}

OTHER_METHODS = {
    "user": lambda store: store.user("ann"),
    "exists": lambda store: store.exists(UNKNOWN),
    "delete": lambda store: store.delete(UNKNOWN),
    "delete_batch": lambda store: store.delete_batch([UNKNOWN]),
    "parse_grid_key": lambda store: store.parse_grid_key("grid/a/b/c"),
    "get_session_prefix_pattern": lambda store: store.get_session_prefix_pattern(),
}

ALL_METHODS = {
    **{name: lambda store, path, use=use: use(store, UNKNOWN, path) for name, use in ARTIFACT_METHODS.items()},
    **{name: lambda store, path, use=use: use(store, SESSION, UNKNOWN) for name, use in SESSION_METHODS.items()},
    **{
        name: lambda store, path, use=use: use(store)
        for name, use in {**WHOLE_METHODS, **SHARE_METHODS, **OTHER_METHODS}.items()
    },
}


@pytest.fixture
def lasting(rig):
    """Return a rig whose stores find what an earlier one stored."""
    if not rig.persistent:
        pytest.skip("nothing lasts here")
    return rig


# Bound stores


@pytest.fixture
def bound(store):
    """Return a bound store, over a store with a second session."""
    return store.session(SESSION)


@pytest.fixture
def own_id(bound):
    """Return the id of an artifact of the bound store's session."""
    return bound.store(b"abc", filename="docs/own.txt")


@pytest.fixture
def foreign_id(store):
    """Return the id of an artifact of another session."""
    return store.store(b"secret", filename="docs/secret.txt", session_id=OTHER)


@pytest.mark.parametrize("method", ARTIFACT_METHODS)
def test_bound_store_reaches_its_own(bound, own_id, tmp_path, method):
    """A bound store does with its own artifacts all that a store can."""
    result = ARTIFACT_METHODS[method](bound, own_id, tmp_path)
    if method == "open":
        result.close()


@pytest.mark.parametrize("method", ARTIFACT_METHODS)
def test_bound_store_knows_no_other(store, bound, foreign_id, tmp_path, method):
    """An artifact of another session looks like an unknown one, and stays as it is."""
    before = store.metadata(foreign_id)
    errors = []
    for one in (foreign_id, UNKNOWN):
        with pytest.raises(ArtifactNotFoundError) as caught:
            ARTIFACT_METHODS[method](bound, one, tmp_path)
        errors.append((type(caught.value), str(caught.value).replace(one, "ID")))
    assert errors[0] == errors[1]
    assert store.metadata(foreign_id) == before
    assert store.retrieve(foreign_id) == b"secret"
    assert len(store.list_by_session(OTHER)) == 1
    assert list(tmp_path.glob("file*")) == []


@pytest.mark.parametrize("method", ARTIFACT_METHODS)
def test_bound_store_knows_no_other_that_expired(store, clock, tmp_path, method):
    """An expired artifact of another session looks like an unknown one, before and after cleanup."""
    expired_id = store.store(b"secret", session_id=OTHER, ttl=60)
    clock.advance(61)
    for _ in range(2):
        with pytest.raises(ArtifactNotFoundError) as caught:
            ARTIFACT_METHODS[method](store.session(SESSION), expired_id, tmp_path)
        assert type(caught.value) is ArtifactNotFoundError
        store.cleanup()


def test_bound_store_deletes_no_other(store, bound, own_id, foreign_id):
    """A bound store can't delete an artifact of another session."""
    assert not bound.exists(foreign_id)
    assert bound.delete(foreign_id) is False
    assert bound.delete_batch([foreign_id, own_id]) == 1
    assert store.retrieve(foreign_id) == b"secret"
    with pytest.raises(ArtifactNotFoundError):
        bound.retrieve_batch([foreign_id])


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", SESSION_METHODS)
def test_bound_store_with_a_session(store, bound, own_id, foreign_id, method):
    """A bound store accepts its own session id, and denies any other, existing or not."""
    for session_id in (OTHER, "user_unknown"):
        with pytest.raises(AccessDeniedError) as caught:
            SESSION_METHODS[method](bound, session_id, own_id)
        assert isinstance(caught.value, PermissionError)
    assert store.get_session_info(OTHER).custom_metadata == {}
    assert [one.artifact_id for one in store.list_by_session(OTHER)] == [foreign_id]
    assert not store.validate_session("user_unknown")
    assert [one.artifact_id for one in store.list_by_session(SESSION)] == [own_id]
    assert SESSION_METHODS[method](bound, SESSION, own_id)


def test_bound_store_fills_in_its_session(store, bound):
    """Without a session id a bound store uses its own session."""
    ids = [bound.store(b"abc"), bound.write_file("abc", filename="a"), *bound.store_batch([{"data": b"abc"}])]
    assert {one.artifact_id for one in store.list_by_session(SESSION)} == set(ids)
    assert {store.metadata(one).session_id for one in ids} == {SESSION}
    copy_id = bound.copy_file(ids[0])
    assert store.metadata(copy_id).session_id == SESSION


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", WHOLE_METHODS)
def test_bound_store_is_not_the_whole(bound, method):
    """A bound store refuses methods that concern the whole store."""
    with pytest.raises(AccessDeniedError, match=method.removesuffix("_expired_sessions")):
        WHOLE_METHODS[method](bound)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("session_id", ["", "..", "a/b", None, 5])
def test_bound_to_a_malformed_session_id(store, session_id):
    """A store can be bound only to a well-formed session id."""
    with pytest.raises(InvalidInputError, match="session_id"):
        store.session(session_id)


@pytest.mark.same_everywhere
def test_bound_store_can_be_bound_again(bound):
    """A bound store can be bound to its own session again, and to no other."""
    again = bound.session(SESSION)
    with pytest.raises(AccessDeniedError):
        again.list_by_session(OTHER)
    with pytest.raises(AccessDeniedError):
        again.session(OTHER)


def test_binding_makes_no_session(store, bound):
    """A session is created with its first artifact, not by binding."""
    assert not store.validate_session(SESSION)
    assert bound.list_by_session(SESSION) == []


def test_closing_a_bound_store(store, bound, own_id):
    """Closing a view leaves the store open; closing the store closes its views."""
    other = store.session(SESSION)
    bound.close()
    bound.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        bound.retrieve(own_id)
    assert other.retrieve(own_id) == store.retrieve(own_id) == b"abc"
    store.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        other.retrieve(own_id)


# Sandboxes, restarts, pickles


def test_sandboxes(rig, tmp_path, subtests):
    """Nothing of another sandbox can be read, listed, changed or deleted, even by id."""
    one, two = rig.open(sandbox_id="one"), rig.open(sandbox_id="two")
    artifact_id = one.store(b"abc", filename="a", session_id=SESSION, ttl=60)
    assert two.list_by_session(SESSION) == []
    assert not two.exists(artifact_id)
    assert two.delete(artifact_id) is False
    assert two.delete_batch([artifact_id]) == 0
    for method, use in ARTIFACT_METHODS.items():
        with subtests.test(method), pytest.raises(ArtifactNotFoundError):
            use(two, artifact_id, tmp_path)
    for method in ("get_session_info", "validate_session", "update_session_metadata", "delete_session"):
        with subtests.test(method):
            assert not SESSION_METHODS[method](two, SESSION, artifact_id)
    assert two.get_stats()["artifacts"] == two.get_stats()["sessions"] == 0
    assert one.retrieve(artifact_id) == b"abc"
    assert one.metadata(artifact_id).revision == 1
    assert one.get_sandbox_info()["sandbox_id"] == "one"


def test_sandboxes_are_cleaned_apart(rig, clock):
    """Cleanup of one sandbox leaves everything in another, expired or orphaned."""
    one, two = rig.open(sandbox_id="one"), rig.open(sandbox_id="two")
    one.store(b"abc", session_id=SESSION, ttl=60)
    living_id = one.store(b"abc", session_id=SESSION, ttl=48 * HOUR)
    two.store(b"abc", session_id=SESSION, ttl=60)
    clock.advance(25 * HOUR)
    report = two.cleanup()
    assert (report.sessions, report.artifacts) == (1, 1)
    report = one.cleanup()
    assert (report.sessions, report.artifacts) == (0, 1)
    assert orphans(one) == orphans(two) == []
    assert one.retrieve(living_id) == b"abc"


@pytest.mark.same_everywhere
@pytest.mark.parametrize("sandbox_id", ["", "..", "a/b", "a\n", "x" * 256, 5])
def test_bad_sandbox(rig, sandbox_id):
    """A sandbox id must be well-formed, like a session id."""
    with pytest.raises(InvalidInputError, match="sandbox_id"):
        rig.open(sandbox_id=sandbox_id)


def test_restart(lasting, clock):
    """After a restart artifacts, listings, sessions, revisions and expiries are the same."""
    with lasting.open() as store:
        ids = store.store_batch(
            [{"data": b"abc", "filename": "docs/a", "meta": {"a": [1]}}, {"data": b"x" * 2_000_000}],
            session_id=SESSION,
        )
        short_id = store.store(b"abc", session_id="üser 1", ttl=60)
        store.update_file(ids[0], data=b"after")
        session_id = store.create_session("u1", ttl_hours=100, custom_metadata={"a": 1})
        records, info = store.list_by_session(SESSION), store.get_session_info(session_id)
        stats = store.get_stats()
    with lasting.open() as store:
        assert store.list_by_session(SESSION) == records
        assert store.get_directory_contents(SESSION, "docs") == [store.metadata(ids[0])]
        assert store.retrieve_batch(ids) == [b"after", b"x" * 2_000_000]
        assert store.get_session_info(session_id) == info
        assert store.metadata(store.store(b"abc", session_id=session_id)).ttl == 100 * HOUR
        assert store.update_file(ids[0], data=b"once more", if_revision=2).revision == 3
        assert stats == {**store.get_stats(), "artifacts": 3, "bytes": stats["bytes"]}
        clock.advance(61)
        assert not store.exists(short_id)
        clock.advance(HOUR)
        store.cleanup()
        assert orphans(store) == []
        assert store.delete(ids[1])
    with lasting.open() as store:
        assert [store.exists(one) for one in (*ids, short_id)] == [True, False, False]
        assert store.retrieve(ids[0]) == b"once more"


def test_two_instances_share(lasting):
    """Two stores on the same backends see each other's changes at once, and compare revisions."""
    one, two = lasting.open(), lasting.open()
    artifact_id = one.store(b"abc", session_id=SESSION)
    assert two.retrieve(artifact_id) == b"abc"
    assert two.update_file(artifact_id, data=b"after").revision == 2
    assert one.retrieve(artifact_id) == b"after"
    with ThreadPoolExecutor(4) as pool:
        updates = [pool.submit(store.update_metadata, artifact_id, summary="x") for store in (one, two) * 8]
    assert sorted(update.result().revision for update in updates) == list(range(3, 19))
    assert one.delete(artifact_id)
    assert not two.exists(artifact_id)


def test_pickle(rig):
    """An unpickled store has the same settings, is open on its own, and finds what was persistent."""
    store = rig.open(clock=time.time)
    artifact_id = store.store(b"abc", session_id=SESSION)
    with pickle.loads(pickle.dumps(store)) as copy:
        if rig.persistent:
            assert copy.retrieve(artifact_id) == b"abc"
        assert copy.get_sandbox_info() == store.get_sandbox_info()
        new_id = copy.store(b"of the copy", session_id=SESSION)
        assert copy.retrieve(new_id) == b"of the copy"
    if rig.persistent:
        assert store.retrieve(new_id) == b"of the copy"
    assert store.retrieve(artifact_id) == b"abc"


def test_pickle_of_a_bound_store(rig):
    """A pickled bound store is bound."""
    store = rig.open(clock=time.time)
    foreign_id = store.store(b"abc", session_id=OTHER)
    copy = pickle.loads(pickle.dumps(store.session(SESSION)))
    assert copy.metadata(copy.store(b"abc")).session_id == SESSION
    assert not copy.exists(foreign_id)
    with pytest.raises(AccessDeniedError):
        copy.list_by_session(OTHER)
    copy.close()


@pytest.mark.same_everywhere
def test_pickle_of_a_closed_store(rig):
    """A closed store can't be pickled."""
    store = rig.open(clock=time.time)
    store.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        pickle.dumps(store)


# Maintenance


@pytest.mark.same_everywhere
def test_grid(store):
    """Keys are built from sandbox, session and artifact, and can be parsed again."""
    artifact_id = store.store(b"abc", session_id="üser 1")
    sandbox_id = store.get_sandbox_info()["sandbox_id"]
    key = f"grid/{sandbox_id}/üser 1/{artifact_id}"
    assert store.get_session_prefix_pattern() == f"grid/{sandbox_id}/"
    assert store.get_canonical_prefix("üser 1") == f"grid/{sandbox_id}/üser 1/"
    assert store.generate_artifact_key("üser 1", artifact_id) == store.metadata(artifact_id).key == key
    parts = store.parse_grid_key(key)
    assert (parts.sandbox_id, parts.session_id, parts.artifact_id) == (sandbox_id, "üser 1", artifact_id)
    assert parts["session_id"] == dict(parts)["session_id"] == "üser 1"


@pytest.mark.same_everywhere
def test_grid_key_of_a_revision(store):
    """The key of later content is the artifact's with a random suffix, and can be parsed."""
    artifact_id = store.store(b"abc", session_id=SESSION)
    key = store.update_file(artifact_id, data=b"after").key
    parts = store.parse_grid_key(key)
    assert key.startswith(store.generate_artifact_key(SESSION, artifact_id))
    assert (parts.session_id, parts.artifact_id) == (SESSION, artifact_id)
    assert parts.revision > 10**17
    assert store.update_file(artifact_id, data=b"after").key != key


@pytest.mark.same_everywhere
@pytest.mark.parametrize("key", ["", "grid", "grid/a/b", "grid/a/b/c/d", "other/a/b/c", "grid/a/../c", "grid//b/c", 5])
def test_other_keys_are_not_parsed(store, key):
    """Parsing a string that is not a grid key returns None."""
    assert store.parse_grid_key(key) is None


@pytest.mark.same_everywhere
@pytest.mark.parametrize("session_id", ["", "..", "a/b", 5])
def test_grid_of_a_malformed_session_id(store, session_id):
    """A malformed session id has no key."""
    with pytest.raises(InvalidInputError):
        store.get_canonical_prefix(session_id)
    with pytest.raises(InvalidInputError):
        store.generate_artifact_key(session_id, UNKNOWN)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("artifact_id", ["", "..", "a/b", "a\n", 5])
def test_grid_of_a_malformed_artifact_id(store, artifact_id):
    """A malformed artifact id has no key."""
    with pytest.raises(InvalidInputError):
        store.generate_artifact_key(SESSION, artifact_id)


def test_validate_configuration(store):
    """A working store reports "ok" for both providers, and writes nothing."""
    checked = store.validate_configuration()
    stats = store.get_stats()
    assert set(checked) == {"storage", "session"}
    assert (checked["storage"]["status"], checked["session"]["status"]) == ("ok", "ok")
    assert checked["storage"]["provider"] == stats["storage_provider"]
    assert checked["session"]["provider"] == stats["session_provider"]
    assert (stats["artifacts"], stats["sessions"]) == (0, 0)


def test_get_stats(store, clock):
    """The statistics count living sessions and artifacts, and the bytes of their latest revisions."""
    stats = store.get_stats()
    assert (stats["sessions"], stats["artifacts"], stats["bytes"]) == (0, 0, 0)
    assert stats["sandbox_id"] == store.get_sandbox_info()["sandbox_id"]
    ids = store.store_batch([{"data": b"abc"}, {"data": b"defgh", "ttl": 60}], session_id=SESSION)
    store.store(b"xy", session_id=OTHER)
    assert store.get_stats() == {**stats, "sessions": 2, "artifacts": 3, "bytes": 10}
    store.update_file(ids[0], data=b"")
    assert store.get_stats()["bytes"] == 7
    clock.advance(61)
    assert store.get_stats() == {**stats, "sessions": 2, "artifacts": 2, "bytes": 2}
    store.delete_session(OTHER)
    assert store.get_stats() == {**stats, "sessions": 1, "artifacts": 1, "bytes": 0}
    clock.advance(25 * HOUR)
    assert store.get_stats() == stats


@pytest.mark.same_everywhere
def test_get_sandbox_info(rig):
    """Sandbox info has the sandbox, its prefix, the providers, and the default time to live."""
    store = rig.open(sandbox_id="box", session_ttl_hours=2)
    stats = store.get_stats()
    info = store.get_sandbox_info()
    assert info == {
        **info,
        "sandbox_id": "box",
        "session_prefix_pattern": "grid/box/",
        "storage_provider": stats["storage_provider"],
        "session_provider": stats["session_provider"],
        "session_ttl_hours": 2,
    }


@pytest.mark.same_everywhere
@pytest.mark.parametrize("options", [{"storage_provider": "nope"}, {"session_provider": "nope"}])
def test_unknown_provider(rig, options):
    """An unknown provider is refused, and the error lists the known ones."""
    with pytest.raises(InvalidInputError, match=r"'nope'.*memory"):
        rig.open(**options)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), "24", True])
def test_bad_session_ttl(rig, hours):
    """Anything but a finite number of hours above 0 is refused."""
    with pytest.raises(InvalidInputError, match="session_ttl_hours"):
        rig.open(session_ttl_hours=hours)


# Threads


def test_many_threads(store):
    """Many threads use a store at once, and each gets its own results."""

    def work(number):
        content, session_id = b"%d" % number * (1 + number * 1000), f"user_{number % 3}"
        artifact_id = store.store(content, filename=f"{number:03}", session_id=session_id)
        assert store.retrieve(artifact_id) == content
        assert artifact_id in {one.artifact_id for one in store.list_by_session(session_id)}
        copy_id = store.copy_file(artifact_id, new_filename=f"{number:03}-copy")
        assert store.update_file(artifact_id, data=content[::-1]).revision == 2
        assert store.retrieve_batch([artifact_id, copy_id]) == [content[::-1], content]
        if number % 2:
            assert store.delete_batch([artifact_id, copy_id]) == 2
        return artifact_id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(32)))
    assert len(set(ids)) == 32
    listed = [one.filename for number in range(3) for one in store.list_by_session(f"user_{number}")]
    assert sorted(listed) == sorted(f"{number:03}{end}" for number in range(0, 32, 2) for end in ("", "-copy"))
    assert store.get_stats()["artifacts"] == 32


def test_one_session_from_many_threads(store):
    """Threads that create one session at once share it, and it lives as long as its longest artifact."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.store(b"abc", session_id=SESSION, ttl=HOUR * (1 + number)), range(40)))
    assert len(store.list_by_session(SESSION)) == 40
    assert store.get_stats()["sessions"] == 1
    longest = max(one.expires_at for one in store.list_by_session(SESSION))
    assert store.get_session_info(SESSION).expires_at == longest


# The end


def test_close(store):
    """A store may be closed twice."""
    store.store(b"abc")
    store.close()
    store.close()


def test_every_method_is_tried():
    """The table has every public method."""
    methods = {name for name in dir(ArtifactStore) if name[0] != "_" and callable(getattr(ArtifactStore, name))}
    assert methods - {"close"} == set(ALL_METHODS)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", ALL_METHODS)
def test_closed_store(store, tmp_path, method):
    """Every method of a closed store raises "store is closed"."""
    store.close()
    with pytest.raises(ArtifactStoreError, match=r"^store is closed$") as caught:
        ALL_METHODS[method](store, tmp_path)
    assert type(caught.value) is ArtifactStoreError


def test_with(rig):
    """The end of a with block closes the store, also after an error."""
    with rig.open() as store:
        artifact_id = store.store(b"abc")
        assert store.retrieve(artifact_id) == b"abc"
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        store.retrieve(artifact_id)
    with pytest.raises(ZeroDivisionError), rig.open() as store:
        1 / 0  # noqa: B018 - raises
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        store.exists(artifact_id)
