"""The isolation table: every public method, called with what belongs to another session or another sandbox.

A method is called with each id, key, path, URL and object that an attacker may come by, forged in every field. What it
returns or raises must reveal nothing of the victim, and must change nothing of the victim. A new public method
without a row fails.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import click
import pytest
from click.testing import CliRunner
from forgeries import Equal, forgeries
from gateway_faces import FACES
from starlette.testclient import TestClient
from werkzeug.test import Client

from chuk_artifacts import ArtifactMetadata, ArtifactStore, ArtifactStoreError, SessionError, aio, gateway
from chuk_artifacts.browse import Browser
from chuk_artifacts.cli import cli
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.gateway import Gateway
from chuk_artifacts.gateway.service import METHODS
from chuk_artifacts.models import SessionInfo

SECRETS = ("the secret bytes", "the secret summary", "the-secret-name", "the secret custom metadata", "the secret user")
BYTES, SUMMARY, NAME, CUSTOM, USER = SECRETS
OWN = b"what mallory stored"
REFUSED = (ArtifactStoreError, OSError, ValueError, TypeError, NotImplementedError)
"""What an attacker's call may raise: our errors, and those of fsspec and of Python for what can be no argument."""


@attrs.frozen
class World:
    """A store with a victim's artifacts, and two attackers.

    Attributes:
        store: the store of the victim's sandbox.
        victims: the metadata of the victim's artifacts: one, and one that was changed.
        upload_id: the id of an upload that the victim awaits, which has come.
        info: the victim's session.
        attackers: a store that is bound to another session, and the whole store of another sandbox.
        folder: a folder of the attackers'.

    """

    store: ArtifactStore
    victims: list[ArtifactMetadata]
    upload_id: str
    info: SessionInfo
    attackers: dict[str, ArtifactStore]
    folder: Path

    def everything(self):
        """Return everything that the victim has."""
        core = self.store.scope.core
        ids = [*(victim.artifact_id for victim in self.victims), self.upload_id]
        objects = core.storage.list_objects("")
        return (
            [record and record.to_json() for record in core.catalog.get(ids)],
            core.catalog.get_session("alice", core.clock()).to_json(),
            {
                one.key: core.storage.get(one.key)
                for one in objects
                if "/box/alice/" in one.key or one.key == "signing.key"
            },
        )

    def ids(self, own):
        """Iterate over strings that might be accepted as the id of a victim's artifact."""
        for victim in self.victims:
            yield from (victim.artifact_id, victim.artifact_id.upper(), Equal(victim.artifact_id), victim.key)
            yield from (f"../alice/{victim.artifact_id}", f"{own.artifact_id}/../../alice/{victim.artifact_id}")
            yield from (f"{victim.artifact_id}~2", f"{victim.artifact_id}\0", victim.artifact_id.encode(), dict(victim))
            yield from forgeries(own, victim)
        yield from (self.upload_id, f"{self.upload_id}~upload", self.info)

    def sessions(self):
        """Iterate over strings that might be accepted as the victim's session."""
        yield from ("alice", "alice/", "mallory/../alice", "alice\0", "*", "", ".", "../box/alice", b"alice", self.info)
        yield from (Equal("mallory/../alice"), self.victims[0], ["alice"])

    def paths(self, own):
        """Iterate over paths that might lead to the victim's files."""
        names = (NAME, *(victim.artifact_id for victim in self.victims), self.upload_id, "", "*", "**")
        for name in names:
            yield from (f"alice/{name}", f"artifact://alice/{name}", f"/alice/{name}", f"%61lice/{name}")
            yield from (f"mallory/../alice/{name}", f"mallory/%2e%2e/alice/{name}", f"mallory%2f..%2falice/{name}")
            yield from (f"../box/alice/{name}", f"grid/box/alice/{name}")
        for victim in self.victims:
            yield from (f"mallory/{victim.artifact_id}", f"mallory/{victim.key}", victim, victim.key)
        yield from (self.info, own)


def in_memory(request, root):
    """Return the options of a store in memory."""
    return {}


def on_disk(request, root):
    """Return the options of a store on disk."""
    return {"storage_provider": "filesystem", "fs_root": root}


