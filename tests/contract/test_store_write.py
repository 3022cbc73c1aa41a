"""What every store stores: kinds of data, arguments, batches."""

from __future__ import annotations

import array
import hashlib
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from orphans import orphans

from chuk_artifacts import AccessDeniedError, InvalidInputError

SESSION = "user_alice"


class OnceError(Exception):
    """An error that a test's stream raises."""


class Pipe:
    """A binary file that can't seek, and returns its content in small pieces."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        """Return at most two bytes."""
        return self._file.read(min(size, 2) if size >= 0 else -1)


class TextPipe:
    """A text file whose class does not show that it is one."""

    def read(self, size: int = -1) -> str:
        """Return a text."""
        return "text"


def written(path: Path, content: bytes = b"abc") -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def at_offset(path: Path) -> io.BufferedReader:
    """Return an open file positioned at its third byte."""
    file = written(path, b"__abc").open("rb")
    file.seek(2)
    return file


def entry(folder: Path) -> os.DirEntry[str]:
    """Return a path that is neither a str nor a pathlib.Path."""
    (folder / "entry").mkdir()
    written(folder / "entry" / "file")
    with os.scandir(folder / "entry") as entries:
        return next(entries)


def broken():
    """Yield some bytes, then raise."""
    yield b"x" * 1_200_000
    yield b"y"
    raise OnceError


KINDS = {
    "bytes": lambda folder: b"abc",
    "bytearray": lambda folder: bytearray(b"abc"),
    "memoryview": lambda folder: memoryview(b"_abc_")[1:4],
    "memoryview-strided": lambda folder: memoryview(b"a-b-c-")[::2],
    "array": lambda folder: array.array("B", b"abc"),
    "path": lambda folder: written(folder / "file"),
    "pathlike": entry,
    "bytesio": lambda folder: io.BytesIO(b"abc"),
    "file": lambda folder: written(folder / "file").open("rb"),
    "file-at-offset": lambda folder: at_offset(folder / "file"),
    "pipe": lambda folder: Pipe(b"abc"),
    "generator": lambda folder: (part for part in (b"a", b"", b"bc")),
    "list": lambda folder: [b"ab", bytearray(b"c")],
    "views": lambda folder: iter([memoryview(b"abc")[::2], b"", memoryview(b"abc")[:0]]),
    "tuple-of-nothing": lambda folder: (),
    "empty-bytes": lambda folder: b"",
    "empty-generator": lambda folder: iter(()),
    "empty-file": lambda folder: written(folder / "file", b""),
    "large-bytes": lambda folder: b"0123456789" * 300_001,
    "large-path": lambda folder: written(folder / "file", b"0123456789" * 300_001),
    "large-generator": lambda folder: (b"0123456789" * 100_000 for _ in range(3)),
}

CONTENTS = {
    "views": b"ac",
    "tuple-of-nothing": b"",
    "empty-bytes": b"",
    "empty-generator": b"",
    "empty-file": b"",
    "large-bytes": b"0123456789" * 300_001,
    "large-path": b"0123456789" * 300_001,
    "large-generator": b"0123456789" * 300_000,
}

BAD_DATA = {
    "none": lambda folder: None,
    "int": lambda folder: 5,
    "float": lambda folder: 1.5,
    "object": lambda folder: object(),
    "mapping": lambda folder: {b"a": b"b"},
    "str": lambda folder: "text",
    "missing-path": lambda folder: folder / "missing",
    "folder": lambda folder: folder,
    "text-io": lambda folder: io.StringIO("text"),
    "text-pipe": lambda folder: TextPipe(),
    "list-of-ints": lambda folder: [1, 2],
    "list-of-str": lambda folder: ["a"],
    "str-after-bytes": lambda folder: iter([b"a" * 1_200_000, "b"]),
}

CYCLE: dict[str, object] = {}
CYCLE["itself"] = CYCLE

BAD_ARGUMENTS = {
    "mime-empty": {"mime": ""},
    "mime-without-slash": {"mime": "text"},
    "mime-with-header": {"mime": "text/plain\r\nX-Evil: 1"},
    "mime-int": {"mime": 5},
    "summary-none": {"summary": None},
    "summary-int": {"summary": 5},
    "summary-surrogate": {"summary": "\ud800"},
    "meta-list": {"meta": [1]},
    "meta-str": {"meta": "{}"},
    "meta-nan": {"meta": {"a": float("nan")}},
    "meta-infinite": {"meta": {"a": [float("-inf")]}},
    "meta-object": {"meta": {"a": object()}},
    "meta-bytes": {"meta": {"a": b"b"}},
    "meta-set": {"meta": {"a": {1}}},
    "meta-time": {"meta": {"a": datetime.now(UTC)}},
    "meta-int-key": {"meta": {1: "a"}},
    "meta-inner-key": {"meta": {"a": {None: 1}}},
    "meta-surrogate": {"meta": {"a": "\udfff"}},
    "meta-surrogate-key": {"meta": {"\udfff": 1}},
    "meta-cycle": {"meta": CYCLE},
    "filename-int": {"filename": 5},
    "filename-bytes": {"filename": b"a.txt"},
    "filename-parent": {"filename": ".."},
    "filename-parent-first": {"filename": "../a"},
    "filename-parent-inside": {"filename": "a/../b"},
    "filename-parent-last": {"filename": "a/.."},
    "filename-parent-backslash": {"filename": "a\\..\\b"},
    "filename-absolute": {"filename": "/etc/passwd"},
    "filename-absolute-backslash": {"filename": "\\etc"},
    "filename-unc": {"filename": "\\\\host\\share"},
    "filename-drive": {"filename": "C:\\a"},
    "filename-drive-slash": {"filename": "c:/a"},
    "filename-nul": {"filename": "a\0"},
    "filename-newline": {"filename": "a\r\nb"},
    "filename-delete": {"filename": "a\x7f"},
    "filename-c1": {"filename": "a\x85b"},
    "filename-long": {"filename": "x" * 1025},
    "filename-long-in-utf-8": {"filename": "é" * 513},
    "filename-surrogate": {"filename": "\ud800"},
    "session-empty": {"session_id": ""},
    "session-dot": {"session_id": "."},
    "session-parent": {"session_id": ".."},
    "session-slash": {"session_id": "a/b"},
    "session-backslash": {"session_id": "a\\b"},
    "session-newline": {"session_id": "a\n"},
    "session-nul": {"session_id": "a\0"},
    "session-long": {"session_id": "x" * 256},
    "session-long-in-utf-8": {"session_id": "é" * 128},
    "session-surrogate": {"session_id": "\ud800"},
    "session-int": {"session_id": 5},
    "user-int": {"user_id": 5},
    "ttl-zero": {"ttl": 0},
    "ttl-negative": {"ttl": -1},
    "ttl-nan": {"ttl": float("nan")},
    "ttl-infinite": {"ttl": float("inf")},
    "ttl-too-long": {"ttl": 1e300},
    "ttl-huge-int": {"ttl": 10**400},
    "ttl-str": {"ttl": "60"},
    "ttl-bool": {"ttl": True},
}

FILENAMES = [
    "a",
    "docs/readme.md",
    "folder\\file.txt",
    "a..b",
    "...",
    "..a/b..",
    "with space.txt",
    "ü/日本.txt",
    "semi;colon\"quote'.txt",
    "100%_*?[x].txt",
    "x" * 1024,
    "é" * 512,
]

SESSIONS = [
    "a@b.org",
    "üser 1",
    "u\u0308ser 1",
    "%2e",
    "%2E",
    "%",
    "CON",
    "con",
    "nul.txt",
    ".hidden",
    "...",
    "a.",
    "a ",
    " a",
    "~",
    "a~2",
    "*?[x]",
    "{a}",
    "a:b|c<d>e\"f'g",
    "-rf",
    "日本",
    "x" * 255,
    "é" * 127,
]

MIMES = {
    "a.txt": "text/plain",
    "A.PNG": "image/png",
    "docs/page.html": "text/html",
    "folder\\data.json": "application/json",
    "a.tar.gz": "application/gzip",
    "noext": "application/octet-stream",
    "a.unheard-of": "application/octet-stream",
    None: "application/octet-stream",
}


def nothing_was_written(store, clock):
    """Return whether the store has neither records, sessions nor bytes."""
    stats = store.get_stats()
    return (stats["artifacts"], stats["sessions"], stats["bytes"]) == (0, 0, 0) and not orphans(store)


# store


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data(store, tmp_path, kind):
    """Each kind of data is stored whole, with its length and SHA-256; a file stays open."""
    data, content = KINDS[kind](tmp_path), CONTENTS.get(kind, b"abc")
    artifact_id = store.store(data, session_id=SESSION)
    assert store.retrieve(artifact_id) == content
    metadata = store.metadata(artifact_id)
    assert (metadata.bytes, metadata.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    if isinstance(data, io.IOBase):
        assert not data.closed
        data.close()


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data(store, clock, tmp_path, kind):
    """Other types are refused, also when a stream yields them late, and nothing is stored."""
    with pytest.raises(InvalidInputError, match=r"^data"):
        store.store(BAD_DATA[kind](tmp_path), session_id=SESSION)
    assert store.list_by_session(SESSION) == []
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_text_is_refused(store):
    """A str is refused, and the error names the method to use."""
    with pytest.raises(InvalidInputError, match="write_file"):
        store.store("text", session_id=SESSION)


@pytest.mark.same_everywhere
def test_open_text_file(store, tmp_path):
    """A file opened in text mode is refused."""
    with written(tmp_path / "file").open(encoding="utf-8") as file, pytest.raises(InvalidInputError, match="binary"):
        store.store(file, session_id=SESSION)


@pytest.mark.same_everywhere
def test_closed_file(store):
    """A closed file is refused."""
    file = io.BytesIO(b"abc")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        store.store(file, session_id=SESSION)
    assert store.list_by_session(SESSION) == []


def test_broken_stream(store, clock):
    """An error of a stream is passed on, and leaves neither artifact, session nor bytes."""
    with pytest.raises(OnceError):
        store.store(broken(), session_id=SESSION)
    assert store.list_by_session(SESSION) == []
    assert not store.validate_session(SESSION)
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_bad_arguments(store, clock, subtests):
    """Each invalid argument is refused by name, and nothing is stored."""
    for case, arguments in BAD_ARGUMENTS.items():
        with subtests.test(case), pytest.raises(InvalidInputError, match=next(iter(arguments))):
            store.store(b"abc", **{"session_id": SESSION, **arguments})
    assert store.list_by_session(SESSION) == []
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_bad_argument_leaves_the_stream_unread(store):
    """Arguments are checked before the first byte of a stream is read."""
    stream = iter([b"a", b"b"])
    with pytest.raises(InvalidInputError):
        store.store(stream, ttl=0)
    assert list(stream) == [b"a", b"b"]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("meta", "key"),
    [({"good": 1, "worse": object()}, "worse"), ({"a": [1, {"deep": {1}}]}, "deep"), ({"nan": float("nan")}, "nan")],
)
def test_bad_meta_names_its_key(store, meta, key):
    """The error of a meta that is not JSON names the offending key."""
    with pytest.raises(InvalidInputError, match=key):
        store.store(b"abc", meta=meta)


@pytest.mark.parametrize("filename", FILENAMES, ids=lambda name: ascii(name[:20]))
def test_odd_filenames(store, filename):
    """A filename is free text with folders, up to 1,024 bytes, and is returned unchanged."""
    artifact_id = store.store(b"abc", filename=filename, session_id=SESSION)
    assert store.metadata(artifact_id).filename == filename
    assert [one.artifact_id for one in store.list_files(SESSION, filename)] == [artifact_id]
    assert store.retrieve(artifact_id) == b"abc"


def test_odd_session_ids(store):
    """Any string that an application maps to a user can be a session id; different strings are different sessions."""
    ids = {name: store.store(name.encode(), session_id=name) for name in SESSIONS}
    for name, artifact_id in ids.items():
        assert [one.artifact_id for one in store.list_by_session(name)] == [artifact_id]
        assert store.retrieve(artifact_id).decode() == name
        assert store.get_session_info(name).session_id == name
    assert store.delete_session("CON")
    left = {name for name, artifact_id in ids.items() if store.exists(artifact_id)}
    assert left == set(SESSIONS) - {"CON"}


def test_new_session_by_default(store):
    """Without a session id each artifact gets a new session."""
    first, second = (store.metadata(store.store(b"abc")) for _ in range(2))
    assert first.session_id != second.session_id
    assert store.validate_session(first.session_id)
    assert [one.artifact_id for one in store.list_by_session(first.session_id)] == [first.artifact_id]


@pytest.mark.same_everywhere
def test_ids_differ(store):
    """The same bytes with the same filename are two artifacts, with ids of 32 hexadecimal digits."""
    first, second = (store.store(b"abc", filename="a.txt", session_id=SESSION) for _ in range(2))
    assert first != second
    assert len(first) == 32
    assert set(first) <= set("0123456789abcdef")
    assert store.delete(first)
    assert store.retrieve(second) == b"abc"


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("filename", "mime"), MIMES.items())
def test_mime_is_guessed(store, filename, mime):
    """The media type is guessed from the filename, else it is that of unknown bytes."""
    assert store.metadata(store.store(b"abc", filename=filename)).mime == mime


@pytest.mark.same_everywhere
@pytest.mark.parametrize("mime", ["image/png", "text/html; charset=utf-8", "application/vnd.x+json", 'a/b; c="d e"'])
def test_mime_is_kept(store, mime):
    """An explicit media type overrides the filename's."""
    assert store.metadata(store.store(b"abc", filename="a.txt", mime=mime)).mime == mime


