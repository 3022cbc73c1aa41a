"""What a method costs in steady state: one call of the catalog, and at most one request to the storage.

Both are counted twice: where the store calls its backends, and on the way from there to a bucket, Redis, PostgreSQL or
SQLite.
"""

from __future__ import annotations

import ast
import functools
import io
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import redis.connection
from botocore.hooks import HierarchicalEmitter
from servers.buckets import s3_on_moto
from servers.proxy import Proxy

from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog.redis import scripts
from chuk_artifacts.filesystem import ArtifactFileSystem

UNSENT = {"sign_get", "sign_put"}
"""Calls of a storage that send no request."""

WIDE = {"stats": 256, "check": 5}
"""Calls of a catalog that ask of all it holds, or of all it is, and in how many parts they may do it."""

TWICE = {"add": 3}
"""Calls of the catalog on disk that are one statement mostly; otherwise they look at the session as well, and then at
the size of the file."""

UNCOUNTED = {"close"}
"""The methods that are not counted."""


class Counting:
    """A proxy of a backend that counts calls."""

    def __init__(self, backend, calls):
        self._backend = backend
        self._calls = calls

    def __getattr__(self, name):
        """Return an attribute of the backend, or a counting method."""
        value = getattr(self._backend, name)
        if not callable(value):
            return value

        def counted(*arguments, **options):
            if (name, arguments) != ("delete", ([],)):  # nothing to delete is no request
                self._calls[name] += 1
            return value(*arguments, **options)

        return counted


class Sent:
    """The requests and commands that leave a backend, where that can be observed.

    Attributes:
        storage: the operations of a bucket that were sent, or None.
        catalog: the commands or transactions that a catalog was sent, or None.

    """

    def __init__(self):
        self.storage: list[str] | None = None
        self.catalog: list[str] | None = None


def in_memory(request, sent):
    """Return the options of a store that sends nothing."""
    return {}


def on_disk(request, sent):
    """Return the options of a store whose transactions are counted; a statement outside of one counts as one."""
    sent.catalog = []
    connect, inside = sqlite3.connect, set()

    def note(connection, statement):
        word = statement.split(maxsplit=1)[0].upper()
        if connection not in inside:
            sent.catalog.append(word)
        if word == "BEGIN":
            inside.add(connection)
        elif word in {"COMMIT", "ROLLBACK"}:
            inside.discard(connection)

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(functools.partial(note, id(connection)))
        return connection

    request.getfixturevalue("monkeypatch").setattr(sqlite3, "connect", watched)
    return {"storage_provider": "filesystem"}


def in_bucket(request, sent):
    """Return the options of a store whose requests to a bucket are counted, with retries."""
    options = s3_on_moto(request)
    sent.storage = []
    emit = HierarchicalEmitter.emit

    def watched(self, event_name, **details):
        if event_name.startswith("before-send.s3."):  # on both ways
            sent.storage.append(event_name.rpartition(".")[2])
        return emit(self, event_name, **details)

    request.getfixturevalue("monkeypatch").setattr(HierarchicalEmitter, "emit", watched)
    return options


def in_redis(request, sent):
    """Return the options of a store whose commands to Redis are counted; the server knows the scripts."""
    url = request.getfixturevalue("redis_url")
    with request.getfixturevalue("redis_server").client() as client:
        for script in vars(scripts).values():
            if isinstance(script, scripts.Script):
                client.script_load(script.text)
    sent.catalog = []
    connection = redis.connection.AbstractConnection
    send = connection.send_packed_command

    def watched(self, command, **options):
        sent.catalog.append(b"".join(command).split(b"\r\n")[2].decode())
        return send(self, command, **options)

    request.getfixturevalue("monkeypatch").setattr(connection, "send_packed_command", watched)
    return {"session_provider": "redis", "redis_url": url}


