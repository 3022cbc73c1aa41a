"""What a bucket says of itself: its clock, what it makes of conditions, which uploads were left."""

from __future__ import annotations

import asyncio
import io
from email.utils import formatdate

import pytest
from servers.buckets import bare_client, ibm_iam_on_moto, ibm_on_rgw, open_bucket, s3_on_moto, s3_on_rgw_below_prefix

from chuk_artifacts import ProviderError, aio
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage import Storage, StoredObject, open_storage

KINDS = {"s3": s3_on_rgw_below_prefix, "ibm_cos": ibm_on_rgw, "ibm_cos_iam": ibm_iam_on_moto}
KEY = "grid/box/session/0123"
NOT_IMPLEMENTED = b"<Error><Code>NotImplemented</Code></Error>"


@pytest.fixture(params=KINDS)
def options(request):
    """Return the options of an empty bucket, of each kind."""
    return KINDS[request.param](request)


def all_keys(options):
    """Return all keys in the bucket, whatever they begin with."""
    found = bare_client(options["endpoint_url"]).list_objects_v2(Bucket=options["bucket"])
    return sorted(item["Key"] for item in found.get("Contents", ()))


def test_bytes_outlive_the_storage(options):
    """A bucket keeps its bytes, holds connections once it is used, and gives them back."""
    storage = open_bucket(options)
    assert storage.persistent
    assert not storage.connected
    storage.put(KEY, b"1")
    assert storage.connected
    storage.close()
    assert not storage.connected


def test_clock_of_the_service(storage, proxy):
    """The present is the one of the service, not of this machine."""
    proxy.changing = lambda _, answer: (
        answer[0],
        [(name, formatdate(1e9, usegmt=True) if name.lower() == "date" else value) for name, value in answer[1]],
        answer[2],
    )
    assert storage.now() == 1e9
    assert proxy.told() == ["GET"]


def test_clock_agrees_with_what_is_written(storage):
    """What is written now was modified now, up to the resolution of a date, a second."""
    before = storage.now()
    storage.put(KEY, b"1")
    assert before - 1 <= storage.stat(KEY).modified <= storage.now() + 1


@pytest.mark.parametrize("date", [None, "rubbish"])
def test_service_without_a_clock(storage, proxy, date):
    """A service that does not say what time it is is an error, for no other clock will do."""
    proxy.changing = lambda _, answer: (
        answer[0],
        [each for each in answer[1] if each[0].lower() != "date"] + ([("Date", date)] if date else []),
        answer[2],
    )
    with pytest.raises(ProviderError, match="what time it is"):
        storage.now()


def test_check_sends_one_request(storage, proxy):
    """A check asks once and writes nothing."""
    assert storage.check() == {}
    assert proxy.told() == ["GET"]


def test_missing_bucket(options):
    """A bucket that is not there is named, and so is what makes it."""
    for ask in ("check", "now"):
        storage = open_storage(
            resolve(now=0, storage_provider=options["storage_provider"].partition(":")[0], bucket="no-such-bucket",
                    endpoint_url=options["endpoint_url"], storage_options=options.get("storage_options"))
        )  # fmt: skip
        with pytest.raises(ProviderError, match=r"no-such-bucket.*does not exist.*init"):
            getattr(storage, ask)()
        storage.close()


def test_conditions_that_hold(storage, proxy, options):
    """A service that keeps to conditions is found out, by an object of a few KiB that is removed again."""
    before = all_keys(options)
    assert storage.check(thorough=True)["conditional_put"] == "yes"
    puts = [request for request in proxy.requests if request.method == "PUT"]
    assert all("/check/" in request.path and 0 < request.size < 10_000 for request in puts)
    prefix = storage._bucket.prefix
    assert all(request.path.startswith(f"/{options['bucket']}/{prefix}check/") for request in puts)
    assert all_keys(options) == before


