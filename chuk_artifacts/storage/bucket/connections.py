"""HTTP connections of an SDK: an answer cut in its headers is an error, and a request that takes long may do so.

They derive from the classes of botocore (or of its copy by IBM), so that nothing else about them changes.
"""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Callable, Mapping
from http.client import HTTPResponse, RemoteDisconnected
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from urllib3 import Timeout

_SMALL_BODY = 256 * 1024  # what a slow network takes from the buffers of the system within the time of a small request
_SENT_TOGETHER = 64 * 1024  # to copy more costs as much as a system call
_TIMES_LONGER = 10
_LONG_SECONDS = 120.0
_MOST_HEADERS = 100  # as in ``http.client``, which raises where there are more
_PLAIN_HEADER = re.compile(rb"([!-9;-~]+):[ \t]*([^\x00\r\n]*)\r\n").fullmatch
_PLAIN_NAME = re.compile(r"[0-9A-Za-z-]+").fullmatch
_PLAIN_VALUE = re.compile(rb"[ -~]*+").fullmatch
_SPECIAL = re.compile(r"[#;\s]|\?\Z").search  # in a URL
# The headers that ``http.client`` looks at; urllib3 looks for defects in the one of the type.
_FRAMING = frozenset(
    {"connection", "content-length", "content-type", "keep-alive", "proxy-connection", "transfer-encoding"}
)


def harden(session: Any) -> None:
    """Let an HTTP session of an SDK, which has made no connection yet, make those of this module."""
    pools = session._pool_classes_by_scheme  # noqa: SLF001 - botocore has no public way to a connection
    pools.update({scheme: _hardened(pool) for scheme, pool in pools.items()})
    manager = session._manager  # noqa: SLF001
    manager.connection_from_url = _by_origin(manager)
    session._path_url = _target_of(session)  # noqa: SLF001
    proxies = session._proxy_config  # noqa: SLF001
    known = {scheme: proxies.proxy_url_for(f"{scheme}://") for scheme in ("http", "https")}
    proxies.proxy_url_for = lambda url: known.get(url.partition(":")[0].lower())


def _target_of(session: Any) -> Callable[[str], str]:
    """Return what finds path and query of a URL, without parsing one whose form is plain; see :func:`_by_origin`."""
    find, its = type(session)._path_url, weakref.ref(session)  # noqa: SLF001

    def found(url: str) -> str:
        begin = url.find("/", len("https://"))
        is_plain = begin > 0 and not _SPECIAL(url) and "?" not in url[:begin]
        return url[begin:] if is_plain else str(find(its(), url))

    return found


def _by_origin(manager: Any) -> Callable[[str], Any]:
    """Return what finds the pool of a URL without parsing the URL each time, which is a tenth of a small request.

    Only the manager holds the pools, and nothing here holds the manager: connections close when it lets them go.
    """
    pools: WeakValueDictionary[str, Any] = WeakValueDictionary()
    find, its = type(manager).connection_from_url, weakref.ref(manager)

    def found(url: str) -> Any:
        end = url.find("/", len("https://"))
        origin = url[:end]
        pool = pools.get(origin) if end > 0 else None
        if pool is None:
            pool = find(its(), url)
            if end > 0:
                pools[origin] = pool
        return pool

    return found


def patience(read_seconds: float | None) -> float | None:
    """Return how many seconds to wait for the answer to a long request, given those for a small one."""
    return None if read_seconds is None else max(read_seconds, min(read_seconds * _TIMES_LONGER, _LONG_SECONDS))


def takes_long(method: str, url: str, headers: Mapping[str, str]) -> bool:
    """Say whether a service may work for long before it answers, or a network before all is sent.

    That is a copy, the end of an upload by parts, a deletion of many, and all that has a body of some size.
    """
    if method == "POST":
        return not url.endswith("?uploads")
    size = headers.get("Content-Length")
    return method == "PUT" and ("x-amz-copy-source" in headers or size is None or int(size) > _SMALL_BODY)


@functools.cache
def _hardened(pool: Any) -> Any:
    connection = type("Connection", (_Connection, pool.ConnectionCls), {})
    return type("Pool", (_Pool, pool), {"ConnectionCls": connection})


@functools.lru_cache(maxsize=256)
def _plain_name(header: str) -> bytes:
    """Return how the line of a header begins; nothing if its name is not plain."""
    return f"{header}: ".encode() if _PLAIN_NAME(header) else b""


