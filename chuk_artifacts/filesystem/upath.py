"""``artifact://`` as a path of the package ``universal_pathlib``, which finds it by its entry point."""

from __future__ import annotations

import fsspec
from upath import UPath

from chuk_artifacts.filesystem import ArtifactFileSystem

# universal_pathlib works without the filesystem of a protocol until that is loaded, and warns about it.
fsspec.register_implementation(ArtifactFileSystem.protocol, ArtifactFileSystem, clobber=True)


class ArtifactPath(UPath):
    """An artifact or a folder of a session; see :class:`chuk_artifacts.filesystem.ArtifactFileSystem`."""

    __slots__ = ()
