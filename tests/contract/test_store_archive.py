"""What every store archives: each artifact of a session under a safe name of its own, in a ZIP."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime

import pytest
from orphans import core_of

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
)

SESSION = "user_alice"
TEXT = b"a line of text\n" * 1000
MIB = 1024 * 1024


def archived(store, *arguments, **options):
    """Return an archive, opened, with all its checksums verified."""
    archive = zipfile.ZipFile(io.BytesIO(b"".join(store.archive(*arguments, **options))))
    assert archive.testzip() is None
    return archive


def fill(store, names, session_id=SESSION):
    """Store a file under each name, which is its content."""
    store.store_batch([{"data": name.encode(), "filename": name} for name in names], session_id=session_id)


def test_archive(store, clock):
    """An archive has the filenames, contents and times of a session's artifacts, and of no other session."""
    clock.now = 1_800_000_001
    fill(store, ["a.txt", "docs/b.txt", "docs/deep/ü \U0001f600.txt"])
    fill(store, ["other.txt"], "user_bob")
    empty_id = store.store(b"", filename="empty", session_id=SESSION)
    clock.advance(3600)
    store.update_file(empty_id, filename="empty.txt")
    archive = archived(store, SESSION)
    contents = {info.filename: archive.read(info) for info in archive.infolist()}
    names = ["a.txt", "docs/b.txt", "docs/deep/ü \U0001f600.txt"]
    assert contents == {**{name: name.encode() for name in names}, "empty.txt": b""}
    moments = {info.filename: datetime(*info.date_time, tzinfo=UTC).timestamp() for info in archive.infolist()}
    assert moments == {**dict.fromkeys(names, 1_800_000_000), "empty.txt": 1_800_003_600}
    bound = store.session(SESSION)
    assert archived(bound).namelist() == archive.namelist()


def test_archive_of_a_prefix(store):
    """A prefix selects filenames, which stay whole."""
    fill(store, ["a", "docs/a", "docs/b", "docsify/x"])
    assert archived(store, SESSION, prefix="docs/").namelist() == ["docs/a", "docs/b"]
    assert archived(store, SESSION, prefix="missing").namelist() == []


def test_newest_of_a_name_keeps_it(store, clock):
    """Of several files with one filename the newest has that name in the archive, and the others numbers."""
    for number in range(4):
        store.store(f"{number}".encode(), filename="a.txt", session_id=SESSION)
        clock.advance(1)
    store.store(b"b", filename="b.txt", session_id=SESSION)
    archive = archived(store, SESSION)
    found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"a.txt": b"3", "a (2).txt": b"2", "a (3).txt": b"1", "a (4).txt": b"0", "b.txt": b"b"}


def test_archive_of_nothing(store):
    """An unknown session is an empty archive."""
    assert archived(store, "user_unknown").namelist() == []


def test_archive_has_the_current_contents(store, clock):
    """An archive has the current content of each artifact, and neither expired artifacts nor pending uploads."""
    artifact_id = store.store(b"first", filename="a", session_id=SESSION, keep_versions=5)
    store.update_file(artifact_id, data=b"second")
    store.store(b"gone", filename="b", session_id=SESSION, ttl=60)
    store.presign_upload(SESSION, filename="c")
    clock.advance(61)
    archive = archived(store, SESSION)
    assert {name: archive.read(name) for name in archive.namelist()} == {"a": b"second"}


def test_names_without_conflicts(store):
    """Files of one name are numbered before the extension; a folder does not share its name with a file."""
    names = ["a", "a", "a/b", "a/c", "b.tar.gz", "b.tar.gz", ".hidden", ".hidden", "c (2).txt", "c.txt", "c.txt", "d/x"]
    names += ["d/x", "e", "e/f/g", "e/f"]
    fill(store, names)
    found = archived(store, SESSION).namelist()
    expected = ["a", "a (2)", "a (3)/b", "a (3)/c", "b.tar.gz", "b.tar (2).gz", ".hidden", ".hidden (2)", "c (2).txt"]
    expected += ["c.txt", "c (3).txt", "d/x", "d/x (2)", "e", "e (2)/f", "e (2)/f (2)/g"]
    assert sorted(found) == sorted(expected)
    folders = {name[: end + 1] for name in found for end, letter in enumerate(name) if letter == "/"}
    assert not {folder[:-1] for folder in folders} & set(found)