def in_redis(request, root):
    """Return the options of a store with its records in Redis."""
    return {**on_disk(request, root), "session_provider": "redis", "redis_url": request.getfixturevalue("redis_url")}


def in_postgres(request, root):
    """Return the options of a store with its records in PostgreSQL."""
    url = request.getfixturevalue("postgres_url")
    return {**on_disk(request, root), "session_provider": "postgres", "postgres_url": url}


STORES = {"memory": in_memory, "sqlite": on_disk, "redis": in_redis, "postgres": in_postgres}


@pytest.fixture(params=STORES)
def world(request, tmp_path):
    """Return a victim and attackers."""
    options = STORES[request.param](request, tmp_path / "root")
    with ArtifactStore(**options, sandbox_id="box") as store, ArtifactStore(**options, sandbox_id="bix") as other:
        alice = store.session("alice")
        first = alice.store(BYTES.encode(), filename=NAME, summary=SUMMARY, user_id=USER)
        second = alice.store(BYTES.encode(), filename=f"docs/{NAME}", summary=SUMMARY)
        old = alice.metadata(second)
        alice.update_file(second, data=BYTES.encode() * 2)
        alice.update_session_metadata(metadata={"": CUSTOM})
        url, upload_id = alice.presign_upload_and_register(mime="text/plain", summary=SUMMARY, filename=f"up-{NAME}")
        parts = urlsplit(url)
        assert (
            Client(Gateway(store)).put(f"{parts.path}?{parts.query}", data=BYTES, content_type="text/plain").status_code
            == 200
        )
        victims = [alice.metadata(first), old, alice.metadata(second)]
        attackers = {"session": store.session("mallory"), "sandbox": other}
        folder = tmp_path / "folder"
        folder.mkdir()
        yield World(store, victims, upload_id, alice.get_session_info(), attackers, folder)


def own_of(attacker):
    """Return the metadata of an attacker's own artifact."""
    return attacker.metadata(attacker.store(OWN, filename="own", session_id="mallory"))


def text_of(value):
    """Return everything in a value as text."""
    if isinstance(value, Mapping):
        return repr(dict(value))
    if isinstance(value, Path):
        return repr((str(value), value.read_bytes() if value.is_file() else None))
    if hasattr(value, "read"):
        with value:
            return repr(value.read())
    if isinstance(value, Iterator):
        return text_of(list(value))
    if isinstance(value, list | tuple):
        return repr([text_of(one) for one in value])
    return repr(value)


async def result_of(value):
    """Return the result of a call of the async store."""
    if isinstance(value, Awaitable):
        return await value
    if isinstance(value, AsyncIterator):
        return [one async for one in value]
    if hasattr(value, "__aenter__") and not isinstance(value, aio.ArtifactStore):
        async with value as file:
            return await file.read()
    return value


def attack(world, call, *arguments):
    """Call a method as an attacker; its result or error must reveal nothing but the attacker's own input."""
    said = repr([one for one in arguments if getattr(one, "__dict__", True)])  # an object without fields has no repr
    try:
        found = text_of(call(*arguments))
    except REFUSED as error:
        found = f"{type(error).__name__}: {error}"
    assert not found.startswith(SessionError.__name__), found  # the catalog is sound
    for secret in SECRETS:
        assert secret not in found or secret in said, (found, said)
    assert BYTES not in found
    for path in world.folder.rglob("*"):
        assert not path.is_file() or BYTES.encode() not in path.read_bytes(), arguments


# The stores

