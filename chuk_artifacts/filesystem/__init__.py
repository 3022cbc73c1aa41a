"""Stores as fsspec filesystems: ``artifact://{session_id}/{filename}``."""

from chuk_artifacts.filesystem.filesystem import ArtifactFileSystem

__all__ = ["ArtifactFileSystem"]
