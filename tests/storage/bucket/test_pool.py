"""The pool of connections holds those of all threads that a store has: none is made anew for each request."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref

import botocore.config
import botocore.httpsession
import ibm_botocore.config
import ibm_botocore.httpsession
import pytest
from servers.buckets import open_bucket
from servers.scripted import Scripted
from urllib3 import HTTPConnectionPool

from chuk_artifacts import aio
from chuk_artifacts.storage.bucket import connections

SESSION = "user_alice"
AT_ONCE = 31 + 32


@pytest.fixture(params=["s3", "ibm_cos"])
def options(request, monkeypatch):
    """Return the options of a store on a service that is added later."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return {"storage_provider": request.param, "bucket": "bucket"}


def test_async_store_with_the_defaults(options, caplog):
    """An async store with default settings keeps its connections, though a batch goes beside as many calls as it has.

    The service answers when all of them are there.
    """
    caplog.set_level(logging.WARNING)
    at_once = threading.Barrier(AT_ONCE)

    async def run(service):
        async with aio.ArtifactStore(**options, endpoint_url=service.url) as store:
            artifact_id = await store.store(b"1", session_id=SESSION)
            service.script = lambda _: at_once.wait(timeout=60) and None
            reads = [store.retrieve(artifact_id) for _ in range(31)]
            await asyncio.gather(store.store_batch([{"data": b"2"}] * 32, session_id=SESSION), *reads)

    with Scripted() as service:
        asyncio.run(run(service))
        assert len(service.requests) >= AT_ONCE
    assert [record.getMessage() for record in caplog.records if "pool is full" in record.getMessage()] == []


def test_own_size_wins(options):
    """A pool of the user's own size stays as it is."""
    sdk = botocore if options["storage_provider"] == "s3" else ibm_botocore
    config = sdk.config.Config(max_pool_connections=5)
    storage = open_bucket({**options, "endpoint_url": "http://127.0.0.1:1", "storage_options": {"config": config}})
    assert storage._client.connected().meta.config.max_pool_connections == 5
    storage.close()


def test_pool_lives_as_long_as_the_session_holds_it(options):
    """The pool of a service is looked for once; it ends with the session, and another one is made after that."""
    storage = open_bucket({**options, "endpoint_url": "http://127.0.0.1:1"})
    session = storage._client.connected()._endpoint.http_session
    find = session._manager.connection_from_url
    pool = weakref.ref(find("http://127.0.0.1:1/bucket/a?b"))
    assert find("http://127.0.0.1:1/bucket/c") is pool()
    assert find("http://127.0.0.1:2/bucket/c").port == 2
    assert find("http://127.0.0.1:1?b=c/d").port == 1
    session.close()
    gc.collect()
    assert pool() is None
    assert find("http://127.0.0.1:1/bucket/a").port == 1
    storage.close()


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", "a\r\nd"])
def test_header_that_would_be_two_is_refused(value):
    """What the standard library refuses as a header is refused, however quickly the plain ones are written."""
    connection = connections._hardened(HTTPConnectionPool).ConnectionCls("127.0.0.1", 1)
    connection.putrequest("GET", "/")
    connection.putheader("a", b"plain")
    connection.putheader("b", "plain", "twice")
    assert connection._buffer[-2:] == [b"a: plain", b"b: plain\r\n\ttwice"]
    with pytest.raises(ValueError, match="Invalid header value"):
        connection.putheader("c", value)
    with pytest.raises(ValueError, match="Invalid header name"):
        connection.putheader("c\r\nd", b"plain")


URLS = [
    "http://127.0.0.1:1/bucket/grid/a~b",
    "https://host/bucket/key?partNumber=1&uploadId=x%2Fy",
    "https://host/bucket?uploads",
    "https://host/bucket/key?",
    "https://host/bucket/a;b",
    "https://host/bucket/key#part",
    "https://host?list-type=2",
    "https://host?b=c/d",
    "https://host",
    "HTTPS://host/",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("proxies", [{}, {"https": "proxy:3128"}, {"http": "http://proxy"}])
@pytest.mark.parametrize("sdk", [botocore.httpsession, ibm_botocore.httpsession])
def test_target_and_proxy_are_those_of_the_sdk(sdk, proxies, url):
    """What a request asks for, and through which proxy it goes, is what the SDK finds by parsing the URL."""
    plain, hardened = sdk.URLLib3Session(proxies=proxies), sdk.URLLib3Session(proxies=proxies)
    connections.harden(hardened)
    assert hardened._path_url(url) == plain._path_url(url)
    assert hardened._proxy_config.proxy_url_for(url) == plain._proxy_config.proxy_url_for(url)


def test_hardened_session_is_no_cycle():
    """A session, with its connections, goes with the last reference to it."""
    session = botocore.httpsession.URLLib3Session()
    connections.harden(session)
    session._path_url(URLS[0])
    gone = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()