def test_names_stay_below_the_root(store):
    """No name of an archive is absolute, climbs, names a drive, or has a backslash."""
    fill(
        store,
        [
            "docs\\a.txt",
            "docs\\b\\..c",
            "C:x",
            "docs/d:y",
            "docs\\E:z",
            "./x",
            "a//b",
            "a/./c",
            "..x/y..",
            "...",
            "1:1",
        ],
    )
    found = archived(store, SESSION).namelist()
    expected = ["docs/a.txt", "docs/b/..c", "C_x", "docs/d_y", "docs/E_z", "x", "a/b", "a/c", "..x/y..", "...", "1:1"]
    assert sorted(found) == sorted(expected)


@pytest.mark.same_everywhere
def test_names_of_damaged_records(store, monkeypatch):
    """A filename that no store accepts, from a catalog that others can write, stays below the root as well."""
    fill(store, ["a"])
    page = core_of(store).catalog.page
    for name in ("../../etc/passwd", "/etc/passwd", "\\\\host\\share", "C:\\x", "..", "a/../..", "//", "."):

        def forged(*arguments, name=name, **options):
            return [record.changed(filename=name) for record in page(*arguments, **options)]

        monkeypatch.setattr(core_of(store).catalog, "page", forged)
        (found,) = archived(store, SESSION).namelist()
        assert found
        assert not found.startswith("/")
        assert "\\" not in found
        assert ".." not in found.split("/")
        assert found[1:2] != ":"


def test_names_of_nameless_files(store):
    """An artifact without a filename has its id, and the extension of its media type."""
    types = {"text/plain; charset=utf-8": ".txt", "image/png": ".png", "application/x-unknown": "", "IMAGE/PNG": ".png"}
    ids = {store.store(b"abc", mime=mime, session_id=SESSION): extension for mime, extension in types.items()}
    assert sorted(archived(store, SESSION).namelist()) == sorted(f"{one}{extension}" for one, extension in ids.items())


STORED = ["image/png", "image/jpeg", "video/mp4", "audio/mpeg", "application/zip", "application/gzip", "font/woff2"]
STORED += ["application/vnd.openxmlformats-officedocument.wordprocessingml.document", "IMAGE/PNG; a=b"]
DEFLATED = ["text/plain", "image/svg+xml", "image/bmp", "audio/wav", "application/json", "application/octet-stream"]


def test_what_is_compressed_is_stored(store):
    """Media types that are compressed already are stored as they are, others are deflated."""
    for mime in STORED + DEFLATED:
        store.store(TEXT, mime=mime, session_id=SESSION, filename=mime)
    archive = archived(store, SESSION)
    for info in archive.infolist():
        is_stored = info.filename in STORED
        assert info.compress_type == (zipfile.ZIP_STORED if is_stored else zipfile.ZIP_DEFLATED), info.filename
        assert (info.compress_size == len(TEXT)) == is_stored
        assert archive.read(info) == TEXT


