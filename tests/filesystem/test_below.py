"""Stores with bytes at a URL: their arguments, what they report, and failures below them."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import threading
import traceback

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations
from servers.asynchronous import AsynchronousFileSystem
from servers.ftp import PASSWORD, USER

from chuk_artifacts import ArtifactStore, ArtifactStoreError, InvalidInputError, ProviderError
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.redaction import public_url
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage import url as url_storage

DAY = 86400.0
SECRET = "hunter2"


def test_file_url_is_a_folder(tmp_path):
    """A file URL is the filesystem provider with that folder, its records beside it."""
    for scheme in ("file", "local"):
        with ArtifactStore(
            storage_provider=f"{scheme}://{tmp_path}/store", storage_options={"auto_mkdir": True}
        ) as store:
            artifact_id = store.store(b"x", session_id="alice")
            assert store.get_stats()["storage_provider"] == "filesystem"
    with ArtifactStore(storage_provider="fs", fs_root=tmp_path / "store") as store:
        assert store.retrieve(artifact_id) == b"x"
    with pytest.raises(InvalidInputError, match="fs_root"):
        ArtifactStore(storage_provider="file:///x", fs_root="/y")


def test_environment_gives_the_url(monkeypatch, tmp_path):
    """The provider of the environment may be a URL as well."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", f"file://{tmp_path}/store")
    with ArtifactStore() as store:
        store.store(b"x")
    assert (tmp_path / "store" / "catalog.sqlite3").exists()


def test_bytes_lie_where_the_url_says():
    """The bytes are below the URL's path, under their keys."""
    with ArtifactStore(storage_provider="memory://below/here/", sandbox_id="box") as store:
        artifact_id = store.store(b"x", session_id="alice")
        assert fsspec.filesystem("memory").cat(f"/below/here/grid/box/alice/{artifact_id}") == b"x"


@pytest.mark.parametrize("session_id", ["a:b", "a*b?", "[a]", "a|b", "x.", "50%", "a%3Ab", "#1", "a::b", "üser"])
def test_any_session_has_a_folder(tmp_path, session_id):
    """Whatever a session may be called, its bytes are found and listed."""
    with ArtifactStore(storage_provider=f"dir://in::file://{tmp_path}") as store:
        artifact_id = store.store(b"x", session_id=session_id)
        assert store.retrieve(artifact_id) == b"x"
        (item,) = store.scope.core.storage.list_objects(store.get_session_prefix_pattern())
        assert item.key == store.metadata(artifact_id).key


def test_two_stores_at_one_url_share_bytes(tmp_path):
    """Stores at one URL have one sandbox, and with a catalog that both know they see the same artifacts."""
    options = {"storage_provider": f"dir://in::file://{tmp_path}", "session_provider": "sqlite", "fs_root": tmp_path}
    with ArtifactStore(**options) as first, ArtifactStore(**options) as second:
        assert second.retrieve(first.store(b"x")) == b"x"
    others = [f"dir://in::file://{tmp_path}/", f"dir://other::file://{tmp_path}", "memory://in"]
    first, *rest = (resolve(now=0.0, storage_provider=url).sandbox_id for url in [options["storage_provider"], *others])
    assert rest[0] == first
    assert len({first, *rest}) == 3


