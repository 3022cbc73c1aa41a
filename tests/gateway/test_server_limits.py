"""The limits that protect the server's process from its clients, and raw bytes sent to it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

import child
import pytest
from process import eventually

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore
from chuk_artifacts.gateway.server import Limits, Server

SECONDS = 30
QUICK = 0.05


def hello(environ, start_response):
    """Answer without reading the content."""
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


@contextlib.contextmanager
def served(app=hello, **limits):
    """Serve an application within limits, and yield its address."""
    server = Server(app, limits=Limits(**limits))
    server.start()
    try:
        yield address_of(server.url)
    finally:
        server.close()


def address_of(url):
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname, parts.port


def connect(address):
    """Return a connection."""
    return socket.create_connection(address, timeout=SECONDS)


def asked(address, data=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", *, ends=False):
    """Connect, send bytes, and return the whole answer."""
    with connect(address) as connection:
        return answer(connection, data, ends=ends)


def answer(connection, data=b"", *, ends=False):
    """Send bytes, with *ends* also the end of the stream, and return all bytes until the server ends it."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
        connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def descriptors():
    """Count the open files of this process."""
    return len(os.listdir("/dev/fd"))


needs_descriptors = pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="this system does not list open files")


# Idle clients


@needs_descriptors
def test_idle_clients_take_neither_threads_nor_descriptors():
    """Idle clients in any number hold no thread and few descriptors, and do not keep others waiting."""
    with served(connections=10, idle_seconds=QUICK) as address, contextlib.ExitStack() as stack:
        asked(address)
        threads, before = threading.active_count(), descriptors()
        clients = [stack.enter_context(connect(address)) for _ in range(60)]
        for number, client in enumerate(clients):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"GET / HTTP/1.1\r\nHost:"[: number % 20])
        assert asked(address).endswith(b"hello")
        assert eventually(lambda: threading.active_count() <= threads)
        assert eventually(lambda: descriptors() - before <= len(clients) + 10)


