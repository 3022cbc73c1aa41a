"""Signature version 4: what AWS publishes, and what the SDK signs."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chuk_artifacts.storage.bucket.signature import Scope, Signable, Signer

ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = hashlib.sha256(b"").hexdigest()
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
CHARACTERS = "ab/Z09 -_.~!$&'()*+,;=:@%?#[]|\\\"<>^`{}\t\u00e9\u4e2d\U0001f600"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            "",
            {"range": "bytes=0-9"},
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            "",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            WELCOME,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/", "lifecycle=", {}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            {},
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["range", "put", "lifecycle", "list"],
)
def test_published_examples(method, path, query, headers, payload, signature):
    """The examples of AWS have the signatures that AWS gives: see "Examples: Signature Calculations"."""
    always = {
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": payload,
        "x-amz-date": "20130524T000000Z",
    }
    request = Signable(method, path, query, {**always, **headers}, payload)
    signed = Signer().authorization(request, Scope("us-east-1", "s3"), ACCESS_KEY, SECRET_KEY)
    assert signed.endswith(f"Signature={signature}")
    assert f"Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request, " in signed


def test_signed_as_the_sdk_signs(monkeypatch):
    """Thousands of random requests, on some days and with some keys, have the signatures of botocore."""
    choose = random.Random(20)
    signer = Signer()
    text = lambda most: "".join(choose.choices(CHARACTERS, k=choose.randrange(1, most)))  # noqa: E731
    for _ in range(2000):
        now = dt.datetime(2026, 1, choose.randrange(1, 4), choose.randrange(24), 5, 6)  # noqa: DTZ001 - as the SDK
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda now=now: now)
        secret, region = choose.choice(["secret", SECRET_KEY]), choose.choice(["us-east-1", "eu-west-1", "x"])
        host = choose.choice(["b.s3.amazonaws.com", "localhost:9000", "[::1]:9000"])
        query = "&".join(
            sorted(f"{name}={quote(text(9), safe='')}" for name in choose.sample("abc", choose.randrange(3)))
        )
        url = f"http://{host}/{quote(text(40), safe='/~')}" + (f"?{query}" if query else "")
        headers = {f"x-amz-meta-{number}": f"a{text(20)}  b" for number in range(choose.randrange(4))}
        body = choose.randbytes(choose.randrange(20))
        method = choose.choice(["GET", "PUT", "DELETE"])
        theirs = AWSRequest(method, url, dict(headers), body)
        botocore.auth.S3SigV4Auth(Credentials("access", secret), "s3", region).add_auth(theirs)
        digest = hashlib.sha256(body).hexdigest()
        signed = {
            **headers,
            "host": host,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": digest,
        }
        request = Signable(method, urlsplit(url).path, query, signed, digest)
        own = signer.authorization(request, Scope(region, "s3"), "access", secret)
        assert own == theirs.headers["Authorization"], (url, headers)
