"""Answers that are not what they seem: a proxy's page, half an answer, a header that is missing or rubbish."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from http.client import HTTPResponse

import pytest
from servers.buckets import ibm_iam_on_moto, ibm_on_rgw, s3_on_rgw

from chuk_artifacts import ProviderError, aio
from chuk_artifacts.source import source
from chuk_artifacts.storage import ObjectMissingError
from chuk_artifacts.storage.bucket import connections

KINDS = {"s3": s3_on_rgw, "ibm_cos": ibm_on_rgw, "ibm_cos_iam": ibm_iam_on_moto}
MIB = 1024 * 1024
KEY = "grid/box/session/0123"
OTHER = "grid/box/session/4567"
SESSION = "user_alice"
DATA = bytes(range(256)) * 4
LARGE = DATA * 9 * 1024
ALWAYS = 1000
RETRIES = 3

PAGE = b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>"
NO_XML = b"<html><br>default backend - 404"
PAGES = [(404, PAGE), (404, NO_XML), (412, b"")]
DENIED = (403, b"<Error><Code>AccessDenied</Code></Error>")

# What each method sends, as a function of the storage; the object KEY exists, and OTHER does not.
METHODS = {
    "put": lambda storage: storage.put(OTHER, DATA),
    "put_exclusive": lambda storage: storage.put(OTHER, DATA, exclusive=True),
    "put_stream": lambda storage: storage.put(OTHER, source(iter([DATA]))),
    "put_parts": lambda storage: storage.put(OTHER, LARGE),
    "get": lambda storage: storage.get(KEY),
    "open": lambda storage: storage.open(KEY, len(DATA), start=10),
    "stat": lambda storage: storage.stat(KEY),
    "copy": lambda storage: storage.copy(KEY, OTHER, len(DATA)),
    "delete": lambda storage: storage.delete([KEY]),
    "delete_many": lambda storage: storage.delete([KEY, OTHER]),
    "list": lambda storage: list(storage.list_objects("grid/")),
    "sweep": lambda storage: list(storage.sweep("grid/", float("inf"))),
    "now": lambda storage: storage.now(),
    "check": lambda storage: storage.check(),
    "check_thorough": lambda storage: storage.check(thorough=True),
}


@pytest.fixture(params=KINDS)
def options(request):
    """Return the options of an empty bucket, of each kind."""
    return KINDS[request.param](request)


@pytest.fixture
def bucket(storage, proxy):
    """Return a storage that holds DATA under KEY, and has forgotten how it came there."""
    storage.put(KEY, DATA)
    proxy.told()
    return storage


def always(proxy, answer, only=""):
    """Let the proxy answer itself."""
    proxy.failing, proxy.failure, proxy.only = ALWAYS, answer, only


def without(*names, status=None):
    """Return what takes headers out of an answer to a GET, HEAD or PUT of an object, or gives it another status."""

    def change(line, answer):
        if "/grid/" not in line:
            return answer
        kept = [(name, value) for name, value in answer[1] if name.lower() not in names]
        return status or answer[0], kept, answer[2]

    return change


def shouting(_, answer):
    """Write the names of headers in another case."""
    return answer[0], [(name.title(), value) for name, value in answer[1]], answer[2]


# A page of a proxy


@pytest.mark.parametrize("answer", PAGES, ids=str)
def test_page_is_an_outage(bucket, proxy, answer):
    """A 404 or 412 without the service's XML is a failure of the provider to every method, and no signal of its own."""
    always(proxy, answer)
    for name, method in METHODS.items():
        with pytest.raises(ProviderError) as caught:
            method(bucket)
        assert type(caught.value) is ProviderError, name


def test_page_for_a_success(bucket, proxy):
    """A 200 with a page is an answer that broke: it is asked for again, and an error if it stays."""
    proxy.changing = lambda *_: (200, [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))], PAGE)
    for name, method in METHODS.items():
        proxy.told()
        with pytest.raises(ProviderError) as caught:
            method(bucket)
        assert type(caught.value) is ProviderError, name
        told = proxy.told()
        assert told.count(told[0]) >= RETRIES + 1, name


@pytest.mark.parametrize("method", ["get", "open", "put", "put_exclusive", "copy", "delete", "delete_many", "list"])
def test_page_for_a_while(bucket, proxy, method):
    """A page that stands there for two requests does no harm."""
    proxy.failing, proxy.failure = 2, (404, PAGE)
    METHODS[method](bucket)


