"""Upload URLs of services that accept headers that were not signed, and what an upload may bring along."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
import traceback
import urllib.error
import urllib.request
from email.utils import formatdate

import pytest
from servers.buckets import bare_client, open_bucket, s3_on_moto, s3_on_served_moto

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, InvalidInputError, ProviderError, aio
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage.bucket.uploads import carried, code_of, grantees, is_strict, refuses

SESSION = "user_mallory"
NATIVE = {"storage_options": {"presign_upload": "native"}}
ALWAYS = 10**6
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
UNSIGNED = ("x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-meta-")
SAYS_SO = (
    b"<Error><Code>%s</Code><Message>There were headers present in the request which were not signed</Message></Error>"
)
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
PAGE = b"<html>Forbidden</html>"
one_sdk = pytest.mark.parametrize("options", ["s3"], indirect=True)
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def put(url, data=b"mine", **headers):
    """Return the status of an upload with these headers, in which ``_`` is for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": "text/plain", **named})
    try:
        with _direct.open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def answering(status, body):
    """Return an answer of a service."""
    return status, [("Content-Length", str(len(body)))], body


def strict(proxy, names=UNSIGNED, status=403, body=SAYS_SO % b"AccessDenied"):
    """Let the service refuse headers whose names begin so, unless they were signed."""

    def change(line, answer):
        sent = proxy.requests[-1].headers
        unsigned = [name for name in sent if name.startswith(tuple(names))] if "X-Amz-Signature" in line else []
        return answering(status, body) if unsigned else answer

    proxy.changing = change


def all_keys(options):
    """Return all keys in the bucket."""
    found = bare_client(options["endpoint_url"]).list_objects_v2(Bucket=options["bucket"])
    return sorted(item["Key"] for item in found.get("Contents", ()))


def full_key(store, artifact_id):
    """Return the key of an artifact's, or an awaited upload's, bytes in the bucket."""
    core = store.scope.core
    return core.storage._full(core.catalog.get([artifact_id])[0].key)


def register(store, artifact_id):
    """Register an upload."""
    return store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")


def is_gateway(url):
    """Say whether an upload URL is one of the gateway."""
    return "X-Amz" not in url and "signature=" in url


@pytest.fixture
def store(open_store):
    """Return a store on the bucket, whose upload URLs are the service's own."""
    return open_store(storage_options={"presign_upload": "native"})


@pytest.fixture
def careful(open_store):
    """Return a store that finds out itself whose URLs take uploads; the bucket has been used."""
    store = open_store()
    store.store(b"victim", session_id="user_victim", filename="secret")
    return store


# Whose URLs


def test_upload_url_reads_any_object(store, options):
    """With a URL of Ceph's own an upload becomes a copy of another session's file: that is what is prevented."""
    victim = store.store(b"victim", session_id="user_victim")
    url, artifact_id = store.presign_upload(SESSION)
    source = f"/{options['bucket']}/{full_key(store, victim)}"
    assert put(url, b"", x_amz_copy_source=source, x_amz_metadata_directive="REPLACE") == 200
    register(store, artifact_id)
    assert store.retrieve(artifact_id) == b"victim"


def test_gateway_takes_the_uploads(careful, options, caplog):
    """Where the service accepts unsigned headers the gateway takes uploads, to which such headers mean nothing."""
    (victim,) = (one.artifact_id for one in careful.list_by_session("user_victim"))
    url, artifact_id = careful.presign_upload(SESSION)
    assert is_gateway(url)
    source = f"/{options['bucket']}/{full_key(careful, victim)}"
    assert put(url, x_amz_copy_source=source, x_amz_acl="public-read", x_amz_meta_a="b") == 200
    client = bare_client(options["endpoint_url"])
    acl = client.get_object_acl(Bucket=options["bucket"], Key=full_key(careful, artifact_id))
    assert grantees(acl) == ()
    register(careful, artifact_id)
    assert careful.retrieve(artifact_id) == b"mine"
    careful.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
    (warning,) = [one for one in caplog.records if "presign_upload" in one.getMessage()]
    assert warning.levelname == "WARNING"
    assert "x-amz-copy-source" in warning.getMessage()


