"""What every store does with earlier contents: which it keeps, how they are read and restored, and when they go."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from orphans import core_of, orphans

from chuk_artifacts import (
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ArtifactVersion,
    ConflictError,
    InvalidInputError,
)

SESSION = "user_alice"
UNKNOWN = "0" * 32
HOUR = 3600
BAD_REVISIONS = [0, -1, "1", 1.0, True, [], 2**63]
BAD_NUMBERS = [-1, 101, "1", 1.0, True, []]

READS = {
    "retrieve": lambda store, one, revision, _: store.retrieve(one, revision=revision),
    "retrieve_batch": lambda store, one, revision, _: store.retrieve_batch([one, (one, revision)])[1],
    "read_file": lambda store, one, revision, _: store.read_file(one, revision=revision).encode(),
    "read_file-bytes": lambda store, one, revision, _: store.read_file(one, as_text=False, revision=revision),
    "open": lambda store, one, revision, _: opened(store.open(one, revision=revision)),
    "stream": lambda store, one, revision, _: b"".join(store.stream(one, chunk_size=2, revision=revision)),
    "download": lambda store, one, revision, folder: store.download(
        one, folder / "file", revision=revision
    ).read_bytes(),
}


def opened(file):
    """Return the content of a file, and close it."""
    with file:
        return file.read()


def content(number):
    """Return a content of its own length."""
    return b"content " + b"x" * number


def changed(store, artifact_id, count):
    """Give an artifact contents 2 to *count*, and return the last metadata."""
    return [store.update_file(artifact_id, data=content(number)) for number in range(2, count + 1)][-1]


def revisions(store, artifact_id):
    """Return the revisions of the contents that can be read."""
    return [version.revision for version in store.versions(artifact_id)]


def stored(store):
    """Return how many objects the storage has."""
    core = core_of(store)
    return sum(1 for _ in core.storage.list_objects(f"grid/{core.settings.sandbox_id}/"))


def test_versions_of_a_new_artifact(store, clock):
    """A new artifact has one content, the current one, described by its metadata."""
    artifact_id = store.store(content(1), filename="a.txt")
    metadata = store.metadata(artifact_id)
    (version,) = store.versions(artifact_id)
    assert isinstance(version, ArtifactVersion)
    assert dict(version) == {
        "revision": 1,
        "bytes": len(content(1)),
        "sha256": hashlib.sha256(content(1)).hexdigest(),
        "mime": "text/plain",
        "filename": "a.txt",
        "stored_at": metadata.stored_at,
        "current": True,
    }
    assert ArtifactVersion.from_json(version.to_json()) == version


def test_earlier_contents_last_an_hour(store, clock):
    """Without a number, the last 16 contents can be read for an hour, cleaned up or not, and no longer."""
    artifact_id = store.store(content(1))
    changed(store, artifact_id, 20)
    assert revisions(store, artifact_id) == list(range(20, 3, -1))
    assert store.retrieve(artifact_id, revision=4) == content(4)
    clock.advance(HOUR)
    assert revisions(store, artifact_id) == [20]
    for revision in (3, 4, 19):
        with pytest.raises(ArtifactNotFoundError, match=f"revision {revision}"):
            store.retrieve(artifact_id, revision=revision)
    assert store.retrieve(artifact_id, revision=20) == content(20)
    assert store.cleanup().bytes > 0
    assert stored(store) == 1
    assert orphans(store) == []


def test_kept_contents_last(rig, clock):
    """The chosen number of earlier contents outlives the hour and cleanup; the oldest goes with a later update."""
    store = rig.open(keep_versions=2)
    artifact_id = store.store(content(1), session_id=SESSION, ttl=90 * 86400)
    changed(store, artifact_id, 5)
    assert revisions(store, artifact_id) == [5, 4, 3, 2, 1]
    clock.advance(HOUR + 1)
    assert revisions(store, artifact_id) == [5, 4, 3]
    store.cleanup()
    assert stored(store) == 3
    clock.advance(30 * 86400)
    store.cleanup()
    assert [store.retrieve(artifact_id, revision=number) for number in (3, 4, 5)] == [content(n) for n in (3, 4, 5)]
    store.update_file(artifact_id, data=content(6))
    assert revisions(store, artifact_id) == [6, 5, 4]
    assert stored(store) == 3
    assert orphans(store) == []
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(artifact_id, revision=3)


def test_cleanup_by_another_store_keeps_contents(rig, clock):
    """Cleanup by a store that keeps no versions itself leaves those that another store keeps."""
    store = rig.open(keep_versions=3)
    if not rig.persistent:
        pytest.skip("nothing is shared here")
    artifact_id = store.store(content(1))
    changed(store, artifact_id, 3)
    clock.advance(HOUR + 1)
    rig.open().cleanup()
    assert revisions(store, artifact_id) == [3, 2, 1]
    assert store.retrieve(artifact_id, revision=1) == content(1)


WRITES = {
    "store": lambda store, number: store.store(content(1), keep_versions=number),
    "write_file": lambda store, number: store.write_file(content(1), filename="a", keep_versions=number),
    "store_batch": lambda store, number: store.store_batch([{"data": content(1), "keep_versions": number}])[0],
}


@pytest.mark.parametrize("method", WRITES)
def test_number_of_an_artifact(rig, clock, method):
    """An artifact remembers its own number, which outranks the store's, also when that is 0."""
    store = rig.open(keep_versions=3)
    one, none, default = (WRITES[method](store, number) for number in (1, 0, None))
    for artifact_id in (one, none, default):
        changed(store, artifact_id, 5)
        store.update_metadata(artifact_id, summary="new")
    clock.advance(HOUR + 1)
    assert revisions(store, one) == [5, 4]
    assert revisions(store, none) == [5]
    assert revisions(store, default) == [5, 4, 3, 2]


