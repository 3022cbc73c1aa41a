"""Fixtures: a store on disk, as what opens ``artifact://`` URLs is given it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.filesystem import ArtifactFileSystem


@pytest.fixture
def options(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the storage options of an empty store on disk."""
    fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)
    yield {"storage_provider": "filesystem", "fs_root": str(tmp_path / "store")}
    forget_shared_cores()


@pytest.fixture
def fs(options: dict[str, Any]) -> ArtifactFileSystem:
    """Return the filesystem of that store."""
    return fsspec.filesystem("artifact", **options)
