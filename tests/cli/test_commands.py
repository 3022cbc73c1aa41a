"""The command line: the main paths in processes of their own, the rest in this process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import child
import pytest
from click.testing import CliRunner
from servers.buckets import s3_on_moto

from chuk_artifacts import ArtifactStore, __main__, __version__
from chuk_artifacts.cli import cli
from chuk_artifacts.errors import how_to_install

ARTIFACT_ID = re.compile(r"[0-9a-f]{32}")
BINARY = bytes(range(256)) * 5000 + b"\r\n\xff\x00"
PAGE = child.PROJECT / "docs" / "howto" / "command-line.md"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Keep the default root out of the project."""
    monkeypatch.chdir(tmp_path)


def command(*words, input=b"", **variables):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "chuk_artifacts", *map(str, words)],
        input=input,
        capture_output=True,
        env=child.environment(**variables),
        timeout=60,
        check=False,
    )


def run(*words, input=None):
    """Run the command line in this process, and return its output; it must succeed without an error message."""
    result = CliRunner().invoke(cli, [*map(str, words)], input=input)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def error_of(*words, input=None):
    """Run the command line in this process, and return its one-line error message; it must fail."""
    result = CliRunner().invoke(cli, [*map(str, words)], input=input)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("chuk-artifacts: ")
    return line.removeprefix("chuk-artifacts: ")


def put(*words, input=None):
    """Run ``put`` and return the ids it prints."""
    ids = run("put", *words, input=input).split()
    assert all(ARTIFACT_ID.fullmatch(one) for one in ids)
    return ids


@pytest.fixture
def file():
    """Return the path of a file."""
    path = Path("docs") / "hello.txt"
    path.parent.mkdir()
    path.write_bytes(b"Hello, world!")
    return path


# In processes of their own


def test_put_in_one_process_get_in_another():
    """Another process gets the bytes that ``put`` stored, without configuration."""
    Path("model.bin").write_bytes(BINARY)
    stored = command("put", "model.bin")
    assert (stored.returncode, stored.stderr) == (0, b"")
    artifact_id = stored.stdout.decode().strip()
    got = command("get", artifact_id)
    assert (got.returncode, got.stderr) == (0, b"")
    assert got.stdout == BINARY
    assert Path("artifacts").is_dir()


def test_standard_input_to_standard_output():
    """Standard input and output carry bytes unchanged."""
    stored = command("put", "-", input=BINARY)
    assert stored.returncode == 0
    assert command("get", stored.stdout.decode().strip()).stdout == BINARY


def test_every_command_in_a_process():
    """Each command works in a process of its own, on the files of the others."""
    Path("file.txt").write_bytes(b"content")
    artifact_id = command("put", "file.txt", "--session", "demo").stdout.decode().strip()
    assert artifact_id in command("ls", "demo").stdout.decode()
    assert json.loads(command("info", artifact_id, "--json").stdout)["filename"] == "file.txt"
    assert command("get", artifact_id, "-o", "copy.txt").returncode == 0
    assert Path("copy.txt").read_bytes() == b"content"
    assert command("rm", artifact_id).returncode == 0
    assert json.loads(command("gc", "--json").stdout)["artifacts"] == 0
    missing = command("get", artifact_id)
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert missing.stderr.decode() == f"chuk-artifacts: no artifact '{artifact_id}'\n"


def test_broken_pipe():
    """A reader that closes the pipe early, such as head, ends a listing without an error message."""
    with ArtifactStore(storage_provider="filesystem") as store:
        store.store_batch([{"data": b"", "filename": f"{number:0200}"} for number in range(2000)], session_id="many")
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", "ls", "many"],
        env=child.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as listing:
        assert len(listing.stdout.readline()) > 200
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 0


def test_broken_pipe_of_content():
    """A reader that closes the pipe in the middle of the content ends ``get`` without an error message."""
    artifact_id = command("put", "-", input=b"x" * 3_000_000).stdout.decode().strip()
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", "get", artifact_id],
        env=child.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as getting:
        assert getting.stdout.read(10) == b"x" * 10
        getting.stdout.close()
        assert getting.stderr.read() == b""
    assert getting.returncode == 0


