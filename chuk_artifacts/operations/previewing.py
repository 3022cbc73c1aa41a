"""Showing the content of an artifact in a notebook."""

from __future__ import annotations

from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.calls import operation_of
from chuk_artifacts.operations.presigning import url_of
from chuk_artifacts.operations.reading import readable, retrieve_record, stream_record
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.previews import MAX_TEXT_BYTES, Preview, kind_of

_URL_SECONDS = 3600


@operation_of("display")
def preview(scope: Scope, artifact: str | ArtifactMetadata, revision: int | None) -> Preview:
    """Return how a notebook shows an artifact; see :meth:`ArtifactStore.display`."""
    record, exact = readable(scope, "display %s", artifact, revision)
    kind = kind_of(record)
    if kind == "link":
        url = url_of(scope.core, record, _URL_SECONDS, record.revision if exact else None)
        return Preview(metadata=record, kind=kind, url=url)
    if kind == "image":
        content = retrieve_record(scope, record, exact=exact)
    else:
        content = b"".join(stream_record(scope, record, 0, min(record.bytes, MAX_TEXT_BYTES), exact=exact))
    return Preview(metadata=record, kind=kind, content=content)
