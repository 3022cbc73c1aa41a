"""The servers that a process starts: one for the URLs of its store, one as the command ``serve``."""

from __future__ import annotations

import concurrent.futures
import gc
import http.client
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import child
import pytest
from interrupts import interrupted
from process import eventually

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore
from chuk_artifacts.gateway import local

MIB = 1024 * 1024


def fetch(url, **options):
    """Return the status and the content of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def is_served(url):
    """Return True if a server listens at *url*."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


def gateways():
    """Return the threads that serve stores of this process."""
    return {thread for thread in threading.enumerate() if thread.name == "chuk-artifacts-gateway"}


def test_download_without_configuration():
    """Without configuration this process serves a URL, only for this machine."""
    with ArtifactStore() as store:
        url = store.presign(store.store(b"Hello, world!", session_id="s"))
        assert urlsplit(url).hostname == "127.0.0.1"
        assert fetch(url) == (200, b"Hello, world!")
        assert fetch(url, headers={"Range": "bytes=-6"}) == (206, b"world!")
        assert fetch(url[:-1] + ("A" if url[-1] != "A" else "B"))[0] == 403
        assert fetch(url, method="POST", data=b"x")[0] == 405


def test_upload_without_configuration():
    """Without configuration an upload URL works too, and keeps its limits."""
    with ArtifactStore() as store:
        url, artifact_id = store.presign_upload("s", mime_type="text/plain", max_bytes=3 * MIB)
        assert fetch(url, method="PUT", data=b"x", headers={"Content-Type": "image/png"})[0] == 415
        assert fetch(url, method="PUT", data=b"x" * (4 * MIB), headers={"Content-Type": "text/plain"})[0] == 413
        pieces = iter([b"x" * MIB] * 3)  # urllib sends an iterable in chunks
        assert fetch(url, method="PUT", data=pieces, headers={"Content-Type": "text/plain"})[0] == 200
        store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
        assert store.metadata(artifact_id).bytes == 3 * MIB


def test_one_server_a_store(caplog):
    """A store starts one server at its first URL, for all threads and bound stores, and logs one warning."""
    before = gateways()
    with ArtifactStore() as store, ArtifactStore() as other:
        artifact_id = store.store(b"x", session_id="s")
        assert gateways() - before == set()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            urls = list(pool.map(store.presign, [artifact_id] * 8))
        urls.append(store.session("s").presign(artifact_id))
        assert len({urlsplit(url).port for url in urls}) == 1
        assert len(gateways() - before) == 1
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "end with" in warnings[0].getMessage()
        assert urlsplit(other.presign(other.store(b"x"))).port != urlsplit(urls[0]).port


def test_closing_ends_the_server():
    """Closing a store ends its server; closing a bound view of it does not."""
    with ArtifactStore() as store:
        view = store.session("s")
        url = view.presign(view.store(b"x"))
        view.close()
        assert is_served(url)
    assert not is_served(url)
    store.close()


def test_dropped_store_ends_its_server():
    """A store that is dropped without being closed ends its server."""
    store = ArtifactStore()
    url = store.presign(store.store(b"x"))
    fetch(url)
    del store
    gc.collect()
    assert eventually(lambda: not is_served(url))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork(tmp_path):
    """A child serves its URLs from a port of its own, and does not keep the parent's port open."""
    environment = child.environment(PYTHONWARNINGS="ignore")
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # its lock may be held by another thread while this one forks
    assert child.run(FORKS, tmp_path, env=environment).split() == ["own", "served", "closed"]


FORKS = """
    import os, socket, sys, urllib.request
    from urllib.parse import urlsplit
    from chuk_artifacts import ArtifactStore

    def fetch(url):
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read()

    store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])
    artifact_id = store.store(b"x")
    parents = store.presign(artifact_id)
    hold, go = os.pipe()
    receive, report = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            url = store.presign(artifact_id)
            works = urlsplit(url).port != urlsplit(parents).port and fetch(url) == b"x"
            os.write(report, b"own" if works else b"same")
            os.read(hold, 1)
        finally:
            os._exit(0)
    os.close(report)
    print(os.read(receive, 10).decode())
    print("served" if fetch(parents) == b"x" else "lost")
    store.close()
    try:
        socket.create_connection(("127.0.0.1", urlsplit(parents).port)).close()
    except ConnectionRefusedError:  # while the child is still there
        print("closed")
    os.write(go, b".")
    os.waitpid(process, 0)
"""