class Answers(Proxy):
    """A proxy that notes each round trip."""

    def __init__(self, port, sent):
        super().__init__(port)
        self._sent = sent

    def note(self):
        """Note a round trip."""
        super().note()
        self._sent.append("round trip")


def in_postgres(request, sent):
    """Return the options of a store whose round trips to PostgreSQL are counted."""
    url, server = map(request.getfixturevalue, ("postgres_url", "postgres_server"))
    sent.catalog = []
    proxy = Answers(server.port, sent.catalog)
    proxy.__enter__()
    request.addfinalizer(lambda: proxy.__exit__(None, None, None))
    return {"session_provider": "postgres", "postgres_url": url.replace(str(server.port), str(proxy.port))}


STORES = {
    "memory": in_memory,
    "filesystem": on_disk,
    "s3": in_bucket,
    "redis": in_redis,
    "postgres": in_postgres,
}


class Costs:
    """A store, and the calls that its methods made to storage and catalog."""

    def __init__(self, store, sent):
        self.store = store
        self.storage: Counter[str] = Counter()
        self.catalog: Counter[str] = Counter()
        self.sent = sent
        core = store.scope.core
        core.storage = Counting(core.storage, self.storage)
        core.catalog = Counting(core.catalog, self.catalog)

    def of(self, method, *, more=0):
        """Return the calls of storage and catalog that a method makes; each may send one request.

        *more* requests than calls may reach the storage.
        """
        self.storage.clear()
        self.catalog.clear()
        sent = self.sent
        for way in (sent.storage, sent.catalog):
            if way is not None:
                way.clear()
        method()
        if sent.storage is not None:
            asked = sum(count for name, count in self.storage.items() if name not in UNSENT)
            assert len(sent.storage) <= asked + more, sent.storage
        if sent.catalog is not None:
            wide = WIDE | TWICE if self.store.scope.core.catalog.provider == "sqlite" else WIDE
            most = sum(count * wide.get(name, 1) for name, count in self.catalog.items())
            assert sum(self.catalog.values()) <= len(sent.catalog) <= most, sent.catalog
        return dict(self.storage), dict(self.catalog)


@pytest.fixture(params=STORES)
def costs(request, tmp_path):
    """Return a store whose calls are counted, with open connections."""
    sent = Sent()
    options = STORES[request.param](request, sent)
    with ArtifactStore(**options, fs_root=tmp_path) as store:
        store.retrieve(store.store(b"warm", session_id="warm"))
        yield Costs(store, sent)


@pytest.fixture
def artifact_id(costs):
    """Return the id of an artifact."""
    return costs.store.store(b"content", session_id="alice", filename="docs/a")


def test_store(costs):
    """Storing is one put and one add, for new and existing sessions, for bytes and streams."""
    for data in (b"x", b"y", iter([b"a", b"b"])):
        assert costs.of(lambda data=data: costs.store.store(data, session_id="alice")) == ({"put": 1}, {"add": 1})
    assert costs.of(lambda: costs.store.store(b"x")) == ({"put": 1}, {"add": 1})
    assert costs.of(lambda: costs.store.write_file("x", filename="a")) == ({"put": 1}, {"add": 1})
    with_all = {"meta": {"a": 1}, "user_id": "u", "ttl": 60, "session_id": "alice"}
    assert costs.of(lambda: costs.store.store(b"x", **with_all)) == ({"put": 1}, {"add": 1})


@pytest.mark.parametrize("count", [1, 2, 25])
def test_store_batch(costs, count):
    """A batch is one put per item, and one add."""
    items = [{"data": b"x"}] * count
    assert costs.of(lambda: costs.store.store_batch(items)) == ({"put": count}, {"add": 1})