def test_number_changes(store, clock):
    """A new number counts from then on: a greater one keeps what is there, a smaller one lets contents go."""
    artifact_id = store.store(content(1))
    changed(store, artifact_id, 3)
    metadata = store.update_file(artifact_id, keep_versions=100)
    assert metadata.revision == 4
    clock.advance(HOUR + 1)
    store.cleanup()
    assert revisions(store, artifact_id) == [3, 2, 1]
    store.update_file(artifact_id, keep_versions=1)
    assert revisions(store, artifact_id) == [3, 2]
    assert stored(store) == 2
    store.update_file(artifact_id, data=content(6), keep_versions=0)
    assert revisions(store, artifact_id) == [6, 3]
    clock.advance(HOUR + 1)
    store.cleanup()
    assert revisions(store, artifact_id) == [6]
    assert stored(store) == 1


def test_hundred_contents(store, clock):
    """An artifact can keep a hundred earlier contents."""
    artifact_id = store.store(content(1), keep_versions=100)
    changed(store, artifact_id, 103)
    clock.advance(HOUR + 1)
    store.update_file(artifact_id, summary="new")
    store.cleanup()
    assert revisions(store, artifact_id) == list(range(103, 2, -1))
    assert store.retrieve(artifact_id, revision=3) == content(3)
    assert stored(store) == 101


@pytest.mark.parametrize("method", READS)
def test_reading_a_revision(store, tmp_path, method):
    """Each reading method reads the content of a revision, verified."""
    artifact_id = store.store(content(1), filename="a.txt", session_id=SESSION)
    changed(store, artifact_id, 3)
    for reader in (store, store.session(SESSION)):
        for revision in (1, 2, 3):
            assert READS[method](reader, artifact_id, revision, tmp_path) == content(revision)
        assert READS[method](reader, artifact_id, None, tmp_path) == content(3)
    with pytest.raises(ArtifactNotFoundError, match="revision 4"):
        READS[method](store, artifact_id, 4, tmp_path)
    with pytest.raises(ArtifactNotFoundError):
        READS[method](store.session("user_bob"), artifact_id, 1, tmp_path)


