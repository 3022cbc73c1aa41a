"""Objects of our own classes that a caller passes in or another program writes to the catalog, forged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from forgeries import forgeries
from werkzeug.test import Client

from chuk_artifacts import (
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    ArtifactStoreError,
    InvalidInputError,
    QuotaExceededError,
    SessionError,
    aio,
    grid,
)
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.gateway import Gateway
from chuk_artifacts.models import Pending, Superseded, timestamp
from chuk_artifacts.operations import uploads
from chuk_artifacts.operations.cleanup import delete_bytes

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


def in_postgres(request, tmp_path):
    """Return the options of a store with its records in PostgreSQL."""
    return {
        **on_disk(request, tmp_path),
        "session_provider": "postgres",
        "postgres_url": request.getfixturevalue("postgres_url"),
    }


STORES = {"memory": in_memory, "sqlite": on_disk, "redis": in_redis, "postgres": in_postgres}


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
    """Return everything that a store contains."""
    core = store.scope.core
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
    """Whatever metadata claims, a bound store reads only its session's bytes, and changes nothing."""
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
    """The async store reads no more by forged metadata."""
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
    """Metadata from a client's JSON reads the same as before, also that of a superseded revision."""
    first = store.metadata(store.store(b"first", filename="a", session_id="alice"))
    assert store.retrieve(ArtifactMetadata.from_json(first.to_json())) == b"first"
    store.update_file(first.artifact_id, data=b"second")
    second = store.metadata(first.artifact_id)
    assert store.retrieve(ArtifactMetadata.from_json(first.to_json())) == b"first"
    assert store.retrieve(ArtifactMetadata(**json.loads(json.dumps(dict(second))))) == b"second"


def test_other_objects_as_ids(store):
    """An object of ours passed as an id or a name is refused, or matches nothing."""
    record = store.metadata(store.store(SECRET, session_id="alice"))
    info = store.get_session_info("alice")
    for thing in (record, info, dict(record)):
        assert not store.exists(thing)
        assert not store.delete(thing)
        for method in (store.metadata, store.presign, store.copy_file):
            with pytest.raises(ArtifactNotFoundError):
                method(thing)
        with pytest.raises(ArtifactNotFoundError):
            store.update_file(thing, data=b"x")
        with pytest.raises(InvalidInputError):
            store.session(thing)
        with pytest.raises(InvalidInputError):
            store.list_files(thing)
    assert store.retrieve(record) == SECRET


def test_other_objects_as_paths(store):
    """An object of ours passed as a path is refused."""
    record = store.metadata(store.store(SECRET, session_id="alice", filename="a"))
    fs = ArtifactFileSystem(store)
    for thing in (record, store.get_session_info("alice"), None, 1, b"alice/a"):
        for method in (fs.cat_file, fs.info, fs.exists, fs.ls, fs.rm, fs.open, fs.glob, fs.touch):
            with pytest.raises(InvalidInputError):
                method(thing)
    assert fs.cat_file("alice/a") == SECRET


# What stands in the catalog


def rewrite(store, artifact_id, text):
    """Replace the text of a record, as a program can that may write to the database or to Redis."""
    core = store.scope.core
    if core.catalog.provider == "redis":
        with redis.Redis.from_url(core.settings.redis_url.text) as client:
            key = f"chuk:{{{artifact_id[:2]}}}:{core.settings.sandbox_id}/record/{artifact_id}"
            line, _, _ = client.get(key).partition(b"\n")
            client.set(key, line + b"\n" + text.encode())
        return
    if core.catalog.provider == "postgres":
        write_to_postgres(store, "artifacts SET record = %s WHERE artifact_id = %s", text, artifact_id)
        return
    with contextlib.closing(sqlite3.connect(core.settings.sqlite_path)) as connection, connection:
        connection.execute("UPDATE artifacts SET record = ? WHERE artifact_id = ?", (text, artifact_id))


def write_to_postgres(store, change, *values):
    """Change rows of a table."""
    import psycopg  # noqa: PLC0415 - where there is a server

    with psycopg.connect(store.scope.core.settings.postgres_url.text) as connection:
        connection.execute(f"UPDATE chuk_artifacts.{change}".encode(), values)


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def kept_store(request, tmp_path, clock):
    """Return a store whose catalog another program can write to."""
    options = STORES[request.param](request, tmp_path)
    with ArtifactStore(**options, sandbox_id="box", clock=clock) as opened:
        yield opened