def test_service_is_asked_once(careful, proxy, options):
    """The first upload URL costs four requests where the service accepts what it should not; the others none."""
    before = all_keys(options)
    careful.scope.core.identified = True
    proxy.told()
    careful.presign_upload(SESSION)
    assert {request.path.split("/")[2][:5] for request in proxy.requests if request.method != "POST"} == {"check"}
    assert proxy.told() == ["PUT", "GET", "PUT", "POST"]
    careful.presign_upload(SESSION)
    careful.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
    assert proxy.told() == []
    assert all_keys(options) == before


@one_sdk
def test_threads_ask_once(careful, proxy):
    """Many that want the first URL at once ask the service once."""
    barrier, urls = threading.Barrier(8), []

    def run():
        barrier.wait()
        urls.append(careful.presign_upload(SESSION)[0])

    proxy.told()
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 8
    assert all(map(is_gateway, urls))
    assert proxy.told().count("PUT") == 2


@one_sdk
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, b"AccessDenied"), (400, b"AccessDenied"), (400, b"InvalidRequest"), (403, b"SignatureDoesNotMatch")],
)
def test_service_that_refuses(careful, proxy, options, caplog, status, code):
    """Where the service refuses each unsigned header the URLs are its own, after seven requests, without a warning."""
    before = all_keys(options)
    strict(proxy, status=status, body=SAYS_SO % code)
    proxy.told()
    url, artifact_id = careful.presign_upload(SESSION)
    assert not is_gateway(url)
    assert proxy.told() == ["PUT", "GET", "PUT", "PUT", "PUT", "PUT", "POST"]
    assert all_keys(options) == before
    assert put(url, x_amz_copy_source="/a/b") == status
    assert put(url) == 200
    assert register(careful, artifact_id)
    assert not [one for one in caplog.records if "presign_upload" in one.getMessage()]


@one_sdk
@pytest.mark.parametrize("name", UNSIGNED)
def test_service_that_refuses_nearly_all(careful, proxy, name):
    """One header that is accepted is enough: MinIO refuses metadata only, and some of its heirs copies only."""
    strict(proxy, [other for other in UNSIGNED if other != name])
    assert is_gateway(careful.presign_upload(SESSION)[0])


@one_sdk
@pytest.mark.parametrize("code", [b"InvalidArgument", b"NoSuchKey"])
def test_refusal_for_another_reason(careful, proxy, code):
    """A service that looks at what an unsigned header says accepts it."""
    strict(proxy, status=400, body=b"<Error><Code>%s</Code></Error>" % code)
    assert is_gateway(careful.presign_upload(SESSION)[0])


@one_sdk
def test_outage_is_no_answer(careful, proxy):
    """An outage is neither a refusal nor the opposite: it is raised, and the next call asks again."""
    careful.scope.core.identified = True
    outages = [(503, DENIED), (403, PAGE), (200, PAGE), (500, b""), (429, SAYS_SO % b"SlowDown"), (404, b"")]
    for only, failure in itertools.product(("PUT /", "GET /"), outages):
        proxy.failing, proxy.failure, proxy.only = ALWAYS, failure, only
        with pytest.raises(ProviderError):
            careful.presign_upload(SESSION)
    proxy.failing = 0
    strict(proxy)
    assert not is_gateway(careful.presign_upload(SESSION)[0])


@one_sdk
def test_no_traceback_shows_a_url(careful, proxy):
    """A connection that breaks is an outage too, and no traceback of it shows a signature."""
    careful.scope.core.identified = True
    proxy.forgetting = ALWAYS
    with pytest.raises(ProviderError) as caught:
        careful.presign_upload(SESSION)
    assert "X-Amz" not in "".join(traceback.format_exception(caught.value))


@one_sdk
def test_connection_that_breaks(open_store, proxy, options):
    """An answer that is lost on its way is asked for again, whichever it is, and nothing is left."""
    strict(proxy)
    take = proxy.take
    for number in range(1, 8):
        store, count = open_store(), itertools.count(1)
        store.scope.core.identified = True
        proxy.forgetting = 1
        proxy.take = lambda name, line, count=count, number=number: (
            name == "forgetting" and next(count) == number and take(name, line)
        )
        assert not is_gateway(store.presign_upload(SESSION)[0])
        assert proxy.forgetting == 0
    assert all_keys(options) == []


@one_sdk
@pytest.mark.parametrize("only", ["PUT", "GET"])
def test_keys_that_may_not_try(careful, proxy, caplog, only):
    """Where the keys have no right to the place of the check a refusal means nothing, and the gateway takes uploads."""
    careful.scope.core.identified = True

    def denied(line, answer):
        return answering(403, DENIED) if line.startswith(f"{only} /") and "check/" in line else answer

    proxy.changing = denied
    assert is_gateway(careful.presign_upload(SESSION)[0])
    assert "access is denied to check/" in caplog.text


