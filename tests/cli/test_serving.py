"""What ``chuk-artifacts serve`` puts around the gateway: waiting, health, the access log, and worker processes."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial

import child
import pytest
import uvicorn
from click.testing import CliRunner
from process import eventually

from chuk_artifacts import ArtifactStore, SessionError, aio
from chuk_artifacts.cli import cli, server, workers
from chuk_artifacts.cli.application import Application, PatientClient
from chuk_artifacts.cli.options import ServeOptions

SECONDS = 60  # after which waiting counts as hanging
MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "root", gateway_url="http://x") as store:
        yield store


@pytest.fixture
def served(store, monkeypatch):
    """Return a function that serves the store with options, in a thread, and yields the port."""
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.3)
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.02)

    @contextmanager
    def serving(**options):
        options = ServeOptions(**options)
        config = uvicorn.Config(
            Application(aio.ArtifactStore.wrap(store), options),
            http=partial(server.Protocol, options=options),
            log_level="critical",
            timeout_keep_alive=SECONDS,
        )
        with socket.create_server(("127.0.0.1", 0)) as listening:
            running = uvicorn.Server(config)
            thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield listening.getsockname()[1]
            finally:
                running.should_exit = True
                thread.join(SECONDS)

    return serving


@contextmanager
def connected(port, *lines, receive_buffer=None):
    """Yield a connection on which the head of a request was sent."""
    with socket.socket() as connection:
        connection.settimeout(SECONDS)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", port))
        if lines:
            connection.sendall("\r\n".join([*lines, "Host: x", "", ""]).encode())
        yield connection


def rest_of(connection):
    """Return what a connection gives until the server closes it."""
    try:
        return b"".join(iter(lambda: connection.recv(MIB), b""))
    except ConnectionResetError:
        return b""


# Idle clients


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_client_without_a_request(served, sent):
    """A client that sends no request, or only a part of its head, is cut off."""
    with served() as port, connected(port) as connection:
        connection.sendall(sent)
        assert rest_of(connection) == b""


def test_client_after_its_answer(served):
    """A connection that stays idle after its answer is closed."""
    with served() as port, connected(port, "GET /healthz HTTP/1.1") as connection:
        assert rest_of(connection).endswith(b"ok\n")


def test_connection_that_is_used_again_and_again(served, store):
    """A connection with a request now and then is kept, though it is idle whenever the server looks."""
    with served() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.connect()
        used = connection.sock
        pause = threading.Event()
        for _ in range(8):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            pause.wait(0.1)
        assert connection.sock is used
        connection.close()


def test_upload_that_stalls(served, store):
    """An upload that stalls is answered with an error, and its connection is closed."""
    url, _ = store.presign_upload("alice")
    with served(timeout=0.2) as port:
        line = f"PUT {url.removeprefix('http://x')} HTTP/1.1"
        with connected(port, line, "Content-Length: 1000") as connection:
            assert rest_of(connection).startswith(b"HTTP/1.1 400 ")
    assert list(store.scope.core.storage.list_objects("grid/")) == []


def test_download_that_is_not_read(served, store, capfd):
    """A client that does not read its download is cut off, and the server can end."""
    url = store.presign(store.store(b"x" * 30 * MIB))
    with served(timeout=0.2, verbose=True) as port:
        line = f"GET {url.removeprefix('http://x')} HTTP/1.1"
        with connected(port, line, receive_buffer=8192) as connection:
            assert connection.recv(10, socket.MSG_PEEK)
            assert eventually(lambda: "broken off" in capfd.readouterr().err)
            assert len(rest_of(connection)) < 30 * MIB


def test_too_many_clients(served, monkeypatch):
    """Beyond the limit, a client replaces the one that has been idle for longest."""
    monkeypatch.setattr(server, "_ON_TOP", 0)
    monkeypatch.setattr(server, "_BRIEF_SECONDS", 0)
    monkeypatch.setattr(server, "_HEAD_SECONDS", SECONDS)
    with served(connections=2) as port, connected(port) as first, connected(port) as second:
        with connected(port, "GET /healthz HTTP/1.1", "Connection: close") as third:
            assert b" 200 OK" in rest_of(third)
        assert rest_of(first) == b""
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in rest_of(second)


# Patience


class Ends:
    """The two sides of a connection, which answer when the test lets them, and a clock."""

    def __init__(self):
        self.now = 0.0
        self.messages = []

    def clock(self):
        """Return the time."""
        return self.now

    async def receive(self):
        """Take two seconds, and return a message."""
        self.now += 2
        return self.messages.pop(0)

    async def send(self, message):
        """Take two seconds."""
        self.now += 2


@pytest.mark.parametrize(("size", "chunks"), [(0, 5), (1024, 10), (4096, 50)])
def test_patience_is_earned(size, chunks):
    """Waiting takes from a client's patience, and bytes earn some back, up to what it had at first."""
    ends = Ends()
    ends.messages = [{"type": "http.request", "body": b"x" * size, "more_body": True}] * 100
    client = PatientClient(ends.receive, ends.send, 10, ends.clock)

    async def count():
        number = 0
        while number < 50 and (await client.receive())["type"] == "http.request":
            number += 1
        return number

    assert asyncio.run(count()) == chunks


