"""What every store reads: bytes, texts, readers, streams, downloads, metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from fsspec.callbacks import Callback

from chuk_artifacts import (
    ArtifactExpiredError,
    ArtifactMetadata,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
)

SESSION = "user_alice"
UNKNOWN = "0" * 32
LARGE = b"0123456789abcdef" * 160_000  # two chunks of a mebibyte, and a part of one
FIELDS = [
    "artifact_id",
    "session_id",
    "sandbox_id",
    "key",
    "mime",
    "summary",
    "meta",
    "filename",
    "bytes",
    "sha256",
    "stored_at",
    "updated_at",
    "expires_at",
    "ttl",
    "revision",
    "storage_provider",
    "session_provider",
]

NO_IDS = [UNKNOWN, "", "x", "0" * 31, "0" * 33, "A" * 32, "../" + "0" * 29, "0" * 32 + "\n", "ü" * 32, None, 5, []]

READS = {
    "retrieve": lambda store, one, path: store.retrieve(one),
    "read_file": lambda store, one, path: store.read_file(one),
    "open": lambda store, one, path: store.open(one),
    "stream": lambda store, one, path: list(store.stream(one)),
    "download": lambda store, one, path: store.download(one, path / "file"),
    "metadata": lambda store, one, path: store.metadata(one),
    "retrieve_batch": lambda store, one, path: store.retrieve_batch([one]),
}


@pytest.fixture
def artifact_id(store):
    """Return the id of an artifact of ten bytes."""
    return store.store(b"0123456789", filename="docs/digits.txt", session_id=SESSION)


@pytest.fixture
def large_id(store):
    """Return the id of an artifact of several chunks."""
    return store.store(LARGE, session_id=SESSION)


def seconds(moment):
    """Return a timestamp in seconds since the epoch, which must be in UTC with offset."""
    parsed = datetime.fromisoformat(moment)
    assert parsed.utcoffset() == UTC.utcoffset(None)
    return parsed.timestamp()


# What all of them do


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", READS)
def test_unknown_artifact(store, tmp_path, method, subtests):
    """An unknown or malformed id raises not-found, which is a FileNotFoundError too."""
    store.store(b"abc", session_id=SESSION)
    for one in NO_IDS:
        with subtests.test(repr(one)), pytest.raises(ArtifactNotFoundError) as caught:
            READS[method](store, one, tmp_path)
        assert isinstance(caught.value, FileNotFoundError)
        assert not isinstance(caught.value, ArtifactExpiredError)
        assert not store.exists(one)
    assert list(tmp_path.glob("file*")) == []


@pytest.mark.parametrize("method", READS)
def test_deleted_artifact(store, artifact_id, tmp_path, method):
    """A deleted artifact is not found."""
    assert store.delete(artifact_id)
    with pytest.raises(ArtifactNotFoundError):
        READS[method](store, artifact_id, tmp_path)


@pytest.mark.parametrize("method", READS)
def test_expired_artifact(store, clock, tmp_path, method):
    """An artifact works until its last moment, then raises expired instead of not-found."""
    artifact_id = store.store(b"abc", ttl=60)
    clock.advance(59)
    assert store.exists(artifact_id)
    clock.advance(1.1)
    assert not store.exists(artifact_id)
    with pytest.raises(ArtifactExpiredError):
        READS[method](store, artifact_id, tmp_path)
    assert list(tmp_path.glob("file*")) == []


def test_exists(store, artifact_id):
    """Exists returns whether an artifact exists."""
    assert store.exists(artifact_id)
    store.delete(artifact_id)
    assert not store.exists(artifact_id)


# retrieve, read_file, retrieve_batch


def test_retrieve(store, artifact_id, large_id):
    """Retrieve returns all bytes, each time."""
    assert store.retrieve(artifact_id) == b"0123456789"
    assert store.retrieve(large_id) == LARGE
    assert store.retrieve(artifact_id) == b"0123456789"


@pytest.mark.same_everywhere
def test_read_file(store):
    """Read_file returns text, UTF-8 unless another encoding is given, or bytes."""
    artifact_id = store.store("ü\r\n".encode())
    assert store.read_file(artifact_id) == "ü\r\n"
    assert store.read_file(artifact_id, encoding="latin-1") == "Ã¼\r\n"
    assert store.read_file(artifact_id, as_text=False) == "ü\r\n".encode()


@pytest.mark.same_everywhere
def test_read_file_that_is_not_text(store):
    """Bytes that can't be decoded raise, and can still be read as bytes."""
    artifact_id = store.store(b"\xff\xfe\xff")
    with pytest.raises(InvalidInputError, match="as_text"):
        store.read_file(artifact_id)
    assert store.read_file(artifact_id, as_text=False) == b"\xff\xfe\xff"