@pytest.mark.parametrize("name", ["get", "ls", "info", "--help"])
def test_pipe_that_is_broken_from_the_start(name):
    """A pipe without a reader causes no error message, not even when the process ends."""
    artifact_id = command("put", "-", input=b"small").stdout.decode().strip()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chuk_artifacts", name, *([] if name in {"ls", "--help"} else [artifact_id])],
            env=child.environment(PYTHONUNBUFFERED=""),  # the default of Python
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 0


def test_without_click():
    """Without click the command prints how to install it, in one line."""
    code = """
        import runpy, sys
        sys.modules["click"] = None
        sys.argv[0] = "chuk-artifacts"
        runpy.run_module("chuk_artifacts", run_name="__main__")
        """
    done = subprocess.run(
        child.command(code), env=child.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"the command line needs click: {how_to_install('cli')}\n"


def test_another_missing_module_is_not_taken_for_click(monkeypatch):
    """Another missing module raises its own error."""
    for name in [name for name in sys.modules if name.startswith("chuk_artifacts.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "chuk_artifacts.settings", None)
    with pytest.raises(ModuleNotFoundError, match="settings"):
        __main__.main()


def test_main_is_the_command(monkeypatch, capsys):
    """The program name is chuk-artifacts, however it is started."""
    monkeypatch.setattr(sys, "argv", ["whatever", "--version"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"chuk-artifacts, version {__version__}\n"
    for script in entry_points(group="console_scripts", name="chuk-artifacts"):  # where the package is installed
        assert script.value == "chuk_artifacts.__main__:main"


# Put


def test_put(file):
    """A file is stored without its folder, in the session cli, with a guessed media type."""
    (artifact_id,) = put(file)
    with ArtifactStore(storage_provider="filesystem") as store:
        metadata = store.metadata(artifact_id)
    assert (metadata.filename, metadata.session_id, metadata.mime) == ("hello.txt", "cli", "text/plain")
    assert metadata.ttl == 86400


def test_put_options(file):
    """Options set session, summary, media type and time to live."""
    (artifact_id,) = put(file, "--session", "demo", "--summary", "a b", "--mime", "text/x-own", "--ttl", "60.5")
    with ArtifactStore(storage_provider="filesystem") as store:
        metadata = store.metadata(artifact_id)
    assert (metadata.session_id, metadata.summary, metadata.mime) == ("demo", "a b", "text/x-own")
    assert metadata.ttl == 60.5


def test_put_many(file):
    """``put`` prints the ids in the order of its files; the standard input has no filename."""
    Path("b.md").write_bytes(b"b")
    ids = put(file, "-", "b.md", input="from stdin")
    listed = {item["artifact_id"]: item["filename"] for item in json.loads(run("ls", "--json"))}
    assert [listed[one] for one in ids] == ["hello.txt", None, "b.md"]
    assert run("get", ids[1]) == "from stdin"


def test_put_all_or_none(file):
    """If one of several files can't be read, no file is stored."""
    run("init")
    assert "'missing' does not exist" in error_of("put", file, "missing")
    assert run("ls") == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("put", "docs"), "'docs' is not a file"),
        (("put", "docs/hello.txt", "--session", "a/b"), "session must not hold '/'"),
        (("put", "docs/hello.txt", "--mime", "nonsense"), "mime"),
        (("put", "docs/hello.txt", "--ttl", "-1"), "--ttl must"),
        (("ls", ".."), "session must not be"),
        (("get", "nonsense"), "no artifact 'nonsense'"),
        (("get", "0" * 32, "-o", "x"), f"no artifact '{'0' * 32}'"),
        (("info", "0" * 32), "no artifact"),
        (("rm", "0" * 32), f"not found: {'0' * 32}"),
    ],
)
@pytest.mark.usefixtures("file")
def test_errors(words, expected):
    """An error is one line on the standard error, with exit status 1, and speaks of options."""
    run("init")
    assert expected in error_of(*words)


@pytest.mark.parametrize(
    "words",
    [("put",), ("get",), ("rm",), ("info",), ("nonsense",), ("put", "x", "--ttl", "soon"), ("ls", "--nonsense")],
)
def test_usage(words):
    """A wrong command line exits with status 2, and creates no folder."""
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert not Path("artifacts").exists()


@pytest.mark.parametrize("words", [("--help",), ("-h",), *((name, "--help") for name in cli.commands)])
def test_help(words):
    """Each command has a help text."""
    assert "Usage: " in run(*words)


def test_commands():
    """The commands are those on the page."""
    reference = PAGE.read_text("utf-8").partition("## Commands\n")[2].partition("\n## ")[0]
    named = {
        word
        for words in re.findall(r"^\| (`.*?) \|", reference, re.MULTILINE)
        for word in re.findall(r"`([a-z-]+)", words)
    }
    assert set(cli.commands) == named
    assert all(command.help for command in cli.commands.values())


# Get


def test_get_to_a_file(file):
    """With -o the content goes to a file, whose path is printed on the standard error."""
    (artifact_id,) = put(file)
    result = CliRunner().invoke(cli, ["get", artifact_id, "-o", "copy.txt"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "copy.txt\n")
    assert Path("copy.txt").read_bytes() == b"Hello, world!"


def test_get_to_a_folder(file):
    """In a folder the file gets the artifact's filename."""
    (artifact_id,) = put(file)
    Path("downloads").mkdir()
    result = CliRunner().invoke(cli, ["get", artifact_id, "--output", "downloads"])
    assert result.exit_code == 0
    assert Path("downloads/hello.txt").read_bytes() == b"Hello, world!"


def test_get_replaces_nothing_in_a_folder(file):
    """A file of that name in a folder is replaced only with --force; a file named by path is replaced."""
    (artifact_id,) = put(file)
    Path("downloads").mkdir()
    mine = Path("downloads/hello.txt")
    mine.write_bytes(b"mine")
    assert "--force" in error_of("get", artifact_id, "-o", "downloads")
    assert mine.read_bytes() == b"mine"
    assert CliRunner().invoke(cli, ["get", artifact_id, "-o", "downloads", "--force"]).exit_code == 0
    assert mine.read_bytes() == b"Hello, world!"
    mine.write_bytes(b"mine")
    assert CliRunner().invoke(cli, ["get", artifact_id, "-o", "downloads/hello.txt"]).exit_code == 0
    assert mine.read_bytes() == b"Hello, world!"
    assert os.listdir("downloads") == ["hello.txt"]


def test_get_to_no_folder(file):
    """A path in a folder that does not exist is an error."""
    (artifact_id,) = put(file)
    assert "does not exist" in error_of("get", artifact_id, "-o", "nowhere/copy.txt")


def test_get_to_a_path_that_can_not_be_written(file):
    """An error of the system is printed like any other error."""
    (artifact_id,) = put(file)
    Path("copy.txt").mkdir()
    Path("copy.txt/hello.txt").mkdir()
    error_of("get", artifact_id, "-o", "copy.txt")
    assert os.listdir("copy.txt") == ["hello.txt"]


def test_get_corrupted(file):
    """Altered bytes are an error that does not show them, and no file is written."""
    (artifact_id,) = put(file)
    (stored,) = Path("artifacts").rglob(artifact_id)
    stored.write_bytes(b"Hello, World!")
    assert artifact_id in error_of("get", artifact_id, "-o", "copy.txt")
    assert not Path("copy.txt").exists()
    result = CliRunner().invoke(cli, ["get", artifact_id])
    assert result.exit_code == 1
    assert "World" not in result.stderr


# ls, info, rm, gc


def test_ls(file):
    """A line of ``ls`` has id, length, time and filename."""
    (artifact_id,) = put(file)
    (unnamed,) = put("-", input="12")
    lines = [line.split() for line in run("ls").splitlines()]
    assert [(line[0], line[1], line[3]) for line in lines] == [(unnamed, "2", "-"), (artifact_id, "13", "hello.txt")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line[2]) for line in lines)


def test_ls_of_a_session(file):
    """``ls`` lists one session; with --prefix only the filenames that begin with it."""
    Path("other.txt").write_bytes(b"")
    put(file, "other.txt", "--session", "demo")
    result = CliRunner().invoke(cli, ["ls"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no files in session cli; chuk-artifacts sessions ls lists the others\n"
    assert error_of("ls", "unknown", "-l").startswith("no session 'unknown'")
    assert error_of("find", "*.txt").startswith("no session '*.txt'")
    assert error_of("ls", "demo/none/") == "no folder 'none/' in session 'demo'"
    assert json.loads(run("find", "unknown", "--json")) == []
    assert len(run("ls", "demo").splitlines()) == 2
    assert "hello.txt" in run("ls", "demo", "--prefix", "hel")
    assert "other.txt" not in run("ls", "demo", "--prefix", "hel")
    put("-", "--name", "docs/a.txt", "--session", "demo", input="a")
    assert run("ls", "demo", "--prefix", "none") == run("ls", "demo/docs", "--prefix", "none") == ""


def test_json(file):
    """With --json, ``ls`` and ``info`` print the metadata as JSON."""
    (artifact_id,) = put(file, "--summary", "ü")
    with ArtifactStore(storage_provider="filesystem") as store:
        metadata = dict(store.metadata(artifact_id))
    assert json.loads(run("ls", "--json")) == [metadata]
    assert json.loads(run("info", artifact_id, "--json")) == metadata
    assert json.loads(run("ls", "unknown", "--json")) == []


def test_info(file):
    """``info`` prints a line for each field."""
    (artifact_id,) = put(file)
    printed = dict(line.split(maxsplit=1) for line in run("info", artifact_id).splitlines() if len(line.split()) > 1)
    assert printed["artifact_id"] == artifact_id
    assert printed["bytes"] == "13"
    assert printed["filename"] == "hello.txt"


def test_terminal_obeys_nothing(file):
    """Control characters in a stored text are printed as escapes; --json is exact."""
    summary = "\x1b]0;title\x07\x1b[2J\x9b31m\r\nfile \u202etxt.exe\u2028 Grüße 日本語 👩‍🚀"
    (artifact_id,) = put(file, "--summary", summary)
    (line,) = [line for line in run("info", artifact_id).split("\n") if line.startswith("summary")]
    printed = line.removeprefix("summary").strip()
    assert printed == r"\x1b]0;title\x07\x1b[2J\x9b31m\r\nfile \u202etxt.exe\u2028 Grüße 日本語 👩‍🚀"
    assert json.loads(run("info", artifact_id, "--json"))["summary"] == summary


def test_terminal_obeys_no_error_message():
    """Control characters in an error message are printed as escapes."""
    run("init")
    assert error_of("rm", "\x1b[2J\x9b") == r"not found: \x1b[2J\x9b"


def test_rm(file):
    """``rm`` takes several ids, deletes those that exist, and names the others in an error."""
    first, second = put(file, file)
    assert run("rm", first) == ""
    assert error_of("rm", first, second) == f"not found: {first}"
    assert json.loads(run("ls", "--json")) == []


def test_gc(file):
    """``gc`` removes expired artifacts, with --orphans also old bytes without a record, and prints counts."""
    (kept,) = put(file)
    put(file, "--ttl", "0.000001")
    (stored,) = Path("artifacts").rglob(kept)
    orphan = stored.with_name("0" * 32)
    orphan.write_bytes(b"123")
    os.utime(orphan, (0, 0))
    assert json.loads(run("gc", "--dry-run", "--json")) == {"sessions": 0, "artifacts": 1, "orphans": 0, "bytes": 13}
    assert json.loads(run("gc", "--json")) == {"sessions": 0, "artifacts": 1, "orphans": 0, "bytes": 13}
    assert orphan.exists()
    assert json.loads(run("gc", "--orphans", "--dry-run", "--json"))["orphans"] == 1
    shown = run("gc", "--orphans", "--dry-run", "-v").splitlines()
    assert shown[-1].startswith("orphan  grid/")
    assert shown[-1].endswith(f"/cli/{'0' * 32}")
    assert orphan.exists()
    report = {"sessions": 0, "artifacts": 0, "orphans": 1, "bytes": 3, "skipped": {"young": 1, "foreign": 0}}
    assert json.loads(run("gc", "--orphans", "--json")) == report
    assert run("gc").split() == ["sessions", "0", "artifacts", "0", "orphans", "0", "bytes", "0"]
    assert stored.exists()
    assert not orphan.exists()


def test_gc_says_what_it_skips(file):
    """``gc --orphans`` counts the objects that are too young, and those that are no artifact's."""
    (kept,) = put(file)
    (stored,) = Path("artifacts").rglob(kept)
    for name in ("0" * 32, "~session", "notes.txt"):
        stored.with_name(name).write_bytes(b"123")
    assert json.loads(run("gc", "--orphans", "--dry-run", "--json"))["skipped"] == {"young": 3, "foreign": 1}
    assert run("gc", "--orphans").splitlines()[-1] == "skipped    3 younger than the age, 1 that are not of artifacts"
    assert "skipped" not in run("gc")


def test_reindex(file):
    """``reindex`` brings back what a lost catalog knew; --dry-run only counts it."""
    (stored,) = put(file, "--name", "a.txt")
    for path in Path("artifacts").glob("catalog.sqlite3*"):
        path.unlink()
    assert json.loads(run("reindex", "--dry-run", "--json"))["artifacts"] == 1
    assert run("find") == ""
    report = run("reindex").split()
    assert report[:2] == ["artifacts", "1"]
    assert "failures" not in report
    assert run("cat", stored) == file.read_text()
    assert json.loads(run("reindex", "--json")) | {"known": 0, "adopted": True} == {
        **dict.fromkeys(("artifacts", "versions", "sessions", "known", "expired", "incomplete", "bytes", "failed"), 0),
        "failures": {},
        "adopted": True,
    }


def test_reindex_of_what_cannot_be_read(file):
    """``reindex`` names what it could not read, and exits with status 1."""
    (stored,) = put(file)
    (path,) = Path("artifacts").rglob(stored)
    foreign = path.parent.with_name("mallory") / stored
    foreign.parent.mkdir()
    foreign.write_bytes(b"")
    result = CliRunner().invoke(cli, ["reindex", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"] == 1
    assert f"mallory/{stored}: its id is that of an artifact of another session" in result.stderr


def test_gc_by_age(file):
    """Orphans younger than --older-than stay; an age below a day is refused."""
    (kept,) = put(file)
    (stored,) = Path("artifacts").rglob(kept)
    orphan = stored.with_name("0" * 32)
    orphan.write_bytes(b"123")
    two_days_ago = time.time() - 2 * 86400
    os.utime(orphan, (two_days_ago, two_days_ago))
    for age in ("3d", "1w", "72h"):
        assert json.loads(run("gc", "--orphans", "--older-than", age, "--json"))["orphans"] == 0
    for age in ("23h", "0d", "7", "-1d", "1y", ""):
        assert CliRunner().invoke(cli, ["gc", "--orphans", "--older-than", age]).exit_code == 2
    assert json.loads(run("gc", "--orphans", "--older-than", "36h", "--json"))["orphans"] == 1


def test_gc_with_another_catalog(monkeypatch, file):
    """With a foreign database ``gc --orphans`` removes no bytes, and prints the reason."""
    (kept,) = put(file)
    (stored,) = Path("artifacts").rglob(kept)
    os.utime(stored, (0, 0))
    monkeypatch.setenv("SESSION_SQLITE_PATH", "other.sqlite3")
    assert run("gc").split()[5] == "0"
    assert "SESSION_SQLITE_PATH" in error_of("gc", "--orphans")
    assert "no orphan was removed" in error_of("gc", "--orphans", "--force")
    assert stored.exists()


def test_gc_of_many_orphans(file):
    """If more than half of all objects are orphans, ``gc`` needs --force."""
    (kept,) = put(file)
    (stored,) = Path("artifacts").rglob(kept)
    for number in range(21):
        orphan = stored.with_name(f"{number:032x}")
        orphan.write_bytes(b"123")
        os.utime(orphan, (0, 0))
    assert "--force" in error_of("gc", "--orphans")
    assert json.loads(run("gc", "--orphans", "--force", "--json"))["orphans"] == 21
    assert stored.exists()


def test_gc_around_damage(file):
    """``gc`` goes on past a damaged record, counts it, and exits with status 1."""
    (damaged,) = put(file, "--ttl", "0.000001")
    put(file, "--ttl", "0.000001")
    with contextlib.closing(sqlite3.connect("artifacts/catalog.sqlite3")) as connection, connection:
        connection.execute("UPDATE artifacts SET record = 'rubbish' WHERE artifact_id = ?", (damaged,))
    result = CliRunner().invoke(cli, ["gc", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["artifacts"]) == (1, 1)
    assert "1 records are damaged" in result.stderr
    assert "damaged" in CliRunner().invoke(cli, ["doctor"]).stdout
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 1


# Configuration


def test_environment(monkeypatch, file):
    """The environment configures the commands, as it does a store."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", "elsewhere")
    monkeypatch.setenv("ARTIFACT_SANDBOX_ID", "box")
    (artifact_id,) = put(file)
    assert Path("elsewhere/grid/box/cli", artifact_id).exists()
    assert not Path("artifacts").exists()


def test_provider_of_the_environment(monkeypatch, file):
    """ARTIFACT_PROVIDER overrides the default of the commands."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", Path("elsewhere").absolute().as_uri())
    (artifact_id,) = put(file)
    assert artifact_id in run("ls")
    assert Path("elsewhere").exists()
    assert not Path("artifacts").exists()


MEMORY = {
    "records": {"SESSION_PROVIDER": "memory"},
    "bucket": {"ARTIFACT_PROVIDER": "s3"},
    "all": {"ARTIFACT_PROVIDER": "memory"},
    "bytes": {"ARTIFACT_PROVIDER": "memory", "SESSION_PROVIDER": "sqlite"},
}
COMMANDS = [
    "put FILE",
    "get ID",
    "cat ID",
    "cp ID s/b",
    "mv ID s/b",
    "ls",
    "info ID",
    "rm ID",
    "url ID",
    "stats",
    "sessions ls",
    "serve --port 0",
    "gc",
    "gc --orphans",
    "reindex",
]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("environment", MEMORY)
def test_nothing_in_memory(monkeypatch, file, environment, words):
    """Commands refuse bytes or records in memory, which the next command could not find."""
    for name, value in MEMORY[environment].items():
        monkeypatch.setenv(name, value)
    words = words.replace("FILE", str(file)).replace("ID", "0" * 32).split()
    expected = "ARTIFACT_PROVIDER" if environment == "bytes" else "set SESSION_PROVIDER to sqlite, redis or postgres"
    assert expected in error_of(*words)


@pytest.mark.parametrize("environment", MEMORY)
def test_doctor_of_what_is_in_memory(request, monkeypatch, environment):
    """``doctor`` runs with any provider, and fails where bytes outlive their records, or records their bytes."""
    for name, value in MEMORY[environment].items():
        monkeypatch.setenv(name, value)
    if environment == "bucket":
        options = s3_on_moto(request)
        monkeypatch.setenv("ARTIFACT_BUCKET", options["bucket"])
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == (0 if environment == "all" else 1)
    assert ("warning" in result.stdout) == (environment != "all")


@pytest.mark.parametrize("provider", ["nonsense", "s3://user:hunter2@host"])
def test_bad_configuration(monkeypatch, provider):
    """An unknown provider is an error that hides the secrets of its URL."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", provider)
    assert "hunter2" not in error_of("ls")


def test_broken_catalog(file):
    """A catalog that can't be read is an error."""
    Path("artifacts").mkdir()
    Path("artifacts/catalog.sqlite3").write_bytes(b"no database at all, not even a little" * 100)
    assert "not a database" in error_of("put", file)
    assert "not a database" in error_of("ls")


def test_doctor(monkeypatch):
    """``doctor`` reports storage and catalog, as text or JSON, and fails when one does not work."""
    run("init")
    assert run("doctor").splitlines()[:2] == ["storage: filesystem, ok", "session: sqlite, ok"]
    assert json.loads(run("doctor", "--json"))["session"] == {"status": "ok", "provider": "sqlite"}
    monkeypatch.setenv("SESSION_PROVIDER", "redis")
    monkeypatch.setenv("SESSION_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert "session: redis, error\n  message: catalog redis://127.0.0.1:1:" in result.output
    assert "hunter2" not in result.output


def test_init_with_postgres(monkeypatch, postgres_url):
    """``init`` makes the tables, so that other roles need no right to."""
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("SESSION_PROVIDER", "postgres")
    monkeypatch.setenv("SESSION_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("SESSION_POSTGRES_SCHEMA", "made_by_init")
    run("init")
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regclass('made_by_init.artifacts')").fetchone() != (None,)


def test_doctor_of_postgres(monkeypatch, postgres_url):
    """``doctor`` prints what PostgreSQL is, and fails when it can't be reached, without its password."""
    monkeypatch.setenv("SESSION_PROVIDER", "postgres")
    monkeypatch.setenv("SESSION_POSTGRES_URL", postgres_url)
    run("init")
    result = CliRunner().invoke(cli, ["doctor"])  # exits 1: the server of the tests takes risks
    assert "session: postgres, ok\n  server: postgresql 1" in result.output
    assert "  schema: version " in result.output
    monkeypatch.setenv("SESSION_POSTGRES_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert "session: postgres, error\n  message: catalog postgresql://u@127.0.0.1:1/x:" in result.output
    assert "hunter2" not in result.output
