"""What becomes of files that are written: all of it when they are closed, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
import pickle
import tempfile
import threading
import zipfile

import fsspec
import pytest

from chuk_artifacts import ArtifactStore, ConflictError, QuotaExceededError
from chuk_artifacts.filesystem import ArtifactFileSystem, files

PATH = "alice/docs/a.txt"


class BodyError(Exception):
    """What goes wrong in a with block."""


@pytest.fixture(autouse=True)
def _small_spool(monkeypatch):
    """Let a file of more than 100 bytes go through a temporary file."""
    monkeypatch.setattr(files, "_SPOOL_BYTES", 100)


@pytest.mark.parametrize("size", [0, 10, 1000, 3_000_000])
def test_written_bytes_come_back(fs, size):
    """What is written piece by piece is read, from the moment when the file is closed."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    with fs.open(PATH, "wb") as file:
        for begin in range(0, size, 700_001):
            assert file.write(memoryview(data)[begin : begin + 700_001]) == len(data[begin : begin + 700_001])
        assert file.tell() == size
        file.flush()
        assert not fs.exists(PATH)
    assert file.closed
    assert fs.cat_file(PATH) == data


def test_writing_a_path_again_makes_a_revision(fs, store):
    """Every way to write to an existing path makes a new revision of its artifact, and keeps what describes it."""
    artifact_id = store.store(b"1", filename="docs/a.txt", session_id="alice", summary="s", meta={"k": 1})
    with fs.open(PATH, "wb") as file:
        file.write(b"2")
    fs.pipe_file(PATH, b"3")
    with fs.open(PATH, "ab") as file:
        file.write(b"4")
    fs.pipe_file("alice/b", b"5")
    fs.cp_file("alice/b", PATH, mime="ignored")
    (artifact,) = store.list_files("alice", "docs/")
    assert artifact.artifact_id == artifact_id
    assert artifact.revision == 5
    assert fs.cat_file(PATH) == b"5"
    fs.touch(PATH)
    assert fs.info(PATH)["revision"] == 6
    assert fs.size(PATH) == 0


def test_description_of_what_is_written(fs, store):
    """What a store knows of an artifact can be given where it is written."""
    with fs.open(PATH, "w", mime="text/csv", summary="s", meta={"k": 1}, ttl=60) as file:
        file.write("x")
    fs.pipe_file("alice/b", b"", mime="text/csv", block_size=5)
    artifact = store.metadata(fs.info(PATH)["artifact_id"])
    assert (artifact.mime, artifact.summary, artifact.meta, artifact.ttl) == ("text/csv", "s", {"k": 1}, 60)
    assert fs.info("alice/b")["mime"] == "text/csv"


def opened_by_filesystem(fs, mode, compression):
    """Open as the filesystem does."""
    return fs.open(PATH, mode, compression=compression)


def opened_by_url(fs, mode, compression):
    """Open as fsspec does, by a URL."""
    return fsspec.open(f"artifact://{PATH}", mode, compression=compression, store=fs.store)


@contextlib.contextmanager
def opened_in_generator(fs, mode, compression):
    """Open in another context manager, which closes without passing the error."""
    file = fs.open(PATH, mode, compression=compression)
    try:
        yield file
    finally:
        file.close()


@contextlib.contextmanager
def opened_on_stack(fs, mode, compression):
    """Open on a stack of context managers."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(fs.open(PATH, mode, compression=compression))


WAYS = [opened_by_filesystem, opened_by_url, opened_in_generator, opened_on_stack]


@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("compression", [None, "gzip", "zip"])
@pytest.mark.parametrize("mode", ["wb", "w", "xb", "a"])
@pytest.mark.parametrize("way", WAYS)
def test_discarded_when_the_body_raises(fs, store, way, mode, compression, before):
    """When the with block raises, nothing is written, however the file was opened, and the error is the block's own."""
    if before is not None and "x" not in mode:
        fs.pipe_file(PATH, before)
    objects = list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern()))
    with pytest.raises(BodyError), way(fs, mode, compression) as file:
        file.write(b"half" * 100 if "b" in mode else "half" * 100)
        raise BodyError
    assert fs.exists(PATH) == (before is not None and "x" not in mode)
    if fs.exists(PATH):
        assert fs.cat_file(PATH) == before
        assert fs.info(PATH)["revision"] == 1
    assert list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern())) == objects


@pytest.mark.parametrize("compression", [None, "gzip", "zip"])
@pytest.mark.parametrize("mode", ["wb", "wt", "xb"])
@pytest.mark.parametrize("way", WAYS)
def test_written_when_the_body_ends(fs, way, mode, compression):
    """When the with block ends, the file exists, however it was opened, and reads as it was written."""
    with way(fs, mode, compression) as file:
        file.write(b"whole\n" * 100 if "b" in mode else "whole\n" * 100)
    assert fs.info(PATH)["revision"] == 1
    with fs.open(PATH, "rb", compression=compression) as file:
        assert file.read() == b"whole\n" * 100
    if compression == "gzip":
        assert gzip.decompress(fs.cat_file(PATH)) == b"whole\n" * 100