def test_outage_is_not_a_lost_file(store, proxy):
    """While a proxy does not find the service, no artifact is lost, and none is stored, copied or changed."""
    artifact_id = store.store(DATA, session_id=SESSION)
    always(proxy, (404, PAGE))
    for method in (
        lambda: store.retrieve(artifact_id),
        lambda: store.open(artifact_id),
        lambda: store.store(DATA, session_id=SESSION),
        lambda: store.update_file(artifact_id, data=b"new"),
        lambda: store.copy_file(artifact_id),
    ):
        with pytest.raises(ProviderError) as caught:
            method()
        assert type(caught.value) is ProviderError
    proxy.failing = 0
    assert store.retrieve(artifact_id) == DATA


def test_async_store_sees_the_outage(options, proxy):
    """The async store says the same of a page."""

    async def run():
        async with aio.ArtifactStore(**{**options, "endpoint_url": proxy.url}) as store:
            artifact_id = await store.store(DATA, session_id=SESSION)
            always(proxy, (404, PAGE))
            with pytest.raises(ProviderError):
                await store.retrieve(artifact_id)
            proxy.failing = 0
            return await store.retrieve(artifact_id)

    assert asyncio.run(run()) == DATA


def test_missing_objects(bucket, proxy):
    """The service's own 404 still means that the bytes are missing, and each error names the key."""
    for method in (
        lambda: bucket.get(OTHER),
        lambda: bucket.open(OTHER, 10),
        lambda: bucket.open(OTHER, 0),
        lambda: bucket.copy(OTHER, f"{OTHER}~2", 10),
    ):
        with pytest.raises(ObjectMissingError) as caught:
            method()
        assert caught.value.key == OTHER
    proxy.told()
    assert bucket.stat(OTHER) is None
    assert proxy.told() == ["HEAD", "GET"]


def test_proxy_comes_back_between_two_questions(bucket, proxy):
    """A 404 of a proxy to a HEAD alone does not make an object a missing one."""
    proxy.failing, proxy.failure = 1, (404, b"")
    assert bucket.stat(KEY).bytes == len(DATA)
    always(proxy, (404, b""), only="HEAD")
    with pytest.raises(ProviderError, match="HEAD") as caught:
        bucket.stat(KEY)
    assert type(caught.value) is ProviderError


def test_delete_of_a_missing_object(bucket, proxy):
    """A service that answers the deletion of what is not there with its own 404 has done what was wanted."""
    always(proxy, (404, b"<Error><Code>NoSuchKey</Code></Error>"), only="DELETE")
    bucket.delete([OTHER])
    always(proxy, (404, b"<Error><Code>NoSuchBucket</Code></Error>"), only="DELETE")
    with pytest.raises(ProviderError, match="does not exist"):
        bucket.delete([OTHER])


@pytest.mark.parametrize(
    "code",
    [
        (404, "NoSuchKey"),
        (412, "PreconditionFailed"),
        (404, "NoSuchUpload"),
        (416, "InvalidRange"),
        (501, "NotImplemented"),
        (409, "ConditionalRequestConflict"),
    ],
    ids=str,
)
def test_no_signal_leaves(bucket, proxy, code):
    """What one method waits for is a plain failure to all others: no internal signal leaves where none is expected."""
    always(proxy, (code[0], f"<Error><Code>{code[1]}</Code></Error>".encode()))
    missing = code[1] == "NoSuchKey"
    successes = {"NoSuchKey": {"stat", "delete", "delete_many"}, "NotImplemented": {"sweep"}}.get(code[1], set())
    for name, method in METHODS.items():
        expected = ObjectMissingError if missing and name in {"get", "open", "copy"} else ProviderError
        try:
            method(bucket)
        except ProviderError as error:
            assert type(error) is expected, name  # noqa: PT017 - one of them may be a success
        else:
            assert name in successes, name


# Half an answer


