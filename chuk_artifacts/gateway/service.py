"""``Gateway``: a WSGI application that serves the signed URLs of a store, to download and to upload.

What it says on the wire follows RFC 9110 (HTTP), RFC 6266 (``Content-Disposition``) and the Fetch standard (CORS,
https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING

import attrs
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    HTTPException,
    LengthRequired,
    MethodNotAllowed,
    PreconditionFailed,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.http import HTTP_STATUS_CODES, parse_options_header, quote_etag
from werkzeug.wrappers import Request, Response

from chuk_artifacts.arguments import last_segment
from chuk_artifacts.core import Core
from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    ConflictError,
    ErrorMap,
    InvalidInputError,
    ProviderError,
)
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import finding, reading, uploads
from chuk_artifacts.operations.scope import Scope, Scoped
from chuk_artifacts.server import Server
from chuk_artifacts.signing import DOWNLOAD, UPLOAD, Grant

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_CHUNK_SIZE = 256 * 1024
_METHODS = {"GET": DOWNLOAD, "HEAD": DOWNLOAD, "PUT": UPLOAD}
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE).fullmatch
_DIGITS = re.compile(r"0*([0-9]*)").fullmatch
_MAX_DIGITS = 18
_HEADER_TEXT = re.compile(r"[\t\x20-\x7e]{0,4096}").fullmatch
_MAX_FILENAME = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+").fullmatch
_ODD = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a record with a value of a wrong type or form may raise here."""
_STATUS = (
    (AccessDeniedError, 403),
    (ArtifactNotFoundError, 404),
    (ArtifactCorruptedError, 500),
    (ArtifactStoreError, 503),
)


class _Request(Request):
    """A request, with what Werkzeug gives in another form or not at all.

    Attributes:
        verb: the method, in the case in which it was received (RFC 9110 section 9.1).
        segment: the path below the place where the gateway is mounted, without its first slash.
        query: the query as it was received.
        length: the length of its content in bytes, if it was announced.
        ends: whether its content has an end: an announced one, or one that the server finds.

    Raises:
        BadRequest: where its content ends is not clear.

    """

    def __init__(self, environ: WSGIEnvironment) -> None:
        super().__init__(environ)
        self.verb = str(environ.get("REQUEST_METHOD", ""))
        self.segment = str(environ.get("PATH_INFO", "")).removeprefix("/")
        self.query = str(environ.get("QUERY_STRING", ""))
        self.length = _content_length(environ)
        self.ends = self.length is not None or "wsgi.input_terminated" in environ


