"""Archives beyond what a store is usually given: many files, long ones, and names that were taken."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import pytest

from chuk_artifacts import ArtifactStore
from chuk_artifacts.operations import archiving
from chuk_artifacts.operations.archiving import Names, safe_name

MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        yield store


def test_memory_is_bounded(store):
    """An archive of a file of 64 MiB takes a few MiB of memory, whether the file is deflated or stored."""
    for mime in ("text/plain", "video/mp4"):
        store.store((b"x" * MIB for _ in range(64)), filename=mime, mime=mime, session_id="alice")
    sum(map(len, store.archive("alice", prefix="missing")))
    tracemalloc.start()
    try:
        size = sum(map(len, store.archive("alice")))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 64 * MIB
    assert most < 8 * MIB


def test_many_files(store, monkeypatch):
    """An archive of more than 65,535 files uses ZIP64, and each file has a name of its own."""
    store.store(b"abc", filename="a.png", session_id="alice")
    (record,) = store.list_by_session("alice")
    monkeypatch.setattr(archiving, "pages", lambda *_, **__: iter([record] * 65_600))
    monkeypatch.setattr(archiving, "open_record", lambda *_: (record, io.BytesIO(b"abc")))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(store.archive("alice"))))
    assert len(set(archive.namelist())) == 65_600
    assert archive.read("a (65600).png") == b"abc"


def test_long_file_uses_zip64(store, monkeypatch):
    """The length in the record decides whether a file is described in the fields of ZIP64, which some can't read."""
    store.store(b"abc", filename="a.mp4", session_id="alice")
    (record,) = store.list_by_session("alice")

    def content(*_):
        yield b"abc"

    monkeypatch.setattr(archiving, "chunks_of", content)
    for size, version in ((3, 20), (2**32, 45)):
        monkeypatch.setattr(archiving, "pages", lambda *_, size=size, **__: iter([record.changed(bytes=size)]))
        monkeypatch.setattr(archiving, "open_record", lambda _, listed: (listed, io.BytesIO()))
        data = b"".join(store.archive("alice"))
        assert data[4:6] == version.to_bytes(2, "little")
        assert zipfile.ZipFile(io.BytesIO(data)).read("a.mp4") == b"abc"


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("a/b.txt", "a/b.txt"),
        ("../a", "_/a"),
        ("a/../../b", "a/_/_/b"),
        ("/etc/passwd", "etc/passwd"),
        ("\\\\host\\share\\a", "host/share/a"),
        ("C:\\x", "C_/x"),
        ("c:x", "c_x"),
        ("a/d:", "a/d_"),
        ("...", "..."),
        ("./a/.", "a"),
        ("//", "_"),
        ("", "_"),
        ("12:30.txt", "12:30.txt"),
    ],
)
def test_safe_name(filename, name):
    """A name is a relative path with slashes, without ``..`` and drives."""
    assert safe_name(filename) == name


def test_numbers_of_names():
    """A number that is taken is not given again; the number comes before the last extension of a file."""
    names = Names()
    given = ["a", "a (2)", "a", "a", "b/c.txt", "b", "b/d", "b/c.txt", "x.tar.gz", "x.tar.gz", ".x", ".x"]
    expected = ["a", "a (2)", "a (3)", "a (4)", "b/c.txt", "b (2)", "b/d", "b/c (2).txt", "x.tar.gz", "x.tar (2).gz"]
    assert [names.add(name) for name in given] == [*expected, ".x", ".x (2)"]