@pytest.mark.same_everywhere
@pytest.mark.parametrize("encoding", ["no-such-encoding", None, 5])
def test_read_file_in_an_unknown_encoding(store, artifact_id, encoding):
    """An unknown encoding is refused."""
    with pytest.raises(InvalidInputError, match="encoding"):
        store.read_file(artifact_id, encoding=encoding)


def test_retrieve_batch(store, artifact_id, large_id):
    """A batch takes any iterable, and returns contents in the order of the ids, repeated ones too."""
    ids = [large_id, artifact_id, large_id]
    assert store.retrieve_batch(iter(ids)) == [LARGE, b"0123456789", LARGE]
    assert store.retrieve_batch([]) == []


@pytest.mark.parametrize("missing", [UNKNOWN, "malformed"])
def test_retrieve_batch_with_a_gap(store, artifact_id, missing):
    """One missing artifact fails the batch, and the error names it."""
    with pytest.raises(ArtifactNotFoundError, match=missing):
        store.retrieve_batch([artifact_id, missing])


def test_retrieve_batch_of_revisions(store, artifact_id):
    """A pair or metadata selects the content of a revision, also beside another; a revision that is gone fails."""
    first = store.metadata(artifact_id)
    store.update_file(artifact_id, data=b"second")
    items = [(artifact_id, 1), artifact_id, (artifact_id, 2), first, (artifact_id, None)]
    assert store.retrieve_batch(items) == [b"0123456789", b"second", b"second", b"0123456789", b"second"]
    with pytest.raises(ArtifactNotFoundError, match="revision 3"):
        store.retrieve_batch([artifact_id, (artifact_id, 3)])


@pytest.mark.same_everywhere
@pytest.mark.parametrize("item", [(), (UNKNOWN,), (UNKNOWN, 0), (UNKNOWN, "1"), (UNKNOWN, 1, 1)])
def test_retrieve_batch_of_malformed_pairs(store, artifact_id, item):
    """An item that is neither an id nor a pair of an id and a revision is refused."""
    with pytest.raises(InvalidInputError, match=r"artifact_ids|revision"):
        store.retrieve_batch([artifact_id, item])


@pytest.mark.same_everywhere
def test_retrieve_batch_of_no_list(store):
    """An argument that is not an iterable of ids is refused."""
    with pytest.raises(InvalidInputError):
        store.retrieve_batch(None)


# open


def test_open(store, artifact_id):
    """A reader reads, returns its position, and seeks from start, position and end."""
    with store.open(artifact_id) as file:
        assert (file.tell(), file.read(3), file.tell()) == (0, b"012", 3)
        assert file.read() == b"3456789"
        assert (file.read(1), file.read()) == (b"", b"")
        assert (file.seek(2), file.read(2)) == (2, b"23")
        assert (file.seek(1, os.SEEK_CUR), file.read(1)) == (5, b"5")
        assert (file.seek(-1, os.SEEK_END), file.read(5)) == (9, b"9")
        assert file.seek(0) == 0
        assert file.read(-1) == b"0123456789"


def test_open_beyond_the_end(store, artifact_id):
    """Reading beyond the end returns nothing; seeking before the start raises."""
    with store.open(artifact_id) as file:
        assert file.seek(20) == 20
        assert file.read(5) == b""
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)


def test_open_readinto(store, large_id):
    """A reader fills a buffer, and returns the number of bytes."""
    with store.open(large_id) as file:
        buffer = bytearray(10)
        assert file.readinto(buffer) == 10
        assert bytes(buffer) == LARGE[:10]
        file.seek(-4, os.SEEK_END)
        assert file.readinto(buffer) == 4
        assert bytes(buffer[:4]) == LARGE[-4:]
        assert file.readinto(buffer) == 0


