"""``Service``: what a request for a signed URL is answered, whatever protocol carries it.

Answers follow RFC 9110 (HTTP), RFC 6266 (``Content-Disposition``) and the Fetch standard (CORS,
https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import attrs
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, PreconditionFailed
from werkzeug.http import HTTP_STATUS_CODES, quote_etag

from chuk_artifacts.arguments import last_segment
from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    ErrorMap,
    InvalidInputError,
)
from chuk_artifacts.gateway.request import (
    CHUNK_SIZE,
    Request,
    byte_range,
    check_if_match,
    check_upload,
    content_length,
    received,
    upload_condition,
)
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import archiving, finding, reading, uploads
from chuk_artifacts.operations.scope import Scope, Scoped
from chuk_artifacts.signing import ARCHIVE, DOWNLOAD, UPLOAD, Grant

METHODS = {"GET": DOWNLOAD, "HEAD": DOWNLOAD, "PUT": UPLOAD}
"""What a URL must be signed for, by the method of HTTP."""

_TEXT = "text/plain; charset=utf-8"
_HEADER_TEXT = re.compile(r"[\t\x20-\x7e]{0,4096}").fullmatch
_MAX_FILENAME = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+").fullmatch
_DAMAGE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code here may raise over a record with a value of a wrong type or form."""
_STATUS = (
    (AccessDeniedError, 403),
    (ArtifactNotFoundError, 404),
    (ArtifactCorruptedError, 500),
    (ArtifactStoreError, 503),
)


@attrs.frozen
class Answer:
    """A response.

    Attributes:
        status: the status code.
        headers: the header.
        content: the chunks of the content.
        close: releases what *content* reads from. Call it at the end, also if *content* was never begun.

    """

    status: int
    headers: Headers
    content: Iterable[bytes] = ()
    close: Callable[[], None] | None = None


class Service:
    """Answers requests for the signed URLs of a store.

    Args:
        store: the store.
        origins: the web origins whose pages may read the answers (CORS).
        verify: whether to compare the SHA-256 of a whole download with the record.

    Raises:
        InvalidInputError: *origins* is not a list of web origins.

    """

    def __init__(self, store: Scoped, origins: Iterable[str], *, verify: bool) -> None:
        """Check the origins."""
        if isinstance(origins, str):
            raise InvalidInputError("origins must be a list of origins, not one")
        self._store = store
        self._origins = frozenset(map(_check_origin, origins))
        self._verify = verify

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request. Failures are answers too."""
        try:
            answer = self._answer(request)
        except HTTPException as error:
            headers = [item for item in error.get_headers() if item[0] != "Content-Type"]
            answer = _plain(error.code or 500, error.description or "", headers)
        except ArtifactStoreError as error:
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            if status >= 500:  # noqa: PLR2004 - a fault on this side
                _log_error(error)
            answer = _plain(status)
        self._allow_origin(request, answer.headers)
        return attrs.evolve(answer, content=()) if request.method == "HEAD" else answer

    def _answer(self, request: Request) -> Answer:
        length = content_length(request)
        if request.method == "OPTIONS" and self._origins:
            return Answer(204, Headers())
        method = METHODS.get(request.method)
        if method is None:
            raise MethodNotAllowed([*METHODS, "OPTIONS"] if self._origins else list(METHODS))
        scope = self._store.scope
        if method == DOWNLOAD and request.segment == ARCHIVE:
            return _archive(scope, request)
        grant = scope.core.signer.check(method, request.segment, request.query, scope.core.clock())
        with ErrorMap(_DAMAGE, ArtifactCorruptedError, f"artifact {grant.artifact_id}: its record is damaged"):
            if method == UPLOAD:
                return _upload(scope, request, length, grant)
            return self._download(scope, request, grant)

    def _download(self, scope: Scope, request: Request, grant: Grant) -> Answer:
        revision = grant.revision
        if revision is None:
            record = finding.metadata(scope, grant.artifact_id)
        else:
            record = reading.record_at(scope, grant.artifact_id, revision)
        headers = _described(record)
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
            return self._download(scope, request, grant)
        chunks = reading.chunks_of(record, file, start, stop, CHUNK_SIZE, verify=self._verify)
        return Answer(status, headers, _one_chunk_late(next(chunks, b""), chunks), chunks.close)

    def _allow_origin(self, request: Request, headers: Headers) -> None:
        """Let pages of the configured origins read an answer."""
        if not self._origins:
            return
        allowed = "*"
        if "*" not in self._origins:
            headers["Vary"] = "Origin"
            allowed = request.headers.get("Origin", "")
            if allowed not in self._origins:
                return
        headers["Access-Control-Allow-Origin"] = allowed
        headers["Access-Control-Expose-Headers"] = (
            "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag"
        )
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
            headers["Access-Control-Allow-Headers"] = "Content-Type, If-Match, If-None-Match, If-Range, Range"
            headers["Access-Control-Max-Age"] = "600"


def _archive(scope: Scope, request: Request) -> Answer:
    """Return the answer with the archive of a session, whose length is not known before its end."""
    grant = scope.core.signer.check_archive(request.query, scope.core.clock())
    chunks = archiving.archive(scope, grant.session_id, grant.prefix, CHUNK_SIZE)
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
    if request.method == "HEAD":
        return Answer(200, headers)
    return Answer(200, headers, _one_chunk_late(next(chunks, b""), chunks), chunks.close)


def _upload(scope: Scope, request: Request, length: int | None, grant: Grant) -> Answer:
    check_upload(request, length, grant)
    data = received(request, length, grant.max_bytes)
    try:
        sha256 = uploads.receive(scope, grant.artifact_id, data, upload_condition(request))
    except ConflictError:
        raise PreconditionFailed from None
    headers = {"Content-Type": _TEXT, "Content-Length": "0"}
    return Answer(200, Headers({**headers, "ETag": quote_etag(sha256), "X-Content-Type-Options": "nosniff"}))


def _plain(status: int, text: str = "", headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return a short, uncacheable plain-text answer."""
    content = (f"{HTTP_STATUS_CODES[status]}. {text}".strip() + "\n").encode()
    described = {"Content-Type": _TEXT, "Content-Length": str(len(content))}
    described |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Answer(status, Headers([*described.items(), *headers]), [content])


def _log_error(error: ArtifactStoreError) -> None:
    _log.error("gateway: %s", error)


def _check_origin(origin: object) -> str:
    """Return a web origin that is safe in a header."""
    if not isinstance(origin, str) or not _ORIGIN(origin):
        raise InvalidInputError(f"origins must hold web origins such as 'https://app.example.org': {origin!r:.200}")
    return origin


def _described(record: ArtifactMetadata) -> Headers:
    """Return the header fields that describe an artifact.

    They make a browser save the file. If it shows the file nevertheless, the page has no origin and no script runs.

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
            "Content-Disposition": content_disposition(filename),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": record.mime,
            "ETag": quote_etag(record.sha256),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )


def _one_chunk_late(held: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *held* and then *chunks*, each only when the next one is there.

    The check of the whole content comes after its last chunk. If it fails, the response ends short of its length, and
    no client takes it for the file.
    """
    try:
        for chunk in chunks:
            yield held
            held = chunk
    except ArtifactStoreError as error:
        _log_error(error)
        raise
    yield held
