"""The code blocks of the README and of the pages in ``docs/``, and how each kind is tried.

A comment before a block says what it needs, or why it is not run: ``<!-- needs: pandas, duckdb -->`` names packages,
``<!-- not run: a reason -->`` is for what needs a server or another project, ``<!-- run by: tests/… -->`` names a test
that runs it. Blocks of Python that are not run are compiled. ``<!-- awaits: … -->`` is for a block that awaits without
a function around it, as in a notebook. ``<!-- prints: -->`` marks what the block before prints.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib.util
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import child
import yaml
from click.testing import CliRunner

from chuk_artifacts.cli import cli

README = child.PROJECT / "README.md"
DOCS = child.PROJECT / "docs"
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>needs|not run|run by|awaits|prints):(?P<note>[^\n]*?) -->\n+)?"
    r"(?P<indent> *)```(?P<language>\w+)[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_PRINTED = "__printed__"
NOT_TRIED = re.compile(r"python -m (pip|venv|tox|pytest)\b|git clone ")
"""Commands that make an environment, or run the tests."""


@attrs.frozen
class Block:
    """A block of code of a page.

    Attributes:
        page: its file.
        line: the line it begins at.
        language: the first word after the fence.
        code: its text.
        mark: what the comment before it is: ``needs``, ``not run``, ``run by``, ``awaits`` or ``prints``.
        note: what that comment says.

    """

    page: Path
    line: int
    language: str
    code: str
    mark: str = ""
    note: str = ""

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        names = [name.strip() for name in self.note.split(",")] if self.mark == "needs" else []
        return [name for name in names if not _is_installed(name)]

    @property
    def place(self) -> str:
        """Its page and line."""
        return f"{self.page.relative_to(child.PROJECT)}:{self.line}"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def pages() -> list[Path]:
    """Return the README and each page."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        code = re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE)
        line = text.count("\n", 0, found.start("code"))
        yield Block(page, line, found["language"], code, found["mark"] or "", (found["note"] or "").strip())


def source(page: str, heading: str, number: int = 0) -> str:
    """Return the source of an example of a page under a heading, by default of the first."""
    text = (child.PROJECT / page).read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[number]


def block(page: str, *headings: str) -> dict[str, Any]:
    """Return the names that the examples under headings of a page define, as one program."""
    namespace = {"__name__": "example"}
    for heading in headings:
        exec(compile(source(page, heading), page, "exec"), namespace)
    return namespace


def run(one: Block, names: dict[str, Any]) -> None:
    """Try a block in the current folder; *names* are those that earlier blocks of the page defined.

    Raises:
        AssertionError: it does not do what the page says.
        Exception: whatever else its code raises.

    """
    assert one.language in _KINDS, f"{one.place}: no way to try {one.language!r}"
    _KINDS[one.language](one, names)


def _doctest(one: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(one.code, names, one.place, str(one.page), one.line)
    test.globs = names  # not a copy
    told: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append, clear_globs=False)
    assert not failed, "".join(told)


def _python(one: Block, names: dict[str, Any]) -> None:
    awaits = one.mark == "awaits"
    compiled = compile(one.code, one.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if awaits else 0)
    if awaits:
        asyncio.run(eval(compiled, names))
    elif one.mark in {"", "needs"}:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compiled, names)
        names[_PRINTED] = printed.getvalue()


def _text(one: Block, names: dict[str, Any]) -> None:
    if one.mark == "prints":
        same = doctest.OutputChecker().check_output(one.code, names[_PRINTED], doctest.ELLIPSIS)
        assert same, f"{one.place}: printed\n{names[_PRINTED]}"


def _console(one: Block, names: dict[str, Any]) -> None:
    """Run the commands, and compare what each prints where the page shows it."""
    if one.mark == "not run":
        return
    for command, shown in re.findall(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", one.code, re.MULTILINE):
        if NOT_TRIED.match(command):
            continue
        words = shlex.split(command)
        assert words[0] == "chuk-artifacts", f"{one.place}: no way to try {words[0]!r}"
        result = CliRunner().invoke(cli, words[1:])
        assert result.exit_code == 0, f"{one.place}: {command}: {result.output}"
        if shown.strip():
            same = doctest.OutputChecker().check_output(shown, result.output, doctest.ELLIPSIS)
            assert same, f"{one.place}: {command} prints\n{result.output}"


def _shell(one: Block, names: dict[str, Any]) -> None:
    subprocess.run(["bash", "-n", "-c", one.code], check=True)


_KINDS: dict[str, Callable[[Block, dict[str, Any]], Any]] = {
    "pycon": _doctest,
    "python": _python,
    "console": _console,
    "sh": _shell,
    "json": lambda one, _: json.loads(one.code),
    "text": _text,
    "toml": lambda one, _: tomllib.loads(one.code),
    "yaml": lambda one, _: list(yaml.safe_load_all(one.code)),
    **dict.fromkeys(("nginx", "html", "javascript", "sql", "lua", "ini"), lambda *_: None),
}
"""How a block of each language is tried; what has no interpreter here is only shown."""
