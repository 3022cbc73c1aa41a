"""The rules of arguments: the same for every method, and nothing is written if an argument is invalid."""

from __future__ import annotations

import math
import ntpath
import os
import posixpath
from pathlib import PureWindowsPath

import attrs
import child
import pytest

from chuk_artifacts import ArtifactStore, GridError, InvalidInputError, arguments

META = 16 * 1024
YEAR = 365.25 * 86400.0


@pytest.fixture
def store(clock):
    """Return a store in memory, with a shorter limit for metas, so that its tests are quick."""
    with ArtifactStore(clock=clock, max_meta_bytes=META) as store:
        yield store


@pytest.fixture
def artifact_id(store):
    """Return the id of an artifact of alice."""
    return store.store(b"x", filename="before", session_id="alice", mime="text/x-before", meta={"before": 1})


@attrs.frozen
class Rule:
    """An argument: the methods that take it, its name in each, and its valid and invalid values."""

    methods: dict[str, str]
    good: list
    bad: list


DEEP = {"a": 1}
for _ in range(63):
    DEEP = {"a": DEEP}

CYCLE: dict = {}
CYCLE["itself"] = CYCLE


LAUGHS: dict = {"ha": "ha"}  # 2 ** 60 of them
for _ in range(60):
    LAUGHS = {"a": LAUGHS, "b": LAUGHS}


class Text(str):
    """A str of another class."""

    __slots__ = ()


