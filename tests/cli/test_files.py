"""put, get, cat, cp, mv, rm, ls, upload-url and sync in their variants."""

from __future__ import annotations

import io
import json
import os
import urllib.request
import zipfile
from pathlib import Path

import pytest

from chuk_artifacts import ArtifactStore, arguments
from chuk_artifacts.errors import InvalidInputError


def names(shell, session="demo"):
    """Return the filenames in a session."""
    return [one["filename"] for one in json.loads(shell("ls", session, "--json"))]


def contents(folder):
    """Return the content of each file below a folder, by relative path."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


TREE = {"a.txt": b"a", "b.md": b"bb", "inner/c.csv": b"ccc"}


# put


def test_put_a_folder(shell, tree):
    """-r stores a folder with its paths; without it a folder is refused, and a folder without files too."""
    shell.put("-r", tree, "--session", "demo")
    assert names(shell) == ["docs/a.txt", "docs/b.md", "docs/inner/c.csv"]
    os.chdir(tree)
    shell.put("--root", "../artifacts", "-r", ".", "--session", "flat")
    os.chdir("..")
    assert names(shell, "flat") == ["a.txt", "b.md", "inner/c.csv"]
    assert "add -r" in shell.error("put", "docs")
    Path("empty").mkdir()
    assert "no file in 'empty'" in shell.error("put", "-r", "empty")


def test_put_prints_details(shell, tree):
    """-l prints id, session, size and expiry; --json and --csv print metadata."""
    line = shell("put", tree / "b.md", "--session", "demo", "-l").splitlines()[1].split()
    assert (len(line[0]), line[1:3], line[4]) == (32, ["demo", "2"], "b.md")
    (stored,) = json.loads(shell("put", tree / "b.md", "--json"))
    assert stored["expires_at"]


def test_put_named(shell):
    """--name names the standard input or a single file."""
    shell.put("-", "--name", "x/y.txt", "--session", "demo", input="content")
    assert shell("cat", "demo/x/y.txt") == "content"
    Path("f").write_bytes(b"")
    assert "--name is for a single file" in shell.error("put", "f", "f", "--name", "x")
    assert "once only" in shell.error("put", "-", "-")


def test_put_meta(shell, tree):
    """--meta keeps values with the files; what is no pair is a wrong command line."""
    (artifact_id,) = shell.put(tree / "a.txt", "--meta", "team=blue", "--meta", "url=a=b")
    assert json.loads(shell("info", artifact_id, "--json"))["meta"] == {"team": "blue", "url": "a=b"}
    assert shell.result("put", tree / "a.txt", "--meta", "x").exit_code == 2


def test_put_replace(shell, tree):
    """--replace changes the content of the file of that name, which keeps its id, or stores a first one."""
    (first,) = shell.put(tree / "a.txt", "--session", "demo", "--replace", "--summary", "kept")
    (tree / "a.txt").write_bytes(b"other")
    assert shell.put(tree / "a.txt", "--session", "demo", "--replace", "--ttl", "7d") == [first]
    found = json.loads(shell("info", first, "--json"))
    assert (found["bytes"], found["summary"], found["ttl"]) == (5, "kept", 604800)
    assert names(shell) == ["a.txt"]


def test_put_exclusive(shell, tree):
    """--exclusive stores all files, or none if the session has one of the names."""
    shell.put(tree / "b.md", "--session", "demo", "--exclusive")
    assert "b.md" in shell.error("put", tree / "a.txt", tree / "b.md", "--session", "demo", "--exclusive")
    assert names(shell) == ["b.md"]
    assert "two of the files" in shell.error("put", tree / "a.txt", tree / "a.txt", "--exclusive")
    assert "--name" in shell.error("put", "-", "--exclusive", input="x")
    assert shell.result("put", tree / "a.txt", "--exclusive", "--replace").exit_code == 2


# get and cat


def test_get_to_standard_output(shell, tree):
    """-o - is the standard output, and no file of that name."""
    shell.put(tree / "a.txt", "--session", "demo")
    assert shell("get", "demo/a.txt", "-o", "-") == shell("cat", "demo/a.txt") == "a"
    assert not Path("-").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["demo/"], {f"docs/{name}": data for name, data in TREE.items()}),
        (["--session", "demo"], {f"docs/{name}": data for name, data in TREE.items()}),
        (["demo/docs/"], TREE),
        (["demo/docs/inner/"], {"c.csv": b"ccc"}),
        (["demo/docs/a*"], {"a.txt": b"a"}),
        (["--session", "demo", "--prefix", "docs/b"], {"b.md": b"bb"}),
        (["demo/docs/a.txt", "demo/docs/inner/c.csv"], {"a.txt": b"a", "c.csv": b"ccc"}),
    ],
)
def test_get_many(shell, tree, words, expected):
    """Several files, folders, prefixes and sessions go to a folder, which is created."""
    shell.put("-r", tree, "--session", "demo")
    assert shell.result("get", *words, "-o", "out").exit_code == 0
    assert contents("out") == expected
    before = Path("out").stat()
    assert "--force" in shell.error("get", *words, "-o", "out")
    assert shell.result("get", *words, "-o", "out", "--force").exit_code == 0
    assert Path("out").stat().st_ino == before.st_ino
    assert "-o FOLDER" in shell.error("get", "demo/")


def test_get_conflicts(shell, tree):
    """Two files that would have one path are refused before one is written; nothing leaves the folder."""
    shell.put("-r", tree, "--session", "demo")
    shell.put(tree / "a.txt", "--session", "demo")
    assert "one by one" in shell.error("get", "demo/a.txt", "demo/docs/a.txt", "-o", "out")
    assert not Path("out").exists()
    assert "begins with 'zzz'" in shell.error("get", "demo/zzz*", "-o", "out")


def test_get_the_newest_of_a_name(shell, tree):
    """Of files with one name the newest is written, and a note counts the others."""
    shell.put(tree / "a.txt", "--session", "demo")
    (tree / "a.txt").write_bytes(b"new")
    shell.put(tree / "a.txt", "--session", "demo")
    result = shell.result("get", "demo/", "-o", "out")
    assert contents("out") == {"a.txt": b"new"}
    assert "1 older files" in result.stderr


def test_get_zip(shell, tree):
    """--zip writes an archive of a session or a folder to a file or to the standard output."""
    shell.put("-r", tree, "--session", "demo")
    assert shell.result("get", "demo/", "--zip", "-o", "demo.zip").exit_code == 0
    with zipfile.ZipFile("demo.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {f"docs/{k}": v for k, v in TREE.items()}
    data = shell.result("get", "demo/docs/inner/", "--zip").stdout_bytes
    assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 1
    assert "--zip is for one session" in shell.error("get", "demo/docs/a.txt", "--zip")
    assert not list(Path().glob(".*.part"))


# cp, mv, rm


def test_cp_and_mv(shell, tree):
    """Cp and mv take files and folders; ids stay with mv."""
    ids = shell.put("-r", tree, "--session", "demo")
    copied = shell("cp", ids[0], "demo/copy.txt").strip()
    assert shell("cat", copied) == "a"
    shell("mv", "demo/copy.txt", "demo/inner/")
    shell("cp", "demo/docs/", "demo/backup/")
    shell("mv", "demo/docs/", "demo/new/")
    new = [f"new/{name}" for name in TREE]
    assert names(shell) == [*(f"backup/{name}" for name in TREE), "inner/copy.txt", *new]
    assert json.loads(shell("info", "demo/new/a.txt", "--json"))["artifact_id"] == ids[0]


def test_cp_and_mv_replace_nothing(shell, tree):
    """A name that is taken is refused without --force, before anything is changed; another session always is."""
    shell.put(tree / "a.txt", tree / "b.md", "--session", "demo")
    for command in ("cp", "mv"):
        assert "'demo/b.md' exists: replace it with --force" in shell.error(command, "demo/a.txt", "demo/b.md")
        assert "files stay in their session" in shell.error(command, "demo/a.txt", "other/a.txt")
        assert "to be copied or renamed" in shell.error(command, "demo/a.txt", "demo/a.txt")
    assert "TARGET must be a folder" in shell.error("cp", "demo/", "demo/x")
    shell("mv", "demo/a.txt", "demo/b.md", "--force")
    assert names(shell) == ["b.md"]
    assert shell("cat", "demo/b.md") == "a"


def test_rm_many(shell, tree):
    """Rm -r deletes a folder, --session a session; a folder without -r is refused."""
    shell.put("-r", tree, "--session", "demo")
    assert "add -r" in shell.error("rm", "demo/docs/")
    assert "is a folder: write demo/docs/" in shell.error("rm", "demo/docs")
    shell("rm", "-r", "demo/docs/inner")
    assert names(shell) == ["docs/a.txt", "docs/b.md"]
    shell("rm", "-r", "demo/docs/a*")
    shell("rm", "--session", "demo")
    assert shell.error("sessions", "info", "demo") == "no session 'demo'"
    assert shell.error("rm", "--session", "demo") == "not found: session demo"


def test_rm_of_one_of_several(shell):
    """Where an older file has the name that was deleted, ``rm`` says so."""
    for content in ("old", "new"):
        shell.put("-", "--name", "a.txt", "--session", "demo", input=content)
    result = shell.result("rm", "demo/a.txt")
    assert (result.exit_code, result.stderr) == (0, "demo/a.txt is an older file of that name now\n")
    assert shell("cat", "demo/a.txt") == "old"
    shell("rm", "demo/a.txt")


# ls, sessions, upload-url


def test_ls_levels(shell, tree):
    """Ls shows a folder as one line, its content with its name or --recursive; JSON has every file."""
    shell.put("-r", tree, "--session", "demo")
    assert shell("ls", "demo").split() == ["-", "-", "-", "docs/"]
    assert [line.split()[-1] for line in shell("ls", "demo/docs").splitlines()] == [
        "docs/inner/",
        "docs/a.txt",
        "docs/b.md",
    ]
    assert len(shell("ls", "demo", "-R").splitlines()) == len(json.loads(shell("ls", "demo", "--json"))) == 3
    long = shell("ls", "demo/docs/", "-l").splitlines()
    assert long[0].split() == ["id", "size", "stored", "expires", "type", "name"]
    assert long[-1] == "1 folder, 2 files, 3 B"


def test_sessions(shell, tree):
    """``sessions`` lists, describes and deletes sessions."""
    shell.put(tree / "a.txt", "--session", "demo")
    shell.put(tree / "a.txt", "--session", "other")
    assert sorted(line.split()[0] for line in shell("sessions", "ls").splitlines()) == ["demo", "other"]
    assert json.loads(shell("sessions", "info", "demo", "--json"))["session_id"] == "demo"
    shell("sessions", "rm", "demo", "other")
    assert shell("sessions", "ls") == ""
    assert shell.error("sessions", "rm", "demo") == "not found: session demo"


def test_upload_url(shell, monkeypatch):
    """What is put to an upload URL is a file of that name."""
    shell("init")
    with ArtifactStore(storage_provider="filesystem") as store:
        base = store.presign(store.store(b"x"))
        monkeypatch.setenv("ARTIFACT_GATEWAY_URL", base[: base.index("/", 8)])
        found = json.loads(shell("upload-url", "demo/photo.jpg", "--max-bytes", "10", "--json"))
        headers = {"Content-Type": found["content_type"]}
        request = urllib.request.Request(found["url"], b"12345", headers, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status < 300
        assert names(shell) == ["photo.jpg"]
    assert shell("cat", found["artifact_id"]) == "12345"


# find, du, users


def found_names(shell, *words):
    """Return the filenames that ``find`` finds."""
    return [one["filename"] for one in json.loads(shell("find", *words, "--json"))]


def test_find(shell, tree):
    """``find`` looks in all sessions or in one, by prefix, media type, metadata, time and user."""
    shell.put("-r", tree, "--session", "demo", "--meta", "team=blue", "--meta", "page:=3")
    shell.put(tree / "a.txt", "--session", "other", "--meta", "page=3")
    assert sorted(found_names(shell)) == ["a.txt", "docs/a.txt", "docs/b.md", "docs/inner/c.csv"]
    assert found_names(shell, "demo/docs/i") == ["docs/inner/c.csv"]
    assert found_names(shell, "demo", "--mime", "text/plain") == ["docs/a.txt"]
    assert len(found_names(shell, "--meta", "page:=3")) == 3
    assert found_names(shell, "--meta", "page=3") == ["a.txt"]
    assert len(found_names(shell, "--after", "1h")) == 4
    assert found_names(shell, "--before", "1h") == found_names(shell, "--before", "2026-01-01") == []
    assert len(found_names(shell, "--after", "2026-01-01T00:00:00+02:00", "--limit", "2")) == 2
    assert found_names(shell, "--user", "alice") == []
    assert shell("find", "other").split()[3:] == ["other", "a.txt"]
    for words in (["--after", "soon"], ["--after", "7"], ["--meta", "x:=nonsense"], ["--limit", "0"]):
        assert shell.result("find", *words).exit_code == 2


def test_du(shell, tree):
    """``du`` prints bytes and files of each session, or of those that are named."""
    shell.put("-r", tree, "--session", "demo")
    shell.put(tree / "b.md", "--session", "other")
    assert sorted(line.split() for line in shell("du").splitlines()) == [["2", "1", "other"], ["6", "3", "demo"]]
    assert shell("du", "demo", "-l").splitlines()[-1] == "6 B in 3 files of 1 sessions"
    assert shell.error("du", "nowhere") == "no session 'nowhere'; chuk-artifacts sessions ls lists all"


def test_users(shell, tree):
    """``users`` lists users with their sessions, and deletes all that one has."""
    shell("init")
    with ArtifactStore(storage_provider="filesystem") as store:
        for user in ("alice", "alice", "bob"):
            store.store(b"x", session_id=store.create_session(user_id=user))
    assert [line.split() for line in shell("users", "ls").splitlines()] == [["alice", "2"], ["bob", "1"]]
    assert len(shell("sessions", "ls", "--user", "alice").splitlines()) == 2
    assert shell("users", "rm", "alice") == "2\n"
    assert shell("users", "ls").split() == ["bob", "1"]


# versions


def test_versions_and_restore(shell, tree):
    """Earlier contents are listed, read by revision, and restored as a new revision."""
    (artifact_id,) = shell.put(tree / "a.txt", "--session", "demo")
    (tree / "a.txt").write_bytes(b"second")
    shell.put(tree / "a.txt", "--session", "demo", "--replace")
    assert [line.split()[:2] for line in shell("versions", "demo/a.txt").splitlines()] == [["2*", "6"], ["1", "1"]]
    assert shell("cat", "demo/a.txt", "--revision", "1") == "a"
    assert shell.result("get", artifact_id, "--revision", "1", "-o", "old").exit_code == 0
    assert Path("old").read_bytes() == b"a"
    assert shell("restore", "demo/a.txt", "1") == "3\n"
    assert shell("cat", "demo/a.txt") == "a"
    assert "revision" in shell.error("restore", "demo/a.txt", "9")
    assert "--revision is for a single file" in shell.error("cat", "demo/", "--revision", "1")


# sync


def test_sync_to_the_store(shell, tree):
    """Sync stores new files, replaces changed ones under their ids, and deletes only with --delete."""
    assert shell("sync", "docs", "demo/x").split() == ["new", "a.txt", "new", "b.md", "new", "inner/c.csv"]
    before = json.loads(shell("info", "demo/x/a.txt", "--json"))["artifact_id"]
    shell.put(tree / "a.txt", "--session", "demo", "--name", "outside")
    assert shell("sync", "docs/", "demo/x/") == ""
    (tree / "a.txt").write_bytes(b"A")
    (tree / "b.md").unlink()
    assert shell("sync", "./docs", "demo/x", "--delete", "--dry-run").split() == ["changed", "a.txt", "deleted", "b.md"]
    assert shell("cat", "demo/x/a.txt") == "a"
    assert shell("sync", "./docs", "demo/x") == "changed a.txt\n"
    assert shell("sync", "./docs", "demo/x", "--delete") == "deleted b.md\n"
    assert names(shell) == ["outside", "x/a.txt", "x/inner/c.csv"]
    assert json.loads(shell("info", "demo/x/a.txt", "--json"))["artifact_id"] == before


def test_sync_from_the_store(shell, tree):
    """Sync writes new and changed files, and deletes local ones only with --delete."""
    shell("sync", "docs", "demo")
    assert shell("sync", "demo", "./out", "--dry-run").count("new") == 3
    assert not Path("out").exists()
    shell("sync", "demo", "./out")
    assert contents("out") == TREE
    Path("out/a.txt").write_bytes(b"A")
    Path("out/mine").write_bytes(b"")
    assert shell("sync", "demo/", "out") == "changed a.txt\n"
    assert shell("sync", "demo", "out", "--delete") == "deleted mine\n"
    assert contents("out") == TREE


def test_sync_from_nothing_deletes_nothing(shell, tree):
    """A source without files, such as a mistyped one, deletes nothing."""
    shell("sync", "docs", "demo")
    assert shell.error("sync", "dmeo", "./docs", "--delete").startswith("no session 'dmeo'")
    assert shell.error("sync", "dmeo", "./docs").startswith("no session 'dmeo'")
    assert "--delete would delete all 3" in shell.error("sync", "demo/nothing", "./docs", "--delete")
    Path("empty").mkdir()
    assert "--delete would delete all 3" in shell.error("sync", "./empty", "demo", "--delete")
    assert contents(tree) == TREE
    assert len(names(shell)) == 3


def test_sync_of_names_with_one_path(shell):
    """Filenames that mean one path on this machine are refused before anything is written."""
    for name in ("x\\y", "y"):
        shell("put", "-", "--name", name, "--session", "demo", input=name)
    assert "the same path" in shell.error("sync", "demo", "./out")
    assert not Path("out").exists()


def test_sync_needs_one_folder(shell, tree):
    """Where it is unclear which is the folder of this machine, nothing happens."""
    shell.put(tree / "a.txt", "--session", "demo")
    Path("demo").mkdir()
    for source, target in (("docs", "demo"), ("nowhere", "demo2"), ("./docs", "./demo")):
        assert "Write ./ before its name" in shell.error("sync", source, target)


# Durations


@pytest.mark.parametrize(
    ("text", "unit", "seconds"), [("2", "h", 7200), ("2s", "h", 2), ("1W", "s", 604800), ("NEVER", "h", None)]
)
def test_durations(text, unit, seconds):
    """A number has the unit that is behind it, or else the default."""
    assert arguments.parse_duration(text, unit) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "0", "0d", "1e400", "inf", "nan", "1 000", "1_0", "٣h", "1hh"])
def test_no_durations(text):
    """Anything else is refused."""
    with pytest.raises(InvalidInputError):
        arguments.parse_duration(text)
