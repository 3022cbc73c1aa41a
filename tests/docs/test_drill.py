"""The drill of the page on backups, on a disk and with records on a server."""

from __future__ import annotations

import re

import pytest
from blocks import source

PAGE, HEADING = "docs/operations/backup.md", "Drill"
ON_DISK = 'options = {"storage_provider": "filesystem", "fs_root": "drill"}\nrestored = options\n'
IN_PAGE = re.compile(r"postgresql://files@db\.example/files|redis://redis\.example:6379")


def test_drill_on_a_disk(tmp_path, monkeypatch):
    """The program loses a catalog, and brings everything back."""
    monkeypatch.chdir(tmp_path)
    exec(compile(source(PAGE, HEADING), PAGE, "exec"), {"__name__": "drill"})


@pytest.mark.parametrize(("number", "server"), [(1, "postgres_url"), (2, "redis_url")])
def test_drill_on_a_server(number, server, request, tmp_path, monkeypatch):
    """The program runs with the options that the page has for a server."""
    monkeypatch.chdir(tmp_path)
    url = request.getfixturevalue(server).removesuffix("/0")
    options, count = IN_PAGE.subn(url, source(PAGE, HEADING, number))
    program = source(PAGE, HEADING)
    assert count
    assert ON_DISK in program
    exec(compile(program.replace(ON_DISK, options), PAGE, "exec"), {"__name__": "drill"})
    assert not (tmp_path / "drill").exists(), "the program ended early"
