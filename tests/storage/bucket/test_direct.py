"""The direct path: the requests of the client, without the client, and the client wherever an answer is not plain."""

from __future__ import annotations

import gc
import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import botocore.auth
import botocore.handlers
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from servers import iam
from servers.buckets import open_bucket, warm
from servers.scripted import Answer, Scripted, refusal
from urllib3 import HTTPResponse

from chuk_artifacts import InvalidInputError, ProviderError
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage import Description, ObjectExistsError, ObjectMissingError

MIB = 1024 * 1024
KEY = "grid/box/session/0123"
ALL_OPTIONS = {
    "ACL": "private",
    "BucketKeyEnabled": True,
    "CacheControl": "max-age=60,  private",
    "SSEKMSEncryptionContext": "e30=",
    "SSEKMSKeyId": "key",
    "ServerSideEncryption": "aws:kms",
    "StorageClass": "STANDARD_IA",
    "Tagging": "team=a%20b&x=",
}
PLACES = {
    "aws": {"storage_provider": "s3", "bucket": "my-files", "region": "eu-west-1"},
    "aws dotted": {"storage_provider": "s3", "bucket": "my.files"},
    "aws accelerated": {
        "storage_provider": "s3",
        "storage_options": {"config": Config(s3={"use_accelerate_endpoint": True, "addressing_style": "virtual"})},
    },
    "aws dual stack": {"storage_provider": "s3", "storage_options": {"config": Config(use_dualstack_endpoint=True)}},
    "aws without TLS": {"storage_provider": "s3", "storage_options": {"use_ssl": False, **ALL_OPTIONS}},
    "aws with options": {"storage_provider": "s3", "storage_options": ALL_OPTIONS},
    "endpoint": {"storage_provider": "s3", "endpoint_url": "https://objects.example/base/"},
    "endpoint with options": {
        "storage_provider": "s3",
        "endpoint_url": "http://127.0.0.1:9000",
        "storage_options": ALL_OPTIONS,
    },
    "ibm": {"storage_provider": "ibm_cos", "endpoint_url": "https://s3.example"},
    "ibm iam": {"storage_provider": "ibm_cos_iam", "endpoint_url": "https://s3.example"},
}
BY_ATTEMPT = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "user-agent", "x-amz-date"}
CHUNKED = {
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "x-amz-checksum-crc32",
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
}


class Body(io.BytesIO):
    """The bytes of an answer, as botocore reads them."""

    def stream(self, **_):
        """Return all that is left."""
        return [self.read()]


class Wire:
    """Answers every request of a storage, as moto does, and keeps them."""

    def __init__(self, storage):
        self.requests = []
        events = storage._client.connected().meta.events
        events.register("before-send.s3", self.send)

    def send(self, request, **_):
        """Return an answer of success."""
        headers = {name.lower(): text(value) for name, value in request.headers.items()}
        self.requests.append((request.method, request.url, headers))
        told = {"ETag": '"e"', "Content-Length": "1", "x-amz-checksum-crc32": "AAAAAA=="}
        if "range" in headers:
            begin, end = map(int, headers["range"].removeprefix("bytes=").split("-"))
            told |= {"Content-Range": f"bytes {begin}-{end}/*", "Content-Length": str(end + 1 - begin)}
        content = b"x" * int(told["Content-Length"]) if request.method == "GET" else b""
        del told["x-amz-checksum-crc32" if request.method == "GET" else "Content-Length"]
        return AWSResponse(request.url, 206 if "range" in headers else 200, HTTPHeaders.from_dict(told), Body(content))

    def last(self):
        """Return the last request, and forget all."""
        requests, self.requests = self.requests, []
        return requests[-1]


def text(value):
    """Return the text of a header."""
    return value.decode() if isinstance(value, bytes) else value


def is_direct(headers):
    """Say whether a request came from the direct path: the SDK counts its own."""
    return "amz-sdk-invocation-id" not in headers