@one_sdk
@pytest.mark.parametrize("code", ["NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_nothing_works(careful, proxy, code):
    """Where not even a plain upload works the error says why, and nothing is remembered."""
    careful.scope.core.identified = True
    refused = answering(403, b"<Error><Code>%s</Code></Error>" % code.encode())
    proxy.changing = lambda line, answer: refused if "X-Amz-Signature" in line else answer
    with pytest.raises(ProviderError):
        careful.presign_upload(SESSION)
    assert careful.scope.core.storage._weakness is None


@one_sdk
@pytest.mark.parametrize("chosen", ["native", "gateway"])
def test_choice(open_store, proxy, chosen):
    """The storage option decides without a question, also in another process."""
    store = open_store(storage_options={"presign_upload": chosen})
    store.store(b"1")
    proxy.told()
    assert is_gateway(store.presign_upload(SESSION)[0]) is (chosen == "gateway")
    assert proxy.told() == []
    assert pickle.loads(pickle.dumps(store)).scope.core.settings.presign_upload == chosen


@pytest.mark.parametrize("provider", ["s3", "ibm_cos", "ibm_cos_iam"])
@pytest.mark.parametrize("value", ["", "Native", "no", True, 1, ["native"], {}, object()], ids=range(8))
def test_choice_of_something_else(provider, value):
    """Any other value is refused at construction."""
    with pytest.raises(InvalidInputError, match="presign_upload"):
        resolve(now=0, storage_provider=provider, storage_options={"presign_upload": value})


def test_choice_under_iam():
    """IBM's SDK signs no URL with IAM, so that only the gateway can be chosen there."""
    with pytest.raises(InvalidInputError, match="signs no URLs"):
        resolve(now=0, storage_provider="ibm_cos_iam", storage_options={"presign_upload": "native"})
    options = {"presign_upload": "gateway"}
    assert resolve(now=0, storage_provider="ibm_cos_iam", storage_options=options).presign_upload == "gateway"


@one_sdk
def test_async_store(options, proxy):
    """The async store finds out the same, and its gateway takes the upload."""

    async def run():
        async with aio.ArtifactStore(**{**options, "endpoint_url": proxy.url}) as store:
            url, artifact_id = await store.presign_upload(SESSION)
            status = await asyncio.to_thread(put, url, x_amz_acl="public-read")
            await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
            return is_gateway(url), status, await store.retrieve(artifact_id)

    assert asyncio.run(run()) == (True, 200, b"mine")


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://s3.amazonaws.com", True),
        ("https://S3.EU-WEST-1.AMAZONAWS.COM:443/", True),
        ("https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://s3.private.us-south.cloud-object-storage.appdomain.cloud", True),
        ("https://amazonaws.com.example.org", False),
        ("https://myamazonaws.com", False),
        ("https://example.org/s3.amazonaws.com", False),
        ("https://cloud-object-storage.appdomain.cloud.example.org", False),
        ("http://127.0.0.1:9000", False),
    ],
)
def test_known_services(url, known):
    """Only the hosts of AWS and IBM are known to be strict, by the end of their names."""
    assert is_strict(url) is known