BAIT = ("signing.key", "identity/box/0", "grid/box/alice/bait", "grid/bix/alice/" + "0" * 32, "catalog.sqlite3", "bait")
"""Files beside the attacker's own."""


def bait(store):
    """Create files that an attacker must not reach, and return their contents."""
    root = Path(store.scope.core.settings.fs_root)
    for key in BAIT:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"bait")
    return {key: (root / key).stat().st_ino for key in BAIT}


def hostile(record, victim):
    """Yield texts of records that would do harm if the store trusted them."""
    fields = json.loads(record.to_json())
    late, early = timestamp(4e9), timestamp(1)
    keys = (*BAIT, victim.key, f"../{record.key}", f"{record.key}/../../../../../signing.key")
    for key in keys:
        yield {**fields, "key": key}
        yield {**fields, "key": key, "pending": [late, True, None], "revision": 0}
        yield {**fields, "key": key, "expires_at": early}
        for until in (early, late):
            yield {**fields, "superseded": [[key, until, 1]]}
    yield {**fields, "artifact_id": victim.artifact_id, "session_id": victim.session_id, "key": victim.key}
    yield json.loads(victim.to_json())
    yield {**fields, "sandbox_id": "bix", "key": record.key.replace("box", "bix")}
    yield {**fields, "session_id": victim.session_id}
    yield {**fields, "mime": "text/html\r\nSet-Cookie: a=b"}
    yield {**fields, "filename": "../../x"}
    yield {**fields, "filename": "a\r\nSet-Cookie: a=b"}
    for wrong in (None, True, 1.5, -1, 2**63, 10**400, "1", [], {}, "\ud800", "a\0"):
        for name in fields:
            yield {**fields, name: wrong}
    yield {**fields, "meta": "NaN"}
    deep = []
    for _ in range(200):
        deep = [deep]
    yield {**fields, "meta": {"a": deep}}


USES = {
    "retrieve": lambda store, one: store.retrieve(one),
    "stream": lambda store, one: list(store.stream(one)),
    "metadata": lambda store, one: store.metadata(one),
    "exists": lambda store, one: store.exists(one),
    "presign": lambda store, one: store.presign(one),
    "copy_file": lambda store, one: store.copy_file(one),
    "update_file": lambda store, one: store.update_file(one, data=b"x"),
    "update_metadata": lambda store, one: store.update_metadata(one, summary="x"),
    "extend_ttl": lambda store, one: store.extend_ttl(one, 1),
    "list_files": lambda store, _: [dict(found) for found in store.list_files("mallory")],
    "fs": lambda store, _: ArtifactFileSystem(store).ls("mallory"),
    "cat": lambda store, _: ArtifactFileSystem(store).cat("mallory/own"),
    "stats": lambda store, _: store.get_stats(),
    "cleanup": lambda store, _: store.cleanup(),
    "delete": lambda store, one: store.delete(one),
    "delete_session": lambda store, _: store.delete_session("mallory"),
}


def test_hostile_record(kept_store):
    """Whatever a record contains, no method returns other bytes, removes another file, or raises a foreign error."""
    store, client = kept_store, Client(Gateway(kept_store))
    victim = store.metadata(store.store(SECRET, filename="secret", session_id="alice"))
    key = store.presign(victim.artifact_id) and store.scope.core.storage.get("signing.key")
    there = bait(store)
    own = store.metadata(store.store(OWN, filename="own", session_id="mallory"))
    for fields in hostile(own, victim):
        if fields == json.loads(own.to_json()):
            continue
        artifact_id = store.store(OWN, filename="own", session_id="mallory")
        url = urlsplit(store.presign(artifact_id))
        text = json.dumps(fields).replace(own.artifact_id, artifact_id)
        rewrite(store, artifact_id, text)
        answered = client.get(f"{url.path}?{url.query}")
        assert answered.status_code in {200, 404, 503}
        assert SECRET not in answered.data
        assert key not in answered.data
        for name, use in USES.items():
            try:
                found = use(store, artifact_id)
            except (ArtifactStoreError, OSError):
                continue
            assert SECRET not in repr(found).encode(), (name, text)
            assert key not in repr(found).encode(), (name, text)
        assert bait(store) == there, text
        assert store.retrieve(victim) == SECRET


