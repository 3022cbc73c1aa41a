"""Records for the tests of catalogs."""

from __future__ import annotations

from typing import Any

from chuk_artifacts import grid
from chuk_artifacts.models import ArtifactMetadata, timestamp

NOW = 1_800_000_000.0


def name(number: int, session_id: str = "alice", sandbox_id: str = "box") -> str:
    """Return the id of record number *n*."""
    return f"{grid.slot_tag(sandbox_id, session_id)}{number:024x}"


def record(
    number: int, session_id: str = "alice", *, sandbox_id: str = "box", ttl: float | None = 86400.0, **fields: Any
) -> ArtifactMetadata:
    """Return a record with the given fields or defaults."""
    artifact_id = name(number, session_id, sandbox_id)
    values = {
        "artifact_id": artifact_id,
        "session_id": session_id,
        "sandbox_id": sandbox_id,
        "key": grid.artifact_key(sandbox_id, session_id, artifact_id),
        "mime": "text/plain",
        "summary": "",
        "meta": {},
        "filename": f"f{number}",
        "bytes": 5,
        "sha256": "0" * 64,
        "stored_at": timestamp(NOW),
        "updated_at": timestamp(NOW),
        "expires_at": None if ttl is None else timestamp(NOW + ttl),
        "ttl": ttl,
        "revision": 1,
        "storage_provider": "memory",
        "session_provider": "sqlite",
    }
    return ArtifactMetadata(**{**values, **fields})