FIELDS = {"mime": "text/plain", "summary": "x"}
BY_ID = {
    "retrieve": lambda store, one, _: store.retrieve(one),
    "read_file": lambda store, one, _: store.read_file(one, revision=1),
    "open": lambda store, one, _: store.open(one),
    "stream": lambda store, one, _: store.stream(one, start=0, end=9),
    "download": lambda store, one, folder: store.download(one, folder),
    "retrieve_batch": lambda store, one, _: store.retrieve_batch([one]),
    "exists": lambda store, one, _: must_be(False, store.exists(one)),
    "metadata": lambda store, one, _: store.metadata(one),
    "versions": lambda store, one, _: store.versions(one),
    "display": lambda store, one, _: store.display(one),
    "restore": lambda store, one, _: store.restore(one, 1),
    "update_metadata": lambda store, one, _: store.update_metadata(one, summary="x"),
    "update_file": lambda store, one, _: store.update_file(one, data=b"x"),
    "move_file": lambda store, one, _: store.move_file(one, new_filename="x"),
    "copy_file": lambda store, one, _: store.copy_file(one, new_filename="x"),
    "extend_ttl": lambda store, one, _: store.extend_ttl(one, 1),
    "delete": lambda store, one, _: must_be(False, store.delete(one)),
    "delete_batch": lambda store, one, _: must_be(0, store.delete_batch([one])),
    "presign": lambda store, one, _: store.presign(one),
    "presign_short": lambda store, one, _: store.presign_short(one, revision=1),
    "presign_medium": lambda store, one, _: store.presign_medium(one),
    "presign_long": lambda store, one, _: store.presign_long(one),
    "register_uploaded_artifact": lambda store, one, _: store.register_uploaded_artifact(one, **FIELDS),
    "parse_grid_key": lambda store, one, _: store.parse_grid_key(one),
    "generate_artifact_key": lambda store, one, _: store.generate_artifact_key("mallory", one),
}
BY_SESSION = {
    "store": lambda store, session, _: store.store(b"x", session_id=session, filename="x"),
    "write_file": lambda store, session, _: store.write_file("x", filename="x", session_id=session),
    "store_batch": lambda store, session, _: store.store_batch([{"data": b"x", "session_id": session}]),
    "list_by_session": lambda store, session, _: store.list_by_session(session),
    "list_files": lambda store, session, _: store.list_files(session),
    "lookup": lambda store, session, _: store.lookup(NAME, session),
    "search": lambda store, session, _: store.search(session),
    "get_directory_contents": lambda store, session, _: store.get_directory_contents(session, "docs"),
    "list_directory": lambda store, session, _: store.list_directory(session),
    "iter_session": lambda store, session, _: store.iter_session(session),
    "archive": lambda store, session, _: store.archive(session, chunk_size=99),
    "presign_archive": lambda store, session, _: store.presign_archive(session),
    "presign_upload": lambda store, session, _: store.presign_upload(session),
    "presign_upload_and_register": lambda store, session, _: store.presign_upload_and_register(
        session_id=session, **FIELDS
    ),
    "session": lambda store, session, _: store.session(session),
    "user": lambda store, session, _: store.user(session),
    "validate_session": lambda store, session, _: store.validate_session(session),
    "get_session_info": lambda store, session, _: store.get_session_info(session),
    "update_session_metadata": lambda store, session, _: store.update_session_metadata(session, {"x": 1}),
    "extend_session_ttl": lambda store, session, _: store.extend_session_ttl(session, 1),
    "delete_session": lambda store, session, _: store.delete_session(session),
    "usage": lambda store, session, _: store.usage(session),
    "get_canonical_prefix": lambda store, session, _: store.get_canonical_prefix(session),
}
WHOLE = {
    "create_session": lambda store, _, __: store.create_session(),
    "iter_sessions": lambda store, _, __: store.iter_sessions(user_id=USER),
    "delete_user": lambda store, _, __: must_be(0, store.delete_user(USER)),
    "cleanup_expired_sessions": lambda store, _, __: store.cleanup_expired_sessions(),
    "reindex": lambda store, _, __: store.reindex(),
    "cleanup": lambda store, _, __: store.cleanup(orphans=True, force=True),
    "get_session_prefix_pattern": lambda store, _, __: store.get_session_prefix_pattern(),
    "validate_configuration": lambda store, _, __: store.validate_configuration(thorough=True),
    "get_stats": lambda store, _, __: store.get_stats(),
    "get_sandbox_info": lambda store, _, __: store.get_sandbox_info(),
    "export_catalog": lambda store, _, __: exported(store),
    "import_catalog": lambda store, _, __: store.import_catalog(io.BytesIO(b"{}")),  # see test_forged_export
}
HARMLESS = {"close": "it closes the caller's own view", "wrap": "it takes a store, which is the right to use it"}


