"""How files are read: whole and verified, or by ranges."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import threading
import urllib.request
import zipfile

import fsspec
import pytest
from fsspec.caching import caches

from chuk_artifacts import ArtifactCorruptedError, ArtifactNotFoundError, InvalidInputError
from chuk_artifacts.filesystem import ArtifactFileSystem

PATH = "alice/docs/a.bin"
DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _file(fs):
    """Store a file."""
    fs.pipe_file(PATH, DATA)


def test_range(fs):
    """A range is what the slice of the bytes is."""
    starts = [None, 0, 1, 255, 10239, 10240, 99999, -1, -10240, -99999]
    ends = [None, 0, 1, 256, 10240, 99999, -1, -10240, -99999]
    for start, end in itertools.product(starts, ends):
        assert fs.cat_file(PATH, start, end) == DATA[start:end]
        assert fs.cat_ranges([PATH], start, end) == [DATA[start:end]]


def test_whole_file_is_verified(fs, store):
    """A whole file whose bytes were altered raises; get_file leaves no local file behind."""
    key = store.metadata(fs.info(PATH)["artifact_id"]).key
    store.scope.core.storage.put(key, b"x" * len(DATA))
    with pytest.raises(ArtifactCorruptedError):
        fs.cat_file(PATH)


def test_cat_ranges(fs):
    """Ranges of several files come in the order in which they were asked for, errors in their places."""
    fs.pipe_file("alice/b", b"0123456789")
    got = fs.cat_ranges([PATH, "alice/b", "alice/none", f"artifact://{PATH}"], [0, 2, 0, -3], [4, -2, 1, None])
    assert got[:2] == [DATA[:4], b"234567"]
    assert isinstance(got[2], ArtifactNotFoundError)
    assert got[3] == DATA[-3:]
    with pytest.raises(ArtifactNotFoundError):
        fs.cat_ranges(["alice/none"], 0, 1, on_error="raise")
    with pytest.raises(NotImplementedError):
        fs.cat_ranges([PATH], 0, 1, max_gap=5)
    with pytest.raises(InvalidInputError):
        fs.cat_ranges(PATH, 0, 1)
    with pytest.raises(ValueError, match="length"):
        fs.cat_ranges([PATH], [0, 1], [1, 2])


def test_cat_ranges_of_one_file(fs):
    """Any number of ranges of a file, in any order and twice too, are what the slices are."""
    bounds = [(begin * 37 % len(DATA), begin * 101 % len(DATA)) for begin in range(200)] * 2
    starts, ends = ([*bound] for bound in zip(*bounds, strict=True))
    assert fs.cat_ranges([PATH] * len(bounds), starts, ends) == [DATA[start:end] for start, end in bounds]
    assert fs.cat_ranges([], [], []) == []


@pytest.mark.parametrize("of_one_file", [True, False])
def test_cat_ranges_side_by_side(fs, store, monkeypatch, of_one_file):
    """Where a storage is far away ranges are read at once, of one file and of several; where it is near one by one."""
    storage = store.scope.core.storage
    meeting, open_one, threads = threading.Barrier(4 if storage.remote else 1), storage.open, set()

    def open_together(*args, **options):
        meeting.wait(timeout=5)
        threads.add(threading.current_thread())
        return open_one(*args, **options)

    monkeypatch.setattr(storage, "open", open_together)
    paths = [PATH if of_one_file else f"alice/{number}" for number in range(4)]
    fs.pipe(dict.fromkeys(paths, DATA))
    assert fs.cat_ranges(paths, 1, 3) == [DATA[1:3]] * 4
    assert storage.remote or threads == {threading.current_thread()}


def test_cat_ranges_when_some_fail(fs, store):
    """An error is in the place of each range that it concerns, or the first is raised; the others come all the same."""
    fs.pipe("alice/b", b"0123456789")
    store.scope.core.storage.put(store.metadata(fs.info(PATH)["artifact_id"]).key, b"other")
    paths = ["alice/b", PATH, "alice/none", "alice/docs", PATH, "alice/b"]
    got = fs.cat_ranges(paths, [0, 0, 0, 0, 5, 8], 10)
    kinds = [ArtifactCorruptedError, ArtifactNotFoundError, IsADirectoryError, ArtifactCorruptedError]
    assert [type(error) for error in got[1:-1]] == kinds
    assert (got[0], got[-1]) == (b"0123456789", b"89")
    with pytest.raises(ArtifactCorruptedError):
        fs.cat_ranges(paths, 0, 1, on_error="raise")
    with pytest.raises(ArtifactNotFoundError):
        fs.cat_ranges(paths[2:], 0, 1, on_error="raise")


def test_reader(fs):
    """A file that is read is seekable, and knows what fsspec's users ask of it."""
    with fs.open(PATH) as file:
        assert (file.size, file.path, file.mode, file.fs) == (len(DATA), PATH, "rb", fs)
        assert file.full_name == f"artifact://{PATH}"
        assert [file.info()] == [file.details] == fs.ls(PATH)
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.read(3) == DATA[:3]
        assert file.tell() == 3
        assert file.seek(-4, os.SEEK_END) == len(DATA) - 4
        assert file.read() == file.read1() + DATA[-4:]
        file.seek(10)
        buffer = bytearray(5)
        assert file.readinto(buffer) == 5
        assert bytes(buffer) == DATA[10:15]
        file.seek(0)
        assert file.read(None) == DATA
        assert "a.bin" in repr(file)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()
    file.close()


