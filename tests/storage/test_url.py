"""Storage at a URL: roots that look like patterns, long uploads, pending copies, and what an interrupt leaves."""

from __future__ import annotations

import ftplib
import gc
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from interrupts import Interrupt, interrupted
from servers import asynchronous, objects
from servers.buckets import open_bucket
from servers.ftp import PASSWORD, USER
from servers.urls import URLS

from chuk_artifacts import ArtifactCorruptedError, ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.source import source
from chuk_artifacts.storage import ObjectExistsError, ObjectMissingError
from chuk_artifacts.storage import url as url_storage

KEY = "grid/box/session/0123"
OTHER = "grid/box/session/4567"
MIB = 1024 * 1024
LONG = [bytes([number]) * MIB for number in range(9)]


def at(url):
    """Return the storage at a URL."""
    return open_bucket({"storage_provider": url})


def keys(storage):
    """Return the keys of all objects and of all that is unfinished."""
    unfinished = storage.sweep("grid/", float("inf"), dry_run=True)
    return sorted(item.key for items in (storage.list_objects("grid/"), unfinished) for item in items)


# Roots that look like patterns

PATTERNS = {"q*": "qx", "q?": "qx", "q[ab]": "qa", "q*[ab]": "qxb", "q*[ab]?": "qxab"}
"""The name of a folder, and one that it would match as a pattern."""


@pytest.fixture(params=[*URLS, "url-inner"])
def urls(request):
    """Return a function that makes the URL of a folder with a name, at each kind of URL."""
    if request.param == "url-inner":
        place = request.getfixturevalue("tmp_path")
        return lambda name: f"dir://{name}::file://{place}"
    url = URLS[request.param](request)["storage_provider"]
    return lambda name: f"{url}/{name}"


@pytest.mark.parametrize(("name", "match"), PATTERNS.items(), ids=PATTERNS)
def test_root_that_looks_like_a_pattern(urls, monkeypatch, name, match):
    """A folder may be called as it likes: what is stored is there, and a folder that it would match is untouched."""
    if len(name) < 6 and not urls("").startswith("memory"):
        pytest.skip("tried in memory")
    pieces = LONG
    if urls("").startswith(("ftp", "sftp")):
        monkeypatch.setattr(url_storage, "_SPOOL_BYTES", 1000)  # a real server takes its time
        pieces = [b"a" * 100_000] * 3
        if "?" in name:
            pytest.skip("what follows a ? in such a URL is a query")
    storage, sibling = at(urls(name)), at(urls(match))
    for key in (KEY, OTHER):
        sibling.put(key, b"sibling")
    storage.put(KEY, source(iter(pieces)))
    whole = b"".join(pieces)
    assert storage.get(KEY) == whole
    storage.copy(KEY, OTHER, len(whole))
    with storage.open(OTHER, len(whole), start=len(whole) - 5) as file:
        assert file.read() == whole[-5:]
    assert keys(storage) == [KEY, OTHER]
    storage.delete([KEY, OTHER])
    assert keys(storage) == []
    assert [sibling.get(key) for key in (KEY, OTHER)] == [b"sibling"] * 2
    for each in (storage, sibling):
        each.close()


# Long uploads to object stores


@pytest.fixture(params=["gs", "abfs", "oss", "unknown"])
def store(request):
    """Return a driver of object stores, and the storage on it: of a known one, and of one that is not known as such."""
    with objects.known_as(request.param) as driver:
        yield driver, at(f"{request.param}://bucket/folder")


def test_long_upload_of_a_known_object_store_is_direct():
    """A long stream goes to the final name, and nothing is copied."""
    with objects.known_as("gs") as driver:
        storage = at("gs://bucket/folder")
        storage.put(KEY, source(iter(LONG)))
        assert storage.get(KEY) == b"".join(LONG)
        assert not any(name in {"cp_file", "pipe_file"} for name, _ in driver.calls)
        assert set(driver.store) == {f"bucket/folder/{KEY}"}


def test_upload_is_not_seen_before_its_end(store):
    """While a long stream is on its way its key has no bytes, or those it had."""
    _, storage = store
    seen = []

    def pieces():
        for piece in LONG:
            yield piece
            seen.append((storage.stat(KEY), [item.key for item in storage.list_objects("grid/")]))

    storage.put(KEY, source(pieces()))
    assert seen == [(None, [])] * 9
    assert storage.get(KEY) == b"".join(LONG)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("count", [1, 9])