@pytest.fixture
def keys(monkeypatch):
    """Set keys with a token."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/token+with=signs")
    monkeypatch.setenv("IBM_COS_APIKEY", iam.API_KEY)
    monkeypatch.setenv("IBM_COS_INSTANCE_CRN", "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2::")


@pytest.fixture(params=PLACES)
def pair(request, keys):
    """Return two storages in one place, with and without the direct path, and their wires."""
    options = {"bucket": "my-files", **PLACES[request.param]}
    more = dict(options.get("storage_options", {}))
    if request.param == "ibm iam":
        more["ibm_auth_endpoint"] = request.getfixturevalue("ibm_iam").url
    storages = [open_bucket({**options, "storage_options": {**more, "direct": direct}}) for direct in (True, False)]
    yield [(storage, Wire(storage)) for storage in storages]
    for storage in storages:
        storage.close()


def random_calls(choose, count):
    """Return functions that each make one request with random parameters."""

    def any_text(most):
        letters = "ab/Z09 -_.~!$&'()*+,;=:@%?#[]|\\\"<>^`{}\t\u00e9\u4e2d\U0001f600"
        return "".join(choose.choices(letters, k=choose.randrange(1, most)))

    def put(key, about, exclusive, data):
        return lambda storage: storage.put(key, data, exclusive=exclusive, about=about and (lambda *_: about))

    for _ in range(count):
        key = choose.choice(["a", "a/", "a//b/"]) + any_text(choose.choice([5, 60, 700]))
        about = Description(choose.choice(["text/plain", "a/b; c=d"]), {"file": any_text(9), "x-y": any_text(900)})
        data, begin = choose.randbytes(choose.choice([0, 10, 1000])), choose.randrange(10**12)
        yield choose.choice(
            [
                put(key, choose.choice([None, about]), choose.random() < 0.5, data),
                lambda storage, key=key: storage.get(key),
                lambda storage, key=key, begin=begin: storage._fetch(key, begin, 7),
                lambda storage, key=key, begin=begin: storage._fetch(key, begin, 7, '"e"'),
                lambda storage, key=key: storage.delete([key]),
                lambda storage, key=key, data=data: storage._client.call(
                    "upload_part", Key=key, PartNumber=7, UploadId="a+b/=~", Body=io.BytesIO(data), **storage._checked
                ),
            ]
        )


def test_same_requests(pair, monkeypatch):
    """Direct requests are those of the client but for the time, the signature and the number of the attempt.

    Where the client sends a body in chunks with its checksum at the end, the direct request has it in a header, with
    the SHA-256 in place of the word that says that the body is not signed.
    """
    (own, ours), (other, theirs) = pair
    monkeypatch.setattr("os.urandom", lambda count: b"7" * count)
    warm(own)
    own._client.call("upload_part", Key=KEY, PartNumber=1, UploadId="1", Body=io.BytesIO(b"1"), **own._checked)
    for call in random_calls(random.Random(7), 100):
        call(own)
        call(other)
        (method, url, headers), (method_2, url_2, headers_2) = ours.last(), theirs.last()
        assert (method, url) == (method_2, url_2)
        assert is_direct(headers)
        assert not is_direct(headers_2)
        left = BY_ATTEMPT | (CHUNKED if "x-amz-trailer" in headers_2 else set())
        names = (headers.keys() | headers_2.keys()) - left
        assert {name: headers.get(name) for name in names} == {name: headers_2.get(name) for name in names}
        assert sorted(headers["user-agent"]) == sorted(headers_2["user-agent"])
        assert ("x-amz-trailer" in headers_2) <= ("x-amz-checksum-crc32" in headers)


def test_large_bodies(pair):
    """A body of 1 MiB asks before it is sent, as that of the client does."""
    (own, ours), (other, theirs) = pair
    for storage in (own, own, other):
        storage.put(KEY, b"x" * MIB)
    (_, _, headers), (_, _, headers_2) = ours.last(), theirs.last()
    assert is_direct(headers)
    assert headers["expect"] == headers_2["expect"] == "100-continue"


# Where it steps aside


@pytest.fixture
def service():
    """Return a service that answers as a script says."""
    with Scripted() as service:
        yield service


@pytest.fixture
def storage(keys, service):
    """Return a storage that has learned its requests."""
    storage = open_bucket({"storage_provider": "s3", "bucket": "bucket", "endpoint_url": service.url})
    warm(storage)
    storage.put(KEY, b"0123456789")
    service.requests.clear()
    yield storage
    storage.close()


def ways(service):
    """Return how each request came, and forget them."""
    requests, service.requests = service.requests, []
    return ["direct" if is_direct(request.headers) else "client" for request in requests]


PAGE = Answer(404, b"<html>not found</html>")
DIRECT, BOTH = ["direct"], ["direct", "client"]


def get(storage):
    """Read an object."""
    return storage.get(KEY)


def put(storage):
    """Write a new object."""
    return storage.put(f"{KEY}~2", b"1", exclusive=True)


def get_range(storage):
    """Read a range of an object."""
    return storage._fetch(KEY, 2, 3)


def get_same(storage):
    """Read a range of an object that has an ETag."""
    return storage._fetch(KEY, 2, 3, '"e"')


@pytest.mark.parametrize(
    ("call", "answers", "error", "sent"),
    [
        (get, [refusal(404, "NoSuchKey")], "no bytes under the key", DIRECT),
        (get, [refusal(404, "NoSuchBucket")], "does not exist", DIRECT),
        (put, [refusal(404, "NoSuchBucket")], "does not exist", DIRECT),
        (get, [PAGE], None, BOTH),
        (get, [refusal(403, "AccessDenied")] * 2, "access is denied", BOTH),
        (get, [refusal(403, "SignatureDoesNotMatch")], None, BOTH),
        (get, [refusal(403, "RequestTimeTooSkewed")], None, BOTH),
        (get, [refusal(400, "ExpiredToken")], None, BOTH),
        (get, [refusal(301, "PermanentRedirect")], None, BOTH),
        (get, [refusal(503, "SlowDown")], None, BOTH),
        (get, [Answer(200, b"short", {"Content-Length": "5"})], None, BOTH),  # no ETag
        (put, [refusal(200, "InternalError")], None, BOTH),
        (put, [refusal(501, "NotImplemented")] * 2, None, [*BOTH, "client"]),
        (get_range, [refusal(416, "InvalidRange")], "InvalidRange", DIRECT),
        (get_same, [refusal(412, "PreconditionFailed")], "PreconditionFailed", DIRECT),
        (get_range, [Answer(412, b"<html></html>")], None, BOTH),
    ],
)
def test_what_is_not_plain_goes_to_the_client(storage, service, call, answers, error, sent):
    """Success, 404, 412 and 416 of the service end it; the client makes the call after anything else."""
    left = list(answers)
    service.script = lambda _: left.pop(0) if left else None
    if error is None:
        call(storage)
    else:
        with pytest.raises(ProviderError, match=error) as caught:
            call(storage)
        assert isinstance(caught.value, ObjectMissingError) is (error == "no bytes under the key")
    assert left == []
    assert ways(service) == sent


def test_answer_that_makes_no_sense_leaves_no_connection(storage, service, monkeypatch):
    """The connection of an answer whose headers can't be read is closed, since its bytes are left unread."""
    ended = []
    close = HTTPResponse.close
    monkeypatch.setattr(HTTPResponse, "close", lambda response: (ended.append(response.status), close(response))[1])
    left = [Answer(200, b"short", {"Content-Length": "5"})]  # that is one more than the server adds
    service.script = lambda _: left.pop(0) if left else None
    gc.disable()
    try:
        get(storage)
        assert len(ended) == 2
    finally:
        gc.enable()


