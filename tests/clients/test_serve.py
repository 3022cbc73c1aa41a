"""``chuk-artifacts serve`` on uvicorn: drains, answers probes, and has worker processes."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from chuk_artifacts import ArtifactStore

pytest.importorskip("click")
pytest.importorskip("uvicorn")


@pytest.fixture
def started(python, options):
    """Return a function that starts ``serve`` with options, and returns the process, its URL and a store for it."""
    with ExitStack() as stack:

        def start(*arguments):
            process = python("chuk_artifacts", "serve", "--port", "0", *arguments)
            here = re.search(r"http://[^:]+:\d+", process.until("http://"))[0]
            return process, here, stack.enter_context(ArtifactStore(**options, gateway_url=here))

        yield start


def test_serves_signed_urls(started):
    """Signed URLs of a store are served by a process of its own."""
    _, _, store = started()
    with urllib.request.urlopen(store.presign(store.store(b"hello"))) as answer:
        assert answer.read() == b"hello"


def test_drains_on_sigterm(started):
    """A download that is under way when the server is ended comes to its end, and the status is 0."""
    process, _, store = started()
    data = b"x" * 60_000_000
    url = store.presign(store.store(data))
    port, path = re.search(r":(\d+)(/.*)", url).groups()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    begin = answer.read(1000)
    process.terminate()
    assert begin + answer.read() == data
    connection.close()
    assert process.end() == 0


def test_healthz(started, options, tmp_path):
    """``/healthz`` answers 200 while storage and catalog answer, and 503 when the folder is gone."""
    _, here, store = started()
    store.store(b"hello")
    with urllib.request.urlopen(f"{here}/healthz") as answer:
        assert answer.status == 200
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{here}/healthz")
    with error.value:
        assert error.value.code == 503
    (tmp_path / "elsewhere").rename(tmp_path / "store")


def test_workers_and_access_log(started):
    """Worker processes serve the URLs, and with ``-v`` each request is a line without the signature."""
    process, _, store = started("--workers", "2", "-v")
    url = store.presign(store.store(b"hello"))
    for _ in range(4):
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"hello"
    line = process.until("GET ")
    assert " 200" in line
    assert url.rpartition("/")[2] not in line