def test_compression_is_inferred(fs):
    """Compression can follow from the filename."""
    with fs.open("alice/a.gz", "wt", compression="infer") as file:
        file.write("x")
    assert gzip.decompress(fs.cat_file("alice/a.gz")) == b"x"
    with fs.open("alice/a.gz", "rt", compression="infer") as file:
        assert file.read() == "x"


def test_failed_commit(fs, monkeypatch):
    """When the store fails the close raises, and the file is closed all the same."""
    file = fs.open(PATH, "wb")
    file.write(b"x" * 1000)

    def fail(*_args, **_options):
        raise BodyError

    monkeypatch.setattr(fs.store, "store", fail)
    with pytest.raises(BodyError):
        file.close()
    assert file.closed
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")


@pytest.mark.parametrize("write", ["pipe_file", "put_file", "open", "open late"])
def test_exclusive_write(fs, tmp_path, write):
    """An exclusive write makes a file once, and raises, and changes nothing, where there is one."""
    (tmp_path / "local").write_bytes(b"x")

    def attempt():
        if write == "pipe_file":
            fs.pipe_file(PATH, b"x", mode="create")
        elif write == "put_file":
            fs.put_file(tmp_path / "local", PATH, mode="create")
        else:
            with fs.open(PATH, "xb") as file:
                file.write(b"x")

    if write == "open late":
        with pytest.raises(FileExistsError), fs.open(PATH, "xb") as file:
            file.write(b"late")
            fs.pipe_file(PATH, b"x")
    else:
        attempt()
    with pytest.raises(FileExistsError):
        attempt()
    assert fs.cat_file(PATH) == b"x"
    assert fs.info(PATH)["revision"] == 1


@pytest.mark.parametrize("exclusive", [True, False])
def test_writers_at_once_make_one_artifact(fs, store, exclusive):
    """Of exclusive writers at once one succeeds; others make revisions of one artifact."""
    barrier, won = threading.Barrier(8), []

    def write(number):
        barrier.wait()
        with contextlib.suppress(FileExistsError):
            fs.pipe_file(PATH, bytes([number]), mode="create" if exclusive else "overwrite")
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (artifact,) = store.list_by_session("alice")
    assert len(won) == artifact.revision == (1 if exclusive else 8)


def test_append(fs):
    """What is appended stands behind what is there, and a missing file begins empty."""
    for number in range(3):
        with fs.open(PATH, "ab") as file:
            assert file.tell() == 200 * number
            assert not file.seekable()
            with pytest.raises(io.UnsupportedOperation):
                file.seek(0)
            file.write(bytes([number]) * 200)
            assert file.tell() == 200 * (number + 1)
    assert fs.cat_file(PATH) == bytes(200) + b"\1" * 200 + b"\2" * 200


def test_appends_at_once_lose_nothing(fs):
    """Concurrent appends lose no line and tear none."""
    barrier = threading.Barrier(8)

    def append(number):
        barrier.wait()
        for line in range(5):
            with fs.open(PATH, "a") as file:
                file.write(f"{number}-{line}\n")

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = fs.read_text(PATH).splitlines()
    assert sorted(lines) == sorted(f"{number}-{line}" for number in range(8) for line in range(5))