def exported(store):
    """Return the export of a catalog as text, or what is still to be awaited."""
    file = io.BytesIO()
    found = store.export_catalog(file)

    async def later():
        await found
        return file.getvalue().decode()

    return later() if isinstance(found, Awaitable) else file.getvalue().decode()


def must_be(expected, found):
    """Return what was found, which must be what is expected, or is still to be awaited."""
    assert isinstance(found, Awaitable) or found == expected
    return found


@pytest.mark.parametrize("name", [*BY_ID, *BY_SESSION, *WHOLE])
def test_store(world, name):
    """No method of a store, blocking or async, reveals or changes anything of another session or sandbox."""
    before = world.everything()
    call = {**BY_ID, **BY_SESSION, **WHOLE}[name]
    with asyncio.Runner() as runner:

        def call_and_wait(*arguments):
            return runner.run(result_of(call(*arguments)))

        for attacker in world.attackers.values():
            own = own_of(attacker)
            view = aio.ArtifactStore.wrap(attacker)
            for target in world.ids(own) if name in BY_ID else world.sessions() if name in BY_SESSION else [None]:
                attack(world, call, attacker, target, world.folder)
                attack(world, call_and_wait, view, target, world.folder)
            runner.run(view.close())
    assert world.everything() == before


def test_other_session_of_own_artifact(world):
    """An artifact is not moved, copied or registered into another session."""
    before = world.everything()
    mallory = world.attackers["session"]
    own = own_of(mallory).artifact_id
    for session in world.sessions():
        for call in (
            lambda session=session: mallory.move_file(own, new_session_id=session),
            lambda session=session: mallory.copy_file(own, target_session_id=session),
            lambda session=session: mallory.register_uploaded_artifact(own, session_id=session, **FIELDS),
            lambda session=session: mallory.generate_artifact_key(session, own),
            lambda session=session: mallory.store_batch([{"data": b"x"}], session_id=session),
        ):
            attack(world, call)
    assert world.everything() == before


def test_forged_export(world):
    """No line of an export brings a record into a catalog that leads to another session or another sandbox."""
    before = world.everything()
    for attacker in world.attackers.values():
        own = own_of(attacker)
        header = {"format": "chuk-artifacts catalog", "version": 1, "exported_at": own.stored_at}
        header |= {"sandbox_id": own.sandbox_id}
        session = json.loads(world.info.changed(sandbox_id=own.sandbox_id, session_id="mallory").to_json())
        for victim in world.victims:
            for fields in ({"key": victim.key}, {"superseded": [[victim.key, own.stored_at, 1]]}, dict(victim)):
                record = {**json.loads(own.to_json()), **fields}
                lines = [header, {"session": session}, {"artifact": record}]
                lines += [{"end": {"sessions": 1, "artifacts": 1}}]
                attack(world, attacker.import_catalog, io.BytesIO("\n".join(map(json.dumps, lines)).encode()))
    assert world.everything() == before


def public(kind):
    """Return the names of the public methods of a class."""
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def test_every_method_of_a_store_has_a_row():
    """Every public method of a store has a row above."""
    rows = {*BY_ID, *BY_SESSION, *WHOLE, *HARMLESS}
    assert public(ArtifactStore) | public(aio.ArtifactStore) == rows


# The filesystem