def test_idle_client_gives_way():
    """When all connections are in use, the client that has been idle for longest is dropped for a new one."""
    with served(connections=2, idle_seconds=QUICK) as address, connect(address) as first, connect(address) as second:
        first.sendall(b"GET /")
        second.sendall(b"GET /")
        assert asked(address).endswith(b"hello")
        assert answer(first) == b""
        assert answer(second, b" HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"hello")


def test_new_client_is_not_dropped():
    """A client has time to send its request, even while others queue for its connection."""
    with served(connections=2, idle_seconds=SECONDS) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(answer(client).endswith(b"hello") for client in clients)


@pytest.mark.parametrize("begin", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_slow_head(begin):
    """A client that does not finish its head in time gets a 408; a client that sent nothing gets no answer."""
    expected = b"HTTP/1.1 408" if begin else b""
    with served(head_seconds=QUICK) as address:
        # Again if this thread was so slow that the time was over before its first byte.
        assert eventually(lambda: asked(address, begin)[:12] == expected)


def test_trickling_head():
    """The time limit is for the whole head: single bytes do not extend it."""

    def answer_to_a_trickle(address):
        with connect(address) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.settimeout(QUICK / 20)
            for _ in range(100_000):
                client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    return client.recv(100)
        return b""

    with served(head_seconds=QUICK) as address:
        # Again if the answer was lost to a byte that was sent at the same time, which resets the connection.
        assert eventually(lambda: answer_to_a_trickle(address).startswith(b"HTTP/1.1 408"))


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_long_head(end):
    """A head that is too long is refused, however much more the client sends."""
    with served(head_bytes=1000) as address:
        assert asked(address, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 1000 + end)[:12] == b"HTTP/1.1 431"
        assert asked(address, b"GET /" + b"x" * 1000 + end)[:12] in {b"HTTP/1.1 414", b"HTTP/1.1 431"}
        assert asked(address, b"x" * 10_000_000)[:12] in {b"HTTP/1.1 414", b""}
        assert asked(address).endswith(b"hello")


# Busy clients


def test_requests_beyond_the_limit_queue_without_a_thread():
    """While every connection has a request, new clients wait without a thread, and are served later."""
    reached, go = threading.Semaphore(0), threading.Event()

    def wait(environ, start_response):
        reached.release()
        go.wait(SECONDS)
        return hello(environ, start_response)

    with served(wait, connections=3, idle_seconds=SECONDS) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(9)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        threads = [reached.acquire(timeout=SECONDS) for _ in range(3)]
        assert threads == [True] * 3
        assert not reached.acquire(timeout=QUICK)
        go.set()
        assert all(answer(client).endswith(b"hello") for client in clients)


def test_slow_content():
    """A client that stops in the middle of its content times out, and the application's read raises."""
    errors = []

    def read(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
        return hello(environ, start_response)

    with served(read, wait_seconds=QUICK) as address:
        asked(address, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nx")
    assert [type(error) for error in errors] == [TimeoutError]


def test_client_that_takes_nothing():
    """A client that does not read its answer times out, and the application's iterable is closed."""
    closed = threading.Event()

    class Endless:
        def __iter__(self):
            while True:
                yield b"x" * 100_000

        def close(self):
            closed.set()

    def app(environ, start_response):
        start_response("200 OK", [])
        return Endless()

    with served(app, wait_seconds=QUICK) as address, connect(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert closed.wait(SECONDS)


def test_refused_content_holds_no_thread():
    """A client whose content is refused gets its answer, and holds no thread while it goes on sending."""
    with served(connections=2, idle_seconds=QUICK) as address, contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(connect(address))
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx")
            received = b""
            while not received.endswith(b"hello") and (data := client.recv(100)):
                received += data
            assert received.endswith(b"hello")
        assert asked(address).endswith(b"hello")


def test_refused_content_is_drained():
    """A client that sends all its content before it reads still gets the answer, and no reset connection."""
    heads = (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", b"nonsense\r\n\r\n")
    for head in heads:
        with served() as address, connect(address) as connection:
            connection.sendall(head + b"x" * 20_000_000)
            received = answer(connection, ends=True)
            assert received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


def test_one_request_a_connection():
    """The server does not parse the bytes after a request as another request."""
    with served() as address:
        assert asked(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2).count(b"HTTP/1.1") == 1


# The process has no more


def test_no_more_threads(monkeypatch):
    """If no thread can start, the client gets a 503, and the server goes on."""
    real = threading.Thread.start
    with served() as address:

        def fail(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        assert asked(address).startswith(b"HTTP/1.1 503")
        monkeypatch.setattr(threading.Thread, "start", real)
        assert asked(address).endswith(b"hello")


def test_no_more_descriptors(monkeypatch):
    """If the process has no free descriptor, the client waits until it has one."""
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3
    real = socket.socket.accept

    def accept(listening):
        if failures:
            raise failures.pop()
        return real(listening)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with served() as address:
        assert asked(address).endswith(b"hello")
    assert failures == []


@needs_descriptors
def test_nothing_is_left():
    """Closing a server closes its port and every connection without a request."""
    before = descriptors()
    with contextlib.ExitStack() as stack:
        with served() as address:
            idle = stack.enter_context(connect(address))
            idle.send(b"GET")
            asked(address)
            asked(address, b"nonsense\r\n\r\n")
        assert answer(idle) == b""
    assert eventually(lambda: descriptors() <= before)  # the thread of an answered request ends after its answer
    with pytest.raises(ConnectionRefusedError):
        connect(address)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_keeps_no_connection():
    """A child holds no connection of its parent, so that a client sees the end of its answer."""
    environment = child.environment(PYTHONWARNINGS="ignore")
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # its lock may be held by another thread while this one forks
    assert child.run(FORKS, env=environment).split() == ["ended", "ended"]


FORKS = """
    import os, socket, threading
    from chuk_artifacts.gateway.server import Server

    reached, go = threading.Event(), threading.Event()

    def app(environ, start_response):
        reached.set()
        go.wait(30)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = Server(app)
    server.start()
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    clients = [socket.create_connection(address, timeout=30) for _ in range(2)]
    clients[0].sendall(b"GET / HTTP/1.1\\r\\nHost:")
    clients[1].sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    reached.wait(30)
    hold, release = os.pipe()
    process = os.fork()
    if process == 0:
        for client in clients:
            client.close()
        os.close(release)
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    server.close()
    go.set()
    for client in clients:
        while client.recv(1000):
            pass
        print("ended")
    os.write(release, b".")
    os.waitpid(process, 0)
"""


def test_application_that_fails(monkeypatch):
    """An application's error is a 500 for the client, and goes to ``threading.excepthook``."""
    hooked = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)

    def fail(environ, start_response):
        raise LookupError("a bug")

    with served(fail) as address:
        assert asked(address).startswith(b"HTTP/1.1 500")
    assert eventually(lambda: hooked)  # the thread ends after its answer
    assert [problem.exc_type for problem in hooked] == [LookupError]


# The gateway behind it


@pytest.fixture
def store(tmp_path):
    """Return a store whose gateway was started by its first URL."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        yield store


def test_store_survives_a_crowd(store):
    """Clients that only connect do not keep a store from serving its URLs."""
    url = store.presign(store.store(b"hello"))
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(address_of(url)))
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            assert response.read() == b"hello"
        assert threading.active_count() < before + 50


BROKEN_LENGTHS = [
    b"Content-Length: -1",
    b"Content-Length: +5",
    b"Content-Length: 0_5",
    b"Content-Length: \xb2",
    b"Content-Length: \xc2\xb2",
    b"Content-Length:",
    b"Content-Length: 5, 5",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 0",
    b"Content-Length: 5\r\n 0",
    b"Content-Length : 5",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: chunked",
]


@pytest.mark.parametrize("fields", BROKEN_LENGTHS)
def test_lengths_on_the_wire(store, fields):
    """An upload whose end is not clear is refused, and stores no bytes."""
    url, artifact_id = store.presign_upload("s")
    parts = urlsplit(url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n".encode()
    assert asked(address_of(url), head + fields + b"\r\n\r\nhello\r\n").startswith(b"HTTP/1.1 400")
    with pytest.raises(ArtifactNotFoundError):
        store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")


NOISE = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"[",
    b"]",
    b"//",
    b"%",
    b"?",
    b"#",
    b"\xff",
    b"HTTP/",
    b"-1",
    b"@",
]


def mutated(chance, data):
    """Return a copy of bytes with some replaced, added, removed or repeated."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        index = chance.randrange(len(data) + 1)
        data[index : index + chance.randrange(3)] = chance.choice(
            [chance.choice(NOISE), bytes([chance.randrange(256)]), b"", bytes(data[index : index + 9])]
        )
    return bytes(data)


@pytest.mark.parametrize("seed", range(10))
def test_mutated_requests(store, seed, capfd, caplog):
    """Corrupted requests are answered without a traceback, and each log message is one short line."""
    caplog.set_level(logging.DEBUG, logger="chuk_artifacts")
    chance = random.Random(seed)
    url, target = store.presign(store.store(b"hello", filename="a.txt")), store.presign_upload("s")[0]
    more = b'Range: bytes=0-1\r\nIf-None-Match: "a"\r\nContent-Type: text/plain\r\nOrigin: https://a.example\r\n'
    requests = [
        f"{method} {urlsplit(one).path}?{urlsplit(one).query} HTTP/1.1\r\nHost: 127.0.0.1:80\r\n".encode() + more + rest
        for method, one, rest in (
            ("GET", url, b"\r\n"),
            ("HEAD", url, b"\r\n"),
            ("PUT", target, b"Content-Length: 5\r\n\r\nhello"),
            ("PUT", target, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        )
    ]
    address, statuses = address_of(url), set()
    for _ in range(300):
        received = asked(address, mutated(chance, chance.choice(requests)), ends=True)
        statuses.add(received[9:12])
    assert not statuses & {b"500", b"503"}
    assert {b"400", b"403"} <= statuses
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        assert response.read() == b"hello"
    assert capfd.readouterr().err == ""
    for record in caplog.records:
        assert record.levelno <= logging.WARNING
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 300


@pytest.mark.parametrize("seed", range(5))
def test_noise(seed, capfd):
    """Random bytes cause no traceback."""
    chance = random.Random(seed)
    with served(head_bytes=1000) as address:
        for _ in range(200):
            asked(address, chance.randbytes(chance.randrange(2000)), ends=True)
    assert capfd.readouterr().err == ""