def test_seek_while_writing(fs):
    """A file that is written can be gone back in, as archives need it."""
    with fs.open("alice/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner.txt", "x" * 1000)
    with fs.open("alice/a.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("inner.txt") == b"x" * 1000
    with fs.open(PATH, "wb") as file:
        file.write(b"0123456789")
        assert file.seek(-5, io.SEEK_END) == 5
        file.write(b"x")
        assert file.tell() == 6
    assert fs.cat_file(PATH) == b"01234x6789"


def test_text(fs):
    """A text file has an encoding, an error handler and newlines."""
    with fs.open(PATH, "wt", encoding="utf-16-le", newline="\r\n") as file:
        file.write("ü\n")
    assert fs.cat_file(PATH) == "ü\r\n".encode("utf-16-le")
    with fs.open(PATH, "rt", encoding="utf-16-le") as file:
        assert file.readlines() == ["ü\n"]
    fs.write_text("alice/b", "ä", encoding="latin-1")
    assert fs.cat_file("alice/b") == b"\xe4"


def test_writer_does_not_pickle(fs):
    """A file that is being written can't go to another process."""
    with fs.open(PATH, "wb") as file, pytest.raises(TypeError):
        pickle.dumps(file)


def test_transaction_commits_together(fs):
    """In a transaction nothing is seen before its end, and all afterwards."""
    with fs.transaction:
        fs.pipe_file("alice/a", b"1")
        with fs.open("alice/b", "xb") as file:
            file.write(b"2" * 1000)
        with tempfile.NamedTemporaryFile() as local:
            local.write(b"3")
            local.flush()
            fs.put_file(local.name, "alice/c")
        with contextlib.suppress(BodyError), fs.open("alice/d", "wb") as file:
            file.write(b"half")
            raise BodyError
        assert fs.find("alice") == []
    assert fs.cat(["alice/a", "alice/b", "alice/c"]) == {"alice/a": b"1", "alice/b": b"2" * 1000, "alice/c": b"3"}
    assert not fs.exists("alice/d")
    fs.pipe_file("alice/e", b"after")
    assert fs.exists("alice/e")


def test_transaction_discards_together(fs):
    """A transaction that raises leaves nothing behind, and the filesystem works on."""
    with pytest.raises(BodyError), fs.transaction:
        fs.pipe_file("alice/a", b"1")
        with fs.open("alice/b", "wb") as file:
            file.write(b"2")
        raise BodyError
    assert fs.find("alice") == []
    fs.pipe_file("alice/a", b"after")
    assert fs.cat_file("alice/a") == b"after"


def test_put_tells_its_callback(fs, tmp_path):
    """A callback gets the size, and then every byte."""
    local = tmp_path / "local"
    local.write_bytes(b"x" * 2_500_000)
    callback = fsspec.callbacks.Callback()
    fs.put_file(local, PATH, callback=callback)
    assert callback.size == callback.value == 2_500_000
    assert fs.size(PATH) == 2_500_000
    fs.put_file(tmp_path, "alice/folder")
    assert fs.ls("alice/folder") == []
    with pytest.raises(FileNotFoundError):
        fs.put_file(tmp_path / "missing", PATH)
    assert fs.size(PATH) == 2_500_000


def test_touch_without_truncation(fs, clock):
    """A touch that does not truncate changes the time alone, and makes what is missing."""
    fs.touch(PATH, truncate=False)
    fs.pipe_file(PATH, b"x")
    ukey, modified = fs.ukey(PATH), fs.modified(PATH)
    clock.advance(60)
    fs.touch(PATH, truncate=False)
    assert fs.cat_file(PATH) == b"x"
    assert (fs.modified(PATH) - modified).total_seconds() == pytest.approx(60)
    assert fs.ukey(PATH) == ukey
    fs.pipe_file(PATH, b"y")
    assert fs.ukey(PATH) != ukey


def test_bytes_of_any_kind(fs):
    """Whole files can be given as whatever a store takes."""
    for value in (bytearray(b"x"), memoryview(b"x"), io.BytesIO(b"x"), iter([b"x"])):
        fs.pipe_file(PATH, value)
        assert fs.cat_file(PATH) == b"x"
    assert isinstance(fs, ArtifactFileSystem)


@pytest.mark.parametrize("kind", [bytes, io.BytesIO])
def test_deleted_while_it_is_overwritten(fs, store, monkeypatch, kind):
    """A file that another deletes while its new content is being written is made anew, with all of that content."""
    fs.pipe_file(PATH, b"old")
    catalog = store.scope.core.catalog
    replace = catalog.replace

    def delete_first(*arguments, **options):
        monkeypatch.undo()
        fs.rm(PATH)
        return replace(*arguments, **options)

    monkeypatch.setattr(catalog, "replace", delete_first)
    fs.pipe_file(PATH, kind(b"new"))
    assert fs.cat_file(PATH) == b"new"
    assert len(list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern()))) == 1


def test_created_while_a_stream_is_written(fs, store, monkeypatch):
    """A stream that can't be read twice is not stored half, or empty, when another makes the file meanwhile."""
    catalog = store.scope.core.catalog
    add = catalog.add

    def create_first(*arguments, **options):
        monkeypatch.undo()
        fs.pipe_file(PATH, b"theirs")
        return add(*arguments, **options)

    monkeypatch.setattr(catalog, "add", create_first)
    with pytest.raises(ConflictError):
        fs.pipe_file(PATH, iter([b"mine"]))
    assert fs.cat_file(PATH) == b"theirs"


@pytest.mark.parametrize(("limit", "scope"), [("max_artifact_bytes", "artifact"), ("max_session_bytes", "session")])
def test_writing_beyond_a_limit(limit, scope):
    """Whatever writes to a path is refused beyond a limit of the store, and changes nothing."""
    with ArtifactStore(**{limit: 10}) as store:
        fs = ArtifactFileSystem(store)
        fs.pipe_file(PATH, b"12345")
        writes = {
            "create": lambda: fs.pipe_file("alice/new", b"x" * 11),
            "exclusive": lambda: fs.pipe_file("alice/new", b"x" * 11, mode="create"),
            "replace": lambda: fs.pipe_file(PATH, b"x" * 11),
            "file": lambda: write(fs, "alice/new", b"x" * 11),
            "append": lambda: write(fs, PATH, b"x" * 6, "ab"),
        }
        for name, call in writes.items():
            with pytest.raises(QuotaExceededError) as caught:
                call()
            assert (caught.value.scope, caught.value.limit) == (scope, 10), name
        assert fs.cat_file(PATH) == b"12345"
        assert fs.find("alice") == [PATH]
        assert dict(store.usage()) == {"artifacts": 1, "bytes": 5}


def write(fs, path, data, mode="wb"):
    """Write a file by its file object."""
    with fs.open(path, mode) as file:
        file.write(data)
