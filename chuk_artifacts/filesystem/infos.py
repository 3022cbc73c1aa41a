"""The infos that fsspec expects of files and folders, and the errors for paths that are missing or taken."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chuk_artifacts.errors import ArtifactNotFoundError, shown
from chuk_artifacts.models import ArtifactMetadata

Info = dict[str, Any]
"""The info of a path: see :meth:`ArtifactFileSystem.info`."""


StoreFields = dict[str, Any]
"""Arguments of :meth:`ArtifactStore.store` beside the data, by name."""


def folder_info(path: str) -> Info:
    """Return the info of a folder."""
    return {"name": path, "size": 0, "type": "directory"}


def file_info(path: str, found: Sequence[ArtifactMetadata]) -> Info:
    """Return the info of a file, given the artifacts with its name, the newest first."""
    latest = found[0]
    created = modified = datetime.fromisoformat(latest.stored_at)
    if latest.updated_at != latest.stored_at:
        modified = datetime.fromisoformat(latest.updated_at)
    return {
        "name": path,
        "size": latest.bytes,
        "type": "file",
        "created": created,
        "modified": modified,
        "mtime": modified.timestamp(),
        "artifact_id": latest.artifact_id,
        "mime": latest.mime,
        "sha256": latest.sha256,
        "revision": latest.revision,
        "others": len(found) - 1,
    }


def missing(path: object) -> ArtifactNotFoundError:
    """Return the error for a path that leads to nothing."""
    return ArtifactNotFoundError(f"no such file: {shown(path)}")


def taken(path: object) -> FileExistsError:
    """Return the error for a path that must be free."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
