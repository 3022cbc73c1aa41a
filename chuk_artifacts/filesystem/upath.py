"""``artifact://`` as a path of the package ``universal_pathlib``, which finds it by its entry point."""

from __future__ import annotations

import fsspec
from upath import UPath

from chuk_artifacts.filesystem import ArtifactFileSystem

# As long as nobody has loaded the filesystem of a protocol, universal_pathlib makes do without it, and warns of that.
fsspec.register_implementation(ArtifactFileSystem.protocol, ArtifactFileSystem, clobber=True)


class ArtifactPath(UPath):
    """An artifact or a folder of a session; see :class:`chuk_artifacts.filesystem.ArtifactFileSystem`."""

    __slots__ = ()