def test_missing_package_is_told_with_its_hint(monkeypatch):
    """A protocol whose package is missing is refused when the store is made, with fsspec's own hint."""
    absent = {"class": "absent.package.FileSystem", "err": "Please install absent"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    with pytest.raises(InvalidInputError, match=r"'absent://'.*Please install absent") as caught:
        ArtifactStore(storage_provider="dir://x::absent:///a")
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("url", ["nothing://x", "simplecache::nothing://x"])
def test_unknown_protocol_is_told(url):
    """An unknown protocol is refused when the store is made."""
    with pytest.raises(InvalidInputError, match="nothing"):
        ArtifactStore(storage_provider=url)


@pytest.mark.parametrize("url", [f"ftp://u:{SECRET}/x@host/p", f"simplecache::u:{SECRET}@host"])
def test_broken_url_is_not_repeated(url):
    """A URL that can't be read is refused without its password."""
    with pytest.raises(InvalidInputError) as caught:
        ArtifactStore(storage_provider=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (f"sftp://user:{SECRET}@host:22/a@b/c", "sftp://user@host:22/a@b/c"),
        (f"simplecache::ftp://user:p@{SECRET}:x@host/a", "simplecache::ftp://user@host/a"),
        (f"dir://a::ftp://:{SECRET}@host::memory://x", "dir://a::ftp://@host::memory://x"),
        (f"https://host/a?sig={SECRET}", "https://host/a"),
        (f"dir://a::https://host/a?sig={SECRET}::memory://x", "dir://a::https://host/a::memory://x"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("hdfs://host:8020/a:b@c", "hdfs://host:8020/a:b@c"),
    ],
)
def test_public_url(url, public):
    """A URL is shown without passwords and queries, each link of a chain."""
    assert public_url(url) == public_url(public) == public


SECRET_OPTIONS = {
    "password": SECRET,
    "token": {"private": [SECRET]},
    "client_kwargs": {"aws_secret": SECRET, "headers": {"Authorization": SECRET}, "region": "x"},
    "conn_str": SECRET,
    "object": object(),
    "timeout": 5,
}


def test_secrets_are_not_told(caplog, clock):
    """No repr, log, error or pickle holds a password of the URL or an option that is secret by its name."""
    caplog.set_level(logging.DEBUG)
    url = f"ftp://user:{SECRET}@127.0.0.1:1/p?sig={SECRET}"
    store = ArtifactStore(storage_provider=url, storage_options={"password": SECRET, "timeout": 1})
    fs = ArtifactFileSystem(storage_provider=url, storage_options={"password": SECRET, "timeout": 1})
    told = [repr(store), repr(fs), str(fs.storage_options), fs.to_json(), repr(store.scope.core.settings)]
    told += [str(store.validate_configuration()), str(store.get_stats()), str(store.get_sandbox_info())]
    with pytest.raises(ProviderError) as caught:
        store.store(b"x")
    told.append("".join(traceback.format_exception(caught.value)))
    for text in told:
        assert SECRET not in text
    assert SECRET not in caplog.text
    assert SECRET.encode() not in pickle.dumps(store)
    assert SECRET.encode() not in pickle.dumps(fs)


def test_options_in_a_pickle():
    """A pickle keeps the options that name a location, and no option that may hold a secret."""
    settings = resolve(now=0.0, storage_provider="memory://x", storage_options=SECRET_OPTIONS)
    assert settings.without_secrets().storage_options == {"client_kwargs": {"region": "x"}, "timeout": 5}
    assert settings.secrets == (SECRET,)


def test_driver_that_tells_a_secret(monkeypatch):
    """A driver's error that repeats a secret is raised without it, and not chained."""

    def fail(*_args, **_options):
        raise OSError(errno.EIO, f"can't log in with {SECRET}")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    with ArtifactStore(storage_provider="memory://x", storage_options={"password": SECRET}) as store:
        with pytest.raises(ProviderError, match=r"log in with \*\*\*") as caught:
            store.store(b"x")
        assert SECRET not in "".join(traceback.format_exception(caught.value))


class DriverError(Exception):
    """An error of a driver that is no OSError, as those of the clouds are."""


@pytest.mark.parametrize("verb", ["pipe_file", "cat_file", "open", "rm_file", "ls", "info", "cp_file"])
def test_any_error_of_a_driver_is_a_provider_error(monkeypatch, clock, verb):
    """Whatever a driver raises, an outage is an error: never a missing file or an empty listing."""
    with ArtifactStore(storage_provider="memory://errors", clock=clock) as store:
        artifact_id = store.store(b"x", session_id="alice")

        def fail(*_args, **_options):
            raise DriverError("down")

        calls = {
            "pipe_file": lambda: store.store(b"x"),
            "cat_file": lambda: store.retrieve(artifact_id),
            "open": lambda: store.open(artifact_id),
            "rm_file": lambda: store.delete(artifact_id),
            "ls": lambda: list(store.scope.core.storage.list_objects("grid/")),
            "info": lambda: store.scope.core.storage.stat("grid/x"),
            "cp_file": lambda: store.copy_file(artifact_id),
        }
        with monkeypatch.context() as patch, pytest.raises(ProviderError, match="down") as caught:
            patch.setattr(MemoryFileSystem, verb, fail)
            calls[verb]()
        assert isinstance(caught.value.__cause__, DriverError)


def test_wrong_password_is_told(ftp_host):
    """A refused login is an outage in what the configuration is found to be, and an error in each verb."""
    with ArtifactStore(storage_provider=f"ftp://{USER}:wrong@{ftp_host}/p") as store:
        assert store.validate_configuration()["storage"]["status"] == "error"
        with pytest.raises(ProviderError, match="530"):
            store.store(b"x")


def test_password_of_the_environment_serves_the_other_process(ftp_host, monkeypatch):
    """A pickle without its password takes it from the same URL in the environment of the process where it arrives."""
    url = f"ftp://{USER}:{PASSWORD}@{ftp_host}/pickled"
    with ArtifactStore(storage_provider=url) as store:
        store.store(b"x")
        sent = pickle.dumps(store)
    with pickle.loads(sent) as store, pytest.raises(ProviderError, match="530"):
        store.store(b"x")
    monkeypatch.setenv("ARTIFACT_PROVIDER", url)
    with pickle.loads(sent) as store:
        assert store.retrieve(store.store(b"x")) == b"x"


def test_half_written_files_are_not_seen_and_swept(tmp_path, clock):
    """A file that is being written is under a temporary name; what a crash leaves of it is removed after an hour."""
    with ArtifactStore(storage_provider=f"dir://in::file://{tmp_path}", clock=clock) as store:
        store.store(b"x", session_id="alice")
        prefix = store.get_session_prefix_pattern()
        seen = []

        def pieces():
            for _ in range(10):
                yield b"y" * 1024 * 1024
                seen.append(len(list(store.scope.core.storage.list_objects(prefix))))

        store.store(pieces(), session_id="alice")
        assert set(seen) == {1}
        folder = next(tmp_path.rglob("alice"))
        (folder / "left.tmp").write_bytes(b"half")
        storage = store.scope.core.storage
        assert len(list(storage.sweep(prefix, storage.now() - 60))) == 0
        assert len(list(storage.sweep(prefix, storage.now() + 60))) == 1
        assert not (folder / "left.tmp").exists()


def test_failed_stream_leaves_nothing(tmp_path):
    """A stream that fails, early or late, leaves no file of any name behind."""

    def pieces(count):
        for _ in range(count):
            yield b"y" * 1024 * 1024
        raise DriverError

    for url in (f"dir://in::file://{tmp_path}", "memory://failing"):
        with ArtifactStore(storage_provider=url) as store:
            for count in (1, 10):
                with pytest.raises(DriverError):
                    store.store(pieces(count))
            storage = store.scope.core.storage
            assert list(storage.list_objects("grid/")) == []
            assert list(storage.sweep("grid/", float("inf"))) == []


def test_changes_of_one_artifact_at_once_lose_no_bytes(tmp_path, monkeypatch):
    """Two who change an artifact at once write to different keys, although each looked before the other wrote."""
    monkeypatch.setattr(url_storage, "_is_missing", lambda *_: True)
    options = {"storage_provider": f"dir://in::file://{tmp_path}", "session_provider": "sqlite", "fs_root": tmp_path}
    with ArtifactStore(**options) as first, ArtifactStore(**options) as second:
        artifact_id = first.store(b"before")
        between = []

        def data():
            between.append(second.update_file(artifact_id, data=b"second"))
            yield b"first"

        after = first.update_file(artifact_id, data=data())
        assert (between[0].revision, after.revision) == (2, 3)
        assert first.retrieve(artifact_id) == b"first"
        assert first.retrieve(between[0]) == b"second"


def test_asynchronous_filesystem_is_made_once():
    """A filesystem that is asynchronous within is shared by all threads, and its calls run on fsspec's own loop."""
    made = next(AsynchronousFileSystem.made)
    with ArtifactStore(storage_provider="asynchronous://threads") as store:

        def work():
            assert store.retrieve(store.store(b"x")) == b"x"

        work()  # of threads that make it at the same moment, each makes one
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.store_batch([{"data": b"x"}] * 20)) == 20
    assert next(AsynchronousFileSystem.made) - made == 2
    assert threading.get_ident() not in AsynchronousFileSystem.threads


