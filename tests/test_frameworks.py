"""The README's web applications, each in its framework: upload, register, download, expiry."""

from __future__ import annotations

import functools
import sys

import django.conf
import django.urls
import pytest
from a2wsgi import ASGIMiddleware
from blocks import block
from werkzeug.test import Client

import chuk_artifacts


def in_flask():
    """Return the README's Flask application, for a WSGI client."""
    module = block("flask_app")
    return module, module.app


def in_django():
    """Return the README's Django application, for a WSGI client."""
    if not django.conf.settings.configured:
        django.conf.settings.configure(ROOT_URLCONF="django_app", ALLOWED_HOSTS=["localhost"])
    django.urls.clear_url_caches()
    module = sys.modules["django_app"] = block("django_app")
    return module, module.application


def in_fastapi():
    """Return the README's FastAPI application, for a WSGI client."""
    module = block("fastapi_app")
    return module, ASGIMiddleware(module.app)


@pytest.fixture(params=[in_flask, in_django, in_fastapi])
def application(request, monkeypatch, tmp_path, clock):
    """Return the store and a client of each application, whose clock is the test's."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path))
    monkeypatch.setattr(chuk_artifacts, "ArtifactStore", functools.partial(chuk_artifacts.ArtifactStore, clock=clock))
    monkeypatch.delitem(sys.modules, "django_app", raising=False)
    module, app = request.param()
    with module.store:
        yield module.store, Client(app)


def test_upload_and_download(application, clock):
    """A page uploads with one URL and downloads, a part too, with another, until that expires."""
    store, client = application
    begun = client.post("/uploads", query_string={"filename": "Grüße.jpg"}).json
    data = bytes(range(256)) * 8000
    assert client.put(begun["url"], data=data, content_type="text/html").status_code == 415
    assert client.put(begun["url"], data=data, content_type="image/jpeg").status_code == 200
    url = client.post(f"/uploads/{begun['id']}").json["url"]
    whole = client.get(url)
    assert (whole.status_code, whole.data) == (200, data)
    assert whole.headers["Content-Disposition"].endswith("''Gr%C3%BC%C3%9Fe.jpg")
    part = client.get(url, headers={"Range": "bytes=1000000-1000009"})
    assert (part.status_code, part.data) == (206, data[1_000_000:1_000_010])
    assert client.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert client.head(url).content_length == len(data)
    assert client.delete(url).status_code == 405
    assert store.metadata(begun["id"]).session_id == "user_alice"
    clock.advance(900)
    assert client.get(url).status_code == 403
