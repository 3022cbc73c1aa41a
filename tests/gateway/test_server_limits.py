"""What clients may take of the process that serves them, and what raw bytes do to it."""

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
    """Answer without reading anything."""
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


@contextlib.contextmanager
def served(app=hello, **limits):
    """Serve an application within limits, and give its address."""
    server = Server(app, limits=Limits(**limits))
    server.start()
    try:
        yield address(server.url)
    finally:
        server.close()


def address(url):
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname, parts.port


def connect(place):
    """Return a connection."""
    return socket.create_connection(place, timeout=SECONDS)


def asked(place, data=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", *, ends=False):
    """Return the whole answer to some bytes."""
    with connect(place) as connection:
        return answer(connection, data, ends=ends)


def answer(connection, data=b"", *, ends=False):
    """Send bytes, perhaps say that there are no more, and return all that comes until the connection ends."""
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
    """Any number of clients that send nothing hold no thread and few descriptors, and keep nobody else waiting."""
    with served(connections=10, idle_seconds=QUICK) as place, contextlib.ExitStack() as stack:
        asked(place)
        threads, before = threading.active_count(), descriptors()
        clients = [stack.enter_context(connect(place)) for _ in range(60)]
        for number, client in enumerate(clients):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"GET / HTTP/1.1\r\nHost:"[: number % 20])
        assert asked(place).endswith(b"hello")
        assert eventually(lambda: threading.active_count() <= threads)
        assert eventually(lambda: descriptors() - before <= len(clients) + 10)


def test_idle_client_gives_way():
    """When all connections are in use, the client that has sent no request for the longest time gives way."""
    with served(connections=2, idle_seconds=QUICK) as place, connect(place) as first, connect(place) as second:
        first.sendall(b"GET /")
        second.sendall(b"GET /")
        assert asked(place).endswith(b"hello")
        assert answer(first) == b""
        assert answer(second, b" HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"hello")


def test_client_that_has_just_come_does_not_give_way():
    """A client has some time to send its request, also when others queue for its connection."""
    with served(connections=2, idle_seconds=SECONDS) as place, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(place)) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(answer(client).endswith(b"hello") for client in clients)


@pytest.mark.parametrize("begin", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_slow_head(begin):
    """A client that does not finish the head of its request in time is told so, if it has begun one."""
    expected = b"HTTP/1.1 408" if begin else b""
    with served(head_seconds=QUICK) as place:
        # Again if this thread was so slow that the time was over before its first byte.
        assert eventually(lambda: asked(place, begin)[:12] == expected)


def test_trickling_head():
    """The time for a head is that for all of it: what a client sends does not prolong it."""

    def answer_to_a_trickle(place):
        with connect(place) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.settimeout(QUICK / 20)
            for _ in range(100_000):
                client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    return client.recv(100)
        return b""

    with served(head_seconds=QUICK) as place:
        # Again if the answer was lost to a byte that was sent at the same time, which resets the connection.
        assert eventually(lambda: answer_to_a_trickle(place).startswith(b"HTTP/1.1 408"))


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_long_head(end):
    """A head that is too long is refused, however much the client goes on to send."""
    with served(head_bytes=1000) as place:
        assert asked(place, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 1000 + end)[:12] == b"HTTP/1.1 431"
        assert asked(place, b"GET /" + b"x" * 1000 + end)[:12] in {b"HTTP/1.1 414", b"HTTP/1.1 431"}
        assert asked(place, b"x" * 10_000_000)[:12] in {b"HTTP/1.1 414", b""}
        assert asked(place).endswith(b"hello")


# Busy clients


def test_requests_beyond_the_limit_queue_without_a_thread():
    """When each connection has a request, new clients wait, without a thread, and are served after that."""
    reached, go = threading.Semaphore(0), threading.Event()

    def wait(environ, start_response):
        reached.release()
        go.wait(SECONDS)
        return hello(environ, start_response)

    with served(wait, connections=3, idle_seconds=SECONDS) as place, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(place)) for _ in range(9)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        threads = [reached.acquire(timeout=SECONDS) for _ in range(3)]
        assert threads == [True] * 3
        assert not reached.acquire(timeout=QUICK)
        go.set()
        assert all(answer(client).endswith(b"hello") for client in clients)