class Gateway:
    """Serves the signed URLs of a store: ``GET``, ``HEAD`` and ``PUT``. It is a WSGI application (PEP 3333).

    Mount it anywhere in a web application, and tell the store where that is with ``gateway_url``. Whoever has a URL may
    use it until it expires: the signature is all that is asked for. That of a bound store serves its session alone.

    Args:
        store: the store. Closing it ends the service.
        origins: the web origins whose pages may read what is answered here (CORS), such as
            ``https://app.example.org``; ``*`` is any. Pages of the gateway's own origin always may.
        verify: whether to compare the SHA-256 of a whole download with the record, and to break the response off before
            its end when it is wrong. That takes about a second for each gigabyte. The ``ETag`` is the SHA-256 in any
            case, for clients that want to compare it.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> from werkzeug.test import Client
        >>> with ArtifactStore(gateway_url="https://example.org/files") as store:
        ...     url = store.presign(store.store(b"Hello, world!", filename="hello.txt"))
        ...     Client(Gateway(store)).get(url.removeprefix("https://example.org/files")).text
        'Hello, world!'

    """

    def __init__(self, store: Scoped, *, origins: Iterable[str] = (), verify: bool = False) -> None:
        """See the class."""
        if isinstance(origins, str):
            raise InvalidInputError("origins must be a list of origins, not one")
        self._scope = store.scope
        self._origins = frozenset(map(_check_origin, origins))
        self._verify = verify

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        response = self._response(environ)
        self._allow_origin(environ, response)
        return response(environ, start_response)

    def _response(self, environ: WSGIEnvironment) -> Response:
        try:
            return self._answer(_Request(environ))
        except HTTPException as error:
            headers = [item for item in error.get_headers() if item[0] != "Content-Type"]
            return _plain(error.code or 500, error.description or "", headers)
        except ArtifactStoreError as error:
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            if status >= 500:  # noqa: PLR2004 - where it is our fault
                _log_error(error)
            return _plain(status)
        except UnicodeEncodeError:  # from a server that hands on more than the latin-1 of PEP 3333
            return _plain(400)
        except ReferenceError:  # the store of a gateway that it started itself is gone
            return _plain(503)

    def _answer(self, request: _Request) -> Response:
        if request.verb == "OPTIONS" and self._origins:
            return Response(status=204)
        method = _METHODS.get(request.verb)
        if method is None:
            raise MethodNotAllowed([*_METHODS, "OPTIONS"] if self._origins else list(_METHODS))
        core = self._scope.core
        grant = core.signer.check(method, request.segment, request.query, core.clock())
        with ErrorMap(_ODD, ArtifactCorruptedError, f"artifact {grant.artifact_id}: its record is damaged"):
            return self._upload(request, grant) if method == UPLOAD else self._download(request, grant)

    def _download(self, request: _Request, grant: Grant) -> Response:
        record = finding.metadata(self._scope, grant.artifact_id)
        response = _described(record)
        _check_if_match(request, record)
        if request.if_none_match.contains_weak(record.sha256):
            response.status_code = 304
            return response
        part = _range(request, record)
        start, stop = part or (0, record.bytes)
        response.content_length = stop - start
        if part is not None:
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{record.bytes}"
        if request.verb == "GET":
            latest, file = reading.open_record(self._scope, record, start=start)
            if latest is not record:  # changed so often since it was asked for that its bytes are gone
                file.close()
                return self._download(request, grant)
            chunks = reading.chunks_of(record, file, start, stop, _CHUNK_SIZE, verify=self._verify)
            response.call_on_close(chunks.close)
            response.response = _all_but_last_first(next(chunks, b""), chunks)
        return response

    def _upload(self, request: _Request, grant: Grant) -> Response:
        _check_upload(request, grant)
        data = _received(request, grant.max_bytes)
        try:
            sha256 = uploads.receive(self._scope, grant.artifact_id, data, _upload_condition(request))
        except ConflictError:
            raise PreconditionFailed from None
        return Response(headers={"ETag": quote_etag(sha256), "X-Content-Type-Options": "nosniff"})

    def _allow_origin(self, environ: WSGIEnvironment, response: Response) -> None:
        """Let pages of the configured origins read the response."""
        if not self._origins:
            return
        allowed = "*"
        if "*" not in self._origins:
            response.vary.add("Origin")
            allowed = environ.get("HTTP_ORIGIN", "")
            if allowed not in self._origins:
                return
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Expose-Headers"] = (
            "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag"
        )
        if environ.get("REQUEST_METHOD") == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type, If-Match, If-None-Match, If-Range, Range"
            response.headers["Access-Control-Max-Age"] = "600"


@attrs.frozen
class _Unowned:
    """What a store leaves to the gateway that it started: a scope that does not keep the core from being collected."""

    scope: Scope


def start(core: Core) -> Server:
    """Serve the signed URLs of a store on a free port of 127.0.0.1, from a daemon thread.

    Args:
        core: the core of the store. It is not kept from being collected.

    Returns:
        what serves them, until it is closed or the process ends.

    Raises:
        ProviderError: there is no port to listen on.

    """
    with ErrorMap((OSError,), ProviderError, "the gateway"):
        server = Server(Gateway(_Unowned(Scope(weakref.proxy(core)))))
    try:
        server.start()
        _log.warning(
            "signed URLs are served by this process, at %s, and end with it: set ARTIFACT_GATEWAY_URL", server.url
        )
    except BaseException:
        server.close()
        raise
    return server