def test_taken_key(storage, service):
    """The answer that a key is taken is plain; whether it is the writer's own object is looked up, as always."""
    service.script = lambda request: refusal(412, "PreconditionFailed") if request.method == "PUT" else None
    with pytest.raises(ObjectExistsError):
        storage.put(KEY, b"1", exclusive=True)
    assert ways(service) == ["direct", "client"]
    assert service.objects[KEY] == b"0123456789"


def test_learns_again(storage, service):
    """After a refusal the next request is learned from the client's; a service that refuses always is left in peace."""
    service.script = lambda request: refusal(403, "SignatureDoesNotMatch") if is_direct(request.headers) else None
    for _ in range(5):
        storage.get(KEY)
    assert ways(service) == [*BOTH * 3, "client", "client"]
    service.script = lambda _: None
    storage.get(KEY)
    assert ways(service) == ["client"]


def test_learns_the_time(storage, service, monkeypatch):
    """When the SDK has corrected its clock, direct requests have its time."""
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now().replace(year=2031))
    service.script = lambda request: (
        None if request.headers["x-amz-date"].startswith("2031") else refusal(403, "RequestTimeTooSkewed")
    )
    for _ in range(3):
        storage.get(KEY)
    assert ways(service) == ["direct", "client", "direct", "direct"]