@one_sdk
def test_endpoint_of_the_sdk(options, proxy, monkeypatch, tmp_path):
    """A service that only the SDK's own configuration names is not taken for AWS."""
    (tmp_path / "config").write_text(f"[default]\nendpoint_url = {proxy.url}\ns3 =\n  addressing_style = path\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with ArtifactStore(storage_provider="s3", bucket=options["bucket"]) as store:
        store.scope.core.identified = True
        assert is_gateway(store.presign_upload(SESSION)[0])
    assert proxy.told()[:3] == ["PUT", "GET", "PUT"]


def test_aws_is_not_asked(request, monkeypatch):
    """AWS is known to refuse unsigned headers, and is asked nothing."""
    with ArtifactStore(**s3_on_moto(request)) as store:
        monkeypatch.setattr(store.scope.core.storage, "_try_unsigned", lambda: pytest.fail("asked"))
        assert not is_gateway(store.presign_upload(SESSION)[0])


def test_service_that_checks_nothing(request):
    """A service that checks no signature is found out too."""
    with ArtifactStore(**s3_on_served_moto(request)) as store:
        assert is_gateway(store.presign_upload(SESSION)[0])


@one_sdk
def test_doctor(options, proxy):
    """A thorough check says what the service makes of unsigned headers, and warns of a choice that makes them count."""
    storage = open_bucket({**options, "endpoint_url": proxy.url})
    assert storage.check() == {}
    assert storage.check(thorough=True)["unsigned_headers"] == "not refused (x-amz-copy-source)"
    assert "warning" not in storage.check(thorough=True)
    chosen = open_bucket({**options, "endpoint_url": proxy.url, **NATIVE})
    assert "any object" in chosen.check(thorough=True)["warning"]
    strict(proxy)
    other = open_bucket({**options, "endpoint_url": proxy.url})
    assert other.check(thorough=True) == {"conditional_put": "yes", "unsigned_headers": "refused"}
    for each in (storage, chosen, other):
        each.close()


# What an upload brings along

BROUGHT = [
    {"x_amz_meta_evil": "1"},
    {"x_amz_meta_write": "1", "x_amz_meta_evil": "1"},
    {"x_amz_tagging": "a=b"},
    {"x_amz_acl": "public-read"},
    {"x_amz_acl": "authenticated-read"},
    {"x_amz_grant_read": f'uri="{EVERYBODY}"'},
    {"x_amz_website_redirect_location": "/evil"},
    {"Content_Encoding": "gzip"},
    {"Content_Disposition": "inline"},
    {"Content_Language": "tlh"},
    {"Cache_Control": "public, max-age=31536000"},
    {"Expires": formatdate(4e9, usegmt=True)},
]


def test_upload_that_brings_more(store, options):
    """An upload that brings more than bytes and a type is refused and removed, and a plain one may follow."""
    url, artifact_id = store.presign_upload(SESSION)
    for brought in BROUGHT:
        assert put(url, **brought) == 200
        with pytest.raises(InvalidInputError, match="not allowed"):
            register(store, artifact_id)
        assert all_keys(options) == []
    assert put(url) == 200
    assert register(store, artifact_id)
    assert store.retrieve(artifact_id) == b"mine"


@pytest.mark.parametrize(
    "brought", [{"x_amz_tagging": "a=b"}, {"x_amz_acl": "public-read"}, {"x_amz_meta_a": "b"}], ids=str
)
@pytest.mark.parametrize("kind", [s3_on_moto, s3_on_served_moto])
def test_upload_that_brings_more_elsewhere(request, kind, brought):
    """That holds for any service and any client, and for uploads that register themselves."""
    options = kind(request)
    more = {"ACL": brought.get("x_amz_acl"), "Tagging": brought.get("x_amz_tagging")}
    more = {name: value for name, value in more.items() if value} or {"Metadata": {"a": "b"}}
    with ArtifactStore(**{**options, **NATIVE}) as store:
        _, artifact_id = store.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
        client = store.scope.core.storage._client.connected()
        client.put_object(Bucket=options["bucket"], Key=full_key(store, artifact_id), Body=b"mine", **more)
        assert store.list_by_session(SESSION) == []
        with pytest.raises(ArtifactNotFoundError):
            store.retrieve(artifact_id)
        assert list(store.scope.core.storage.list_objects("grid/")) == []


@one_sdk
@pytest.mark.parametrize("brought", [{"Cache_Control": "no-cache"}, {"Expires": formatdate(1e9, usegmt=True)}], ids=str)
def test_upload_that_forbids_caching(store, brought):
    """What browsers and services add unasked, and what does no more than forbid, is no reason to refuse an upload."""
    url, artifact_id = store.presign_upload(SESSION)
    assert put(url, **brought) == 200
    assert register(store, artifact_id)


@one_sdk
@pytest.mark.parametrize("threshold", [None, 0], ids=["at once", "in parts"])
def test_nothing_survives_a_race(store, options, monkeypatch, threshold):
    """What comes in between the look and the copy leaves nothing: metadata, tags and ACL of the copy are ours."""
    if threshold is not None:
        monkeypatch.setattr("chuk_artifacts.storage.bucket.storage._COPIED_AT_ONCE", threshold)
    url, artifact_id = store.presign_upload(SESSION)
    put(url)
    storage = store.scope.core.storage
    copy = storage.copy

    def upload_and_copy(*arguments, **more):
        assert (
            put(url, x_amz_meta_evil="1", x_amz_tagging="a=b", x_amz_acl="public-read", Cache_Control="max-age=9")
            == 200
        )
        return copy(*arguments, **more)

    monkeypatch.setattr(storage, "copy", upload_and_copy)
    register(store, artifact_id)
    client, place = (
        bare_client(options["endpoint_url"]),
        {"Bucket": options["bucket"], "Key": full_key(store, artifact_id)},
    )
    found = client.head_object(**place)
    assert "evil" not in found["Metadata"]
    assert found["Metadata"]["stored-at"]
    assert "CacheControl" not in found
    assert client.get_object_tagging(**place)["TagSet"] == []
    assert grantees(client.get_object_acl(**place)) == ()


def test_no_tags_survive_a_race(request, monkeypatch):
    """Tags that come in between are left behind too, which Ceph does unasked."""
    options = s3_on_served_moto(request)
    with ArtifactStore(**{**options, **NATIVE}) as store:
        url, artifact_id = store.presign_upload(SESSION)
        put(url)
        storage = store.scope.core.storage
        copy = storage.copy

        def upload_and_copy(*arguments, **more):
            assert put(url, x_amz_tagging="a=b") == 200
            return copy(*arguments, **more)

        monkeypatch.setattr(storage, "copy", upload_and_copy)
        register(store, artifact_id)
        place = {"Bucket": options["bucket"], "Key": full_key(store, artifact_id)}
        assert storage._client.connected().get_object_tagging(**place)["TagSet"] == []


@one_sdk
def test_own_options_are_no_reason(open_store):
    """What the storage options add to each write, an upload through the gateway has too."""
    own = {"Tagging": "team=a&cost=b", "CacheControl": "public, max-age=60", "ACL": "authenticated-read"}
    store = open_store(storage_options=own)
    url, artifact_id = store.presign_upload(SESSION)
    assert put(url) == 200
    store.scope.core.storage._weakness = None  # as in a process that has signed no URL
    assert register(store, artifact_id)
    assert store.retrieve(artifact_id) == b"mine"


@one_sdk
def test_cost_of_a_look_at_the_acl(store, open_store, proxy):
    """A registration asks once for the ACL, and not where no URL could set it; Ceph says no hash of a copy."""
    plain = ["HEAD", "PUT", "GET", "DELETE"]
    for each, sent in ((store, ["HEAD", "GET ?acl", *plain[1:]]), (open_store(), plain)):
        url, artifact_id = each.presign_upload(SESSION)
        put(url)
        proxy.requests.clear()
        register(each, artifact_id)
        told = [f"{one.method} ?acl" if one.path.endswith("?acl") else one.method for one in proxy.requests]
        assert told == sent


@one_sdk
@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (403, b"AccessDenied", 2),
        (501, b"NotImplemented", 1),
        (405, b"MethodNotAllowed", 2),
        (400, b"InvalidRequest", 2),
    ],
)
def test_acl_that_can_not_be_read(store, proxy, status, code, asked):
    """Keys that may not read ACLs, and services without, hinder no registration; an outage does."""
    told = answering(status, b"<Error><Code>%s</Code></Error>" % code)
    proxy.changing = lambda line, answer: told if line.endswith("?acl") else answer
    for _ in range(2):
        url, artifact_id = store.presign_upload(SESSION)
        put(url)
        assert register(store, artifact_id)
    assert sum(request.path.endswith("?acl") for request in proxy.requests) == asked