def test_conditions_that_are_refused(storage, proxy, options):
    """A service that answers 501 to a condition has none."""
    before = all_keys(options)
    conditional = lambda: "if-none-match" in proxy.requests[-1].headers  # noqa: E731
    proxy.failing, proxy.failure = 2, (501, NOT_IMPLEMENTED)
    take = proxy.take
    proxy.take = lambda name, line: name == "failing" and conditional() and take(name, line)
    assert storage.check(thorough=True)["conditional_put"] == "no"
    assert all_keys(options) == before


def test_conditions_that_are_ignored(options):
    """A service that puts a key twice, condition or not, is found out."""
    before = all_keys(options)
    more = {**options.get("storage_options", {}), "direct": False}
    storage = open_bucket({**options, "storage_options": more})
    storage._client.connected().meta.events.register_last(
        "before-sign.s3.PutObject", lambda request, **_: request.headers.__delitem__("If-None-Match")
    )
    assert storage.check(thorough=True)["conditional_put"] == "ignored"
    assert all_keys(options) == before
    storage.close()


def test_check_that_fails_leaves_nothing(storage, proxy, options):
    """A check that can't end takes its object away, and the error is the first one."""
    before = all_keys(options)
    denied = (403, b"<Error><Code>AccessDenied</Code></Error>")
    proxy.failing, proxy.failure = 2, denied
    take = proxy.take
    conditional = lambda: "if-none-match" in proxy.requests[-1].headers  # noqa: E731
    proxy.take = lambda name, line: name == "failing" and conditional() and take(name, line)
    with pytest.raises(ProviderError, match="access is denied"):
        storage.check(thorough=True)
    assert all_keys(options) == before


def test_dry_sweep(storage):
    """A dry sweep returns unfinished uploads and leaves them; another sweep removes what it returns."""
    upload = storage._client.call("create_multipart_upload", Key=storage._full(KEY))["UploadId"]
    found = list(storage.sweep("grid/box/", float("inf"), dry_run=True))
    assert [item.key for item in found] == [KEY]
    assert all(isinstance(item, StoredObject) for item in found)
    storage._client.call("upload_part", Key=storage._full(KEY), UploadId=upload, PartNumber=1, Body=io.BytesIO(b"1"))
    assert list(storage.sweep("grid/box/", float("inf"))) == found
    assert list(storage.sweep("grid/box/", float("inf"), dry_run=True)) == []


def test_refused_sweep(storage, proxy):
    """An upload that can't be removed is an error, and not reported as removed."""
    storage._client.call("create_multipart_upload", Key=storage._full(KEY))
    proxy.failing, proxy.failure, proxy.only = 1, (403, b"<Error><Code>AccessDenied</Code></Error>"), "DELETE"
    with pytest.raises(ProviderError, match="access is denied"):
        list(storage.sweep("grid/box/", float("inf")))
    assert len(list(storage.sweep("grid/box/", float("inf")))) == 1


def test_bucket_that_was_made_already(storage, proxy):
    """To make a bucket that a lost answer, or another process, has made in the meantime is a success."""
    proxy.failing, proxy.failure = 1, (404, b"")  # to the question whether it is there
    body = b"<Error><Code>BucketAlreadyOwnedByYou</Code></Error>"
    owned = (409, [("Content-Length", str(len(body)))], body)
    proxy.changing = lambda line, answer: owned if line.startswith("PUT") else answer
    storage.create()
    assert proxy.told() == ["HEAD", "PUT"]


def test_contract(storage):
    """A bucket has all that a storage has, and no more of what is gone from there."""
    contract: Storage = storage
    assert contract.conditional_put
    assert not hasattr(storage, "claims")


def test_aws(request):
    """What plays AWS in this process keeps to conditions, and has a clock."""
    storage = open_bucket(s3_on_moto(request))
    assert storage.check(thorough=True) == {"conditional_put": "yes"}
    assert storage.now() > 1e9
    storage.close()


def test_async_store_sees_the_facts(options):
    """The facts reach the async store."""

    async def run():
        async with aio.ArtifactStore(**options) as store:
            return await store.validate_configuration(thorough=True)

    assert asyncio.run(run())["storage"]["conditional_put"] == "yes"