def test_large_files(store):
    """Files of any length come through; what is compressed already is not compressed again."""
    data = TEXT * (9 * MIB // len(TEXT))
    store.store(data, filename="a.png", session_id=SESSION)
    store.store(data, filename="a.txt", session_id=SESSION)
    archive = archived(store, SESSION)
    assert archive.read("a.png") == archive.read("a.txt") == data
    assert archive.getinfo("a.png").compress_size == len(data)
    assert archive.getinfo("a.txt").compress_size < len(data) // 10


@pytest.mark.same_everywhere
def test_chunks(store):
    """No chunk is longer than the caller wants; the archive is the same."""
    fill(store, ["a", "b"])
    store.store(TEXT, filename="c.png", session_id=SESSION)
    whole = b"".join(store.archive(SESSION))
    for size in (1, 7, 1000, 10**9):
        chunks = list(store.archive(SESSION, chunk_size=size))
        assert b"".join(chunks) == whole
        assert max(map(len, chunks)) <= size


@pytest.mark.same_everywhere
@pytest.mark.skipif(shutil.which("unzip") is None, reason="Info-ZIP is not installed")
def test_info_zip(store, tmp_path):
    """Info-ZIP tests and extracts an archive."""
    fill(store, ["a", "a", "a/b", "docs/ü.txt", "docs\\c"])
    store.store(TEXT, filename="c.png", session_id=SESSION)
    file = tmp_path / "archive.zip"
    file.write_bytes(b"".join(store.archive(SESSION)))
    tested = subprocess.run(["unzip", "-t", file], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    subprocess.run(["unzip", "-q", file, "-d", tmp_path / "out"], check=True, env={"LC_ALL": "C.UTF-8"})
    extracted = {str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*") if one.is_file()}
    assert extracted == {"a", "a (2)", "a (3)/b", "docs/ü.txt", "docs/c", "c.png"}
    assert (tmp_path / "out/c.png").read_bytes() == TEXT


def test_deleted_meanwhile(store):
    """An artifact that is deleted while the archive is read is left out."""
    fill(store, ["a", "b", "c"])
    chunks = store.archive(SESSION, chunk_size=1)
    begun = next(chunks)
    store.delete(store.lookup("b", SESSION).artifact_id)
    archive = zipfile.ZipFile(io.BytesIO(begun + b"".join(chunks)))
    assert archive.namelist() == ["a", "c"]


def test_lost_bytes(store):
    """An artifact whose bytes are lost or wrong ends the archive with an error, and is not left out."""
    fill(store, ["a", "b"])
    core = core_of(store)
    key = store.lookup("b", SESSION).key
    core.storage.put(key, b"x")
    with pytest.raises(ArtifactCorruptedError):
        list(store.archive(SESSION))
    core.storage.delete([key])
    with pytest.raises(ArtifactNotFoundError, match="gone"):
        list(store.archive(SESSION))


def test_abandoned(store):
    """An archive that is not read to its end holds no file open, and the store closes."""
    store.store(TEXT * 1000, filename="a", session_id=SESSION)
    chunks = store.archive(SESSION, chunk_size=10)
    next(chunks)
    chunks.close()
    assert archived(store, SESSION).namelist() == ["a"]


@pytest.mark.same_everywhere
def test_closed_store(store):
    """A store that is closed while an archive is read ends it with an error."""
    fill(store, [str(number) for number in range(20)])
    chunks = store.archive(SESSION, chunk_size=10)
    next(chunks)
    store.close()
    with pytest.raises(ArtifactStoreError, match="closed"):
        list(chunks)


@pytest.mark.same_everywhere
def test_bad_arguments(store):
    """A malformed session, prefix or chunk size is refused; a bound store archives no other session."""
    with pytest.raises(InvalidInputError, match="session_id"):
        next(iter(store.archive()))
    for session_id in ("", "..", "a/b", 5):
        with pytest.raises(InvalidInputError, match="session_id"):
            next(iter(store.archive(session_id)))
        with pytest.raises(InvalidInputError, match="session_id"):
            store.presign_archive(session_id)
    for prefix in (5, None, b"a", "\ud800"):
        with pytest.raises(InvalidInputError, match="prefix"):
            next(iter(store.archive(SESSION, prefix=prefix)))
        with pytest.raises(InvalidInputError, match="prefix"):
            store.presign_archive(SESSION, prefix=prefix)
    for size in (0, -1, 1.0, "1", True, None):
        with pytest.raises(InvalidInputError, match="chunk_size"):
            next(iter(store.archive(SESSION, chunk_size=size)))
    for expires in (0, -1, 8 * 86400, "1", None):
        with pytest.raises(InvalidInputError, match="expires"):
            store.presign_archive(SESSION, expires=expires)
    for call in (lambda: next(iter(store.session("user_bob").archive(SESSION))),):
        with pytest.raises(AccessDeniedError):
            call()
    with pytest.raises(AccessDeniedError):
        store.session("user_bob").presign_archive(SESSION)