def test_slow_content():
    """A client that stops in the middle of its content is given up, and the application learns of it."""
    errors = []

    def read(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
        return hello(environ, start_response)

    with served(read, wait_seconds=QUICK) as place:
        asked(place, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nx")
    assert [type(error) for error in errors] == [TimeoutError]


def test_client_that_takes_nothing():
    """A client that does not take its answer is given up, and what the application holds is closed."""
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

    with served(app, wait_seconds=QUICK) as place, connect(place) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert closed.wait(SECONDS)


def test_refused_content_holds_no_thread():
    """A client whose content is not wanted gets its answer, and holds no thread while it goes on to send."""
    with served(connections=2, idle_seconds=QUICK) as place, contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(connect(place))
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx")
            received = b""
            while not received.endswith(b"hello") and (data := client.recv(100)):
                received += data
            assert received.endswith(b"hello")
        assert asked(place).endswith(b"hello")


def test_refused_content_is_taken():
    """A client that sends all of its content before it reads gets the answer nevertheless, and no broken connection."""
    heads = (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", b"nonsense\r\n\r\n")
    for head in heads:
        with served() as place, connect(place) as connection:
            connection.sendall(head + b"x" * 20_000_000)
            received = answer(connection, ends=True)
            assert received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


def test_one_request_a_connection():
    """What comes after a request is not taken for another one."""
    with served() as place:
        assert asked(place, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2).count(b"HTTP/1.1") == 1


# The process has no more


def test_no_more_threads(monkeypatch):
    """Where no thread can be started the client is refused, and the server goes on."""
    real = threading.Thread.start
    with served() as place:

        def fail(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        assert asked(place).startswith(b"HTTP/1.1 503")
        monkeypatch.setattr(threading.Thread, "start", real)
        assert asked(place).endswith(b"hello")


def test_no_more_descriptors(monkeypatch):
    """Where no connection can be opened the client waits until one can, and the server goes on."""
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3
    real = socket.socket.accept

    def accept(listening):
        if failures:
            raise failures.pop()
        return real(listening)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with served() as place:
        assert asked(place).endswith(b"hello")
    assert failures == []


@needs_descriptors
def test_nothing_is_left():
    """When a server is closed its port is closed, and so is each connection that has no request."""
    before = descriptors()
    with contextlib.ExitStack() as stack:
        with served() as place:
            idle = stack.enter_context(connect(place))
            idle.send(b"GET")
            asked(place)
            asked(place, b"nonsense\r\n\r\n")
        assert answer(idle) == b""
    assert eventually(lambda: descriptors() <= before)  # the thread of an answered request ends after its answer
    with pytest.raises(ConnectionRefusedError):
        connect(place)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_keeps_no_connection():
    """A child holds none of the connections of its parent, so that a client sees their end."""
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
    place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    clients = [socket.create_connection(place, timeout=30) for _ in range(2)]
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
    """An application's error is an answer of 500 and a matter of the thread's own hook."""
    hooked = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)

    def fail(environ, start_response):
        raise LookupError("a bug")

    with served(fail) as place:
        assert asked(place).startswith(b"HTTP/1.1 500")
    assert eventually(lambda: hooked)  # the thread ends after its answer
    assert [problem.exc_type for problem in hooked] == [LookupError]


# The gateway behind it


@pytest.fixture
def store(tmp_path):
    """Return a store whose gateway was started by its first URL."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        yield store


def test_store_survives_a_crowd(store):
    """Clients that only connect can't keep an application from serving its own URLs."""
    url = store.presign(store.store(b"hello"))
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(address(url)))
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
    """An upload whose end is not clear is refused, and nothing is stored."""
    url, artifact_id = store.presign_upload("s")
    parts = urlsplit(url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n".encode()
    assert asked(address(url), head + fields + b"\r\n\r\nhello\r\n").startswith(b"HTTP/1.1 400")
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
    """Return bytes of which some are others, more, fewer or twice."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(data) + 1)
        data[place : place + chance.randrange(3)] = chance.choice(
            [chance.choice(NOISE), bytes([chance.randrange(256)]), b"", bytes(data[place : place + 9])]
        )
    return bytes(data)


@pytest.mark.parametrize("seed", range(10))
def test_mutated_requests(store, seed, capfd, caplog):
    """Requests with any bytes wrong are answered without a traceback, and a log line of each is one line and short."""
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
    place, statuses = address(url), set()
    for _ in range(300):
        received = asked(place, mutated(chance, chance.choice(requests)), ends=True)
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
    """So is what was never a request."""
    chance = random.Random(seed)
    with served(head_bytes=1000) as place:
        for _ in range(200):
            asked(place, chance.randbytes(chance.randrange(2000)), ends=True)
    assert capfd.readouterr().err == ""