META = {"text": "ü", "number": 1, "real": 1.5, "none": None, "yes": True, "list": [1, [2]], "object": {"a": {"": {}}}}


def test_meta_comes_back(store):
    """Any JSON object is returned unchanged as meta; the default is an empty one."""
    assert store.metadata(store.store(b"abc", meta=META)).meta == META
    assert store.metadata(store.store(b"abc")).meta == {}


def test_arguments_are_copied(store):
    """Modifying meta or data after storing does not change the artifact."""
    meta, data = {"list": [1]}, bytearray(b"abc")
    artifact_id = store.store(data, meta=meta)
    meta["list"].append(2)
    meta["more"] = 1
    data[:] = b"xyz"
    assert store.metadata(artifact_id).meta == {"list": [1]}
    assert store.retrieve(artifact_id) == b"abc"


def test_user_of_the_session(store):
    """The first user id becomes the session's; a later one does not replace it."""
    for user_id in (None, "u1", "u2"):
        store.store(b"abc", session_id=SESSION, user_id=user_id)
    assert store.get_session_info(SESSION).user_id == "u1"


# write_file


@pytest.mark.parametrize("content", ["# Title\r\n\nü", "", b"bytes \xff"])
def test_write_file(store, content):
    """Text is returned unchanged, with its line ends; bytes are stored as they are."""
    artifact_id = store.write_file(content, filename="docs/a.md", session_id=SESSION, summary="A", meta={"a": 1})
    assert store.read_file(artifact_id, as_text=isinstance(content, str)) == content
    metadata = store.metadata(artifact_id)
    assert (metadata.filename, metadata.session_id, metadata.summary) == ("docs/a.md", SESSION, "A")
    assert metadata.meta == {"a": 1}


