"""``Draft``: a new artifact before its bytes are written."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.models import ArtifactMetadata, Origin, timestamp
from chuk_artifacts.operations.descriptions import describe
from chuk_artifacts.source import Stream, source
from chuk_artifacts.storage import Description


@attrs.define(kw_only=True)
class Draft:
    """A new artifact in validated values, before its bytes are written.

    Attributes:
        data: the bytes, or a stream of them.
        key: their storage key.
        artifact_id: the artifact's id.
        session_id: its session.
        sandbox_id: its namespace.
        mime: its media type.
        summary: its description.
        meta: its JSON object.
        filename: its filename, or None.
        user_id: the user to assign the session to, or None.
        ttl: its time to live in seconds; None: the session's default.
        keep_versions: how many earlier contents it will keep for good; None: the default of the store that changes it.

    """

    data: bytes | Stream
    key: str
    artifact_id: str
    session_id: str
    sandbox_id: str
    mime: str
    summary: str
    meta: JsonObject
    filename: str | None
    user_id: str | None
    ttl: float | None
    keep_versions: int | None

    def description(self, sha256: str, size: int | None, *, now: float, session_ttl: float | None) -> Description:
        """Return the description to store with the bytes; see :meth:`record`, and :func:`describe`."""
        stored_at = timestamp(now)
        ttl = session_ttl if self.ttl is None else self.ttl
        return describe(
            sha256=sha256,
            size=size,
            revision=1,
            filename=self.filename,
            stored_at=stored_at,
            updated_at=stored_at,
            expires_at=None if ttl is None else timestamp(now + ttl),
            ttl=ttl,
            user_id=self.user_id,
            mime=self.mime,
            summary=self.summary,
            meta=self.meta,
            keep_versions=self.keep_versions,
            inherits=self.ttl is None,
        )

    def record(
        self,
        size: int,
        sha256: str,
        *,
        now: float,
        session_ttl: float | None,
        storage_provider: str,
        session_provider: str,
    ) -> ArtifactMetadata:
        """Return the record of the artifact, stored *now* (seconds since the epoch) with *size* bytes.

        Without a ttl of its own it gets *session_ttl*.
        """
        stored_at = timestamp(now)
        ttl = session_ttl if self.ttl is None else self.ttl
        return ArtifactMetadata(
            artifact_id=self.artifact_id,
            session_id=self.session_id,
            sandbox_id=self.sandbox_id,
            key=self.key,
            mime=self.mime,
            summary=self.summary,
            meta=self.meta,
            filename=self.filename,
            bytes=size,
            sha256=sha256,
            stored_at=stored_at,
            updated_at=stored_at,
            expires_at=None if ttl is None else timestamp(now + ttl),
            ttl=ttl,
            revision=1,
            storage_provider=storage_provider,
            session_provider=session_provider,
            origin=None if self.keep_versions is None else Origin(1, stored_at, self.keep_versions),
        )


def draft(
    sandbox_id: str,
    session_id: str,
    *,
    data: object,
    now: float,
    mime: object = None,
    summary: object = "",
    meta: Mapping[str, object] | None = None,
    filename: object = None,
    user_id: object = None,
    ttl: object = None,
    max_bytes: object = None,
    keep_versions: object = None,
    default_mime: str = arguments.OCTET_STREAM,
    limits: arguments.Limits = arguments.LIMITS,
) -> Draft:
    """Validate the arguments of ``ArtifactStore.store`` and return a draft with a new id.

    Raises:
        InvalidInputError: an argument is invalid.
        QuotaExceededError: *data* is known to have more than *max_bytes*.

    """
    filename = None if filename is None else arguments.check_filename(filename)
    artifact_id, key = grid.new_artifact(sandbox_id, session_id)
    return Draft(
        data=source(data, max_bytes),
        key=key,
        artifact_id=artifact_id,
        session_id=session_id,
        sandbox_id=sandbox_id,
        mime=arguments.check_mime(mime, filename, default_mime),
        summary=limits.check_summary(summary),
        meta=limits.check_meta("meta", meta),
        filename=filename,
        user_id=limits.check_user_id(user_id),
        ttl=arguments.check_ttl("ttl", ttl, now),
        keep_versions=arguments.check_keep_versions(keep_versions),
    )