def test_lines(fs):
    """A file is read by lines, as bytes and as text."""
    fs.pipe_file("alice/lines", "ä\nb\nc".encode())
    with fs.open("alice/lines") as file:
        assert file.readline() == "ä\n".encode()
        assert list(file) == [b"b\n", b"c"]
    with fs.open("alice/lines", "rt") as file:
        assert list(file) == ["ä\n", "b\n", "c"]
    assert fs.read_text("alice/lines", encoding="utf-8") == "ä\nb\nc"
    assert fs.head("alice/lines", 2) == "ä".encode()
    assert fs.tail("alice/lines", 1) == b"c"
    assert fs.read_block("alice/lines", 1, 3, delimiter=b"\n") == b"b\n"


def test_reader_keeps_its_revision(fs):
    """Who has opened a file reads it to its end as it was, whatever is written meanwhile."""
    with fs.open(PATH) as file:
        begin = file.read(100)
        fs.pipe_file(PATH, b"other")
        assert begin + file.read() == DATA
    assert fs.cat_file(PATH) == b"other"


def test_revision(fs, store, clock):
    """A file opened with a revision reads that content, also after pickling; its info describes it."""
    artifact_id = store.store(b"first\n", filename="a.txt", session_id="alice", keep_versions=1)
    fs.pipe_file("alice/a.txt", b"second, longer\n", mime="text/x-second")
    with fs.open("alice/a.txt", revision=1) as file:
        assert (file.size, file.read(), file.details["mime"]) == (6, b"first\n", "text/plain")
        assert file.seek(0, 2) == 6
    with fs.open("alice/a.txt", "rt", revision=1) as file:
        assert file.read() == "first\n"
    with fs.open("alice/a.txt", revision=2) as file:
        assert file.read() == b"second, longer\n"
    versions = fs.info("alice/a.txt")["versions"]
    assert versions == [dict(version) for version in store.versions(artifact_id)]
    assert [version["revision"] for version in versions] == [2, 1]
    with pytest.raises(FileNotFoundError):
        fs.open("alice/a.txt", revision=3)
    for wrong in (0, True, "1", 1.0):
        with pytest.raises(InvalidInputError, match="revision"):
            fs.open("alice/a.txt", revision=wrong)
    for mode in ("wb", "xb", "ab", "w"):
        with pytest.raises(InvalidInputError, match="revision"):
            fs.open("alice/a.txt", mode, revision=1)
    assert fs.cat("alice/a.txt") == b"second, longer\n"


def test_all_that_reads_takes_a_revision(fs, store, clock, tmp_path):
    """Each method that reads files reads the content of a revision, or raises where that is not kept."""
    store.store(b"first", filename="d/a.txt", session_id="alice", keep_versions=1)
    fs.pipe_file("alice/d/a.txt", b"second, longer")
    reads = {
        "cat_file": lambda revision: fs.cat_file("alice/d/a.txt", revision=revision),
        "cat_file of a range": lambda revision: fs.cat_file("alice/d/a.txt", 0, 99, revision=revision),
        "cat": lambda revision: fs.cat("alice/d/a.txt", revision=revision),
        "cat of several": lambda revision: fs.cat(["alice/d/a.txt"], revision=revision)["alice/d/a.txt"],
        "cat_ranges": lambda revision: fs.cat_ranges(["alice/d/a.txt"], 0, 99, on_error="raise", revision=revision)[0],
        "read_bytes": lambda revision: fs.read_bytes("alice/d/a.txt", revision=revision),
        "get_file": lambda revision: _got(tmp_path / "one", fs.get_file, "alice/d/a.txt", revision),
        "get": lambda revision: _got(tmp_path / "two", fs.get, "alice/d/a.txt", revision),
        "get of a folder": lambda revision: _got(
            tmp_path / f"{revision}" / "a.txt", fs.get, "alice/d", revision, tmp_path / f"{revision}"
        ),
        "get_file into a file": lambda revision: _written(fs, revision),
    }
    for name, read in reads.items():
        assert (name, read(1), read(2), read(None)) == (name, b"first", b"second, longer", b"second, longer")
        with pytest.raises(FileNotFoundError):
            read(3)
        for wrong in (0, True, "1"):
            with pytest.raises(InvalidInputError, match="revision"):
                read(wrong)