def test_fresh_credentials(storage, service, monkeypatch):
    """Each request takes the keys that the session of the SDK has then."""
    found = storage._client._direct._keys
    monkeypatch.setattr(
        type(found), "get_frozen_credentials", lambda _: ReadOnlyCredentials("ROTATED", "other", "another")
    )
    storage.get(KEY)
    assert "Credential=ROTATED/" in service.requests[0].headers["authorization"]
    assert service.requests[0].headers["x-amz-security-token"] == "another"
    assert ways(service) == ["direct"]


def test_trace_of_a_function(storage, service, monkeypatch):
    """In a function of AWS each request carries the trace of the present call, as those of the client do."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    for trace in ("Root=1", "Root=2"):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        storage.get(KEY)
        assert service.requests[-1].headers["x-amzn-trace-id"] == trace
    assert ways(service) == ["direct"] * 2


def test_checksums_of_answers(keys):
    """A checksum that comes with the bytes is compared, as the client does it at AWS."""
    storage = open_bucket({"storage_provider": "s3", "bucket": "my-files"})
    answers, ask = [], []

    def send(request, **_):
        ask.append(is_direct({name.lower(): value for name, value in request.headers.items()}))
        told = {"ETag": '"e"', "Content-Length": "3", "x-amz-checksum-crc32": answers.pop(0)}
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict(told), Body(b"abc"))

    storage._client.connected().meta.events.register("before-send.s3", send)
    right, wrong = "NSRBwg==", "AAAAAA=="
    answers += [right, right, wrong, right]
    assert [storage.get(KEY) for _ in range(3)] == [b"abc"] * 3
    assert ask == [False, True, True, False]
    storage.close()


def opened(service, **more):
    """Return a storage that has made each request twice."""
    storage = open_bucket(
        {"storage_provider": "s3", "bucket": "bucket", "endpoint_url": service.url, "storage_options": more}
    )
    for _ in range(2):
        warm(storage)
    storage.put(KEY, b"1")
    return storage


def listen(event):
    """Return a change that lets the SDK call a handler of the user."""

    def change(monkeypatch):
        monkeypatch.setattr(
            botocore.handlers, "BUILTIN_HANDLERS", [*botocore.handlers.BUILTIN_HANDLERS, (event, lambda **_: None)]
        )
        return {}

    return change


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (lambda _: {}, "direct"),
        (listen("before-send.s3"), "direct"),
        (listen("before-call.ec2"), "direct"),
        (lambda _: {"direct": False}, "client"),
        (lambda _: {"config": Config(signature_version=UNSIGNED)}, "client"),
        (lambda _: {"config": Config(signature_version="s3")}, "client"),
        (lambda _: {"config": Config(retries={"mode": "adaptive"})}, "client"),
        (listen("request-created.s3.GetObject"), "client"),
        (listen("before-call"), "client"),
        (listen("response-received.s3"), "client"),
    ],
    ids=["plain", "recorder", "of another service", "option", "unsigned", "version 2", "retries", "a", "b", "c"],
)
def test_when_it_is_off(keys, service, monkeypatch, change, sent):
    """It is off by an option, and where it would not do what the client does."""
    storage = opened(service, **change(monkeypatch))
    service.requests.clear()
    storage.get(KEY)
    storage.close()
    assert ways(service) == [sent]


def test_headers_that_vary_are_not_learned(storage, service):
    """A request with a header that may depend on its key or bytes is left to the client."""
    storage._client._direct._templates.clear()
    events = storage._client.connected().meta.events
    events.register("before-call.s3", lambda params, **_: params["headers"].update({"Content-MD5": "x"}))
    for _ in range(4):
        storage.get(KEY)
    assert ways(service) == ["client"] * 4


@pytest.mark.parametrize("value", [0, "no", None])
def test_bad_option(value):
    """The option is True or False."""
    with pytest.raises(InvalidInputError, match="direct"):
        resolve(now=0, storage_provider="s3", storage_options={"direct": value})


def test_threads(storage, service):
    """Threads that learn and forget at once all get their own bytes."""
    service.script = lambda request: (
        refusal(403, "SignatureDoesNotMatch") if is_direct(request.headers) and random.random() < 0.2 else None
    )
    at_once = threading.Barrier(8)

    def run(number):
        at_once.wait()
        for _ in range(10):
            storage.put(f"{KEY}-{number}", b"%d" % number)
            assert storage.get(f"{KEY}-{number}") == b"%d" % number

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))
