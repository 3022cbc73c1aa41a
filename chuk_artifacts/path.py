"""The import path of :class:`ArtifactPath` that installed entry points name."""

from chuk_artifacts.filesystem.upath import ArtifactPath

__all__ = ["ArtifactPath"]
