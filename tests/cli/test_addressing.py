"""Addresses: by id, by a unique prefix of it, by session and filename."""

from __future__ import annotations

from pathlib import Path

import pytest

COMMANDS = ["get", "cat", "info", "url", "rm"]


@pytest.fixture
def stored(shell, tree):
    """Return the id of ``demo/docs/a.txt``, beside other files."""
    shell.put(tree / "b.md", "--session", "other")
    ids = shell.put("-r", tree, "--session", "demo")
    return ids[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", ["id", "prefix", "name"])
def test_every_command_takes_every_address(shell, stored, command, form):
    """A file is found by its id, by a unique prefix of it, and by session and filename."""
    address = {"id": stored, "prefix": stored[:14], "name": "demo/docs/a.txt"}[form]
    shell(command, address)
    if command == "rm":
        assert "docs/a.txt" not in shell("ls", "demo", "--recursive")


def test_a_name_means_the_newest(shell, tree):
    """Of several files with one name, the newest is meant."""
    for content in (b"1", b"2"):
        Path("x").write_bytes(content)
        shell.put("x", "--session", "demo")
    assert shell("cat", "demo/x") == "2"


def test_an_ambiguous_prefix_lists_what_it_could_mean(shell, stored):
    """A prefix of several ids is refused with a list of them, and nothing is deleted."""
    message = shell.error("rm", stored[:8])
    assert "several files" in message
    assert f"{stored} (demo/docs/a.txt)" in message
    assert len(shell("ls", "demo", "-R").splitlines()) == 3


@pytest.mark.parametrize("address", ["abcd", "f" * 31, "0" * 32, "demo/unknown", "nowhere/x", "xyz", "abc", "ABCDEF12"])
def test_an_unknown_address(shell, stored, address):
    """An address of nothing is an error that repeats it."""
    assert address.rpartition("/")[2] in shell.error("cat", address)


def test_hint_of_another_session(shell, stored):
    """The message says where there is a file of that name."""
    assert shell.error("cat", "demo/b.md").endswith("there is a file of that name in session other: write other/b.md")
    assert "there is a file of that name in session other: write other/b.md" in shell.error("info", "b.md")
    assert "(there is a file of that name in session other" in shell.error("rm", "b.md")


def test_hint_of_folder_and_session(shell, stored):
    """The message says that a folder or a session is meant, or that the session is unknown."""
    assert "is a folder: write demo/docs/" in shell.error("cat", "demo/docs")
    assert "it is a session: write demo/" in shell.error("cat", "demo")
    assert "there is no such session" in shell.error("cat", "nowhere/x")


@pytest.mark.parametrize("address", ["/x", "../x", "demo/../x", "demo//x", "demo/x\x00"])
def test_a_bad_name_is_an_error(shell, stored, address):
    """A name that no file can have is one line of error."""
    shell.error("cat", address)


def test_completion(shell, stored, monkeypatch):
    """The shell completes sessions, then filenames folder by folder, in the store that options name."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415

    from chuk_artifacts.cli import cli  # noqa: PLC0415

    def complete(*words):
        *before, last = words
        found = ShellComplete(cli, {}, "chuk-artifacts", "_X").get_completions(before, last)
        return [one.value for one in found]

    assert complete("cat", "") == ["demo/", "other/"]
    inner = ["demo/docs/inner/", "demo/docs/a.txt", "demo/docs/b.md"]
    assert complete("cat", "de") == complete("cat", "demo/") == complete("info", "demo/docs/") == inner
    assert complete("cat", "demo/docs/i") == ["demo/docs/inner/c.csv"]
    assert complete("put", "--session", "o") == ["other"]
    assert complete("sessions", "rm", "o") == ["other"]
    assert complete("--root", "elsewhere", "cat", "") == []
    assert complete("cat", "--root", "elsewhere", "") == []
    assert not Path("elsewhere").exists()
    monkeypatch.setenv("ARTIFACT_FS_ROOT", "elsewhere")
    assert complete("cat", "--root", "artifacts", "o") == ["other/b.md"]
    monkeypatch.setenv("ARTIFACT_PROVIDER", "nonsense")
    assert complete("cat", "") == []
