"""Parsing of HTTP/1.1, and the bytes that it refuses."""

from __future__ import annotations

import io
import socket
from http import HTTPStatus

import pytest

from chuk_artifacts.gateway.http1 import Content, Exchange, Head, RefusedError, Request, Wire, refusal

HEAD = b"PUT /a%20b?x=1 HTTP/1.1\r\nHost: example.org\r\n"


def parsed(head, limit=10_000):
    """Return the request that a head contains."""
    request, _ = Head(limit).add(head)
    return request


def status_of(head, limit=10_000):
    """Return the status of a refused head, or None."""
    try:
        parsed(head, limit)
    except RefusedError as error:
        return error.status
    return None


def request(length=0, *, fields=(), version="HTTP/1.1", method="PUT"):
    """Return a request."""
    return Request(method, "/", "", version, list(fields), length)


def test_head():
    """A head has method, target, version and fields; blanks are stripped, repeated fields are joined."""
    found = parsed(HEAD + b"X-One: 1 \t\r\nx-ONE:\t2\r\nX_One: 3\r\nEmpty:\r\nContent-Length: 007\r\n\r\n")
    assert (found.method, found.path, found.query, found.version, found.length) == (
        "PUT",
        "/a%20b",
        "x=1",
        "HTTP/1.1",
        7,
    )
    environ = found.as_wsgi(("127.0.0.1", 80), ("127.0.0.2", 81))
    assert environ["PATH_INFO"] == "/a b"
    assert environ["QUERY_STRING"] == "x=1"
    assert environ["CONTENT_LENGTH"] == "007"
    assert environ["HTTP_X_ONE"] == "1, 2"
    assert environ["HTTP_EMPTY"] == ""
    assert all(isinstance(value, str) for name, value in environ.items() if not name.startswith("wsgi."))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_head_in_pieces(size):
    """A head may arrive in pieces of any size, after empty lines, and the bytes after it are returned."""
    data, head = b"\r\n\r\n" + HEAD + b"\r\nrest", Head(1000)
    for place in range(0, len(data), size):
        complete = head.add(data[place : place + size])
        if complete is not None:
            break
    assert complete[0].path == "/a%20b"
    assert b"rest".startswith(complete[1])


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/a?b?c",
        b"http://example.org/a",
        b"HTTP://example.org",
        b"http://example.org?x",
        b"http://[::1]:80/a",
        b"//x//y",
        b"/%ff%00",
    ],
)
def test_targets(target):
    """A target is a path or a whole URL (RFC 9112 section 3.2)."""
    assert parsed(b"GET " + target + b" HTTP/1.1\r\nHost:\r\n\r\n").path.startswith("/")


LINES = [
    b"GET /",
    b"GET",
    b"GET  / HTTP/1.1",
    b" GET / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET\t/\tHTTP/1.1",
    b"GET\xa0/\xa0HTTP/1.1",
    b"GET / x HTTP/1.1",
    b"GET / http/1.1",
    b"GET / HTTP/1",
    b"GET / HTTP/1.1.1",
    b"GET / HTTP/1_0.1",
    b"GET / HTTP/\xb2.1",
    b"GET / HTTP/1.-1",
    b"G\xe9T / HTTP/1.1",
    b"G\x00T / HTTP/1.1",
    b"G(T / HTTP/1.1",
    b"M" * 33 + b" / HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\r HTTP/1.1",
    b"GET / HTTP/1.1\r",
    b"GET a HTTP/1.1",
    b"GET ?a HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET http:// HTTP/1.1",
    b"GET http://[ HTTP/1.1",
    b"GET http://[::1 HTTP/1.1",
    b"GET http://a[b]/ HTTP/1.1",
    b"GET http://a@b/ HTTP/1.1",
    b"GET http:///a HTTP/1.1",
    b"GET ftp://a/ HTTP/1.1",
    b"CONNECT example.org:80 HTTP/1.1",
    b"\x16\x03\x01\x02",
    b"",
]