def test_open_reads_anywhere(store, large_id):
    """Ranges of a large file can be read in any order."""
    with store.open(large_id) as file:
        for start, size in [(2_000_000, 100), (0, 10), (1_048_570, 20), (len(LARGE) - 5, 100)]:
            file.seek(start)
            assert file.read(size) == LARGE[start : start + size]


def test_readers_are_independent(store, artifact_id):
    """Two readers of one artifact have positions of their own, and closing one leaves the other open."""
    with store.open(artifact_id) as first:
        with store.open(artifact_id) as second:
            assert (first.read(5), second.read(2)) == (b"01234", b"01")
        assert first.read() == b"56789"


def test_open_empty(store):
    """A reader of an empty file opens at its end."""
    with store.open(store.store(b"")) as file:
        assert file.read() == b""
        assert file.seek(0, os.SEEK_END) == 0


# stream


RANGES = [
    ({}, b"0123456789"),
    ({"start": 3}, b"3456789"),
    ({"end": 3}, b"012"),
    ({"start": 3, "end": 5}, b"34"),
    ({"start": 3, "end": 3}, b""),
    ({"start": 0, "end": 0}, b""),
    ({"end": 100}, b"0123456789"),
    ({"start": 9}, b"9"),
    ({"start": 10}, b""),
    ({"start": 50}, b""),
    ({"start": 50, "end": 60}, b""),
    ({"start": 1, "end": 8, "chunk_size": 3}, b"1234567"),
    ({"chunk_size": 1}, b"0123456789"),
    ({"chunk_size": 10}, b"0123456789"),
    ({"chunk_size": 1000}, b"0123456789"),
]


@pytest.mark.parametrize(("options", "content"), RANGES, ids=repr)
def test_stream_ranges(store, artifact_id, options, content):
    """A stream returns the bytes from start to end, in chunks of full size except the last."""
    pieces = list(store.stream(artifact_id, **options))
    assert b"".join(pieces) == content
    size = options.get("chunk_size", 1024 * 1024)
    assert [len(piece) for piece in pieces] == [len(content[at : at + size]) for at in range(0, len(content), size)]


def test_stream_large(store, large_id):
    """A chunk is a mebibyte by default."""
    pieces = list(store.stream(large_id))
    assert b"".join(pieces) == LARGE
    assert [len(piece) for piece in pieces] == [1024 * 1024, 1024 * 1024, len(LARGE) - 2 * 1024 * 1024]


@pytest.mark.parametrize("options", [{}, {"start": 0, "end": 5}, {"start": 5}, {"chunk_size": 1}])
def test_stream_empty(store, options):
    """An empty file has no chunks."""
    assert list(store.stream(store.store(b""), **options)) == []


def test_abandoned_stream(store, artifact_id):
    """A stream may be abandoned; the next one starts from the beginning."""
    for piece in store.stream(artifact_id, chunk_size=4):
        assert piece == b"0123"
        break
    assert list(store.stream(artifact_id, chunk_size=8)) == [b"01234567", b"89"]


@pytest.mark.same_everywhere
def test_stream_bad_arguments(store, artifact_id, subtests):
    """An invalid range or chunk size is refused, before the first chunk."""
    cases = [{"start": -1}, {"start": "0"}, {"start": 1.0}, {"start": None}, {"start": True}]
    cases += [{"end": -1}, {"end": "5"}, {"end": True}, {"start": 5, "end": 4}]
    cases += [{"chunk_size": 0}, {"chunk_size": -1}, {"chunk_size": None}, {"chunk_size": 1.5}]
    for case in cases:
        with subtests.test(repr(case)), pytest.raises(InvalidInputError):
            list(store.stream(artifact_id, **case))


# download


def test_download(store, large_id, tmp_path):
    """A download writes the whole file to a str or path, replaces an existing file, and returns the path."""
    target = tmp_path / "file.bin"
    assert store.download(large_id, target) == target
    assert target.read_bytes() == LARGE
    target.write_bytes(b"before" * 1_000_000)
    assert store.download(large_id, str(target)) == target
    assert target.read_bytes() == LARGE


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("filename", "name"),
    [("a.txt", "a.txt"), ("docs/sub/ü b.txt", "ü b.txt"), ("docs\\sub\\c.txt", "c.txt"), ("docs/x\\d.txt", "d.txt")],
)
def test_download_to_a_folder(store, tmp_path, filename, name):
    """In a folder the file gets the last segment of its filename, and never leaves that folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = store.download(store.store(b"abc", filename=filename), folder)
    assert path == folder / name
    assert path.read_bytes() == b"abc"
    assert list(folder.iterdir()) == [path]


TAKEN = {
    "file": lambda place: place.write_bytes(b"mine"),
    "folder": lambda place: place.mkdir(),
    "link to a file": lambda place: place.symlink_to(place.parent.parent / "outside"),
    "link to nowhere": lambda place: place.symlink_to(place.parent.parent / "nothing"),
}


def names_below(folder):
    """Return the files below a folder with their contents."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", TAKEN)
