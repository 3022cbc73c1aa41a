"""Every command's help has an example, and every example runs."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import child
import pytest
from process import eventually

from chuk_artifacts import ArtifactStore
from chuk_artifacts.cli import cli

PROMPT = "chuk-artifacts "


def leaves(group=cli, names=()):
    """Yield each command with its name."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from leaves(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(leaves())
SERVERS = {"browse", "serve"}  # they run until they are interrupted: they have tests of their own


def examples(command):
    """Return the lines of a command's help that are examples."""
    return [line.strip() for line in (command.epilog or "").splitlines() if PROMPT in line]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SERVERS])
def test_examples(shell, tree, name):
    """The help has an example of the command, and each example succeeds on the files of a demo."""
    lines = examples(COMMANDS[name])
    assert any(f"{PROMPT}{name}" in line for line in lines)
    for number, line in enumerate(lines):
        _prepare(shell)
        text = None
        if " | " in line:
            text, line = "2026\n", line.partition(" | ")[2]  # noqa: PLW2901 - the part that is ours
        words = shlex.split(line)
        assert words[0] == PROMPT.strip()
        result = shell.result(*words[1:], input=text)
        assert result.exit_code == 0, (number, line, result.output, result.exception)


def test_example_of_serve(shell, tmp_path):
    """The example of ``serve`` serves until it is told to stop."""
    (line,) = re.findall(rf"Example: ({PROMPT}serve .*)", COMMANDS["serve"].help)
    words = shlex.split(line)[1:]
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", *words, "--port", "0", "--root", str(tmp_path)],
        env=child.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        port = serving.stderr.readline().rpartition(":")[2]
        assert eventually(lambda: _is_well(int(port)))
        serving.send_signal(signal.SIGTERM)
        serving.stderr.read()
    assert serving.returncode == 0


def _is_well(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return answer.status == 200
    return False


def _prepare(shell):
    Path("report.pdf").write_bytes(b"%PDF")
    Path("hello.txt").write_bytes(b"Hello\n")
    shell.result("rm", "--session", "demo")
    with ArtifactStore(storage_provider="filesystem") as store:
        store.create_session(user_id="alice")
    shell("put", "report.pdf", "hello.txt", "-r", "docs", "--session", "demo")
    shell("catalog", "export", "backup.jsonl.gz")


def test_help_is_in_words_of_the_command_line():
    """Each option has a help text, and none breaks the width of a terminal."""
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (name, parameter.name)
        for line in examples(command):
            assert len(line) <= 76, line  # click shows 80 columns
        assert not re.search(r"\bartifact_id\b", command.help or ""), name