@pytest.mark.same_everywhere
def test_write_file_in_an_encoding(store):
    """Text is stored in the given encoding, UTF-8 by default."""
    assert store.retrieve(store.write_file("ü", filename="a")) == b"\xc3\xbc"
    artifact_id = store.write_file("ü", filename="a", encoding="latin-1")
    assert store.retrieve(artifact_id) == b"\xfc"
    assert store.read_file(artifact_id, encoding="latin-1") == "ü"


@pytest.mark.same_everywhere
def test_write_file_guesses_text(store):
    """The media type of text is guessed from its filename, else it is plain text."""
    assert store.metadata(store.write_file("{}", filename="a.json")).mime == "application/json"
    assert store.metadata(store.write_file("{}", filename="a.unheard-of")).mime == "text/plain"
    assert store.metadata(store.write_file("{}", filename="a.json", mime="a/b")).mime == "a/b"


def test_write_file_takes_what_store_takes(store):
    """User id and ttl work as with store."""
    artifact_id = store.write_file("a", filename="a", session_id=SESSION, user_id="u1", ttl=60)
    assert store.metadata(artifact_id).ttl == 60
    assert store.get_session_info(SESSION).user_id == "u1"


@pytest.mark.same_everywhere
def test_write_file_bad_arguments(store, clock, subtests):
    """Each invalid argument is refused, and nothing is stored."""
    cases = [
        *({"content": content} for content in (None, 5, ["a"], io.StringIO("a"))),
        {"content": "\ud800"},
        {"content": "ü", "encoding": "ascii"},
        *({"encoding": encoding} for encoding in ("no-such-encoding", None, 5)),
        *({"filename": filename} for filename in (None, 5, "../a", "/a")),
        *BAD_ARGUMENTS.values(),
    ]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError):
            store.write_file(**{"content": "abc", "filename": "a", "session_id": SESSION, **case})
    assert store.list_by_session(SESSION) == []
    assert nothing_was_written(store, clock)