@pytest.mark.parametrize(
    ("method", "step"), [("stat", 1), ("get", 7), ("open", 7), ("put_exclusive", 7), ("delete_many", 7), ("list", 7)]
)
def test_headers_that_are_cut(bucket, proxy, method, step):
    """An answer whose headers end too soon, at whichever byte, is asked for again, and the next one counts."""
    stored = bucket.stat(KEY)
    expected = {"stat": stored, "get": DATA}
    heads = []
    proxy.changing = lambda _, answer: heads.append(answer) or answer
    for number, length in enumerate(range(0, 400, step)):
        proxy.heads_cut, proxy.head_length = 1, length
        if method == "put_exclusive":
            bucket.put(f"{OTHER}{number}", DATA, exclusive=True)
        elif method == "open":
            assert bucket.open(KEY, len(DATA), start=10).read() == DATA[10:]
        elif method == "delete_many":
            bucket.delete([f"{OTHER}{number}", OTHER])
        elif method == "list":
            assert [item.key for item in bucket.list_objects("grid/")] == [KEY]
        else:
            assert METHODS[method](bucket) == expected[method]
        proxy.heads_cut = 0
    assert len(heads) >= 400 // step


@pytest.mark.parametrize("length", [13, 40, 120, -1])
def test_headers_that_are_always_cut(bucket, proxy, length):
    """Answers whose headers always end too soon are an error of the provider, after as many retries as are allowed."""
    proxy.heads_cut, proxy.head_length = ALWAYS, length
    for name, method in METHODS.items():
        proxy.told()
        with pytest.raises(ProviderError) as caught:
            method(bucket)
        assert type(caught.value) is ProviderError, name
        told = proxy.told()
        assert told.count(told[0]) >= RETRIES + 1, name


def test_cut_after_100_continue():
    """A connection that ends within the headers of 100 Continue ends the wait too."""
    lines = iter([b"Via: proxy\r\n"])

    class File:
        def readline(self):
            return next(lines, b"")

    with pytest.raises(ConnectionError):
        connections._Connection()._consume_headers(File())


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("put", ["etag"]),
        ("get", ["etag"]),
        ("open", ["etag"]),
        ("open", ["content-range"]),
        ("stat", ["last-modified"]),
    ],
    ids=str,
)
def test_header_that_is_missing(bucket, proxy, method, names):
    """An answer without what belongs there is asked for again, and is an error if it stays so."""
    proxy.changing = without(*names)
    with pytest.raises(ProviderError, match="an answer with"):
        METHODS[method](bucket)
    assert len(proxy.told()) >= RETRIES + 1


@pytest.mark.parametrize("method", ["get", "open", "stat"])
def test_no_length(bucket, proxy, method):
    """An answer that does not say how long it is, and just ends, is no answer."""

    def without_length(line, given):
        status, headers, content = given
        return status, [(name, value) for name, value in headers if name.lower() != "content-length"], content[:10]

    proxy.changing, proxy.heads_cut, proxy.head_length = without_length, ALWAYS, None
    with pytest.raises(ProviderError):
        METHODS[method](bucket)
    assert len(proxy.told()) > 1  # some attempts meet a connection that has ended


def test_header_that_is_rubbish(bucket, proxy):
    """A date or a range that can't be read is an error of the provider."""
    for name, method in (("last-modified", "stat"), ("content-range", "open")):
        proxy.changing = lambda _, answer, name=name: (
            answer[0],
            [(known, "rubbish" if known.lower() == name else value) for known, value in answer[1]],
            answer[2],
        )
        with pytest.raises(ProviderError):
            METHODS[method](bucket)


def test_pages_that_go_on_for_ever(bucket, proxy):
    """A listing that is cut and does not say where it goes on, or goes on at the same place, is an error."""
    page = "<ListBucketResult><IsTruncated>true</IsTruncated>{}</ListBucketResult>"
    for token in ("", "<NextContinuationToken>again</NextContinuationToken>"):
        always(proxy, (200, page.format(token).encode()))
        with pytest.raises(ProviderError):
            list(bucket.list_objects("grid/"))


# Names in another case


def test_names_in_another_case(bucket, proxy):
    """Headers and metadata are what they are in whichever case a proxy writes their names."""
    proxy.changing = shouting
    assert bucket.get(KEY) == DATA
    assert bucket.open(KEY, len(DATA), start=5).read() == DATA[5:]
    assert bucket.stat(KEY).bytes == len(DATA)
    proxy.forgetting, proxy.only = 1, "PUT"
    assert bucket.put(OTHER, DATA, exclusive=True) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert bucket.get(OTHER) == DATA


