"""What goes to another process, by pickle or by fork, and what does not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading

import fsspec
import pytest

from chuk_artifacts import ArtifactStore
from chuk_artifacts.filesystem import ArtifactFileSystem


@pytest.fixture
def fs(tmp_path):
    """Return a filesystem on disk, made of arguments."""
    return fsspec.filesystem("artifact", storage_provider="filesystem", fs_root=tmp_path / "store")


def test_pickle_is_the_same_filesystem(fs):
    """An unpickled filesystem equals the first, and shares its store when it is in the same process."""
    fs.pipe_file("alice/a", b"x")
    other = pickle.loads(pickle.dumps(fs))
    assert other == fs
    assert other._fs_token == fs._fs_token
    assert other.cat_file("alice/a") == b"x"
    bound = ArtifactFileSystem(fs.store, session_id="alice")
    assert pickle.loads(pickle.dumps(bound)) == bound != fs


def test_pickle_knows_where_its_store_is(fs, tmp_path, monkeypatch):
    """A pickle leads to the same store whatever the other process's environment and folder are."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "filesystem")
    monkeypatch.chdir(tmp_path)
    by_environment = fsspec.filesystem("artifact")
    by_environment.pipe_file("alice/a", b"x")
    sent = pickle.dumps(by_environment)
    monkeypatch.delenv("ARTIFACT_PROVIDER")
    monkeypatch.chdir("/")
    assert pickle.loads(sent).cat_file("alice/a") == b"x"


def test_pickle_of_a_given_store(tmp_path):
    """A filesystem of a store that was given pickles as that store's settings."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "store") as store:
        fs = ArtifactFileSystem(store)
        fs.pipe_file("alice/a", b"x")
        other = pickle.loads(pickle.dumps(fs))
        assert other.cat_file("alice/a") == b"x"
        other.store.close()
        assert fs.cat_file("alice/a") == b"x"


def test_readers_and_open_files_pickle(fs):
    """A file that is read goes on at its place in another process, and one that is not yet open opens there."""
    fs.pipe_file("alice/a", b"0123456789")
    with fs.open("alice/a") as file:
        file.seek(4)
        with pickle.loads(pickle.dumps(file)) as other:
            assert other.read(2) == b"45"
    with pickle.loads(pickle.dumps(fsspec.core.OpenFile(fs, "alice/a", "rt"))) as other:
        assert other.read() == "0123456789"


def test_storage_options_hold_no_secret():
    """The storage options that a filesystem reports hold nothing that may be a secret."""
    fs = fsspec.filesystem(
        "artifact", sandbox_id="box", session_ttl_hours=1, signing_key="hunter2-hunter2-", redis_url="hunter2"
    )
    assert fs.storage_options == {"sandbox_id": "box", "session_ttl_hours": 1}
    for text in (repr(fs), fs.to_json(), str(fs.to_dict()), repr(vars(fs)), repr(fs.store)):
        assert "hunter2" not in text
    assert b"hunter2" not in pickle.dumps(fs)


def test_from_json(fs):
    """A filesystem can be made again of its JSON."""
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()).store.get_stats() == fs.store.get_stats()


def write(fs, number):
    """Write a file in another process, and read one."""
    fs.pipe_file(f"alice/{number}", fs.cat_file("alice/first"))
    return os.getpid()


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_share_files(fs, method):
    """Processes, however started, read and write the same files."""
    fs.pipe_file("alice/first", b"x")
    fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)
    with multiprocessing.get_context(method).Pool(2) as pool:
        workers = pool.starmap(write, [(fs, number) for number in range(4)])
    assert os.getpid() not in workers
    assert fs.cat("alice/*") == {f"alice/{name}": b"x" for name in (0, 1, 2, 3, "first")}


def test_threads_share_a_memory_store():
    """What one thread stores in memory by URL, another finds."""

    def put():
        with fsspec.open("artifact://alice/a", "wb") as file:
            file.write(b"x")

    thread = threading.Thread(target=put)
    thread.start()
    thread.join()
    with fsspec.open("artifact://alice/a") as file:
        assert file.read() == b"x"


def test_fork_while_threads_open_filesystems():
    """A process that forks while others open filesystems leaves no lock behind in its child."""
    stop = threading.Event()

    def open_and_forget():
        while not stop.is_set():
            fsspec.filesystem("artifact", session_ttl_hours=1)
            ArtifactFileSystem.clear_instance_cache()

    threads = [threading.Thread(target=open_and_forget) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                fsspec.filesystem("artifact").touch("alice/a")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