# store_batch


def test_batch(store, tmp_path):
    """A batch accepts all arguments of store, and returns ids in the order of the items."""
    items = [
        {"data": b"zero", "filename": "z.txt", "summary": "Z", "meta": {"a": 1}, "mime": "a/b", "user_id": "u1"},
        {"data": written(tmp_path / "file", b"one")},
        {"data": iter([b"tw", b"o"]), "filename": "a.txt"},
    ]
    ids = store.store_batch(iter(items), session_id=SESSION)
    assert [store.retrieve(one) for one in ids] == [b"zero", b"one", b"two"]
    first = store.metadata(ids[0])
    assert (first.filename, first.summary, first.meta, first.mime) == ("z.txt", "Z", {"a": 1}, "a/b")
    assert store.get_session_info(SESSION).user_id == "u1"
    assert {one.artifact_id for one in store.list_by_session(SESSION)} == set(ids)


def test_batch_of_one_session(store):
    """Without a session id the items of a batch share a new session."""
    ids = store.store_batch([{"data": b"a"}, {"data": b"b"}])
    (session_id,) = {store.metadata(one).session_id for one in ids}
    assert len(store.list_by_session(session_id)) == 2


def test_batch_with_own_session_and_ttl(store):
    """An item's own session and ttl override those of the batch."""
    items = [{"data": b"a"}, {"data": b"b", "session_id": "user_bob", "ttl": 60}, {"data": b"c", "ttl": None}]
    records = [store.metadata(one) for one in store.store_batch(items, session_id=SESSION, ttl=600)]
    assert [(one.session_id, one.ttl) for one in records] == [(SESSION, 600), ("user_bob", 60), (SESSION, 600)]


