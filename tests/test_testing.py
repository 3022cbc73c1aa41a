"""The fixtures for other projects: each block of their page is a test file that passes."""

from __future__ import annotations

import sys

import blocks
import child
import pytest

from chuk_artifacts import testing
from chuk_artifacts.testing import *  # noqa: F403 - the fixtures, as a project gets them

pytest_plugins = ["pytester"]

PAGE = blocks.DOCS / "howto" / "testing.md"


def test_page(pytester, monkeypatch):
    """The page's tests pass, with the fixtures and without a conftest."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # no plugin of this environment matters
    pytester.makepyfile("\n".join(one.code for one in blocks.blocks(PAGE)))
    pytester.runpytest_inprocess("-p", "chuk_artifacts.testing").assert_outcomes(passed=4)


def test_start_is_light():
    """Importing the plugin loads nothing of the package: every start of pytest does."""
    code = """
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location("chuk_artifacts_testing", sys.argv[1])
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        print(sorted(name for name in sys.modules if name.split(".")[0] in {"chuk_artifacts", "attrs", "fsspec"}))
        """
    assert child.run(code, testing.__file__).strip() == "[]"


def test_stores_are_closed(artifact_store_factory, request):
    """A store of the factory is open during the test, and new ones are empty."""
    first = artifact_store_factory()
    first.store(b"x", session_id="a")
    assert artifact_store_factory().list_by_session("a") == []


def test_environment_is_unset(monkeypatch, request, tmp_path):
    """Variables that name a real store do not reach the fixtures."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "filesystem")
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path / "real"))
    store = request.getfixturevalue("artifact_store")
    assert store.storage_provider == "memory"


def test_folder_store(artifact_folder_store, tmp_path):
    """The store on disk keeps its files in the test's folder."""
    artifact_folder_store.store(b"x", session_id="a")
    assert (tmp_path / "artifacts" / "grid").is_dir()


@pytest.mark.skipif("chuk_artifacts_testing" not in sys.modules, reason="the package is not installed with its plugin")
def test_entry_point():
    """An installed package brings the fixtures along."""
    assert sys.modules["chuk_artifacts_testing"].artifact_store