@pytest.mark.parametrize("url", ["asynchronous://fork", "memory://fork"])
def test_child_makes_filesystems_of_its_own(url):
    """A forked process uses no filesystem of its parent, and both go on."""
    with ArtifactStore(storage_provider=url) as store:
        artifact_id = store.store(b"x")
        child = os.fork()
        if child == 0:
            fine = store.retrieve(artifact_id) == b"x" and store.exists(store.store(b"y"))
            os._exit(0 if fine else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.retrieve(store.store(b"z")) == b"z"


def test_child_leaves_its_parents_connection_alone(ftp_host):
    """A forked process connects anew: what both do at once does not mix on one connection."""
    with ArtifactStore(storage_provider=f"ftp://{USER}:{PASSWORD}@{ftp_host}/fork") as store:
        artifact_id = store.store(b"x" * 1000)
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if all(len(store.retrieve(artifact_id)) == 1000 for _ in range(20)) else 2
                finally:
                    os._exit(code)
            children.append(child)
        assert all(len(store.retrieve(artifact_id)) == 1000 for _ in range(20))
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def test_closed_store_is_closed():
    """A closed store at a URL says so."""
    store = ArtifactStore(storage_provider="memory://closed")
    store.close()
    with pytest.raises(ArtifactStoreError, match="closed"):
        store.store(b"x")


def test_artifact_url_over_any_url():
    """Both at once: a filesystem of a store whose bytes are at a URL."""
    with fsspec.open("artifact://alice/a.txt", "w", storage_provider="memory://both") as file:
        file.write("x")
    fs = fsspec.filesystem("artifact", storage_provider="memory://both")
    assert fs.cat_file("alice/a.txt") == b"x"
    assert fs.info("alice/a.txt")["size"] == 1