def test_range_of_a_revision(store):
    """A range of an earlier content is cut at its own end, not at that of the current one."""
    artifact_id = store.store(content(9))
    store.update_file(artifact_id, data=b"short")
    assert b"".join(store.stream(artifact_id, start=3, end=99, revision=1)) == content(9)[3:]
    assert b"".join(store.stream(artifact_id, start=3, revision=2)) == b"rt"


def test_download_names_the_file_of_the_revision(store, tmp_path):
    """A download into a folder has the name that the file had with that content."""
    artifact_id = store.store(content(1), filename="docs/old.txt")
    store.update_file(artifact_id, data=content(2), filename="docs/new.txt")
    assert store.download(artifact_id, tmp_path, revision=1).name == "old.txt"
    assert store.download(artifact_id, tmp_path).name == "new.txt"


def test_metadata_makes_no_content(store, clock):
    """A revision that changed only metadata reads the content that was current then."""
    artifact_id = store.store(content(1), filename="a.txt")
    clock.advance(1)
    store.update_metadata(artifact_id, filename="b.bin", mime="image/png")
    store.extend_ttl(artifact_id, 60)
    clock.advance(1)
    second = store.update_file(artifact_id, data=content(4), mime="text/html")
    clock.advance(1)
    store.move_file(artifact_id, new_filename="c.html")
    found = [(one.revision, one.mime, one.filename, one.stored_at) for one in store.versions(artifact_id)]
    first_at = store.metadata(artifact_id).stored_at
    assert found == [(4, "text/html", "c.html", second.updated_at), (1, "image/png", "b.bin", first_at)]
    expected = [content(1)] * 3 + [content(4)] * 2
    assert [store.retrieve(artifact_id, revision=number) for number in range(1, 6)] == expected


def test_uploads_have_versions(store, clock):
    """The content of an upload is that of the first revision, whatever changed in the metadata since."""
    url, artifact_id = store.presign_upload(SESSION)
    core = core_of(store)
    (pending,) = core.catalog.get((artifact_id,))
    core.storage.put(pending.key, content(1))
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    store.update_metadata(artifact_id, summary="new")
    store.update_metadata(artifact_id, summary="newer")
    assert url
    assert revisions(store, artifact_id) == [1]
    store.update_file(artifact_id, data=content(4))
    assert revisions(store, artifact_id) == [4, 1]
    assert store.retrieve(artifact_id, revision=2) == content(1)


class Counting:
    """A storage that counts the calls which write or copy."""

    def __init__(self, storage):
        self._storage = storage
        self.written = []

    def __getattr__(self, name):
        """Return an attribute of the storage."""
        if name in {"put", "copy"}:
            self.written.append(name)
        return getattr(self._storage, name)


def test_restore(rig, clock):
    """Restoring makes a new revision with the earlier content and media type, and copies no bytes."""
    store = rig.open(keep_versions=5)
    artifact_id = store.store(content(1), filename="a.txt", summary="first")
    store.update_file(artifact_id, data=content(2), mime="image/png", filename="b.png", summary="second")
    clock.advance(2 * HOUR)
    before = store.metadata(artifact_id)
    core = core_of(store)
    core.storage = counting = Counting(core.storage)
    after = store.restore(artifact_id, 1, if_revision=2)
    core.storage = counting._storage
    assert counting.written == []
    assert (after.revision, after.mime, after.bytes) == (3, "text/plain", len(content(1)))
    assert (after.filename, after.summary, after.stored_at) == ("b.png", "second", before.stored_at)
    assert store.metadata(artifact_id) == after
    assert store.retrieve(artifact_id) == content(1)
    assert revisions(store, artifact_id) == [3, 2, 1]
    assert [store.retrieve(artifact_id, revision=number) for number in (1, 2, 3)] == [content(n) for n in (1, 2, 1)]
    assert [version.current for version in store.versions(artifact_id)] == [True, False, False]
    assert stored(store) == 2


