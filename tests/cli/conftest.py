"""Running the command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from chuk_artifacts.cli import cli


class Shell:
    """Runs commands in this process."""

    def result(self, *words, input=None):
        """Return the result of a command."""
        return CliRunner().invoke(cli, [*map(str, words)], input=input)

    def __call__(self, *words, input=None):
        """Return the output of a command that succeeds without an error message."""
        result = self.result(*words, input=input)
        assert (result.exit_code, result.stderr) == (0, ""), (words, result.output, result.exception)
        return result.stdout

    def error(self, *words, input=None):
        """Return the message of a command that fails with one line."""
        result = self.result(*words, input=input)
        assert (result.exit_code, result.stdout) == (1, ""), (words, result.output, result.exception)
        (line,) = result.stderr.splitlines()
        return line.removeprefix("chuk-artifacts: ")

    def put(self, *words, input=None):
        """Return the ids of the files that ``put`` stores."""
        return self("put", *words, input=input).split()


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Run commands in an empty folder, without variables that configure a store."""
    monkeypatch.chdir(tmp_path)
    for name in ("ARTIFACT_PROVIDER", "ARTIFACT_FS_ROOT", "ARTIFACT_SANDBOX_ID", "SESSION_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    return Shell()


@pytest.fixture
def tree(tmp_path):
    """Make a folder ``docs`` with files at two levels."""
    for name, content in {"docs/a.txt": b"a", "docs/b.md": b"bb", "docs/inner/c.csv": b"ccc"}.items():
        path = Path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "docs"
