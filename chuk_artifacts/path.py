"""``artifact://`` as a path of the package ``universal_pathlib``, which finds it by its entry point."""

from __future__ import annotations

from upath import UPath


class ArtifactPath(UPath):
    """An artifact or a folder of a session; see :class:`chuk_artifacts.filesystem.ArtifactFileSystem`."""

    __slots__ = ()
