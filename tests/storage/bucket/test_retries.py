"""Retries and patience: each call has its own, whatever other calls meet, and no silence is waited for too long."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from ibm_botocore.config import Config as IbmConfig
from servers.buckets import ibm_iam_on_moto, ibm_on_rgw, open_bucket, s3_on_rgw
from servers.proxy import Proxy

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage.bucket import client
from chuk_artifacts.storage.bucket.connections import patience, takes_long

KINDS = {"s3": s3_on_rgw, "ibm_cos": ibm_on_rgw, "ibm_cos_iam": ibm_iam_on_moto}
KEY = "grid/box/session/0123"
SESSION = "user_alice"
DATA = b"0123456789"
ALWAYS = 1000


@pytest.fixture(params=KINDS)
def options(request):
    """Return the options of an empty bucket, of each kind."""
    return KINDS[request.param](request)


def config_of(options, **more):
    """Return a configuration of the SDK that fits."""
    return (Config if options["storage_provider"] == "s3" else IbmConfig)(**more)


def test_each_call_has_its_own_retries(options, proxy):
    """Of 200 puts by 32 threads none fails, though each request meets a 503 and a lost connection.

    There are some more retries than faults, for what a busy machine does to a connection by itself. A quota that the
    calls share would be used up all the same.
    """
    storage = open_bucket({**options, "endpoint_url": proxy.url, "max_retries": 8})
    seen, lock = Counter(), threading.Lock()

    def bad(name, line):
        with lock:
            seen[name, line] += 1
            return name in {"failing", "forgetting"} and seen[name, line] == 1

    proxy.take = bad
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda number: storage.put(f"{KEY}-{number}", DATA, exclusive=True), range(200)))
    proxy.take = lambda *_: False
    assert len(list(storage.list_objects("grid/"))) == 200
    storage.close()


def test_connections_that_break_together(options):
    """A break of all connections at once fails no call: 64 threads meet it, ten times."""
    with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
        options = {**options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", "max_retries": 20}
        storage = open_bucket(options)
        storage.put(KEY, DATA)
        with ThreadPoolExecutor(64) as threads:
            for _ in range(10):
                calls = [threads.submit(storage.get, KEY) for _ in range(64)]
                proxy.reset()
                assert {call.result() for call in calls} == {DATA}
        storage.close()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_statuses_that_pass(storage, proxy, status):
    """A service or proxy that is busy or broken for three requests is asked a fourth time, with either SDK."""
    for body in (b"", b"<html>busy</html>", b"<Error><Code>Anything</Code></Error>"):
        proxy.failing, proxy.failure = 3, (status, body)
        storage.put(KEY, DATA)
        proxy.failing = 3
        assert storage.get(KEY) == DATA


@pytest.mark.parametrize("code", ["SlowDown", "RequestTimeout", "ThrottlingException", "InternalError"])
def test_codes_that_pass(storage, proxy, code):
    """What a service says in XML that it is too busy counts, whatever the status is."""
    proxy.failing, proxy.failure = 3, (400, f"<Error><Code>{code}</Code></Error>".encode())
    storage.put(KEY, DATA)
    assert storage.get(KEY) == DATA


def test_pauses_grow_and_end_somewhere(storage, proxy, monkeypatch):
    """The pauses between attempts are random, the longest of them double, up to a bound."""
    longest = []
    monkeypatch.setattr(client.random, "uniform", lambda _, most: longest.append(most) or 0)
    storage._client._attempts = 9
    proxy.failing = ALWAYS
    with pytest.raises(ProviderError):
        storage.get(KEY)
    assert longest == [1, 2, 4, 8, 16, 20, 20, 20]


def test_own_retries_win(options, proxy):
    """What a user says of retries in a configuration of the SDK holds."""
    options = {**options, "endpoint_url": proxy.url, "max_retries": 5}
    more = options.get("storage_options", {})
    config = config_of(options, retries={"mode": "standard", "total_max_attempts": 2})
    storage = open_bucket({**options, "storage_options": {**more, "config": config}})
    proxy.failing = ALWAYS
    with pytest.raises(ProviderError):
        storage.get(KEY)
    assert proxy.told() == ["GET", "GET"]
    storage.close()


def test_bytes_that_break_off_count_as_one_attempt(storage, proxy):
    """``max_retries`` is for all that can go wrong with a read: the answer, and the bytes after it."""
    storage.put(KEY, DATA)
    proxy.told()
    proxy.failing, proxy.take_cut = 2, lambda _: 5
    with pytest.raises(ProviderError, match="breaks"):
        storage.get(KEY)
    assert proxy.told() == ["GET"] * 4


# Patience


def test_small_requests_end_within_a_minute():
    """By default a silent service costs less than 60 seconds, all attempts and the longest pauses included."""
    retries = resolve(now=0, storage_provider="s3").max_retries
    pauses = sum(2**number for number in range(retries))
    assert (retries + 1) * client._READ_SECONDS + pauses < 60
    assert (retries + 1) * client._CONNECT_SECONDS * 2 + pauses < 60  # of two addresses


@pytest.mark.parametrize(
    ("method", "url", "headers", "long"),
    [
        ("GET", "/b/k", {}, False),
        ("HEAD", "/b/k", {}, False),
        ("DELETE", "/b/k", {}, False),
        ("PUT", "/b/k", {"Content-Length": b"1000"}, False),
        ("POST", "/b/k?uploads", {"Content-Length": "0"}, False),
        ("PUT", "/b/k", {"Content-Length": b"8388608"}, True),
        ("PUT", "/b/k", {"Transfer-Encoding": "chunked"}, True),
        ("PUT", "/b/k", {"Content-Length": "0", "x-amz-copy-source": "b/k2"}, True),
        ("PUT", "/b/k?partNumber=1&uploadId=x", {"Content-Length": "0", "x-amz-copy-source": "b/k2"}, True),
        ("POST", "/b/k?uploadId=x", {"Content-Length": "300"}, True),
        ("POST", "/b?delete", {"Content-Length": "300"}, True),
    ],
)
def test_long_requests(method, url, headers, long):
    """Copies, the end of an upload, deletions of many and large bodies may take long; nothing else may."""
    assert takes_long(method, url, headers) is long


def test_patience():
    """A long request is waited for ten times as long as a small one, up to two minutes, and never less."""
    assert [patience(seconds) for seconds in (0.05, 5, 12, 60, 300, None)] == [0.5, 50, 120, 120, 300, None]


def test_each_request_has_its_patience(storage, monkeypatch):
    """The time that is waited for an answer is that of the request, on the connections of either SDK."""
    waited = {}
    from urllib3.connectionpool import HTTPConnectionPool  # noqa: PLC0415 - what the SDKs' pools derive from

    plain = HTTPConnectionPool._make_request

    def noting(self, conn, method, url, **more):
        waited[method, "copy" if "x-amz-copy-source" in more["headers"] else ""] = more["timeout"].read_timeout
        return plain(self, conn, method, url, **more)

    monkeypatch.setattr(HTTPConnectionPool, "_make_request", noting)
    storage.put(KEY, DATA)
    storage.get(KEY)
    storage.copy(KEY, f"{KEY}~2", len(DATA))
    storage.delete([KEY, f"{KEY}~2"])
    small, long = client._READ_SECONDS, 120
    assert waited == {("PUT", ""): small, ("GET", ""): small, ("PUT", "copy"): long, ("POST", ""): long}


def test_silence(options):
    """A service that says nothing is an error after the time that an option, or a configuration, allows."""
    more = options.get("storage_options", {})
    for patient in ({"read_timeout": 0.05}, {"config": config_of(options, read_timeout=0.05), "read_timeout": 60}):
        with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
            proxy.silent = True
            url = f"http://127.0.0.1:{proxy.port}"
            given = {"endpoint_url": url, "max_retries": 1, "storage_options": {**more, **patient}}
            with ArtifactStore(**{**options, **given}) as store:
                for method in (lambda: store.store(DATA, session_id=SESSION), store.scope.core.storage.check):
                    with pytest.raises(ProviderError, match="does not answer in time"):
                        method()


def test_timeouts_reach_the_client(options):
    """Both times can be given, and are those of the client."""
    more = options.get("storage_options", {})
    storage = open_bucket({**options, "storage_options": {**more, "read_timeout": 7, "connect_timeout": 2.5}})
    config = storage._client.connected().meta.config
    assert (config.read_timeout, config.connect_timeout) == (7, 2.5)
    storage.close()


@pytest.mark.parametrize("value", [0, -1, True, "5", None, float("inf"), float("nan")], ids=repr)
@pytest.mark.parametrize("name", ["read_timeout", "connect_timeout"])
def test_bad_timeouts(name, value):
    """A time that is no positive number is refused when a store is built."""
    for provider in KINDS:
        with pytest.raises(InvalidInputError, match=name):
            resolve(now=0, storage_provider=provider, storage_options={name: value})