@pytest.mark.parametrize(
    ("method", "storage"),
    [
        (lambda store, one: store.retrieve(one), {"get": 1}),
        (lambda store, one: store.read_file(one), {"get": 1}),
        (lambda store, one: store.open(one).close(), {"open": 1}),
        (lambda store, one: list(store.stream(one)), {"open": 1}),
        (lambda store, one: list(store.stream(one, start=1, end=3)), {"open": 1}),
        (lambda store, one: store.retrieve_batch([one] * 9), {"get": 9}),
        (lambda store, one: store.metadata(one), {}),
        (lambda store, one: store.retrieve(one, revision=1), {"get": 1}),
        (lambda store, one: store.versions(one), {}),
        (lambda store, one: store.exists(one), {}),
        (lambda store, _: store.exists("0" * 32), {}),
        (lambda store, one: store.session("alice").retrieve(one), {"get": 1}),
    ],
    ids=[
        "retrieve",
        "read_file",
        "open",
        "stream",
        "range",
        "retrieve_batch",
        "metadata",
        "revision",
        "versions",
        "exists",
        "exists not",
        "bound",
    ],
)
def test_read(costs, artifact_id, method, storage):
    """Reading is one get of the catalog, and one request per content."""
    assert costs.of(lambda: method(costs.store, artifact_id)) == (storage, {"get": 1})


def test_display(costs):
    """To show a text is one get of the catalog and one request."""
    text_id = costs.store.write_file("text", filename="a.txt", session_id="alice")
    assert costs.of(lambda: costs.store.display(text_id)) == ({"open": 1}, {"get": 1})


def test_download(costs, artifact_id, tmp_path):
    """A download is one get of the catalog and one request."""
    assert costs.of(lambda: costs.store.download(artifact_id, tmp_path / "file")) == ({"open": 1}, {"get": 1})


def test_malformed_id(costs):
    """A malformed id costs nothing."""
    assert costs.of(lambda: costs.store.exists("nonsense")) == ({}, {})
    assert costs.of(lambda: costs.store.delete("nonsense")) == ({}, {})


@pytest.mark.parametrize(
    "method",
    [
        lambda store, one: store.update_metadata(one, summary="new", meta={"a": 1}),
        lambda store, one: store.update_file(one, summary="new"),
        lambda store, one: store.move_file(one, new_filename="new"),
        lambda store, one: store.extend_ttl(one, 60),
    ],
    ids=["update_metadata", "update_file", "move_file", "extend_ttl"],
)
def test_change_of_the_record(costs, artifact_id, method):
    """Changing a record is one get and one compare-and-set; only the latter if the caller has the record."""
    assert costs.of(lambda: method(costs.store, artifact_id)) == ({}, {"get": 1, "replace": 1})


def test_change_of_the_content(costs, artifact_id):
    """Changing content costs one more put."""
    change = costs.of(lambda: costs.store.update_file(artifact_id, data=b"new", summary="new"))
    assert change == ({"put": 1}, {"get": 1, "replace": 1})


def test_restore(costs, artifact_id):
    """Restoring a content is one get and one compare-and-set, and nothing of the storage."""
    costs.store.update_file(artifact_id, data=b"new")
    assert costs.of(lambda: costs.store.restore(artifact_id, 1)) == ({}, {"get": 1, "replace": 1})


def test_copy(costs, artifact_id):
    """Copying is one get, one copy inside the storage, and one add."""
    copy = costs.of(lambda: costs.store.copy_file(artifact_id, new_filename="new"))
    assert copy == ({"copy": 1}, {"get": 1, "add": 1})


def test_delete(costs, artifact_id):
    """Deleting is one removal from each of catalog and storage; repeating it costs one call of the catalog."""
    assert costs.of(lambda: costs.store.delete(artifact_id)) == ({"delete": 1}, {"remove": 1})
    assert costs.of(lambda: costs.store.delete(artifact_id)) == ({}, {"remove": 1})


def test_delete_batch(costs):
    """A batch is removed from the catalog with one call."""
    ids = costs.store.store_batch([{"data": b"x"}] * 9)
    storage, catalog = costs.of(lambda: costs.store.delete_batch(ids))
    assert catalog == {"remove": 1}
    assert storage["delete"] <= 9