def test_restored_content_shares_bytes(rig, clock):
    """Of several versions with the same bytes, the last one to go takes the bytes with it."""
    store = rig.open(keep_versions=2)
    artifact_id = store.store(content(1), ttl=90 * 86400)
    store.update_file(artifact_id, data=content(2))
    store.restore(artifact_id, 1)
    clock.advance(HOUR + 1)
    store.update_file(artifact_id, data=content(4))
    store.update_file(artifact_id, data=content(5))
    assert revisions(store, artifact_id) == [5, 4, 3]
    clock.advance(HOUR + 1)
    store.cleanup()
    assert store.retrieve(artifact_id, revision=3) == content(1)
    assert stored(store) == 3
    store.restore(artifact_id, 3)
    changed(store, artifact_id, 4)
    clock.advance(HOUR + 1)
    store.cleanup()
    assert stored(store) == 3
    assert orphans(store) == []
    assert store.delete(artifact_id)
    assert stored(store) == 0


def test_restored_content_outlives_its_hour(store, clock):
    """A content that was restored within its hour stays when that hour ends."""
    artifact_id = store.store(content(1))
    store.update_file(artifact_id, data=content(2))
    clock.advance(HOUR / 2)
    store.restore(artifact_id, 1)
    clock.advance(HOUR / 2 + 1)
    store.cleanup()
    assert store.retrieve(artifact_id) == content(1)
    assert revisions(store, artifact_id) == [3, 2]
    clock.advance(HOUR)
    store.cleanup()
    assert store.retrieve(artifact_id) == content(1)
    assert stored(store) == 1
    assert orphans(store) == []


def test_restore_at_the_end_of_the_hour(store, clock):
    """A content that cleanup may remove at any moment is copied, so that cleanup can't take it away."""
    artifact_id = store.store(content(1), mime="text/x-first")
    store.update_file(artifact_id, data=content(2), mime="text/x-second")
    clock.advance(HOUR - 1)
    after = store.restore(artifact_id, 1)
    assert (after.revision, after.mime, after.bytes) == (3, "text/x-first", len(content(1)))
    assert stored(store) == 3
    clock.advance(1)
    store.cleanup()
    assert stored(store) == 2
    assert store.retrieve(artifact_id) == content(1)
    assert orphans(store) == []


def test_restore_of_the_current_content(store, clock):
    """Restoring the content that is current changes nothing, so that a repeated call is harmless."""
    artifact_id = store.store(content(1), keep_versions=5)
    store.update_file(artifact_id, data=content(2))
    first = store.restore(artifact_id, 1)
    clock.advance(1)
    assert store.restore(artifact_id, 1) == store.restore(artifact_id, 3) == first
    assert store.metadata(artifact_id) == first


def test_restore_of_nothing(store, clock):
    """A revision that never was, or is gone, is not restored; nor is anything of an unknown or expired artifact."""
    artifact_id = store.store(content(1), session_id=SESSION, ttl=2 * HOUR)
    store.update_file(artifact_id, data=content(2))
    with pytest.raises(ConflictError):
        store.restore(artifact_id, 1, if_revision=1)
    with pytest.raises(ArtifactNotFoundError):
        store.session("user_bob").restore(artifact_id, 1)
    clock.advance(HOUR)
    for one, revision in ((artifact_id, 1), (artifact_id, 3), (UNKNOWN, 1), ("malformed", 1), (None, 1)):
        with pytest.raises(ArtifactNotFoundError):
            store.restore(one, revision)
    assert store.metadata(artifact_id).revision == 2
    clock.advance(HOUR + 1)
    with pytest.raises(ArtifactExpiredError):
        store.restore(artifact_id, 1)
    with pytest.raises(ArtifactExpiredError):
        store.versions(artifact_id)


def test_restore_beside_updates(store):
    """Restores and updates from many threads all succeed, and leave no bytes behind."""
    artifact_id = store.store(content(1), keep_versions=10)

    def work(number):
        if number % 2:
            return store.restore(artifact_id, 1).revision
        return store.update_file(artifact_id, data=content(number)).revision

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2, 12)))
    for version in store.versions(artifact_id):
        assert hashlib.sha256(store.retrieve(artifact_id, revision=version.revision)).hexdigest() == version.sha256
    assert orphans(store) == []


