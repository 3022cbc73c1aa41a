"""The URLs that a bucket's own service signs: for how long, for whom, at which host."""

from __future__ import annotations

import datetime as dt
import itertools
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import ibm_botocore.auth
import pytest

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError

SESSION = "user_alice"


def status_of(url, data=None):
    """Return the status of a download, or of an upload of *data*."""
    request = urllib.request.Request(url, data=data, method="GET" if data is None else "PUT")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.fixture
def store(open_store):
    """Return a store on the bucket, whose upload URLs are the service's own."""
    return open_store(storage_options={"presign_upload": "native"})


@pytest.fixture
def signed_earlier(monkeypatch):
    """Return a function that lets the SDKs sign so many seconds ago."""

    def earlier(seconds):
        now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        for module in (botocore.auth, ibm_botocore.auth):
            if hasattr(module, "get_current_datetime"):
                monkeypatch.setattr(module, "get_current_datetime", lambda remove_tzinfo=True: now.replace(tzinfo=None))
            else:
                fixed = type("Fixed", (), {"datetime": type("Now", (), {"utcnow": staticmethod(lambda: now)})})
                monkeypatch.setattr(module, "datetime", fixed)

    return earlier


@pytest.fixture
def aws_keys(monkeypatch):
    """Set keys that look like those of AWS; no service sees them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-key-of-aws")


@pytest.mark.parametrize(("age", "statuses"), [(3000, (200, 200)), (3601, (403, 403))])
def test_expiry_is_enforced(store, signed_earlier, age, statuses):
    """A URL for an hour works some minutes before its end, and is refused a second after, to download and to upload."""
    artifact_id = store.store(b"1", session_id=SESSION)
    signed_earlier(age)
    download = store.presign(artifact_id, 3600)
    upload, _ = store.presign_upload(SESSION, expires=3600)
    assert (status_of(download), status_of(upload, b"1")) == statuses


@pytest.mark.parametrize(
    ("seconds", "sign"),
    [
        ("3600", lambda store, one: store.presign(one)),
        ("1", lambda store, one: store.presign(one, 0.5)),
        ("2", lambda store, one: store.presign(one, 1.5)),
        ("604800", lambda store, one: store.presign(one, 604800)),
        ("900", lambda store, one: store.presign_short(one)),
        ("3600", lambda store, one: store.presign_medium(one)),
        ("86400", lambda store, one: store.presign_long(one)),
        ("3600", lambda store, one: store.presign_upload(SESSION)[0]),
        ("60", lambda store, one: store.presign_upload(SESSION, expires=60)[0]),
    ],
    ids=map(str, itertools.count()),
)
def test_expiry_in_the_url(store, seconds, sign):
    """The URL is signed by version 4 of AWS, for the seconds asked for; parts of one are rounded up."""
    query = parse_qs(urlsplit(sign(store, store.store(b"1", session_id=SESSION))).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == [seconds]


def test_more_than_seven_days(store):
    """What the service would refuse is refused at once."""
    artifact_id = store.store(b"1", session_id=SESSION)
    with pytest.raises(InvalidInputError, match="7 days"):
        store.presign(artifact_id, 604801)


@pytest.mark.parametrize(
    ("options", "host", "path"),
    [
        ({"bucket": "my-files"}, "my-files.s3.amazonaws.com", "/grid/"),
        ({"bucket": "my-files", "region": "eu-west-1"}, "my-files.s3.eu-west-1.amazonaws.com", "/grid/"),
        ({"bucket": "my.files", "region": "eu-west-1"}, "s3.eu-west-1.amazonaws.com", "/my.files/grid/"),
        ({"storage_provider": "s3://my-files/a/b"}, "my-files.s3.amazonaws.com", "/a/b/grid/"),
        (
            {"bucket": "my-files", "region": "cn-north-1"},
            "my-files.s3.cn-north-1.amazonaws.com.cn",
            "/grid/",
        ),
        (
            {
                "bucket": "my-files",
                "region": "eu-west-1",
                "endpoint_url": "https://s3.dualstack.eu-west-1.amazonaws.com",
            },
            "my-files.s3.dualstack.eu-west-1.amazonaws.com",
            "/grid/",
        ),
        (
            {
                "bucket": "my-files",
                "endpoint_url": "https://minio.example.com",
                "storage_options": {"presign_upload": "native"},
            },
            "minio.example.com",
            "/my-files/grid/",
        ),
        (
            {
                "storage_provider": "ibm_cos",
                "bucket": "my-files",
                "endpoint_url": "https://s3.eu-de.cloud-object-storage.appdomain.cloud",
            },
            "s3.eu-de.cloud-object-storage.appdomain.cloud",
            "/my-files/grid/",
        ),
    ],
    ids=str,
)
@pytest.mark.usefixtures("aws_keys")
def test_host_of_the_url(options, host, path):
    """On AWS the URL names the bucket and its region, so that it needs no redirection; elsewhere the host as it is."""
    with ArtifactStore(**{"storage_provider": "s3", **options}) as store:
        url = urlsplit(store.presign_upload(SESSION)[0])
    assert (url.scheme, url.hostname) == ("https", host)
    assert url.path.startswith(path)
    assert f"%2F{options.get('region', 'us-east-1')}%2Fs3%2F" in url.query


@pytest.mark.usefixtures("aws_keys")
def test_region_of_the_environment(monkeypatch):
    """Without a region given it is that of the environment."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with ArtifactStore(storage_provider="s3") as store:
        assert "artifacts.s3.eu-central-1.amazonaws.com" in store.presign_upload(SESSION)[0]


def test_temporary_credentials(monkeypatch):
    """Temporary credentials sign with their token."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
    with ArtifactStore(storage_provider="s3") as store:
        assert "X-Amz-Security-Token=token-of-the-session" in store.presign_upload(SESSION)[0]


def test_no_credentials():
    """Without credentials nothing is signed, and the error says what to set."""
    with ArtifactStore(storage_provider="s3") as store, pytest.raises(ProviderError, match="AWS_ACCESS_KEY_ID"):
        store.presign_upload(SESSION)