class _Pool:
    """The part of a connection pool that changes."""

    timeout: Timeout

    def urlopen(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *arguments: object,
        **more: object,
    ) -> object:
        """Send a request; wait longer for the answer to a long one."""
        if "timeout" not in more and takes_long(method, url, headers or {}):
            more["timeout"] = Timeout(connect=self.timeout.connect_timeout, read=patience(self.timeout.read_timeout))
        pool: Any = super()
        return pool.urlopen(method, url, body, headers, *arguments, **more)


class _Lines:
    """Reads the lines of an answer until its body, and knows whether it met the end of the connection.

    ``http.client`` parses headers as it parses mail, which takes a sixth of the time of a small request. So it is given
    only those that say how the body comes, unless a line is anything but a plain header.

    Attributes:
        file: where the lines are.
        ended: whether the connection ended before them.
        others: the headers that are kept back.

    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.close = file.close
        self.ended = False
        self.others: list[tuple[str, str]] = []
        self._block: list[bytes] = []

    def readline(self, limit: int = -1) -> bytes:
        if self._block:
            return self._block.pop()
        line: bytes = self.file.readline(limit)
        self.ended = self.ended or not line
        if line.startswith(b"HTTP/"):
            self._read_block(limit)
        return line

    def _read_block(self, limit: int) -> None:
        """Read all lines up to the empty one."""
        lines: list[bytes] = []
        while len(lines) <= _MOST_HEADERS and (not lines or len(lines[-1]) > len(b"\r\n")):
            lines.append(self.file.readline(limit))
        self.ended = self.ended or not lines[-1]
        matches = [_PLAIN_HEADER(line) for line in lines[:-1]]
        self.others = []
        if lines[-1] == b"\r\n" and all(matches):
            found = [(match[1].decode(), match[2].decode("latin-1")) for match in matches if match]
            self.others = [header for header in found if header[0].lower() not in _FRAMING]
            lines = [line for line, (name, _) in zip(lines, found, strict=False) if name.lower() in _FRAMING] + lines[
                -1:
            ]
        self._block = lines[::-1]


class _Response(HTTPResponse):
    """An answer whose headers end with an empty line: ``http.client`` takes the end of the connection for one too."""

    def begin(self) -> None:
        """Read status and headers."""
        lines = _Lines(self.fp)
        self.fp: Any = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = lines.file
        if lines.ended:
            raise RemoteDisconnected("the connection ended within the headers of an answer")
        for name, value in lines.others:
            self.headers[name] = value


class _Connection:
    """The part of a connection that changes."""

    response_class = _Response
    _output: Callable[[bytes], None]
    _head: bytes | None = None  # what waits for the body of its request; None: nothing is to wait

    def request(self, *arguments: Any, **more: Any) -> None:
        """Send a request; IBM's SDK would take what came in place of an earlier ``100 Continue`` for its answer.

        urllib3 sends the headers and the body one after the other. A small body goes together with the headers, which
        saves a system call here, and the service a wait.
        """
        self.response_class = _Response
        body: Any = more.get("body")
        connection: Any = super()
        together = isinstance(body, bytes) and len(body) <= _SENT_TOGETHER and "Expect" not in (more["headers"] or ())
        self._head = b"" if together else None
        try:
            connection.request(*arguments, **more)
        finally:
            head, self._head = self._head, None
        if head:
            self.send(head)

    def putheader(self, header: Any, *values: Any) -> None:
        """Add a header; a plain one, of which a small request has up to twenty, in a third of the time."""
        if len(values) == 1 and type(values[0]) is bytes and type(header) is str:
            begin = _plain_name(header)
            if begin and _PLAIN_VALUE(values[0]):
                self._output(begin + values[0])
                return
        connection: Any = super()
        connection.putheader(header, *values)

    def send(self, data: Any) -> None:
        """Send a part of a request, or keep it until the next one."""
        if self._head == b"":
            self._head = bytes(data)
            return
        head, self._head = self._head, None
        connection: Any = super()
        connection.send(head + data if head else data)

    def _consume_headers(self, file: BinaryIO) -> None:
        """Read the headers after ``100 Continue``; botocore reads for ever where the connection ends within them."""
        while line := file.readline():
            if line == b"\r\n":
                return
        raise RemoteDisconnected("the connection ended within the headers of an answer")
