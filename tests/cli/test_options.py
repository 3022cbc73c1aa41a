"""Options that choose the store, durations, forms of output, exit status, and what commands create."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import child
import pytest

from chuk_artifacts import ArtifactStore

READING = [
    *("get x", "cat demo/x", "cp demo/x demo/y", "mv demo/x demo/y", "rm demo/x", "ls", "info x", "stats", "url x"),
    *(
        "sessions ls",
        "sessions info demo",
        "sessions rm demo",
        "sync demo ./x",
        "versions x",
        "restore x 1",
        "find",
        "du",
        "users ls",
        "users rm x",
        "gc",
        "reindex",
        "doctor",
    ),
]
LISTING = [
    "ls demo",
    "info demo/docs/a.txt",
    "stats",
    "sessions ls",
    "sessions info demo",
    "versions demo/docs/a.txt",
    "gc",
    "reindex --dry-run",
    "doctor",
    "find --mime text/*",
    "du",
    "users ls",
]


@pytest.mark.parametrize("words", READING)
def test_a_folder_without_a_store(shell, words):
    """A command that reads says that there is no store, where, and creates nothing."""
    result = shell.result(*words.split())
    assert result.exit_code == 1
    assert f"no store at '{Path('artifacts').absolute()}'" in result.output
    assert os.listdir() == []


def test_a_missing_catalog_is_no_store(shell, tree, monkeypatch):
    """A database named by the environment that does not exist is not created by reading."""
    shell.put(tree / "a.txt")
    monkeypatch.setenv("SESSION_SQLITE_PATH", "other.sqlite3")
    assert "other.sqlite3" in shell.error("ls")
    assert not Path("other.sqlite3").exists()


def test_init_makes_a_store(shell):
    """``init`` says what it made and what was there; then there is a store, and reading finds it empty."""
    here = str(Path("here").absolute())
    first = shell("init", "--root", "here").splitlines()
    assert first == [f"storage  created the folder {here!r}", f"catalog  created the database '{here}/catalog.sqlite3'"]
    assert json.loads(shell("init", "--root", "here", "--json")) == {
        "storage": f"found the folder {here!r}",
        "catalog": f"found the database '{here}/catalog.sqlite3'",
    }
    assert shell("ls", "--root", "here") == ""
    assert shell("--root", "here", "ls") == ""


def test_options_choose_the_store(shell, tree, monkeypatch):
    """Options before or behind the command override the environment, only for that command."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", "of-environment")
    shell.put("--root", "one", "--sandbox", "box", tree / "a.txt")
    assert os.listdir("one/grid") == ["box"]
    assert "a.txt" in shell("--root", "one", "ls", "--sandbox", "box")
    assert shell("--root", "nowhere", "ls", "--root", "one", "--sandbox", "other") == ""
    assert os.environ["ARTIFACT_FS_ROOT"] == "of-environment"
    assert "ARTIFACT_SANDBOX_ID" not in os.environ
    assert not Path("of-environment").exists()


def test_provider_option(shell, tree):
    """--provider and --session-provider override the defaults; what is unknown is named by its option."""
    assert "--provider (ARTIFACT_PROVIDER) 'nonsense' is not known" in shell.error("ls", "--provider", "nonsense")
    assert "--session-provider" in shell.error("ls", "--session-provider", "nonsense")
    shell.put(tree / "a.txt", "--provider", Path("here").absolute().as_uri())
    assert "a.txt" in shell("ls", "--root", "here")


