"""What bytes say of the artifact that they belong to, as of the moment at which they were written."""

from __future__ import annotations

from collections.abc import Mapping

from chuk_artifacts.fields import encode
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.storage import Description

FORMAT = "1"
"""The version of the format. Descriptions of version 0.1.0 of this library have none, and fewer details."""


def describe(
    *,
    sha256: str,
    size: int | None,
    revision: int,
    filename: str | None,
    stored_at: str,
    updated_at: str,
    expires_at: str | None,
    ttl: float | None,
    user_id: str | None,
    mime: str,
    summary: str,
    meta: Mapping[str, object],
    keep_versions: int | None = None,
    inherits: bool = False,
) -> Description:
    """Return a description; with the key it is enough to rebuild the record if the catalog is lost.

    The arguments are fields of the record, *size* its length in bytes. What is unknown is an empty text or None. With
    *inherits* the ttl is that of a session by default, and a session with another one decides.
    """
    details = {
        "format": FORMAT,
        "sha256": sha256,
        "bytes": None if size is None else str(size),
        "revision": str(revision),
        "stored-at": stored_at,
        "updated-at": updated_at if updated_at != stored_at else None,
        "expires-at": expires_at,
        "ttl": None if ttl is None else str(ttl),
        "inherits": "1" if inherits else None,
        "keep-versions": None if keep_versions is None else str(keep_versions),
        "user": user_id,
        "filename": filename,
        "summary": summary,
        "meta": encode(meta) if meta else None,
    }
    return Description(mime, {name: value for name, value in details.items() if value})


def description(record: ArtifactMetadata, size: int | None, user_id: str | None = None) -> Description:
    """Return the description of a record's content with *size* bytes; None: not known yet."""
    return describe(
        sha256=record.sha256,
        size=size,
        revision=record.revision,
        filename=record.filename,
        stored_at=record.stored_at,
        updated_at=record.updated_at,
        expires_at=record.expires_at,
        ttl=record.ttl,
        user_id=user_id,
        mime=record.mime,
        summary=record.summary,
        meta=record.meta,
        keep_versions=None if record.origin is None else record.origin.keep_versions,
    )
