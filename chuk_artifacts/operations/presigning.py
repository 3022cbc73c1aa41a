"""URLs that work for a while for everybody who has them: the storage's own where it signs, else the gateway's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core
from chuk_artifacts.models import GRACE_SECONDS, ArtifactMetadata, Pending, seconds_of, timestamp
from chuk_artifacts.operations import identity
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.finding import find
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.uploads import default_ttl
from chuk_artifacts.operations.writing import new_draft, record_of
from chuk_artifacts.signing import DOWNLOAD, UPLOAD, Grant


@attrs.frozen
class UploadTerms:
    """What an upload URL allows, and what becomes of the upload.

    Attributes:
        expires: how long the URL works, in seconds.
        max_bytes: the length of the longest upload; None: any.
        complete: whether the upload becomes an artifact without being registered.

    """

    expires: int
    max_bytes: int | None
    complete: bool

    @classmethod
    def of(cls, expires: Any, max_bytes: Any, *, complete: bool) -> Self:
        """Return the terms that arguments ask for; raise :class:`InvalidInputError` when one of them is wrong."""
        seconds = arguments.check_expires(expires)
        return cls(seconds, None if max_bytes is None else arguments.check_count("max_bytes", max_bytes, 0), complete)


@operation
def download_url(scope: Scope, artifact_id: str, expires: int) -> str:
    """Return a URL that downloads an artifact for *expires* seconds, under the last segment of its filename."""
    core, record = scope.core, find(scope, artifact_id)
    filename = None if record.filename is None else arguments.last_segment(record.filename)
    url = core.storage.sign_get(record.key, expires=expires, filename=filename, mime=record.mime)
    return _signed(core, DOWNLOAD, Grant(record.artifact_id), expires) if url is None else url


@operation
def upload_url(scope: Scope, session_id: str | None, terms: UploadTerms, values: Mapping[str, Any]) -> tuple[str, str]:
    """Sign a URL to upload to, and remember in a pending record what the upload becomes.

    Args:
        scope: where it goes.
        session_id: the session it will belong to; None: a fresh one.
        terms: what the URL allows.
        values: the arguments of :func:`~chuk_artifacts.operations.draft.draft` but the data.

    Returns:
        the URL, and the artifact id.

    Raises:
        InvalidInputError: an argument is wrong, or the artifact would outlive the year 9999.

    """
    core = scope.core
    order = new_draft(core, scope.new_session(session_id), {"data": b"", **values})
    now = core.clock()
    until = timestamp(now + terms.expires + GRACE_SECONDS)
    expires_at: str | None = until
    if terms.complete:
        order.ttl = default_ttl(core, order.session_id) if order.ttl is None else order.ttl
        expires_at = _later(until, order.ttl)
    record = record_of(core, order, 0, "", now).changed(
        key=grid.upload_key(order.sandbox_id, order.session_id, order.artifact_id),
        revision=0,
        pending=Pending(until, terms.complete, terms.max_bytes),
        expires_at=expires_at,
    )
    if not core.identified:
        identity.establish(core)
    url = _to_upload(core, record, terms)
    core.catalog.add([record], now=now)
    return url, order.artifact_id


def _to_upload(core: Core, record: ArtifactMetadata, terms: UploadTerms) -> str:
    """Return a URL that takes the upload of a pending record, if it has the record's type.

    Any type will do where the record's is the one that says nothing. Only the gateway's URLs keep to the limit.
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
    """Return *moment* and *ttl* seconds."""
    return None if ttl is None else timestamp(arguments.check_moment("ttl", seconds_of(moment) + ttl))