FILENAMES = Rule(
    methods={
        "store": "filename",
        "write_file": "filename",
        "store_batch": "filename",
        "update_metadata": "filename",
        "update_file": "filename",
        "move_file": "new_filename",
        "copy_file": "new_filename",
    },
    good=[
        "a",
        "docs/readme.md",
        "docs\\readme.md",
        "a//b",
        "./a",
        "...",
        "a..b/..c/d..",
        "üser 1/ä.txt",
        " ",
        "a:b",
        "~/a",
        "-rf",
        "x" * 1024,
        "ü" * 512,
        Text("text"),
    ],
    bad=[
        "",
        "docs/",
        "docs/.",
        ".",
        "docs\\",
        "/etc/passwd",
        "\\\\server\\share",
        "C:\\a",
        "c:/a",
        "..",
        "../a",
        "a/../b",
        "a\\..\\b",
        "a/..",
        "a\nb",
        "a\0",
        "\x7f",
        "a\x85b",
        "\ud800",
        "x" * 1025,
        "ü" * 513,
        5,
        b"a",
        ["a"],
    ],
)
MIMES = Rule(
    methods={
        "store": "mime",
        "write_file": "mime",
        "store_batch": "mime",
        "update_metadata": "mime",
        "update_file": "mime",
    },
    good=["image/png", "a/b", "application/vnd.x+json", "text/html; charset=utf-8", 'a/b;c="d e"', "a/b ; c=d;e=f"],
    bad=[
        "",
        "image",
        "image/",
        "/png",
        "a/b/c",
        "a b/c",
        "a/b; c",
        "a/b; c=",
        'a/b; c="',
        "a/b\r\nX: y",
        "ü/a",
        5,
        b"a/b",
    ],
)
SUMMARIES = Rule(
    methods={
        "store": "summary",
        "write_file": "summary",
        "store_batch": "summary",
        "update_metadata": "summary",
        "update_file": "summary",
        "copy_file": "summary",
    },
    good=["", "ü", "two\nlines", "x" * 65_536, "ü" * 32_768, Text("text")],
    bad=["\ud800", 5, b"a", {}, "x" * 65_537, "ü" * 32_769, "x" * 10_000_000],
)
METAS = Rule(
    methods={
        "store": "meta",
        "write_file": "meta",
        "store_batch": "meta",
        "update_metadata": "meta",
        "update_file": "meta",
        "move_file": "new_meta",
        "copy_file": "new_meta",
        "create_session": "custom_metadata",
        "update_session_metadata": "metadata",
    },
    good=[
        {},
        {"": None},
        {"a": [1, -0.5, True, "ü", {"b": []}]},
        {"n": 2**1023, "f": 1.7e308},
        DEEP,
        {"a": "x" * (META - 8)},
        {"a": "ü" * (META // 2 - 4)},
        {"a": ["\0"] * (META // 9 - 8)},
        {Text("a"): Text("b")},
    ],
    bad=[
        {"a": "x" * (META - 7)},
        {"a": "ü" * (META // 2 - 3)},
        {"a": "\0" * (META // 6)},
        {"a": ["\0"] * (META // 9)},
        {"a": [0] * META},
        {"a": [True] * (META // 4)},
        {"a": [2**1023] * (META // 300)},
        {"a": [-2.2250738585072014e-308] * (META // 24)},
        {"a": [{}] * (META // 2)},
        {f"{number:010}": None for number in range(META // 17)},
        LAUGHS,
        {1: 2},
        {None: 1},
        {"a": {2: 3}},
        {"a": math.nan},
        {"a": [math.inf]},
        {"a": -math.inf},
        {"a": object()},
        {"a": b"b"},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {"\ud800": "a"},
        {"a": 2**1024},
        {"a": DEEP},
        CYCLE,
        [("a", 1)],
        "text",
        5,
    ],
)
TTLS = Rule(
    methods={"store": "ttl", "write_file": "ttl", "store_batch": "ttl", "update_file": "ttl"},
    good=[1, 0.001, 86400, 7000 * YEAR],
    bad=[0, -1, math.nan, math.inf, -math.inf, 8000 * YEAR, 10**400, "60", True, [60]],
)
EXTENSIONS = Rule(
    methods={"extend_ttl": "additional_seconds"},
    good=[1, 0.001, 7000 * YEAR],
    bad=[None, *TTLS.bad],
)
HOURS = Rule(
    methods={"create_session": "ttl_hours", "extend_session_ttl": "additional_hours"},
    good=[1, 0.5, 7000 * YEAR / 3600],
    bad=[0, -1, math.nan, math.inf, 8000 * YEAR / 3600, 10**400, "24", True],
)
USERS = Rule(
    methods={"store": "user_id", "write_file": "user_id", "store_batch": "user_id", "create_session": "user_id"},
    good=[None, "", "a@b.org", "ü/1", "x" * 255, "ü" * 127, Text("a")],
    bad=[5, b"a", "\ud800", "x" * 256, "ü" * 128],
)
REVISIONS = Rule(
    methods={"update_metadata": "if_revision", "update_file": "if_revision"},
    good=[None, 1],
    bad=[0, -1, 1.0, "1", True],
)
NUMBERS = Rule(
    methods=dict.fromkeys(("store", "write_file", "store_batch", "update_file"), "keep_versions"),
    good=[None, 0, 1, 100],
    bad=[-1, 101, 10**400, 1.0, "1", True],
)
ENCODINGS = Rule(
    methods={"write_file": "encoding", "read_file": "encoding"},
    good=["utf-8", "UTF8", "latin-1", "utf-16"],
    bad=["nonsense", "", "a\0b", None, 5, "rot13", "hex", "\ud800"],
)
SESSIONS = Rule(
    methods=dict.fromkeys(
        (
            "store",
            "write_file",
            "store_batch",
            "list_by_session",
            "list_files",
            "get_directory_contents",
            "list_directory",
            "archive",
            "presign_archive",
            "iter_session",
            "session",
            "validate_session",
            "get_session_info",
            "update_session_metadata",
            "extend_session_ttl",
            "delete_session",
            "get_canonical_prefix",
        ),
        "session_id",
    ),
    good=["alice", "a@b.org", "üser 1", "...", "x" * 255],
    bad=["", ".", "..", "a/b", "a\\b", "a\nb", "\0", "\x7f", "\ud800", "x" * 256, "ü" * 128, 5, b"a"],
)
RULES = {
    "filename": FILENAMES,
    "mime": MIMES,
    "summary": SUMMARIES,
    "meta": METAS,
    "ttl": TTLS,
    "extension": EXTENSIONS,
    "hours": HOURS,
    "user": USERS,
    "revision": REVISIONS,
    "versions": NUMBERS,
    "encoding": ENCODINGS,
    "session": SESSIONS,
}

CALLS = {
    "store": lambda store, _, arguments: store.store(b"new", **{"session_id": "alice", **arguments}),
    "write_file": lambda store, _, arguments: store.write_file(
        "new", **{"filename": "new", "session_id": "alice", **arguments}
    ),
    "store_batch": lambda store, _, arguments: store.store_batch(
        [{"data": b"good", "session_id": "alice"}, {"data": b"new", "session_id": "alice", **arguments}]
    ),
    "update_metadata": lambda store, one, arguments: store.update_metadata(one, **{"summary": "new", **arguments}),
    "update_file": lambda store, one, arguments: store.update_file(one, **{"data": b"new", **arguments}),
    "move_file": lambda store, one, arguments: store.move_file(one, **arguments),
    "copy_file": lambda store, one, arguments: store.copy_file(one, **arguments),
    "extend_ttl": lambda store, one, arguments: store.extend_ttl(one, **arguments),
    "read_file": lambda store, one, arguments: store.read_file(one, as_text=True, **arguments),
    "create_session": lambda store, _, arguments: store.create_session(**arguments),
    "update_session_metadata": lambda store, _, arguments: store.update_session_metadata(
        **{"session_id": "alice", "metadata": {}, **arguments}
    ),
    "extend_session_ttl": lambda store, _, arguments: store.extend_session_ttl(
        **{"session_id": "alice", "additional_hours": 1, **arguments}
    ),
}


def shown(value):
    """Return the name of a test for a value; the repr of some values is endless."""
    return ascii(value)[:60] if not isinstance(value, dict) else f"{len(value)}: {list(value)[:1]!a}"


def call(store, artifact_id, method, name, value):
    """Call a method with one argument, and with the others that it requires."""
    arguments = {name: value}
    if method in CALLS:
        return CALLS[method](store, artifact_id, arguments)
    return getattr(store, method)(**arguments)


def state(store):
    """Return all records and bytes of a store."""
    return [
        [(item.key, item.bytes) for item in store.scope.core.storage.list_objects(store.get_session_prefix_pattern())],
        [(dict(item), store.retrieve(item.artifact_id)) for item in store.list_by_session("alice")],
        store.get_session_info("alice"),
        store.get_stats(),
    ]


@pytest.mark.parametrize(("rule", "method"), [(rule, method) for rule in RULES for method in RULES[rule].methods])
def test_bad_arguments(store, artifact_id, rule, method, subtests):
    """An invalid argument raises InvalidInputError, which names it, and changes nothing."""
    before = state(store)
    name = RULES[rule].methods[method]
    for bad in RULES[rule].bad:
        with subtests.test(bad=shown(bad)):
            with pytest.raises(InvalidInputError) as caught:
                call(store, artifact_id, method, name, bad)
            assert name.removeprefix("new_") in str(caught.value)
    assert state(store) == before


@pytest.mark.parametrize(("rule", "method"), [(rule, method) for rule in RULES for method in RULES[rule].methods])
def test_good_arguments(store, rule, method, subtests):
    """Every method accepts valid values, up to the limits."""
    for good in RULES[rule].good:
        with subtests.test(good=shown(good)):
            store.delete_session("alice")
            one = store.store(b"xy", session_id="alice")
            call(store, one, method, RULES[rule].methods[method], good)


@pytest.mark.parametrize("bad", SESSIONS.bad, ids=ascii)
def test_bad_session_is_a_grid_error(store, bad):
    """A session id that could escape its level of the grid raises GridError, a kind of InvalidInputError."""
    for method in ("store", "list_files"):
        with pytest.raises(GridError):
            call(store, "", method, "session_id", bad)
    with pytest.raises(GridError, match=r"^items\[1\]: "):
        call(store, "", "store_batch", "session_id", bad)


@pytest.mark.parametrize("method", ["update_metadata", "update_file", "move_file"])
def test_nothing_to_change(store, artifact_id, method):
    """A change without any new value is refused; the message lists what can be changed."""
    before = state(store)
    with pytest.raises(InvalidInputError, match="nothing to change: give one of"):
        getattr(store, method)(artifact_id)
    assert state(store) == before


@pytest.mark.parametrize(
    ("meta", "where"),
    [
        ({"a": {"b": [1, {"c": math.nan}]}}, r"meta\['a'\]\['b'\]\[1\]\['c'\]"),
        ({"a": {2: 3}}, r"meta\['a'\] has a key that is no str: 2"),
        ({"a": [object()]}, r"meta\['a'\]\[0\] is not JSON: object"),
        ({"a": 2**1024}, r"meta\['a'\] is an integer of more than 1024 bits"),
        ({"a": "\ud800"}, r"meta\['a'\] is not valid Unicode"),
    ],
)
def test_error_contains_the_path_in_meta(store, meta, where):
    """The error for a meta contains the path to the invalid value."""
    with pytest.raises(InvalidInputError, match=where):
        store.store(b"x", meta=meta)


def test_subclasses_are_made_plain(store):
    """Subclasses of JSON's types are stored as plain values."""

    class Number(int):
        pass

    class Real(float):
        pass

    artifact_id = store.store(b"x", meta={Text("a"): (Number(1), Real(0.5), Text("b"))})
    meta = store.metadata(artifact_id).meta
    assert meta == {"a": [1, 0.5, "b"]}
    assert [type(item) for item in meta["a"][:2]] == [int, float]


@pytest.mark.parametrize(
    ("filename", "mime"),
    [
        ("a.json", "application/json"),
        ("docs/A.JSON", "application/json"),
        ("docs\\a.json", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.txt.xz", "application/x-xz"),
        ("a.json/readme", "application/octet-stream"),
        ("http://host/a", "application/octet-stream"),
        (".json", "application/json"),
        ("parts/Part.0.PARQUET", "application/vnd.apache.parquet"),
        ("readme.md", "text/markdown"),
        ("a.nonsense", "application/octet-stream"),
        ("a", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_guessed_mime(store, filename, mime):
    """The media type is guessed from the last segment of the filename, and from its compression."""
    artifact_id = store.store(b"x", filename=filename)
    assert store.metadata(artifact_id).mime == mime


@pytest.mark.parametrize("method", ["store", "write_file"])
def test_mime_overrides_the_filename(store, method):
    """A media type argument overrides the guess."""
    artifact_id = getattr(store, method)(b"x", filename="a.json", mime="text/plain")
    assert store.metadata(artifact_id).mime == "text/plain"


@pytest.mark.skipif(os.name == "nt", reason="this system has no modes")
def test_unreadable_file(tmp_path):
    """A file that the user can't read is an invalid argument, and nothing is written."""
    told = child.run(
        """
        import os, sys
        from pathlib import Path
        from chuk_artifacts import ArtifactStore, InvalidInputError

        os.chdir(sys.argv[1])
        Path("file").touch(0o000)
        os.chmod(".", 0o755)
        store = ArtifactStore()
        if os.getuid() == 0:  # root ignores modes
            os.setuid(65534)
        try:
            store.store(Path("file"))
        except InvalidInputError as error:
            print(error)
        """,
        tmp_path,
    )
    assert told == "data: 'file' is not readable\n"


@pytest.mark.parametrize("filename", ["D:x", "docs/D:x", "d:", "docs\\C:", "D:..", "D:x:y"])
def test_name_of_a_drive(store, tmp_path, monkeypatch, filename):
    """A download stays in its folder even if its name has a drive, as on Windows."""
    monkeypatch.setattr(os.path, "splitdrive", ntpath.splitdrive)
    path = store.download(store.store(b"abc", filename=filename), tmp_path)
    folder = PureWindowsPath("C:/folder")
    assert (folder / path.name).parent == folder
    assert path.parent == tmp_path
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("system", [posixpath, ntpath])
@pytest.mark.parametrize("filename", ["x", "docs/ab:x", "a b.tar.gz", "x.", "-rf"])
def test_name_is_kept(monkeypatch, system, filename):
    """A name without a drive is not changed."""
    monkeypatch.setattr(os.path, "splitdrive", system.splitdrive)
    assert arguments.name_in_folder(filename) == filename.rpartition("/")[2]