@one_sdk
def test_outage_while_the_acl_is_read(store, proxy):
    """An outage is no ACL: the registration fails, the upload stays, and the next attempt succeeds."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url)
    down = answering(503, b"")
    proxy.changing = lambda line, answer: down if line.endswith("?acl") else answer
    with pytest.raises(ProviderError):
        register(store, artifact_id)
    proxy.changing = lambda _, answer: answer
    assert register(store, artifact_id)


@one_sdk
def test_service_without_tags(open_store, proxy):
    """A service that knows no tags copies without, is asked once, and is an error where tags are wanted."""
    refused = answering(501, b"<Error><Code>NotImplemented</Code></Error>")

    def change(_, answer):
        return refused if "x-amz-tagging-directive" in proxy.requests[-1].headers else answer

    store = open_store(**NATIVE)
    artifact_id = store.store(b"1", session_id=SESSION)
    proxy.changing = change
    proxy.told()
    copies = [store.copy_file(artifact_id) for _ in range(2)]
    assert proxy.told() == ["PUT"] * 3
    assert [store.retrieve(copy) for copy in copies] == [b"1"] * 2
    tagging = open_store(storage_options={"Tagging": "a=b"})
    artifact_id = tagging.store(b"1", session_id=SESSION)
    with pytest.raises(ProviderError):
        tagging.copy_file(artifact_id)


def test_acl_of_nothing(storage):
    """An upload that is gone when its ACL is requested has no other readers."""
    assert storage.grantees("grid/box/session/0123~upload") == ()


# Answers, taken apart


def head(**headers):
    """Return the answer to a HEAD with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"ResponseMetadata": {"HTTPHeaders": {"Date": formatdate(1e9, usegmt=True), **named}}}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"ETag": "1", "Content_Type": "a/b", "x_amz_storage_class": "COLD", "x_amz_version_id": "1"}, ()),
        ({"X_Amz_Meta_A": "1"}, ("x-amz-meta-a",)),
        ({"x_amz_meta_write": "1"}, ()),
        ({"x_amz_missing_meta": "1"}, ("x-amz-missing-meta",)),
        ({"x_amz_tagging_count": "2"}, ("x-amz-tagging-count",)),
        ({"x_amz_tagging_count": "0"}, ()),
        ({"x_amz_tagging_count": "1"}, ()),
        ({"Content_Encoding": "aws-chunked"}, ()),
        ({"Content_Encoding": "gzip,aws-chunked"}, ("content-encoding",)),
        ({"Cache_Control": "private, max-age=0"}, ()),
        ({"Cache_Control": "no-cache, max-age=1"}, ("cache-control",)),
        ({"Cache_Control": "max-age=60"}, ()),
        ({"Expires": formatdate(1e9, usegmt=True)}, ()),
        ({"Expires": formatdate(1e9 + 1, usegmt=True)}, ("expires",)),
        ({"Expires": "0"}, ()),
        ({"Expires": "Fri, 31 Dec 9999 23:59:59"}, ("expires",)),
    ],
    ids=str,
)
def test_what_an_object_carries(headers, found):
    """What is named is what no put of this library with its options leaves, in any letter case."""
    options = {"CacheControl": "max-age=60", "Tagging": "a=b"}
    assert carried(head(**headers), options, frozenset({"write"})) == found


