"""Archives: the answer to a request for all files of a session in one ZIP, whose length is not known before its end."""

from __future__ import annotations

from werkzeug.datastructures import Headers

from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.gateway.answer import Answer
from chuk_artifacts.gateway.download import one_chunk_late
from chuk_artifacts.gateway.request import CHUNK_SIZE, Request
from chuk_artifacts.operations import archiving
from chuk_artifacts.operations.scope import Scope


def archive(scope: Scope, request: Request) -> Answer:
    """Return the answer to a ``GET`` or ``HEAD`` of a session's archive.

    Raises:
        HTTPException: the URL is not signed, or has expired.
        ArtifactStoreError: as reading does.

    """
    grant = scope.core.signer.check_archive(request.query, scope.core.clock())
    headers = Headers(
        {
            "Cache-Control": "private, no-store",
            "Content-Disposition": content_disposition(f"{grant.session_id}.zip"),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": "application/zip",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
    chunks = archiving.archive(scope, grant.session_id, grant.prefix, CHUNK_SIZE)
    if request.method == "HEAD":
        return Answer(200, headers)
    return Answer(200, headers, one_chunk_late(next(chunks, b""), chunks), close=chunks.close)