BY_PATH = {
    "cat": lambda fs, one, _: fs.cat(one, recursive=True),
    "cat_file": lambda fs, one, _: fs.cat_file(one),
    "cat_ranges": lambda fs, one, _: fs.cat_ranges([one], 0, 9),
    "checksum": lambda fs, one, _: fs.checksum(one),
    "created": lambda fs, one, _: fs.created(one),
    "delete": lambda fs, one, _: fs.delete(one, recursive=True),
    "disk_usage": lambda fs, one, _: must_be(0, fs.disk_usage(one)),
    "download": lambda fs, one, folder: fs.download(one, f"{folder}/x", recursive=True),
    "du": lambda fs, one, _: must_be(0, fs.du(one)),
    "exists": lambda fs, one, _: must_be(False, fs.exists(one)),
    "expand_path": lambda fs, one, _: fs.expand_path(one, recursive=True),
    "find": lambda fs, one, _: fs.find(one, detail=True),
    "get": lambda fs, one, folder: fs.get(one, f"{folder}/x", recursive=True),
    "get_file": lambda fs, one, folder: fs.get_file(one, f"{folder}/x"),
    "get_mapper": lambda fs, one, _: dict(fs.get_mapper(one)),
    "glob": lambda fs, one, _: fs.glob(one, detail=True),
    "head": lambda fs, one, _: fs.head(one),
    "info": lambda fs, one, _: fs.info(one),
    "invalidate_cache": lambda fs, one, _: fs.invalidate_cache(one),
    "is_pattern": lambda fs, one, _: fs.is_pattern(one),
    "isdir": lambda fs, one, _: fs.isdir(one),
    "isfile": lambda fs, one, _: must_be(False, fs.isfile(one)),
    "lexists": lambda fs, one, _: fs.lexists(one),
    "listdir": lambda fs, one, _: fs.listdir(one),
    "ls": lambda fs, one, _: fs.ls(one),
    "makedir": lambda fs, one, _: fs.makedir(one),
    "makedirs": lambda fs, one, _: fs.makedirs(one),
    "mkdir": lambda fs, one, _: fs.mkdir(one),
    "mkdirs": lambda fs, one, _: fs.mkdirs(one),
    "modified": lambda fs, one, _: fs.modified(one),
    "open": lambda fs, one, _: fs.open(one, revision=1),
    "pipe": lambda fs, one, _: fs.pipe(one, b"x"),
    "pipe_file": lambda fs, one, _: fs.pipe_file(one, b"x"),
    "read_block": lambda fs, one, _: fs.read_block(one, 0, 9),
    "read_bytes": lambda fs, one, _: fs.read_bytes(one),
    "read_text": lambda fs, one, _: fs.read_text(one),
    "rm": lambda fs, one, _: fs.rm(one, recursive=True),
    "rm_file": lambda fs, one, _: fs.rm_file(one),
    "rmdir": lambda fs, one, _: fs.rmdir(one),
    "sign": lambda fs, one, _: fs.sign(one),
    "size": lambda fs, one, _: fs.size(one),
    "sizes": lambda fs, one, _: fs.sizes([one]),
    "stat": lambda fs, one, _: fs.stat(one),
    "tail": lambda fs, one, _: fs.tail(one),
    "touch": lambda fs, one, _: fs.touch(one, truncate=False),
    "tree": lambda fs, one, _: fs.tree(one),
    "ukey": lambda fs, one, _: fs.ukey(one),
    "unstrip_protocol": lambda fs, one, _: fs.unstrip_protocol(str(one)),
    "walk": lambda fs, one, _: fs.walk(one),
    "write_bytes": lambda fs, one, _: fs.write_bytes(one, b"x"),
    "write_text": lambda fs, one, _: fs.write_text(one, "x"),
}
TWO_PATHS = {name: name for name in ("copy", "cp", "cp_file", "move", "mv", "mv_file", "rename")}
FROM_HERE = {name: name for name in ("put", "put_file", "upload")}
OF_FSSPEC = {
    "clear_instance_cache": "it opens new stores",
    "current": "it returns an instance",
    "end_transaction": "what is written in one is written by open",
    "from_dict": "it makes an instance of options",
    "from_json": "it makes an instance of options",
    "start_transaction": "see end_transaction",
    "to_dict": "it returns options",
    "to_json": "it returns options",
    "transaction_type": "it is a class",
}


@pytest.mark.parametrize("name", [*BY_PATH, *TWO_PATHS, *FROM_HERE])
def test_filesystem(world, name):
    """No method of a filesystem reveals or changes anything of another session or sandbox."""
    before = world.everything()
    here = world.folder / "own"
    here.write_bytes(OWN)
    for attacker in world.attackers.values():
        fs = ArtifactFileSystem(attacker)
        own = own_of(attacker)
        for path in world.paths(own):
            for call in calls_by_path(fs, name, here):
                attack(world, call, path)
    assert world.everything() == before