def _got(written, get, path, revision, target=None):
    """Return what a method that copies to the local disk writes."""
    get(path, str(target or written), recursive=target is not None, revision=revision)
    return written.read_bytes()


def _written(fs, revision):
    file = io.BytesIO()
    fs.get_file("alice/d/a.txt", file, revision=revision)
    return file.getvalue()


def test_lost_bytes_of_a_revision_are_not_replaced(fs, store, clock, tmp_path):
    """Where the bytes of a requested revision are gone, reading raises, and does not return those of a later one."""
    store.store(b"first", filename="a.txt", session_id="alice", keep_versions=1)
    key = store.metadata(fs.info("alice/a.txt")["artifact_id"]).key
    fs.pipe_file("alice/a.txt", b"second, longer")
    store.scope.core.storage.delete([key])
    for read in (
        lambda: fs.cat_file("alice/a.txt", revision=1),
        lambda: fs.cat_file("alice/a.txt", 0, 3, revision=1),
        lambda: fs.cat_ranges(["alice/a.txt"], 0, 3, on_error="raise", revision=1),
        lambda: fs.open("alice/a.txt", revision=1),
        lambda: fs.get_file("alice/a.txt", str(tmp_path / "a"), revision=1),
        lambda: fs.get_file("alice/a.txt", io.BytesIO(), revision=1),
    ):
        with pytest.raises(ArtifactNotFoundError):
            read()
    assert fs.cat_file("alice/a.txt", revision=2) == b"second, longer"


@pytest.mark.parametrize("size", [0, 1, 65536, 65537])
def test_a_small_file_is_read_once_and_verified(fs, store, monkeypatch, size):
    """A file of at most 64 KiB is read whole and verified when it is opened; a longer one is read on demand."""
    data = os.urandom(size)
    fs.pipe_file("alice/a", data)
    storage, calls = store.scope.core.storage, []
    for name in ("get", "open"):
        method = getattr(storage, name)
        monkeypatch.setattr(
            storage,
            name,
            lambda *args, name=name, method=method, **options: (calls.append(name), method(*args, **options))[1],
        )
    with fs.open("alice/a") as file:
        assert (file.read(10), file.seek(0), file.read(), file.size) == (data[:10], 0, data, size)
        assert (file.details["size"], file.details["name"]) == (size, "alice/a")
    assert calls[0] == ("get" if size <= 65536 else "open")
    if size:
        storage.put(store.metadata(fs.info("alice/a")["artifact_id"]).key, bytes(size))
    if 0 < size <= 65536 and data != bytes(size):
        with pytest.raises(ArtifactCorruptedError):
            fs.open("alice/a")


def test_reader_of_a_revision_pickles(tmp_path):
    """A pickled reader of a revision reads that revision on, where it stood."""
    fs = ArtifactFileSystem(storage_provider="filesystem", fs_root=str(tmp_path / "kept"))
    fs.pipe_file("alice/a.txt", b"first")
    fs.pipe_file("alice/a.txt", b"second")
    with fs.open("alice/a.txt", revision=1) as file:
        file.seek(2)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.read() == b"rst"


def test_get_file_into_a_folder(fs, tmp_path):
    """In a folder the file has the artifact's name, and replaces no file that has it."""
    fs.pipe_file("alice/docs/.bashrc", b"theirs")
    fs.get_file("alice/docs/.bashrc", str(tmp_path / "new" / "named"))
    (tmp_path / "folder").mkdir()
    fs.get_file("alice/docs/.bashrc", str(tmp_path / "folder"))
    assert (tmp_path / "folder" / ".bashrc").read_bytes() == b"theirs"
    (tmp_path / "folder" / ".bashrc").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        fs.get_file("alice/docs/.bashrc", str(tmp_path / "folder"))
    assert (tmp_path / "folder" / ".bashrc").read_bytes() == b"mine"


