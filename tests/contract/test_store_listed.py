"""What a filesystem needs of every store: listings from any filename, reads by metadata, exclusive filenames."""

from __future__ import annotations

import pytest
from faces import AsyncFace

from chuk_artifacts import ArtifactExpiredError, ArtifactNotFoundError, ConflictError


def core_of(store):
    """Return the core of a blocking or async store."""
    return (store._store._blocking if isinstance(store, AsyncFace) else store).scope.core


@pytest.fixture
def listed(store):
    """Return the metadata of an artifact from a listing."""
    store.store(b"0123456789", filename="a.bin", session_id="alice")
    (metadata,) = store.list_by_session("alice")
    return metadata


def test_metadata_reads_like_its_id(store, listed, tmp_path):
    """Each reading method accepts metadata instead of an id."""
    assert store.retrieve(listed) == b"0123456789"
    assert store.read_file(listed) == "0123456789"
    assert b"".join(store.stream(listed, start=3, end=5)) == b"34"
    with store.open(listed) as file:
        assert file.read() == b"0123456789"
    assert store.download(listed, tmp_path).read_bytes() == b"0123456789"


def test_metadata_asks_the_catalog_once(store, listed):
    """Reading by metadata costs one call of the catalog, like reading by id."""
    core = core_of(store)
    catalog, asked = core.catalog, []

    class Watched:
        def __getattr__(self, name):
            asked.append(name)
            return getattr(catalog, name)

    core.catalog = Watched()
    assert store.retrieve(listed) == b"0123456789"
    assert asked.count("get") == 1
    core.catalog = catalog


def test_metadata_reads_its_revision(store, listed):
    """Metadata reads the bytes of its revision while these are kept, and raises afterwards."""
    store.update_metadata(listed.artifact_id, summary="new")
    assert store.retrieve(listed) == b"0123456789"
    store.update_file(listed.artifact_id, data=b"second")
    assert store.retrieve(listed) == b"0123456789"
    second = store.metadata(listed.artifact_id)
    store.update_file(listed.artifact_id, data=b"third")
    assert store.retrieve(second) == b"second"
    assert store.retrieve(store.metadata(listed.artifact_id)) == b"third"
    core_of(store).storage.delete([listed.key])
    with pytest.raises(ArtifactNotFoundError, match="not kept"):
        store.retrieve(listed)


def test_metadata_reads_nothing_cleaned_up(store, listed, clock):
    """Metadata reads a replaced revision until cleanup has removed its bytes."""
    store.update_file(listed.artifact_id, data=b"second")
    clock.advance(3601)
    store.cleanup()
    with pytest.raises(ArtifactNotFoundError, match="not kept"):
        store.retrieve(listed)


def test_metadata_of_what_is_gone(store, listed, clock):
    """Metadata of a deleted or expired artifact raises, whatever expiry it claims."""
    other_id = store.store(b"x", session_id="alice", ttl=60)
    other = store.metadata(other_id).changed(expires_at=None, ttl=None)
    assert store.retrieve(other) == b"x"
    clock.advance(60)
    with pytest.raises(ArtifactExpiredError):
        store.retrieve(other)
    store.update_file(listed.artifact_id, ttl=1)
    clock.advance(1)
    with pytest.raises(ArtifactExpiredError):
        store.retrieve(listed)
    store.delete(listed.artifact_id)
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(listed)


def test_metadata_opens_no_other_session(store, listed):
    """A bound store refuses metadata of another session, forged or not."""
    bob = store.session("bob")
    bob.store(b"x", filename="x")
    (own,) = bob.list_by_session()
    for foreign in (
        listed,
        listed.changed(session_id="bob"),
        own.changed(key=listed.key),
        own.changed(key=f"{own.key}~2/../../alice/{listed.artifact_id}"),
    ):
        with pytest.raises(ArtifactNotFoundError):
            bob.retrieve(foreign)
    assert bob.retrieve(own) == b"x"


def test_metadata_opens_no_other_sandbox(rig, listed):
    """A store refuses metadata of another sandbox, forged or not."""
    other = rig.open(sandbox_id="other")
    for foreign in (listed, listed.changed(sandbox_id="other")):
        with pytest.raises(ArtifactNotFoundError):
            other.retrieve(foreign)


@pytest.mark.parametrize(
    ("prefix", "start", "expected"),
    [
        ("", "", ["a", "b/1", "b/2", "b/2", "b0", "ü"]),
        ("", "b/2", ["b/2", "b/2", "b0", "ü"]),
        ("", "b/20", ["b0", "ü"]),
        ("b/", "a", ["b/1", "b/2", "b/2"]),
        ("b/", "b/1", ["b/1", "b/2", "b/2"]),
        ("b/", "b/11", ["b/2", "b/2"]),
        ("b/", "b0", []),
        ("", "üa", []),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_listing_begins_at_start(store, prefix, start, expected, page_size):
    """A listing returns the filenames from ``start`` on that begin with the prefix, in pages of any size."""
    for filename in ("ü", "b0", "b/2", "b/2", "b/1", "a"):
        store.store(b"", filename=filename, session_id="alice")
    listed = store.iter_session("alice", prefix=prefix, start=start, page_size=page_size)
    assert [metadata.filename for metadata in listed] == expected


def test_exclusive_filename(store):
    """An exclusive store of a taken filename raises, and leaves neither record nor bytes."""
    first = store.store(b"first", filename="a", session_id="alice", exclusive=True)
    with pytest.raises(ConflictError, match="'a' is taken"):
        store.store(b"second", filename="a", session_id="alice", exclusive=True)
    store.store(b"other", filename="a", session_id="bob", exclusive=True)
    assert [metadata.artifact_id for metadata in store.list_by_session("alice")] == [first]
    assert len(list(core_of(store).storage.list_objects(store.get_canonical_prefix("alice")))) == 1