def test_hostile_session(kept_store):
    """Whatever a session contains, a method returns it whole, or raises one of our errors."""
    store = kept_store
    store.store(OWN, session_id="mallory")
    info = store.get_session_info("mallory")
    custom = [
        '{"a":NaN}',
        '{"a":1e999}',
        '"a"',
        "[]",
        f'{{"a":{"[" * 100}{"]" * 100}}}',
        f'{{"a":{"[" * 10**5}',
        "{",
        "",
    ]
    for text in custom:
        core = store.scope.core
        if core.catalog.provider == "redis":
            with redis.Redis.from_url(core.settings.redis_url.text) as client:
                key = f"chuk:{{{grid.slot_tag('box', 'mallory')[:2]}}}:box/session/mallory"
                client.hset(key, "info", info.changed(expires_at=None).to_json().replace("{}", text))
        elif core.catalog.provider == "postgres":
            write_to_postgres(store, "sessions SET custom_metadata = %s", text)
        else:
            with contextlib.closing(sqlite3.connect(core.settings.sqlite_path)) as connection, connection:
                connection.execute("UPDATE sessions SET custom_metadata = ?", (text,))
        with ArtifactStore(**options_of(store)) as other:
            for use in (
                lambda other=other: other.get_session_info("mallory"),
                lambda other=other: other.validate_session("mallory"),
                lambda other=other: other.update_session_metadata("mallory", {"a": 1}),
            ):
                with pytest.raises(SessionError):
                    use()


def options_of(store):
    """Return options that open the backends of a store again."""
    settings = store.scope.core.settings
    redis_url, postgres_url = (None if url is None else url.text for url in (settings.redis_url, settings.postgres_url))
    return {
        "storage_provider": "filesystem",
        "session_provider": settings.session_provider,
        "fs_root": settings.fs_root,
        "sandbox_id": settings.sandbox_id,
        "redis_url": redis_url,
        "postgres_url": postgres_url,
    }


def test_only_contents_are_removed(store, caplog):
    """Only keys of the sandbox's contents are removed, whatever a record names."""
    core = store.scope.core
    own = store.metadata(store.store(OWN, session_id="mallory"))
    names = ["identity/box/0", "bait", "grid/box/mallory/bait", f"grid/bix/mallory/{own.artifact_id}"]
    for name in names:
        core.storage.put(name, b"bait")
    delete_bytes(core, [own.changed(superseded=tuple(Superseded(name, timestamp(1), 4) for name in names))])
    assert [core.storage.get(name) for name in names] == [b"bait"] * len(names)
    assert core.storage.stat(own.key) is None
    assert "were not removed" in caplog.text


def test_upload_registered_by_another(store):
    """An artifact that replaced an upload is returned only if it belongs to the upload's session."""
    own = store.metadata(store.store(OWN, session_id="mallory"))
    elsewhere = own.changed(session_id="alice", pending=Pending(timestamp(4e9), True, None), key=f"{own.key}~upload")
    with pytest.raises(ArtifactNotFoundError):
        uploads.complete(store.scope.core, elsewhere)
    assert uploads.complete(store.scope.core, elsewhere.changed(session_id="mallory")).artifact_id == own.artifact_id


class _Short(bytes):
    """Bytes that claim to be none."""

    def __len__(self):
        """Return 0."""
        return 0

    def __iter__(self):
        """Return nothing."""
        return iter(())

    def __getitem__(self, index):
        """Return nothing."""
        return b""


def _through_an_open_file(store, data):
    """Write a file of ``artifact://``."""
    with ArtifactFileSystem(store).open("alice/x", "wb") as file:
        file.write(data)


@pytest.mark.parametrize(
    "write",
    [
        lambda store, data: store.store(data, session_id="alice"),
        lambda store, data: store.store([b"", data], session_id="alice"),
        lambda store, data: store.store_batch([{"data": data}, {"data": data}], session_id="alice"),
        lambda store, data: ArtifactFileSystem(store).pipe_file("alice/x", data),
        lambda store, data: asyncio.run(aio.ArtifactStore.wrap(store).store(data, session_id="alice")),
        _through_an_open_file,
    ],
    ids=["bytes", "iterable", "batch", "pipe", "aio", "file"],
)
def test_bytes_that_lie_about_their_length(write):
    """Bytes of a class that lies about their length are stored as they are, and limits see all of them."""
    with ArtifactStore(max_artifact_bytes=10, max_session_bytes=12) as store:
        with pytest.raises(QuotaExceededError):
            write(store, _Short(b"x" * 11))
        assert dict(store.usage()) == {"artifacts": 0, "bytes": 0}
        with contextlib.suppress(QuotaExceededError):  # two of them are too many
            write(store, _Short(b"x" * 10))
        for one in store.list_by_session("alice"):
            assert store.retrieve(one) == b"x" * one.bytes == b"x" * 10