def test_kept_contents_end_with_the_artifact(rig, clock):
    """Deleting, the expiry, and the end of the session remove every content."""
    store = rig.open(keep_versions=5)
    ids = [store.store(content(1), session_id=session, ttl=HOUR) for session in (SESSION, SESSION, "user_bob")]
    for artifact_id in ids:
        changed(store, artifact_id, 3)
    assert stored(store) == 9
    assert store.delete(ids[0])
    assert stored(store) == 6
    assert store.delete_session("user_bob")
    assert stored(store) == 3
    clock.advance(HOUR)
    assert store.cleanup().bytes == sum(len(content(number)) for number in (1, 2, 3))
    assert stored(store) == 0


def test_kept_contents_move_with_the_artifact(rig):
    """Renaming an artifact keeps its earlier contents; a copy has the current one, and the number."""
    store = rig.open()
    artifact_id = store.store(content(1), filename="a", keep_versions=5)
    changed(store, artifact_id, 2)
    store.move_file(artifact_id, new_filename="b/c")
    assert store.retrieve(artifact_id, revision=1) == content(1)
    copy_id = store.copy_file(artifact_id)
    assert revisions(store, copy_id) == [1]
    assert store.retrieve(copy_id, revision=1) == content(2)
    for number in range(20):
        store.update_file(copy_id, data=content(number))
    assert core_of(store).catalog.get((copy_id,))[0].origin.keep_versions == 5


def test_metadata_of_a_kept_revision(rig, clock):
    """Metadata that was returned earlier reads its revision as long as that is kept; a false SHA-256 reads nothing."""
    store = rig.open(keep_versions=1)
    artifact_id = store.store(content(1))
    first = store.metadata(artifact_id)
    changed(store, artifact_id, 2)
    clock.advance(2 * HOUR)
    assert store.retrieve(first) == content(1)
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(first.changed(sha256=store.metadata(artifact_id).sha256))
    changed(store, artifact_id, 3)
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(first)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", [*READS, "presign", "presign_short", "presign_medium", "presign_long", "restore"])
def test_bad_revision(store, tmp_path, method):
    """A revision that is not an int above 0 is refused, and so is one beside metadata, which selects its own."""
    artifact_id = store.store(content(1))
    read = READS.get(method, lambda store, one, revision, _: getattr(store, method)(one, revision=revision))
    for revision in BAD_REVISIONS:
        with pytest.raises(InvalidInputError, match="revision"):
            read(store, artifact_id, revision, tmp_path)
    if method in READS:
        with pytest.raises(InvalidInputError, match="revision"):
            read(store, store.metadata(artifact_id), 1, tmp_path)
    assert list(tmp_path.glob("file")) == []


@pytest.mark.same_everywhere
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_bad_number(store, rig, number):
    """A number of versions that is not an int from 0 to 100 is refused, and nothing is stored or changed."""
    artifact_id = store.store(content(1), session_id=SESSION)
    for call in (
        lambda: store.store(content(2), session_id=SESSION, keep_versions=number),
        lambda: store.write_file("x", filename="a", session_id=SESSION, keep_versions=number),
        lambda: store.store_batch([{"data": b"x", "keep_versions": number}], session_id=SESSION),
        lambda: store.update_file(artifact_id, data=content(2), keep_versions=number),
        lambda: rig.open(keep_versions=number),
    ):
        with pytest.raises(InvalidInputError, match="keep_versions"):
            call()
    assert [one.revision for one in store.list_by_session(SESSION)] == [1]
    assert stored(store) == 1


@pytest.mark.same_everywhere
def test_versions_of_nothing(store):
    """An unknown or malformed id has no versions."""
    for one in (UNKNOWN, "malformed", "", None, 5):
        with pytest.raises(ArtifactNotFoundError):
            store.versions(one)