def test_download_replaces_nothing_in_a_folder(store, tmp_path, kind):
    """In a folder no existing file or link of that name is replaced or written through."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "outside").write_bytes(b"outside")
    TAKEN[kind](tmp_path / "folder" / ".bashrc")
    before = names_below(tmp_path / "folder")
    artifact_id = store.store(b"theirs", filename="x/.bashrc")
    for error in (ConflictError, FileExistsError):
        with pytest.raises(error, match=r"bashrc' exists: .*overwrite"):
            store.download(artifact_id, tmp_path / "folder")
    assert names_below(tmp_path / "folder") == before
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "outside").read_bytes() == b"outside"


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", ["file", "link to a file", "link to nowhere"])
def test_download_that_overwrites(store, tmp_path, kind):
    """With overwrite a file or link of that name is replaced; the link's target is not."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "outside").write_bytes(b"outside")
    TAKEN[kind](tmp_path / "folder" / "a.txt")
    path = store.download(store.store(b"theirs", filename="a.txt"), tmp_path / "folder", overwrite=True)
    assert not path.is_symlink()
    assert names_below(tmp_path / "folder") == {tmp_path / "folder" / "a.txt": b"theirs"}
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "outside").read_bytes() == b"outside"


@pytest.mark.same_everywhere
@pytest.mark.parametrize("links", [True, False])
def test_download_that_another_file_overtakes(store, tmp_path, monkeypatch, links):
    """A file created during the download is not replaced, with or without hard links."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_args, **_options: os.stat("/nothing at all"))
    folder = tmp_path / "folder"
    folder.mkdir()

    class Making(Callback):
        def relative_update(self, inc=1):
            (folder / "a.txt").write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        store.download(store.store(b"theirs", filename="a.txt"), folder, callback=Making())
    assert names_below(folder) == {folder / "a.txt": b"mine"}


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("d/" + "n" * 251 + ".txt", "n" * 251 + ".txt"),
        ("n" * 300 + ".txt", "n" * 251 + ".txt"),
        ("ü" * 200 + ".tar.gz", "ü" * 126 + ".gz"),
        ("n." + "x" * 300, "n." + "x" * 253),
        ("😀" * 100, "😀" * 63),
    ],
    ids=range(5),
)
def test_download_of_a_long_name(store, tmp_path, filename, name):
    """A filename in a folder is cut to 255 bytes, before its extension and between characters."""
    path = store.download(store.store(b"abc", filename=filename), tmp_path)
    assert path.name == name
    assert path.read_bytes() == b"abc"


@pytest.mark.same_everywhere
def test_download_without_a_filename(store, tmp_path):
    """In a folder a file without a filename gets its id as name."""
    artifact_id = store.store(b"")
    path = store.download(artifact_id, str(tmp_path))
    assert path == tmp_path / artifact_id
    assert path.read_bytes() == b""


@pytest.mark.parametrize("content", [LARGE, b"abc", b""], ids=len)
def test_download_calls_its_callback(store, tmp_path, content):
    """The callback receives the total size, and the length of each written chunk."""
    sizes, seen = [], []
    hooks = {"size": lambda size, value, **_: sizes.append(size), "value": lambda size, value, **_: seen.append(value)}
    callback = Callback(hooks=hooks)
    store.download(store.store(content), tmp_path / "file", callback=callback)
    assert (callback.size, callback.value) == (len(content), len(content))
    assert set(sizes) == {len(content)}
    assert seen == sorted(seen)


@pytest.mark.same_everywhere
def test_download_to_a_missing_folder(store, artifact_id, tmp_path):
    """A missing folder is refused, not created."""
    with pytest.raises(InvalidInputError, match="folder"):
        store.download(artifact_id, tmp_path / "missing" / "file")
    assert not (tmp_path / "missing").exists()


@pytest.mark.same_everywhere
@pytest.mark.parametrize("path", [None, 5])
def test_download_to_a_bad_path(store, artifact_id, path):
    """An argument that is not a path is refused."""
    with pytest.raises(InvalidInputError, match="path"):
        store.download(artifact_id, path)


@pytest.mark.same_everywhere
def test_failed_download_leaves_the_old_file(store, tmp_path):
    """A failed download keeps the old file, and leaves no partial one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"before")
    with pytest.raises(ArtifactNotFoundError):
        store.download(UNKNOWN, folder / "file")
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("file", b"before")]