def _plain(status: int, text: str = "", headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return a short text, which nobody is to keep."""
    response = Response(f"{HTTP_STATUS_CODES[status]}. {text}".strip() + "\n", status, mimetype="text/plain")
    response.headers.extend(headers)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _log_error(error: ArtifactStoreError) -> None:
    _log.error("gateway: %s", error)


def _check_origin(origin: object) -> str:
    """Return a web origin that can stand in a header."""
    if not isinstance(origin, str) or not _ORIGIN(origin):
        raise InvalidInputError(f"origins must hold web origins such as 'https://app.example.org': {origin!r:.200}")
    return origin


def _content_length(environ: WSGIEnvironment) -> int | None:
    """Return the announced length of a request's content in bytes, or None (RFC 9112 section 6.3).

    Two lengths, also if they are the same, and a length of content that comes in chunks are what requests are smuggled
    with: a server in front may have taken the other one. An empty text is what some servers hand on for no header.
    """
    given = str(environ.get("CONTENT_LENGTH", "")).strip(" \t")
    chunked = environ.get("HTTP_TRANSFER_ENCODING")
    if chunked is not None and ("CONTENT_LENGTH" in environ or str(chunked).strip(" \t").lower() != "chunked"):
        raise BadRequest("Where the content ends is not clear.")
    if "CONTENT_LENGTH" not in environ or (not given and environ.get("REQUEST_METHOD") != "PUT"):
        return None
    digits = _DIGITS(given)
    if digits is None or not given:
        raise BadRequest("The Content-Length must be a number.")
    if len(digits[1]) > _MAX_DIGITS:
        raise RequestEntityTooLarge
    return int(digits[1] or 0)


def _described(record: ArtifactMetadata) -> Response:
    """Return a response without content that says what an artifact is.

    A browser saves it and does not show it. Should it be shown nevertheless, it has no origin, and nothing in it runs.

    Raises:
        ValueError: a field of the record can't stand in a header.

    """
    filename = None if record.filename is None else last_segment(record.filename)
    if not _HEADER_TEXT(record.mime) or not _SHA256(record.sha256) or len(filename or "") > _MAX_FILENAME:
        raise ValueError("its type, SHA-256 or filename can't stand in a header")
    if not isinstance(record.bytes, int) or record.bytes < 0:
        raise ValueError("its length is not one")
    return Response(
        content_type=record.mime,
        headers={
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Disposition": content_disposition(filename),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "ETag": quote_etag(record.sha256),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _check_if_match(request: _Request, record: ArtifactMetadata) -> None:
    """Raise when the client wants another revision than the present one (RFC 9110 section 13.1.1)."""
    if "If-Match" in request.headers and not request.if_match.contains(record.sha256):
        raise PreconditionFailed


def _range(request: _Request, record: ArtifactMetadata) -> tuple[int, int] | None:
    """Return the first byte that is asked for and the one after the last, or None when it is all of them.

    A server may ignore ranges (RFC 9110 section 14.2). Ignored are several at once, those that are malformed, those in
    other units than bytes, those of a HEAD, and those of another revision.
    """
    given = _RANGE(request.headers.get("Range", ""))
    fits = request.headers.get("If-Range") in {None, quote_etag(record.sha256)}
    if given is None or not fits or request.verb != "GET" or given[1] == given[2] == "":
        return None
    if not given[1]:
        start, stop = max(record.bytes - int(given[2]), 0), record.bytes
    else:
        start, stop = int(given[1]), min(int(given[2] or record.bytes) + 1, record.bytes)
        if given[2] and int(given[2]) < start:
            return None
    if start >= stop:
        raise RequestedRangeNotSatisfiable(record.bytes)
    return start, stop


def _all_but_last_first(held: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Hold each chunk back until the next is there.

    After the last one comes the verdict on the whole. When that is an error, the response ends short of its length, and
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


def _upload_condition(request: _Request) -> uploads.Allows | None:
    """Return what decides whether an upload may take the place of the one before, or None when it always may.

    That is RFC 9110 section 13.1.1 and 13.1.2, of what was uploaded before and its SHA-256.
    """
    if "If-Match" not in request.headers and "If-None-Match" not in request.headers:
        return None
    wanted, known = request.if_match, request.if_none_match

    def allows(sha256: Callable[[], str] | None) -> bool:
        if "If-Match" in request.headers and (sha256 is None or not (wanted.star_tag or wanted.contains(sha256()))):
            return False
        return sha256 is None or not (known.star_tag or (bool(known) and known.contains_weak(sha256())))

    return allows


def _check_upload(request: _Request, grant: Grant) -> None:
    """Refuse what can be refused before the first byte."""
    if "Content-Range" in request.headers:  # RFC 9110 section 14.5
        raise BadRequest("A part of a file can't be uploaded.")
    if grant.mime is not None and not _is_same_type(request.headers.get("Content-Type", ""), grant.mime):
        raise UnsupportedMediaType(f"The Content-Type must be {grant.mime}.")
    if not request.ends:
        raise LengthRequired
    if grant.max_bytes is not None and (request.length or 0) > grant.max_bytes:
        raise _too_large(grant.max_bytes)


def _is_same_type(given: str, wanted: str) -> bool:
    return parse_options_header(given.lower()) == parse_options_header(wanted.lower())


def _received(request: _Request, max_bytes: int | None) -> Iterator[bytes]:
    """Iterate over the content of a request, and raise when it grows too long or ends before its time.

    The length is counted, because not every server tells a client that went away from one that has finished.
    """
    size = 0
    while chunk := _read(request.stream):
        size += len(chunk)
        if max_bytes is not None and size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk
    if request.length not in {None, size}:
        raise ClientDisconnected


def _read(body: IO[bytes]) -> bytes:
    try:
        return body.read(_CHUNK_SIZE)
    except (OSError, ValueError) as error:  # ValueError: chunks that are none
        raise ClientDisconnected from error


def _too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"At most {max_bytes} bytes are taken.")
