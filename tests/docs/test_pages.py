"""Every block of code in the README and in the pages runs, and does what the page says."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
import types

import blocks
import child
import fsspec
import pytest

from chuk_artifacts import ArtifactStore
from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.filesystem import ArtifactFileSystem

PAGES = blocks.pages()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Run the blocks in a folder of their own, which has what a checkout has that they name."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(blocks.README, "README.md")
    _register()
    loggers = [logging.getLogger(), logging.getLogger("chuk_artifacts")]
    before = [(one.level, one.handlers[:]) for one in loggers]
    yield
    for one, (level, handlers) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.handlers[:] = handlers
    forget_shared_cores()


def _register():
    """Do what the entry points do of a package that is installed."""
    fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)
    if importlib.util.find_spec("upath") is not None:
        from upath.registry import register_implementation  # noqa: PLC0415 - it needs the package

        register_implementation("artifact", "chuk_artifacts.path.ArtifactPath", clobber=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pandas, for what dask does with it
@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(child.PROJECT)) for page in PAGES])
def test_blocks(page, monkeypatch):
    """The blocks of a page run from the first to the last, as one program."""
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # where typing looks for the names of a web application
    skipped = []
    try:
        for one in blocks.blocks(page):
            if one.missing:
                skipped.append(f"line {one.line} needs {', '.join(one.missing)}")
            else:
                blocks.run(one, module.__dict__)
    finally:
        for value in list(vars(module).values()):
            if isinstance(value, ArtifactStore):
                value.close()
    if skipped:
        pytest.skip("; ".join(skipped))


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(child.PROJECT)) for page in PAGES])
def test_marks(page):
    """What is run elsewhere is named there; every fence has a language."""
    text = page.read_text(encoding="utf-8")
    fences = [line for line in text.splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(list(blocks.blocks(page))), "a fence without a language, or out of line"
    for one in blocks.blocks(page):
        if one.mark == "run by":
            assert page.name in (child.PROJECT / one.note).read_text(encoding="utf-8"), one.place


def test_readme_is_short():
    """The README is one screen and a half: what is longer belongs to a page."""
    assert len(blocks.README.read_text(encoding="utf-8").split()) <= 520