def test_get_file(fs, tmp_path):
    """A file is downloaded whole, with its parent folders, and a callback counts each byte."""
    callback = fsspec.callbacks.Callback()
    fs.get_file(PATH, tmp_path / "new" / "a.bin", callback=callback)
    assert (tmp_path / "new" / "a.bin").read_bytes() == DATA
    assert callback.size == callback.value == len(DATA)
    into, callback = io.BytesIO(), fsspec.callbacks.Callback()
    fs.get_file(PATH, into, callback=callback)
    fs.get_file(PATH, outfile=into)
    assert into.getvalue() == DATA * 2
    assert callback.value == len(DATA)
    fs.get_file("alice/docs", tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()
    with pytest.raises(ArtifactNotFoundError):
        fs.get_file("alice/none", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(IsADirectoryError):
        fs.get_file("alice/docs", into)


def test_get_stays_in_its_folder(fs, store, tmp_path):
    """No filename makes a recursive get write outside its target."""
    store.store(b"x", filename="docs/...", session_id="alice")
    store.store(b"x", filename="docs/..x/y", session_id="alice")
    fs.get("alice/docs", str(tmp_path / "in"), recursive=True)
    inside = tmp_path / "in"
    written = sorted(path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file())
    assert written == ["...", "..x/y", "a.bin"]
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "store"}


def test_sign(fs, store):
    """A signed URL downloads the file, by whatever signs for the store."""
    url = fs.sign(PATH, expiration=60)
    if store.get_stats()["storage_provider"] == "s3":
        assert "X-Amz-Expires=60" in url
        return
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == DATA


def test_mapper(fs):
    """A folder is a mapping of its files."""
    mapping = fs.get_mapper("alice/docs")
    mapping["b/c"] = b"1"
    assert dict(mapping) == {"a.bin": DATA, "b/c": b"1"}
    assert mapping.getitems(["b/c", "none"], on_error="omit") == {"b/c": b"1"}
    assert "none" not in mapping
    del mapping["b/c"]
    with pytest.raises(KeyError):
        mapping["b/c"]


def test_local_caches(fs, store, tmp_path):
    """The local caches of fsspec keep a copy, and fetch again what has changed."""
    options = {"artifact": {"store": store}, "filecache": {"cache_storage": str(tmp_path), "check_files": True}}
    for content in (b"1", b"2"):
        fs.pipe_file("alice/c", content)
        with fsspec.open("filecache::artifact://alice/c", **options) as file:
            assert file.read() == content


def test_chains(fs, store):
    """A file inside an archive that is an artifact is opened by one URL."""
    with fs.open("alice/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner.txt", "x")
    with fsspec.open("zip://inner.txt::artifact://alice/a.zip", artifact={"store": store}) as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", ["none", "readahead", "blockcache", "bytes", "all", "background", "mmap"])
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by fsspec's MMapCache
def test_cache_that_is_set(fs, name):
    """A file is read through each of fsspec's caches that is set as its own, from where it is."""
    data = bytes(range(256)) * 400
    fs.pipe_file("alice/a", data)
    with fs.open("alice/a", block_size=1000) as file:
        assert (file.blocksize, file.size, file.loc) == (1000, len(data), 0)
        assert file.cache._fetch(10, 20) == data[10:20]
        file.seek(300)
        file.cache = caches[name](file.blocksize, file._fetch_range, file.size)
        assert file.read(10) == data[300:310]
        assert file.seek(-5, 2) == len(data) - 5
        assert file.read() == data[-5:]
        file.loc = 255
        assert file.read1(3) == data[255:258]
        assert file.readinto(bytearray(5000)) == 5000
        file.seek(0)
        assert file.read() == data
        file.seek(len(data) + 10)
        assert file.read() == b""
        with pytest.raises(ValueError, match="negative seek"):
            file.seek(-1)
    assert file.closed


@pytest.mark.parametrize("size", [-1, "x", 1.5])
def test_bad_block_size(fs, size):
    """A size that no block can have is refused."""
    fs.pipe_file("alice/a", b"x")
    with pytest.raises(InvalidInputError, match="block_size"):
        fs.open("alice/a", block_size=size)
