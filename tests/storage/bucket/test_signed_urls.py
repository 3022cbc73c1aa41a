"""The URLs that a bucket's own service signs: for how long, for whom, at which host."""

from __future__ import annotations

import datetime as dt
import itertools
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import botocore.config
import ibm_botocore.auth
import ibm_botocore.config
import pytest
from servers.buckets import open_bucket

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


@pytest.mark.parametrize("presign_upload", [None, "native"])
def test_unsigned_configuration(options, proxy, presign_upload):
    """A configuration that signs no requests signs no URLs, and the error says so; requests work as before."""
    sdk = botocore if options["storage_provider"] == "s3" else ibm_botocore
    unsigned = sdk.config.Config(signature_version=sdk.UNSIGNED)
    more = {} if presign_upload is None else {"presign_upload": presign_upload}
    with ArtifactStore(**{**options, "endpoint_url": proxy.url}, storage_options={"config": unsigned, **more}) as store:
        storage = store.scope.core.storage
        for sign in (
            lambda: storage.sign_get("grid/a", expires=60, filename=None, mime="text/plain"),
            lambda: storage.sign_put("grid/a", expires=60, mime=None),
        ):
            with pytest.raises(ProviderError, match="presigned URLs need credentials"):
                sign()
        assert proxy.told() == []
        assert "not signed" in storage._check_uploads()["presigned_urls"]


def test_unsigned_configuration_with_a_gateway(options):
    """The gateway takes uploads of an unsigned configuration: it signs by itself."""
    sdk = botocore if options["storage_provider"] == "s3" else ibm_botocore
    unsigned = {"config": sdk.config.Config(signature_version=sdk.UNSIGNED), "presign_upload": "gateway"}
    storage = open_bucket({**options, "storage_options": unsigned})
    assert storage.sign_put("grid/a", expires=60, mime=None) is None
    storage.close()


def put_with(url, headers):
    """Return the status of an upload with these headers."""
    request = urllib.request.Request(url, data=b"1", headers=headers, method="PUT")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_upload_carries_tags(open_store, proxy):
    """Tags of the storage options are signed with an upload URL: the upload has them, and is refused without."""
    store = open_store(storage_options={"presign_upload": "native", "Tagging": "team=a", "StorageClass": "STANDARD"})
    url, artifact_id = store.presign_upload(SESSION)
    assert put_with(url, {}) == 403
    assert put_with(url, {"x-amz-tagging": "team=b"}) == 403
    assert put_with(url, {"x-amz-tagging": "team=a"}) == 200
    storage = store.scope.core.storage
    key = store.generate_artifact_key(SESSION, artifact_id)
    (pending,) = [item.key for item in storage.list_objects("grid/") if key in item.key]
    tags = storage._client.call("get_object_tagging", Key=pending)["TagSet"]
    assert tags == [{"Key": "team", "Value": "a"}]
    assert store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"1"


@pytest.mark.usefixtures("aws_keys")
def test_upload_carries_encryption():
    """So is the encryption, and the media type beside it; a download URL has none of it."""
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key", "BucketKeyEnabled": True}
    place = {"bucket": "my-files", "endpoint_url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1"}
    with ArtifactStore(storage_provider="s3", **place, storage_options={**encryption, "CacheControl": "no-store"}) as s:
        storage = s.scope.core.storage
        upload = storage.sign_put("grid/a", expires=60, mime="image/png")
        download = storage.sign_get("grid/a", expires=60, filename=None, mime="image/png")
    assert parse_qs(urlsplit(upload).query)["X-Amz-SignedHeaders"][0].split(";") == [
        "content-type",
        "host",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
    ]
    assert parse_qs(urlsplit(download).query)["X-Amz-SignedHeaders"] == ["host"]
