"""Objects of ours that a caller hands in or that stand in the catalog, and that this library did not make so."""

from __future__ import annotations

import asyncio
import json

import pytest
from forgeries import forgeries

from chuk_artifacts import ArtifactMetadata, ArtifactNotFoundError, ArtifactStore, InvalidInputError, aio
from chuk_artifacts.filesystem import ArtifactFileSystem

OWN, SECRET = b"what mallory stored", b"what alice stored"


def in_memory(request, tmp_path):
    """Return the options of a store in memory."""
    return {}


def on_disk(request, tmp_path):
    """Return the options of a store on disk."""
    return {"storage_provider": "filesystem", "fs_root": tmp_path / "root"}


def in_redis(request, tmp_path):
    """Return the options of a store with its records in Redis."""
    return on_disk(request, tmp_path) | {
        "session_provider": "redis",
        "redis_url": request.getfixturevalue("redis_url"),
    }


STORES = {"memory": in_memory, "sqlite": on_disk, "redis": in_redis}


@pytest.fixture(params=STORES)
def options(request, tmp_path):
    """Return the options of a store."""
    return {"sandbox_id": "box", **STORES[request.param](request, tmp_path)}


@pytest.fixture
def store(options):
    """Return a store."""
    with ArtifactStore(**options) as opened:
        yield opened


def contents(store):
    """Return all that a store holds."""
    core = store._core
    records = core.catalog.sample(core.clock(), 100)
    return (
        sorted((record.artifact_id, record.to_json()) for record in records),
        sorted((found.key, core.storage.get(found.key)) for found in core.storage.list_objects("")),
        core.storage.get("signing.key") if core.settings.fs_root else None,
    )


READERS = {
    "retrieve": lambda store, one, _: store.retrieve(one),
    "read_file": lambda store, one, _: store.read_file(one, as_text=False),
    "open": lambda store, one, _: store.open(one).read(),
    "stream": lambda store, one, _: b"".join(store.stream(one)),
    "range": lambda store, one, _: b"".join(store.stream(one, start=1)),
    "download": lambda store, one, folder: store.download(one, folder / "file").read_bytes(),
}


@pytest.mark.parametrize("reader", READERS)
def test_forged_metadata_reads_nothing(store, reader, tmp_path):
    """Whatever metadata says, a bound store reads its session's own bytes or none, and changes nothing."""
    mallory = store.session("mallory")
    own = mallory.metadata(mallory.store(OWN, filename="own"))
    victim = store.metadata(store.store(SECRET, filename="secret", session_id="alice"))
    store.presign(victim.artifact_id)
    before = contents(store)
    for forged in forgeries(own, victim):
        with pytest.raises((ArtifactNotFoundError, InvalidInputError)):
            READERS[reader](mallory, forged, tmp_path)
    assert contents(store) == before
    assert READERS[reader](mallory, own, tmp_path) == OWN[reader == "range" :]


def test_forged_metadata_reads_nothing_awaited(store):
    """The async store reads by forged metadata as little."""
    mallory = store.session("mallory")
    own = mallory.metadata(mallory.store(OWN))
    victim = store.metadata(store.store(SECRET, session_id="alice"))

    async def read_all():
        view = aio.ArtifactStore.wrap(mallory)
        for forged in forgeries(own, victim):
            with pytest.raises((ArtifactNotFoundError, InvalidInputError)):
                await view.retrieve(forged)
            with pytest.raises((ArtifactNotFoundError, InvalidInputError)):
                [chunk async for chunk in view.stream(forged)]
            with pytest.raises((ArtifactNotFoundError, InvalidInputError)):
                async with view.open(forged):
                    pass
        assert await view.retrieve(own) == OWN
        await view.close()

    asyncio.run(read_all())


def test_metadata_of_json_reads(store):
    """Metadata that came through a client's JSON reads what it read before, that of a replaced revision too."""
    first = store.metadata(store.store(b"first", filename="a", session_id="alice"))
    assert store.retrieve(ArtifactMetadata.from_json(first.to_json())) == b"first"
    store.update_file(first.artifact_id, data=b"second")
    second = store.metadata(first.artifact_id)
    assert store.retrieve(ArtifactMetadata.from_json(first.to_json())) == b"first"
    assert store.retrieve(ArtifactMetadata(**json.loads(json.dumps(dict(second))))) == b"second"


def test_other_objects_are_no_ids(store):
    """An object of ours where an id or a name belongs is refused, or names nothing."""
    record = store.metadata(store.store(SECRET, session_id="alice"))
    info = store.get_session_info("alice")
    for thing in (record, info, dict(record)):
        assert not store.exists(thing)
        assert not store.delete(thing)
        for verb in (store.metadata, store.presign, store.copy_file):
            with pytest.raises(ArtifactNotFoundError):
                verb(thing)
        with pytest.raises(ArtifactNotFoundError):
            store.update_file(thing, data=b"x")
        with pytest.raises(InvalidInputError):
            store.session(thing)
        with pytest.raises(InvalidInputError):
            store.list_files(thing)
    assert store.retrieve(record) == SECRET


def test_other_objects_are_no_paths(store):
    """An object of ours where a path belongs is refused."""
    record = store.metadata(store.store(SECRET, session_id="alice", filename="a"))
    fs = ArtifactFileSystem(store)
    for thing in (record, store.get_session_info("alice"), None, 1, b"alice/a"):
        for method in (fs.cat_file, fs.info, fs.exists, fs.ls, fs.rm, fs.open, fs.glob, fs.touch):
            with pytest.raises(InvalidInputError):
                method(thing)
    assert fs.cat_file("alice/a") == SECRET