def test_many_downloads_at_once(tmp_path):
    """64 concurrent downloads of 8 MiB arrive whole, and the server needs little memory."""
    count, size = 64, 8 * MIB
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        artifact_id = store.store(os.urandom(size))
        url, sha256 = store.presign(artifact_id), store.metadata(artifact_id).sha256
        fetch(url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        clients = subprocess.run(
            [sys.executable, "-c", DOWNLOADS, url, str(count)], capture_output=True, text=True, check=True, timeout=120
        )
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert clients.stdout.split() == [sha256] * count
    assert grown < count * MIB  # an eighth of what is sent


DOWNLOADS = """
import hashlib, http.client, sys
from urllib.parse import urlsplit

parts = urlsplit(sys.argv[1])
responses = []
for _ in range(int(sys.argv[2])):
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    responses.append((connection, connection.getresponse(), hashlib.sha256()))
while any(not response.isclosed() for _, response, _ in responses):  # all of them go on, piece by piece
    for _, response, digest in responses:
        digest.update(response.read(65536))
for _, _, digest in responses:
    print(digest.hexdigest())
"""


def test_client_that_goes_away(tmp_path, caplog):
    """A client that breaks off a download or an upload leaves no bytes behind, and the server goes on."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        url = store.presign(store.store(b"x" * 32 * MIB))
        target, artifact_id = store.presign_upload("s")
        begin = "{} {}?{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
        for method, signed, length, body in (("GET", url, 0, b""), ("PUT", target, 5 * MIB, b"x" * MIB)):
            parts = urlsplit(signed)
            with socket.create_connection((parts.hostname, parts.port)) as connection:
                connection.sendall(begin.format(method, parts.path, parts.query, length).encode() + body)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
        assert fetch(url, method="HEAD") == (200, b"")
        with pytest.raises(ArtifactNotFoundError):
            store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
        assert not list(tmp_path.rglob("*.tmp"))
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_nonsense(caplog):
    """Bytes that are not HTTP are refused, and the log does not repeat them."""
    caplog.set_level(logging.DEBUG)
    with ArtifactStore() as store:
        parts = urlsplit(store.presign(store.store(b"x")))
        for said in (b"nonsense\r\n\r\n", b"GET /secret\x00\xff HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000, b""):
            with socket.create_connection((parts.hostname, parts.port)) as connection:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.makefile("rb").read()
            assert b" 200 " not in answer
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request("GET", "/?signature=secret")
        assert connection.getresponse().status == 403
        connection.close()
    assert "secret" not in "".join(record.getMessage() for record in caplog.records if record.name == "werkzeug")
    assert "signature" not in caplog.text


# The commands


@pytest.fixture
def environment(tmp_path):
    """Return environment variables that give commands a folder of their own."""
    return {**os.environ, "ARTIFACT_FS_ROOT": str(tmp_path / "root")}


def command(*arguments):
    """Return a command line."""
    return [sys.executable, "-m", "chuk_artifacts", *arguments]


def run(environment, *arguments):
    """Run a command and return its output."""
    done = subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, check=True, timeout=60, stdin=None
    )
    return done.stdout.strip()


def test_serve_and_url(environment, tmp_path):
    """``url`` prints a URL, and ``serve`` serves it until it is interrupted."""
    (tmp_path / "hello.txt").write_bytes(b"hello")
    artifact_id = run(environment, "put", str(tmp_path / "hello.txt"))
    serving = subprocess.Popen(
        command("serve", "--port", "0", "--origin", "https://app.example.org"),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        base = serving.stderr.readline().split()[-1]
        url = run({**environment, "ARTIFACT_GATEWAY_URL": base}, "url", artifact_id, "--expires", "60")
        assert url.startswith(base + "/")
        assert fetch(url) == (200, b"hello")
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Origin": "https://app.example.org"})
        ) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=30) == 0
        assert serving.stderr.read() == ""
    finally:
        serving.kill()
        serving.wait()
        serving.stderr.close()


def test_url_of_the_command_line(environment, tmp_path):
    """Without configuration ``url`` assumes that ``serve`` runs without options."""
    (tmp_path / "hello.txt").write_bytes(b"hello")
    artifact_id = run(environment, "put", str(tmp_path / "hello.txt"))
    assert run(environment, "url", artifact_id).startswith(f"http://127.0.0.1:8765/{artifact_id}?")


def test_port_in_use(environment):
    """A port in use is an error of one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("serve", "--port", port), env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.startswith("chuk-artifacts: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_start_that_is_interrupted():
    """A start that is interrupted at any line raises only the interrupt, and the next start serves."""
    with ArtifactStore() as store:
        core = store.scope.core
        lines = list(interrupted(lambda: local.start(core).close()))
        assert any("Server.start" in line for line in lines)
        url = store.presign(store.store(b"hello"))
        with urllib.request.urlopen(url, timeout=30) as response:
            assert response.read() == b"hello"
