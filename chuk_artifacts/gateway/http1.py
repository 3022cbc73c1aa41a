"""HTTP/1.1 on a socket (RFC 9112): parse the head of a request, read its content, send an application's answer.

Where the RFC lets a server choose between guessing and refusing, this refuses: request smuggling needs two servers that
read one request in two ways. Each connection serves one request.
"""

from __future__ import annotations

import io
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from chuk_artifacts.gateway.fields import environment_of

if TYPE_CHECKING:
    from _typeshed import OptExcInfo, ReadableBuffer, WriteableBuffer
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

T = TypeVar("T")

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"  # RFC 9110 section 5.6.2
_REQUEST_LINE = re.compile(rb"(%s{1,32}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % _TOKEN).fullmatch
_FIELD = re.compile(rb"(%s+):([\t\x20-\x7e\x80-\xff]*)" % _TOKEN).fullmatch
_AUTHORITY = r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"  # RFC 3986 section 3.2, without user
_HOST = re.compile(_AUTHORITY).fullmatch
_TARGET = re.compile(rf"(?:[Hh][Tt][Tt][Pp][Ss]?://(?=[^/?:]){_AUTHORITY})?(/[^?]*)?(?:\?(.*))?").fullmatch
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[\t\x20-\x7e\x80-\xff]*)?\r\n").fullmatch
_DIGITS = re.compile(r"[0-9]+").fullmatch
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_MAX_DIGITS = 18
_MAX_LINE = 4096
_MAX_TRAILERS = 32
_NO_CONTENT = (204, 304)


class RefusedError(Exception):
    """A request is answered with *status*; the rest of it is not read."""

    def __init__(self, status: HTTPStatus) -> None:
        """Keep the status."""
        super().__init__(status)
        self.status: HTTPStatus = status


class Request(NamedTuple):
    """The head of a request.

    Attributes:
        method: a token, of at most 32 characters.
        path: the path of its target, percent-encoded.
        query: the query of its target.
        version: ``HTTP/1.`` and a digit.
        fields: names, in lower case, and values of the header.
        length: the length of its content in bytes; None: the content comes in chunks.

    """

    method: str
    path: str
    query: str
    version: str
    fields: list[tuple[str, str]]
    length: int | None

    @property
    def awaits_consent(self) -> bool:
        """Whether the client waits for a ``100 Continue`` before it sends its content (RFC 9110 section 10.1.1)."""
        return self.version > "HTTP/1.0" and ("expect", "100-continue") in [(n, v.lower()) for n, v in self.fields]

    def as_wsgi(self, server: tuple[str, int], client: tuple[str, int]) -> WSGIEnvironment:
        """Return the environment of a WSGI application (PEP 3333), without the content."""
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(self.path).decode("latin-1"),
            "QUERY_STRING": self.query,
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "SERVER_PROTOCOL": self.version,
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if self.length is None:
            environ["wsgi.input_terminated"] = True
        return environ | environment_of(self.fields)


class Head:
    """Collects the head of a request.

    Args:
        limit: the greatest length in bytes.

    """

    def __init__(self, limit: int) -> None:
        """Start empty."""
        self._limit = limit
        self._data = b""

    def __bool__(self) -> bool:
        """Return True after the first byte."""
        return bool(self._data)

    def add(self, data: bytes) -> tuple[Request, bytes] | None:
        """Return the request and the bytes after its head, or None while the head is incomplete.

        Raises:
            RefusedError: the head is too long, or is not HTTP.

        """
        begin = max(0, len(self._data) - 3)
        self._data = (self._data + data).lstrip(b"\r\n") if begin == 0 else self._data + data
        end = _END_OF_HEAD.search(self._data, begin)
        if (len(self._data) if end is None else end.end()) > self._limit:
            one_line = b"\n" not in self._data[: self._limit]
            raise RefusedError(
                HTTPStatus.REQUEST_URI_TOO_LONG if one_line else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )
        return None if end is None else (_parsed(self._data[: end.end()]), self._data[end.end() :])


def _parsed(head: bytes) -> Request:
    line, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    words = _REQUEST_LINE(line)
    if words is None or not head.endswith(b"\r\n\r\n"):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if words[3] != b"1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    fields = list(_fields(rest))
    method, version = words[1].decode(), f"HTTP/1.{words[4].decode()}"
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) > 1 or (not hosts and version > "HTTP/1.0") or not all(map(_HOST, hosts)):
        raise RefusedError(HTTPStatus.BAD_REQUEST)  # RFC 9112 section 3.2
    path, query = _target(method, words[2].decode())
    return Request(method, path, query, version, fields, _length(fields, version))


