"""The options of stores on each kind of bucket, with an empty bucket at hand."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import botocore.session
import ibm_botocore.session
import pytest  # noqa: TC002 - as everywhere

from chuk_artifacts.settings import resolve
from chuk_artifacts.storage import Storage, open_storage
from servers import iam, rgw

Options = dict[str, Any]

# Each session reads the description of S3 again, of 1 MB, and each test makes sessions.
for _module in (botocore.session, ibm_botocore.session):
    _module.create_loader = functools.cache(_module.create_loader)


def open_bucket(options: Options) -> Storage:
    """Return the storage that a store with *options* has."""
    known = ("storage_provider", "bucket", "endpoint_url", "region", "storage_options", "max_retries")
    return open_storage(resolve(now=0, **{name: options[name] for name in known if name in options}))


def warm(storage: Storage, key: str = "warm") -> None:
    """Let the direct path of a storage learn its requests from those of the client; nothing is left."""
    storage.put(key, b"0123456789")
    storage.get(key)
    storage.delete([key])


def fresh(options: Options, *others: str) -> Options:
    """Return *options* with a new bucket of their own, which holds objects under *others*."""
    name = f"bucket-{uuid.uuid4().hex}"
    client = bare_client(options.get("endpoint_url"))
    client.create_bucket(Bucket=name)
    for key in others:
        client.put_object(Bucket=name, Key=key, Body=b"other")
    return {"bucket": name, **options}


@functools.cache  # making one takes longer than most tests
def bare_client(endpoint_url: str | None) -> Any:
    """Return a plain client of a service, for what happens behind a storage's back."""
    return boto3.session.Session().client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id=rgw.ACCESS_KEY,
        aws_secret_access_key=rgw.SECRET_KEY,
    )


def s3_on_moto(request: pytest.FixtureRequest) -> Options:
    """Return the options of an S3 bucket that this process plays itself; it takes itself for AWS."""
    request.getfixturevalue("moto_aws")
    return fresh({"storage_provider": "s3"})


def s3_on_served_moto(request: pytest.FixtureRequest) -> Options:
    """Return the options of an S3 bucket on moto, which answers to URLs."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return fresh({"storage_provider": "s3", "endpoint_url": request.getfixturevalue("moto_server")})


def s3_on_rgw(request: pytest.FixtureRequest) -> Options:
    """Return the options of an S3 bucket on Ceph RGW."""
    return fresh({"storage_provider": "s3", "endpoint_url": _rgw(request)})


def s3_on_rgw_below_prefix(request: pytest.FixtureRequest) -> Options:
    """Return the options of a place in an S3 bucket on Ceph RGW, with others before and after it."""
    others = [f"{place}/grid/box/session/other" for place in ("b.c", "b.c/d/e", "b.c/dd")]
    options = fresh({"storage_provider": "s3", "endpoint_url": _rgw(request)}, *others)
    return {**options, "storage_provider": f"s3://{options['bucket']}/b.c/d/"}


def ibm_on_rgw(request: pytest.FixtureRequest) -> Options:
    """Return the options of a bucket that the SDK of IBM, with HMAC keys, has on Ceph RGW."""
    return fresh({"storage_provider": "ibm_cos", "endpoint_url": _rgw(request)})


def ibm_iam_on_moto(request: pytest.FixtureRequest) -> Options:
    """Return the options of a bucket that the SDK of IBM, with IAM, has on moto, which takes any token."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("IBM_COS_APIKEY", iam.API_KEY)
    monkeypatch.setenv("IBM_COS_INSTANCE_CRN", "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2::")
    return fresh(
        {
            "storage_provider": "ibm_cos_iam",
            "endpoint_url": request.getfixturevalue("moto_server"),
            "storage_options": {"ibm_auth_endpoint": request.getfixturevalue("ibm_iam").url},
        }
    )


def s3_by_client(request: pytest.FixtureRequest) -> Options:
    """Return the options of an S3 bucket on Ceph RGW, without the direct path."""
    return {**s3_on_rgw(request), "storage_options": {"direct": False}}


BUCKETS: dict[str, Callable[[pytest.FixtureRequest], Options]] = {
    "s3-moto": s3_on_moto,
    "s3-moto-served": s3_on_served_moto,
    "s3-rgw": s3_on_rgw,
    "s3-rgw-prefix": s3_on_rgw_below_prefix,
    "s3-rgw-client": s3_by_client,
    "ibm_cos-rgw": ibm_on_rgw,
    "ibm_cos_iam-moto": ibm_iam_on_moto,
}


def _rgw(request: pytest.FixtureRequest) -> str:
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.SECRET_KEY)
    url: str = request.getfixturevalue("rgw_server").url
    return url
