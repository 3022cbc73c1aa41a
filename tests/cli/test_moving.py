"""Commands that carry a store elsewhere: catalog export and import, migrate."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from servers.buckets import s3_on_served_moto

from chuk_artifacts import ArtifactStore
from chuk_artifacts.cli import progress


@pytest.fixture
def filled(shell, tree):
    """Return the shell of a store with three files."""
    shell("put", "-r", "docs", "--session", "demo")
    return shell


def open_root(root="artifacts", **options):
    """Return the store of a folder."""
    return ArtifactStore(storage_provider="filesystem", fs_root=root, **options)


def contents(store, session_id="demo"):
    """Return the contents of a session by id and filename."""
    listed = store.list_by_session(session_id)
    return {(one.artifact_id, one.filename): store.retrieve(one.artifact_id) for one in listed}


def lose_catalog():
    """Remove the database."""
    for path in Path("artifacts").glob("catalog.sqlite3*"):
        path.unlink()


def test_export_and_import(filled):
    """An export restores the records of a lost catalog; a dry run does neither."""
    with open_root() as store:
        before = contents(store)
    assert filled("catalog", "export", "--dry-run", "x") == "exported  3\n"
    assert not Path("x").exists()
    assert json.loads(filled("catalog", "export", "x.gz", "--json")) == {"exported": 3}
    assert gzip.decompress(Path("x.gz").read_bytes()).count(b"\n") == 6
    lose_catalog()
    assert json.loads(filled("catalog", "import", "x.gz", "--dry-run", "--json")) == {"records": 3}
    assert not Path("artifacts", "catalog.sqlite3").exists()
    assert filled("catalog", "import", "x.gz") == "imported  3\n"
    assert filled("catalog", "import", "x.gz") == "imported  0\n"
    with open_root() as store:
        assert contents(store) == before


def test_streams(filled):
    """A dash is the standard output, or the standard input."""
    result = filled.result("catalog", "export", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes.endswith(b'{"end":{"sessions":1,"artifacts":3}}\n')
    lose_catalog()
    assert filled("catalog", "import", "-", input=result.stdout_bytes) == "imported  3\n"


def test_errors_of_catalog(filled):
    """Errors are one line, with the number of the line in the file."""
    filled("catalog", "export", "x")
    assert "in sandbox" not in filled.error("catalog", "import", "missing")
    lines = Path("x").read_bytes().splitlines(keepends=True)
    Path("x").write_bytes(b"".join(lines[:-1]))
    assert "line 5: the file ends here" in filled.error("catalog", "import", "x")
    assert "line 1: the export is of the sandbox" in filled.error("catalog", "import", "x", "--sandbox", "other")
    assert "does not exist" in filled.error("catalog", "export", "no/folder/x")
    assert "no store at" in filled.error("catalog", "export", "x", "--root", "nowhere")


def test_migrate(filled):
    """All files are copied to a folder, with the ids that they have; running it again copies nothing."""
    with open_root() as store:
        before, sandbox_id = contents(store), store.sandbox_id
    planned = json.loads(filled("migrate", "--to", "./copy", "--dry-run", "--json"))
    assert not Path("copy").exists()
    assert (planned["artifacts"], planned["bytes"]) == (3, 6)
    result = filled.result("migrate", "--to", "./copy")
    assert result.exit_code == 0
    assert f"--sandbox {sandbox_id}" in result.stderr
    assert "artifacts  3\n" in result.stdout
    with open_root("copy", sandbox_id=sandbox_id) as store:
        assert contents(store) == before
        assert not Path(store.scope.core.settings.fs_root, "x").exists()
    found = json.loads(filled("migrate", "--to", "./copy", "--json"))
    assert (found["present"], found["artifacts"]) == (3, 0)
    url = Path("third").resolve().as_uri()
    result = filled.result("migrate", "--to", url, "--to-sandbox", "third", "--session", "demo", "--json")
    found = json.loads(result.stdout)
    assert "ids change" in result.stderr
    assert found["artifacts"] == 3
    assert found["sessions"] == 1


def test_environment_of_the_target(filled, request):
    """A file of variables describes a target with another service, and nothing of this store's own settings."""
    with open_root() as store:
        before = contents(store)
    options = s3_on_served_moto(request)
    Path("target.env").write_text(
        f"""
        # the new store
        export ARTIFACT_PROVIDER=s3
        ARTIFACT_BUCKET = "{options["bucket"]}"
        S3_ENDPOINT_URL={options["endpoint_url"]}
        AWS_ACCESS_KEY_ID='test'
        SESSION_PROVIDER=redis
        SESSION_REDIS_URL={request.getfixturevalue("redis_url")}
        ARTIFACT_SANDBOX_ID=files
        """
    )
    environment = dict(os.environ)
    result = filled.result("migrate", "--to-env", "target.env", "--json")
    assert json.loads(result.stdout)["artifacts"] == 3
    assert re.fullmatch(r"ids change: this sandbox is fs-\w+, the target's files\n", result.stderr)
    assert dict(os.environ) == environment
    options |= {"session_provider": "redis", "redis_url": request.getfixturevalue("redis_url")}
    with ArtifactStore(**options, sandbox_id="files") as store:
        assert {name: data for (_, name), data in contents(store).items()} == {
            name: data for (_, name), data in before.items()
        }