@pytest.mark.parametrize(
    ("acl", "found"),
    [
        ({}, ()),
        ({"Owner": {"ID": "me"}, "Grants": [{"Grantee": {"ID": "me"}, "Permission": "FULL_CONTROL"}]}, ()),
        ({"Owner": {"ID": ""}, "Grants": [{"Grantee": {"Type": "CanonicalUser"}}]}, ()),
        ({"Owner": {"ID": "me"}, "Grants": [{"Grantee": {"ID": "you"}}]}, ("you",)),
        ({"Owner": {"ID": "me"}, "Grants": [{"Grantee": {"Type": "Group", "URI": EVERYBODY}}]}, (EVERYBODY,)),
        ({"Grants": [{"Grantee": {"EmailAddress": "a@example.org"}}]}, ("a@example.org",)),
    ],
    ids=str,
)
def test_whom_an_acl_lets_in(acl, found):
    """All but the owner are named."""
    assert grantees(acl) == found


@pytest.mark.parametrize(
    ("status", "headers", "body", "code"),
    [
        (200, {"etag": "1"}, b"", ""),
        (200, {}, b"<CopyObjectResult><ETag>1</ETag></CopyObjectResult>", ""),
        (200, {}, b"<Error><Code>InternalError</Code></Error>", "InternalError"),
        (200, {}, PAGE, None),
        (403, {}, PAGE, None),
        (403, {"etag": "1"}, b"", None),
        (307, {"etag": "1"}, b"", None),
        (403, {}, DENIED, "AccessDenied"),
    ],
)
def test_codes(status, headers, body, code):
    """Only what a service says itself is a refusal or a success."""
    assert code_of(status, headers, body) == code


def test_refusal_by_its_message():
    """A code of any name that comes with word of the signing is a refusal; an invalid request alone is none."""
    assert refuses(code_of(400, {}, SAYS_SO % b"InvalidRequest"))
    assert not refuses(code_of(400, {}, b"<Error><Code>InvalidRequest</Code><Message>unsigned int</Message></Error>"))
    assert not refuses("")