def test_delete_session(costs, artifact_id):
    """A session is removed from the catalog with one call."""
    storage, catalog = costs.of(lambda: costs.store.delete_session("alice"))
    assert catalog == {"remove_session": 1}
    assert storage == {"delete": 1}


def test_cleanup(tmp_path, clock):
    """A cleanup releases expired artifacts together, and removes their bytes together."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, clock=clock) as store:
        costs = Costs(store, Sent())
        store.store_batch([{"data": b"x"}] * 90, ttl=60)
        clock.advance(60)
        storage, catalog = costs.of(store.cleanup)
        assert (storage, catalog) == ({"delete": 1}, {"due": 1, "replace_each": 1, "expire_sessions": 1})
        clock.advance(3600)
        storage, catalog = costs.of(store.cleanup)
        assert (storage, catalog) == ({}, {"due": 1, "remove": 1, "expire_sessions": 1})


@pytest.mark.parametrize(
    "method",
    [
        lambda store: store.list_by_session("alice"),
        lambda store: store.list_files("alice", "docs/"),
        lambda store: store.get_directory_contents("alice", "docs"),
        lambda store: store.list_by_session("alice", limit=1),
        lambda store: store.list_by_session("alice", limit=5),
        lambda store: list(store.iter_session("alice")),
        lambda store: store.list_by_session("nobody"),
        lambda store: store.list_directory("alice", "docs"),
    ],
    ids=["session", "prefix", "directory", "limit 1", "limit 5", "iterator", "empty", "level"],
)
def test_list(costs, artifact_id, method):
    """A listing is one page of the catalog, without a call per artifact or of the storage."""
    costs.store.store_batch([{"data": b"x", "filename": f"docs/{number}"} for number in range(50)], session_id="alice")
    assert costs.of(lambda: method(costs.store)) == ({}, {"page": 1})


def test_level_skips_what_is_in_folders(costs):
    """A level costs a page of the catalog for each long folder in it, however many files that holds."""
    for folder in ("a", "b", "c"):
        costs.store.store_batch(
            [{"data": b"x", "filename": f"{folder}/{number:03}"} for number in range(600)], session_id="alice"
        )
    assert costs.store.list_directory("alice") == (["a", "b", "c"], [])
    assert costs.of(lambda: costs.store.list_directory("alice")) == ({}, {"page": 4})


def test_archive(costs, artifact_id):
    """An archive is one page of the catalog, and one request for each file; its URL, once there is a key, nothing."""
    costs.store.store(b"x", filename="b", session_id="alice")
    assert costs.of(lambda: list(costs.store.archive("alice"))) == ({"open": 2}, {"page": 1})
    costs.store.presign_archive("alice")
    assert costs.of(lambda: costs.store.presign_archive("alice")) == ({}, {})


def test_lookup(costs, artifact_id):
    """A look-up by filename is one call of the catalog, and nothing of the storage."""
    assert costs.of(lambda: costs.store.lookup("a", "alice")) == ({}, {"named": 1})
    assert costs.of(lambda: costs.store.lookup("missing", "alice")) == ({}, {"named": 1})


def test_usage(costs, artifact_id):
    """The usage of a session is one call of the catalog, and so is that of a sandbox with few sessions."""
    costs.store.store_batch([{"data": b"x"}] * 50, session_id="alice")
    assert costs.of(lambda: costs.store.usage("alice")) == ({}, {"usage": 1})
    assert costs.of(costs.store.usage) == ({}, {"usage": 1})
    assert costs.of(lambda: costs.store.usage("nobody")) == ({}, {"usage": 1})


def test_sessions_of_a_user(costs):
    """The sessions of a user are one call of the catalog a page; creating one is one, and one for its facts."""
    kept = {"put": 1} if costs.store.scope.core.storage.persistent else {}
    for number in range(5):
        assert costs.of(lambda: costs.store.create_session(user_id="ann")) == (kept, {"create_session": 1}), number
    assert len(list(costs.store.iter_sessions(user_id="ann"))) == 5
    costs.store.scope.core.catalog.sessions(0, 1, user_id="ann")
    pages = costs.store.iter_sessions(user_id="ann", page_size=3)
    costs.catalog.clear()
    assert len(list(pages)) == 5
    assert dict(costs.catalog) == {"sessions": 2}


def test_delete_user(costs):
    """Erasing a user is a page of sessions, and for each a page, a removal, and the removal of the session."""
    costs.store.user("ann").store(b"own")
    costs.store.user("ann").store(b"own")
    costs.storage.clear()
    costs.catalog.clear()
    assert costs.store.delete_user("ann") == 2
    assert dict(costs.catalog) == {"sessions": 1, "page": 1, "remove": 1, "remove_session": 1, "forget_user": 1}
    assert dict(costs.storage) == {"delete": 1}


def test_search(costs, artifact_id):
    """A search in a session is one call of the catalog a page; in the sandbox, one more for its sessions."""
    costs.store.store_batch([{"data": b"x", "mime": "image/png"}] * 50, session_id="alice")
    wanted = {"mime": "image/*", "meta": {}}
    assert costs.of(lambda: list(costs.store.search("alice", **wanted))) == ({}, {"search": 1})
    assert len(list(costs.store.search("alice", **wanted))) == 50
    costs.catalog.clear()
    assert len(list(costs.store.search(**wanted))) == 50
    assert dict(costs.catalog) == {"sessions": 1, "search": 1}


def test_export_and_import(costs):
    """An export reads pages of 500 records, and verifies all once; an import looks up and writes 500 at once."""
    costs.store.store_batch([{"data": b""}] * 600, session_id="alice")
    sessions = len(list(costs.store.iter_sessions()))
    file = io.BytesIO()
    costs.catalog.clear()
    costs.storage.clear()
    costs.store.export_catalog(file)
    assert dict(costs.catalog) == {"verify": 1, "identity": 1, "sessions": 1, "page": 1 + sessions}
    assert not costs.storage
    costs.catalog.clear()
    file.seek(0)
    costs.store.import_catalog(file)
    assert {*costs.catalog} == {"get", "merge_sessions", "merge"}
    assert max(costs.catalog.values()) == 2
    assert set(costs.storage) <= {"list_objects"}


def test_long_list(costs):
    """A long listing is one page per thousand artifacts."""
    costs.store.store_batch([{"data": b""}] * 100, session_id="alice")
    assert costs.of(lambda: list(costs.store.iter_session("alice", page_size=30))) == ({}, {"page": 4})


@pytest.mark.parametrize(
    ("method", "catalog"),
    [
        (lambda store: store.create_session(), {"create_session": 1}),
        (lambda store: store.validate_session("alice"), {"get_session": 1}),
        (lambda store: store.get_session_info("alice"), {"get_session": 1}),
        (lambda store: store.get_stats(), {"stats": 1}),
        (lambda store: store.get_canonical_prefix("alice"), {}),
        (lambda store: store.session("alice"), {}),
        (lambda store: store.get_sandbox_info(), {}),
    ],
    ids=["create", "validate", "info", "stats", "prefix", "bind", "sandbox"],
)
def test_sessions(costs, artifact_id, method, catalog):
    """Methods for sessions are one call of the catalog, and none of the storage."""
    assert costs.of(lambda: method(costs.store)) == ({}, catalog)


@pytest.mark.parametrize(
    "method",
    [
        lambda store: store.update_session_metadata("alice", {"a": 1}),
        lambda store: store.extend_session_ttl("alice", 1),
    ],
    ids=["update", "extend"],
)
def test_changed_sessions(costs, artifact_id, method):
    """A change of a session is one call of the catalog, and its facts are stored beside its bytes."""
    kept = {"put": 1} if costs.store.scope.core.storage.persistent else {}
    assert costs.of(lambda: method(costs.store)) == (kept, {"update_session": 1})


@pytest.mark.parametrize(
    "method",
    [
        lambda store, one: store.presign(one),
        lambda store, one: store.presign_short(one),
        lambda store, one: store.presign_medium(one),
        lambda store, one: store.presign_long(one),
    ],
    ids=["presign", "short", "medium", "long"],
)
def test_presign(costs, artifact_id, method):
    """A download URL is one get of the catalog, and no request."""
    method(costs.store, artifact_id)  # starts a gateway where one is needed, and finds the key
    assert costs.of(lambda: method(costs.store, artifact_id)) == ({"sign_get": 1}, {"get": 1})


def test_presign_upload(costs):
    """An upload URL is one record, and no request."""

    def presign():
        costs.store.presign_upload("alice")

    presign()
    assert costs.of(presign) == ({"sign_put": 1}, {"add": 1})


def test_presign_upload_and_register(costs):
    """An upload URL with complete metadata is one get of the session, for its ttl, and one record."""

    def presign():
        costs.store.presign_upload_and_register(mime="text/plain", summary="", session_id="alice")

    presign()
    assert costs.of(presign) == ({"sign_put": 1}, {"get_session": 1, "add": 1})


def test_register(costs):
    """Registering gets the record, copies, hashes unless a bucket does, and removes the upload, once only."""
    store = costs.store
    _, artifact_id = store.presign_upload("alice")
    store.scope.core.storage.put(f"{store.generate_artifact_key('alice', artifact_id)}~upload", b"1")

    def register():
        store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")

    hashing = {"stat": 1, "open": 1} if costs.sent.storage is None else {"stat": 2}
    assert costs.of(register, more=1) == (
        {**hashing, "grantees": 1, "copy": 1, "delete": 1},
        {"get": 1, "get_session": 1, "replace": 1},
    )
    assert costs.of(register) == ({}, {"get": 1})


def test_reindex_of_what_is_known(costs, artifact_id):
    """A reindex lists identities and objects, remote ones twice, and asks the catalog for 500 records at once."""
    costs.store.reindex()
    costs.storage.clear()
    costs.catalog.clear()
    costs.store.reindex()
    assert costs.catalog["get"] == costs.catalog["recount"] == 1
    assert costs.storage["list_objects"] <= 4
    assert not {"description", "get", "open"} & costs.storage.keys()


@pytest.mark.parametrize(
    ("method", "storage", "catalog"),
    [
        (lambda store: store.cleanup(), {}, {"expire_sessions": 1, "due": 1}),
        (lambda store: store.cleanup_expired_sessions(), {}, {"expire_sessions": 1, "due": 1}),
        (lambda store: store.validate_configuration(), {"check": 1}, {"check": 1}),
        (lambda store: store.generate_artifact_key("alice", "0" * 32), {}, {}),
        (lambda store: store.parse_grid_key("grid/box/alice/a"), {}, {}),
        (lambda store: store.get_session_prefix_pattern(), {}, {}),
    ],
    ids=["cleanup", "cleanup sessions", "validate", "key", "parse", "pattern"],
)
def test_whole(costs, artifact_id, method, storage, catalog):
    """Methods for the whole store make one call to each backend when nothing is left to do, however much is stored."""
    assert costs.of(lambda: method(costs.store)) == (storage, catalog)


@pytest.fixture
def fs(costs, artifact_id):
    """Return the filesystem of the store, with the file ``alice/docs/a``."""
    return ArtifactFileSystem(costs.store)


def write(fs, mode):
    """Write to an existing file."""
    with fs.open("alice/docs/a", mode) as file:
        file.write(b"new")


@pytest.mark.parametrize(
    ("call", "storage", "catalog"),
    [
        (lambda fs: fs.cat_file("alice/docs/a"), {"get": 1}, {"named": 1}),
        (lambda fs: fs.pipe_file("alice/new", b"x"), {"put": 1}, {"named": 1, "add": 1}),
        (lambda fs: fs.pipe_file("alice/docs/a", b"new"), {"put": 1}, {"named": 1, "replace": 1}),
        (lambda fs: write(fs, "wb"), {"put": 1}, {"named": 1, "replace": 1}),
        (lambda fs: write(fs, "ab"), {"open": 1, "put": 1}, {"named": 2, "replace": 1}),
        (lambda fs: fs.touch("alice/docs/a", truncate=False), {}, {"named": 1, "replace": 1}),
        (lambda fs: fs.mv("alice/docs/a", "alice/docs/b"), {}, {"named": 2, "page": 1, "replace_each": 1}),
        (lambda fs: fs.mv("alice/docs/a", "alice/other/"), {}, {"named": 2, "replace_each": 1}),
        (lambda fs: fs.mv_file("alice/docs/a", "alice/docs/b"), {}, {"named": 2, "replace_each": 1}),
        (lambda fs: fs.cp_file("alice/docs/a", "alice/docs/b"), {"copy": 1}, {"named_each": 1, "add": 1}),
        (lambda fs: fs.exists("alice/docs/a"), {}, {"has_named": 1}),
        (lambda fs: fs.exists("alice/docs"), {}, {"has_named": 1, "page": 1}),
        (lambda fs: fs.rm_file("alice/docs/a"), {"delete": 1}, {"named": 1, "remove": 1}),
    ],
    ids=[
        "read",
        "create",
        "overwrite",
        "open",
        "append",
        "touch",
        "rename",
        "into folder",
        "mv_file",
        "copy",
        "exists",
        "exists not",
        "delete",
    ],
)
def test_filesystem(costs, fs, call, storage, catalog):
    """A path is looked up once by each function that needs it, and a record that was found is not read again."""
    assert costs.of(lambda: call(fs)) == (storage, catalog)


def test_every_method_is_counted():
    """Every public method has a test above."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if ast.unparse(node.func.value) in {"store", "costs.store"}
    }
    methods = {name for name in dir(ArtifactStore) if callable(getattr(ArtifactStore, name))}
    assert {name for name in methods if not name.startswith("_")} - called == UNCOUNTED