def test_records_of_the_target_are_its_own(filled, monkeypatch, tmp_path):
    """The database that a variable names for this store is not the target's."""
    monkeypatch.setenv("SESSION_SQLITE_PATH", str(tmp_path / "elsewhere.sqlite3"))
    filled("put", "docs/a.txt", "--session", "other")
    assert json.loads(filled("migrate", "--to", "./copy", "--json"))["artifacts"] == 1
    assert (tmp_path / "copy" / "catalog.sqlite3").exists()


def test_errors_of_migrate(filled):
    """A target that is missing, in memory, the same store or badly described is refused in one line."""
    assert filled.result("migrate").exit_code == 2
    assert filled.result("migrate", "--to", "x", "--to-env", "docs/a.txt").exit_code == 2
    assert "would be in memory" in filled.error("migrate", "--to", "memory")
    assert "--to-session-provider" in filled.error("migrate", "--to", "s3://bucket/prefix")
    assert "the same store" in filled.error("migrate", "--to", "./artifacts")
    assert "is not known" in filled.error("migrate", "--to", "nothing")
    Path("bad.env").write_text("ARTIFACT_PROVIDER=s3\npassword hunter2\n")
    error = filled.error("migrate", "--to-env", "bad.env")
    assert "line 2: not of the form NAME=VALUE" in error
    assert "hunter2" not in error


def test_failures_of_migrate(filled):
    """Files that can't be copied are named with the reason, and the command fails."""
    with open_root() as store:
        (one, *_) = store.list_by_session("demo")
        (Path("artifacts") / one.key).unlink()
    result = filled.result("migrate", "--to", "./copy", "--to-sandbox", "copy")
    assert result.exit_code == 1
    assert f"{one.artifact_id}: its bytes are gone" in result.stderr
    assert "1 files were not copied" in result.stderr
    assert "artifacts  2\n" in result.stdout


def test_bars(filled, monkeypatch):
    """A terminal shows a bar, which reaches its end."""
    bars = []

    class Bar:
        def __init__(self, *columns, **options):
            self.done, self.total = 0, None
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def add_task(self, label, total=None):
            self.total = total

        def update(self, task, advance=0, total=None):
            self.done, self.total = self.done + advance, self.total if total is None else total

    monkeypatch.setattr("rich.progress.Progress", Bar)
    monkeypatch.setattr(progress, "_LEAST_FILES", 1)
    monkeypatch.setattr(progress, "_shows_bars", lambda: True)
    for words in (["catalog", "export", "x"], ["catalog", "import", "x"], ["migrate", "--to", "./copy"]):
        assert filled.result(*words).exit_code == 0
    assert [(bar.done, bar.total) for bar in bars] == [(3, 3), (3, 3), (6, 6)]