def calls_by_path(fs, name, here):
    """Return calls of a method that takes a path, with paths of others."""
    if name in BY_PATH:
        return [lambda path: BY_PATH[name](fs, path, here.parent)]
    method = getattr(fs, name)
    if name in FROM_HERE:
        return [lambda path: method(str(here), path)]
    return [lambda path: method(path, "mallory/x"), lambda path: method("mallory/own", path)]


def test_writing_handles(world):
    """Opening a path of another session or sandbox for writing changes nothing there."""
    before = world.everything()
    for attacker in world.attackers.values():
        fs = ArtifactFileSystem(attacker)
        for path in world.paths(own_of(attacker)):
            for mode in ("wb", "xb", "ab"):

                def write(path, mode=mode, fs=fs):
                    with fs.open(path, mode) as file:
                        file.write(b"x")

                attack(world, lambda path, write=write: write(path), path)
    assert world.everything() == before


def test_every_method_of_the_filesystem_has_a_row():
    """Every public method of the filesystem has a row above."""
    assert public(ArtifactFileSystem) == {*BY_PATH, *TWO_PATHS, *FROM_HERE, *OF_FSSPEC}


# The gateway

REQUESTS = ("GET", "HEAD", "PUT")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("method", REQUESTS)
def test_gateway(world, method, face):
    """Only an artifact's own URL reaches it, and a bound store's gateway serves only its session."""
    before = world.everything()
    for name, attacker in world.attackers.items():
        own = own_of(attacker)
        upload, upload_id = attacker.presign_upload("mallory")
        urls = [(attacker.presign(own.artifact_id), own.artifact_id), (upload, upload_id)]
        urls += [(world.store.presign(victim.artifact_id), "") for victim in world.victims]
        urls += [(world.store.session("alice").presign(victim.artifact_id), "") for victim in world.victims]
        client = Client(FACES[face](attacker))
        for url, known in urls:
            parts = urlsplit(url)
            for target in [*(victim.artifact_id for victim in world.victims), world.upload_id] if known else [""]:
                asked = f"{parts.path}?{parts.query}".replace(known, target) if known else f"{parts.path}?{parts.query}"
                answer = client.open(asked, method=method, data=b"x" if method == "PUT" else None)
                assert answer.status_code in {403, 404}, (name, asked)
                assert all(secret not in answer.text and secret not in str(answer.headers) for secret in SECRETS)
    assert world.everything() == before


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("face", ["blocking", "aio"])
def test_respond(world, method, face):
    """The answer to a request for one artifact is for the session and the sandbox of the store only."""
    for attacker in world.attackers.values():
        for target in [*(victim.artifact_id for victim in world.victims), world.upload_id]:
            for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-"}):
                with pytest.raises(ArtifactStoreError) as error:
                    if face == "blocking":
                        gateway.respond(attacker, target, method, headers)
                    else:
                        asyncio.run(aio.respond(aio.ArtifactStore.wrap(attacker), target, method, headers))
                assert all(secret not in str(error.value) for secret in SECRETS)


def test_every_method_of_the_gateway_has_a_row():
    """Every HTTP method that the gateway answers has a row; its only Python method is the call."""
    assert set(REQUESTS) == set(METHODS)
    assert public(Gateway) == public(aio.Gateway) == set()


# The command line

