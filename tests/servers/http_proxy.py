"""An HTTP proxy that records requests, and can make the service behind it busy, forgetful or cut off."""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
_REPLACED = {"connection", "content-length", "transfer-encoding"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and body."""


@attrs.frozen
class Request:
    """A request that came.

    Attributes:
        method: such as PUT.
        path: the path with the query.
        headers: by lower-case name.
        size: length of the body in bytes.

    """

    method: str
    path: str
    headers: dict[str, str]
    size: int


class HttpProxy:
    """Stands before the service at *url*; use it as a context manager.

    Attributes:
        url: where clients connect.
        requests: what came, in its order.
        failing: how many more requests are answered by *failure*, and not passed on.
        failure: that answer, as status and body.
        only: the beginning of "METHOD path" of those that are treated badly; others pass.
        forgetting: how many more requests are passed on, and the answer is lost: the connection breaks.
        cut_after: None, or after how many bytes of its body one answer ends; it becomes None then.
        heads_cut: how many more answers end after *head_length* bytes of status line and headers, and the connection
            with them, in good order.
        head_length: see *heads_cut*; it may be less than nothing, and counts from the end then.
        changing: changes each answer of the service, given the line of the request, status, headers and body.

    """

    def __init__(self, url: str) -> None:
        self.requests: list[Request] = []
        self.failing = 0
        self.failure = (503, SLOW_DOWN)
        self.only = ""
        self.forgetting = 0
        self.cut_after: int | None = None
        self.heads_cut = 0
        self.head_length = 0
        self.changing: Callable[[str, Answer], Answer] = lambda _, answer: answer
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self, urlsplit(url).netloc))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def told(self) -> list[str]:
        """Return the methods of the requests, and forget them."""
        requests, self.requests = self.requests, []
        return [request.method for request in requests]

    def take(self, name: str, line: str) -> bool:
        """Say whether this request is one of those that *name* counts, and count it."""
        with self._lock:
            left = getattr(self, name)
            if left and line.startswith(self.only):
                setattr(self, name, left - 1)
                return True
            return False

    def take_cut(self, line: str) -> int | None:
        """Return after how many bytes this answer ends, or None."""
        with self._lock:
            cut = self.cut_after if line.startswith(self.only) else None
            if cut is not None:
                self.cut_after = None
            return cut


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: HttpProxy, place: str, *arguments: Any) -> None:
        self._proxy = proxy
        self._place = place
        super().__init__(*arguments)

    def handle_any(self) -> None:
        """Pass a request on, or treat it badly."""
        proxy = self._proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        proxy.requests.append(Request(self.command, self.path, headers, len(body)))
        line = f"{self.command} {self.path}"
        if proxy.take("failing", line):
            status, content = proxy.failure
            self._answer(status, [("Content-Length", str(len(content)))], content)
            return
        status, answered, content = proxy.changing(line, self._passed_on(body))
        if proxy.take("forgetting", line):
            self._reset()
        elif proxy.take("heads_cut", line):
            head = "".join(f"{name}: {value}\r\n" for name, value in answered)
            with contextlib.suppress(OSError):
                self.wfile.write(f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode("latin-1")[: proxy.head_length])
            self.close_connection = True
        else:
            self._answer(status, answered, content, proxy.take_cut(line))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the names of the base class

    def log_message(self, *_: Any) -> None:
        """Be silent."""

    def _passed_on(self, body: bytes) -> Answer:
        with contextlib.closing(http.client.HTTPConnection(self._place)) as service:
            service.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"expect", "connection"}:
                    service.putheader(name, value)
            service.endheaders(body)
            answer = service.getresponse()
            content = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _REPLACED]
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        return answer.status, [*headers, ("Content-Length", length)], content

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content[:cut] if self.command != "HEAD" else b"")
        if cut is not None:
            self._reset()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close_connection = True
