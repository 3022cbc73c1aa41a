"""gunicorn: the WSGI gateway in worker processes, which share a store on disk."""

from __future__ import annotations

import http.client
import re
import sys
import urllib.request

import pytest

pytest.importorskip("gunicorn")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")

APPLICATION = """
from chuk_artifacts import ArtifactStore
from chuk_artifacts.gateway import Gateway

store = ArtifactStore()
app = Gateway(store)
"""


@pytest.fixture(params=["sync", "gthread"])
def gunicorn(request, python, tmp_path):
    """Return gunicorn with two workers that serve the gateway, and its port."""
    (tmp_path / "application.py").write_text(APPLICATION)
    command = [
        "gunicorn",
        "--bind",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--threads",
        "4" if request.param == "gthread" else "1",
    ]
    process = python(*command, "--preload", "--worker-class", request.param, "application:app")
    port = re.search(r"http://127\.0\.0\.1:(\d+)", process.until("Listening at"))[1]
    for _ in range(2):
        process.until("Booting worker")
    return process, int(port)


@pytest.fixture
def signed(gunicorn, options):
    """Return a store that signs URLs for that server."""
    from chuk_artifacts import ArtifactStore  # noqa: PLC0415 - another process made the folder

    with ArtifactStore(**options, gateway_url=f"http://127.0.0.1:{gunicorn[1]}") as store:
        yield store


def test_upload_and_download(signed):
    """The workers take an upload, and serve it, whole and in part; the store was opened before they were forked."""
    url, file_id = signed.presign_upload("alice", "a.png", mime_type="image/png")
    data = bytes(range(256)) * 10_000
    request = urllib.request.Request(url, data, {"Content-Type": "image/png"}, method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    signed.register_uploaded_artifact(file_id, mime="image/png", summary="")
    for part, expected in [({}, data), ({"Range": "bytes=1000-1999"}, data[1000:2000])] * 4:
        with urllib.request.urlopen(urllib.request.Request(signed.presign(file_id), headers=part)) as answer:
            assert answer.read() == expected


def test_drains_on_sigterm(gunicorn, signed):
    """A download that is under way when gunicorn is ended comes to its end."""
    process, port = gunicorn
    data = b"x" * 40_000_000
    path = signed.presign(signed.store(data)).partition(f":{port}")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    begin = answer.read(1000)
    process.terminate()
    process.until("Handling signal: term")
    assert begin + answer.read() == data
    connection.close()
    assert process.end() == 0