# Ranges


def test_length_that_is_not_known(bucket, proxy):
    """A range of an object of unknown length is legal: a HEAD says how long it is."""
    proxy.changing = lambda _, answer: (
        answer[0],
        [(name, f"{value.split('/')[0]}/*" if name.lower() == "content-range" else value) for name, value in answer[1]],
        answer[2],
    )
    with bucket.open(KEY, len(DATA), start=10) as reader:
        assert reader.read() == DATA[10:]
    assert proxy.told()[:2] == ["GET", "HEAD"]


def test_service_that_ignores_ranges(storage, proxy):
    """A service that answers a range with the whole object is an error before the bytes are read."""
    data = b"x" * (4 * MIB)
    storage.put(KEY, data)
    read = []
    plain = storage._client._read

    def counting(body, answer, order):
        take = body.read
        body.read = lambda *size: read.append(1) or take(*size)
        return plain(body, answer, order)

    storage._client._read = counting
    proxy.changing = without("content-range", status=200)
    for start in (0, 10):
        proxy.told()
        with pytest.raises(ProviderError, match="ignored the Range header"):
            storage.open(KEY, len(data), start=start)
        assert proxy.told() == ["GET"]
    assert read == []
    proxy.changing = lambda _, answer: answer
    assert storage.get(KEY) == data


def test_another_range(bucket, proxy):
    """Bytes of another place than was asked for are not taken for the right ones."""
    proxy.changing = lambda _, answer: (
        answer[0],
        [(name, "bytes 0-9/1024" if name.lower() == "content-range" else value) for name, value in answer[1]],
        answer[2],
    )
    with pytest.raises(ProviderError, match="range"):
        bucket.open(KEY, len(DATA), start=10)


def test_deletion_that_is_busy_for_some(bucket, proxy):
    """A deletion of many that the service is too busy for, for some, is asked for again."""
    busy = b"<DeleteResult><Error><Key>k</Key><Code>SlowDown</Code></Error></DeleteResult>"
    proxy.failing, proxy.failure = 2, (200, busy)
    bucket.delete([KEY, OTHER])
    assert proxy.told() == ["POST"] * 3
    proxy.failing = ALWAYS
    with pytest.raises(ProviderError, match="SlowDown"):
        bucket.delete([KEY, OTHER])


def test_entries_that_lack_something(bucket, proxy):
    """A page of a listing is refused when an entry lacks its key, length or date."""
    for entry in ("<Key>a</Key>", "<Key>a</Key><Size>1</Size>", "<Size>1</Size>"):
        page = f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>{entry}</Contents></ListBucketResult>"
        always(proxy, (200, page.encode()))
        with pytest.raises(ProviderError):
            list(bucket.list_objects("grid/"))


HEADS = {
    "plain": b'ETag: "e"\r\nX-Odd:   two  words \r\nx-utf: \xc3\xa9\r\n',
    "folded": b'ETag: "e"\r\nX-Folded: one\r\n two\r\n',
    "twice": b'ETag: "e"\r\nX-Twice: 1\r\nX-Twice: 2\r\n',
    "bare newlines": b'ETag: "e"\nX-Bare: 1\n',
    "no colon": b'ETag: "e"\r\nnonsense\r\nX-After: 1\r\n',
    "empty value": b"ETag:\r\nX-Empty:\r\n",
    "chunked": b"Transfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_headers_are_read_as_the_standard_library_reads_them(head):
    """The headers of an answer, in whatever form, are those that http.client finds."""
    end = b"\n" if b"\r" not in head else b"\r\n"
    body = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in head else b"abc"
    length = b"" if b"chunked" in head else b"Content-Length: 3" + end
    answer = b"HTTP/1.1 100 Continue\r\nX-First: 1\r\n\r\nHTTP/1.1 200 OK\r\n" + length + head + end + body
    found = []
    for kind in (HTTPResponse, connections._Response):
        near, far = socket.socketpair()
        with near, far:
            far.sendall(answer)
            far.shutdown(socket.SHUT_WR)
            response = kind(near)
            response.begin()
            found.append((sorted(response.headers.items()), response.status, response.length, response.read()))
            response.close()
    assert found[0] == found[1]
