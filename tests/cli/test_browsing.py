"""``chuk-artifacts browse``, and ``serve --browse``."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import child
import pytest

from chuk_artifacts import ArtifactStore
from chuk_artifacts.errors import how_to_install

SECONDS = 60  # after which waiting counts as hanging
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = b"<script>document.write('it ' + 'ran')</script>"


@pytest.fixture
def store(tmp_path):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "root") as store:
        yield store


@contextmanager
def running(*words):
    """Start a command that serves, and yield the process and its first line on standard output."""
    with subprocess.Popen(
        [sys.executable, "-m", "chuk_artifacts", *map(str, words)],
        env=child.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(url, path=None):
    """Return status and content of a page."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
    connection.request("GET", parts.path if path is None else path)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_browse(store, tmp_path):
    """The command prints the URL of the page, which only its secret opens; with -v the secret is not in the log."""
    file_id = store.store(b"x", filename="a.txt", session_id="demo")
    signed = urlsplit(store.presign(file_id))
    with running("browse", "--root", tmp_path / "root", "-v") as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/browse/[\w-]{32}/", url)
        assert ask(url)[0] == 200
        assert "demo" in ask(url)[1]
        for path in ("/", "/browse/", "/browse/x/", "/folder", f"{signed.path}?{signed.query}"):
            assert ask(url, path)[0] == 404
        assert ask(url, "/healthz")[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        log = process.stderr.read()
    assert url.split("/")[-2] not in log
    assert '"GET /browse/.../" 200' in log


def test_browse_creates_no_store(shell):
    """Where there is no store the command says so."""
    assert "no store at" in shell.error("browse")


def test_serve_with_the_page(store, tmp_path):
    """``serve --browse`` serves signed URLs, and the page, in each of its processes."""
    file_id = store.store(b"x", filename="a.txt", session_id="demo")
    signed = urlsplit(store.presign(file_id))
    words = ("serve", "--browse", "--root", tmp_path / "root", "--port", "0", "--workers", "2")
    with running(*words) as (process, url):
        for _ in range(8):
            assert ask(url)[0] == 200
        assert ask(url, f"{signed.path}?{signed.query}") == (200, "x")
        assert ask(url, "/browse/x/")[0] == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_the_page_is_not_for_other_machines(shell, store, host):
    """The page is served on this machine only."""
    assert "127.0.0.1 only" in shell.error("serve", "--browse", "--host", host)


@pytest.mark.parametrize("package", ["jinja2", "markdown_it", "starlette"])
def test_without_the_extra(shell, store, monkeypatch, package):
    """A missing package is a line that says how to install it."""
    for name in [name for name in sys.modules if name.startswith("chuk_artifacts.browse")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    line = shell.error("browse")
    assert line == f"browse needs {package}: {how_to_install('browse')}"


@pytest.mark.usefixtures("every_server")
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_stored_page_does_not_run(store, tmp_path):
    """In a real browser, the page of a stored page or picture shows its text, and no script in it runs."""
    options = {"session_id": "demo"}
    ids = [store.store(PAGE, filename="page.html", mime="text/html", **options)]
    ids.append(store.store(PAGE, filename="notes.md", mime="text/markdown", **options))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg">%s</svg>' % PAGE
    ids.append(store.store(svg, filename="picture.svg", mime="image/svg+xml", **options))
    with running("browse", "--root", tmp_path / "root") as (_, url):
        seen = [dump(f"{url}file?id={file_id}", tmp_path) for file_id in ids]
        seen.append(dump(f"{url}content?id={ids[2]}", tmp_path))
    assert all("page.html" in text or "notes.md" in text or "svg" in text for text in seen)
    assert not any("it ran" in text for text in seen)
    assert "document.write" in seen[0]
    assert "document.write" in seen[1]


def dump(url, folder):
    """Return the document that a browser has after it ran what it runs."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder / 'profile'}", "--disable-dev-shm-usage", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