@pytest.mark.parametrize(
    ("call", "storage", "catalog"),
    [
        (
            lambda fs, _: fs.pipe({f"alice/new/{number}": b"x" for number in range(4)}),
            {"put": 4},
            {"named_each": 1, "add": 1},
        ),
        (lambda fs, _: fs.cp("alice/many/", "alice/new/", recursive=True), {"copy": 4}, {"named_each": 1, "add": 1}),
        (lambda fs, _: fs.mv("alice/many/", "alice/new/", recursive=True), {}, {"named_each": 1, "replace_each": 1}),
        (lambda fs, local: fs.put(f"{local}/", "alice/new/", recursive=True), {"put": 4}, {"named_each": 1, "add": 1}),
        (lambda fs, local: fs.get("alice/many/", f"{local}/new/", recursive=True), {"open": 4}, {"named_each": 1}),
    ],
    ids=["pipe", "copy", "move", "put", "get"],
)
def test_many_files(costs, fs, tmp_path, call, storage, catalog):
    """Many files are looked up, added and changed with one call of the catalog each, beside a listing of the folder."""
    local = tmp_path / "local"
    local.mkdir()
    for number in range(4):
        (local / f"{number}").write_bytes(b"x")
        fs.pipe_file(f"alice/many/{number}", b"x")
    costs.storage.clear()
    costs.catalog.clear()
    call(fs, local)
    listing = {"page", "named", "has_named"}
    assert costs.storage == storage
    assert {name: count for name, count in costs.catalog.items() if name not in listing} == catalog