def test_given_up_upload_leaves_nothing(store, error, count):
    """A stream that fails, early or late, leaves no object, not even when the driver's file is collected."""
    driver, storage = store
    storage.put(OTHER, b"there")

    def pieces():
        yield from LONG[:count]
        raise error

    for key in (KEY, OTHER):
        with pytest.raises(error):
            storage.put(key, source(pieces()))
        gc.collect()
    assert driver.store == {f"bucket/folder/{OTHER}": b"there"}


@pytest.mark.parametrize("method", ["write", "close"])
def test_failing_upload_leaves_nothing(store, monkeypatch, method):
    """A driver's file that fails to write or to close is a ProviderError, and leaves no object."""
    driver, storage = store

    def fail(self, *_):
        self.closed = method == "close"
        raise RuntimeError("down")

    with monkeypatch.context() as patch, pytest.raises(ProviderError, match="down"):
        patch.setattr(objects._File, method, fail)
        storage.put(KEY, source(iter(LONG)))
    gc.collect()
    assert driver.store == {}


@pytest.mark.parametrize(
    "url",
    [
        *(
            "gs://",
            "gcs://",
            "abfs://",
            "abfss://",
            "az://",
            "oci://",
            "oss://",
            "gs:///folder",
            "gs://?x",
            "dir::gs://",
        ),
        *("s3a://", "simplecache::az://", "dir:///x::gs://", "abfs://@account.dfs.core.windows.net/x"),
    ],
)
def test_object_store_without_a_bucket(url):
    """A URL of an object store that names no bucket is refused when the store is made, by what it lacks."""
    with pytest.raises(InvalidInputError, match="bucket"):
        ArtifactStore(storage_provider=url)


def test_bucket_that_a_folder_names():
    """The bucket may be named by the folder that is put before the URL."""
    with objects.known_as("gs") as driver:
        storage = at("dir://bucket/folder::gs://")
        storage.put(KEY, source(iter(LONG)))
        assert set(driver.store) == {f"bucket/folder/{KEY}"}


# Copies that are only begun


