"""A small S3 service in this process, without signatures, that answers some requests as a script says."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

ETERNAL = "2026-01-01T00:00:00.000Z"


@attrs.frozen
class Answer:
    """An answer.

    Attributes:
        status: the HTTP status.
        body: the bytes after the headers.
        headers: the headers beside length and date.

    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Request:
    """A request that came.

    Attributes:
        method: such as PUT.
        path: the path, decoded.
        query: the first value of each name; of a bare name an empty text.
        headers: by lower-case name.
        body: its bytes.

    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The key of an object, without its bucket; empty for the bucket itself."""
        return self.path.removeprefix("/").partition("/")[2]

    @property
    def operation(self) -> str:
        """What a request is called in a test: the method, and the query that makes it another operation."""
        special = [name for name in ("delete", "uploads", "uploadId", "list-type", "acl") if name in self.query]
        return " ".join((self.method, *special))


Script = Callable[[Request], Answer | None]
"""What answers a request, or returns None."""


def refusal(status: int, code: str) -> Answer:
    """Return the answer of a service that refuses, with a code."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>as the script says</Message></Error>".encode())


class Service:
    """What the service does. It knows one bucket, whatever its name is.

    Attributes:
        requests: what came, in its order.
        objects: the bytes by key.
        script: returns the answer to a request, or None to have it carried out.

    """

    def __init__(self, script: Script = lambda _: None) -> None:
        self.requests: list[Request] = []
        self.objects: dict[str, bytes] = {}
        self.script = script

    def told(self) -> list[str]:
        """Return what the requests were, and forget them."""
        requests, self.requests = self.requests, []
        return [request.operation for request in requests]

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request: that of the script, or what a service does."""
        self.requests.append(request)
        return self.script(request) or self._carry_out(request)

    def _carry_out(self, request: Request) -> Answer:
        methods = _ON_OBJECT if request.key else _ON_BUCKET
        return methods.get(request.operation, _nothing)(self, request)


class Scripted(Service):
    """The service behind a URL; use it as a context manager.

    Attributes:
        url: where clients connect.
        early: as ``script``, for requests that ask with ``Expect: 100-continue``, before their bodies are read.

    """

    def __init__(self, script: Script = lambda _: None) -> None:
        super().__init__(script)
        self.early: Script = lambda _: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
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


def in_turn(operation: str, *answers: Answer | None) -> Script:
    """Return a script that has these answers for an operation, one after the other, and none for others."""
    left = list(answers)
    return lambda request: left.pop(0) if left and request.operation == operation else None


def always(operation: str, answer: Answer) -> Script:
    """Return a script that has one answer for an operation, again and again."""
    return lambda request: answer if request.operation == operation else None


def etag_of(data: bytes) -> str:
    """Return the ETag of an object."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _nothing(_: Service, request: Request) -> Answer:
    return refusal(501, "NotImplemented")


def _put(service: Service, request: Request) -> Answer:
    if request.headers.get("if-none-match") and request.key in service.objects:
        return refusal(412, "PreconditionFailed")
    service.objects[request.key] = request.body
    return Answer(headers={"ETag": etag_of(request.body)})


def _get(service: Service, request: Request) -> Answer:
    data = service.objects.get(request.key)
    if data is None:
        return refusal(404, "NoSuchKey")
    if request.headers.get("if-match", etag_of(data)) != etag_of(data):
        return refusal(412, "PreconditionFailed")
    headers = {"ETag": etag_of(data), "Last-Modified": formatdate(0, usegmt=True)}
    part = re.match(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    if part is None:
        return Answer(200, data, headers)
    begin, end = int(part[1]), min(int(part[2]), len(data) - 1)
    if begin > end:
        return refusal(416, "InvalidRange")
    return Answer(206, data[begin : end + 1], {**headers, "Content-Range": f"bytes {begin}-{end}/{len(data)}"})


def _delete(service: Service, request: Request) -> Answer:
    service.objects.pop(request.key, None)
    return Answer(204)


def _delete_many(service: Service, request: Request) -> Answer:
    for key in keys_of(request):
        service.objects.pop(key, None)
    return Answer(200, b"<DeleteResult></DeleteResult>")


def keys_of(request: Request) -> list[str]:
    """Return the keys in a request to delete many."""
    return re.findall(r"<Key>([^<]*)</Key>", request.body.decode())


def _list(service: Service, request: Request) -> Answer:
    entries = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(data)}</Size><LastModified>{ETERNAL}</LastModified></Contents>"
        for key, data in sorted(service.objects.items())
        if key.startswith(request.query.get("prefix", ""))
    )
    page = f"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    return Answer(200, page.encode())


def _list_uploads(service: Service, request: Request) -> Answer:
    return Answer(200, b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")


_ON_OBJECT = {"PUT": _put, "GET": _get, "HEAD": _get, "DELETE": _delete}
_ON_BUCKET = {
    "HEAD": lambda *_: Answer(),
    "GET list-type": _list,
    "GET uploads": _list_uploads,
    "POST delete": _delete_many,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, service: Scripted, *arguments: Any) -> None:
        self._service = service
        super().__init__(*arguments)

    def handle_expect_100(self) -> bool:
        """Answer a request before its body comes, or let that come."""
        request = self._request(b"")
        answer = self._service.early(request)
        if answer is None:
            return super().handle_expect_100()
        self._service.requests.append(request)
        self._send(answer)
        return False

    def handle_any(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(self._service.answer(self._request(body)))

    def _request(self, body: bytes) -> Request:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, unquote(parts.path), query, headers, body)

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in {"Date": formatdate(usegmt=True), **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the names of the base class

    def log_message(self, *_: Any) -> None:
        """Be silent."""
