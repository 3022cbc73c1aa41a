"""``Request``, and what its header asks for: a range, a revision, an upload (RFC 9110, RFC 9112)."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    LengthRequired,
    PreconditionFailed,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.http import parse_etags, parse_options_header, quote_etag

from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.uploads import Allows
from chuk_artifacts.signing import Grant

if TYPE_CHECKING:
    from werkzeug.datastructures import ETags, Headers

CHUNK_SIZE = 256 * 1024
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE).fullmatch
_DIGITS = re.compile(r"0*([0-9]*)").fullmatch
_MAX_DIGITS = 18


class ServerSends(enum.Enum):
    """What a server can send without reading it through the application."""

    NOTHING = enum.auto()
    FILES = enum.auto()
    """an open file: ``wsgi.file_wrapper``, ``http.response.zerocopysend``"""
    PATHS = enum.auto()
    """a file, by its path: ``http.response.pathsend``"""


@attrs.frozen
class Request:
    """A request to the gateway, whatever protocol carried it.

    Attributes:
        method: as it was received; methods are case-sensitive (RFC 9110 section 9.1).
        segment: the decoded path below the gateway's own, without the slash at its start.
        query: the query as it was received.
        headers: the header; values of a field that was sent twice are joined with commas.
        terminated: whether the server finds the end of content whose length was not announced.
        server_sends: what the server can send without reading it through the application.

    """

    method: str
    segment: str
    query: str
    headers: Headers
    terminated: bool = False
    server_sends: ServerSends = ServerSends.NOTHING

    @property
    def if_match(self) -> ETags:
        """The revisions that the client wants to exist."""
        return parse_etags(self.headers.get("If-Match"))

    @property
    def if_none_match(self) -> ETags:
        """The revisions that the client knows."""
        return parse_etags(self.headers.get("If-None-Match"))


def content_length(request: Request) -> int | None:
    """Return the announced length of a request's content in bytes, or None (RFC 9112 section 6.3).

    Request smuggling uses two lengths, even equal ones, or a length beside chunks: a server in front may have taken the
    other one. Some WSGI servers pass an empty text where the client sent no length.

    Raises:
        BadRequest: it is not clear where the content ends.
        RequestEntityTooLarge: no file is that long.

    """
    given, coding = request.headers.get("Content-Length"), request.headers.get("Transfer-Encoding")
    if coding is not None and (given is not None or coding.strip(" \t").lower() != "chunked"):
        raise BadRequest("Where the content ends is not clear.")
    length = None if given is None else given.strip(" \t")
    if length is None or (not length and request.method != "PUT"):
        return None
    digits = _DIGITS(length)
    if digits is None or not length:
        raise BadRequest("The Content-Length must be a number.")
    if len(digits[1]) > _MAX_DIGITS:
        raise RequestEntityTooLarge
    return int(digits[1] or 0)


# Downloads


def check_if_match(request: Request, record: ArtifactMetadata) -> None:
    """Raise ``PreconditionFailed`` if the client wants another revision than this one (RFC 9110 section 13.1.1)."""
    if "If-Match" in request.headers and not request.if_match.contains(record.sha256):
        raise PreconditionFailed


def byte_range(request: Request, record: ArtifactMetadata) -> tuple[int, int] | None:
    """Return the start and the end of the range that a client asks for, or None for the whole file.

    A server may ignore a range (RFC 9110 section 14.2). This ignores several ranges in one request, a malformed range,
    other units than bytes, the range of a HEAD, and a range of another revision (``If-Range``).

    Raises:
        RequestedRangeNotSatisfiable: the file has no byte in that range.

    """
    given = _RANGE(request.headers.get("Range", ""))
    fits = request.headers.get("If-Range") in {None, quote_etag(record.sha256)}
    if given is None or not fits or request.method != "GET" or given[1] == given[2] == "":
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


# Uploads


def check_upload(request: Request, length: int | None, grant: Grant) -> None:
    """Refuse an upload before its first byte if it is a part, of another type, too long, or of unknown length."""
    if "Content-Range" in request.headers:  # RFC 9110 section 14.5
        raise BadRequest("A part of a file can't be uploaded.")
    if grant.mime is not None and not _is_same_type(request.headers.get("Content-Type", ""), grant.mime):
        raise UnsupportedMediaType(f"The Content-Type must be {grant.mime}.")
    if length is None and not request.terminated:
        raise LengthRequired
    if grant.max_bytes is not None and (length or 0) > grant.max_bytes:
        raise _too_large(grant.max_bytes)


def upload_condition(request: Request) -> Allows | None:
    """Return a function that decides by the SHA-256 of the upload before whether this one may replace it, or None.

    It follows ``If-Match`` and ``If-None-Match`` (RFC 9110 sections 13.1.1 and 13.1.2).
    """
    if "If-Match" not in request.headers and "If-None-Match" not in request.headers:
        return None
    wanted, known = request.if_match, request.if_none_match

    def allows(sha256: Callable[[], str] | None) -> bool:
        if "If-Match" in request.headers and (sha256 is None or not (wanted.star_tag or wanted.contains(sha256()))):
            return False
        return sha256 is None or not (known.star_tag or (bool(known) and known.contains_weak(sha256())))

    return allows


@attrs.define
class Measure:
    """Counts the content of an upload, and refuses it as soon as it is longer or shorter than it may be.

    To some servers a client that broke off looks like a client that has finished.

    Attributes:
        length: the announced length in bytes, or None.
        max_bytes: the greatest length in bytes, or None.
        limits: more limits in bytes, each with what makes the error beyond it.
        size: how many bytes were counted.

    """

    length: int | None
    max_bytes: int | None
    limits: Sequence[tuple[int, Callable[[], Exception]]] = ()
    size: int = 0

    def add(self, chunk: bytes) -> bytes:
        """Count a chunk, and return it.

        Raises:
            RequestEntityTooLarge: the content is longer than *max_bytes*.
            QuotaExceededError: it is longer than another limit.
            BadRequest: it is longer than announced.

        """
        self.size += len(chunk)
        for limit, error in self.limits:
            if self.size > limit:
                raise error()
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise _too_large(self.max_bytes)
        if self.length is not None and self.size > self.length:
            raise BadRequest("The content is longer than announced.")
        return chunk

    def end(self) -> None:
        """Raise ``ClientDisconnected`` if the content ended before its announced length."""
        if self.length not in {None, self.size}:
            raise ClientDisconnected


def received(read: Callable[[int], bytes], measure: Measure) -> Iterator[bytes]:
    """Yield the content of an upload.

    Args:
        read: returns at most as many bytes as asked, and none at the end.
        measure: counts them.

    Raises:
        HTTPException: the client broke off, or see :class:`Measure`.

    """
    while chunk := _read(read):
        yield measure.add(chunk)
    measure.end()


def _read(read: Callable[[int], bytes]) -> bytes:
    try:
        return read(CHUNK_SIZE)
    except (OSError, ValueError) as error:  # ValueError: a server's word for malformed chunks
        raise ClientDisconnected from error


def _is_same_type(given: str, wanted: str) -> bool:
    return parse_options_header(given.lower()) == parse_options_header(wanted.lower())


def _too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"At most {max_bytes} bytes are taken.")