@pytest.fixture
def no_pause(monkeypatch):
    """Return the list of pauses; they take no time."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("shown", [True, False], ids=["empty", "missing"])
@pytest.mark.parametrize("looks", [1, 2, 5])
def test_pending_copy_is_waited_for(store, no_pause, looks, shown):
    """A copy that the service has only begun is done when copy returns, so that its source may go."""
    driver, storage = store
    driver.looks, driver.shown = looks, shown
    storage.put(KEY, b"bytes")
    storage.copy(KEY, OTHER, 5)
    storage.delete([KEY])
    assert storage.get(OTHER) == b"bytes"
    assert keys(storage) == [OTHER]


@pytest.mark.parametrize("shown", [True, False], ids=["empty", "missing"])
def test_long_stream_over_pending_copies(store, no_pause, shown):
    """Where a long stream is moved to its name by copies that are only begun, its bytes are there in the end."""
    driver, storage = store
    driver.looks, driver.shown = 4, shown
    storage.put(KEY, source(iter(LONG)))
    assert storage.get(KEY) == b"".join(LONG)
    assert keys(storage) == [KEY]


@pytest.mark.parametrize("shown", [True, False], ids=["empty", "missing"])
def test_copy_that_is_never_done(store, no_pause, shown):
    """A copy that takes longer than a minute is an error, leaves no copy, and its source is still there."""
    driver, storage = store
    driver.looks, driver.shown = 10**9, shown
    storage.put(KEY, b"bytes") if storage._folder._is_object_store else driver.store.update(
        {f"bucket/folder/{KEY}": b"bytes"}
    )
    with pytest.raises(ProviderError, match="not complete"):
        storage.copy(KEY, OTHER, 5)
    assert 60 <= sum(no_pause) < 65
    driver.pending.clear()
    assert storage.get(KEY) == b"bytes"
    assert keys(storage) == [KEY]


def test_copy_without_lengths(monkeypatch):
    """Where a driver knows no length of a file, a copy is taken for whole."""
    with objects.known_as("gs") as driver:
        storage = at("gs://bucket/folder")
        storage.put(KEY, b"bytes")
        monkeypatch.setattr(driver, "info", lambda *_, **__: {"size": None, "type": "file"})
        storage.copy(KEY, OTHER, 5)
        assert storage.get(OTHER) == b"bytes"


def test_failed_copy_leaves_what_was_there(store):
    """A copy of nothing does not touch the object that it was to replace."""
    _, storage = store
    storage.put(OTHER, b"there")
    with pytest.raises(ObjectMissingError):
        storage.copy(KEY, OTHER, 5)
    assert storage.get(OTHER) == b"there"


# Errors of drivers


class _Broken:
    """A file of a driver, with one method that fails."""

    def __init__(self, file, method):
        self._file, self._method = file, method

    def __getattr__(self, name):
        return self._fail if name == self._method else getattr(self._file, name)

    def _fail(self, *_):
        raise self._error

    _error = RuntimeError("down")


class _Gone(_Broken):
    """A file of a driver that is gone when one method is called."""

    _error = FileNotFoundError("down")


READS = {
    "readinto": lambda file: file.read(),
    "tell": lambda file: file.raw.tell(),
    "seek": lambda file: file.raw.seek(0, 2),
    "close": lambda file: file.close(),
}


@pytest.mark.parametrize("broken", [_Broken, _Gone])
@pytest.mark.parametrize("method", READS)
def test_errors_of_a_driver_s_reader(monkeypatch, method, broken):
    """Whatever a driver's file raises while it is read, moved, asked and closed is a ProviderError; it is closed."""
    storage = at(f"memory://{uuid.uuid4().hex}")
    storage.put(KEY, b"bytes")
    file = storage.open(KEY, 5)
    monkeypatch.setattr(file.raw, "_file", broken(file.raw._file, method))
    with pytest.raises(ProviderError, match="down") as caught:
        READS[method](file)
    assert not isinstance(caught.value, ObjectMissingError)
    monkeypatch.undo()
    file.close()
    assert file.closed


def test_file_in_the_place_of_a_folder():
    """A file where a folder should be is an error of the provider, and no sign that the key is taken."""
    storage = at(f"memory://{uuid.uuid4().hex}")
    storage.put("grid/box", b"a file")
    for data in (b"x", source(iter([b"x"]))):
        with pytest.raises(ProviderError) as caught:
            storage.put(KEY, data)
        assert not isinstance(caught.value, ObjectExistsError)


def test_now_of_a_driver_without_times():
    """Where a driver has no times of writing, the clock is the one of this machine."""
    with objects.known_as("gs") as driver:
        driver.times = False
        before = time.time()
        assert before <= at("gs://bucket").now() <= time.time()
        assert driver.store == {}


@pytest.mark.parametrize("thorough", [False, True])
def test_check_leaves_nothing(urls, thorough):
    """Neither a check nor a look at the clock leaves a file in the root."""
    storage = at(urls("root"))
    assert storage.check(thorough=thorough) == {}
    storage.now()
    storage.put(KEY, b"x")
    names = storage._folder.fs.ls(storage._folder.root, detail=False)
    assert [os.path.basename(name.rstrip("/")) for name in names] == ["grid"]
    storage.close()


# Interrupts


@pytest.fixture
def short_streams(monkeypatch):
    """Have a stream of a few bytes be long."""
    monkeypatch.setattr(url_storage, "_SPOOL_BYTES", 4)


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("protocol", ["memory", "objects", "gs", "dir://in::file", asynchronous.PROTOCOL])
def test_interrupted_calls(protocol, tmp_path):
    """A call that is interrupted at any line leaves a storage that works, for other threads too."""
    with objects.known_as("gs"), objects.known_as("objects"):
        url = f"{protocol}://{tmp_path}/{uuid.uuid4().hex}"
        url = url.replace(":///", "://") if protocol == "gs" else url
        calls = {
            "put": lambda storage: storage.put(OTHER, b"short"),
            "stream": lambda storage: storage.put(OTHER, source(iter([b"long", b"er"]))),
            "get": lambda storage: storage.get(KEY),
            "open": lambda storage: storage.open(KEY, 5).close(),
            "copy": lambda storage: storage.copy(KEY, OTHER, 5),
            "delete": lambda storage: storage.delete([OTHER]),
            "list": lambda storage: list(storage.list_objects("grid/")),
            "now": lambda storage: storage.now(),
        }
        at(url).put(KEY, b"there")
        for name, call in calls.items():
            fresh = [at(url)]  # which connects in the interrupted call
            for place in interrupted(lambda call=call, fresh=fresh: call(fresh[-1])):
                assert in_thread(lambda fresh=fresh: fresh[-1].get(KEY)) == b"there", (name, place)
                assert fresh[-1].get(KEY) == b"there", (name, place)
                fresh[-1].put(KEY, source(iter([b"th", b"er", b"e"])))
                fresh.append(at(url))


