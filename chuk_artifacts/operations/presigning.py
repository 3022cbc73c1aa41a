"""URLs that work for a while for whoever has them: the storage's own where it signs, else ours, which a gateway serves.

*start* starts a gateway; it is called when one of our own URLs is wanted and there is none yet.
"""

from __future__ import annotations

from collections.abc import Callable

from chuk_artifacts import arguments
from chuk_artifacts.core import Core, LocalGateway
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.signing import DOWNLOAD, UPLOAD, Grant


def to_download(core: Core, record: ArtifactMetadata, expires: int, start: Callable[[], LocalGateway]) -> str:
    """Return a URL that downloads an artifact for *expires* seconds, under the last segment of its filename."""
    filename = None if record.filename is None else arguments.last_segment(record.filename)
    url = core.storage.sign_get(record.key, expires=expires, filename=filename, mime=record.mime)
    return _signed(core, DOWNLOAD, Grant(record.artifact_id), expires, start) if url is None else url


def to_upload(core: Core, record: ArtifactMetadata, expires: int, start: Callable[[], LocalGateway]) -> str:
    """Return a URL that takes the upload of a pending record for *expires* seconds, if it has the record's type.

    Any type will do where the record's is the one that says nothing. Only our own URLs keep to the record's limit.
    """
    mime = None if record.mime == arguments.OCTET_STREAM else record.mime
    url = core.storage.sign_put(record.key, expires=expires, mime=mime)
    if url is not None:
        return url
    limit = None if record.pending is None else record.pending.max_bytes
    return _signed(core, UPLOAD, Grant(record.artifact_id, mime, limit), expires, start)


def _signed(core: Core, method: str, grant: Grant, expires: int, start: Callable[[], LocalGateway]) -> str:
    signed = core.signer.sign(method, grant, core.clock() + expires)
    return f"{core.gateway_url(start)}/{signed}"