def test_slow_answer_of_the_server():
    """The time between the end of the content and the answer is the server's, and costs no patience."""
    ends, never = Ends(), asyncio.Event()
    ends.messages = [{"type": "http.request", "body": b"", "more_body": False}]
    client = PatientClient(ends.receive, ends.send, 5, ends.clock)

    async def main():
        await client.receive()
        ends.now += 1000
        client._receive = never.wait
        waiting = asyncio.ensure_future(client.receive())
        await asyncio.wait({waiting}, timeout=0.05)
        assert not waiting.done()
        waiting.cancel()
        await client.send({"type": "http.response.start", "status": 200, "headers": []})
        await client.send({"type": "http.response.body", "body": b"x"})

    asyncio.run(main())
    assert (client.status, client.sent_bytes, client.is_answered) == (200, 1, True)


# Health and the access log


def ask(port, method, path):
    """Return status, header and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return found


def test_health(served, store, tmp_path, monkeypatch):
    """``/healthz`` is 200 for GET and HEAD while the folder is there, and 503 else; it writes nothing."""
    store.store(b"hello")
    with served() as port:
        before = sorted(tmp_path.rglob("*"))
        assert ask(port, "GET", "/healthz")[::2] == (200, b"ok\n")
        assert ask(port, "HEAD", "/healthz")[::2] == (200, b"")
        assert ask(port, "POST", "/healthz")[0] == 405
        assert sorted(tmp_path.rglob("*")) == before
        (tmp_path / "root").rename(tmp_path / "away")
        status, headers, content = ask(port, "GET", "/healthz")
        assert (status, headers["cache-control"]) == (503, "no-store")
        assert str(tmp_path).encode() not in content
        (tmp_path / "away").rename(tmp_path / "root")
        assert ask(port, "GET", "/healthz")[0] == 200
        monkeypatch.setattr(store.scope.core.catalog, "get", refuse)
        assert ask(port, "GET", "/healthz")[0] == 503


def refuse(_):
    """Stand in for a catalog that can't be reached."""
    raise SessionError("the catalog can't be reached")


def test_health_of_what_hangs(served, store, monkeypatch):
    """A storage that does not answer in time is a 503, and requests that come at once share one look."""
    monkeypatch.setattr("chuk_artifacts.cli.application._HEALTH_SECONDS", 0.1)
    looks, go_on = [], threading.Event()
    monkeypatch.setattr(store.scope.core.storage, "stat", lambda key: looks.append(key) or go_on.wait(SECONDS) or None)
    with served() as port:
        assert [ask(port, "GET", "/healthz")[0] for _ in range(3)] == [503] * 3
        assert len(looks) == 1
        go_on.set()


