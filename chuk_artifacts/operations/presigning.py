"""Presigned URLs: signed by the storage if it can, else by the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core
from chuk_artifacts.models import GRACE_SECONDS, ArtifactMetadata, Pending, seconds_of, timestamp
from chuk_artifacts.operations import identity
from chuk_artifacts.operations.calls import operation_of
from chuk_artifacts.operations.finding import find
from chuk_artifacts.operations.history import content_at
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.uploads import default_ttl
from chuk_artifacts.operations.writing import new_draft, record_of
from chuk_artifacts.signing import DOWNLOAD, UPLOAD, ArchiveGrant, Grant


@attrs.frozen
class UploadTerms:
    """The limits of an upload URL, and whether the upload must be registered.

    Attributes:
        expires: how long the URL works, in seconds.
        max_bytes: the longest upload, in bytes; None: no limit.
        complete: whether the upload becomes an artifact without registration.

    """

    expires: int
    max_bytes: int | None
    complete: bool

    @classmethod
    def of(cls, expires: object, max_bytes: object, *, complete: bool) -> Self:
        """Validate the arguments; raise :class:`InvalidInputError` when one is invalid."""
        seconds = arguments.check_expires(expires)
        return cls(seconds, None if max_bytes is None else arguments.check_count("max_bytes", max_bytes, 0), complete)


@operation_of("presign")
def download_url(scope: Scope, artifact_id: str, expires: int, revision: int | None = None) -> str:
    """Return a URL that downloads an artifact for *expires* seconds, as a file named by its last filename segment."""
    core, record = scope.core, find(scope, artifact_id)
    if revision is not None:
        record = content_at(record, revision, core.clock())
    return url_of(core, record, expires, revision)


def url_of(core: Core, record: ArtifactMetadata, expires: int, revision: int | None = None) -> str:
    """Return a URL that downloads the content of *record*, the one of *revision* if that is given."""
    filename = None if record.filename is None else arguments.last_segment(record.filename)
    url = core.storage.sign_get(record.key, expires=expires, filename=filename, mime=record.mime)
    return _signed(core, DOWNLOAD, Grant(record.artifact_id, revision=revision), expires) if url is None else url


@operation_of("presign_archive")
def archive_url(scope: Scope, session_id: str | None, prefix: str, expires: int) -> str:
    """Return a URL of the gateway that downloads an archive of a session for *expires* seconds."""
    core, session_id = scope.core, scope.session(session_id)
    return f"{core.gateway_url}/{core.signer.sign_archive(ArchiveGrant(session_id, prefix), core.clock() + expires)}"


@operation_of("presign_upload")
def upload_url(
    scope: Scope, session_id: str | None, terms: UploadTerms, values: Mapping[str, object]
) -> tuple[str, str]:
    """Sign an upload URL, and add a pending record with the metadata of the later artifact.

    Args:
        scope: the scope to store in.
        session_id: the session of the later artifact; None: a new session.
        terms: the limits of the URL.
        values: the caller's arguments of :func:`~chuk_artifacts.operations.draft.draft` except the data.

    Returns:
        the URL and the artifact id.

    Raises:
        InvalidInputError: an argument is invalid, or the artifact would expire after the year 9999.

    """
    core = scope.core
    new = new_draft(core, scope.new_session(session_id), {"data": b"", **values})
    now = core.clock()
    until = timestamp(now + terms.expires + GRACE_SECONDS)
    expires_at: str | None = until
    if terms.complete:
        new.ttl = default_ttl(core, new.session_id) if new.ttl is None else new.ttl
        expires_at = _later(until, new.ttl)
    record = record_of(core, new, 0, "", now).changed(
        key=grid.upload_key(new.sandbox_id, new.session_id, new.artifact_id),
        revision=0,
        pending=Pending(until, terms.complete, terms.max_bytes),
        expires_at=expires_at,
    )
    if not core.identified:
        identity.establish(core)
    url = _to_upload(core, record, terms)
    core.catalog.add([record], now=now)
    return url, new.artifact_id


def _to_upload(core: Core, record: ArtifactMetadata, terms: UploadTerms) -> str:
    """Return a URL that accepts the upload of a pending record.

    It requires the record's media type, unless that is the default. Only the gateway enforces the length limit.
    """
    mime = None if record.mime == arguments.OCTET_STREAM else record.mime
    url = core.storage.sign_put(record.key, expires=terms.expires, mime=mime)
    if url is not None:
        return url
    return _signed(core, UPLOAD, Grant(record.artifact_id, mime, terms.max_bytes), terms.expires)


def _signed(core: Core, method: str, grant: Grant, expires: int) -> str:
    signed = core.signer.sign(method, grant, core.clock() + expires)
    return f"{core.gateway_url}/{signed}"


def _later(moment: str, ttl: float | None) -> str | None:
    """Return the timestamp *ttl* seconds after *moment*; None for a None ttl."""
    return None if ttl is None else timestamp(arguments.check_moment("ttl", seconds_of(moment) + ttl))
