"""How others find ``artifact://`` without an import."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from pathlib import Path

import fsspec
import pytest

from chuk_artifacts.filesystem import ArtifactFileSystem

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def is_installed():
    """Say whether the package is installed, and not only imported from its folder."""
    try:
        return bool(distribution("chuk-artifacts").entry_points)
    except PackageNotFoundError:
        return False


def declared(group):
    """Return the entry points of a group as the project declares them."""
    groups = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]
    return {name: EntryPoint(name, value, group) for name, value in groups[group].items()}


def test_project_declares_the_filesystem():
    """The project declares the filesystem for fsspec, under its protocol."""
    (entry,) = declared("fsspec.specs").values()
    assert entry.load() is ArtifactFileSystem
    assert entry.name == ArtifactFileSystem.protocol


def test_project_declares_the_path():
    """The project declares a path class for universal_pathlib, in the group that this reads."""
    upath = pytest.importorskip("upath")
    registry = import_module("upath.registry")
    (entry,) = declared(registry._ENTRY_POINT_GROUP).values()
    assert issubclass(entry.load(), upath.UPath)
    assert entry.name == ArtifactFileSystem.protocol


@pytest.mark.skipif(not is_installed(), reason="the package is not installed")
def test_installed_package_is_found(tmp_path):
    """Where the package is installed, a URL is enough: nothing of it need be imported."""
    code = "import fsspec; fs, path = fsspec.url_to_fs('artifact://alice/a'); fs.touch(path); print(type(fs).__name__)"
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path, text=True).strip() == "ArtifactFileSystem"


@pytest.mark.skipif(not is_installed(), reason="the package is not installed")
def test_installed_path_is_found(tmp_path):
    """Where the package is installed, universal_pathlib knows its paths, without a warning."""
    pytest.importorskip("upath")
    code = "from upath import UPath; print(type(UPath('artifact://alice/a')).__name__)"
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path, text=True).strip() == "ArtifactPath"


def test_fsspec_knows_the_protocol(fs):
    """Fsspec makes the filesystem of a URL."""
    assert fsspec.get_filesystem_class("artifact") is ArtifactFileSystem
    assert fsspec.core.url_to_fs("artifact://alice/a", **fs.storage_options)[0] == fs