def test_large_batch(store):
    """A batch may have many items."""
    ids = store.store_batch([{"data": b"%d" % number} for number in range(120)], session_id=SESSION)
    assert store.retrieve_batch(ids) == [b"%d" % number for number in range(120)]


@pytest.mark.same_everywhere
def test_empty_batch(store, clock):
    """An empty batch stores nothing."""
    assert store.store_batch([]) == []
    assert store.store_batch(iter(()), session_id=SESSION) == []
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_batch_with_a_bad_item(store, clock, subtests):
    """The error of an invalid item has its index, and no item is stored."""
    cases = [{}, {"filename": "a"}, {"data": b"c", "key": "x"}, {"data": "text"}, b"c", None]
    cases += [{"data": b"c", **arguments} for arguments in BAD_ARGUMENTS.values()]
    for case in cases:
        with subtests.test(repr(case)[:80]), pytest.raises(InvalidInputError, match=r"^items\[2\]"):
            store.store_batch([{"data": b"a"}, {"data": b"b"}, case, {"data": b"d"}], session_id=SESSION)
    assert store.list_by_session(SESSION) == []
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_batch_with_a_bad_argument(store, clock, subtests):
    """Invalid arguments of the batch itself are refused."""
    cases = [{"session_id": "a/b"}, {"session_id": 5}, {"ttl": 0}, {"ttl": "60"}, {"items": None}, {"items": 5}]
    for case in cases:
        with subtests.test(repr(case)), pytest.raises(InvalidInputError):
            store.store_batch(**{"items": [{"data": b"a"}], **case})
    assert nothing_was_written(store, clock)


@pytest.mark.parametrize(("stream", "error"), [(broken, OnceError), (lambda: iter(["a"]), InvalidInputError)])
def test_batch_with_a_broken_stream(store, clock, stream, error):
    """When a stream fails in the middle of a batch, no item is stored."""
    items = [{"data": b"a"}, {"data": stream()}, {"data": b"c", "session_id": "user_bob"}]
    with pytest.raises(error):
        store.store_batch(items, session_id=SESSION)
    assert store.list_by_session(SESSION) == []
    assert not store.validate_session("user_bob")
    assert nothing_was_written(store, clock)


@pytest.mark.same_everywhere
def test_batch_items_stay_as_they_are(store):
    """A batch does not modify its items, and the caller may modify them afterwards."""
    item = {"data": b"a", "meta": {"list": [1]}, "session_id": SESSION}
    (artifact_id,) = store.store_batch([item], ttl=60)
    assert item == {"data": b"a", "meta": {"list": [1]}, "session_id": SESSION}
    item["meta"]["list"].append(2)
    assert store.metadata(artifact_id).meta == {"list": [1]}


def test_batch_of_a_bound_store(store):
    """A bound store uses its session, and refuses items of another before anything is stored."""
    bound = store.session(SESSION)
    (artifact_id,) = bound.store_batch([{"data": b"a"}])
    assert store.metadata(artifact_id).session_id == SESSION
    with pytest.raises(AccessDeniedError):
        bound.store_batch([{"data": b"a"}, {"data": b"b", "session_id": "user_bob"}])
    assert [one.artifact_id for one in bound.list_by_session(SESSION)] == [artifact_id]