def test_access_log(served, store, capfd):
    """With ``verbose`` each request is a line without its query, and its path can't forge another line."""
    url = store.presign(store.store(b"hello"))
    with served(verbose=True) as port:
        ask(port, "GET", url.removeprefix("http://x"))
        ask(port, "GET", "/%0a%1b[2J%E2%80%AEx?expires=1&signature=secret")
        with connected(port, f"PUT {url.removeprefix('http://x')} HTTP/1.1", "Content-Length: 5"):
            pass
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith(f'127.0.0.1 "GET /{url[9:41]}" 200 5 bytes ')
    assert lines[1].startswith(r'127.0.0.1 "GET /\n\x1b[2J\u202ex" 403 ')
    assert all("signature" not in line and "expires" not in line for line in lines)


# The command


def test_without_uvicorn(monkeypatch, tmp_path):
    """Without uvicorn the command says how to install it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "chuk_artifacts.cli.server", raising=False)
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path))
    result = CliRunner().invoke(cli, ["serve", "--port", "0"])
    assert result.exit_code == 1
    assert "python -m pip install '.[serve]' in a clone" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def start(tmp_path):
    """Return a function that starts ``serve`` with options, and returns the process after its first line."""
    started = []

    def begin(*arguments, **variables):
        environment = child.environment(ARTIFACT_FS_ROOT=str(tmp_path / "root"), **variables)
        command = [sys.executable, "-m", "chuk_artifacts", "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stderr.readline()

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="children are found in /proc")
def test_worker_that_dies(start):
    """A worker that is killed is replaced, and all end with the command, whose status is 0."""
    process, line = start("--workers", "2")
    port = int(line.rpartition(":")[2])
    assert ask(port, "GET", "/healthz")[0] == 200
    first = workers_of(process)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    assert eventually(lambda: len({*workers_of(process)} - {*first}) == 1)
    assert ask(port, "GET", "/healthz")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert process.stderr.read() == ""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="children are found in /proc")
def test_command_that_is_killed(start):
    """Workers end when the command's own process is killed, and leave the port."""
    process, line = start("--workers", "2")
    assert ask(int(line.rpartition(":")[2]), "GET", "/healthz")[0] == 200
    running = workers_of(process)
    process.kill()
    process.wait()
    assert len(running) == 2
    assert eventually(lambda: not any(map(is_running, running)))


def is_running(number):
    """Return whether a process runs, and is no zombie that awaits its parent."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_worker_that_fails(monkeypatch, capsys):
    """A worker that fails ends the command, with status 1."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(SystemExit, match="1"):
        workers.Workers(fail_at_once, ServeOptions(), listening).run(2, lambda: None)
    assert capsys.readouterr().err == "chuk-artifacts: a worker failed with status 3\n"


def fail_at_once(*_):
    """Stand in for a server that can't start."""
    sys.exit(3)


def workers_of(process):
    """Return the ids of the processes that serve, of a command's children."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as file:
                parent = file.read().rpartition(")")[2].split()[1]
            with open(f"/proc/{number}/cmdline") as file:
                command = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == str(process.pid) and "spawn_main" in command:
            found.append(int(number))
    return found


def test_signal_as_soon_as_it_serves(tmp_path):
    """A signal that comes with the line that says where it serves ends the command in order."""
    code = """
        import os, signal, socket
        from chuk_artifacts.cli.options import ServeOptions
        from chuk_artifacts.cli.server import run
        with socket.create_server(("127.0.0.1", 0)) as listening:
            run(ServeOptions(), listening, lambda: os.kill(os.getpid(), signal.SIGTERM))
        print("in order")
        """
    assert child.run(code, env=child.environment(ARTIFACT_FS_ROOT=str(tmp_path))) == "in order\n"
