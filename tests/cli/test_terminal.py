"""What a person sees on a terminal: tables, bars, colours, narrow windows."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import child
import pytest

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(*words, columns=120, stdin=subprocess.DEVNULL, **variables):
    """Run the command line on a terminal of a width, and return what it shows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = child.environment(**{"TERM": "xterm-256color", **variables})
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", *map(str, words)],
        env=environment,
        stdin=stdin,
        stdout=theirs,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the end of a terminal
            while chunk := os.read(ours, 65536):
                shown += chunk
        assert running.wait(60) == 0, shown
    os.close(ours)
    return shown.decode()


@pytest.fixture
def demo(shell, tree):
    """Store a few files in the session demo, and return the id of the first."""
    return shell.put("-r", tree, "--session", "demo")[0]


def test_a_table(demo):
    """On a terminal a listing has titles, whole ids, human sizes, the time left, and a total."""
    shown = ESCAPE.sub("", on_terminal("ls", "demo", "-R"))
    assert shown.split()[:4] == ["ID", "SIZE", "EXPIRES", "NAME"]
    assert demo in shown
    assert "1 B" in shown
    assert "in 24 h" in shown
    assert "3 files, 6 B" in shown


def test_link_to_this_machine(demo):
    """A link that only this machine can open says so; so does one that would outlive its file."""
    shown = on_terminal("url", demo, "--expires", "1d")
    assert "expires in 24 h, before the link does" in shown
    assert "set ARTIFACT_GATEWAY_URL" in shown
    assert "expires" not in on_terminal("url", demo, "--expires", "1h").partition("signature=")[2]
    assert "set ARTIFACT_GATEWAY_URL" not in on_terminal("url", demo, ARTIFACT_GATEWAY_URL="https://example.org/files")


def test_archive_on_a_terminal(demo):
    """An archive is not written to a terminal."""
    with pytest.raises(AssertionError, match="not for a terminal"):
        on_terminal("get", "demo/", "--zip")


def test_folders_in_a_table(demo):
    """Without --recursive a folder is one line."""
    shown = ESCAPE.sub("", on_terminal("ls", "demo"))
    assert "docs/" in shown
    assert "a.txt" not in shown
    assert "1 folder, 0 files" in shown


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("words", ["ls demo -R", "ls demo -R -l", "sessions ls"])
def test_narrow(demo, columns, words):
    """No line is wider than the terminal, and where ids are cut they still name one file."""
    shown = ESCAPE.sub("", on_terminal(*words.split(), columns=columns))
    assert max(map(len, shown.splitlines())) <= columns
    if words == "ls demo -R" and columns >= 60:
        (address,) = re.findall(rf"({demo[:12]}[0-9a-f]*)", shown)
        assert on_terminal("cat", address) == "a"


def test_reindex_counts(demo):
    """On a terminal ``reindex`` counts what it has looked at, and leaves only the report."""
    shown = on_terminal("reindex")
    assert re.search(r"reindex \d", ESCAPE.sub("", shown))
    assert re.search(r"known +3", shown)


def test_no_colour(demo):
    """With NO_COLOR nothing is coloured; in a pipe nothing is styled either."""
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", on_terminal("ls", "demo", NO_COLOR="1"))


def test_put_shows_when_files_expire(demo, tree):
    """On a terminal ``put`` shows id, session, size and the time left."""
    shown = ESCAPE.sub("", on_terminal("put", tree / "b.md", "--session", "demo", "--ttl", "7d"))
    assert shown.split()[:5] == ["ID", "SESSION", "SIZE", "EXPIRES", "NAME"]
    assert re.search(r"[0-9a-f]{32} +demo +2 B +in 7 d +b.md", shown)


def test_a_bar_for_what_takes_long(demo, tmp_path):
    """Long uploads and downloads show a bar on a terminal, and bytes arrive unchanged."""
    Path("large").write_bytes(os.urandom(9_000_000))
    assert "put" in on_terminal("put", "large", "--session", "demo")
    assert "get" in on_terminal("get", "demo/large", "-o", "copy")
    assert Path("copy").read_bytes() == Path("large").read_bytes()
    assert "sync" in on_terminal("sync", "demo", "./out")
    assert Path("out/large").read_bytes() == Path("large").read_bytes()


def test_terminal_obeys_no_name(shell, demo):
    """A filename can't use markup of the table, nor control characters of a summary the terminal."""
    shell("put", "-", "--name", "[red]x[bold]", "--session", "odd", input="x")
    assert "[red]x[bold]" in on_terminal("ls", "odd")


def test_without_rich(demo):
    """Without rich a terminal gets the same columns as plain text."""
    Path("rich").mkdir()
    Path("rich/__init__.py").write_text('raise ModuleNotFoundError("No module named rich", name="rich")\n')
    paths = os.pathsep.join([str(Path.cwd()), child.environment()["PYTHONPATH"]])
    shown = on_terminal("ls", "demo", "-R", PYTHONPATH=paths)
    assert "\x1b" not in shown
    assert "3 files, 6 B" in shown
