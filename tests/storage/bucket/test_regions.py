"""Buckets of AWS in another region than is configured: requests are redirected, presigned URLs name the right one."""

from __future__ import annotations

import io
import re
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from servers.buckets import open_bucket
from servers.scripted import Answer, Request, Scripted, Service, refusal

from chuk_artifacts.storage.bucket.client import Client

KEY = "grid/box/session/0123"
BUCKET = "my-files"
HOME = "eu-west-1"


class Body(io.BytesIO):
    """The bytes of an answer, as botocore reads them."""

    def stream(self, **_):
        """Return all that is left."""
        return [self.read()]


class Aws:
    """AWS, with one bucket in HOME; it is asked by ``before-send``, as moto is.

    Attributes:
        service: what it is in that region.
        asked: the method and region of each request.
        silent: whether no answer names the region of the bucket.
        gone: whether there is no answer at all.

    """

    def __init__(self):
        self.service = Service()
        self.asked = []
        self.silent = False
        self.gone = False

    def send(self, request, **_):
        """Answer a request."""
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        region = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", headers["authorization"])[1]
        self.asked.append((request.method, region))
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = b"" if request.body is None else request.body if isinstance(request.body, bytes) else request.body.read()
        answer = self._answer(region, Request(request.method, f"/b{unquote(parts.path)}", query, headers, body))
        content = b"" if request.method == "HEAD" else answer.body
        told = {**answer.headers, "Content-Length": str(len(content)), "Date": "Mon, 01 Jan 2026 00:00:00 GMT"}
        return AWSResponse(request.url, answer.status, HTTPHeaders.from_dict(told), Body(content))

    def _answer(self, region, request):
        if self.gone:
            raise ConnectionError("no network")
        header = {} if self.silent else {"x-amz-bucket-region": HOME}
        if region != HOME:
            body = f"<Error><Code>AuthorizationHeaderMalformed</Code><Region>{HOME}</Region></Error>".encode()
            return Answer(400, body, header)
        answer = self.service.answer(request)
        return Answer(answer.status, answer.body, answer.headers | (header if not request.key else {}))


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def aws(monkeypatch):
    """Return what plays AWS for all clients of buckets."""
    aws, listen = Aws(), Client._listen
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def listening(self, events):
        listen(self, events)
        events.register("before-send.s3", aws.send)

    monkeypatch.setattr(Client, "_listen", listening)
    return aws


@pytest.fixture(params=[None, "us-east-1", "us-west-2"])
def storage(request, aws):
    """Return a storage in the bucket whose region is not the one that is configured, if one is."""
    storage = open_bucket({"storage_provider": "s3", "bucket": BUCKET, "region": request.param})
    yield storage
    storage.close()


def sign(storage):
    """Return a download and an upload URL."""
    download = storage.sign_get(KEY, expires=60, filename=None, mime="text/plain")
    return download, storage.sign_put(KEY, expires=60, mime=None)


def region_of(url):
    """Return the region for which a URL is signed; its host is of the same one."""
    region = parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2]
    assert urlsplit(url).hostname == f"{BUCKET}.s3.{region}.amazonaws.com"
    return region


def test_url_names_the_region_of_the_bucket(storage, aws):
    """The region is asked for once, by one request, which shows it by its refusal too; both URLs name it."""
    for _ in range(2):
        assert [region_of(url) for url in sign(storage)] == [HOME, HOME]
    assert {method for method, _ in aws.asked} == {"HEAD"}
    assert len(aws.asked) <= 2  # the SDK follows the redirection
    aws.asked.clear()
    storage.put(KEY, b"1")
    assert aws.asked == [("PUT", HOME)]


def test_region_that_a_request_has_shown(storage, aws):
    """After a redirected request nothing is asked."""
    storage.put(KEY, b"1")
    aws.asked.clear()
    assert [region_of(url) for url in sign(storage)] == [HOME, HOME]
    assert aws.asked == []


def test_region_that_is_right(aws):
    """After a request that succeeds in the region that is configured nothing is asked, and doctor says nothing."""
    aws.silent = True
    storage = open_bucket({"storage_provider": "s3", "bucket": BUCKET, "region": HOME})
    storage.put(KEY, b"1")
    assert [region_of(url) for url in sign(storage)] == [HOME, HOME]
    assert aws.asked == [("PUT", HOME)]
    assert storage.check() == {}
    storage.close()


def test_region_that_nobody_names(aws):
    """A service that does not name the region is asked once, and the configured one is taken."""
    aws.silent, aws.service.script = True, lambda _: refusal(403, "AccessDenied")
    storage = open_bucket({"storage_provider": "s3", "bucket": BUCKET, "region": HOME})
    for _ in range(2):
        assert [region_of(url) for url in sign(storage)] == [HOME, HOME]
    assert aws.asked == [("HEAD", HOME)]
    storage.close()


def test_outage_while_the_region_is_asked_for(storage, aws):
    """Without an answer the configured region is taken, and the next URL asks again."""
    aws.gone = True
    assert [f".{HOME}." in url for url in sign(storage)] == [False, False]
    aws.gone = False
    assert [region_of(url) for url in sign(storage)] == [HOME, HOME]


@pytest.mark.parametrize("thorough", [False, True])
def test_doctor_says_so(storage, aws, thorough):
    """A check says where the bucket is, also after URLs were signed for that region."""
    for _ in range(2):
        assert HOME in storage.check(thorough=thorough)["region"]
        sign(storage)
    assert ("AWS_REGION" in storage.check()["region"]) is True


@pytest.mark.parametrize("name", ["evil.example.com", "a/b", "x" * 64, ""])
def test_region_that_is_none(storage, aws, name):
    """A header that can be no region does not become part of a host."""
    storage._client.region.note({"headers": {"x-amz-bucket-region": name}, "status_code": 404})
    assert storage._client.region.found is None


def test_custom_endpoint_is_not_asked(monkeypatch):
    """A service that is configured is not asked for a region, and its URLs stay as they are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with Scripted() as service:
        storage = open_bucket({"storage_provider": "s3", "bucket": BUCKET, "endpoint_url": service.url})
        storage.sign_get(KEY, expires=60, filename=None, mime="text/plain")
        assert service.requests == []
        storage.close()