COMMANDS = {
    "get": lambda one, folder: [["get", one], ["get", one, "-o", str(folder)]],
    "info": lambda one, _: [["info", one], ["info", one, "--json"]],
    "ls": lambda _, __: [["ls", "alice"], ["ls", "alice", "--json"], ["ls", "../box/alice"]],
    "put": lambda _, folder: [["put", str(folder / "own"), "--session", "alice"]],
    "rm": lambda one, _: [["rm", one]],
    "url": lambda one, _: [["url", one]],
    "cat": lambda one, _: [["cat", one], ["cat", "alice/notes/a.txt"]],
    "cp": lambda one, _: [["cp", one, "alice/copy.txt"], ["cp", one, "copy.txt"]],
    "mv": lambda one, _: [["mv", one, "alice/moved.txt"], ["mv", one, "moved.txt"]],
    "find": lambda _, __: [["find"], ["find", "alice"], ["find", "--json"]],
    "du": lambda _, __: [["du"], ["du", "alice"]],
    "stats": lambda _, __: [["stats"], ["stats", "--json"]],
    "versions": lambda one, _: [["versions", one], ["versions", one, "--json"]],
    "restore": lambda one, _: [["restore", one, "1"]],
    "upload-url": lambda _, __: [["upload-url", "alice/notes/a.txt"]],
    "sessions": lambda _, __: [["sessions", "ls"], ["sessions", "info", "alice"], ["sessions", "rm", "alice"]],
    "users": lambda _, __: [["users", "ls"], ["users", "rm", "alice"]],
    "sync": lambda _, folder: [["sync", "alice/notes", str(folder / "synced")], ["sync", str(folder), "alice/own"]],
    "catalog": lambda _, folder: [["catalog", "export", "-"], ["catalog", "import", str(folder / "own")]],
    "migrate": lambda _, folder: [
        ["migrate", "--to", str(folder / "copy"), "--to-session-provider", "sqlite"],
        ["migrate", "--to", str(folder / "copy"), "--to-session-provider", "sqlite", "--session", "alice", "--json"],
    ],
    "gc": lambda _, __: [["gc", "--orphans", "--force", "-v", "--json"]],
    "reindex": lambda _, __: [["reindex", "--dry-run", "--json"], ["reindex"]],
    "doctor": lambda _, __: [["doctor"]],
    "init": lambda _, __: [["init"]],
}
SERVED = {"browse": "test_page", "serve": "it is the gateway's"}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("world", ["sqlite", "redis", "postgres"], indirect=True)
def test_command_line(world, name, monkeypatch):
    """No command for another sandbox reveals or changes anything of this one."""
    before = world.everything()
    settings = world.store.scope.core.settings
    monkeypatch.setenv("ARTIFACT_FS_ROOT", settings.fs_root)
    monkeypatch.setenv("ARTIFACT_SANDBOX_ID", "bix")
    monkeypatch.setenv("SESSION_PROVIDER", settings.session_provider)
    if settings.redis_url is not None:
        monkeypatch.setenv("SESSION_REDIS_URL", settings.redis_url.text)
    if settings.postgres_url is not None:
        monkeypatch.setenv("SESSION_POSTGRES_URL", settings.postgres_url.text)
    own = own_of(world.attackers["sandbox"])
    (world.folder / "own").write_bytes(OWN)
    for target in filter(lambda one: type(one) is str and one and "\0" not in one, world.ids(own)):
        for words in COMMANDS[name](target, world.folder):
            result = CliRunner().invoke(cli, words)
            assert result.exception is None or isinstance(result.exception, SystemExit), words
            assert all(secret not in result.output for secret in SECRETS), words
    assert world.everything() == before


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize("attacker", ["session", "sandbox"])
def test_page(world, attacker):
    """No page that shows a store reveals anything of another session or sandbox."""
    before = world.everything()
    page = TestClient(Browser(world.attackers[attacker], token="0" * 32), base_url=f"http://x/{'0' * 32}/")
    with page as client:
        targets = [*world.ids(own_of(world.attackers[attacker])), *world.sessions()]
        for target in filter(lambda one: type(one) is str, targets):
            queries = [{"id": target}, {"id": target, "revision": "1"}]
            queries += [
                {"session": target, "prefix": "", "mime": "*/*"},
                {"user": target},
                {"in": target, "session": "alice"},
            ]
            for path in ("", "folder", "file", "content", "search"):
                for query in queries:
                    answer = client.get(path, params=query)
                    assert answer.status_code in {200, 206, 400, 404}, (path, query)
                    assert all(secret not in answer.text for secret in SECRETS), (path, query)
    assert world.everything() == before


def test_every_command_has_a_row():
    """Every command has a row above."""
    assert isinstance(cli, click.Group)
    assert set(cli.commands) == {*COMMANDS, *SERVED}