def test_an_option_without_effect_is_refused(shell, monkeypatch):
    """--root or --bucket that the provider does not use is an error, and not another store than expected."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", Path("of-url").absolute().as_uri())
    assert "--root 'x' is not used" in shell.error("ls", "--root", "x")
    monkeypatch.setenv("ARTIFACT_PROVIDER", "filesystem")
    assert "--bucket 'abc' is not used" in shell.error("ls", "--bucket", "abc")


def test_verbose_prints_log_lines(shell, tree):
    """-v prints log lines on the standard error; the next command prints none."""
    result = shell.result("-v", "put", tree / "a.txt")
    assert "DEBUG chuk_artifacts" in result.stderr
    assert len(result.stdout.split()) == 1
    assert "DEBUG chuk_artifacts" in shell.result("ls", "-v").stderr
    shell("ls")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("12h", 43200), ("7d", 604800)]
)
def test_ttl(shell, tree, text, seconds):
    """--ttl takes seconds, or a number with a unit."""
    (artifact_id,) = shell.put(tree / "a.txt", "--ttl", text)
    assert json.loads(shell("info", artifact_id, "--json"))["ttl"] == seconds


def test_ttl_never(shell, tree):
    """--ttl never keeps files for ever in a new session, and is refused in one that expires."""
    (artifact_id,) = shell.put(tree / "a.txt", "--session", "kept", "--ttl", "never")
    assert json.loads(shell("info", artifact_id, "--json"))["expires_at"] is None
    shell.put(tree / "b.md", "--session", "kept", "--ttl", "never")
    shell.put(tree / "a.txt", "--session", "brief")
    assert "session 'brief' expires at" in shell.error("put", tree / "b.md", "--session", "brief", "--ttl", "never")
    assert "b.md" not in shell("ls", "brief")


@pytest.mark.parametrize("text", ["soon", "", "inf", "nan", "7y", "1e999", "1h30m", "٣"])
def test_bad_ttl(shell, tree, text):
    """What is no duration is a wrong command line, and nothing is stored."""
    assert shell.result("put", tree / "a.txt", "--ttl", text).exit_code == 2
    assert not Path("artifacts").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("put pipe", "'pipe' is not a file"),
        ("put docs/a.txt --mime x", "--mime must be a media type such as 'image/png' (RFC 9110): 'x'"),
        ("put docs/a.txt --name ../x", "--name must not hold a '..' segment: '../x'"),
        ("get demo/x -o nowhere/x", "the folder 'nowhere' does not exist"),
        ("url demo/x --expires 30d", "--expires must be at most 7 days"),
        ("ls --sandbox a/b", "--sandbox (ARTIFACT_SANDBOX_ID) must not hold '/'"),
        ("ls --provider s3 --session-provider redis --bucket a_", "--bucket (ARTIFACT_BUCKET) must be"),
    ],
)
def test_messages_speak_of_options(shell, tree, words, message):
    """A message names options and paths, and no Python arguments."""
    os.mkfifo("pipe")
    shell.put(tree / "a.txt", "--session", "demo", "--name", "x")
    assert shell.error(*words.split()).startswith(message)


@pytest.mark.parametrize("words", LISTING)
def test_json_and_csv(shell, tree, words):
    """What lists or describes prints JSON and CSV."""
    shell.put("-r", tree, "--session", "demo")
    with ArtifactStore(storage_provider="filesystem") as store:
        store.create_session(user_id="alice")
    json.loads(shell(*words.split(), "--json"))
    names, *rows = csv.reader(io.StringIO(shell(*words.split(), "--csv")))
    assert all(len(row) == len(names) for row in rows)
    assert rows


def test_csv_holds_any_name(shell):
    """CSV quotes filenames with commas, quotes and spaces."""
    name = 'a, "b" ü.txt'
    shell("put", "-", "--name", name, "--session", "demo", "--meta", "k=v,w", input="x")
    (row,) = csv.DictReader(io.StringIO(shell("ls", "demo", "--csv")))
    assert (row["filename"], json.loads(row["meta"])) == (name, {"k": "v,w"})


def test_interrupted(tmp_path):
    """Ctrl-C exits with status 130 and without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", "put", "-"],
        env=child.environment(ARTIFACT_FS_ROOT=str(tmp_path / "root")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as putting:
        putting.stdin.write(b"x" * 2_000_000)  # more than a pipe holds: it is being read
        putting.stdin.flush()
        while putting.poll() is None:  # a signal just before a call of the system interrupts nothing
            putting.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                putting.wait(1)
        assert putting.returncode == 130
        assert putting.stderr.read() == b""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "root") as store:
        assert store.get_stats()["artifacts"] == 0


def test_help_imports_no_driver(tmp_path):
    """The help imports no driver, no fsspec and no rich; a store on disk imports only what it needs."""
    code = """
        import sys
        from chuk_artifacts.cli import cli
        try:
            cli(["--help"], prog_name="chuk-artifacts")
        except SystemExit:
            pass
        names = {"boto3", "botocore", "fsspec", "redis", "rich"}
        print(sorted({name.partition(".")[0] for name in sys.modules} & names))
        """
    assert child.run(code).endswith("[]\n")
    code = """
        import sys
        from chuk_artifacts.cli import cli
        try:
            cli(["init"], prog_name="chuk-artifacts")
        except SystemExit as ended:
            assert ended.code == 0
        names = {"boto3", "botocore", "redis", "rich"}
        print(sorted({name.partition(".")[0] for name in sys.modules} & names))
        """
    assert child.run(code, cwd=tmp_path).endswith("[]\n")


def test_doctor_says_what_decided(shell, monkeypatch):
    """``doctor`` names option, variable or default for each setting, versions, and what to do about a warning."""
    monkeypatch.setenv("ARTIFACT_SESSION_TTL_HOURS", "never")
    shell("init", "--root", "here")
    found = json.loads(shell("doctor", "--root", "here", "--json"))
    decided = {one["name"]: (one["value"], one["source"]) for one in found["settings"]}
    assert decided["root"] == (str(Path("here").absolute()), "option --root")
    assert decided["session-ttl"] == ("never", "variable ARTIFACT_SESSION_TTL_HOURS")
    assert decided["provider"] == ("filesystem", "default")
    assert decided["catalog"][0].endswith("here/catalog.sqlite3")
    assert found["versions"]["chuk-artifacts"]
    assert found["warnings"] == []
    monkeypatch.setenv("SESSION_PROVIDER", "memory")
    report = shell.result("doctor", "--root", "here")
    assert report.exit_code == 1
    assert "choose --session-provider sqlite, redis or postgres" in report.stdout.partition("warnings:")[2]


@pytest.mark.parametrize("provider", ["redis", "postgres"])
def test_doctor_hides_secrets(shell, monkeypatch, provider):
    """No password of a URL and no signing key is in the report."""
    monkeypatch.setenv("SESSION_PROVIDER", provider)
    monkeypatch.setenv(f"SESSION_{provider.upper()}_URL", f"{provider}://:hunter2@127.0.0.1:1")
    monkeypatch.setenv("ARTIFACT_SIGNING_KEY", "hunter2" * 4)
    Path("artifacts").mkdir()
    for form in ([], ["--json"], ["--csv"]):
        result = shell.result("doctor", *form)
        assert result.exit_code == 1
        assert "hunter2" not in result.output
        assert "127.0.0.1:1" in result.output
