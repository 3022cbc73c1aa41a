"""The root of local storage while others exchange what is in it: nothing outside is read, written or removed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import stat
import sys
import threading

import child
import pytest
from process import open_below

from chuk_artifacts import ArtifactStore, ArtifactStoreError, ProviderError
from chuk_artifacts.source import source
from chuk_artifacts.storage import ObjectExistsError, ObjectMissingError, beneath
from chuk_artifacts.storage.local import LocalStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no descriptors of folders")

FOLDER = "grid/box/alice"
KEY = f"{FOLDER}/artifact"
NEW = f"{KEY}~2"
INSIDE, OUTSIDE = b"inside", b"what lies outside"


@pytest.fixture(params=["openat2", "levels"])
def _way(request, monkeypatch):
    """Have folders opened in one call of the kernel, or level by level."""
    if request.param == "levels":
        monkeypatch.setattr(beneath, "_kernel", lambda: None)
    elif beneath._kernel() is None:
        pytest.skip("the kernel has no openat2, or a sandbox forbids it")


@pytest.fixture
def root(tmp_path):
    """Return the place of the root, which the first write makes."""
    return tmp_path / "root"


@pytest.fixture
def storage(root):
    """Return a storage with one object."""
    storage = LocalStorage(str(root))
    storage.put(KEY, INSIDE)
    return storage


def tree(folder):
    """Return what is below a folder: a file with its bytes, a link with its target, a folder with nothing."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


# Links that appear in the midst of a call

CALLS = {
    "put": lambda storage: storage.put(NEW, b"new"),
    "put in a new folder": lambda storage: storage.put("grid/box/bob/empty/new", b"new"),
    "exclusive put": lambda storage: storage.put(NEW, b"new", exclusive=True),
    "stream": lambda storage: storage.put(NEW, source(iter([b"n", b"ew"]))),
    "copy": lambda storage: storage.copy(KEY, NEW, len(INSIDE)),
    "get": lambda storage: storage.get(KEY),
    "open": lambda storage: storage.open(KEY, len(INSIDE)).read(),
    "stat": lambda storage: storage.stat(KEY).bytes,
    "delete": lambda storage: storage.delete([KEY]),
    "delete what is missing": lambda storage: storage.delete([f"{FOLDER}/empty/missing"]),
    "list": lambda storage: [found.bytes for found in storage.list_objects("grid/")],
    "sweep": lambda storage: [found.bytes for found in storage.sweep("grid/", float("inf"))],
}
TOUCHING = ("open", "stat", "lstat", "scandir", "mkdir", "unlink", "rmdir", "replace", "rename", "link")


@contextlib.contextmanager
def struck(number, strike):
    """Have a function called once, right before the n-th call that touches the disk; give what shows whether it was."""
    calls, done = itertools.count(1), []

    def wrapped(function):
        def call(*arguments, **options):
            if next(calls) == number:
                done.append(strike())
            return function(*arguments, **options)

        return call

    kernel = beneath._kernel()
    with pytest.MonkeyPatch.context() as patched:
        for name in TOUCHING:
            patched.setattr(os, name, wrapped(getattr(os, name)))
        if kernel is not None:
            patched.setattr(beneath, "_kernel", lambda: wrapped(kernel))
        yield done


def exchange(root, level, outside):
    """Put a link to a folder outside in the place of one inside."""
    with contextlib.suppress(FileNotFoundError):  # it was removed already
        os.rename(root / level, root / "moved")
    os.symlink(outside, root / level)


def planted(outside, level):
    """Return what is in a folder outside that looks like the one inside from *level* on."""
    bait = outside / os.path.relpath(FOLDER, level)
    for folder in (bait / "empty", bait.parent / "bob" / "empty"):
        folder.mkdir(parents=True)
    for name in ("artifact", "artifact.01234567.tmp"):
        (bait / name).write_bytes(OUTSIDE)
    return tree(outside)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("level", ["grid", "grid/box", FOLDER])
@pytest.mark.parametrize("name", CALLS)
def test_exchanged_at_any_moment(tmp_path, name, level):
    """A folder that becomes a link right before any of its calls leads no call outside, to read or to write."""
    for number in itertools.count(1):
        root, outside = tmp_path / str(number) / "root", tmp_path / str(number) / "outside"
        before = planted(outside, level)
        storage = LocalStorage(str(root))
        storage.put(KEY, INSIDE)
        (root / FOLDER / "empty").mkdir()
        answer = None
        with struck(number, lambda: exchange(root, level, outside)) as done, contextlib.suppress(ProviderError):  # noqa: B023
            answer = CALLS[name](storage)
        assert tree(outside) == before, number
        assert answer not in (OUTSIDE, len(OUTSIDE)), number
        assert not isinstance(answer, list) or len(OUTSIDE) not in answer, number
        if not done:
            return


@pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged by a call of Linux")
def test_exchanged_by_another_process(root, tmp_path):
    """While another process exchanges a folder for a link, again and again, nothing is written or read outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "artifact").write_bytes(OUTSIDE)
    storage = LocalStorage(str(root))
    storage.put(KEY, INSIDE)
    other = child.start(
        """
        import ctypes, os, sys
        root, outside = map(os.fsencode, sys.argv[1:])
        folder, aside = root + b"/grid/box/alice", root + b"/aside"
        exchange = ctypes.CDLL(None).renameat2
        os.symlink(outside, aside)
        print("begun", flush=True)
        for _ in range(20_000):
            assert exchange(-100, folder, -100, aside, 2) == 0  # RENAME_EXCHANGE
        print("ended", flush=True)
        """,
        root,
        outside,
    )
    with other:
        assert other.stdout.readline() == "begun\n"
        for number in itertools.count():
            with contextlib.suppress(ProviderError):
                storage.put(f"{FOLDER}/{number % 8}", b"new")
            with contextlib.suppress(ProviderError):
                assert storage.get(KEY) == INSIDE
            if other.poll() is not None:
                break
        assert other.stdout.readline() == "ended\n"
    assert tree(outside) == {"artifact": OUTSIDE}


def test_real_folder_in_the_place_of_another(storage, root):
    """A folder that was restored from a backup is used at once: no call goes on in the one that was moved away."""
    (root / FOLDER).rename(root / "before")
    (root / FOLDER).mkdir()
    assert storage.stat(KEY) is None
    storage.put(KEY, b"restored")
    assert (root / KEY).read_bytes() == b"restored"
    assert tree(root / "before") == {"artifact": INSIDE}


# The root


def remove(root):
    """Move the root away."""
    root.rename(root.with_name("before"))


def replace(root):
    """Put another folder in the place of the root."""
    remove(root)
    (root / FOLDER).mkdir(parents=True)


def link(root):
    """Put a link in the place of the root, and be it to the root itself."""
    remove(root)
    root.symlink_to(root.with_name("before"))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("change", [remove, replace, link])
def test_root_that_is_replaced(storage, root, change):
    """A root that goes, or is another one, while the store is open is an error of each call, and nothing is written."""
    change(root)
    before = tree(root) if root.exists() else None
    inside = tree(root.with_name("before"))
    for name, call in CALLS.items():
        with pytest.raises(ProviderError, match="removed or replaced while the store was open") as caught:
            call(storage)
        assert not isinstance(caught.value, (ObjectMissingError, ObjectExistsError)), name
    assert (tree(root) if root.exists() else None) == before
    assert tree(root.with_name("before")) == inside
    with contextlib.suppress(OSError):
        root.unlink()
    if change is replace:
        assert LocalStorage(str(root)).stat(KEY) is None


def test_root_that_is_replaced_under_a_store(root, tmp_path):
    """A store whose root was replaced says so, instead of that its artifacts are gone."""
    with ArtifactStore(storage_provider="fs", fs_root=root, session_provider="memory") as store:
        artifact_id = store.store(b"x")
        replace(root)
        for call in (lambda: store.retrieve(artifact_id), lambda: store.store(b"y"), lambda: store.delete(artifact_id)):
            with pytest.raises(ProviderError, match="removed or replaced"):
                call()


def test_root_comes_back(storage, root):
    """A root that was moved away for a while works again when it is back."""
    remove(root)
    with pytest.raises(ProviderError):
        storage.get(KEY)
    root.with_name("before").rename(root)
    assert storage.get(KEY) == INSIDE


def test_last_file_leaves_the_root(root):
    """The root stays when the last file right in it is deleted."""
    storage = LocalStorage(str(root))
    storage.put("file", b"x")
    storage.delete(["file"])
    assert root.is_dir()
    storage.put("file", b"x")


def test_no_name_is_cut(storage):
    """A NUL, where the system would take the end of a path to be, is refused."""
    for key in (f"{KEY}\0~2", "grid/box\0/alice/artifact", "grid\0"):
        for call in (storage.get, storage.stat, lambda key: storage.put(key, b"x")):
            with pytest.raises(ValueError, match="not a name of a file"):
                call(key)


# Descriptors


linux = pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")


@linux
@pytest.mark.usefixtures("_way")
def test_one_descriptor_a_store(root):
    """A storage holds its root open from its first use on, nothing more however many folders it has, and closes it."""
    storage = LocalStorage(str(root))
    for number in range(50):
        storage.put(f"grid/box/{number}/artifact", INSIDE)
        storage.get(f"grid/box/{number}/artifact")
    assert storage.connected
    assert len(open_below(root)) == 1
    threads = [threading.Thread(target=storage.delete, args=([f"grid/box/{number}/artifact"],)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(open_below(root)) == 1
    storage.close()
    assert not storage.connected
    assert open_below(root) == []


@linux
def test_errors_that_are_kept_hold_no_folder(storage, root):
    """An exception that a caller keeps, with its traceback, keeps no descriptor open."""
    os.mkfifo(root / FOLDER / "fifo")
    (root / FOLDER / "folder" / "in").mkdir(parents=True)
    (root / FOLDER / "link").symlink_to("artifact")
    before, kept = open_below(root), []
    calls = (
        lambda: storage.get(f"{FOLDER}/fifo"),
        lambda: storage.get(f"{FOLDER}/folder"),
        lambda: storage.get(f"{FOLDER}/link"),
        lambda: storage.get(f"{FOLDER}/missing"),
        lambda: storage.delete([f"{FOLDER}/folder"]),
        lambda: storage.put(f"{FOLDER}/folder", b"x"),
        lambda: storage.put(KEY, b"x", exclusive=True),
        lambda: storage.put(f"{FOLDER}/{'x' * 300}", b"x"),
        lambda: storage.copy(KEY, f"{FOLDER}/folder", len(INSIDE)),
        lambda: list(storage.list_objects(KEY)),
    )
    for call in calls:
        with pytest.raises(ProviderError) as caught:
            call()
        kept.append(caught.value)
    assert open_below(root) == before
    storage.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_root_after_a_fork(storage):
    """A forked process reads and writes by the root it inherited; its end, or its close, leaves the parent's open."""
    process = os.fork()
    if process == 0:
        works = False
        with contextlib.suppress(BaseException):
            storage.put(NEW, storage.get(KEY))
            storage.close()
            works = storage.get(NEW) == INSIDE
        os._exit(0 if works else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert storage.get(NEW) == INSIDE


# Neither file nor folder


def make_fifo(place):
    """Put a FIFO there: to open it waits for a writer."""
    os.mkfifo(place)


def make_socket(place):
    """Put a socket there."""
    here = os.getcwd()
    os.chdir(place.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.name)
    os.chdir(here)


def make_device(place):
    """Put the device there whose zeros never end."""
    try:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make devices")


def make_folder(place):
    """Put a folder there."""
    place.mkdir()


KINDS = {"FIFO": make_fifo, "socket": make_socket, "device": make_device, "folder": make_folder}


@pytest.fixture
def _no_waiting():
    """Interrupt a test that waits."""

    def interrupt(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=KINDS)
def kind(request):
    """Return the maker of each kind of thing that is no file."""
    return KINDS[request.param]


@pytest.fixture
def store(root):
    """Return a store on disk that signs by the key in its root."""
    options = {"sandbox_id": "box", "gateway_url": None}
    with ArtifactStore(storage_provider="fs", fs_root=root, **options) as store:
        yield store


@pytest.mark.usefixtures("_no_waiting", "_way")
def test_no_file_is_never_read_nor_waited_for(store, root, tmp_path, kind):
    """What is no file in the place of an artifact is refused by all that reads it, and waited for by nothing."""
    artifact_id = store.store(INSIDE, session_id="alice")
    metadata = store.metadata(artifact_id)
    (root / metadata.key).unlink()
    kind(root / metadata.key)
    refused = (
        lambda: store.retrieve(artifact_id),
        lambda: store.retrieve(metadata),
        lambda: store.read_file(artifact_id),
        lambda: store.retrieve_batch([artifact_id] * 2),
        lambda: list(store.stream(artifact_id)),
        lambda: list(store.stream(artifact_id, start=1)),
        lambda: store.open(artifact_id),
        lambda: store.download(artifact_id, tmp_path / "download"),
        lambda: store.copy_file(artifact_id),
    )
    for call in refused:
        with pytest.raises(ProviderError, match=r"not a regular file|Is a directory"):
            call()
    assert [found.artifact_id for found in store.list_by_session("alice")] == [artifact_id]
    assert store.cleanup(orphans=True).orphans == 0
    assert store.update_file(artifact_id, data=b"new").revision == 2
    assert store.retrieve(artifact_id) == b"new"


@pytest.mark.usefixtures("_no_waiting")
def test_no_file_is_no_upload(store, root, kind):
    """What is no file in the place of an upload is not registered; nor is one in that of the signing key used."""
    _, artifact_id = store.presign_upload("alice", "file")
    key = root / f"{store.generate_artifact_key('alice', artifact_id)}~upload"
    key.parent.mkdir(parents=True, exist_ok=True)
    kind(key)
    with pytest.raises(ArtifactStoreError):
        store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.cleanup(orphans=True).orphans == 0


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("level", ["grid", "grid/box", FOLDER])
def test_no_folder_is_never_waited_for(storage, root, level):
    """A FIFO in the place of a folder is waited for by no call."""
    (root / level).rename(root / "moved")
    os.mkfifo(root / level)
    for call in CALLS.values():
        with contextlib.suppress(ProviderError):
            call(storage)
    assert (root / level).is_fifo()
