"""fsspec's own suite for implementers: copy, get, put, pipe and open."""

from __future__ import annotations

import posixpath

import pytest
from fsspec.tests import abstract

from chuk_artifacts.filesystem import ArtifactFileSystem


class Fixtures(abstract.AbstractFixtures):
    """What the suite is to know of this filesystem."""

    @pytest.fixture
    def fs(self, store, monkeypatch):
        """Return the filesystem of an empty store, where folders can't be made.

        The suite knows folders that stay when they are empty, or none, but none that are gone with their last file.
        """
        monkeypatch.setattr(ArtifactFileSystem, "mkdir", lambda *_, **__: None)
        return ArtifactFileSystem(store)

    @pytest.fixture
    def fs_join(self):
        """Return what joins paths."""
        return posixpath.join

    @pytest.fixture
    def fs_path(self):
        """Return the folder of the suite's files."""
        return "alice/suite"

    @pytest.fixture
    def supports_empty_directories(self):
        """Say no: a folder is there with the files in it."""
        return False


class TestCopy(Fixtures, abstract.AbstractCopyTests):
    """Copies within the filesystem."""


class TestGet(Fixtures, abstract.AbstractGetTests):
    """Copies to the local disk."""


class TestPut(Fixtures, abstract.AbstractPutTests):
    """Copies from the local disk."""


class TestPipe(Fixtures, abstract.AbstractPipeTests):
    """Whole files."""


class TestOpen(Fixtures, abstract.AbstractOpenTests):
    """Open files."""
