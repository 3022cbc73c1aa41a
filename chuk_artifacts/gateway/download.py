"""Downloads: the answer to a request for one artifact, with name, type, ``ETag`` and ranges (RFC 9110, RFC 6266)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import attrs
from werkzeug.datastructures import Headers
from werkzeug.http import quote_etag

from chuk_artifacts.arguments import last_segment
from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.errors import ArtifactCorruptedError, ArtifactStoreError, ErrorMap
from chuk_artifacts.gateway.answer import Answer, log_error
from chuk_artifacts.gateway.request import CHUNK_SIZE, Request, ServerSends, byte_range, check_if_match
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import finding, reading
from chuk_artifacts.operations.scope import Scope

_HEADER_TEXT = re.compile(r"[\t\x20-\x7e]{0,4096}").fullmatch
_MAX_FILENAME = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_DAMAGE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code here may raise over a record with a value of a wrong type or form."""


@attrs.frozen
class Terms:
    """How an artifact is downloaded.

    Attributes:
        verify: whether the SHA-256 of a whole download is compared with the record.
        inline: whether a browser may show the file; else it saves the file.
        revision: the revision whose content is sent; None: the current one.

    """

    verify: bool = False
    inline: bool = False
    revision: int | None = None


def damage(artifact_id: str) -> ErrorMap:
    """Return a context manager that raises ``ArtifactCorruptedError`` where a record has a value of a wrong form."""
    return ErrorMap(_DAMAGE, ArtifactCorruptedError, f"artifact {artifact_id}: its record is damaged")


def download(scope: Scope, request: Request, artifact_id: str, terms: Terms) -> Answer:
    """Return the answer to a ``GET`` or ``HEAD`` of an artifact.

    Raises:
        HTTPException: its condition or range refuses the request.
        ArtifactStoreError: as reading does.

    """
    revision = terms.revision
    if revision is None:
        record = finding.metadata(scope, artifact_id)
    else:
        record = reading.record_at(scope, artifact_id, revision)
    headers = _described(record, terms)
    check_if_match(request, record)
    if request.if_none_match.contains_weak(record.sha256):
        del headers["Content-Type"]
        return Answer(304, headers)
    part = byte_range(request, record)
    start, stop = part or (0, record.bytes)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{record.bytes}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Answer(status, headers)
    latest, file = reading.open_record(scope, record, start=start, exact=revision is not None)
    if latest is not record:  # the bytes were replaced, and deleted, since the record was read: begin again
        file.close()
        return download(scope, request, artifact_id, terms)
    if part is None and not terms.verify:
        answer = _left_to_the_server(scope, request, record, Answer(status, headers, file=file, close=file.close))
        if answer is not None:
            return answer
    chunks = reading.chunks_of(record, file, start, stop, CHUNK_SIZE, verify=terms.verify)
    return Answer(status, headers, one_chunk_late(next(chunks, b""), chunks), close=chunks.close)


def _left_to_the_server(scope: Scope, request: Request, record: ArtifactMetadata, answer: Answer) -> Answer | None:
    """Return an answer whose whole file the server reads, or None where the file is not local or the server can't.

    A part of a file is not left to the server: PEP 3333 has it send the file to its end.
    """
    if request.server_sends is ServerSends.FILES and answer.file is not None and _stands_at_start(answer.file):
        return answer
    if request.server_sends is ServerSends.PATHS:
        path = reading.path_of(scope, record)
        if path is not None:
            return attrs.evolve(answer, file=None, path=path)
    return None


def _stands_at_start(file: BinaryIO) -> bool:
    """Return whether a file has a descriptor, which the system would read from its start."""
    try:
        return os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    except OSError:  # io.UnsupportedOperation: only a local file has one
        return False


def _described(record: ArtifactMetadata, terms: Terms) -> Headers:
    """Return the header fields that describe an artifact.

    If a browser shows the file, the page has no origin and no script runs.

    Raises:
        ValueError: a value of the record is not safe in a header.

    """
    filename = None if record.filename is None else last_segment(record.filename)
    if not _HEADER_TEXT(record.mime) or not _SHA256(record.sha256) or len(filename or "") > _MAX_FILENAME:
        raise ValueError("its type, SHA-256 or filename is not safe in a header")
    if not isinstance(record.bytes, int) or record.bytes < 0:
        raise ValueError("its length is not a number of bytes")
    return Headers(
        {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Disposition": content_disposition(filename, inline=terms.inline),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": record.mime,
            "ETag": quote_etag(record.sha256),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )


def one_chunk_late(held: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *held* and then *chunks*, each only when the next one is there.

    The check of the whole content comes after its last chunk. If it fails, the response ends short of its length, and
    no client takes it for the file.
    """
    try:
        for chunk in chunks:
            yield held
            held = chunk
    except ArtifactStoreError as error:
        log_error(error)
        raise
    yield held