@pytest.mark.parametrize("line", LINES)
def test_malformed_request_line(line):
    """A request line in any other form is refused."""
    assert status_of(line + b"\r\nHost:\r\n\r\n") == 400


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0", b"9.9"])
def test_other_versions(version):
    """Other major versions are refused with a 505."""
    assert status_of(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n") == 505


@pytest.mark.parametrize(
    "field",
    [
        b"a",
        b": b",
        b"a : b",
        b" a: b",
        b"\ta: b",
        b"a\x00: b",
        b"a: \x00",
        b"a: \x7f",
        b"a: b\rc: d",
        b"a: b\nc: d",
        b"\xe9: b",
    ],
)
def test_malformed_field(field):
    """A field without a name, with a blank before the colon, continued, or with a control character is refused."""
    assert status_of(HEAD + b"x: y\r\n" + field + b"\r\n\r\n") == 400


@pytest.mark.parametrize("head", [HEAD.replace(b"\r\n", b"\n") + b"\n", HEAD + b"\n", HEAD[:-2] + b"\n\r\n"])
def test_ends_of_lines(head):
    """A line that does not end in CR LF is refused."""
    assert status_of(head) == 400


@pytest.mark.parametrize("host", ["example.org", "", "localhost:80", "127.0.0.1:", "[::1]:80", "a_b"])
def test_host(host):
    """A host is a name or an address, with or without a port."""
    assert status_of(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) is None


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "a@b", "[::1", "::1", "a:b", "a:80:80", "a\tb", "é", "a,b:80,c:80", '"', "a?b", "<a>"]
)
def test_malformed_host(host):
    """A host in any other form is refused (RFC 9112 section 3.2)."""
    assert status_of(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) == 400