def in_thread(call):
    """Return what a call in another thread returns, which must not take long."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(30)


@pytest.mark.usefixtures("short_streams")
@pytest.mark.parametrize("protocol", ["memory", "objects", "dir://in::file"])
def test_interrupted_stream_leaves_no_temporary_file(protocol, tmp_path):
    """A stream that is interrupted at any line of its writing leaves no file under a temporary name."""
    with objects.known_as("objects"):
        url = f"{protocol}://{tmp_path}/{uuid.uuid4().hex}"
        storage = at(url)
        storage.put(KEY, b"there")
        for place in interrupted(lambda: storage.put(OTHER, source(iter([b"long", b"er"])))):
            assert set(keys(storage)) <= {KEY, OTHER}, place
            storage.delete([OTHER])


def test_interrupted_connection_is_not_used_again(ftp_host, monkeypatch):
    """After a call that was interrupted in the midst of an answer, the same thread reads and writes as before."""
    storage = at(f"ftp://{USER}:{PASSWORD}@{ftp_host}/{uuid.uuid4().hex}")
    storage.put(KEY, b"x" * 100_000)
    storage.put(OTHER, b"other")
    real = ftplib.FTP.retrbinary

    def interrupt(self, command, callback, *arguments, **options):
        def first(data):
            raise Interrupt

        return real(self, command, first, *arguments, **options)

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(Interrupt):
            patch.setattr(ftplib.FTP, "retrbinary", interrupt)
            storage.get(KEY)
        assert storage.get(OTHER) == b"other"
        assert len(storage.get(KEY)) == 100_000
    storage.close()


def test_closed_storage_is_not_connected():
    """A storage is connected from its first call to its close."""
    storage = at(f"memory://{uuid.uuid4().hex}")
    assert not storage.connected
    storage.stat(KEY)
    assert storage.connected
    storage.close()
    assert not storage.connected
    assert fsspec.filesystem("memory") is not None


@pytest.mark.parametrize("size", [12 * MIB, 13 * MIB])
def test_object_that_is_replaced_while_it_is_read(monkeypatch, size):
    """A reader of an object store whose driver names versions gives bytes of one object only."""
    with objects.known_as("gs") as driver:
        info = driver.info
        versions = lambda self, path, **_: {**info(self, path), "etag": hash(self._found(path))}  # noqa: E731
        monkeypatch.setattr(driver, "info", versions)
        storage = at("gs://bucket/folder")
        storage.put(KEY, b"a" * (12 * MIB))
        (path,) = driver.store
        with storage.open(KEY, 12 * MIB) as reader:
            assert reader.read() == b"a" * (12 * MIB)
        with storage.open(KEY, 12 * MIB) as reader:
            reader.read(10)
            driver.store[path] = b"b" * size
            with pytest.raises(ArtifactCorruptedError, match="replaced"):
                while reader.read(MIB):
                    pass
        storage.close()


@pytest.mark.parametrize("name", ["memory", "filesystem"])
def test_open_readers_keep_their_object(tmp_path, name):
    """In memory and on disk an open reader stays with the bytes that it was opened on."""
    storage = open_bucket({"storage_provider": name if name == "memory" else f"file://{tmp_path}"})
    storage.put(KEY, b"a" * (3 * MIB))
    with storage.open(KEY, 3 * MIB) as reader:
        reader.read(10)
        storage.put(KEY, b"b" * (3 * MIB))
        assert reader.read() == b"a" * (3 * MIB - 10)
    storage.close()