class StopError(Exception):
    """An error that a test's callback raises."""


@pytest.mark.same_everywhere
def test_download_that_its_callback_stops(store, large_id, tmp_path):
    """An error from the callback ends the download, and leaves no partial file."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def stop(size, value, **_):
        if value:
            raise StopError

    with pytest.raises(StopError):
        store.download(large_id, folder / "file", callback=Callback(hooks={"stop": stop}))
    assert list(folder.iterdir()) == []


# metadata


def test_metadata(store, clock):
    """The metadata has all fields of an artifact."""
    artifact_id = store.store(
        b"abc", mime="text/x-a", summary="A", meta={"a": [1]}, filename="docs/a", session_id=SESSION, ttl=60
    )
    metadata = store.metadata(artifact_id)
    stats = store.get_stats()
    assert isinstance(metadata, ArtifactMetadata)
    assert dict(metadata) == {
        "artifact_id": artifact_id,
        "session_id": SESSION,
        "sandbox_id": stats["sandbox_id"],
        "key": store.generate_artifact_key(SESSION, artifact_id),
        "mime": "text/x-a",
        "summary": "A",
        "meta": {"a": [1]},
        "filename": "docs/a",
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "stored_at": metadata.stored_at,
        "updated_at": metadata.stored_at,
        "expires_at": metadata.expires_at,
        "ttl": 60,
        "revision": 1,
        "storage_provider": stats["storage_provider"],
        "session_provider": stats["session_provider"],
    }
    assert seconds(metadata.stored_at) == pytest.approx(clock.now, abs=1e-5)
    assert seconds(metadata.expires_at) == pytest.approx(clock.now + 60, abs=1e-5)


@pytest.mark.same_everywhere
def test_metadata_is_a_mapping(store, artifact_id):
    """Metadata is a mapping of its documented fields, in their order, and each is an attribute too."""
    metadata = store.metadata(artifact_id)
    assert isinstance(metadata, Mapping)
    assert list(metadata) == FIELDS
    assert len(metadata) == len(FIELDS)
    assert all(metadata[name] == getattr(metadata, name) for name in FIELDS)
    assert "bytes" in metadata
    assert metadata.get("no such field") is None
    with pytest.raises(KeyError):
        metadata["no such field"]
    assert json.loads(json.dumps(dict(metadata))) == dict(metadata)


@pytest.mark.same_everywhere
def test_metadata_is_frozen(store, artifact_id):
    """Attributes and items of metadata can't be set."""
    metadata = store.metadata(artifact_id)
    with pytest.raises(AttributeError):
        metadata.summary = "changed"
    with pytest.raises(TypeError):
        metadata["summary"] = "changed"
    assert metadata == store.metadata(artifact_id)


def test_returned_meta_is_a_copy(store):
    """Modifying a returned meta does not change the stored one."""
    artifact_id = store.store(b"abc", filename="a", meta={"list": [1]}, session_id=SESSION)
    given = [
        store.metadata(artifact_id),
        *store.list_by_session(SESSION),
        *store.list_files(SESSION),
        *store.get_directory_contents(SESSION),
        *store.iter_session(SESSION),
        store.update_metadata(artifact_id, summary="A"),
        store.update_file(artifact_id, data=b"abcd"),
        store.move_file(artifact_id, new_filename="b"),
        store.extend_ttl(artifact_id, 60),
    ]
    for metadata in given:
        metadata.meta["list"].append(2)
        metadata["meta"]["more"] = 1
    assert store.metadata(artifact_id).meta == {"list": [1]}
    assert [one.meta for one in store.list_by_session(SESSION)] == [{"list": [1]}]