def test_hosts():
    """A request has exactly one Host; HTTP/1.0 may omit it."""
    assert status_of(b"GET / HTTP/1.1\r\n\r\n") == 400
    assert status_of(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == 400
    assert status_of(b"GET / HTTP/1.0\r\n\r\n") is None


@pytest.mark.parametrize(
    "length", ["-1", "+5", "0_5", "\xb2", "", "5, 5", "5,5", "5 5", "0x5", "5.0", "five", "5\0", "\xa05"]
)
def test_malformed_length(length):
    """A Content-Length that is not digits is refused (RFC 9112 section 6.3)."""
    assert status_of(HEAD + f"Content-Length: {length}\r\n\r\n".encode("latin-1")) == 400


def test_two_lengths():
    """Two lengths are refused, even if they are equal; so is a length of too many digits."""
    assert status_of(HEAD + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\n") == 400
    assert status_of(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n") == 400
    assert status_of(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n") == 413


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked;q=1\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chu\r\n nked\r\n",
    ],
)
def test_transfer_encodings(fields):
    """Only the transfer coding ``chunked``, without a length, is accepted."""
    assert status_of(HEAD + fields + b"\r\n") == 400
    assert status_of(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400
    assert parsed(HEAD + b"Transfer-Encoding: \tChunked \r\n\r\n").length is None


def test_head_that_is_too_long():
    """A head is refused as soon as it is longer than allowed."""
    assert status_of(HEAD + b"x: y\r\n\r\n", len(HEAD) + 8) is None
    assert status_of(HEAD + b"x: y\r\n\r\n", len(HEAD) + 7) == 431
    assert status_of(HEAD + b"x: y", len(HEAD) + 3) == 431
    assert status_of(b"GET /" + b"x" * 100, 100) == 414


# Content


class Line:
    """A fake socket that delivers pieces and keeps what is sent; each call takes *takes* seconds."""

    def __init__(self, *pieces, takes=0, most=1_000_000):
        self.pieces, self.takes, self.most = list(pieces), takes, most
        self.now, self.got, self.timeouts = 0.0, b"", []

    def settimeout(self, seconds):
        """Keep the timeout."""
        self.timeouts.append(seconds)

    def recv_into(self, buffer):
        """Return the next piece, or as much as fits."""
        self.now += self.takes
        piece = self.pieces.pop(0) if self.pieces else b""
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if piece[count:]:
            self.pieces.insert(0, piece[count:])
        return count

    def send(self, data):
        """Take at most *most* bytes."""
        self.now += self.takes
        self.got += bytes(data[: self.most])
        return min(len(data), self.most)

    def wire(self, held=b"", patience=10, rate=100):
        """Return a wire on this socket."""
        return Wire(self, held, patience, rate, clock=lambda: self.now)


@pytest.mark.parametrize("held", [b"", b"he", b"hello more"])
def test_content(held):
    """Content ends after its length, in any number of pieces, whatever follows."""
    line = Line(b"hello more"[len(held) :])
    content = Content(line.wire(held), request(5))
    assert content.read() == b"hello"
    assert content.finished


def test_content_that_ends_early():
    """Content that is shorter than announced is an error."""
    content = Content(Line(b"hell").wire(), request(5))
    with pytest.raises(ConnectionError):
        content.read()
    assert not content.finished


CHUNKS = b"5\r\nhello\r\n1;name=value\r\n,\r\n00A \r\n more text\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_chunks(size):
    """Chunks are joined; extensions and the trailer section are ignored (RFC 9112 section 7.1)."""
    pieces = [CHUNKS[place : place + size] for place in range(0, len(CHUNKS), size)]
    content = Content(Line(*pieces).wire(), request(None))
    assert content.read() == b"hello, more text"
    assert content.finished
    assert content.read() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"0_5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhell",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"1" * 17 + b"\r\nhello",
        b"5;" + b"x" * 10_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5;\0\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * 100 + b"\r\n",
    ],
)
def test_malformed_chunks(data):
    """Malformed or unfinished chunks are an error."""
    content = Content(Line(data).wire(), request(None))
    with pytest.raises(ConnectionError):
        content.read()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_expectation(version):
    """``100 Continue`` is sent when the content is first read, and not before."""
    line = Line(b"hello")
    content = Content(line.wire(), request(5, fields=[("expect", "100-Continue")], version=version))
    assert line.got == b""
    assert content.read() == b"hello"
    assert line.got == (b"HTTP/1.1 100 Continue\r\n\r\n" if version == "HTTP/1.1" else b"")


# Slow clients


def test_slow_sender():
    """A client that sends too slowly times out, however regularly it sends."""
    line = Line(*[b"x"] * 100, takes=1)
    wire = line.wire(patience=10)
    with pytest.raises(TimeoutError):
        io.BufferedReader(wire).read()
    assert 9 < line.now < 12
    assert all(0 < seconds <= 10 for seconds in line.timeouts)


def test_slow_taker():
    """A client that receives too slowly times out."""
    line = Line(takes=1, most=1)
    with pytest.raises(TimeoutError):
        line.wire(patience=10).write(b"x" * 100)
    assert 9 < line.now < 12


def test_steady_client():
    """A client that is fast enough never times out."""
    line = Line(*[b"x" * 100] * 1000, takes=1)
    assert len(io.BufferedReader(line.wire(patience=10)).read()) == 100_000
    assert line.now > 1000
    assert max(line.timeouts) <= 10


def test_time_that_passes_elsewhere():
    """The time that the application takes does not count against the client."""
    line = Line(takes=1)
    wire = line.wire(patience=10)
    for _ in range(5):
        wire.write(b"x")
        line.now += 1000


# Answers


def answered(app, method="GET"):
    """Return the bytes of an application's answer, and the error at its end."""
    line, error = Line(most=7), None
    exchange = Exchange(line.wire(patience=1000))
    try:
        exchange.run(app, {"REQUEST_METHOD": method})
    except (ValueError, RuntimeError, UnicodeEncodeError) as raised:
        error = raised
    return line.got, error


def says(status, headers, *content):
    """Return an application that gives one answer."""

    def app(environ, start_response):
        start_response(status, headers)
        return list(content)

    return app


def test_answer():
    """An answer has status, header and content, and names no software version."""
    head, _, content = answered(says("200 OK", [("Content-Length", "2")], b"a", b"", b"b"))[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: ")
    assert head.endswith(b"GMT\r\nServer: chuk-artifacts\r\nConnection: close")
    assert content == b"ab"


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("PUT", "204 No")])
def test_answer_without_content(method, status):
    """The answer to HEAD, and an answer with status 204 or 304, has no content."""
    assert answered(says(status, [], b"content"), method)[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0", "\x7f", "\ud800", "\u20ac"])
def test_unsafe_answer(value):
    """A header with a line break, or beyond latin-1, is an error before any byte is sent."""
    for app in (says("200 OK", [("a", value)]), says("200 OK", [(value, "a")]), says(f"200 {value}", [])):
        sent, error = answered(app)
        assert sent == b""
        assert isinstance(error, ValueError)


def test_no_answer():
    """An application that never calls ``start_response`` is an error."""
    sent, error = answered(lambda *_: [b"x"])
    assert (sent, type(error)) == (b"", RuntimeError)


def test_refusal():
    """A refusal is a whole response, and repeats nothing of the request."""
    head, _, content = refusal(HTTPStatus.BAD_REQUEST).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"Content-Length: {len(content)}".encode() in head
    assert content == b"Bad Request.\n"


def test_real_connection():
    """Content is read from a real socket too."""
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"lo")
        assert Content(Wire(other, b"hel", 5, 100), request(5)).read() == b"hello"