def _fields(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        field = _FIELD(line)
        if field is None:  # a continuation, a blank before the colon (RFC 9112 section 5)
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        yield field[1].decode().lower(), field[2].strip(b" \t").decode("latin-1")


def _target(method: str, target: str) -> tuple[str, str]:
    """Return path and query of the target of a request (RFC 9112 section 3.2)."""
    if target == "*" and method == "OPTIONS":
        return target, ""
    parts = _TARGET(target)
    if parts is None or target[0] == "?":
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    return parts[1] or "/", parts[2] or ""


def _length(fields: Iterable[tuple[str, str]], version: str) -> int | None:
    """Return the length of the content in bytes, or None for chunks (RFC 9112 section 6.3)."""
    codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
    lengths = [value for name, value in fields if name == "content-length"]
    if codings:
        if lengths or codings != ["chunked"] or version == "HTTP/1.0":
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        return None
    if len(lengths) > 1 or not all(map(_DIGITS, lengths)):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    digits = lengths[0].lstrip("0") if lengths else ""
    if len(digits) > _MAX_DIGITS:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(digits or 0)


class Wire(io.RawIOBase):
    """A connection that limits how long its client keeps it waiting.

    Only time in a call to the socket counts, and not the time that the application or a storage takes.

    Args:
        connection: the connection.
        held: bytes that were read from it already.
        patience: how long to wait in all, in seconds, before ``TimeoutError``.
        bytes_per_second: how many bytes earn the client another second, up to *patience*.
        clock: returns a time in seconds.

    """

    def __init__(
        self,
        connection: socket.socket,
        held: bytes,
        patience: float,
        bytes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet."""
        self._connection = connection
        self._held = held
        self._patience = self._left = patience
        self._timeout = 0.0
        self._rate = bytes_per_second
        self._clock = clock

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the bytes that have arrived, at least one, or none at the end."""
        if not self._held:
            return self._timed(self._connection.recv_into, buffer)
        view = memoryview(buffer)
        count = min(len(view), len(self._held))
        view[:count], self._held = self._held[:count], self._held[count:]
        return count

    def write(self, data: ReadableBuffer) -> int:
        """Write all of *data*."""
        left = view = memoryview(data)
        while left:
            left = left[self._timed(self._connection.send, left) :]
        return len(view)

    def _timed(self, act: Callable[[T], int], argument: T) -> int:
        if self._left <= 0:
            raise TimeoutError("the client is too slow")
        if self._left != self._timeout:  # a quick client saves the system call
            self._timeout = self._left
            self._connection.settimeout(self._timeout)
        begun = self._clock()
        count = act(argument)
        self._left = min(self._patience, self._left - (self._clock() - begun) + count / self._rate)
        return count


class Content(io.RawIOBase):
    """The content of a request, up to its end.

    Reading raises ``OSError`` if the content ends too early, or its chunks are malformed.

    Args:
        wire: the connection.
        request: its head.

    """

    def __init__(self, wire: Wire, request: Request) -> None:
        """Read nothing yet."""
        self._wire = wire
        self._source = io.BufferedReader(wire, 64 * 1024)
        self._chunked = request.length is None
        self._left = request.length or 0
        self._awaited = request.awaits_consent

    @property
    def finished(self) -> bool:
        """Whether the content was read to its end."""
        return self._left == 0 and not self._chunked

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read content that has arrived, at least one byte, or none at its end."""
        if self.finished:
            return 0
        if self._awaited:
            self._awaited = False
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._left == 0 and not self._begin_chunk():
            return 0
        view = memoryview(buffer)[: self._left]
        count = self._source.readinto1(view)
        if view and not count:
            raise ConnectionError("the client ended the content too early")
        self._left -= count
        if self._chunked and self._left == 0 and self._source.read(2) != b"\r\n":
            raise ConnectionError("the client sent a malformed chunk")
        return count

    def _begin_chunk(self) -> int:
        """Return the length of the next chunk; after the last chunk, read the trailer section and return 0."""
        size = _CHUNK(self._source.readline(_MAX_LINE))
        if size is None:
            raise ConnectionError("the client sent a malformed chunk")
        self._left = int(size[1], 16)
        if self._left == 0:
            for _ in range(_MAX_TRAILERS):
                if self._source.readline(_MAX_LINE) == b"\r\n":
                    self._chunked = False
                    return 0
            raise ConnectionError("the client sent too long a trailer section")
        return self._left


class Exchange:
    """Sends the answer of an application to one request.

    Attributes:
        status: the status code that was sent; 0 before.

    """

    def __init__(self, wire: Wire) -> None:
        """Send nothing yet."""
        self.status: int = 0
        self._wire = wire
        self._given: tuple[str, list[tuple[str, str]]] | None = None

    def run(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        """Call the application and send its response, without content where HTTP allows none."""
        silent = environ["REQUEST_METHOD"] == "HEAD"
        result = app(environ, self._start_response)
        try:
            for chunk in result:
                self._write(b"" if silent else chunk)
            self._write(b"")
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def fail(self, status: HTTPStatus) -> None:
        """Send an error, unless something was sent already."""
        if not self.status:
            self.status = status
            self._wire.write(refusal(status))

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], None]:
        if exc_info is not None and exc_info[1] is not None and self.status:
            raise exc_info[1]  # too late for another answer (PEP 3333)
        self._given = status, headers
        return self._write

    def _write(self, data: bytes) -> None:
        if not self.status:
            if self._given is None:
                raise RuntimeError("the application wrote before it called start_response")
            status, headers = self._given
            head = _head(status, headers)
            self.status = int(status[:3])
            self._wire.write(head)
        if data and self.status not in _NO_CONTENT:
            self._wire.write(data)


def refusal(status: HTTPStatus) -> bytes:
    """Return a whole response that repeats only its status."""
    text = f"{status.phrase}.\n"
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    headers += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    return _head(f"{status.value} {status.phrase}", headers) + text.encode()


def _head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a response; raise ``ValueError`` for text that would end a line or is not latin-1."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Date: {formatdate(usegmt=True)}", "Server: chuk-artifacts", "Connection: close"]
    if any(map(_UNSAFE, lines)):
        raise ValueError("a header of the response holds a control character")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
